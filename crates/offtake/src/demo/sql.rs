//! The statements of the demo. Each file says what it does.

/// Creates the application's tables in an empty database.
pub const SAMPLE_APPLICATION: &str = include_str!("../../sql/create_sample_application.sql");

/// Inserts `$1` (integer) users, with everything that belongs to them, for every tenancy without
/// users.
pub const INSERT_SAMPLE_ROWS: &str = include_str!("../../sql/insert_sample_rows.sql");

/// The statements of the write load. [`super::Load`] splits them into kinds.
pub(super) const WRITE_SAMPLE_LOAD: &str = include_str!("../../sql/write_sample_load.sql");

/// The tenancies' ids, in a fixed order.
pub(super) const LIST_TENANCIES: &str = "select id::text from public.tenancy order by id";

/// Inserts a tenancy named $1; returns its id.
pub(super) const INSERT_TENANCY: &str = "insert into public.tenancy (project_id, branch_id, display_name) values ($1, 'main', $1) returning id::text";

/// Inserts, for every tenancy, a permission that the load never touches.
pub(super) const INSERT_PROBE: &str = "insert into public.permission (tenancy_id, id, permission_id) select id, -1, 'probe' from public.tenancy";

/// Changes the probe's permission of tenancy $1 to the mark $2.
pub(super) const UPDATE_PROBE: &str =
    "update public.permission set permission_id = $2 where tenancy_id = $1::text::uuid and id = -1";

/// Runs at a destination: a row as soon as the mark $1 is there.
pub(super) const SELECT_PROBE: &str = "select from permissions where id = -1 and permission = $1";
/// The same in a customer's file.
pub(super) const SELECT_PROBE_IN_FILE: &str =
    "select 1 from permissions where id = -1 and permission = ?1";

/// The newest sequence id.
pub(super) const SELECT_LAST_SEQUENCE_ID: &str =
    "select coalesce(max(sequence_id), 0) from offtake.change_log";

/// The application of `demo --shared`: an account for each tenant.
pub(super) const CREATE_ACCOUNTS: &str = "create table public.account (tenant_id text, id bigint, plan text not null, seats integer not null, primary key (tenant_id, id))";

/// Gives every account the plan $1.
pub(super) const CHANGE_ALL_ACCOUNTS: &str = "update public.account set plan = $1";

/// Gives the account of tenant $1 so many seats, $2 integer.
pub(super) const CHANGE_ACCOUNT: &str =
    "update public.account set seats = $2 where tenant_id = $1 and id = 1";

/// All accounts of the application, as one text.
pub(super) const DIGEST_ACCOUNTS: &str = "select count(*) || ' ' || md5(string_agg(md5(row(tenant_id, id, plan, seats)::text), '' order by tenant_id collate \"C\", id)) from public.account";

/// The same of the copies.
pub(super) const DIGEST_COPIES: &str = "select count(*) || ' ' || md5(string_agg(md5(row(tenant_id, id, plan, seats)::text), '' order by tenant_id collate \"C\", id)) from public.accounts";
