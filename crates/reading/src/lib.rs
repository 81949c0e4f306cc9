//! Reads from the source: the changed keys of one tenant and the mappings' rows for them.
//!
//! **Purpose.** A caller says, per mapping, up to which sequence id it has read already, and where
//! a chunk of the initial copy begins if it wants one. [`read_batch`] reads what comes next, within
//! a bound on rows and bytes, and returns facts: the rows, the end of what was read, and whether
//! there is more. The caller decides what follows from them.
//!
//! **Invariants.** Everything in a [`Batch`] comes from one snapshot of the source, and all of it
//! is on the source's disk before the caller gets it. A value is never interpreted: [`Rows`] holds
//! the text that the source printed, and only keys are unescaped.
//!
//! **What it does not know**: cursors, destinations, and what its callers do with the rows. It
//! writes nothing.
//!
//! **What it refuses**: to let one bad row stop a mapping. Rows that the query cannot compute are
//! found and returned by key ([`FailedRow`]); the others are read without them. It also refuses to
//! wait for a table that the application has locked: it leaves that mapping out of the batch.
//!
//! **What a crash leaves behind**: nothing. The transaction only reads.

mod batch;
mod budget;
mod copy;
mod durable;
mod error;
mod events;
mod failed_rows;
mod group;
mod head;
mod held;
mod rows;
mod snapshot;
mod sql;
mod stretch;

pub use batch::{Batch, Chunk, ChunkStart, Part, Position, Wanted};
pub use error::{Error, MappingFault};
pub use events::{
    EventChunk, EventPage, EventPart, EventPosition, EventRow, EventsOfGroup, EventsWanted,
    FailedEvent, RowState, key_texts, read_event_group, read_events,
};
pub use failed_rows::{FAILED_ROWS_MAX, FailedRow};
pub use group::{GROUP_CHANGES_MAX, Member, WantedOfGroup, read_group};
pub use head::{Head, read_head};
pub use held::{
    HeldSnapshot, Page, PageWanted, Printed, Read, Unnumbered, are_numbered, changed_ranges,
};
pub use rows::{Rows, key_of, unescape_bytes};
pub use snapshot::read_batch;
pub use stretch::{Stretch, find_end, read_stretch};
