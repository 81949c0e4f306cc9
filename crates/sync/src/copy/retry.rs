//! What follows from a failure, and how long to wait before the next attempt.

use std::time::Duration;

use offtake_postgres::Fault;
use rand::Rng as _;

use super::{Copier, Event, Side, Stop};
use crate::Error;
use crate::destinations::Trouble;

/// The first wait is at most this long; each further one at most twice as long as the one before.
pub(super) const INITIAL: Duration = Duration::from_millis(500);
pub(super) const MAX: Duration = Duration::from_secs(30);

/// A destination that says "later" is believed so often in a row: an hour, at Cloudflare's five
/// minutes.
const LATER_MAX: u32 = 12;

/// How often something was tried.
#[derive(Debug, Default)]
pub(super) struct Tries {
    pub(super) failed: u32,
    later: u32,
}

/// Why a batch was not copied.
#[derive(Debug)]
pub(super) enum Trip {
    /// To be tried again, with a new session.
    Again { side: Side, why: String },
    /// The destination said when: to be tried again then, and not counted.
    Later { why: String, wait: Duration },
    /// The rows take too long: to be tried again with half as many.
    TooSlow { side: Side, why: String },
    /// Concerns the rows at hand: their chunk fails, and the next one begins.
    Chunk(String),
    /// Ends the run.
    Stop(Stop),
}

impl From<Stop> for Trip {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<Error> for Trip {
    fn from(error: Error) -> Self {
        match error {
            Error::Source(error) => of_source(&error),
            Error::Destination(trouble) | Error::Place(trouble) => of_destination(trouble),
            Error::Mapping { fault, .. } => Self::Chunk(fault.message),
            Error::Cancelled => Self::Stop(Stop::Interrupted),
            Error::Stale
            | Error::Making
            | Error::Lost
            | Error::Overflow { .. }
            | Error::Deadline(_) => Self::Again { side: Side::Destination, why: error.to_string() },
        }
    }
}

impl From<offtake_reading::Error> for Trip {
    fn from(error: offtake_reading::Error) -> Self {
        match error {
            offtake_reading::Error::TooSlow { fault, .. } => {
                Self::TooSlow { side: Side::Source, why: fault.message }
            }
            other => Error::from(other).into(),
        }
    }
}

pub(super) fn of_source(error: &offtake_postgres::Error) -> Trip {
    of_fault(Side::Source, error.fault(), error.message(), error.message())
}

pub(super) fn of_destination(trouble: Trouble) -> Trip {
    if let Some(wait) = trouble.wait {
        return Trip::Later { why: trouble.message, wait };
    }
    of_fault(Side::Destination, trouble.fault, trouble.message, trouble.reason)
}

/// `reason`: with what it means, and the remedy where one is known.
fn of_fault(side: Side, fault: Fault, message: String, reason: String) -> Trip {
    match fault {
        Fault::TooSlow => Trip::TooSlow { side, why: message },
        Fault::Transient | Fault::Unreachable | Fault::OutcomeUnknown => {
            Trip::Again { side, why: message }
        }
        Fault::Schema | Fault::Row => Trip::Chunk(reason),
        Fault::Credentials | Fault::ReadOnly | Fault::Full | Fault::Fatal => {
            Trip::Stop(Stop::Refused { side, why: reason })
        }
    }
}

impl Copier {
    /// Waits as long as the destination wants. What it goes on to refuse counts as unreachable.
    pub(super) async fn wait_until_later(
        &self,
        table: &str,
        (why, wait): (&str, Duration),
        tries: &mut Tries,
    ) -> Result<(), Stop> {
        tries.later += 1;
        let side = Side::Destination;
        if tries.later > LATER_MAX {
            return Err(Stop::Unreachable { side, why: why.to_owned() });
        }
        (self.tell)(Event::Retry { table, side, why, attempt: tries.failed, wait });
        let over = async {
            match self.terms.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.stopping.cancelled() => Err(Stop::Interrupted),
            () = over => Err(Stop::TimeIsUp),
        }
    }
}

/// Full jitter: anything from nothing to the bound, which doubles.
pub(super) fn wait_before(attempt: u32) -> Duration {
    let bound = INITIAL.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(MAX);
    bound.mul_f64(rand::rng().random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_anything_below_a_bound_that_doubles() {
        for (attempt, bound) in [(1, 500), (2, 1000), (3, 2000), (60, 30_000)] {
            let waits: Vec<_> = (0..200).map(|_| wait_before(attempt)).collect();
            let bound = Duration::from_millis(bound);
            assert!(waits.iter().all(|wait| *wait <= bound));
            assert!(waits.iter().any(|wait| *wait > bound / 2), "{attempt}");
            assert!(waits.iter().any(|wait| *wait < bound / 2), "{attempt}");
        }
    }
}
