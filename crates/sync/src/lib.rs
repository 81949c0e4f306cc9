//! The sync engine: brings every destination up to what it is owed. And the audit ([`audit`]):
//! proves that it has what it should have. What follows is about the engine.
//!
//! **Purpose.** For one destination at a time: read the changed keys beyond its cursors and the
//! mappings' rows for them in one source snapshot; apply rows and cursors in one destination
//! transaction. Initial copies and re-copies go the same way, chunk by chunk in key order, by the
//! same worker over the same state row.
//!
//! **What fences it.** The destination's `_offtake_state` rows. They are locked and compared with
//! what the batch was read for, inside the write. A late worker finds other values and drops its
//! batch. Leases on requests only save effort.
//!
//! **What wakes it**: a nudge from the poller, or its own interval. A request is done only when the
//! destination's cursors have reached what is wanted.
//!
//! **What it refuses**: to decode a user's value (rows are COPY text from end to end), to take over
//! a table it did not make, to drop or retype anything, and to let one destination hold what other
//! destinations need. A turn holds one of `workers` places only while it reads from the source, and
//! none while it writes. A failing destination backs off alone.
//!
//! **Who is spoken to.** `destinations/` speaks to destinations, one folder per kind; `turn/` decides
//! and `record.rs` tells the source; reading from the source is the crate `offtake-reading`,
//! requests are the crate `offtake-requests`.
//!
//! **What a crash leaves behind**: a lease that runs out. Rows and cursors move in one transaction,
//! so a batch happened or did not. When the reply to COMMIT is lost, the next turn reads the
//! cursors.

pub mod audit;
mod batch_size;
pub mod copy;
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
pub use ownership::served_by_another;
pub use settings::Settings;
