//! The demo's statements; each file says what it does.

/// Creates the application's tables in an empty database.
pub const SAMPLE_APPLICATION: &str = include_str!("../../sql/create_sample_application.sql");

/// Gives every tenancy without users `$1` (integer) of them, with everything that belongs to users.
pub const INSERT_SAMPLE_ROWS: &str = include_str!("../../sql/insert_sample_rows.sql");

/// What the write load does; split into kinds by [`super::Load`].
pub(super) const WRITE_SAMPLE_LOAD: &str = include_str!("../../sql/write_sample_load.sql");

/// The tenancies' ids, in a fixed order.
pub(super) const LIST_TENANCIES: &str = "select id::text from public.tenancy order by id";
