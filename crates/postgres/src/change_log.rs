//! What every reader and writer of the source's change log must agree on.

/// Sequence ids per partition of the log: about 2 GB, and some minutes of a source that changes as
/// fast as we can number. Partition N holds the sequence ids from N times this number on, so a
/// cursor tells its partition; where that partition was dropped, changes were lost. Never to be
/// changed: partitions of another size are already there.
pub const PARTITION_ROWS: i64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_that_the_migration_makes_has_this_size() {
        let (_, first) = &crate::migration_sql()[1];
        assert!(first.contains(&format!("for values from (0) to ({PARTITION_ROWS})")));
    }
}
