//! A snapshot of the source, and how long it is held.

use std::time::{Duration, Instant};

use offtake_reading::HeldSnapshot;

/// A page may take so long, however short the snapshot is to be. Otherwise an export with a short
/// `work` would read fewer and fewer rows in each snapshot while the machine is busy.
const PAGE_TIME_MIN: Duration = Duration::from_secs(1);

/// A snapshot from which pages are read for a time.
pub(super) struct OpenSnapshot {
    pub(super) snapshot: HeldSnapshot,
    length: Duration,
    /// The longest read of a page; None: none was read yet.
    longest: Option<Duration>,
}

impl OpenSnapshot {
    /// `length`: how long it is held at most.
    pub(super) fn new(snapshot: HeldSnapshot, length: Duration) -> Self {
        Self { snapshot, length, longest: None }
    }

    /// Has it held for so long at most, from its begin on.
    pub(super) fn hold_for(&mut self, length: Duration) {
        self.length = length;
    }

    /// Ends it. Returns how long it was held.
    pub(super) async fn end(self) -> Duration {
        let begun = self.snapshot.begun;
        self.snapshot.end().await;
        begun.elapsed()
    }

    pub(super) fn left(&self) -> Duration {
        self.length.saturating_sub(self.snapshot.begun.elapsed())
    }

    /// Whether a page may be begun: one at least, or a short `length` would never end. None that would
    /// take longer than what is left, if it takes as long as the longest before it.
    pub(super) fn has_time(&self) -> bool {
        self.longest.is_none_or(|longest| self.left() > longest)
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.longest.is_none()
    }

    /// When the read of a page must be over. None: it is a single row, and the first; nothing
    /// smaller could be read instead.
    pub(super) fn until(&self, rows_max: usize) -> Option<Instant> {
        let smaller = rows_max > 1 || !self.is_fresh();
        smaller.then(|| self.snapshot.begun + self.length.max(PAGE_TIME_MIN))
    }

    /// Notes how long the read of a page took.
    pub(super) fn was_read(&mut self, took: Duration) {
        self.longest = self.longest.max(Some(took));
    }
}
