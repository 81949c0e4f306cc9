//! How the rows and bytes of one batch are shared out.

use crate::Rows;

/// The rows and bytes that a batch may have. While an initial copy is in progress, changes get at
/// most half of them, and the chunk gets what the changes leave. So a copy makes progress under any
/// load of changes, and a chunk is never read in vain because changes filled the batch.
pub(crate) struct BatchBudget {
    copying: bool,
    rows_max: usize,
    bytes_max: usize,
    /// Changes that one mapping may take.
    pub(crate) changes_max: usize,
    /// Bytes of the changes read so far.
    used: usize,
}

impl BatchBudget {
    pub(crate) fn new(copying: bool, rows_max: usize, bytes_max: usize) -> Self {
        let changes_max = if copying { (rows_max / 2).max(1) } else { rows_max };
        Self { copying, rows_max, bytes_max, changes_max, used: 0 }
    }

    fn changes_bytes_max(&self) -> usize {
        if self.copying { self.bytes_max / 2 } else { self.bytes_max }
    }

    /// Bytes that the next mapping's changes may have.
    pub(crate) fn for_changes(&self) -> usize {
        self.changes_bytes_max().saturating_sub(self.used)
    }

    pub(crate) fn take(&mut self, bytes: usize) {
        self.used += bytes;
    }

    /// Rows and bytes, of a chunk of so many rows at most. One row always fits, otherwise a copy would
    /// stop while changes keep coming.
    pub(crate) fn for_chunk(&self, rows_max: usize) -> (usize, usize) {
        let left = self.bytes_max.saturating_sub(self.used);
        (scaled(rows_max, left, self.bytes_max), left)
    }

    /// How many rows like these fit into a batch.
    pub(crate) fn filled_by(&self, rows: &Rows) -> usize {
        scaled(rows.len(), self.bytes_max, rows.bytes())
    }

    /// How many rows a batch should have after the changes of one mapping did not fit. `cut` is the
    /// rows of its page that were read; the others are taken to be like them. `changes` is the size
    /// of that page, `largest` that of the largest page of all mappings.
    pub(crate) fn fits(&self, cut: &Rows, changes: i64, largest: i64) -> usize {
        let (changes, largest) =
            (usize::try_from(changes).unwrap_or(0), usize::try_from(largest).unwrap_or(0));
        let expected =
            self.used.saturating_add(changes.saturating_mul(cut.bytes() / cut.len().max(1)));
        let limit = self.changes_bytes_max();
        let fits = if expected > limit {
            scaled(largest, limit, expected).saturating_mul(if self.copying { 2 } else { 1 })
        } else {
            // Some rows are much larger than the others.
            self.rows_max / 2
        };
        // At least an eighth less than before, so that rows of any size fit in the end.
        fits.min(self.rows_max - self.rows_max.div_ceil(8)).max(1)
    }
}

/// `count * share / whole`, at least 1.
fn scaled(count: usize, share: usize, whole: usize) -> usize {
    let scaled = count as u128 * share as u128 / whole.max(1) as u128;
    usize::try_from(scaled).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn rows(count: usize, bytes: usize) -> Rows {
        Rows::new(Bytes::from(format!("{}\n", "x".repeat(bytes - 1)).repeat(count)))
    }

    #[test]
    fn changes_leave_half_to_a_chunk() {
        let mut budget = BatchBudget::new(true, 100, 1000);
        assert_eq!(
            (budget.changes_max, budget.for_changes(), budget.for_chunk(400)),
            (50, 500, (400, 1000))
        );
        budget.take(400);
        assert_eq!((budget.for_changes(), budget.for_chunk(400)), (100, (240, 600)));
        let budget = BatchBudget::new(false, 100, 1000);
        assert_eq!((budget.changes_max, budget.for_changes()), (100, 1000));
        // The one row that is read when nothing else fits.
        assert_eq!(BatchBudget::new(true, 1, usize::MAX).for_chunk(1), (1, usize::MAX));
    }

    #[test]
    fn one_look_is_enough_for_rows_of_one_size() {
        let budget = BatchBudget::new(false, 5000, 1000);
        assert_eq!(budget.fits(&rows(4, 250), 100, 100), 4);
        assert_eq!(budget.filled_by(&rows(2, 250)), 4);
        // 600 bytes of another mapping's page of 60, and 100 more that would be 1000.
        let mut budget = BatchBudget::new(false, 5000, 1000);
        budget.take(600);
        assert_eq!(budget.fits(&rows(4, 10), 100, 100), 62);
    }

    #[test]
    fn rows_of_any_sizes_end_by_fitting() {
        for (copying, cut, page) in [
            (false, rows(4, 10), 4),
            (true, rows(1, 2000), 1),
            (true, rows(90, 10), 100),
            (false, rows(1, 1), 0),
        ] {
            let mut rows_max = 5000;
            let mut looks = 0;
            while rows_max > 1 {
                let fits = BatchBudget::new(copying, rows_max, 1000).fits(&cut, page, page);
                assert!((1..rows_max).contains(&fits), "{fits} of {rows_max}");
                rows_max = fits;
                looks += 1;
            }
            assert!(looks < 60, "{looks}");
        }
    }
}
