//! What the service manager is told, when there is one. Without `NOTIFY_SOCKET` every call does
//! nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// The loops run.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A signal was heard; the loops are draining.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Feeds the watchdog while the runtime turns, at half its time as systemd asks; a process that
/// hangs is restarted.
pub async fn feed_watchdog(shutdown: CancellationToken) {
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
