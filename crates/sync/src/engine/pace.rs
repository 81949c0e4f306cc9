//! How often the engine looks for due requests.

use std::time::{Duration, Instant};

/// How often the engine looks for due requests without a nudge. A request that another replica's
/// poller enqueued, or whose backoff has ended, waits this long at most.
const CLAIM_INTERVAL: Duration = Duration::from_millis(50);

/// After this long without a request the engine looks less often. It misses nothing by that: this
/// process's poller nudges it for new requests, and a retry may come a little late.
const IDLE_AFTER: Duration = Duration::from_secs(1);
const CLAIM_INTERVAL_IDLE: Duration = Duration::from_millis(500);

/// When due requests are looked for.
pub(super) struct Pace {
    /// The next look, unless a nudge comes first.
    pub(super) claim_at: Instant,
    /// Nudges claim healthy requests only. From this time on the next look also takes those that
    /// failed slowly.
    pub(super) retry_at: Instant,
    /// When a request was last in flight.
    busy_at: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { claim_at: now, retry_at: now, busy_at: now }
    }

    /// Notes a look: whether it took what had failed slowly, and whether requests are in flight.
    pub(super) fn claimed(&mut self, retried: bool, busy: bool) {
        let now = Instant::now();
        if retried {
            self.retry_at = now + CLAIM_INTERVAL;
        }
        if busy {
            self.busy_at = now;
        }
        let idle = now - self.busy_at > IDLE_AFTER;
        self.claim_at = now + if idle { CLAIM_INTERVAL_IDLE } else { CLAIM_INTERVAL };
    }
}
