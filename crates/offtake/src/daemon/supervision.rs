//! Keeps the daemon's loops running.
//!
//! | a loop… | then… |
//! |---|---|
//! | is cancelled | it finishes what it works on; [`Supervisor::stop`] waits for that, within its grace |
//! | returns an error | it is logged as `loop_failed` and started again after 1 s; the pause doubles up to 30 s |
//! | panics | the same: a panic is an error of that loop, and the other loops go on |
//! | returns without being cancelled | the same: a loop has no other reason to end |
//!
//! `/readyz` reports a loop that is down, and one that has not ticked for longer than it may.

use std::any::Any;
use std::pin::Pin;
use std::time::Duration;

use offtake_admin::Readiness;
use offtake_loops::Rounds;
use offtake_postgres::chain;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A cause that passes by itself, such as a failover of the source, is gone after one or two
/// attempts.
const BACKOFF_INITIAL: Duration = Duration::from_secs(1);

/// Two attempts a minute cost next to nothing. When an operator has mended the cause, the loop runs
/// again within half a minute.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A loop that has run for this long has recovered: after its next failure, the backoff begins at
/// its shortest again.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// A loop that is about to run.
pub(super) struct Started {
    /// When the loop's last rounds were over. None for a task that only waits for events.
    pub(super) progress: Option<watch::Receiver<Rounds>>,
    /// The runtime that the loop runs on. None: the supervisor's own.
    pub(super) runtime: Option<Handle>,
    pub(super) work: Work,
}

/// The loop itself. Its error is one line, ready for the log.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

impl Started {
    pub(super) fn new<E: std::error::Error + 'static>(
        progress: Option<watch::Receiver<Rounds>>,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> Self {
        Self {
            progress,
            runtime: None,
            work: Box::pin(async move { work.await.map_err(|error| chain(&error)) }),
        }
    }

    /// The same loop, on another runtime.
    #[must_use]
    pub(super) fn on(self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }
}

/// The loops of one daemon.
pub(super) struct Supervisor {
    shutdown: CancellationToken,
    tasks: TaskTracker,
    readiness: Readiness,
}

impl Supervisor {
    /// Cancelling `shutdown` stops every loop.
    pub(super) fn new(shutdown: CancellationToken, readiness: Readiness) -> Self {
        Self { shutdown, tasks: TaskTracker::new(), readiness }
    }

    /// Keeps the loop that `begin` makes running until shutdown: whenever it ends, `begin` makes it
    /// again. A loop that has not ticked for longer than `within` counts as stuck.
    pub(super) fn keep_running(
        &self,
        name: &'static str,
        within: Duration,
        begin: impl Fn(CancellationToken) -> Started + Send + 'static,
    ) {
        let (shutdown, readiness) = (self.shutdown.clone(), self.readiness.clone());
        self.tasks.spawn(async move {
            let mut backoff = BACKOFF_INITIAL;
            loop {
                let began = Instant::now();
                let started = begin(shutdown.clone());
                // A task that only waits for events has no ticks, and never counts as stuck.
                if let Some(progress) = started.progress {
                    readiness.watch(name, within, progress);
                }
                let runtime = started.runtime.unwrap_or_else(Handle::current);
                let Some(error) = failure(runtime.spawn(started.work).await, &shutdown) else {
                    return;
                };
                if began.elapsed() > RECOVERED_AFTER {
                    backoff = BACKOFF_INITIAL;
                }
                tracing::error!(
                    event = "loop_failed",
                    r#loop = name,
                    error,
                    restart_seconds = backoff.as_secs(),
                    "the loop {name} failed and begins again after a pause"
                );
                readiness.stop(name, error);
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        });
    }

    /// Cancels every loop and waits until all have ended. False where some had not within the
    /// grace.
    pub(super) async fn stop(&self, grace: Duration) -> bool {
        self.shutdown.cancel();
        self.tasks.close();
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }
}

/// Why a loop that ended must be started again; None where it was told to end.
fn failure(
    ended: Result<Result<(), String>, tokio::task::JoinError>,
    shutdown: &CancellationToken,
) -> Option<String> {
    match ended {
        Ok(Err(error)) if shutdown.is_cancelled() => {
            tracing::warn!(
                event = "loop_failed_at_stop",
                error,
                "a loop failed while it was stopping"
            );
            None
        }
        Ok(Err(error)) => Some(error),
        Ok(Ok(())) => {
            (!shutdown.is_cancelled()).then(|| "it ended without being told to".to_owned())
        }
        Err(join) if join.is_panic() => {
            Some(format!("it panicked: {}", panic_message(&*join.into_panic())))
        }
        // The task was aborted, because its runtime is shutting down.
        Err(_) => None,
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it broke")]
    struct Broken;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_fails_or_panics_begins_again_until_shutdown() {
        let readiness = Readiness::default();
        let supervisor = Supervisor::new(CancellationToken::new(), readiness.clone());
        let rounds = Arc::new(AtomicU32::new(0));
        let counter = rounds.clone();
        supervisor.keep_running("sequencer", Duration::from_secs(5), move |shutdown| {
            let round = counter.fetch_add(1, Ordering::Relaxed);
            let (_, progress) = watch::channel(Rounds::now());
            Started::new(Some(progress), async move {
                match round {
                    0 => Err(Broken),
                    1 => panic!("round {round}"),
                    2 => Ok(()),
                    _ => {
                        shutdown.cancelled().await;
                        Ok(())
                    }
                }
            })
        });
        let wait_for = async |round| {
            while rounds.load(Ordering::Relaxed) < round {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            readiness.loops()[0].reason.clone()
        };
        assert_eq!(wait_for(1).await.as_deref(), Some("it broke"));
        assert_eq!(wait_for(2).await.as_deref(), Some("it panicked: round 1"));
        assert_eq!(wait_for(3).await.as_deref(), Some("it ended without being told to"));
        assert_eq!(wait_for(4).await, None);
        assert!(supervisor.stop(Duration::from_secs(1)).await);
        assert_eq!(rounds.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_end_is_given_up() {
        let supervisor = Supervisor::new(CancellationToken::new(), Readiness::default());
        supervisor.keep_running("sync", Duration::from_secs(5), |_| {
            Started::new::<Broken>(None, std::future::pending())
        });
        tokio::task::yield_now().await;
        assert!(!supervisor.stop(Duration::from_secs(1)).await);
    }
}
