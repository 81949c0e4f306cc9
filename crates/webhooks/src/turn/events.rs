//! What one page tells, event by event, in the order in which it is told.

use offtake_reading::{EventPage, EventRow, RowState};
use offtake_requests::WebhookReplay;

use super::Turn;
use crate::{Event, EventKind};

/// The reasons of a resync, as they are stored and told.
pub(super) const REASONS: [&str; 6] =
    ["truncated", "overlooked", "mapping_changed", "log_lost", "epoch", "asked"];

/// One event that is to be told.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Which of the webhook's mappings it is of, by its place.
    pub(super) mapping: usize,
    pub(super) told: What,
    pub(super) sequence_id: i64,
    pub(super) captured_at: String,
    pub(super) origin: Origin,
}

/// What an event says.
#[derive(Debug)]
pub(super) enum What {
    Row(EventRow),
    /// With one of [`REASONS`].
    Resync(&'static str),
    Backfilled,
}

/// Why an event is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The log has a change behind the cursor.
    Change,
    /// It was refused, and is due for another attempt.
    Retry,
    /// All rows are told.
    Backfill,
    /// Nothing of its mapping may overtake it, and it is never set aside.
    Barrier,
}

/// Events that are told together, and which of them are done with.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) events: Vec<Outgoing>,
    /// Acknowledged, set aside, or not wanted.
    pub(super) done: Vec<bool>,
    pub(super) as_of: i64,
    pub(super) epoch: String,
    /// When the snapshot was taken, as events have times.
    pub(super) now_text: String,
    /// Per mapping of the webhook: where its cursor stands once all of its changes are done. None:
    /// nothing was read of it.
    pub(super) ends: Vec<Option<i64>>,
    /// The stretch of a backfill that is in it.
    pub(super) chunk: Option<ChunkEnd>,
    /// The cursor is that of a replay.
    pub(super) replay: Option<i64>,
    /// Rows that the query cannot compute.
    pub(super) failed: Vec<(usize, offtake_reading::FailedEvent)>,
}

/// Where a stretch of a backfill ends.
#[derive(Debug)]
pub(super) struct ChunkEnd {
    pub(super) mapping: usize,
    /// None: at the end of the table.
    pub(super) up_to: Option<Vec<String>>,
    /// Rows of it that were told and are recorded.
    pub(super) counted: i64,
    /// All of it was told, and there are no more rows.
    pub(super) finished: bool,
}

impl Outgoing {
    /// The event as its receiver gets it.
    pub(super) fn event<'a>(&'a self, turn: &'a Turn<'_>, delivery: &'a Delivery) -> Event<'a> {
        let mapping = turn.registered.mappings[self.mapping].0.name();
        let (kind, key, data, too_large) = match &self.told {
            What::Resync(reason) => (EventKind::Resync(reason), None, None, false),
            What::Backfilled => (EventKind::Backfilled, None, None, false),
            What::Row(row) => match &row.state {
                RowState::Present(data) => {
                    (EventKind::Upserted, Some(row.key.as_str()), data.as_deref(), false)
                }
                RowState::TooLarge => (EventKind::Upserted, Some(row.key.as_str()), None, true),
                RowState::Absent => (EventKind::Deleted, Some(row.key.as_str()), None, false),
            },
        };
        Event {
            kind,
            timestamp: &self.captured_at,
            tenant: &turn.registered.spec.tenant_id,
            mapping,
            sequence_id: self.sequence_id,
            as_of: delivery.as_of,
            epoch: &delivery.epoch,
            key,
            data,
            too_large,
            backfill: self.origin == Origin::Backfill,
        }
    }

    pub(super) fn row(&self) -> Option<&EventRow> {
        match &self.told {
            What::Row(row) => Some(row),
            What::Resync(_) | What::Backfilled => None,
        }
    }

    /// About how many bytes of a batch it takes.
    pub(super) fn bytes(&self) -> usize {
        let row = self.row().map_or(0, |row| {
            let data = match &row.state {
                RowState::Present(Some(data)) => data.len(),
                _ => 0,
            };
            data + row.key.len()
        });
        row + EVENT_OVERHEAD
    }
}

/// What an event has besides key and data, at most, with usual names.
const EVENT_OVERHEAD: usize = 512;

