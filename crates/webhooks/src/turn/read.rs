//! Reading a page, and what follows when it cannot be read.

use std::sync::atomic::Ordering;
use std::time::Duration;

use offtake_loops::{failpoint, metrics as names, traces};
use offtake_reading::{
    ChunkStart, Error as ReadingError, EventPage, EventPosition, EventsWanted, MappingFault,
    read_events, read_head,
};
use offtake_requests::WebhookReplay;

use super::ahead::PageAhead;
use super::{LOCKED_OUT_DELAY, Turn};
use crate::event::EVENT_BYTES_MAX;
use crate::{Error, OnEventError, Payload, record};

/// Bytes of rows in one page, about.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Bytes of rows in the pages of all turns, about.
const ALL_PAGES_BYTES_MAX: usize = 256 << 20;

/// What came of reading.
pub(super) enum Reading {
    Page(EventPage),
    /// Something was found out; read again.
    Again,
    /// No mapping can be read before this time.
    Nothing(Duration),
    /// Another worker has the request.
    Lost,
}

impl Turn<'_> {
    /// Reads the next page behind the cursors, and the next stretch of a backfill.
    pub(super) async fn read_changes(&mut self) -> Result<Reading, Error> {
        let ahead = self.ahead.take();
        let readable: Vec<usize> =
            (0..self.cursors.len()).filter(|at| self.cursors[*at].deferred.is_none()).collect();
        if readable.is_empty() {
            let waits = self.cursors.iter().filter_map(|cursor| cursor.deferred);
            return Ok(Reading::Nothing(waits.min().unwrap_or(LOCKED_OUT_DELAY)));
        }
        let mut copying = false;
        let positions = readable.iter().map(|at| {
            let cursor = &self.cursors[*at];
            let backfills = cursor.at.resync_reason.is_none() && !cursor.at.backfilled && !copying;
            copying |= backfills;
            EventPosition {
                mapping: &cursor.mapping,
                accepted: &self.registered.spec.accepted,
                after: cursor.at.sequence_id,
                up_to: None,
                chunk: backfills.then(|| match &cursor.at.backfill_key {
                    None => ChunkStart::FirstRow,
                    Some(key) => ChunkStart::After(key),
                }),
            }
        });
        let positions: Vec<EventPosition<'_>> = positions.collect();
        let retry = (!self.retried && self.quarantined > 0).then_some(self.claim.webhook_id);
        // A page that was read ahead has all mappings, also one whose fuse is blown meanwhile.
        let ahead = ahead.filter(|_| readable.len() == self.cursors.len());
        let outcome = self.read(&positions, retry, ahead).await;
        match outcome {
            Ok(page) => {
                self.retried = true;
                self.context.learn_clock(&page);
                self.note_locked_out(&page);
                Ok(Reading::Page(page))
            }
            Err(ReadingError::Lost) => self.note_lost().await,
            Err(error) => self.failed(error).await,
        }
    }

    /// Reads the next page of a replay. None: the log does not go back so far any more, or the
    /// mapping is not the webhook's.
    pub(super) async fn read_replay(
        &mut self,
        replay: &WebhookReplay,
    ) -> Result<Option<EventPage>, Error> {
        loop {
            let cursor = self.cursors.iter().find(|cursor| cursor.mapping.name() == replay.mapping);
            let Some(cursor) = cursor.filter(|cursor| cursor.deferred.is_none()) else {
                return Ok(None);
            };
            let positions = [EventPosition {
                mapping: &cursor.mapping,
                accepted: &self.registered.spec.accepted,
                after: replay.after,
                up_to: Some(replay.up_to),
                chunk: None,
            }];
            match self.read(&positions, None, None).await {
                Ok(page) => {
                    self.context.learn_clock(&page);
                    return Ok(Some(page));
                }
                Err(ReadingError::Lost) => return Ok(None),
                Err(error) => match self.failed(error).await? {
                    Reading::Again => {}
                    _ => return Ok(None),
                },
            }
        }
    }

    /// Takes the page that was read ahead, or reads, with a place among the readers.
    async fn read(
        &self,
        positions: &[EventPosition<'_>],
        retry: Option<i64>,
        ahead: Option<PageAhead>,
    ) -> Result<EventPage, ReadingError> {
        let spec = &self.registered.spec;
        let turns = self.context.turns.load(Ordering::Relaxed).max(1);
        let wanted = EventsWanted {
            tenant_id: &spec.tenant_at_source,
            positions,
            changes_max: self.changes_max,
            bytes_max: (ALL_PAGES_BYTES_MAX / turns).clamp(EVENT_BYTES_MAX, PAGE_BYTES_MAX),
            data_bytes_max: EVENT_BYTES_MAX,
            with_data: spec.payload == Payload::Full,
            retry_quarantined_of: retry,
            halt: spec.on_event_error == OnEventError::Halt,
            statement_timeout: self.context.settings.statement_timeout,
        };
        failpoint("webhooks.before_read").await.map_err(ReadingError::Source)?;
        if let Some(ahead) = ahead
            && let Some(page) = ahead.page(&self.registered).await
        {
            return Ok(page);
        }
        // The semaphore is never closed.
        let _place = self.context.readers.acquire().await;
        let began = std::time::Instant::now();
        let page = read_events(&self.context.pool, &wanted).await;
        metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "fetch")
            .record(began.elapsed().as_secs_f64());
        traces::stage("fetch", began.elapsed(), Vec::new);
        page
    }

    /// The mappings that are locked out wait by themselves.
    fn note_locked_out(&mut self, page: &EventPage) {
        for part in page.parts.iter().filter(|part| part.locked_out) {
            if let Some(cursor) = self.cursor_of(part.mapping.name()) {
                cursor.deferred = Some(LOCKED_OUT_DELAY);
            }
        }
    }

    /// The log does not go back to some cursors: a resync is owed for each.
    async fn note_lost(&mut self) -> Result<Reading, Error> {
        let connection = self.context.pool.get().await.map_err(Error::Source)?;
        let head = read_head(&connection).await?;
        drop(connection);
        let mut found = false;
        for cursor in &mut self.cursors {
            if cursor.deferred.is_none() && cursor.at.sequence_id < head.log_begins {
                cursor.owe_resync("log_lost", head.sequence_id, &head.epoch);
                found = true;
            }
        }
        if !found {
            return Ok(Reading::Nothing(LOCKED_OUT_DELAY));
        }
        self.generation += 1;
        Ok(match self.save(None).await? {
            record::Saved::Lost => Reading::Lost,
            _ => Reading::Again,
        })
    }

    /// What follows from a mapping whose query fails or takes too long; other errors are returned.
    async fn failed(&mut self, error: ReadingError) -> Result<Reading, Error> {
        let (mapping, fault) = match error {
            ReadingError::TooSlow { .. } if self.changes_max > 1 => {
                self.changes_max /= 2;
                return Ok(Reading::Again);
            }
            ReadingError::TooSlow { mapping, fault } | ReadingError::Mapping { mapping, fault } => {
                (mapping, fault)
            }
            ReadingError::Source(error) => return Err(Error::Source(error)),
            error => return Err(error.into()),
        };
        self.fail_mapping(&mapping, &fault).await
    }

    async fn fail_mapping(
        &mut self,
        mapping: &str,
        fault: &MappingFault,
    ) -> Result<Reading, Error> {
        let settings = &self.context.settings;
        let retry = (settings.backoff.initial, settings.backoff.max);
        let lease = self.claim.lease;
        let noted = record::fail_mapping(&self.context.pool, lease, mapping, fault, retry).await?;
        let Some(noted) = noted else { return Ok(Reading::Lost) };
        if noted.first {
            let label = self.registered.spec.label();
            tracing::warn!(
                event = "webhook_mapping_failed",
                webhook = label,
                mapping,
                "{label} is told nothing of {mapping}: {fault}"
            );
        }
        if let Some(cursor) = self.cursor_of(mapping) {
            cursor.deferred = Some(noted.retry);
        }
        Ok(Reading::Again)
    }
}
