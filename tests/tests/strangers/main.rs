//! What strangers can do: a tenant with its own database, a client without a token, a writer of the
//! files that the daemon reads. docs/security.md has the table that these tests hold.

#![allow(clippy::unwrap_used)]

mod durations;
mod files;
mod foreign_text;
mod mutations;
mod newcomers;
mod probes;
mod requests;
mod secrets;
mod servers;

use std::time::{Duration, Instant};

use offtake_tests::{Daemon, PATIENCE, World};

/// A probe of a kubelet waits a second by default; the rest is for a loaded machine.
const PROBED_WITHIN: Duration = Duration::from_secs(5);

/// Exit code, and everything that `offtake` printed, with these arguments.
async fn offtake(world: &World, arguments: &[&str]) -> (i32, String) {
    let output = world.offtake(arguments).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = text(&output.stdout) + &text(&output.stderr);
    assert!(!told.contains("panicked"), "{arguments:?}: {told}");
    (output.status.code().unwrap(), told)
}

/// Each probe is answered in time. Readiness asks the source, which has the cores to share here, so
/// it may say once or twice that the source is slow.
async fn assert_probes_answer(daemon: &Daemon, meanwhile: &str) {
    let began = Instant::now();
    loop {
        let (code, body) = probe(daemon, "/livez", meanwhile).await;
        assert_eq!(code, 200, "{meanwhile}: /livez: {body}");
        let (code, body) = probe(daemon, "/readyz", meanwhile).await;
        if code == 200 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{meanwhile}: /readyz: {code} {body}");
    }
}

async fn probe(daemon: &Daemon, path: &str, meanwhile: &str) -> (u16, String) {
    let answer = tokio::time::timeout(PROBED_WITHIN, daemon.get(path)).await;
    answer.unwrap_or_else(|_| panic!("{meanwhile}: {path} is silent"))
}
