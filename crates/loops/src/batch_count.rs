//! How many batches the sync loop writes, for the loop that decides how many changes go into one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The batches that the sync loop of this process has written; a batch for many tenants of one
/// database is one.
#[derive(Debug, Clone, Default)]
pub struct BatchCount(Arc<AtomicU64>);

impl BatchCount {
    pub fn note_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
