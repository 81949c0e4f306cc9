//! `latency`: from commit to visible. One sampled row changes, beside a load of other changes. How
//! long until its copy shows the change?

use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Statement;

use crate::daemon::Offtake;
use crate::figures::{Figures, percentile, whole};
use crate::pgbench::Load;
use crate::replica::Replica;
use crate::rig::{Database, Servers, tenant};
use crate::row::{Limit, Plan, Row, Target};
use crate::rows::{BUILT_IN, OFFTAKE};

pub(crate) const ROW: Row = Row {
    name: "latency",
    about: "From the reply to COMMIT until a reader of the copy sees the change, at given rates of changes.",
    targets: &[
        target("100 changes/s, 1 tenant", P50.0, 5.0),
        target("100 changes/s, 1 tenant", P99.0, 20.0),
        target("5 000 changes/s, 100 tenants", P99.0, 100.0),
    ],
    measure: |plan| Box::pin(measure(plan)),
};

const fn target(case: &'static str, measure: &'static str, most: f64) -> Target {
    Target { case, measure, side: OFFTAKE, beside: None, limit: Limit::AtMost(most) }
}

pub(crate) const P50: (&str, &str) = ("p50", "ms");
pub(crate) const P99: (&str, &str) = ("p99", "ms");
const WRITTEN: (&str, &str) = ("changes that were written", "changes/s");

/// A rate of changes, over the first so many tenants.
struct Case {
    rate: u32,
    tenants: usize,
    /// Rows of one transaction. Four sessions with durable commits cannot write 5 000 transactions
    /// a second on a small machine.
    rows: u32,
}

const CASES: [Case; 8] = [
    Case { rate: 1, tenants: 1, rows: 1 },
    Case { rate: 10, tenants: 1, rows: 1 },
    Case { rate: 100, tenants: 1, rows: 1 },
    Case { rate: 1_000, tenants: 1, rows: 1 },
    Case { rate: 5_000, tenants: 1, rows: 10 },
    Case { rate: 100, tenants: 100, rows: 1 },
    Case { rate: 1_000, tenants: 100, rows: 1 },
    Case { rate: 5_000, tenants: 100, rows: 10 },
];

impl Case {
    fn name(&self) -> String {
        let changes = if self.rate == 1 { "change" } else { "changes" };
        let tenants = if self.tenants == 1 { "tenant" } else { "tenants" };
        format!("{} {changes}/s, {} {tenants}", whole(self.rate), self.tenants)
    }
}

/// Milliseconds between two changes at 1 change/s: more than a second, after which Offtake's loops
/// probe less often.
const SILENCE: Range<u64> = 1_050..1_250;

/// Up to this rate, the sampled changes are the only ones.
const SAMPLED_RATE_MAX: u32 = 10;

/// Milliseconds between two sampled changes beside a load. They are random; otherwise the changes
/// could fall into step with a polling interval.
const PAUSE: Range<u64> = 20..80;

/// The tenants whose rows are sampled: a connection is held to the database of each.
const SAMPLED_TENANTS_MAX: usize = 10;

/// The last rows of each tenant are sampled; the load leaves them alone.
const SAMPLED_ROWS: u32 = 100;

/// The next sampled change's value. No value comes twice, or an old copy would pass for a new one;
/// and the load, which counts from 0, reaches none of them.
static MARK: AtomicI64 = AtomicI64::new(1_000_000_000);

const VISIBLE_WITHIN: Duration = Duration::from_secs(30);

/// The pause between two looks. A reader without a pause keeps itself and its server process busy.
/// On two cores, the side being measured would then wait for a free core at every hand-over, and
/// the benchmark would measure the scheduler.
const LOOK_EVERY: Duration = Duration::from_millis(1);

async fn measure(plan: Plan) -> anyhow::Result<Figures> {
    let (tenants, rows) = plan.either((100, 2_000), (3, 300));
    let all = vec![rows; tenants];
    let servers = Servers::start().await?;
    let offtake = Offtake::with_copies(&servers, &all).await?;
    let built_in = Replica::create(&servers, &all).await?;
    let mut figures = Figures::default();
    for round in 1..=plan.rounds {
        let daemon = offtake.start()?;
        offtake.wait_until_equal().await?;
        for case in &CASES {
            offtake.settle().await?;
            let copies = offtake.copies.iter().take(SAMPLED_TENANTS_MAX);
            let probe =
                Probe::new(&offtake.source, copies.map(|copy| &copy.database), "", rows).await?;
            probe.sample(case, tenants, plan, OFFTAKE, &mut figures).await?;
            offtake.wait_until_equal().await?;
        }
        daemon.stop().await?;

        built_in.enable().await?;
        for case in &CASES {
            built_in.settle().await?;
            let copies = std::iter::repeat_n(&built_in.copy, tenants.min(SAMPLED_TENANTS_MAX));
            let condition = "tenant_id = $3::text::uuid and ";
            let probe = Probe::new(&built_in.source, copies, condition, rows).await?;
            probe.sample(case, tenants, plan, BUILT_IN, &mut figures).await?;
            built_in.wait_until_current().await?;
        }
        built_in.disable().await?;
        eprintln!("latency: round {round} done");
    }
    Ok(figures)
}

