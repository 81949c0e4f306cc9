//! What a caller asks for, and what it gets.

use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::KeyRange;

use crate::{FailedRow, Rows, key_of};

/// What to read for one tenant.
pub struct Wanted<'a> {
    pub tenant_id: &'a str,
    pub positions: &'a [Position<'a>],
    /// At most so many changes of each mapping.
    pub rows_max: usize,
    /// At most so many rows of a chunk.
    pub chunk_rows_max: usize,
    /// At most so many bytes of all rows together. Changes that are larger are [`Overflow`], to be
    /// read again with fewer rows; a chunk that is larger is cut.
    ///
    /// [`Overflow`]: crate::Error::Overflow
    pub bytes_max: usize,
    /// The rows that are quarantined under this id are read too, where they are due for a retry.
    pub retry_quarantined_of: Option<i64>,
    pub statement_timeout: Duration,
}

/// How far one mapping has been read.
pub struct Position<'a> {
    pub mapping: &'a Arc<ResolvedMapping>,
    /// Changes with a higher sequence id are read.
    pub after: i64,
    /// The next chunk of the initial copy, if the caller wants one. A batch has at most one chunk,
    /// of the first mapping for which it can be read.
    pub chunk: Option<ChunkStart<'a>>,
}

/// Where a chunk of the initial copy begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkStart<'a> {
    FirstRow,
    /// The rows with a greater key than this one: its columns as text, in key order.
    After(&'a [String]),
    /// The first rows of this range.
    Within(KeyRange<'a>),
}

impl<'a> ChunkStart<'a> {
    pub(crate) fn range(self) -> KeyRange<'a> {
        match self {
            Self::FirstRow => KeyRange::ALL,
            Self::After(key) => KeyRange::behind(Some(key)),
            Self::Within(range) => range,
        }
    }
}

/// What one snapshot of the source had for the positions.
#[derive(Debug, Default)]
pub struct Batch {
    /// The highest sequence id visible in the snapshot.
    pub head: i64,
    pub epoch: String,
    /// One per position, in the same order.
    pub parts: Vec<Part>,
    /// Set when the chunk was cut: so many rows of its size fit into a batch. A caller that asks
    /// for no more reads none in vain.
    pub fits: Option<usize>,
}

/// One mapping's share of a batch.
#[derive(Debug, Clone)]
pub struct Part {
    pub mapping: Arc<ResolvedMapping>,
    /// The end of what was read: every change up to this sequence id is in this part, or was
    /// before the position. It is the last change of the page, or the snapshot's head when the page
    /// holds all there is.
    pub read_up_to: i64,
    /// There is nothing more to read for this mapping in this snapshot: the page holds fewer
    /// changes than it could, or the mapping is locked out.
    pub exhausted: bool,
    /// A change of the page stands for the whole table: all rows must be copied again. No chunk is
    /// read for this mapping, because that copy begins at the first row.
    pub whole_table: bool,
    pub changed: Rows,
    pub chunk: Option<Chunk>,
    /// Rows of the page or the chunk that the query cannot compute.
    pub failed: Vec<FailedRow>,
    /// The application has locked a table of the query: nothing of this mapping was read, and
    /// `read_up_to` is the position.
    pub locked_out: bool,
    /// Age of the oldest change in the page, when the snapshot was taken.
    pub oldest: Option<Duration>,
}

/// A stretch of the initial copy: all rows of the tenant with `after < key <= up_to`.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub rows: Rows,
    pub after: Option<Vec<String>>,
    /// None: to the end of the table.
    pub up_to: Option<Vec<String>>,
}

impl Part {
    /// The rows' text.
    pub fn bytes(&self) -> usize {
        self.changed.bytes() + self.chunk.as_ref().map_or(0, |chunk| chunk.rows.bytes())
    }
}

impl Batch {
    /// The rows' text.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// The mapping and the key of the batch's only row, if it has one row only.
    pub fn only_row(&self) -> Option<(&ResolvedMapping, Vec<String>)> {
        let rows = self.parts.iter().flat_map(|part| {
            let chunk = part.chunk.as_ref().map(|chunk| &chunk.rows);
            [Some(&part.changed), chunk].into_iter().flatten().map(move |rows| (part, rows))
        });
        let mut filled = rows.filter(|(_, rows)| !rows.is_empty());
        let (part, rows) = filled.next().filter(|(_, rows)| rows.len() == 1)?;
        filled.next().is_none().then(|| (&*part.mapping, key_of(&part.mapping, rows, 0)))
    }

    /// Whether the caller gets anything from the source's tables, or learns that it must copy them
    /// again.
    pub fn has_rows(&self) -> bool {
        self.parts.iter().any(|part| {
            !part.changed.is_empty()
                || part.chunk.is_some()
                || part.whole_table
                || !part.failed.is_empty()
        })
    }
}
