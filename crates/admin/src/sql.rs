//! The statements of this crate. Each file says what its statement does and costs.

pub(crate) const READ_SUMMARY: &str = include_str!("../sql/read_summary.sql");
pub(crate) const COUNT_SEQUENCED: &str = include_str!("../sql/count_sequenced.sql");
pub(crate) const ADOPT_DESTINATIONS: &str = include_str!("../sql/adopt_destinations.sql");
pub(crate) const LIST_FUSES: &str = include_str!("../sql/list_fuses.sql");
pub(crate) const LIST_DESTINATIONS: &str = include_str!("../sql/list_destinations.sql");
pub(crate) const COUNT_DELETED_ROWS: &str = include_str!("../sql/count_deleted_rows.sql");
pub(crate) const LIST_NAMED_DESTINATIONS: &str = include_str!("../sql/list_named_destinations.sql");
pub(crate) const LIST_KEPT_DESTINATIONS: &str = include_str!("../sql/list_kept_destinations.sql");
pub(crate) const PAUSE_DESTINATIONS: &str = include_str!("../sql/pause_destinations.sql");
pub(crate) const RESUME_DESTINATIONS: &str = include_str!("../sql/resume_destinations.sql");
pub(crate) const READ_RESYNC_PROGRESS: &str = include_str!("../sql/read_resync_progress.sql");
pub(crate) const LIST_QUARANTINED: &str = include_str!("../sql/list_quarantined.sql");
pub(crate) const DISCARD_QUARANTINED: &str = include_str!("../sql/discard_quarantined.sql");
