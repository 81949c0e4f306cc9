//! What the daemon tells systemd over `NOTIFY_SOCKET`, which is a socket of the test here.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use offtake_tests::samples::TEAMS;
use offtake_tests::{PATIENCE, World, until};
use std::time::{Duration, Instant};

/// What a service manager does: it listens.
struct Manager {
    told: Arc<Mutex<Vec<(Instant, String)>>>,
    socket: PathBuf,
}

impl Manager {
    /// The next daemons of the world are its services.
    fn of(world: &mut World, watchdog: Duration) -> Self {
        let socket = world.folder().join("notify");
        let told: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let (receiver, heard) = (UnixDatagram::bind(&socket).unwrap(), told.clone());
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length) = receiver.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                if text == "END" {
                    return;
                }
                heard.lock().unwrap().push((Instant::now(), text));
            }
        });
        world.set_variable("NOTIFY_SOCKET", socket.to_str().unwrap());
        world.set_variable("WATCHDOG_USEC", &watchdog.as_micros().to_string());
        Self { told, socket }
    }

    fn messages(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }

    fn count(&self, line: &str) -> usize {
        self.messages().iter().filter(|text| text.lines().any(|l| l == line)).count()
    }

    /// Waits until this line has come so often.
    async fn wait(&self, line: &str, times: usize) {
        until(&format!("{line} came {times} times"), PATIENCE, async || {
            if self.count(line) >= times { Ok(()) } else { Err(format!("{:?}", self.messages())) }
        })
        .await;
    }

    fn last(&self, line: &str) -> Option<Instant> {
        let told = self.told.lock().unwrap();
        told.iter().rev().find(|(_, text)| text.lines().any(|l| l == line)).map(|(at, _)| *at)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = UnixDatagram::unbound().and_then(|s| s.send_to(b"END", &self.socket));
    }
}

#[tokio::test]
async fn systemd_is_told_of_start_reload_and_stop_and_its_watchdog_is_fed() {
    let mut world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let manager = Manager::of(&mut world, Duration::from_millis(200));
    let daemon = world.daemon().await;
    manager.wait("READY=1", 1).await;
    manager.wait("STATUS=all loops run", 1).await;
    manager.wait("WATCHDOG=1", 5).await;
    assert_eq!((manager.count("RELOADING=1"), manager.count("STOPPING=1")), (0, 0));
    // `Type=notify-reload` wants the time beside it.
    daemon.reload();
    manager.wait("READY=1", 2).await;
    let messages = manager.messages();
    let reloading = messages.iter().find(|text| text.starts_with("RELOADING=1\n")).unwrap();
    let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(time.parse::<u64>().is_ok(), "{reloading:?}");
    let at =
        |line: &str| messages.iter().rposition(|text| text.lines().any(|l| l == line)).unwrap();
    assert!(at("RELOADING=1") < at("READY=1"), "{messages:?}");
    daemon.stop().await;
    manager.wait("STOPPING=1", 1).await;
}

#[tokio::test]
async fn a_daemon_that_waits_for_its_source_asks_systemd_for_more_time() {
    let mut world =
        World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).without_init().await;
    world.allow("source_unavailable");
    let manager = Manager::of(&mut world, Duration::from_secs(60));
    let mut daemon = world.spawn_daemon(&[]);
    manager.wait("EXTEND_TIMEOUT_USEC=600000000", 2).await;
    let told = manager.messages().join("");
    assert!(told.contains("STATUS=waiting for the source: "), "{told}");
    assert!(told.contains("run `offtake init`") && !told.contains("READY=1"), "{told}");
    world.succeed(&["init"]).await;
    daemon.wait_ready().await;
    manager.wait("READY=1", 1).await;
    daemon.stop().await;
}

/// A loop counts as hung after 90 s; the test waits for them.
#[tokio::test]
async fn a_loop_that_hangs_starves_the_watchdog() {
    if std::env::var_os("OFFTAKE_SOAK").is_none() {
        eprintln!("skipped: it takes 100 seconds; `make soak` runs it");
        return;
    }
    let mut world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    world.fill(1).await;
    world.allow("*");
    let manager = Manager::of(&mut world, Duration::from_secs(1));
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.set_failpoint("sequencer.before_commit", "pause").await;
    world.source.execute("update team set display_name = display_name || '!'").await;
    daemon.wait_at_failpoint("sequencer.before_commit", 1).await;
    until("the watchdog is not fed", Duration::from_secs(120), async || {
        let fed = manager.last("WATCHDOG=1").map(|at| at.elapsed());
        if fed.is_some_and(|ago| ago > Duration::from_secs(3)) {
            return Ok(());
        }
        Err(format!("{fed:?}"))
    })
    .await;
    let status = manager.messages().iter().any(|m| m.contains("the loop sequencer has hung for"));
    assert!(status, "{:?}", manager.messages().last());
    let (code, body) = daemon.get("/livez").await;
    assert!(code == 503 && body.contains("the loop sequencer has hung"), "{code} {body}");
    daemon.clear_failpoint("sequencer.before_commit").await;
    manager.wait("WATCHDOG=1", manager.count("WATCHDOG=1") + 2).await;
    assert_eq!(daemon.get("/livez").await.0, 200);
    daemon.stop().await;
}
