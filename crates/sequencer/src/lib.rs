//! The sequencer: gives every committed change its global number.
//!
//! **Purpose.** Sequence order must be commit order. Otherwise a reader that remembers "I have seen
//! everything up to N" loses a change that becomes visible later with a number below N. So numbers
//! are given after commit, by one transaction at a time.
//!
//! **One tick** is one transaction. It takes the transaction lock; if another replica holds it, the
//! tick ends. It moves the oldest captured changes into `change_log`, numbered in capture order on
//! a block of `global_sequence`. It looks up the tenants that the triggers could not know. It
//! expands changes of tables that other tables depend on; it reads the dependants as they are
//! *now*, after the change was committed, which closes the race with a concurrent insert of a
//! dependant. It commits synchronously. It also records for which mappings it numbered, because
//! daemons with other mapping files may run at the same time.
//!
//! **What wakes it**: its interval. A round begins with one cheap probe and ends there if nothing
//! was captured.
//!
//! **What it refuses**: to number anything without the lock; to wait for the lock; to expand one
//! change into more than [`EXPANSION_ROWS_MAX`] rows at once (it records where to go on, behind the
//! changes that were captured since); and to stop because one mapping's condition, or the look-up
//! of a tenant, fails. In that last case the mapping's whole table is re-copied, or every tenant
//! looks again. Both are always correct, only slow.
//!
//! **What a crash leaves behind**: at most a gap in the numbers. The transaction that logs captured
//! changes also deletes them.

mod error;
mod history;
mod numbering;
mod partitions;
mod sequencer;
mod sql;
mod tick;
mod vacuum;

pub use error::Error;
pub use numbering::Numbering;
pub use sequencer::{Sequencer, Settings};
pub use tick::{EXPANSION_ROWS_MAX, LOCK_KEY, Tick, tick};
