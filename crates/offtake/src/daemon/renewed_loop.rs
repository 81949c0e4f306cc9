//! A loop that takes over new settings while the daemon runs: it is drained, and made again with
//! the new configuration.

use std::sync::Arc;

use offtake_loops::Rounds;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::configuration::Configuration;

/// A loop that takes its settings when it is made.
pub(super) struct RenewedLoop<Begin> {
    pub(super) name: &'static str,
    /// Whether two configurations have the same settings for this loop.
    pub(super) same: fn(&Configuration, &Configuration) -> bool,
    /// Makes the loop; returns its progress and its work.
    pub(super) begin: Begin,
    pub(super) changes: watch::Receiver<Arc<Configuration>>,
    /// The progress of whichever loop runs now.
    pub(super) progress: watch::Sender<Rounds>,
}

impl<Begin> RenewedLoop<Begin> {
    /// Runs the loop until shutdown, or until it ends by itself.
    pub(super) async fn run<E, Work>(mut self, shutdown: CancellationToken) -> Result<(), E>
    where
        Begin: Fn(&Configuration, CancellationToken) -> (watch::Receiver<Rounds>, Work),
        Work: Future<Output = Result<(), E>>,
    {
        while !shutdown.is_cancelled() {
            let configuration = self.changes.borrow_and_update().clone();
            let drain = shutdown.child_token();
            let (mut ticks, work) = (self.begin)(&configuration, drain.clone());
            let mut work = std::pin::pin!(work);
            loop {
                tokio::select! {
                    outcome = &mut work => {
                        outcome?;
                        break;
                    }
                    Ok(()) = ticks.changed() => {
                        let tick = *ticks.borrow_and_update();
                        self.progress.send_replace(tick);
                    }
                    Ok(()) = self.changes.changed() => {
                        if !(self.same)(&configuration, &self.changes.borrow_and_update()) {
                            tracing::info!(
                                event = "loop_renewed",
                                r#loop = self.name,
                                "{} takes over the new configuration",
                                self.name
                            );
                            drain.cancel();
                        }
                    }
                }
            }
            if !drain.is_cancelled() {
                // The loop ended by itself. The supervisor decides what that means.
                return Ok(());
            }
        }
        Ok(())
    }
}
