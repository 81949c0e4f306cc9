//! The poller: enqueues a sync for every destination that a change concerns, and events for every
//! webhook.
//!
//! **Purpose.** It reads the change log beyond its own durable position and writes outgoing
//! requests. Position and requests move in one statement. Otherwise a crash could move the position
//! past a change without a request for it, and the change would be lost. The statement is in
//! `offtake-requests`; the transaction and its lock are here.
//!
//! **A change that concerns every destination** (of a table that every tenant receives, or where
//! the tenant is not known) is only noted while the page is read. Its destinations are told in
//! pages, in the order of their ids, and a few hundred of their requests wait at a time. Otherwise
//! ten thousand requests would stand in front of another tenant's. Changes that come meanwhile
//! share one more pass.
//!
//! **What wakes it**: its interval, or a nudge from the sequencer of the same process. The nudge
//! carries no data; a lost nudge costs one interval. A round without a nudge begins with one cheap
//! probe.
//!
//! **The sweep** enqueues a sync for every destination that is behind and has no request: a new or
//! returning destination, one whose request was lost in any way, one with quarantined rows that are
//! due for a retry. It does the same for webhooks.
//!
//! **What it refuses**: to touch a destination or a receiver; to know mappings (the registry's `source_tables`
//! say which destinations a change concerns); to hurry a destination that is in backoff.
//!
//! **What a crash leaves behind**: nothing. The same page of the log is read again.

mod error;
mod poller;
mod sql;

pub use error::Error;
pub use poller::{
    FANNED_OUT_WAITING_MAX, LOCK_KEY, PAGE_CHANGES_MAX, Poll, Poller, Settings, Sweep, Swept,
    Wakes, poll,
};
