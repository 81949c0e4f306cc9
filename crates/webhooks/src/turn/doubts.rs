//! Requests that a receiver answered with 500, while it is open whether the event or the endpoint is
//! at fault.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Requests in doubt of one webhook, at most: as many as may be in flight.
const PER_WEBHOOK_MAX: usize = 64;

/// How often each request was answered so, by webhook and by the request's id, in this process
/// only: another process begins to count again, and asks twice too.
#[derive(Debug, Default)]
pub(crate) struct Doubts(Mutex<HashMap<i64, HashMap<String, u32>>>);

impl Doubts {
    /// Notes one more such answer, and returns how many there were in a row.
    pub(crate) fn note(&self, webhook_id: i64, id: &str) -> u32 {
        let mut all = self.lock();
        let of_one = all.entry(webhook_id).or_default();
        if of_one.len() >= PER_WEBHOOK_MAX && !of_one.contains_key(id) {
            of_one.clear();
        }
        let times = of_one.entry(id.to_owned()).or_insert(0);
        *times = times.saturating_add(1);
        *times
    }

    /// Everything of a webhook was told.
    pub(crate) fn forget(&self, webhook_id: i64) {
        self.lock().remove(&webhook_id);
    }

    /// Forgets webhooks that no longer exist.
    pub(crate) fn retain(&self, known: impl Fn(i64) -> bool) {
        self.lock().retain(|id, _| known(*id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, HashMap<String, u32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_request_and_webhook() {
        let doubts = Doubts::default();
        assert_eq!((doubts.note(1, "a"), doubts.note(1, "a"), doubts.note(1, "b")), (1, 2, 1));
        assert_eq!(doubts.note(2, "a"), 1);
        doubts.forget(1);
        assert_eq!(doubts.note(1, "a"), 1);
        for at in 0..PER_WEBHOOK_MAX * 2 {
            doubts.note(3, &at.to_string());
        }
        assert!(doubts.lock()[&3].len() <= PER_WEBHOOK_MAX);
        doubts.retain(|id| id != 3);
        assert!(!doubts.lock().contains_key(&3));
    }
}
