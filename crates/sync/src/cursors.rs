//! Cursors: up to which change of the source each mapping of a tenant is applied in a destination.

use std::collections::BTreeMap;
use std::sync::Arc;

use offtake_mapping::ResolvedMapping;
use offtake_reading::{ChunkStart, Part, Position};

/// One mapping's cursor in one destination. Compared as a whole: any other value means that another
/// worker has written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Every change up to this sequence id is applied to the keys that are copied already.
    pub sequence_id: i64,
    /// The initial copy, or the latest re-copy, is complete.
    pub backfilled: bool,
    /// While it is not: the last key copied, as text in key order; None: nothing yet.
    pub backfill_key: Option<Vec<String>>,
    /// The history of the source in which `sequence_id` means anything.
    pub epoch: String,
    /// The version of the mapping that made these rows.
    pub version: String,
    /// Another value after every write of the state row, also where nothing above changed: a batch
    /// that only retries quarantined rows moves no cursor. Empty: not read back from there yet.
    pub written: String,
}

impl Cursor {
    /// A copy that begins now, over whatever rows are there.
    pub fn beginning(sequence_id: i64, epoch: &str, version: &str) -> Self {
        Self {
            sequence_id,
            backfilled: false,
            backfill_key: None,
            epoch: epoch.to_owned(),
            version: version.to_owned(),
            written: String::new(),
        }
    }

    /// Moves it to where it stands once its part of a batch is applied.
    pub(crate) fn advance(&mut self, part: &Part) {
        self.sequence_id = part.read_up_to;
        if part.whole_table {
            self.backfilled = false;
            self.backfill_key = None;
        } else if let Some(chunk) = &part.chunk {
            self.backfilled = chunk.up_to.is_none();
            self.backfill_key.clone_from(&chunk.up_to);
        }
    }

    /// It says something about the rows of this version of the mapping.
    pub(crate) fn is_of(&self, mapping: &ResolvedMapping) -> bool {
        self.version == mapping.version.as_str()
    }
}

/// All cursors of one tenant in one destination, by mapping.
pub type Cursors = BTreeMap<String, Cursor>;

/// What a mapping's table is, by mapping. It changes when the table is truncated, rewritten or
/// replaced; then the cursor says nothing about the rows that are there.
pub(crate) type Identities = BTreeMap<String, String>;

/// Where reading goes on; each mapping has a cursor in `cursors`.
pub(crate) fn positions<'a>(
    mappings: &'a [Arc<ResolvedMapping>],
    cursors: &'a Cursors,
) -> Vec<Position<'a>> {
    let position = |mapping: &'a Arc<ResolvedMapping>| {
        let cursor = &cursors[mapping.name()];
        let chunk = match &cursor.backfill_key {
            _ if cursor.backfilled => None,
            None => Some(ChunkStart::FirstRow),
            Some(key) => Some(ChunkStart::After(key)),
        };
        Position { mapping, after: cursor.sequence_id, chunk }
    };
    mappings.iter().map(position).collect()
}
