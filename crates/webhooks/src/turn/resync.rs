//! When a webhook must be told that rows it knows may be gone.

use offtake_reading::EventPage;

use super::events::{Delivery, What};
use super::{Cursor, Turn};

impl Cursor {
    /// Whether nothing but changes is owed.
    pub(super) fn settled(&self) -> bool {
        self.at.resync_reason.is_none() && self.at.backfilled
    }

    /// Notes that a resync is owed, and that everything up to `sequence_id` is told by it.
    pub(super) fn owe_resync(&mut self, reason: &str, sequence_id: i64, epoch: &str) {
        // The reason that is owed already is told; it says no less.
        self.at.resync_reason.get_or_insert_with(|| reason.to_owned());
        self.at.resync_sequence_id = Some(sequence_id);
        self.at.sequence_id = sequence_id;
        self.at.epoch = Some(epoch.to_owned());
        self.moved = true;
    }
}

impl Turn<'_> {
    /// Notes which resyncs follow from a page. If any do, the page is of no use.
    pub(super) fn note_resyncs(&mut self, page: &EventPage) -> bool {
        let mut noted = false;
        for part in &page.parts {
            let Some(cursor) = self.cursor_of(part.mapping.name()) else { continue };
            let other_epoch = cursor.at.epoch.as_deref().is_some_and(|epoch| epoch != page.epoch);
            let other_version =
                cursor.at.version.as_deref().is_some_and(|version| version != cursor.version);
            if other_epoch {
                cursor.owe_resync("epoch", page.head, &page.epoch);
            } else if other_version {
                // Changes before it may have been captured by other rules; the rows are read again.
                let at = cursor.at.sequence_id;
                cursor.owe_resync("mapping_changed", at, &page.epoch);
            } else if let Some(end) = part.whole_table {
                cursor.owe_resync("truncated", end, &page.epoch);
            } else {
                if cursor.at.epoch.is_none() || cursor.at.version.is_none() {
                    cursor.at.epoch = Some(page.epoch.clone());
                    cursor.at.version = Some(cursor.version.clone());
                    cursor.moved = true;
                }
                continue;
            }
            cursor.at.version = Some(cursor.version.clone());
            cursor.at.need = Some(cursor.mapping.need());
            noted = true;
        }
        // Otherwise a receiver that knows the ids of an earlier resync would drop this one.
        self.generation += i64::from(noted);
        noted
    }

    /// Records which barriers were acknowledged.
    pub(super) fn settle_barriers(&mut self, delivery: &Delivery) {
        let backfill = self.registered.spec.backfill;
        for (event, done) in delivery.events.iter().zip(&delivery.done) {
            if !done {
                continue;
            }
            let cursor = &mut self.cursors[event.mapping];
            match event.told {
                What::Resync(_) => {
                    cursor.at.resync_reason = None;
                    cursor.at.backfilled = !backfill;
                    cursor.at.backfill_key = None;
                    cursor.begun = backfill;
                }
                What::Backfilled => {
                    cursor.at.backfilled = true;
                    cursor.at.backfill_key = None;
                }
                What::Row(_) => continue,
            }
            cursor.moved = true;
        }
    }
}
