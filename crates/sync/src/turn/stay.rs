//! A turn with nothing left to do stays for a moment. The change that follows is then read and
//! applied as soon as it is numbered: it need not be owed and claimed first.

use std::time::Duration;

use super::{Context, Turn};
use crate::destinations::Place;

/// How long a turn waits for the next change: at 100 changes a second, eight of ten come sooner.
const STAY_MAX: Duration = Duration::from_millis(15);

/// A turn stays no longer than this after its begin. By so much more, what the source knows of the
/// copy may be old.
const STAYS_UNTIL: Duration = Duration::from_millis(100);

/// Turns that stay at the same time. Each is woken by the changes of all tenants and then reads, if
/// only to find that nothing is its own.
pub(crate) const STAYING_MAX: usize = 3;

impl Turn<'_> {
    /// Waits until a change has been numbered behind `head`, with which everything that was owed is
    /// applied. False: the turn ends.
    pub(super) async fn stays(&self, head: i64) -> bool {
        // A read that found nothing ends the turn: the change was another tenant's. Or there is none:
        // a tick that was rolled back has used up its numbers, which the log does not reach.
        let applied = self.wrote && self.completing.is_some();
        let left = STAYS_UNTIL.saturating_sub(self.began.elapsed());
        if !applied || left.is_zero() || !self.may_stay() {
            return false;
        }
        let Context { staying, numbered, stopping, .. } = self.context;
        let Ok(_place) = staying.try_acquire() else { return false };
        let mut numbered = numbered.clone();
        tokio::select! {
            more = numbered.wait_for(|numbered| *numbered > head) => more.is_ok(),
            () = stopping.cancelled() => false,
            () = tokio::time::sleep(STAY_MAX.min(left)) => false,
        }
    }

    /// Places of many tenants have their own way to do much at once; and D1 bills each batch, so
    /// fewer and larger ones are better there.
    fn may_stay(&self) -> bool {
        let spec = &self.registered.spec;
        !spec.shared && matches!(*spec.place, Place::Postgres { .. } | Place::Sqlite(_))
    }
}
