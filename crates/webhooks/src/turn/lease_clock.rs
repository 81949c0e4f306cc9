//! Until when a lease surely lasts.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a request is ours, by a clock of this process that began before the claim, or the
/// heartbeat, was sent: at the source the lease ends later than this says.
#[derive(Debug)]
pub(crate) struct LeaseClock {
    until: Mutex<Instant>,
}

impl LeaseClock {
    pub(crate) fn until(until: Instant) -> Self {
        Self { until: Mutex::new(until) }
    }

    /// A heartbeat was answered.
    pub(crate) fn extend(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Whether the request is ours for that long from now.
    pub(crate) fn outlasts(&self, time: Duration) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now() + time < until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_outlasts_only_what_ends_before_it() {
        let lease = LeaseClock::until(Instant::now() + Duration::from_secs(60));
        assert!(lease.outlasts(Duration::from_secs(30)));
        assert!(!lease.outlasts(Duration::from_secs(61)));
        lease.extend(Instant::now());
        assert!(!lease.outlasts(Duration::ZERO));
    }
}
