//! How many rows a batch may have, learned per destination.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Smaller batches for the destinations that need them: their rows are large, or their server is slow.
#[derive(Clone)]
pub(crate) struct BatchSizes {
    configured: usize,
    /// Only destinations below the configured size.
    reduced: Arc<Mutex<HashMap<i64, usize>>>,
}

impl BatchSizes {
    pub(crate) fn new(configured: usize) -> Self {
        Self { configured, reduced: Arc::default() }
    }

    /// None: the configured size.
    pub(crate) fn get(&self, destination_id: i64) -> Option<usize> {
        self.reduced().get(&destination_id).copied()
    }

    pub(crate) fn halve(&self, destination_id: i64) {
        let mut reduced = self.reduced();
        let size = reduced.entry(destination_id).or_insert(self.configured);
        *size = (*size / 2).max(1);
    }

    /// After a batch that went well; by an eighth, so that a limit that was found is not run into at every other batch.
    pub(crate) fn grow(&self, destination_id: i64, configured: usize) {
        let mut reduced = self.reduced();
        if let Some(size) = reduced.get_mut(&destination_id) {
            *size += (*size / 8).max(1);
            if *size >= configured {
                reduced.remove(&destination_id);
            }
        }
    }

    fn reduced(&self) -> MutexGuard<'_, HashMap<i64, usize>> {
        self.reduced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
