//! For how long what is known of a tenant counts, in a place that many share.
//!
//! To take a tenant up costs a quarter of a change, and while a million tenants change, each of them
//! was written to minutes ago. So what is known counts until a visit is due. It is a hint: a write
//! compares it with what is there, and leaves out a tenant that stands elsewhere. Where other
//! daemons write to the same tenants that is often so, and a tenant that was left out is read in
//! vain. For five minutes after that, what is known counts only as long as an idle session is kept.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::destinations::{IDLE_MAX, KNOWN_MAX};

/// Where more than one in so many is left out, others write there, too.
const LEFT_OUT_ONE_IN: usize = 10;

/// A smaller group says as much as one of this size.
const MEMBERS_MIN: usize = 100;

#[derive(Default)]
pub(crate) struct Trust {
    /// When many were left out.
    lost_at: Mutex<Option<Instant>>,
}

impl Trust {
    /// Older knowledge does not count.
    pub(super) fn age_max(&self) -> Duration {
        match *self.lost_at() {
            Some(at) if at.elapsed() < KNOWN_MAX => IDLE_MAX,
            _ => KNOWN_MAX,
        }
    }

    /// So many of the known `members` of a group were left out by its write.
    pub(super) fn found(&self, members: usize, left_out: usize) {
        if left_out * LEFT_OUT_ONE_IN > members.max(MEMBERS_MIN) {
            *self.lost_at() = Some(Instant::now());
        }
    }

    fn lost_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.lost_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_counts_for_less_long_once_many_were_left_out() {
        let trust = Trust::default();
        trust.found(250, 25);
        trust.found(10, 10);
        assert_eq!(trust.age_max(), KNOWN_MAX);
        trust.found(250, 26);
        assert_eq!(trust.age_max(), IDLE_MAX);
        *trust.lost_at() = Instant::now().checked_sub(KNOWN_MAX);
        assert_eq!(trust.age_max(), KNOWN_MAX);
    }
}
