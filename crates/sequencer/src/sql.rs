//! The sequencer's statements.

pub(crate) const BEGIN_TICK: &str = include_str!("../sql/begin_tick.sql");
pub(crate) const PROBE_CHANGES: &str = include_str!("../sql/probe_changes.sql");
pub(crate) const SEQUENCE_CHANGES: &str = include_str!("../sql/sequence_changes.sql");
pub(crate) const APPEND_WHOLE_TABLES: &str = include_str!("../sql/append_whole_tables.sql");
pub(crate) const ADD_PARTITION: &str = include_str!("../sql/add_partition.sql");
