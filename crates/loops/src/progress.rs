//! A loop's report that it still completes rounds.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::metrics as names;

/// A loop completes two hundred rounds a second; its supervisor looks once a minute and need not be
/// woken by each.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// The longest idle pause: the supervisor would take a longer one for a loop that hangs.
const IDLE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The pause of a loop while nothing happens: `times` as long as usual, at most a second unless the
/// usual interval is longer than that.
pub fn idle_pause(interval: Duration, times: u32) -> Duration {
    (interval * times).min(IDLE_PAUSE_MAX).max(interval)
}

/// When a loop's last rounds were over.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// The last round that did what it is for.
    pub completed: Instant,
    /// The last round that ended, also by an error. A loop that fails again and again is late, and
    /// still does not hang: another start of the process would not help it.
    pub ended: Instant,
}

impl Rounds {
    /// A round has just been completed.
    pub fn now() -> Self {
        let now = Instant::now();
        Self { completed: now, ended: now }
    }
}

/// A loop's last rounds, exact to a second: for its supervisor, and as
/// `offtake_loop_last_tick_timestamp_seconds{loop}`.
pub struct Progress {
    name: &'static str,
    told: watch::Sender<Rounds>,
    tell_at: Instant,
}

impl Progress {
    /// Starts as if a round had just been completed.
    pub fn of(name: &'static str) -> Self {
        Self { name, told: watch::Sender::new(Rounds::now()), tell_at: Instant::now() }
    }

    pub fn subscribe(&self) -> watch::Receiver<Rounds> {
        self.told.subscribe()
    }

    /// A round is complete.
    pub fn tick(&mut self) {
        let now = Instant::now();
        if now < self.tell_at {
            return;
        }
        self.tell_at = now + TELL_INTERVAL;
        self.told.send_replace(Rounds { completed: now, ended: now });
        metrics::gauge!(names::LOOP_LAST_TICK_TIMESTAMP_SECONDS, "loop" => self.name)
            .set(names::unix_seconds_now());
    }

    /// A round ended by an error.
    pub fn fail(&mut self) {
        self.told.send_modify(|rounds| rounds.ended = Instant::now());
        // The first round that succeeds again is told at once.
        self.tell_at = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_loop_is_still_seen_to_turn() {
        let check = |interval_ms, pause_ms| {
            assert_eq!(
                idle_pause(Duration::from_millis(interval_ms), 25),
                Duration::from_millis(pause_ms)
            )
        };
        check(20, 500);
        check(200, 1000);
        check(60_000, 60_000);
    }

    #[test]
    fn a_round_that_fails_has_ended_and_completes_nothing() {
        let mut progress = Progress::of("poller");
        let rounds = progress.subscribe();
        let before = *rounds.borrow();
        progress.fail();
        let failed = *rounds.borrow();
        assert!(failed.completed == before.completed && failed.ended > before.ended);
        progress.tick();
        assert!(rounds.borrow().completed > before.completed);
    }
}
