//! The sequencer's statements.

pub(crate) const BEGIN_TICK: &str = include_str!("../sql/begin_tick.sql");
pub(crate) const VACUUM_CAPTURED: &str = include_str!("../sql/vacuum_captured.sql");
pub(crate) const LIST_GROWN: &str = include_str!("../sql/list_grown.sql");
pub(crate) const AWAIT_CHANGES: &str = include_str!("../sql/await_changes.sql");
pub(crate) const SEQUENCE_CHANGES: &str = include_str!("../sql/sequence_changes.sql");
pub(crate) const APPEND_WHOLE_TABLES: &str = include_str!("../sql/append_whole_tables.sql");
pub(crate) const ADD_PARTITION: &str = include_str!("../sql/add_partition.sql");
pub(crate) const ROLL_PARTITION: &str = include_str!("../sql/roll_partition.sql");
pub(crate) const LIST_PARTITIONS: &str = include_str!("../sql/list_partitions.sql");
pub(crate) const APPEND_FOR_EVERY_TENANT: &str = include_str!("../sql/append_for_every_tenant.sql");
pub(crate) const POSTPONE_EXPANSION: &str = include_str!("../sql/postpone_expansion.sql");
pub(crate) const READ_NUMBERING: &str = include_str!("../sql/read_numbering.sql");
pub(crate) const TAKE_NUMBERING: &str = include_str!("../sql/take_numbering.sql");
pub(crate) const RECOPY_OVERLOOKED: &str = include_str!("../sql/recopy_overlooked.sql");
pub(crate) const TRY_LOCK: &str = include_str!("../sql/try_lock.sql");
