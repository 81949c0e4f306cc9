//! The harness's statements; each file says what it does.

/// What keeps some tenants from being in step; ends before the list of their ids.
pub(crate) const SELECT_WHAT_IS_OWED: &str = include_str!("../sql/select_what_is_owed.sql");