impl Turn<'_> {
    /// The resyncs that are owed, as a delivery of their own.
    pub(super) fn resyncs(&self, page: &EventPage) -> Delivery {
        let owed = self.cursors.iter().enumerate().filter_map(|(mapping, cursor)| {
            let reason = cursor.at.resync_reason.as_deref()?;
            let reason = REASONS.iter().find(|known| **known == reason)?;
            let sequence_id = cursor.at.resync_sequence_id.unwrap_or(cursor.at.sequence_id);
            let readable = cursor.deferred.is_none();
            readable.then(|| barrier(mapping, What::Resync(reason), sequence_id, page))
        });
        self.barriers(owed.collect(), (page.head, &page.epoch, &page.now_text))
    }

    /// The ends of backfills that a page has told to the last row.
    pub(super) fn backfilled(&self, told: &Delivery) -> Delivery {
        let finished = told.chunk.iter().filter(|chunk| chunk.finished);
        let ends = finished.map(|chunk| {
            let at = &self.cursors[chunk.mapping].at;
            Outgoing {
                mapping: chunk.mapping,
                told: What::Backfilled,
                sequence_id: at.resync_sequence_id.unwrap_or(at.sequence_id),
                captured_at: told.now_text.clone(),
                origin: Origin::Barrier,
            }
        });
        self.barriers(ends.collect(), (told.as_of, &told.epoch, &told.now_text))
    }

    fn barriers(
        &self,
        events: Vec<Outgoing>,
        (as_of, epoch, now_text): (i64, &str, &str),
    ) -> Delivery {
        Delivery {
            done: vec![false; events.len()],
            events,
            as_of,
            epoch: epoch.to_owned(),
            now_text: now_text.to_owned(),
            ends: vec![None; self.cursors.len()],
            chunk: None,
            replay: None,
            failed: Vec::new(),
        }
    }

    /// What a page tells. `replay`: it was read for this replay.
    pub(super) fn delivery_of(&self, page: EventPage, replay: Option<&WebhookReplay>) -> Delivery {
        let snapshot = (page.head, page.epoch.as_str(), page.now_text.as_str());
        let mut delivery = self.barriers(Vec::new(), snapshot);
        delivery.replay = replay.map(|replay| replay.replay_id);
        let (mut chunk_rows, mut events) = (Vec::new(), Vec::new());
        for part in page.parts {
            let name = part.mapping.name();
            let at = self.cursors.iter().position(|cursor| cursor.mapping.name() == name);
            let Some(mapping) = at.filter(|_| !part.locked_out) else { continue };
            let cursor = &self.cursors[mapping].at;
            let after = replay.map_or(cursor.sequence_id, |replay| replay.after);
            let end = match replay {
                Some(replay) if page.exhausted => replay.up_to,
                _ => page.read_up_to,
            };
            delivery.ends[mapping] = Some(end.max(after));
            let outgoing = |row: EventRow, origin| Outgoing {
                mapping,
                sequence_id: row.sequence_id,
                captured_at: row.captured_at.clone(),
                told: What::Row(row),
                origin,
            };
            events.extend(part.rows.into_iter().map(|row| {
                let retry = replay.is_none() && row.sequence_id <= after;
                outgoing(row, if retry { Origin::Retry } else { Origin::Change })
            }));
            delivery.failed.extend(part.failed.into_iter().map(|failed| (mapping, failed)));
            if let Some(chunk) = part.chunk {
                let sequence_id = cursor.resync_sequence_id.unwrap_or(cursor.sequence_id);
                chunk_rows.extend(
                    chunk
                        .rows
                        .into_iter()
                        .map(|row| outgoing(EventRow { sequence_id, ..row }, Origin::Backfill)),
                );
                let up_to = chunk.up_to;
                delivery.chunk = Some(ChunkEnd { mapping, up_to, counted: 0, finished: false });
            }
        }
        events.sort_by_key(|event: &Outgoing| event.sequence_id);
        events.append(&mut chunk_rows);
        let spec = &self.registered.spec;
        delivery.done = events
            .iter()
            .map(|event| match event.row().map(|row| &row.state) {
                Some(RowState::Absent) => !spec.deleted,
                _ => !spec.upserted,
            })
            .collect();
        delivery.events = events;
        delivery
    }
}

fn barrier(mapping: usize, told: What, sequence_id: i64, page: &EventPage) -> Outgoing {
    let captured_at = page.now_text.clone();
    Outgoing { mapping, told, sequence_id, captured_at, origin: Origin::Barrier }
}

impl Delivery {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
