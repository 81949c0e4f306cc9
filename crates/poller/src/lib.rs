//! The poller: owes every destination that a change concerns a sync.
//!
//! **Purpose.** It reads the change log beyond its own durable position and writes outgoing
//! requests, position and requests in one statement, so that no crash comes between "seen" and
//! "owed". The statement is in `offtake-requests`; the transaction and its lock are here.
//!
//! **What wakes it**: its interval, or a nudge from the sequencer in the same process; the nudge
//! carries no data and losing it costs one interval. A round begins with one cheap probe.
//!
//! **The sweep** owes a sync to any destination that is behind without being owed anything: a new
//! or returning one, one whose request was lost by whatever means, one with quarantined rows whose
//! time has come.
//!
//! **What it refuses**: to touch a destination, to know what a mapping is (the registry's
//! `source_tables` say who cares), and to hurry a destination that is in backoff.
//!
//! **What a crash leaves behind**: nothing; the page is read again.

mod error;
mod poller;
mod sql;

pub use error::Error;
pub use poller::{LOCK_KEY, PAGE_CHANGES_MAX, Poll, Poller, Settings, poll, sweep};
