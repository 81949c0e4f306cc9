//! The sync engine: brings every destination up to what it is owed.
//!
//! **Purpose.** For one destination at a time: read the changed keys beyond its cursors and the
//! mappings' rows for them in one source snapshot; apply rows and cursors in one destination
//! transaction. Initial copies, and copies anew, go the same way, chunk by chunk in key order, by
//! the same worker over the same state row.
//!
//! **What fences it.** The destination's `_offtake_state` rows. They are locked and compared with
//! what the batch was read for, inside the write; a late worker finds another value and drops its
//! work. Leases on requests only save effort.
//!
//! **What wakes it**: a nudge from the poller, or its own interval. A request is done only when the
//! destination's cursors have reached what is wanted.
//!
//! **What it refuses**: to decode a user's value (rows are COPY text from end to end), to take over
//! a table it did not make, to drop or retype anything, and to let one destination hold what others
//! need: reading the source takes one of `workers` places for as long as the read, writing takes
//! none, and a failing destination backs off alone.
//!
//! **What a crash leaves behind**: a lease that runs out. Rows and cursors are one transaction, so
//! a batch happened or did not; when the reply to COMMIT is lost, the next turn reads the cursors.

mod batch_size;
mod cursors;
pub mod destinations;
mod engine;
mod error;
mod ownership;
mod record;
mod settings;
mod sql;
mod turn;
pub mod verify;

pub use cursors::{Cursor, Cursors};
pub use engine::{Engine, Parts};
pub use error::Error;
pub use offtake_reading::MappingFault;
pub use settings::Settings;
