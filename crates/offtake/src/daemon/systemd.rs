//! What the daemon tells systemd. Without a service manager (no `NOTIFY_SOCKET`), every call does
//! nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// All loops run.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The loops are draining.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Feeds the watchdog until shutdown, twice per period as systemd recommends. Where the runtime
/// hangs, it is not fed, and systemd restarts the process.
pub(super) async fn feed_watchdog(shutdown: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval((period / 2).max(Duration::from_millis(10)));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => tell(&[NotifyState::Watchdog]),
        }
    }
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(event = "notify_failed", %error, "the service manager could not be told");
    }
}
