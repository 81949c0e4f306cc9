//! What a database was asked for, and what it says of itself. Cloudflare bills rows that are read and
//! rows that are written, with those of indexes.

use std::sync::atomic::{AtomicU64, Ordering};

/// Nobody has said yet how much it is.
const UNKNOWN: u64 = u64::MAX;

/// Counted by all sessions of one process with one database.
pub(super) struct Usage {
    requests: AtomicU64,
    rows_read: AtomicU64,
    rows_written: AtomicU64,
    left: AtomicU64,
    size: AtomicU64,
}

/// What was spent so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub requests: u64,
    /// As Cloudflare counts them.
    pub rows_read: u64,
    pub rows_written: u64,
    /// Requests that the token had left when Cloudflare last said so.
    pub left: Option<u64>,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            requests: AtomicU64::default(),
            rows_read: AtomicU64::default(),
            rows_written: AtomicU64::default(),
            left: UNKNOWN.into(),
            size: UNKNOWN.into(),
        }
    }
}

impl Usage {
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rows(&self, read: u64, written: u64) {
        self.rows_read.fetch_add(read, Ordering::Relaxed);
        self.rows_written.fetch_add(written, Ordering::Relaxed);
    }

    pub(super) fn left(&self, requests: u64) {
        self.left.store(requests, Ordering::Relaxed);
    }

    pub(super) fn size(&self, bytes: u64) {
        self.size.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn spent(&self) -> Spent {
        Spent {
            requests: self.requests.load(Ordering::Relaxed),
            rows_read: self.rows_read.load(Ordering::Relaxed),
            rows_written: self.rows_written.load(Ordering::Relaxed),
            left: known(&self.left),
        }
    }

    /// The bytes of the database when it last answered.
    pub(super) fn last_size(&self) -> Option<u64> {
        known(&self.size)
    }
}

fn known(number: &AtomicU64) -> Option<u64> {
    Some(number.load(Ordering::Relaxed)).filter(|number| *number != UNKNOWN)
}

impl Spent {
    /// What was spent since then.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests.min(self.requests),
            rows_read: self.rows_read - before.rows_read.min(self.rows_read),
            rows_written: self.rows_written - before.rows_written.min(self.rows_written),
            left: self.left,
        }
    }
}
