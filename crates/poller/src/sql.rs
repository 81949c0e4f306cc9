//! The poller's statements.

pub(crate) const PROBE_LOG: &str = include_str!("../sql/probe_log.sql");
pub(crate) const BEGIN_POLL: &str = include_str!("../sql/begin_poll.sql");
pub(crate) const TRY_LOCK: &str = include_str!("../sql/try_lock.sql");
pub(crate) const ADD_UP_COUNTS: &str = include_str!("../sql/add_up_counts.sql");
