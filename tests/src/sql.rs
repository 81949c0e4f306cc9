//! The harness's statements; each file says what it does.

/// Reasons why some tenants are not in step. The text ends before the list of the tenants' ids.
pub(crate) const SELECT_WHAT_IS_OWED: &str = include_str!("../sql/select_what_is_owed.sql");

/// Makes a destination record every state of every row.
pub(crate) const INSTALL_HISTORY: &str = include_str!("../sql/install_history.sql");

/// The same through its server's log.
pub(crate) const INSTALL_DECODED_HISTORY: &str = include_str!("../sql/install_decoded_history.sql");

/// Creates the workload's tables, with versions and a log of the versions.
pub(crate) const CREATE_WORKLOAD_SCHEMA: &str = include_str!("../sql/create_workload_schema.sql");

/// Inserts rows for every tenant, so that there is something to copy.
pub(crate) const FILL_WORKLOAD: &str = include_str!("../sql/fill_workload.sql");
