//! Waiting for the source when the daemon starts.

use std::time::Duration;

use offtake_postgres::SourcePool;
use tokio_util::sync::CancellationToken;

use super::systemd;
use crate::checks::source_readiness::look;
use crate::outcome::Failure;

/// A source that comes up is noticed within this time. One attempt costs one dial.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The same reason is logged again after this many attempts, about once a minute.
const REMIND_AFTER_ATTEMPTS: u32 = 60;

/// Returns when a daemon can work with the source, or when shutdown comes first. While it waits, it
/// tells `report` why.
///
/// The first obstacle is the failure where it cannot pass by itself (a server of a wrong version),
/// and for a daemon that is not `patient`.
pub(super) async fn wait_for_source(
    pool: &SourcePool,
    patient: bool,
    shutdown: &CancellationToken,
    report: impl Fn(&str),
) -> Result<(), Failure> {
    let mut told = (String::new(), 0);
    loop {
        let Err(obstacle) = look(pool).await else { return Ok(()) };
        if !patient || !obstacle.may_pass() {
            return Err(obstacle.failure());
        }
        let why = obstacle.why();
        if told.0 != why || told.1 >= REMIND_AFTER_ATTEMPTS {
            tracing::warn!(event = "source_unavailable", why, "waiting for the source");
            report(&why);
            told = (why, 0);
        }
        told.1 += 1;
        systemd::still_starting();
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(RETRY_INTERVAL) => {}
        }
    }
}
