//! Settling: parts of several snapshots become rows of one moment.
//!
//! A part has all changes up to the sequence id of its snapshot. Parts in which the log has a later
//! change are read again, until few enough are left to be read in one snapshot S of at most `settle`.
//! S also shows changes that are captured and not numbered yet, and the log does not know which
//! parts those concern. So the worker waits until they have their numbers, and reads, still in S, the
//! parts that they concern. Then every part is the state of S.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::failpoint;
use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::{KeyRange, ReadRange};
use offtake_reading::{are_numbered, changed_ranges, read_head};

use super::Error;
use super::open_snapshot::OpenSnapshot;
use super::parts::{Place, fewer};
use super::record::Part;
use super::work::{Parts, Told, Work};
use crate::job::State;

/// After so many rounds the parts are as they are.
const ROUNDS_MAX: i32 = 4;

/// More changed keys than this are not compared with the ranges of the parts: all parts of the mapping
/// are read again. Comparing so many with 200 ranges takes some seconds.
const KEYS_MAX: usize = 50_000;

/// How often is asked whether the changes of the snapshot have their numbers.
const NUMBERED_PAUSE: Duration = Duration::from_millis(20);

/// A chunk that is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dirty {
    mapping: String,
    chunk: i32,
    rows: i64,
}

impl Work<'_> {
    /// Returns how consistent the parts are in the end; None: the export is to be cancelled.
    pub(super) async fn settle(&self, parts: &mut Parts) -> Result<Option<&'static str>, Error> {
        for round in 1..=ROUNDS_MAX {
            failpoint("export.settling").await?;
            if !self.note(parts, (State::Settling, round), None).await? {
                return Ok(None);
            }
            let mut open = self.open(parts, self.settings.work).await?;
            let dirty = self.dirty(parts, open.snapshot.head).await?;
            (self.tell)(Told::Settling { round, parts: dirty.len() });
            let last = round == ROUNDS_MAX || self.fits(parts, &dirty);
            if last {
                open.hold_for(self.settings.settle);
                match self.last_round(parts, open, dirty, round).await? {
                    Last::Settled => return Ok(Some("settled")),
                    Last::Cancelled => return Ok(None),
                    Last::Unsettled => {}
                }
            } else if !self.read_again(parts, open, dirty, round).await? {
                return Ok(None);
            }
            if round < ROUNDS_MAX && !self.breathe(parts, round).await? {
                return Ok(None);
            }
        }
        match self.options.require_consistent {
            true => Err(Error::Inconsistent),
            false => Ok(Some("none")),
        }
    }

    /// Whether reading these takes half of `settle` at most, as fast as rows were read so far.
    fn fits(&self, parts: &Parts, dirty: &[Dirty]) -> bool {
        let rows: i64 = dirty.iter().map(|dirty| dirty.rows.max(1)).sum();
        if parts.rows_read == 0 {
            // Nothing was read by this process yet. The end of `settle` is a bound all the same.
            return true;
        }
        let seconds = parts.time_reading.as_secs_f64() * rows as f64 / parts.rows_read as f64;
        seconds <= self.settings.settle.as_secs_f64() / 2.0
    }

    /// The chunks in which something may have changed up to a sequence id.
    async fn dirty(&self, parts: &Parts, up_to: i64) -> Result<Vec<Dirty>, Error> {
        let mut dirty: Vec<Dirty> = Vec::new();
        for mapping in self.mappings {
            let of: Vec<&Part> =
                parts.all.iter().filter(|part| part.mapping == mapping.name()).collect();
            let ranges: Vec<ReadRange<'_>> = of
                .iter()
                .map(|part| ReadRange { range: part.range(), after: part.sequence_id })
                .collect();
            let tenant = self.job.tenant_at_source.as_str();
            let changed =
                changed_ranges(self.pool, (mapping, tenant), &ranges, (up_to, KEYS_MAX)).await?;
            for part in changed.into_iter().filter_map(|at| of.get(at)) {
                let same =
                    |found: &&mut Dirty| found.mapping == part.mapping && found.chunk == part.chunk;
                match dirty.iter_mut().find(same) {
                    Some(found) => found.rows += part.rows,
                    None => dirty.push(Dirty {
                        mapping: part.mapping.clone(),
                        chunk: part.chunk,
                        rows: part.rows,
                    }),
                }
            }
        }
        Ok(dirty)
    }

    /// Reads chunks again in snapshots of at most `work`. False: the export is to be cancelled.
    async fn read_again(
        &self,
        parts: &mut Parts,
        mut open: OpenSnapshot,
        dirty: Vec<Dirty>,
        round: i32,
    ) -> Result<bool, Error> {
        for dirty in &dirty {
            let Some(mut again) = self.chunk_again(parts, dirty, round) else { continue };
            while !self.read_pieces(parts, &mut again, &mut open).await? {
                if open.is_fresh() {
                    again.rows_max = fewer(again.rows_max);
                }
                if !self.close(parts, open).await? {
                    again.invalidate();
                }
                if !self.breathe(parts, round).await? {
                    return Ok(false);
                }
                open = self.open(parts, self.settings.work).await?;
            }
            if !self.put(parts, again.pieces, (State::Settling, round), None).await? {
                return Ok(false);
            }
        }
        self.close(parts, open).await?;
        Ok(true)
    }

    async fn last_round(
        &self,
        parts: &mut Parts,
        mut open: OpenSnapshot,
        dirty: Vec<Dirty>,
        round: i32,
    ) -> Result<Last, Error> {
        let mut ended = self.read_all_again(parts, &mut open, dirty.iter(), round).await?;
        if matches!(ended, Last::Settled) && !self.numbered(&open).await? {
            ended = Last::Unsettled;
        }
        if matches!(ended, Last::Settled) {
            let head = read_head(&self.pool.get().await?).await?;
            // What was read in the snapshot is its state, whatever changed since. Its sequence id
            // does not tell: other snapshots can have the same one.
            let more = self.dirty(parts, head.sequence_id).await?;
            let is_of =
                |of: &Dirty, read: &Dirty| read.mapping == of.mapping && read.chunk == of.chunk;
            let more = more.iter().filter(|of| !dirty.iter().any(|read| is_of(of, read)));
            ended = self.read_all_again(parts, &mut open, more, round).await?;
        }
        let head = open.snapshot.head;
        if matches!(ended, Last::Cancelled) {
            return Ok(Last::Cancelled);
        }
        let unbroken = self.close(parts, open).await?;
        if !(matches!(ended, Last::Settled) && unbroken) {
            return Ok(Last::Unsettled);
        }
        // Every part is the state of the snapshot now.
        parts.all.iter_mut().for_each(|part| part.sequence_id = head);
        Ok(Last::Settled)
    }

    /// Reads chunks again in one snapshot.
    async fn read_all_again(
        &self,
        parts: &mut Parts,
        open: &mut OpenSnapshot,
        dirty: impl Iterator<Item = &Dirty>,
        round: i32,
    ) -> Result<Last, Error> {
        for dirty in dirty {
            let Some(mut again) = self.chunk_again(parts, dirty, round) else { continue };
            if !self.read_pieces(parts, &mut again, open).await? {
                return Ok(Last::Unsettled);
            }
            if !self.put(parts, again.pieces, (State::Settling, round), None).await? {
                return Ok(Last::Cancelled);
            }
        }
        Ok(Last::Settled)
    }

    /// Waits until the changes that a snapshot shows have their numbers. False: the time is over.
    async fn numbered(&self, open: &OpenSnapshot) -> Result<bool, Error> {
        let Some(unnumbered) = open.snapshot.unnumbered().await? else { return Ok(false) };
        while !are_numbered(self.pool, &unnumbered).await? {
            if open.left().is_zero() {
                return Ok(false);
            }
            tokio::time::sleep(NUMBERED_PAUSE).await;
        }
        Ok(true)
    }

    /// The keys of a chunk, of which nothing was read again yet. None: there is no such chunk.
    fn chunk_again(&self, parts: &Parts, dirty: &Dirty, round: i32) -> Option<Again<'_>> {
        let mut of = parts
            .all
            .iter()
            .filter(|part| part.mapping == dirty.mapping && part.chunk == dirty.chunk);
        let first = of.next()?;
        let last = of.next_back().unwrap_or(first);
        Some(Again {
            mapping: self.mappings.iter().find(|mapping| mapping.name() == dirty.mapping)?,
            chunk: dirty.chunk,
            round,
            after: first.after.clone(),
            up_to: last.up_to.clone(),
            rows_max: self.chunk_rows(),
            pieces: Vec::new(),
        })
    }

    /// Reads what is left of a chunk. False: the snapshot's time came to its end first.
    async fn read_pieces<'a>(
        &'a self,
        parts: &mut Parts,
        again: &mut Again<'a>,
        open: &mut OpenSnapshot,
    ) -> Result<bool, Error> {
        while !again.is_done() {
            if !open.has_time() {
                return Ok(false);
            }
            let reading = Instant::now();
            let after = again.pieces.last().map_or(&again.after, |piece| &piece.up_to);
            let range = KeyRange { after: after.as_deref(), up_to: again.up_to.as_deref() };
            let piece = i32::try_from(again.pieces.len()).unwrap_or(i32::MAX);
            let place = Place { chunk: again.chunk, piece, round: again.round };
            let read = self.read(open, again.mapping, (range, again.rows_max), place).await?;
            let Some(read) = read else { return Ok(false) };
            let (part, _) = self.store(read).await?;
            parts.time_reading += reading.elapsed();
            parts.rows_read += part.rows;
            again.pieces.push(part);
        }
        Ok(true)
    }
}

/// A chunk that is being read again. It may have several pieces now, also of several snapshots.
struct Again<'a> {
    mapping: &'a Arc<ResolvedMapping>,
    chunk: i32,
    round: i32,
    after: Option<Vec<String>>,
    up_to: Option<Vec<String>>,
    rows_max: usize,
    /// They are in the store, and not recorded yet.
    pieces: Vec<Part>,
}

impl Again<'_> {
    fn is_done(&self) -> bool {
        self.pieces.last().is_some_and(|last| last.up_to == self.up_to)
    }

    /// A table was truncated or rewritten under the snapshot that some of the pieces were read in: the
    /// next round reads them again.
    fn invalidate(&mut self) {
        self.pieces.iter_mut().for_each(|piece| piece.sequence_id = -1);
    }
}

enum Last {
    Settled,
    /// The time was over, or a table was truncated meanwhile.
    Unsettled,
    Cancelled,
}
