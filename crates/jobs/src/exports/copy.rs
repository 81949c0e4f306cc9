//! The first reading of all rows, in short snapshots. A part is read while the two before it are
//! encoded and stored.
//!
//! Parts are recorded one behind the other, in their order. A part that was not recorded is in
//! memory, or an object that the manifest will not name: it is dropped with the work, or deleted at
//! the export's end. So it is on a failure, a lost lease, a cancel, and when the process stops.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::KeyRange;
use tokio::sync::mpsc;

use super::Error;
use super::encode::{Encoded, csv_header};
use super::hashes::EarlyHash;
use super::open_snapshot::OpenSnapshot;
use super::options::Format;
use super::parts::{Place, ReadPart, apart, fewer};
use super::record::Part;
use super::work::{Parts, Work};
use crate::job::State;

/// So many parts are encoded and stored at one time: one of them waits for the disk or the network
/// while the other is encoded.
const STORED_AT_ONCE: usize = 2;

/// The next chunk of a mapping.
struct Next<'a> {
    mapping: &'a Arc<ResolvedMapping>,
    after: Option<Vec<String>>,
    chunk: i32,
    rows_max: usize,
}

impl<'a> Next<'a> {
    /// The chunk behind a part. None: the part has the last rows of its mapping.
    fn behind(part: &Part, mapping: &'a Arc<ResolvedMapping>, chunk_rows: usize) -> Option<Self> {
        Some(Self {
            mapping,
            after: Some(part.up_to.clone()?),
            chunk: part.chunk + 1,
            rows_max: rows_behind(part.rows, chunk_rows),
        })
    }
}

/// How many rows to ask for behind a part that has so many. The source sends all rows that are asked
/// for, and those beyond the bytes of a part in vain: an eighth more than the last part had.
fn rows_behind(rows: i64, chunk_rows: usize) -> usize {
    let rows = usize::try_from(rows).unwrap_or(chunk_rows);
    rows.saturating_add(rows.div_ceil(8)).clamp(1, chunk_rows)
}

impl Work<'_> {
    /// Reads what was never read. False: it is to be cancelled.
    pub(super) async fn copy(&self, parts: &mut Parts) -> Result<bool, Error> {
        let mut left = self.left(parts);
        let mut snapshots = 0;
        while !left.is_empty() {
            if snapshots > 0 {
                parts.one_snapshot = false;
                if !self.breathe(parts, 0).await? {
                    return Ok(false);
                }
            }
            snapshots += 1;
            if !self.copy_in_one_snapshot(parts, &mut left).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where each mapping that is not read to its end goes on.
    fn left(&self, parts: &Parts) -> VecDeque<Next<'_>> {
        let chunk_rows = self.chunk_rows();
        let left = self.mappings.iter().filter_map(|mapping| {
            match parts.all.iter().rfind(|part| part.mapping == mapping.name()) {
                None => Some(Next { mapping, after: None, chunk: 0, rows_max: chunk_rows }),
                Some(part) => Next::behind(part, mapping, chunk_rows),
            }
        });
        left.collect()
    }

    /// Reads parts for as long as `work` says. False: it is to be cancelled.
    async fn copy_in_one_snapshot<'a>(
        &'a self,
        parts: &mut Parts,
        left: &mut VecDeque<Next<'a>>,
    ) -> Result<bool, Error> {
        let mut open = self.open(parts, self.settings.work).await?;
        let total = self.estimate(&open.snapshot).await?;
        // One part waits here while those before it are stored.
        let (read, mut unstored) = mpsc::channel(1);
        let reading = async {
            let read = self.read_ahead(&mut open, left, read).await;
            // The last part is still to be stored, and that needs no snapshot.
            Ok(match read {
                Ok(()) => self.end(open).await,
                Err(error) => Err(error),
            })
        };
        let storing = async {
            let (mut stored, mut all_read, mut before) =
                (FuturesOrdered::new(), false, Instant::now());
            loop {
                let part = tokio::select! {
                    biased;
                    Some(part) = stored.next() => part,
                    read = unstored.recv(), if !all_read && stored.len() < STORED_AT_ONCE => {
                        match read {
                            Some(read) => stored.push_back(self.store(read)),
                            None => all_read = true,
                        }
                        continue;
                    }
                    else => break,
                };
                let (part, encoded): (Part, _) = Result::map_err(part, Err)?;
                if let Some(encoded) = encoded {
                    self.hash_early(parts, &part, encoded).await.map_err(Err)?;
                }
                parts.time_reading += before.elapsed();
                before = Instant::now();
                parts.rows_read += part.rows;
                let put = self.put(parts, vec![part], (State::Processing, 0), Some(total)).await;
                if !matches!(put, Ok(true)) {
                    return Err(put);
                }
            }
            Ok(())
        };
        // A read that fails does not end the storing of parts that were read before it. Where the
        // storing ends early, with an error or a cancel, the read is dropped.
        match tokio::try_join!(reading, storing) {
            Ok((ended, ())) => self.invalidate_broken(parts, ended?).await.map(|_| true),
            Err(ended) => ended,
        }
    }

    /// Hashes the file of a mapping along with its parts, from the first one on.
    async fn hash_early(
        &self,
        parts: &mut Parts,
        part: &Part,
        encoded: Encoded,
    ) -> Result<(), Error> {
        let hashes = &mut parts.hashes;
        if part.chunk == 0 {
            let mapping = self.mappings.iter().find(|mapping| mapping.name() == part.mapping);
            let head = match (self.options.format, mapping) {
                (Format::Csv, Some(mapping)) => Some(csv_header(mapping)),
                (Format::Ndjson, Some(_)) => None,
                _ => return Ok(()),
            };
            let hash = hashes.entry(part.mapping.clone()).or_insert_with(EarlyHash::begin);
            if let Some(head) = head {
                hash.feed(apart(self.options.compression, move || head).await?).await;
            }
        }
        if let Some(hash) = hashes.get_mut(&part.mapping) {
            hash.feed(encoded).await;
        }
        Ok(())
    }

    /// Reads parts until `work` is over, each while those before it are being stored.
    async fn read_ahead<'a>(
        &self,
        open: &mut OpenSnapshot,
        left: &mut VecDeque<Next<'a>>,
        read: mpsc::Sender<ReadPart<'a>>,
    ) -> Result<(), Error> {
        while let Some(next) = left.front_mut() {
            // A store that is slow must not lengthen the snapshot.
            let room = tokio::time::timeout(open.left(), read.reserve()).await;
            let Ok(Ok(room)) = room else { break };
            if !open.has_time() {
                break;
            }
            let range = KeyRange::behind(next.after.as_deref());
            let place = Place { chunk: next.chunk, piece: 0, round: 0 };
            let found = self.read(open, next.mapping, (range, next.rows_max), place).await?;
            let Some(found) = found else {
                if open.is_fresh() {
                    next.rows_max = fewer(next.rows_max);
                }
                break;
            };
            match Next::behind(&found.part, next.mapping, self.chunk_rows()) {
                Some(behind) => *next = behind,
                None => drop(left.pop_front()),
            }
            room.send(found);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_asked_for_and_grows_again() {
        // 80 rows have the bytes of a part, and then they are small.
        for (rows, expect) in [(1000, 1000), (80, 90), (90, 102), (102, 115), (1, 2), (2, 3)] {
            assert_eq!(rows_behind(rows, 1000), expect);
        }
        assert_eq!(rows_behind(0, 1000), 1);
    }
}
