//! How long the sequencer waits before it looks again.

use std::time::{Duration, Instant};

use offtake_loops::BatchCount;

/// The pause grows with the silence before it: to a 400th of it, which is 2.5 ms after a second
/// without a change and 30 ms after twelve. An idle source is then probed 33 times a second. A probe
/// after a sleep costs more than 0.1 ms of a core for any client, because caches are cold: pgbench
/// with one prepared `select 1` every 10 ms took 1.1 % on two virtual cores, November 2026.
const SILENCE_SHARE: u32 = 400;
const SILENT_PAUSE_MAX: Duration = Duration::from_millis(30);

/// And with the changes that the last tick took: what a batch costs by itself, some milliseconds of
/// processor time in source, daemon and destination, is then shared by more changes. Below a
/// thousand changes a second the pause stays what it is without load; above two thousand it reaches
/// its longest, 20 batches a second.
const PAUSE_PER_CHANGE: Duration = Duration::from_micros(500);
const LOADED_PAUSE_MAX: Duration = Duration::from_millis(50);

/// Changes of many tenants go into as many batches, however long they wait for each other. Then the
/// pause is only to share what a tick, a poll and a claim cost, some 2 ms. With 15 ms, changes of a
/// hundred tenants arrived in half the time, but the source's sessions took half as much again of
/// the processor under pgbench, and its throughput fell.
const APART_PAUSE_MAX: Duration = Duration::from_millis(40);

/// What was counted before the last tick counts so much less than what it brought.
const MEMORY: f64 = 0.8;

/// What the next pause depends on.
pub(crate) struct Pace {
    batches: BatchCount,
    /// When a change was last numbered, by any daemon.
    busy_at: Instant,
    /// Captured changes that the last round took.
    taken: i64,
    /// Changes that were taken of late, and the batches that they went into.
    recent_changes: f64,
    recent_batches: f64,
    batches_before: u64,
}

impl Pace {
    pub(crate) fn new(batches: BatchCount) -> Self {
        let batches_before = batches.total();
        Self {
            batches,
            busy_at: Instant::now(),
            taken: 0,
            recent_changes: 0.0,
            recent_batches: 0.0,
            batches_before,
        }
    }

    /// A daemon has numbered changes.
    pub(crate) fn note_busy(&mut self) {
        self.busy_at = Instant::now();
    }

    /// A round took so many changes. The batches since the round before are those of its changes.
    pub(crate) fn note_round(&mut self, taken: i64) {
        self.taken = taken;
        if taken == 0 {
            return;
        }
        let batches = self.batches.total();
        let written = batches - self.batches_before;
        self.batches_before = batches;
        self.recent_batches = self.recent_batches * MEMORY + written as f64;
        self.recent_changes = self.recent_changes * MEMORY + taken.max(0) as f64;
    }

    /// The time to the next probe.
    pub(crate) fn pause(&self, interval: Duration) -> Duration {
        let together = self.recent_changes / self.recent_batches.max(1.0);
        pause(interval, self.busy_at.elapsed(), self.taken, together)
    }
}

/// After so long without a change and a round that took `taken` changes, of which `together` go
/// into one batch.
fn pause(interval: Duration, silence: Duration, taken: i64, together: f64) -> Duration {
    let of_changes = |changes: f64| PAUSE_PER_CHANGE.mul_f64(changes.clamp(0.0, 1_000.0));
    let longest = (APART_PAUSE_MAX + of_changes(together)).min(LOADED_PAUSE_MAX);
    let of_load = of_changes(taken as f64).min(longest);
    let of_silence = (silence / SILENCE_SHARE).min(SILENT_PAUSE_MAX);
    interval.max(of_load).max(of_silence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_silence_and_with_load_and_is_never_below_the_interval() {
        let ms = Duration::from_millis;
        let interval = ms(2);
        let at_once = |silence, taken| pause(interval, silence, taken, 1_000.0);
        assert_eq!(at_once(ms(0), 0), ms(2));
        assert_eq!(at_once(ms(1_000), 0), Duration::from_micros(2_500));
        assert_eq!(at_once(ms(8_000), 0), ms(20));
        assert_eq!(at_once(Duration::from_secs(1_000_000), 0), ms(30));
        assert_eq!(at_once(ms(0), 4), ms(2));
        assert_eq!(at_once(ms(0), 40), ms(20));
        assert_eq!(at_once(ms(0), i64::MAX), ms(50));
        assert_eq!(pause(ms(100), ms(8_000), 1_000, 1_000.0), ms(100));
        assert_eq!(at_once(ms(0), -1), ms(2));
        // 200 changes of 50 tenants.
        assert_eq!(pause(interval, ms(0), 200, 4.0), ms(42));
    }
}
