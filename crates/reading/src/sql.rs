//! The statements on the source's log; a mapping's own statements come from `compose`.

pub(crate) const READ_BOUNDS: &str = include_str!("../sql/read_bounds.sql");
pub(crate) const READ_GROUP_BOUNDS: &str = include_str!("../sql/read_group_bounds.sql");
pub(crate) const READ_EVENT_BOUNDS: &str = include_str!("../sql/read_event_bounds.sql");
pub(crate) const READ_EVENT_GROUP_BOUNDS: &str = include_str!("../sql/read_event_group_bounds.sql");
pub(crate) const READ_HEAD: &str = include_str!("../sql/read_head.sql");
pub(crate) const READ_STORAGE: &str = include_str!("../sql/read_storage.sql");
pub(crate) const LIST_UNNUMBERED: &str = include_str!("../sql/list_unnumbered.sql");
pub(crate) const PROBE_UNNUMBERED: &str = include_str!("../sql/probe_unnumbered.sql");
