//! The statements of this crate; each file says what it does and what it costs.

pub(crate) const READ_SUMMARY: &str = include_str!("../sql/read_summary.sql");
pub(crate) const LIST_FUSES: &str = include_str!("../sql/list_fuses.sql");
pub(crate) const LIST_DESTINATIONS: &str = include_str!("../sql/list_destinations.sql");
pub(crate) const COUNT_DELETED_ROWS: &str = include_str!("../sql/count_deleted_rows.sql");
