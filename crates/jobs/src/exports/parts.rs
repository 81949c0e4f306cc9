//! From a range of keys to objects in the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::failpoint;
use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::KeyRange;
use offtake_reading::{Page, PageWanted, Printed, Read, Rows};

use super::Error;
use super::encode::{Encoded, encoded, text_of};
use super::open_snapshot::OpenSnapshot;
use super::options::{Compression, Format};
use super::record::Part;
use super::work::Work;
use crate::stores::{Existing, Key};

/// A part is begun only while the store has this much room, so that a full disk is met between two
/// parts, with space left for the other programs of the machine.
pub(super) const FREE_BYTES_MIN: u64 = 256 << 20;

/// How often a table that the application has locked is tried, a second apart.
const LOCK_ATTEMPTS_MAX: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_secs(1);

/// Where a part belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) chunk: i32,
    pub(super) piece: i32,
    pub(super) round: i32,
}

/// A part that was read. Its object is not written yet.
pub(super) struct ReadPart<'a> {
    mapping: &'a Arc<ResolvedMapping>,
    pub(super) part: Part,
    rows: Rows,
    round: i32,
}

impl Work<'_> {
    /// Reads the first rows of a range as one part, `rows_max` of them at most. None: the snapshot's
    /// time came to its end first, and nothing more is to be read from it.
    pub(super) async fn read<'a>(
        &self,
        open: &mut OpenSnapshot,
        mapping: &'a Arc<ResolvedMapping>,
        (range, rows_max): (KeyRange<'_>, usize),
        place: Place,
    ) -> Result<Option<ReadPart<'a>>, Error> {
        self.expect_room().await?;
        let began = Instant::now();
        let page = self.page(open, mapping, (range, rows_max)).await?;
        let Some(page) = page else { return Ok(None) };
        open.was_read(began.elapsed());
        failpoint("export.after_read").await?;
        let up_to = match page.up_to {
            Some(last) => Some(last),
            None => range.up_to.map(<[String]>::to_vec),
        };
        let part = Part {
            mapping: mapping.name().to_owned(),
            chunk: place.chunk,
            piece: place.piece,
            after: range.after.map(<[String]>::to_vec),
            up_to,
            rows: i64::try_from(page.rows.len()).unwrap_or(i64::MAX),
            bytes: 0,
            sha256: None,
            object: None,
            sequence_id: open.snapshot.head,
        };
        Ok(Some(ReadPart { mapping, part, rows: page.rows, round: place.round }))
    }

    /// Writes the object of a part, and returns what is in it. One without rows has none.
    pub(super) async fn store(&self, read: ReadPart<'_>) -> Result<(Part, Option<Encoded>), Error> {
        let ReadPart { mapping, mut part, rows, round } = read;
        if rows.is_empty() {
            return Ok((part, None));
        }
        let encoded = self.encode(mapping, rows).await?;
        let key = self.part_key(&part, round)?;
        failpoint("export.before_put").await?;
        part.bytes = i64::try_from(encoded.bytes.len()).unwrap_or(i64::MAX);
        self.store.put(&key, encoded.bytes.clone(), Existing::Replace).await?;
        failpoint("export.after_put").await?;
        part.sha256 = Some(encoded.sha256.clone());
        part.object = Some(key.as_str().to_owned());
        Ok((part, Some(encoded)))
    }

    /// How many rows a part has at most.
    pub(super) fn chunk_rows(&self) -> usize {
        usize::try_from(self.options.chunk_rows).unwrap_or(usize::MAX)
    }

    /// The first rows of a range. A page that takes longer than a statement may is read with fewer
    /// rows. None: as for [`read`](Self::read).
    async fn page(
        &self,
        open: &OpenSnapshot,
        mapping: &Arc<ResolvedMapping>,
        (range, mut rows_max): (KeyRange<'_>, usize),
    ) -> Result<Option<Page>, Error> {
        let printed = match self.options.format {
            Format::Csv | Format::Sql => Printed::Columns,
            Format::Json | Format::Ndjson => Printed::Json,
        };
        let mut attempts = 0;
        loop {
            let until = open.until(rows_max);
            let wanted = PageWanted {
                mapping,
                tenant_id: &self.job.tenant_at_source,
                range,
                printed,
                rows_max,
                bytes_max: self.settings.chunk_bytes,
                until,
            };
            match open.snapshot.read(&wanted).await {
                Ok(Read::Page(page)) => return Ok(Some(page)),
                Ok(Read::Late) => return Ok(None),
                Ok(Read::Locked) => {
                    let late = until.is_some_and(|until| Instant::now() + LOCK_PAUSE >= until);
                    if late && !open.is_fresh() {
                        return Ok(None);
                    }
                    attempts += 1;
                    if late || attempts > LOCK_ATTEMPTS_MAX {
                        return Err(Error::Locked(mapping.name().to_owned()));
                    }
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(offtake_reading::Error::TooSlow { .. }) if rows_max > 1 => {
                    rows_max = fewer(rows_max);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Printing and compressing take longer than a task of the runtime may.
    async fn encode(&self, mapping: &Arc<ResolvedMapping>, rows: Rows) -> Result<Encoded, Error> {
        let format = (self.options.format, self.options.inserts);
        let mapping = mapping.clone();
        apart(self.options.compression, move || text_of(format, &mapping, &rows)).await
    }

    /// `{id}/{file}/{mapping}.{chunk}.{piece}.a{attempt}r{round}`: another attempt, or another round,
    /// writes another object.
    fn part_key(&self, part: &Part, round: i32) -> Result<Key, Error> {
        let Part { mapping, chunk, piece, .. } = part;
        let attempt = self.lease.attempt;
        self.key(&format!(
            "{}/{mapping}.{chunk:06}.{piece}.a{attempt}r{round}",
            self.options.file_of(mapping)
        ))
    }

    /// A key of this job.
    pub(super) fn key(&self, below: &str) -> Result<Key, Error> {
        key_of(&format!("{}/{below}", self.job.public_id))
    }

    /// What the keys of this job begin with.
    pub(super) fn prefix(&self) -> Result<Key, Error> {
        key_of(&self.job.public_id)
    }

    /// Fails where the store has too little room for the next part.
    pub(super) async fn expect_room(&self) -> Result<(), Error> {
        match self.store.free().await? {
            Some(free) if free < FREE_BYTES_MIN => Err(Error::NoRoom(format!(
                "the store {} has {} MiB left, and {} MiB are kept free",
                self.store.name(),
                free >> 20,
                FREE_BYTES_MIN >> 20
            ))),
            _ => Ok(()),
        }
    }
}

/// How many rows to ask for where so many take too long.
pub(super) fn fewer(rows_max: usize) -> usize {
    rows_max.div_ceil(8)
}

/// A name that this crate made, as a key.
pub(super) fn key_of(text: &str) -> Result<Key, Error> {
    Key::new(text).ok_or_else(|| Error::Mapping(format!("{text} cannot be the name of an object")))
}

/// Encodes a text on a thread that may take its time.
pub(super) async fn apart(
    compression: Compression,
    text: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> Result<Encoded, Error> {
    let encoding = tokio::task::spawn_blocking(move || encoded(text(), compression));
    let done = encoding.await.map_err(|error| Error::Encoding(std::io::Error::other(error)))?;
    done.map_err(Error::Encoding)
}
