//! How many bytes of rows one request to a database may have.
//!
//! Cloudflare gives a request 30 seconds, and a database may be much slower than its neighbour. So
//! the first requests are small, and each that is done in good time doubles what the next may have.

use std::sync::atomic::{AtomicUsize, Ordering};

const FIRST: usize = 1 << 20;

/// Larger requests come near the 30 seconds.
const MAX: usize = 4 << 20;

/// One for all sessions of a process with one database.
pub(super) struct Reach(AtomicUsize);

impl Default for Reach {
    fn default() -> Self {
        Self(FIRST.into())
    }
}

impl Reach {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A request with so many bytes was done in good time. A small one says nothing about large ones.
    pub(super) fn done(&self, bytes: usize) {
        let reach = self.bytes();
        if bytes > reach / 2 {
            self.0.fetch_max((reach * 2).min(MAX), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_requests_make_it_grow() {
        let reach = Reach::default();
        reach.done(FIRST / 2);
        assert_eq!(reach.bytes(), FIRST);
        for wanted in [2 * FIRST, MAX, MAX] {
            reach.done(reach.bytes() - 100);
            assert_eq!(reach.bytes(), wanted);
        }
    }
}
