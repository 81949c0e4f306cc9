//! The engine's statements: on the source's own tables, and on a destination's state table.

pub(crate) const END_RESYNC_REQUESTS: &str = include_str!("../sql/end_resync_requests.sql");
pub(crate) const FAIL_MAPPING: &str = include_str!("../sql/fail_mapping.sql");
pub(crate) const BEGIN_COPIES: &str = include_str!("../sql/begin_copies.sql");
pub(crate) const MIRROR_DESTINATION: &str = include_str!("../sql/mirror_destination.sql");
pub(crate) const QUARANTINE_ROWS: &str = include_str!("../sql/quarantine_rows.sql");
pub(crate) const RELEASE_QUARANTINED: &str = include_str!("../sql/release_quarantined.sql");
pub(crate) const READ_IDENTITY: &str = include_str!("../sql/read_identity.sql");
pub(crate) const BEGIN_VISIT: &str = include_str!("../sql/begin_visit.sql");
pub(crate) const END_ADOPTION: &str = include_str!("../sql/end_adoption.sql");
pub(crate) const READ_SERVING: &str = include_str!("../sql/read_serving.sql");
pub(crate) const WRITE_SERVING: &str = include_str!("../sql/write_serving.sql");
pub(crate) const ADD_SERVING_COLUMNS: &str = include_str!("../sql/add_serving_columns.sql");
pub(crate) const ADD_AUDIT_COLUMNS: &str = include_str!("../sql/add_audit_columns.sql");
pub(crate) const WRITE_AUDITS: &str = include_str!("../sql/write_audits.sql");
pub(crate) const LIST_OTHER_TENANTS: &str = include_str!("../sql/list_other_tenants.sql");
pub(crate) const LIST_TENANTS: &str = include_str!("../sql/list_tenants.sql");
pub(crate) const FIND_RIVAL: &str = include_str!("../sql/find_rival.sql");
pub(crate) const READ_MIRRORED: &str = include_str!("../sql/read_mirrored.sql");
pub(crate) const CLAIM_AUDIT: &str = include_str!("../sql/claim_audit.sql");
pub(crate) const NEXT_AUDIT: &str = include_str!("../sql/next_audit.sql");
pub(crate) const NOTE_AUDIT: &str = include_str!("../sql/note_audit.sql");
pub(crate) const RELEASE_AUDIT: &str = include_str!("../sql/release_audit.sql");
pub(crate) const COUNT_QUARANTINED: &str = include_str!("../sql/count_quarantined.sql");
pub(crate) const NOTE_VERIFIED: &str = include_str!("../sql/note_verified.sql");
pub(crate) const LIST_UNTOLD_AUDITS: &str = include_str!("../sql/list_untold_audits.sql");
pub(crate) const END_UNTOLD_AUDITS: &str = include_str!("../sql/end_untold_audits.sql");
pub(crate) const CAPTURE_AGAIN: &str = include_str!("../sql/capture_again.sql");
pub(crate) const WRITE_WAITING_MAPPINGS: &str = include_str!("../sql/write_waiting_mappings.sql");

pub(crate) const REGISTER_DESTINATIONS: &str =
    include_str!("../sql/register_destinations.sql");
pub(crate) const READ_SERVED_PLACES: &str = include_str!("../sql/read_served_places.sql");
pub(crate) const LIST_STANDINGS: &str = include_str!("../sql/list_standings.sql");
pub(crate) const BEGIN_APPLY: &str = include_str!("../sql/begin_apply.sql");
pub(crate) const READ_STATES: &str = include_str!("../sql/read_states.sql");
pub(crate) const LOCK_STATES: &str = include_str!("../sql/lock_states.sql");
pub(crate) const MOVE_CURSORS: &str = include_str!("../sql/move_cursors.sql");
pub(crate) const CREATE_STATE_TABLE: &str = include_str!("../sql/create_state_table.sql");
pub(crate) const DESCRIBE_TARGET: &str = include_str!("../sql/describe_target.sql");
pub(crate) const DESCRIBE_COPY: &str = include_str!("../sql/describe_copy.sql");
pub(crate) const LIST_REFERENCES: &str = include_str!("../sql/list_references.sql");
pub(crate) const LIST_COLUMN_READERS: &str = include_str!("../sql/list_column_readers.sql");
pub(crate) const LIST_REMAINS: &str = include_str!("../sql/list_remains.sql");
pub(crate) const DELETE_TENANT_ROWS: &str = include_str!("../sql/delete_tenant_rows.sql");
pub(crate) const DELETE_BLOCK_RANGE: &str = include_str!("../sql/delete_block_range.sql");
pub(crate) const LIST_MARKED_TABLES: &str = include_str!("../sql/list_marked_tables.sql");
