//! Random faults for daemons, connections and servers, from a seed.
//!
//! Every fault is over when [`Chaos::run`] returns: daemons run, proxies pass, failpoints are
//! clear.

use std::time::{Duration, Instant};

use offtake_loops::FAILPOINTS;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::proxy::{Cut, Mode, Proxy};
use crate::{Daemon, World};

/// The faults of one seed.
pub struct Chaos {
    random: StdRng,
    began: Instant,
    /// The faults in the order in which they happened; printed when a test fails.
    diary: Vec<String>,
}

impl Chaos {
    pub fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed ^ 0xc4a05),
            began: Instant::now(),
            diary: Vec::new(),
        }
    }

    /// Makes one fault after another, for `duration`. A daemon that has ended is replaced. Every
    /// warning and error is allowed in the logs.
    pub async fn run(&mut self, world: &World, daemons: &mut [Daemon], duration: Duration) {
        world.allow("*");
        self.began = Instant::now();
        while self.began.elapsed() < duration {
            let number = self.random.random_range(0..daemons.len());
            match self.random.random_range(0..12) {
                0 => self.kill(&mut daemons[number]),
                1..=3 => self.failpoint(&daemons[number], number).await,
                4 => self.freeze(&daemons[number], number).await,
                5 | 6 => self.network(world).await,
                7 => self.lose_replies(world).await,
                8 => self.terminate_at_source(world).await,
                9 | 10 => self.late_worker(world, &daemons[number], number).await,
                _ => self.terminate_at_destination(world).await,
            }
            let pause = self.random.random_range(10..250);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.replace(world, daemons);
        }
        for (_, proxy) in world.named_proxies() {
            proxy.disarm();
            proxy.set(Mode::Pass);
        }
        for daemon in &mut *daemons {
            daemon.clear_failpoints().await;
        }
        self.replace(world, daemons);
        // A daemon that has just started does not handle signals yet.
        for daemon in daemons {
            daemon.wait_ready().await;
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        self.diary.push(format!("{:6.2} s {}", self.began.elapsed().as_secs_f64(), what.into()));
    }

    fn replace(&mut self, world: &World, daemons: &mut [Daemon]) {
        for (number, daemon) in daemons.iter_mut().enumerate() {
            if !daemon.runs() {
                self.note(format!("daemon {number} is replaced"));
                *daemon = world.spawn_daemon(&[]);
            }
        }
    }

    fn kill(&mut self, daemon: &mut Daemon) {
        self.note(format!("kill -9 {}", daemon.pid()));
        daemon.kill();
    }

    async fn failpoint(&mut self, daemon: &Daemon, number: usize) {
        let point = *FAILPOINTS.choose(&mut self.random).expect("there are some");
        let sleep = format!("3*sleep({})", self.random.random_range(10..1500));
        let actions = *["1*abort", "3*error", "1*panic", "20%error", "pause", sleep.as_str()]
            .choose(&mut self.random)
            .expect("not empty");
        self.note(format!("daemon {number}: {point}={actions}"));
        daemon.set_failpoint(point, actions).await;
        let wait = self.random.random_range(50..1200);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        daemon.clear_failpoint(point).await;
    }

    async fn freeze(&mut self, daemon: &Daemon, number: usize) {
        let wait = self.random.random_range(50..2600);
        self.note(format!("daemon {number} stands still for {wait} ms"));
        daemon.freeze();
        tokio::time::sleep(Duration::from_millis(wait)).await;
        daemon.thaw();
    }

    /// Pauses one turn in the middle, so that the other daemon takes over its lease. The turn then
    /// goes on before it can notice.
    async fn late_worker(&mut self, world: &World, daemon: &Daemon, number: usize) {
        let points = [
            "sync.after_claim",
            "sync.after_read",
            "sync.after_read",
            "sync.after_begin",
            "sync.before_cursor",
        ];
        let point = *points.choose(&mut self.random).expect("not empty");
        let before = daemon.failpoint_count(point);
        daemon.set_failpoint(point, "1*pause").await;
        let reached_by = Instant::now() + Duration::from_secs(1);
        while daemon.failpoint_count(point) == before && Instant::now() < reached_by {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let lose = format!(
            "update offtake.outgoing_request set leased_until = now() where leased_by like '{}:%'",
            daemon.pid()
        );
        let lost = world.source.try_query_text(&lose).await;
        let wait = self.random.random_range(50..600);
        self.note(format!(
            "daemon {number} is late by {wait} ms at {point} ({})",
            if lost.is_ok() { "without its leases" } else { "still leased" }
        ));
        tokio::time::sleep(Duration::from_millis(wait)).await;
        daemon.clear_failpoint(point).await;
    }

    async fn network(&mut self, world: &World) {
        let Some((name, proxy)) = self.proxy(world) else { return };
        let modes = [
            Mode::Refuse,
            Mode::Blackhole,
            Mode::Stall,
            Mode::Delay(Duration::from_millis(30)),
            Mode::Drip(20_000),
            Mode::CutAfter(20_000),
        ];
        let mode = *modes.choose(&mut self.random).expect("not empty");
        let wait = self.random.random_range(50..1200);
        self.note(format!("{name}: {mode:?} for {wait} ms"));
        proxy.set(mode);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        proxy.set(Mode::Pass);
    }

    /// The cut stays armed until the statement is sent.
    async fn lose_replies(&mut self, world: &World) {
        let Some((name, proxy)) = self.proxy(world) else { return };
        let cuts = [
            Cut::before_reply("commit"),
            Cut::after_reply("commit"),
            Cut::before_statement("commit"),
            Cut::after_statement("commit"),
            Cut::before_reply("insert"),
            Cut::before_reply("commit").silently(),
        ];
        let cut = cuts.choose(&mut self.random).expect("not empty").clone();
        self.note(format!("{name}: {cut:?}"));
        proxy.arm(cut);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    fn proxy<'a>(&mut self, world: &'a World) -> Option<(String, &'a Proxy)> {
        let named: Vec<_> = world.named_proxies().collect();
        named.choose(&mut self.random).cloned()
    }

    /// Terminates sessions of the daemons, and none of the writers.
    async fn terminate_at_source(&mut self, world: &World) {
        self.note("the source ends its sessions with the daemons");
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                   where datname = current_database() and application_name like 'offtake%' and pid <> pg_backend_pid()";
        world.source.query_text(sql).await;
    }

    async fn terminate_at_destination(&mut self, world: &World) {
        let tenant = world.tenants().choose(&mut self.random).expect("there are tenants");
        self.note(format!("{} ends its sessions", tenant.name));
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name like 'offtake%'";
        let _ = tenant.destination.try_query_text(sql).await;
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the faults were:\n  {}", self.diary.join("\n  "));
        }
    }
}
