//! From cursors to the positions that a batch is read from, and from what was read to the next
//! cursors.

use std::sync::Arc;

use offtake_mapping::ResolvedMapping;
use offtake_reading::{ChunkStart, Part, Position};

use crate::state::Cursors;

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

/// Moves a mapping's cursor to where it stands once this part of the batch is applied.
pub(crate) fn advance(next: &mut Cursors, part: &Part) {
    let Some(cursor) = next.get_mut(part.mapping.name()) else { return };
    cursor.sequence_id = part.read_up_to;
    if part.whole_table {
        cursor.backfilled = false;
        cursor.backfill_key = None;
    } else if let Some(chunk) = &part.chunk {
        cursor.backfilled = chunk.up_to.is_none();
        cursor.backfill_key.clone_from(&chunk.up_to);
    }
}
