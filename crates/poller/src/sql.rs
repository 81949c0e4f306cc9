//! The poller's statements.

pub(crate) const PROBE_LOG: &str = include_str!("../sql/probe_log.sql");
pub(crate) const OWE_SYNCS: &str = include_str!("../sql/owe_syncs.sql");
pub(crate) const SWEEP_BEHIND: &str = include_str!("../sql/sweep_behind.sql");
pub(crate) const BEGIN_POLL: &str = include_str!("../sql/begin_poll.sql");
pub(crate) const TRY_LOCK: &str = include_str!("../sql/try_lock.sql");
