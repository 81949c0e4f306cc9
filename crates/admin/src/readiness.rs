//! Whether every loop makes progress, and whether one hangs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use offtake_loops::Rounds;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

/// The loops that carry changes. Their rounds are short at any size. The other loops may take
/// minutes with very many mappings or destinations, and delay no change meanwhile.
const CARRYING: [&str; 4] = ["sequencer", "poller", "sync", "webhooks"];

/// What the supervisor knows of its loops, for `/readyz` and the status. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    loops: Arc<Mutex<BTreeMap<&'static str, Watched>>>,
    firsts: Arc<Mutex<BTreeMap<&'static str, First>>>,
}

/// What a loop does first, without which the daemon cannot answer for what it serves.
struct First {
    /// What it does, as `/readyz` tells it until it is done.
    what: &'static str,
    done: Box<dyn Fn() -> bool + Send>,
}

impl std::fmt::Debug for First {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.what)
    }
}

#[derive(Debug)]
struct Watched {
    /// The longest time between two ticks of a loop that works.
    within: Duration,
    progress: watch::Receiver<Rounds>,
    stopped: Option<String>,
}

/// One loop, as the status shows it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
    pub fn watch(&self, name: &'static str, within: Duration, progress: watch::Receiver<Rounds>) {
        self.lock().insert(name, Watched { within, progress, stopped: None });
    }

    /// Records that a loop has ended. It is not ready until it is watched again.
    pub fn stop(&self, name: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        if let Some(watched) = self.lock().get_mut(name) {
            watched.stopped = Some(reason);
        }
    }

    /// The loop is not ready before `done` says so for the first time. It is no sign that it hangs:
    /// a slow source may need minutes for it.
    pub fn expect_first(
        &self,
        name: &'static str,
        what: &'static str,
        done: impl Fn() -> bool + Send + 'static,
    ) {
        self.lock_firsts().insert(name, First { what, done: Box::new(done) });
    }

    /// Every loop that is watched, or is to do something first, by name. A loop begins a moment after
    /// others, which is no moment in which the daemon is ready.
    pub fn loops(&self) -> Vec<LoopStatus> {
        let mut firsts = self.lock_firsts();
        firsts.retain(|_, first| !(first.done)());
        let status = |(name, watched): (&&'static str, &Watched)| {
            let ago = watched.progress.borrow().completed.elapsed();
            let late = (ago > watched.within).then(|| format!("no tick for {} s", ago.as_secs()));
            let first = firsts.get(name).map(|first| first.what.to_owned());
            let reason = watched.stopped.clone().or(late).or(first);
            LoopStatus {
                name,
                ready: reason.is_none(),
                last_tick_seconds_ago: crate::status::rounded(ago.as_secs_f64()),
                reason,
            }
        };
        let watched = self.lock();
        let begun = watched.iter().map(status);
        let to_begin = firsts.iter().filter(|(name, _)| !watched.contains_key(*name));
        let to_begin = to_begin.map(|(name, first)| LoopStatus {
            name,
            ready: false,
            last_tick_seconds_ago: 0.0,
            reason: Some(first.what.to_owned()),
        });
        let mut loops: Vec<LoopStatus> = begun.chain(to_begin).collect();
        loops.sort_by_key(|status| status.name);
        loops
    }

    /// Which loop hangs, and for how long; None where none does.
    ///
    /// A loop hangs where it carries changes and none of its rounds has ended in time, not even by
    /// an error. Only another start of the process helps it: the supervisor starts a loop again
    /// that failed, and a loop that waits for the source goes on by itself.
    pub fn hung(&self) -> Option<String> {
        let hangs = |(name, watched): (&&'static str, &Watched)| {
            let ago = watched.progress.borrow().ended.elapsed();
            let hangs =
                CARRYING.contains(name) && watched.stopped.is_none() && ago > watched.within;
            hangs.then(|| format!("the loop {name} has hung for {} s", ago.as_secs()))
        };
        self.lock().iter().find_map(hangs)
    }

    fn lock_firsts(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, First>> {
        self.firsts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Watched>> {
        // No code panics while it holds this lock, so the map is complete even after poisoning.
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use super::*;

    fn ago(seconds: u64) -> Instant {
        Instant::now() - Duration::from_secs(seconds)
    }

    #[test]
    fn a_loop_is_ready_while_it_ticks_in_time() {
        let readiness = Readiness::default();
        let progress = watch::Sender::new(Rounds::now());
        readiness.watch("poller", Duration::from_secs(60), progress.subscribe());
        assert!(readiness.loops()[0].ready);
        // "60" is only the beginning of the number: a busy machine adds some seconds to 6000.
        progress.send_replace(Rounds { completed: ago(6000), ended: Instant::now() });
        let reason = readiness.loops()[0].reason.clone().unwrap_or_default();
        assert!(reason.starts_with("no tick for 60") && reason.ends_with(" s"), "{reason}");
        progress.send_replace(Rounds::now());
        readiness.stop("poller", "panicked");
        assert_eq!(readiness.loops()[0].reason.as_deref(), Some("panicked"));
    }

    #[test]
    fn a_loop_is_not_ready_before_what_it_does_first_and_does_not_hang_over_it() {
        let readiness = Readiness::default();
        let progress = watch::Sender::new(Rounds::now());
        let done = Arc::new(AtomicBool::new(false));
        let asked = done.clone();
        readiness.expect_first("destinations", "it registers the destinations", move || {
            asked.load(Ordering::Relaxed)
        });
        let to_begin = readiness.loops();
        assert_eq!(
            to_begin.iter().map(|l| (l.name, l.ready)).collect::<Vec<_>>(),
            [("destinations", false)]
        );
        readiness.watch("destinations", Duration::from_secs(60), progress.subscribe());
        assert_eq!(readiness.loops().len(), 1);
        let first = &readiness.loops()[0];
        assert_eq!(
            (first.ready, first.reason.as_deref()),
            (false, Some("it registers the destinations"))
        );
        assert_eq!(readiness.hung(), None);
        readiness.stop("destinations", "it broke");
        assert_eq!(readiness.loops()[0].reason.as_deref(), Some("it broke"));
        readiness.watch("destinations", Duration::from_secs(60), progress.subscribe());
        assert!(!readiness.loops()[0].ready, "it began again, and has registered nothing");
        done.store(true, Ordering::Relaxed);
        assert!(readiness.loops()[0].ready);
        // Once is enough.
        done.store(false, Ordering::Relaxed);
        assert!(readiness.loops()[0].ready);
    }

    #[test]
    fn only_a_loop_whose_rounds_do_not_end_hangs() {
        let readiness = Readiness::default();
        let within = Duration::from_secs(60);
        let (sequencer, mappings) =
            (watch::Sender::new(Rounds::now()), watch::Sender::new(Rounds::now()));
        readiness.watch("sequencer", within, sequencer.subscribe());
        readiness.watch("mappings", within, mappings.subscribe());
        assert_eq!(readiness.hung(), None);
        // It fails again and again, for example because the source does not answer.
        sequencer.send_replace(Rounds { completed: ago(6000), ended: ago(1) });
        // Very many mappings.
        mappings.send_replace(Rounds { completed: ago(6000), ended: ago(6000) });
        assert_eq!(readiness.hung(), None);
        sequencer.send_replace(Rounds { completed: ago(6000), ended: ago(6000) });
        let told = readiness.hung().unwrap_or_default();
        assert!(told.starts_with("the loop sequencer has hung for 600"), "{told}");
        // The supervisor starts it again.
        readiness.stop("sequencer", "it panicked");
        assert_eq!(readiness.hung(), None);
    }
}
