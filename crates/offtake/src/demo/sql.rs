//! The demo's statements; each file says what it does.

/// Creates the application's tables in an empty database.
pub const SAMPLE_APPLICATION: &str = include_str!("../../sql/create_sample_application.sql");

/// Gives every tenancy without users `$1` (integer) of them, with everything that belongs to users.
pub const INSERT_SAMPLE_ROWS: &str = include_str!("../../sql/insert_sample_rows.sql");

/// What the write load does; split into kinds by [`super::Load`].
pub(super) const WRITE_SAMPLE_LOAD: &str = include_str!("../../sql/write_sample_load.sql");

/// The tenancies' ids, in a fixed order.
pub(super) const LIST_TENANCIES: &str = "select id::text from public.tenancy order by id";

/// A tenancy named $1; returns its id.
pub(super) const INSERT_TENANCY: &str = "insert into public.tenancy (project_id, branch_id, display_name) values ($1, 'main', $1) returning id::text";

/// A permission of every tenancy that the load never touches.
pub(super) const INSERT_PROBE: &str = "insert into public.permission (tenancy_id, id, permission_id) select id, -1, 'probe' from public.tenancy";

/// $1: tenancy, $2: the new mark.
pub(super) const UPDATE_PROBE: &str =
    "update public.permission set permission_id = $2 where tenancy_id = $1::text::uuid and id = -1";

/// At a customer's; $1: the mark.
pub(super) const SELECT_PROBE: &str = "select from permissions where id = -1 and permission = $1";

/// The newest number given to a change.
pub(super) const SELECT_LAST_SEQUENCE_ID: &str =
    "select coalesce(max(sequence_id), 0) from offtake.change_log";
