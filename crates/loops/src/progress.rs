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

/// A loop's last completed round, exact to a second: for its supervisor, and as
/// `offtake_loop_last_tick_timestamp_seconds{loop}`.
pub struct Progress {
    name: &'static str,
    told: watch::Sender<Instant>,
    tell_at: Instant,
}

impl Progress {
    /// Starts as if a round had just been completed.
    pub fn of(name: &'static str) -> Self {
        let now = Instant::now();
        Self { name, told: watch::Sender::new(now), tell_at: now }
    }

    pub fn subscribe(&self) -> watch::Receiver<Instant> {
        self.told.subscribe()
    }

    /// A round is complete.
    pub fn tick(&mut self) {
        let now = Instant::now();
        if now < self.tell_at {
            return;
        }
        self.tell_at = now + TELL_INTERVAL;
        self.told.send_replace(now);
        metrics::gauge!(names::LOOP_LAST_TICK_TIMESTAMP_SECONDS, "loop" => self.name)
            .set(names::unix_seconds_now());
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
}
