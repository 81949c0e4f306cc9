//! The source's time, as the daemon knows it between two looks.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The source's time at one moment, carried on by a monotonic clock. A daemon whose own clock is off
/// by more than five minutes would be refused by every receiver.
#[derive(Debug, Clone, Copy)]
pub struct SourceClock {
    since_1970: Duration,
    at: Instant,
}

impl SourceClock {
    /// `since_1970` is what the source said. `at` was taken before it was asked: the clock is then
    /// late by the time of the question at most, and never ahead.
    pub fn new(since_1970: Duration, at: Instant) -> Self {
        Self { since_1970, at }
    }

    /// Since 1970.
    pub fn now(&self) -> Duration {
        self.since_1970 + self.at.elapsed()
    }

    pub fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.now()
    }
}
