//! The statements of this crate, besides the demo's. Each file says what it does.

pub(crate) const READ_HOLD: &str = include_str!("../sql/read_hold.sql");
pub(crate) const END_HOLD: &str = include_str!("../sql/end_hold.sql");
pub(crate) const COUNT_RESTORED: &str = include_str!("../sql/count_restored.sql");
pub(crate) const LOWER_MIRROR: &str = include_str!("../sql/lower_mirror.sql");
/// bigint, or null.
pub(crate) const READ_CAPTURE_HEAD: &str = include_str!("../sql/read_capture_head.sql");
pub(crate) const PROBE_CAPTURED_UP_TO: &str = include_str!("../sql/probe_captured_up_to.sql");
pub(crate) const LIST_INDEXES: &str = include_str!("../sql/list_indexes.sql");
pub(crate) const PROBE_CLOSED_SCHEMA: &str = include_str!("../sql/probe_closed_schema.sql");
pub(crate) const LIST_FOREIGN_RELATIONS: &str = include_str!("../sql/list_foreign_relations.sql");
pub(crate) const FORGET_MAPPING: &str = include_str!("../sql/forget_mapping.sql");
pub(crate) const LIST_APPLIED_MIGRATIONS: &str = include_str!("../sql/list_applied_migrations.sql");
pub(crate) const PROBE_DESTINATIONS_OF_TABLES: &str =
    include_str!("../sql/probe_destinations_of_tables.sql");
pub(crate) const LET_MAPPINGS_GO: &str = include_str!("../sql/let_mappings_go.sql");
pub(crate) const NOTE_OVERLOOKED: &str = include_str!("../sql/note_overlooked.sql");
pub(crate) const NOTE_GAP: &str = include_str!("../sql/note_gap.sql");
pub(crate) const NOTE_UNLOGGED_TABLES: &str = include_str!("../sql/note_unlogged_tables.sql");
pub(crate) const RELEASE_UNLOGGED_TABLES: &str = include_str!("../sql/release_unlogged_tables.sql");
pub(crate) const READ_PROGRESS: &str = include_str!("../sql/read_progress.sql");
pub(crate) const BOUND_WOKEN_ROWS: &str = include_str!("../sql/bound_woken_rows.sql");
pub(crate) const PROBE_SERVING_INDEX: &str = include_str!("../sql/probe_serving_index.sql");
pub(crate) const PROBE_PAGE_INDEX: &str = include_str!("../sql/probe_page_index.sql");
pub(crate) const LIST_ROOTS: &str = include_str!("../sql/list_roots.sql");
pub(crate) const PROBE_BENCH_TABLE: &str = include_str!("../sql/probe_bench_table.sql");
pub(crate) const READ_SERVER_HEALTH: &str = include_str!("../sql/read_server_health.sql");
pub(crate) const LIST_VACUUM_BLOCKERS: &str = include_str!("../sql/list_vacuum_blockers.sql");
pub(crate) const LIST_OWN_TABLES: &str = include_str!("../sql/list_own_tables.sql");
pub(crate) const LIST_OVERDUE_PARTITIONS: &str = include_str!("../sql/list_overdue_partitions.sql");
pub(crate) const LIST_ENDED_PROCESSES: &str = include_str!("../sql/list_ended_processes.sql");
pub(crate) const TELL_PRESENCE: &str = include_str!("../sql/tell_presence.sql");
pub(crate) const TELL_ABSENCE: &str = include_str!("../sql/tell_absence.sql");
pub(crate) const LIST_OVERLOOKED_MAPPINGS: &str =
    include_str!("../sql/list_overlooked_mappings.sql");
pub(crate) const LIST_COPYABLE_TABLES: &str = include_str!("../sql/list_copyable_tables.sql");
pub(crate) const LIST_TABLE_INDEXES: &str = include_str!("../sql/list_table_indexes.sql");
pub(crate) const LIST_UNCOPIED_PARTS: &str = include_str!("../sql/list_uncopied_parts.sql");
