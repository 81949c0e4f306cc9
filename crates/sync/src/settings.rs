use std::time::Duration;

/// Settings of `sync:` and `poller:` in the configuration that concern the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Batches read from the source at one time.
    pub workers: usize,
    /// Changes per mapping in one batch.
    pub batch_rows: usize,
    /// Rows of an initial copy in one batch.
    pub chunk_rows: usize,
    /// About this many bytes of rows in one batch.
    pub batch_bytes: usize,
    /// A file's write-ahead log that has more than this strains the destination.
    pub file_log_bytes: u64,
    /// A D1 database that has more than this strains the destination.
    pub d1_database_bytes: u64,
    /// Limit of one statement at a destination or for a batch's read.
    pub statement_timeout: Duration,
    /// How long one at a destination waits for a lock.
    pub lock_timeout: Duration,
    /// The first wait after a failure; doubles up to `retry_max`.
    pub retry_initial: Duration,
    pub retry_max: Duration,
    /// How long a claim holds without a heartbeat. The engine sends three heartbeats in that time.
    pub lease: Duration,
    /// Requests in flight at one time.
    pub claim_limit: usize,
}
