//! What every loop has, and nothing of what one loop does.
//!
//! - [`Progress`] tells the supervisor that the loop still completes rounds, and that they end.
//! - [`SourceTrouble`] says how long a loop pauses while the source fails, and logs it.
//! - [`Fuses`] reads the operator's switches; a loop asks [`BlownFuses`] before each round.
//! - [`metrics`] has the name of every metric.
//! - [`traces`] tells each turn with its stages, where the operator wants to see them.
//! - [`failpoint`] marks a place at which a test stops, breaks or kills the daemon.
//!
//! Nothing below this crate counts a metric or has a failpoint. One thing reaches down: a failpoint
//! that a test told to fail returns [`offtake_postgres::Error::Failpoint`]. Each loop must treat it
//! as it treats a server that failed at that statement, so it must be an error of the same type.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod failpoints;
mod fuses;
pub mod metrics;
mod progress;
mod source_trouble;
mod sql;
pub mod traces;

pub use failpoints::{FAILPOINTS, failpoint, failpoint_is_set, listen_for_failpoints};
pub use fuses::{BlownFuses, Fuses, names_a_fuse, set_fuse};
pub use progress::{Progress, Rounds, idle_pause};
pub use source_trouble::SourceTrouble;
