//! The harness's statements; each file says what it does.

/// What keeps some tenants from being in step; ends before the list of their ids.
pub(crate) const SELECT_WHAT_IS_OWED: &str = include_str!("../sql/select_what_is_owed.sql");

/// A destination that records every state of every row.
pub(crate) const INSTALL_HISTORY: &str = include_str!("../sql/install_history.sql");

/// The workload's tables, their versions and the log of these.
pub(crate) const CREATE_WORKLOAD_SCHEMA: &str = include_str!("../sql/create_workload_schema.sql");

/// Rows for every tenant, so that there is something to copy.
pub(crate) const FILL_WORKLOAD: &str = include_str!("../sql/fill_workload.sql");
