//! The proof that a copy equals its query.
//!
//! **Architecture Invariant:** the path that writes shares no statement, no key list and no reading
//! of rows with this module, so that a mistake there cannot hide itself here. What both use is how
//! one value becomes text: the quoting of names and values, the session's text settings, and
//! `compose::postgres::printed`.
//!
//! Both sides are read in ranges of the key. Of each range only a count and a checksum travel;
//! where they differ, the same of each of its shares by a hash of the key; of the shares that
//! differ, the keys with a checksum per row; where those differ, after a second look, the differing
//! columns. Rows are compared as the text that `COPY` would write, under pinned settings, so that
//! NULL is not `''` and 1.0 is not 1.00.
//!
//! **Changes may flow meanwhile.** No snapshot is held over the whole run: it would hold back the
//! source's vacuum for as long as the largest table takes. And no transaction is longer than a
//! range or waits for anything: its locks would hold back an application that alters its tables.
//! Instead, every range is read as of its own moment, and whatever differs is looked at again: at
//! the source, then, once the destination has passed every change that was committed by then, at
//! the destination, and at the source once more. A difference counts only if both looks at the
//! source agree and the log knows of no change of that key in between. What cannot be settled
//! within the time given, because the destination is behind or the row never rests, is counted as
//! `unsettled` and is not called equal.
//!
//! A row that a side cannot print (over a gigabyte as text, or a query that fails for it) is left
//! out by its key, and the others are compared (`unprinted`).
//!
//! At the end, the tenant of each row by `source.tenant` is compared with the query's
//! (`agreement`). Where they differ, the copy may be equal now and still miss the row's next
//! change.
//!
//! What a crash leaves behind: nothing; only reads are made.

mod agreement;
mod confirm;
mod destination;
mod error;
mod file_side;
mod file_values;
mod key;
mod printed;
mod ranges;
mod repair;
mod report;
mod side;
mod statement;
mod unprinted;

use std::time::{Duration, Instant};

use offtake_mapping::ResolvedMapping;
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::destinations::Reader;

pub use error::Error;
pub use key::{KeyFound, SpeltKey, spell_key, verify_key};
pub use ranges::Point;
pub(crate) use repair::row_key;
pub use repair::{KEYS_MAX, Keys};
pub use report::{Difference, Kind, Report, SideName, Unprinted};
pub use unprinted::UNPRINTED_MAX;

use ranges::Comparison;

/// What is compared: one mapping's rows of one tenant with its table in one destination.
#[derive(Debug, Clone, Copy)]
pub struct VerifyTarget<'a> {
    pub mapping: &'a ResolvedMapping,
    /// As `_offtake_state` has it.
    pub tenant_id: &'a str,
    /// As the source prints it: as the change log and the rows have it.
    pub tenant_at_source: &'a str,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// Rows of a range to begin with; see [`RANGE_ROWS`].
    pub range_rows: u64,
    /// How many differences are listed; all are counted.
    pub differences_max: usize,
    /// Also tell the differing values. They are a tenant's data: never for logs.
    pub values: bool,
    /// How long the whole run may wait in vain for changes to reach the destination.
    pub wait: Duration,
    /// For a single statement on either side.
    pub statement_timeout: Duration,
    /// How long a statement may wait for a lock; None: as long as it may take.
    pub lock_timeout: Option<Duration>,
    /// The copy was made once: no log says what has changed at the source since, and nothing on its
    /// way is waited for. A row that changes while it is looked at is not settled.
    pub made_once: bool,
    /// Told the source rows compared so far.
    pub progress: Option<watch::Sender<u64>>,
}

/// 10 000 rows are some tens of milliseconds on either side: short statements and few round trips.
/// A range that differs is read twice more, and costs some 50 kB to look into.
pub const RANGE_ROWS: u64 = 10_000;
/// As many as a person reads, and enough to see a pattern.
pub const DIFFERENCES_MAX: usize = 100;
/// Many times the lag of a healthy destination; short enough to wait for at a prompt.
pub const WAIT: Duration = Duration::from_secs(20);
/// A query without an index in key order reads its whole table per range.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);

impl Default for Options {
    fn default() -> Self {
        Self {
            range_rows: RANGE_ROWS,
            differences_max: DIFFERENCES_MAX,
            values: false,
            wait: WAIT,
            statement_timeout: STATEMENT_TIMEOUT,
            lock_timeout: None,
            made_once: false,
            progress: None,
        }
    }
}

/// What one slice of a comparison found.
pub struct Slice {
    /// All of its ranges; those before the last one were equal.
    pub report: Report,
    /// Where the last range began.
    pub last: Point,
    /// Where the next one begins; None: there is none.
    pub next: Option<Point>,
    /// What the source's statements took.
    pub source_took: Duration,
}

/// Compares both ways. The source's client and the destination's session are the call's alone while
/// it runs: it opens transactions on each and rolls them back at the end. If its future is dropped,
/// drop both.
///
/// Fails if a side cannot be read, or if the query gives a key twice or without a value: such a
/// query has no copy.
pub async fn verify(
    source: &Client,
    destination: Reader<'_>,
    target: &VerifyTarget<'_>,
    options: &Options,
) -> Result<Report, Error> {
    let compared = async {
        let mut comparison = Comparison::begin(source, destination, target, options).await?;
        comparison.run(Point::first(options.range_rows), |_| false).await?;
        agreement::add(source, target, comparison.report).await
    };
    let outcome = Box::pin(compared).await;
    tokio::join!(end(source), destination.end());
    outcome
}

/// Compares the ranges from `from` on, for about `takes`: to the end of the key, or of a range that
/// differs. The tenants' agreement is not compared: that reads all rows in one statement.
/// Otherwise as [`verify`].
pub async fn verify_slice(
    source: &Client,
    destination: Reader<'_>,
    target: &VerifyTarget<'_>,
    options: &Options,
    from: Point,
    takes: Duration,
) -> Result<Slice, Error> {
    let began = Instant::now();
    let enough = |report: &Report| !report.equal() || began.elapsed() >= takes;
    let compared = async {
        let mut comparison = Comparison::begin(source, destination, target, options).await?;
        let (last, next) = comparison.run(from, enough).await?;
        let source_took = comparison.source.spent();
        Ok(Slice { report: comparison.report, last, next, source_took })
    };
    let outcome = Box::pin(compared).await;
    tokio::join!(end(source), destination.end());
    outcome
}

impl Reader<'_> {
    /// Ends what was begun there. A file's statements are read each in a transaction of its own.
    async fn end(&self) {
        if let Self::Postgres { client, .. } = self {
            end(client).await;
        }
    }
}

/// Ends a transaction, and with it its locks. Only reads were made; if the connection is gone, so
/// is its transaction.
async fn end(client: &Client) {
    let _ = client.batch_execute("rollback").await;
}
