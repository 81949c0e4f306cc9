//! Copies that are made once, by `offtake copy`, and go on where they were interrupted.
//!
//! **Purpose.** One table, or one mapping's rows of one tenant, goes from the source into a
//! destination, chunk by chunk in key order. Rows are read and written as those of an initial copy
//! are: there is no second reader, no second writer and no second table of types. Then both sides
//! are compared range by range, and a range that differs is copied once more.
//!
//! **What fences it.** The copy has a cursor in the destination's `_offtake_state`, as a tenant has.
//! Each batch compares and replaces it, together with its rows and its checkpoint in
//! `migration_checkpoints`. A runner whose lease was taken over finds another cursor and stops.
//!
//! **What it needs at the source**: SELECT. No change is captured, so nothing is installed there.
//! A row that changes while the copy runs is found by the comparison at the end.
//!
//! **What a crash leaves behind**: a lease that runs out after a minute, and a chunk whose
//! checkpoint says up to which key its rows are there.

mod batches;
mod chunk;
mod compare;
mod desk;
mod outcome;
mod owner;
mod retry;
mod run;
mod setup;

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::PlainIndex;
use offtake_postgres::{ConnectionString, Dialer, SourcePool};
use tokio_util::sync::CancellationToken;

pub use chunk::{Chunk, Status};
pub use outcome::{Compared, Event, FailedChunk, Outcome, Side, Stop};
pub use owner::Owner;
pub use setup::{columns_max, row_bytes_max};

use crate::Settings;
use crate::destinations::Place;
pub use crate::destinations::Spent;

/// A batch of 10 000 rows is some tens of milliseconds of work on either side.
pub const BATCH_ROWS: usize = 10_000;
/// Two of them are in memory at a time: the one that is written, and the next one.
pub const BATCH_BYTES: usize = 4 << 20;
/// A chunk is what fails or is done as a whole. A table of millions has some dozens of them.
pub const CHUNK_ROWS: usize = 50_000;
/// How often something is tried before its chunk has failed.
pub const ATTEMPTS: u32 = 3;

/// What is copied.
pub struct Job {
    /// In the form for the destination's kind. Its name is the table's name in the checkpoints.
    pub mapping: Arc<ResolvedMapping>,
    /// Whose rows, as the source prints it; empty where the mapping is a whole table.
    pub tenant: String,
    /// Made at the destination once its rows are there.
    pub indexes: Vec<PlainIndex>,
}

/// How it is copied.
#[derive(Debug, Clone)]
pub struct Terms {
    pub chunk_rows: usize,
    pub batch_rows: usize,
    pub batch_bytes: usize,
    /// The shortest time from one batch to the next.
    pub pace: Duration,
    /// How often a batch is tried before its chunk has failed.
    pub attempts: u32,
    /// No batch begins afterwards.
    pub deadline: Option<Instant>,
    /// At most so many rows of each table, in this run.
    pub rows_max: Option<u64>,
    /// Forget what checkpoints say, and copy over what is there.
    pub fresh: bool,
    /// Leave rows out that the destination refuses, and list them there.
    pub skip_refused: bool,
    /// Compare both sides at the end.
    pub compare: bool,
}

/// Copies tables from one source to one destination.
pub struct Copier {
    pub pool: SourcePool,
    /// For the comparison, which has a session of its own.
    pub source: ConnectionString,
    pub place: Arc<Place>,
    pub dialer: Dialer,
    pub terms: Terms,
    pub owner: Owner,
    /// Stop after the batch in progress.
    pub stopping: CancellationToken,
    pub settings: Settings,
    /// Told what happens.
    pub tell: Box<dyn Fn(Event<'_>) + Send + Sync>,
}

/// The limits of a copy's statements.
pub fn settings(statement_timeout: Duration) -> Settings {
    Settings {
        workers: 1,
        batch_rows: BATCH_ROWS,
        chunk_rows: BATCH_ROWS,
        batch_bytes: BATCH_BYTES,
        statement_timeout,
        lock_timeout: Duration::from_secs(10),
        retry_initial: retry::INITIAL,
        retry_max: retry::MAX,
        lease: owner::LEASE,
        claim_limit: 1,
        // A copy has no status in which these could be told.
        file_log_bytes: u64::MAX,
        d1_database_bytes: u64::MAX,
    }
}
