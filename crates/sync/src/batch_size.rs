//! How many rows a batch may have, learned per destination.
//!
//! A chunk of an initial copy may have several times as many as there may be changes: it is copied
//! into an empty range as it was printed, which takes less than half the work of a change, and each
//! transaction costs the destination a commit, a savepoint, and a look whether the range is empty.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sizes are held in eighths of a row, so that a size of a few rows can grow by an eighth too.
const PARTS: usize = 8;

/// Smaller batches for the destinations that need them: their rows are large, or their server is
/// slow.
#[derive(Clone)]
pub(crate) struct BatchSizes {
    changes: usize,
    chunk: usize,
    /// Only destinations that take less than the larger of both; in eighths.
    reduced: Arc<Mutex<HashMap<i64, usize>>>,
}

impl BatchSizes {
    /// At most so many changes in a batch, and so many rows in a chunk of an initial copy.
    pub(crate) fn new(changes: usize, chunk: usize) -> Self {
        Self { changes, chunk, reduced: Arc::default() }
    }

    /// How many changes.
    pub(crate) fn get(&self, destination_id: i64) -> usize {
        self.rows(destination_id).min(self.changes)
    }

    /// How many rows of a chunk.
    pub(crate) fn chunk(&self, destination_id: i64) -> usize {
        self.rows(destination_id).min(self.chunk)
    }

    fn rows(&self, destination_id: i64) -> usize {
        self.reduced().get(&destination_id).map_or(self.largest(), |size| size / PARTS)
    }

    fn largest(&self) -> usize {
        self.changes.max(self.chunk)
    }

    pub(crate) fn halve(&self, destination_id: i64) {
        self.fit(destination_id, self.get(destination_id) / 2);
    }

    /// Learns that at most this many rows fit into a batch's bytes.
    pub(crate) fn fit(&self, destination_id: i64, rows: usize) {
        let mut reduced = self.reduced();
        let size = reduced.entry(destination_id).or_insert(self.largest() * PARTS);
        *size = (rows.max(1) * PARTS).min(*size);
    }

    /// Called after a batch that went well. It grows by an eighth only, so that the next batches do
    /// not run into the limit just found.
    pub(crate) fn grow(&self, destination_id: i64) {
        let mut reduced = self.reduced();
        if let Some(size) = reduced.get_mut(&destination_id) {
            *size += size.div_ceil(PARTS);
            if *size >= self.largest() * PARTS {
                reduced.remove(&destination_id);
            }
        }
    }

    /// Called instead where the place has just learned to take twice as many bytes.
    pub(crate) fn double(&self, destination_id: i64) {
        if let Some(size) = self.reduced().get_mut(&destination_id) {
            *size *= 2;
        }
        self.grow(destination_id);
    }

    /// Forgets destinations that no longer exist.
    pub(crate) fn retain(&self, known: impl Fn(i64) -> bool) {
        self.reduced().retain(|id, _| known(*id));
    }

    fn reduced(&self) -> MutexGuard<'_, HashMap<i64, usize>> {
        self.reduced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_more_rows_than_a_batch_until_fewer_fit() {
        let sizes = BatchSizes::new(5000, 20_000);
        let of = |id| (sizes.get(id), sizes.chunk(id));
        assert_eq!(of(1), (5000, 20_000));
        // Rows so large that a chunk is cut, and a batch of changes is not.
        sizes.fit(1, 8000);
        assert_eq!(of(1), (5000, 8000));
        // Changes that took too long.
        sizes.halve(1);
        assert_eq!(of(1), (2500, 2500));
        assert_eq!(of(2), (5000, 20_000), "another destination");
        for _ in 0..20 {
            sizes.grow(1);
        }
        assert_eq!(of(1), (5000, 20_000));
        sizes.fit(1, 100);
        sizes.double(1);
        assert_eq!(of(1), (225, 225));
        sizes.double(2);
        assert_eq!(of(2), (5000, 20_000));
        let sizes = BatchSizes::new(5000, 10);
        assert_eq!((sizes.get(1), sizes.chunk(1)), (5000, 10));
    }
}
