//! Which destinations failed slowly the last time, and how many of them may be tried at once.
//!
//! A destination that fails at once takes nothing from the others. A destination that does not
//! answer holds a turn to dial, or a connection, until a timeout. If there are more of these than
//! turns and connections, the healthy destinations wait for one timeout after the other. A worker
//! learns from its first failure which destination is slow to fail. From then on such destinations
//! are claimed apart from all others, a few at a time, the longest due first.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// At most this many requests whose last attempt failed slowly are worked on at once: half of the
/// turns to dial one address, a quarter of all turns, and a sixth of the connections (the crate
/// egress's `turns.rs`, the sync's `destinations/links.rs`). With the default connect timeout,
/// three silent destinations are tried each second.
pub const SLOW_AT_WORK_MAX: usize = 16;

/// A failure within this time is a prompt one: the server answered, or the attempt held its turn
/// only briefly.
const PROMPT: Duration = Duration::from_secs(1);

/// Tells destinations that fail slowly from those that fail promptly. That one fails at all is in
/// its request; this holds those whose last failure was prompt, in this process only. After a
/// restart, a failing destination counts as slow until it has failed promptly, or succeeded.
#[derive(Default)]
pub struct SlowFailures {
    prompt: Mutex<HashSet<i64>>,
}

impl SlowFailures {
    /// Notes how an attempt ended.
    pub fn note(&self, destination_id: i64, failed: bool, took: Duration) {
        if failed && took <= PROMPT {
            self.lock().insert(destination_id);
        } else {
            self.lock().remove(&destination_id);
        }
    }

    /// The failing destinations that answer quickly, for [`Due`](crate::Due).
    pub fn failing_promptly(&self) -> Vec<i64> {
        self.lock().iter().copied().collect()
    }

    /// Forgets destinations that no longer exist.
    pub fn retain(&self, known: impl Fn(i64) -> bool) {
        self.lock().retain(|id| known(*id));
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<i64>> {
        self.prompt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_destination_that_failed_promptly_the_last_time_is_prompt() {
        let failures = SlowFailures::default();
        failures.note(1, true, PROMPT);
        assert_eq!(failures.failing_promptly(), [1]);
        failures.note(1, true, PROMPT + Duration::from_millis(1));
        assert!(failures.failing_promptly().is_empty(), "it failed slowly");
        failures.note(1, true, Duration::ZERO);
        failures.note(1, false, Duration::ZERO);
        assert!(failures.failing_promptly().is_empty(), "it succeeded");
        failures.note(2, true, Duration::ZERO);
        failures.retain(|id| id != 2);
        assert!(failures.failing_promptly().is_empty(), "it is not there any more");
    }
}
