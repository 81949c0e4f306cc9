//! What the daemon tells systemd, by the protocol of sd_notify(3). Without a service manager (no
//! `NOTIFY_SOCKET`), every call does nothing.

use std::time::Duration;

use offtake_admin::Readiness;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// While the daemon waits for the source and loads the mappings, systemd is asked for this much more
/// time again and again. The first load of very many mappings, which installs their triggers, may
/// take some minutes by itself.
const START_EXTENSION: Duration = Duration::from_secs(600);

/// All loops run, or a reload is over.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Configuration and mappings are read again; [`ready`] ends it.
pub(super) fn reloading() {
    // `Type=notify-reload` wants the time, to tell this reload from an earlier one.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The loops are draining.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The daemon still waits for the source, or loads the mappings: its start does not hang.
pub(super) fn still_starting() {
    let extension = u32::try_from(START_EXTENSION.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::ExtendTimeoutUsec(extension)]);
}

/// One line for `systemctl status`.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Feeds the watchdog until shutdown, twice per period as systemd recommends. While a loop hangs,
/// or the runtime does, it is not fed, and systemd restarts the process.
pub(super) async fn feed_watchdog(readiness: Readiness, shutdown: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval((period / 2).max(Duration::from_millis(10)));
    let mut told = false;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match readiness.hung() {
            None => {
                tell(&[NotifyState::Watchdog]);
                told = false;
            }
            Some(hung) if !told => {
                tracing::error!(
                    event = "watchdog_not_fed",
                    "{hung}; systemd is to restart the process"
                );
                status(&hung);
                told = true;
            }
            Some(_) => {}
        }
    }
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(event = "notify_failed", %error, "the service manager could not be told");
    }
}
