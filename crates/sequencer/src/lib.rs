//! The sequencer: gives every committed change its global number.
//!
//! **Purpose.** Sequence order must be commit order, or a reader that remembers "I have seen up to
//! N" loses what becomes visible below N later. So numbers are given after commit, by one
//! transaction at a time.
//!
//! **One tick** is one transaction: take the transaction lock (if another replica has it, there is
//! nothing to do here); move the oldest captured changes into `change_log`, numbered in capture
//! order on a block of `global_sequence`; look up the tenants that the triggers could not know;
//! expand changes of tables that others depend on, reading the dependants as they are *now*, after
//! the commit, which closes the race with a concurrent insert of a dependant; commit synchronously.
//! It also says for which mappings it did so: daemons with other mapping files may run beside this
//! one.
//!
//! **What wakes it**: its interval. A tick begins with one cheap probe and ends there when nothing
//! was captured.
//!
//! **What it refuses**: to number anything without the lock, to wait for the lock, to expand one
//! change into more than [`EXPANSION_ROWS_MAX`] rows at once (it notes where to go on, behind the
//! changes that came since), and to stop because one mapping's condition, or a tenant's look-up,
//! fails: the mapping's whole table is then copied anew, or every tenant looks again, which is
//! always right and only slow.
//!
//! **What a crash leaves behind**: nothing but a gap in the numbers. Captured changes are deleted
//! by the same transaction that logs them.

mod error;
mod history;
mod numbering;
mod partitions;
mod sequencer;
mod sql;
mod tick;

pub use error::Error;
pub use numbering::Numbering;
pub use sequencer::{Sequencer, Settings};
pub use tick::{EXPANSION_ROWS_MAX, LOCK_KEY, Tick, tick};