/// Changes sampled rows and looks at their copies.
pub(crate) struct Probe<'a> {
    source: &'a Database,
    write: Statement,
    /// By the tenants' numbers.
    copies: Vec<(&'a Database, Statement)>,
    /// Whether a look names the tenant.
    of_tenant: bool,
    rows: u32,
}

impl<'a> Probe<'a> {
    /// `condition` is one more for a row of the copy; $3 is the tenant.
    pub(crate) async fn new(
        source: &'a Database,
        databases: impl Iterator<Item = &'a Database>,
        condition: &str,
        rows: u32,
    ) -> anyhow::Result<Self> {
        let write =
            "update public.events set counter = $3 where tenant_id = $1::text::uuid and id = $2";
        let write = source.client.prepare(write).await?;
        let look = format!("select from public.events where {condition}id = $1 and counter = $2");
        let mut copies = Vec::new();
        for database in databases {
            copies.push((database, database.client.prepare(&look).await?));
        }
        Ok(Self { source, write, copies, of_tenant: !condition.is_empty(), rows })
    }

    async fn sample(
        &self,
        case: &Case,
        tenants: usize,
        plan: Plan,
        side: &str,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        let name = case.name();
        let among = case.tenants.min(tenants);
        let milliseconds = if case.rate <= SAMPLED_RATE_MAX {
            let (samples, pause) = match case.rate {
                1 => (20, SILENCE),
                _ => (60, 20..180),
            };
            self.alone(plan.either(samples, 3), pause).await?
        } else {
            let load = Load {
                seconds: plan.either(10, 2),
                rate: Some(case.rate / case.rows),
                rows: case.rows,
                tenants: among,
                ids: self.rows - SAMPLED_ROWS,
            };
            let (milliseconds, tps) = self.beside(load).await?;
            figures.add(&name, WRITTEN, side, tps * f64::from(case.rows));
            milliseconds
        };
        eprintln!("latency: {name}, {side}: {} samples", milliseconds.len());
        figures.add(&name, P50, side, percentile(&milliseconds, 50.0));
        figures.add(&name, P99, side, percentile(&milliseconds, 99.0));
        Ok(())
    }

    /// Samples without any other change.
    async fn alone(&self, samples: usize, pause: Range<u64>) -> anyhow::Result<Vec<f64>> {
        let mut random = StdRng::seed_from_u64(42);
        let mut milliseconds = Vec::new();
        for _ in 0..samples {
            sleep(&mut random, pause.clone()).await;
            milliseconds.push(self.once(&mut random, 1).await?);
        }
        Ok(milliseconds)
    }

    /// Samples for as long as something else goes on.
    pub(crate) async fn alone_while(
        &self,
        goes_on: impl AsyncFn() -> anyhow::Result<bool>,
        pause: Range<u64>,
    ) -> anyhow::Result<Vec<f64>> {
        let mut random = StdRng::seed_from_u64(42);
        let mut milliseconds = Vec::new();
        while goes_on().await? {
            sleep(&mut random, pause.clone()).await;
            milliseconds.push(self.once(&mut random, 1).await?);
        }
        Ok(milliseconds)
    }

    /// Samples while the load writes, and the load's transactions a second.
    async fn beside(&self, load: Load) -> anyhow::Result<(Vec<f64>, f64)> {
        /// Until the load has its sessions and its rate.
        const WARM_UP: Duration = Duration::from_millis(500);
        let pgbench = load.start(self.source)?;
        let seconds = load.seconds;
        let tps = tokio::spawn(pgbench.wait());
        let began = Instant::now();
        tokio::time::sleep(WARM_UP).await;
        let mut random = StdRng::seed_from_u64(42);
        let mut milliseconds = Vec::new();
        while began.elapsed().as_secs() < seconds && !tps.is_finished() {
            sleep(&mut random, PAUSE).await;
            milliseconds.push(self.once(&mut random, load.tenants).await?);
        }
        Ok((milliseconds, tps.await??))
    }

    /// Milliseconds from the reply to the writer's COMMIT until a reader that looks about once a
    /// millisecond sees the row. The reader's pause and round trip (up to about 2 ms) are included
    /// on both sides.
    async fn once(&self, random: &mut StdRng, tenants: usize) -> anyhow::Result<f64> {
        let at = random.random_range(0..tenants.min(self.copies.len()));
        let (tenant, (copy, look)) = (tenant(at + 1), &self.copies[at]);
        let id = i64::from(random.random_range(self.rows - SAMPLED_ROWS + 1..=self.rows));
        let mark = MARK.fetch_add(1, Ordering::Relaxed);
        self.source.client.execute(&self.write, &[&tenant, &id, &mark]).await?;
        let committed = Instant::now();
        loop {
            let seen = match self.of_tenant {
                true => copy.client.query_opt(look, &[&id, &mark, &tenant]).await?,
                false => copy.client.query_opt(look, &[&id, &mark]).await?,
            };
            if seen.is_some() {
                return Ok(committed.elapsed().as_secs_f64() * 1000.0);
            }
            ensure!(
                committed.elapsed() < VISIBLE_WITHIN,
                "a change was not visible within {VISIBLE_WITHIN:?}"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn sleep(random: &mut StdRng, milliseconds: Range<u64>) {
    tokio::time::sleep(Duration::from_millis(random.random_range(milliseconds))).await;
}
