//! Beyond which capture id the sequencer looks.
//!
//! A capture id is drawn before its transaction commits. So a change may become visible behind
//! others that were taken already, and a look beyond the highest id that was taken would miss it. A
//! look from the beginning misses nothing, but reads over the index entries of deleted rows, which
//! VACUUM cannot remove while a long snapshot is open.
//!
//! Both are avoided where it is known that nothing can appear below some id. Whoever drew a lower id
//! than one that a tick took drew it before that tick's snapshot, in a transaction that had its
//! transaction id by then: the application's row is written before its capture. The tick gets its
//! own transaction id after its snapshot, so that one is higher. Once no transaction up to it runs,
//! everything below what it took has been committed, and is seen by the next look, or never will be.

use std::time::{Duration, Instant};

/// So many capture ids are looked through in every look. A look at a thousand entries of deleted
/// rows takes a fraction of a millisecond.
const NEAR: i64 = 2_000;

/// Where a transaction has been open while more were drawn, a look reads all of them only so often,
/// and the others read only what is new: a transaction that wrote early and commits late waits at
/// most this long.
const FAR_INTERVAL: Duration = Duration::from_millis(50);

/// How often a look reads from the beginning, whatever is known.
const WHOLE_INTERVAL: Duration = Duration::from_secs(5);

/// If a look is slow because of deleted rows, the pause after it is this many times as long: at most
/// 5 % of the time goes into looking back.
const LOOK_BACK_SHARE: u32 = 20;

/// A look's lower bound, and what it follows from.
pub(crate) struct LookBack {
    /// The highest capture id that this process has taken.
    seen: i64,
    /// Nothing will appear up to here.
    floor: i64,
    /// The floor to be, and the transaction of the tick that took it.
    settling: Option<(i64, i64)>,
    far_at: Instant,
    whole_at: Instant,
}

impl LookBack {
    pub(crate) fn new(now: Instant) -> Self {
        Self { seen: 0, floor: 0, settling: None, far_at: now, whole_at: now }
    }

    /// Only changes with a greater capture id are looked at.
    pub(crate) fn after(&self, now: Instant) -> i64 {
        if now >= self.whole_at {
            0
        } else if self.seen - self.floor <= NEAR || now >= self.far_at {
            self.floor
        } else {
            self.seen
        }
    }

    /// A look beyond `after` took so long.
    pub(crate) fn note_look(&mut self, after: i64, began: Instant, took: Duration) {
        if after == 0 {
            self.whole_at = began + took + (took * LOOK_BACK_SHARE).max(WHOLE_INTERVAL);
        }
        if after < self.seen {
            self.far_at = began + took + (took * LOOK_BACK_SHARE).max(FAR_INTERVAL);
        }
    }

    /// All that a look beyond `after` found first has been taken. `oldest`: the oldest transaction
    /// that ran at the look.
    pub(crate) fn note_done(&mut self, after: i64, oldest: i64) {
        // A look that was not from the floor on may have missed what has appeared there.
        let ended = |of: &mut (i64, i64)| after <= self.floor && of.1 < oldest;
        if let Some((floor, _)) = self.settling.take_if(ended) {
            self.floor = floor;
        }
    }

    /// A tick took changes up to this capture id, in this transaction.
    pub(crate) fn note_taken(&mut self, up_to: i64, transaction: i64) {
        if up_to <= self.floor {
            // Only where ids are drawn anew from a lower one: somebody has set the sequence back.
            (self.seen, self.floor, self.settling) = (0, 0, None);
        }
        self.seen = self.seen.max(up_to);
        if self.settling.is_none() {
            self.settling = Some((self.seen, transaction));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_floor_rises_when_all_that_could_be_below_has_ended() {
        let now = Instant::now();
        let mut look = LookBack::new(now);
        assert_eq!(look.after(now), 0);
        look.note_look(0, now, MS);
        // A tick in transaction 100 takes up to 500, while 95 runs, which may have drawn 499.
        look.note_taken(500, 100);
        look.note_done(0, 95);
        assert_eq!(look.after(now + MS * 2), 0);
        // A look beyond what was taken does not see what 95 did.
        look.note_done(500, 101);
        assert_eq!(look.after(now + MS * 2), 0);
        // The tick itself runs no more, and 95 neither.
        look.note_done(0, 101);
        assert_eq!(look.after(now + MS * 2), 500);
        look.note_taken(501, 110);
        assert_eq!(look.after(now + MS * 2), 500);
        // The ids begin anew.
        look.note_taken(400, 120);
        assert_eq!(look.after(now + MS * 2), 0);
    }

    #[test]
    fn far_behind_a_long_transaction_most_looks_read_only_what_is_new() {
        let now = Instant::now();
        let mut look = LookBack::new(now);
        look.note_look(0, now, MS);
        look.note_taken(NEAR + 1, 100);
        let later = now + MS * 2;
        assert_eq!(look.after(later), 0);
        look.note_look(0, later, MS);
        assert_eq!(look.after(later + MS * 2), NEAR + 1);
        assert_eq!(look.after(later + FAR_INTERVAL * 2), 0);
        // A slow look is the rarer.
        look.note_look(0, later + FAR_INTERVAL * 2, MS * 10);
        assert_eq!(look.after(later + FAR_INTERVAL * 5), NEAR + 1);
        assert_eq!(look.after(later + FAR_INTERVAL * 7), 0);
    }

    #[test]
    fn a_look_from_the_beginning_comes_back() {
        let now = Instant::now();
        let mut look = LookBack::new(now);
        look.note_look(0, now, MS);
        look.note_taken(10, 100);
        look.note_done(0, 101);
        assert_eq!(look.after(now + MS * 2), 10);
        assert_eq!(look.after(now + WHOLE_INTERVAL * 2), 0);
    }
}
