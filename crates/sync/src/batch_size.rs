//! How many rows a batch may have, learned per destination.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sizes are held in eighths of a row, so that a size of a few rows can grow by an eighth too.
const PARTS: usize = 8;

/// Smaller batches for the destinations that need them: their rows are large, or their server is
/// slow.
#[derive(Clone)]
pub(crate) struct BatchSizes {
    configured: usize,
    /// Only destinations below the configured size; in eighths.
    reduced: Arc<Mutex<HashMap<i64, usize>>>,
}

impl BatchSizes {
    pub(crate) fn new(configured: usize) -> Self {
        Self { configured, reduced: Arc::default() }
    }

    pub(crate) fn get(&self, destination_id: i64) -> usize {
        self.reduced().get(&destination_id).map_or(self.configured, |size| size / PARTS)
    }

    pub(crate) fn halve(&self, destination_id: i64) {
        self.fit(destination_id, self.get(destination_id) / 2);
    }

    /// Learns that at most this many rows fit into a batch's bytes.
    pub(crate) fn fit(&self, destination_id: i64, rows: usize) {
        let mut reduced = self.reduced();
        let size = reduced.entry(destination_id).or_insert(self.configured * PARTS);
        *size = (rows.max(1) * PARTS).min(*size);
    }

    /// Called after a batch that went well. It grows by an eighth only, so that the next batches do
    /// not run into the limit just found.
    pub(crate) fn grow(&self, destination_id: i64) {
        let mut reduced = self.reduced();
        if let Some(size) = reduced.get_mut(&destination_id) {
            *size += size.div_ceil(PARTS);
            if *size >= self.configured * PARTS {
                reduced.remove(&destination_id);
            }
        }
    }

    /// Forgets destinations that no longer exist.
    pub(crate) fn retain(&self, known: impl Fn(i64) -> bool) {
        self.reduced().retain(|id, _| known(*id));
    }

    fn reduced(&self) -> MutexGuard<'_, HashMap<i64, usize>> {
        self.reduced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
