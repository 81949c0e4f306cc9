//! Who kept us waiting the last time, and how much of what all share such destinations may take.
//!
//! A destination that fails at once takes nothing from anybody. One that is silent holds a turn to
//! dial, or a connection, until a deadline; of more such than there are turns and connections, the
//! others would wait for deadline after deadline. Which one is silent is known after its first
//! failure, from its request; so those are claimed by themselves, a few at a time, the longest due
//! first.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Requests at work at one time whose last attempt failed late: half of the turns to dial one
/// address, a quarter of all, and a sixth of the connections (`dial/turns.rs`,
/// `destinations/links.rs`). With the default connect timeout, three silent destinations are tried
/// each second.
pub(crate) const AT_WORK_MAX: usize = 16;

/// A failure within this time came from a server that answers, or from one that nobody has to wait
/// for.
const PROMPT: Duration = Duration::from_secs(1);

/// Destinations whose last attempt failed promptly. Kept in this process only: after a restart
/// whoever had failed counts as silent until it has failed promptly once, or succeeded.
#[derive(Default)]
pub(crate) struct Silence(Mutex<HashSet<i64>>);

impl Silence {
    /// How an attempt ended.
    pub(crate) fn note(&self, destination_id: i64, failed: bool, took: Duration) {
        if failed && took <= PROMPT {
            self.prompt_ones().insert(destination_id);
        } else {
            self.prompt_ones().remove(&destination_id);
        }
    }

    /// Those that fail promptly.
    pub(crate) fn prompt(&self) -> Vec<i64> {
        self.prompt_ones().iter().copied().collect()
    }

    /// Forgets destinations that are not there any more.
    pub(crate) fn retain(&self, known: impl Fn(i64) -> bool) {
        self.prompt_ones().retain(|id| known(*id));
    }

    fn prompt_ones(&self) -> MutexGuard<'_, HashSet<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
