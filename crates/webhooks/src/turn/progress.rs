//! From what was acknowledged to the cursors, and from there to the source.

use std::time::Instant;

use offtake_loops::failpoint;
use offtake_reading::key_texts;
use offtake_requests::WebhookCursor;

use super::events::{Delivery, Origin};
use super::{Cursor, QUARANTINED_MAX, Turn};
use crate::record::{self, Moved, Progress, QuarantinedEvent, Saved, ToldAll};
use crate::turn::delivery::Stop;
use crate::{Error, OnEventError};

impl Turn<'_> {
    pub(super) fn cursor_of(&mut self, mapping: &str) -> Option<&mut Cursor> {
        self.cursors.iter_mut().find(|cursor| cursor.mapping.name() == mapping)
    }

    /// Moves the cursors as far as everything before them is done: up to the first change that is
    /// not, or to the end of what was read.
    pub(super) fn settle(&mut self, delivery: &mut Delivery) {
        for (mapping, end) in delivery.ends.iter().enumerate() {
            let Some(end) = *end else { continue };
            let first_open = delivery
                .events
                .iter()
                .zip(&delivery.done)
                .filter(|(event, done)| {
                    !**done && event.mapping == mapping && event.origin == Origin::Change
                })
                .map(|(event, _)| event.sequence_id - 1)
                .min();
            let reached = first_open.map_or(end, |open| open.min(end));
            match delivery.replay {
                Some(replay_id) => self.replay_reached(replay_id, reached),
                None => {
                    let cursor = &mut self.cursors[mapping];
                    if reached > cursor.at.sequence_id {
                        cursor.at.sequence_id = reached;
                        cursor.moved = true;
                    }
                }
            }
        }
        self.settle_chunk(delivery);
    }

    fn replay_reached(&mut self, replay_id: i64, reached: i64) {
        let Some(replay) = self.replays.iter_mut().find(|replay| replay.replay_id == replay_id)
        else {
            return;
        };
        if reached > replay.after || reached >= replay.up_to {
            replay.after = reached;
            self.unsaved.replays.retain(|(known, _)| *known != replay_id);
            self.unsaved.replays.push((replay_id, reached));
        }
    }

    /// Moves a backfill as far as its rows are done, which come in key order.
    fn settle_chunk(&mut self, delivery: &mut Delivery) {
        let Some(chunk) = &mut delivery.chunk else { return };
        let rows = delivery.events.iter().zip(&delivery.done);
        let mut rows = rows.filter(|(event, _)| event.origin == Origin::Backfill).peekable();
        let (mut told, mut last) = (0, None);
        while let Some((event, _)) = rows.next_if(|(_, done)| **done) {
            told += 1;
            last = event.row();
        }
        let complete = rows.next().is_none();
        let cursor = &mut self.cursors[chunk.mapping];
        let newly = told - chunk.counted;
        let key = match (complete, last) {
            (true, _) => {
                chunk.finished = chunk.up_to.is_none();
                let last = last.filter(|_| newly > 0);
                let last = last.map(|row| key_texts(&cursor.mapping, &row.row_key));
                chunk.up_to.clone().or(last)
            }
            (false, Some(row)) if newly > 0 => Some(key_texts(&cursor.mapping, &row.row_key)),
            (false, _) => None,
        };
        chunk.counted = told;
        cursor.rows += newly;
        cursor.moved |= newly > 0;
        if let Some(key) = key {
            cursor.at.backfill_key = Some(key);
            cursor.moved = true;
        }
    }

    /// Sets aside the rows that the query cannot compute. Some: there are too many.
    pub(super) fn set_failed_aside(&mut self, delivery: &mut Delivery) -> Option<Stop> {
        for (mapping, failed) in std::mem::take(&mut delivery.failed) {
            let known = failed.sequence_id <= self.cursors[mapping].at.sequence_id;
            let event = QuarantinedEvent {
                mapping: self.registered.mappings[mapping].0.name().to_owned(),
                row_key: failed.row_key,
                sequence_id: failed.sequence_id,
                captured_at: failed.captured_at,
                status: None,
                error: failed.error,
                sqlstate: Some(failed.sqlstate),
                exhausted: false,
            };
            let stop = self.set_aside(event, known);
            if stop.is_some() {
                return stop;
            }
        }
        None
    }

    /// Puts one event into quarantine; `known`: it is there already. Some: it cannot be.
    pub(super) fn set_aside(&mut self, event: QuarantinedEvent, known: bool) -> Option<Stop> {
        let why = &event.error;
        if self.registered.spec.on_event_error == OnEventError::Halt {
            return Some(Stop::failed(
                format!("{why}; it waits at this event, as on_event_error: halt says"),
                event.status,
            ));
        }
        if !known && self.quarantined >= QUARANTINED_MAX {
            return Some(Stop::failed(
                format!("refuses too many events: {QUARANTINED_MAX} are in quarantine; {why}"),
                event.status,
            ));
        }
        let label = self.registered.spec.label();
        tracing::warn!(
            event = "event_quarantined",
            webhook = label,
            mapping = event.mapping,
            status = event.status,
            "an event of {} for {label} is set aside: {why}",
            event.mapping
        );
        let same =
            |known: &(String, String)| (&known.0, &known.1) == (&event.mapping, &event.row_key);
        self.unsaved.released.retain(|known| !same(known));
        self.quarantined += i64::from(!known);
        self.unsaved.quarantined.push(event);
        None
    }

    /// An event was acknowledged that may be in quarantine; `known`: it is.
    pub(super) fn release(&mut self, mapping: &str, row_key: &str, known: bool) {
        if self.quarantined == 0 && self.claim.quarantined == 0 {
            return;
        }
        let before = self.unsaved.quarantined.len();
        self.unsaved
            .quarantined
            .retain(|event| event.mapping != mapping || event.row_key != row_key);
        let taken_back = before > self.unsaved.quarantined.len();
        self.quarantined -= i64::from((known || taken_back) && self.quarantined > 0);
        self.unsaved.released.push((mapping.to_owned(), row_key.to_owned()));
    }

    pub(super) fn nothing_unsaved(&self) -> bool {
        self.unsaved.nothing() && self.cursors.iter().all(|cursor| !cursor.moved)
    }

    /// Records what was reached. `reached`: and completes the request, if no more is wanted.
    pub(super) async fn save(&mut self, reached: Option<i64>) -> Result<Saved, Error> {
        failpoint("webhooks.before_save").await.map_err(Error::Source)?;
        let together = match reached.and_then(|reached| self.told_all(reached)) {
            Some(done) => self.context.saves.save(&self.context.pool, done).await,
            None => None,
        };
        let saved = match together {
            Some(saved) => saved,
            None => self.save_alone(reached).await?,
        };
        self.unsaved = Progress::default();
        self.saved_at = Instant::now();
        for cursor in &mut self.cursors {
            (cursor.moved, cursor.rows, cursor.begun) = (false, 0, false);
            cursor.was = (cursor.at.resync_reason.clone(), cursor.at.resync_sequence_id);
        }
        Ok(saved)
    }

    /// What is to be recorded where that is only that everything was told: the cursors have moved to
    /// one place, and are otherwise as they were claimed.
    fn told_all(&self, reached: i64) -> Option<ToldAll> {
        let stands = |cursor: &Cursor| {
            let claimed = self.claim.cursors.iter().find(|of| of.mapping == cursor.at.mapping);
            let moved = claimed.map(|of| WebhookCursor { sequence_id: reached, ..of.clone() });
            moved.as_ref() == Some(&cursor.at) && cursor.settled()
        };
        let plain = !self.cursors.is_empty()
            && self.generation == self.claim.generation
            && self.unsaved.only_told()
            && self.cursors.iter().all(stands);
        plain.then(|| ToldAll {
            lease: self.claim.lease,
            mappings: self.cursors.iter().map(|cursor| cursor.at.mapping.clone()).collect(),
            reached,
            delivered: self.unsaved.delivered,
            last_status: self.unsaved.last_status,
        })
    }

    async fn save_alone(&mut self, reached: Option<i64>) -> Result<Saved, Error> {
        let moved = self.cursors.iter().filter(|cursor| cursor.moved);
        self.unsaved.cursors = moved
            .map(|cursor| Moved {
                cursor: cursor.at.clone(),
                was: cursor.was.clone(),
                rows: cursor.rows,
                begun: cursor.begun,
            })
            .collect();
        self.unsaved.generation = self.generation;
        let (pool, schedule) = (&self.context.pool, &self.context.settings.event_schedule);
        record::save(pool, self.claim.lease, &self.unsaved, schedule, reached).await
    }
}
