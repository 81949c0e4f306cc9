//! Whether every loop makes progress.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

/// What the supervisor knows of its loops, for `/readyz` and the status. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    loops: Arc<Mutex<BTreeMap<&'static str, Watched>>>,
}

#[derive(Debug)]
struct Watched {
    /// The longest time between two ticks of a loop that works.
    within: Duration,
    progress: watch::Receiver<Instant>,
    stopped: Option<String>,
}

/// One loop, as the status shows it.
#[derive(Debug, Clone, Serialize)]
pub struct LoopStatus {
    pub name: &'static str,
    pub ready: bool,
    pub last_tick_seconds_ago: f64,
    /// Why it is not ready: the supervisor's reason for its end, or how long ago the last tick was.
    pub reason: Option<String>,
}

impl Readiness {
    /// Watches a loop's progress from now on. The loop is late when its last tick is longer ago
    /// than `within`. A restarted loop is watched again under the same name; that replaces the old
    /// entry.
    pub fn watch(&self, name: &'static str, within: Duration, progress: watch::Receiver<Instant>) {
        self.lock().insert(name, Watched { within, progress, stopped: None });
    }

    /// Records that a loop has ended. It is not ready until it is watched again.
    pub fn stop(&self, name: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        if let Some(watched) = self.lock().get_mut(name) {
            watched.stopped = Some(reason);
        }
    }

    /// Every watched loop, by name.
    pub fn loops(&self) -> Vec<LoopStatus> {
        let status = |(name, watched): (&&'static str, &Watched)| {
            let ago = watched.progress.borrow().elapsed();
            let late = (ago > watched.within).then(|| format!("no tick for {} s", ago.as_secs()));
            let reason = watched.stopped.clone().or(late);
            LoopStatus {
                name,
                ready: reason.is_none(),
                last_tick_seconds_ago: crate::status::rounded(ago.as_secs_f64()),
                reason,
            }
        };
        self.lock().iter().map(status).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Watched>> {
        // No code panics while it holds this lock, so the map is complete even after poisoning.
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_ready_while_it_ticks_in_time() {
        let readiness = Readiness::default();
        let progress = watch::Sender::new(Instant::now());
        readiness.watch("poller", Duration::from_secs(60), progress.subscribe());
        assert!(readiness.loops()[0].ready);
        // "60" is only the beginning of the number: a busy machine adds some seconds to 6000.
        progress.send_replace(Instant::now() - Duration::from_secs(6000));
        let reason = readiness.loops()[0].reason.clone().unwrap_or_default();
        assert!(reason.starts_with("no tick for 60") && reason.ends_with(" s"), "{reason}");
        progress.send_replace(Instant::now());
        readiness.stop("poller", "panicked");
        assert_eq!(readiness.loops()[0].reason.as_deref(), Some("panicked"));
    }
}
