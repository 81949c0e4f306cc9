//! Settling: parts of several snapshots become rows of one moment.
//!
//! A part has all changes up to the sequence id of its snapshot. Parts in which the log has a later
//! change are read again, until few enough are left to be read in one snapshot S of at most `settle`.
//! S also shows changes that are captured and not numbered yet, and the log does not know which
//! parts those concern. So the worker waits until they have their numbers, and reads, still in S, the
//! parts that they concern. Then every part is the state of S.

use std::time::{Duration, Instant};

use offtake_loops::failpoint;
use offtake_mapping::compose::{KeyRange, ReadRange};
use offtake_reading::{HeldSnapshot, are_numbered, changed_ranges, read_head};

use super::Error;
use super::parts::Place;
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
            let snapshot = self.open(parts).await?;
            let dirty = self.dirty(parts, snapshot.head).await?;
            (self.tell)(Told::Settling { round, parts: dirty.len() });
            let last = round == ROUNDS_MAX || self.fits(parts, &dirty);
            if last {
                match self.last_round(parts, snapshot, dirty, round).await? {
                    Last::Settled => return Ok(Some("settled")),
                    Last::Cancelled => return Ok(None),
                    Last::Unsettled => {}
                }
            } else if !self.read_again(parts, snapshot, dirty, round).await? {
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
        mut snapshot: HeldSnapshot,
        dirty: Vec<Dirty>,
        round: i32,
    ) -> Result<bool, Error> {
        let mut begun = Instant::now();
        for dirty in dirty {
            if begun.elapsed() >= self.settings.work {
                self.close(parts, snapshot, begun).await?;
                if !self.breathe(parts, round).await? {
                    return Ok(false);
                }
                snapshot = self.open(parts).await?;
                begun = Instant::now();
            }
            if !self.chunk_again(parts, &snapshot, &dirty, round).await? {
                return Ok(false);
            }
        }
        self.close(parts, snapshot, begun).await?;
        Ok(true)
    }

    async fn last_round(
        &self,
        parts: &mut Parts,
        snapshot: HeldSnapshot,
        dirty: Vec<Dirty>,
        round: i32,
    ) -> Result<Last, Error> {
        let begun = Instant::now();
        let in_time = || begun.elapsed() < self.settings.settle;
        let mut settled = true;
        for dirty in &dirty {
            settled &= in_time();
            if settled && !self.chunk_again(parts, &snapshot, dirty, round).await? {
                return Ok(Last::Cancelled);
            }
        }
        settled = settled && self.numbered(&snapshot, &in_time).await?;
        if settled {
            let head = read_head(&self.pool.get().await?).await?;
            // What was read in the snapshot is its state, whatever changed since. Its sequence id
            // does not tell: other snapshots can have the same one.
            let read = |of: &Dirty| {
                dirty.iter().any(|read| read.mapping == of.mapping && read.chunk == of.chunk)
            };
            let more = self.dirty(parts, head.sequence_id).await?;
            for dirty in more.iter().filter(|dirty| !read(dirty)) {
                settled &= in_time();
                if settled && !self.chunk_again(parts, &snapshot, dirty, round).await? {
                    return Ok(Last::Cancelled);
                }
            }
        }
        let head = snapshot.head;
        let unbroken = self.close(parts, snapshot, begun).await?;
        if !(settled && unbroken) {
            return Ok(Last::Unsettled);
        }
        // Every part is the state of the snapshot now.
        parts.all.iter_mut().for_each(|part| part.sequence_id = head);
        Ok(Last::Settled)
    }

    /// Waits until the changes that a snapshot shows have their numbers. False: the time is over.
    async fn numbered(
        &self,
        snapshot: &HeldSnapshot,
        in_time: &impl Fn() -> bool,
    ) -> Result<bool, Error> {
        let Some(unnumbered) = snapshot.unnumbered().await? else { return Ok(false) };
        while !are_numbered(self.pool, &unnumbered).await? {
            if !in_time() {
                return Ok(false);
            }
            tokio::time::sleep(NUMBERED_PAUSE).await;
        }
        Ok(true)
    }

    /// Reads all keys of a chunk again; it may have several pieces now. False: the export is to be
    /// cancelled.
    async fn chunk_again(
        &self,
        parts: &mut Parts,
        snapshot: &HeldSnapshot,
        dirty: &Dirty,
        round: i32,
    ) -> Result<bool, Error> {
        let of: Vec<&Part> = parts
            .all
            .iter()
            .filter(|part| part.mapping == dirty.mapping && part.chunk == dirty.chunk)
            .collect();
        let (Some(first), Some(last)) = (of.first(), of.last()) else { return Ok(true) };
        let (mut after, up_to) = (first.after.clone(), last.up_to.clone());
        let mapping = self.mappings.iter().find(|mapping| mapping.name() == dirty.mapping);
        let Some(mapping) = mapping else { return Ok(true) };
        let mut pieces = Vec::new();
        loop {
            let range = KeyRange { after: after.as_deref(), up_to: up_to.as_deref() };
            let piece = i32::try_from(pieces.len()).unwrap_or(i32::MAX);
            let place = Place { chunk: dirty.chunk, piece, round };
            let reading = Instant::now();
            let read = self.read(snapshot, mapping, (range, self.chunk_rows()), place).await?;
            let (part, _) = self.store(read).await?;
            parts.time_reading += reading.elapsed();
            parts.rows_read += part.rows;
            after.clone_from(&part.up_to);
            let done = part.up_to == up_to;
            pieces.push(part);
            if done {
                break;
            }
        }
        self.put(parts, pieces, (State::Settling, round), None).await
    }
}

enum Last {
    Settled,
    /// The time was over, or a table was truncated meanwhile.
    Unsettled,
    Cancelled,
}
