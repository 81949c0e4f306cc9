//! What a webhook is told: keys and rows as JSON, in one snapshot of the source.

mod group;
mod rows;

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::Accepted;
use offtake_postgres::change_log::PARTITION_ROWS;
use offtake_postgres::{PipelinedTransaction, PooledConnection, SourcePool, SqlState};
use serde_json::Value;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

pub use self::group::{EventsOfGroup, read_event_group};
pub use self::rows::key_texts;
use self::rows::{read_chunk_of_page, read_keys};
use crate::durable::end_durably;
use crate::snapshot::{age, opening};
use crate::{ChunkStart, Error, sql};

/// What to read for one webhook.
pub struct EventsWanted<'a> {
    pub tenant_id: &'a str,
    pub positions: &'a [EventPosition<'a>],
    /// At most so many changes of each mapping, or rows of a chunk.
    pub changes_max: usize,
    /// About so many bytes of rows at most; of a larger page the beginning is returned.
    pub bytes_max: usize,
    /// A row whose JSON is larger is returned without it.
    pub data_bytes_max: usize,
    /// Whether rows' values are wanted, or only their keys.
    pub with_data: bool,
    /// The quarantined events of this webhook are read too, where they are due.
    pub retry_quarantined_of: Option<i64>,
    /// A row that the query cannot compute fails its mapping, instead of being left out.
    pub halt: bool,
    pub statement_timeout: Duration,
}

/// How far a webhook was told of one mapping.
pub struct EventPosition<'a> {
    pub mapping: &'a Arc<ResolvedMapping>,
    /// Which of its rows the webhook is told of.
    pub accepted: &'a Accepted,
    /// Changes with a higher sequence id are read…
    pub after: i64,
    /// …up to this one; None: all.
    pub up_to: Option<i64>,
    /// The next stretch of a backfill, if one is wanted. A page has at most one.
    pub chunk: Option<ChunkStart<'a>>,
}

/// What one snapshot of the source has to tell.
#[derive(Debug)]
pub struct EventPage {
    /// The highest sequence id visible in the snapshot.
    pub head: i64,
    pub epoch: String,
    /// The source's clock, as seconds since 1970, at…
    pub now: f64,
    /// …this moment of ours.
    pub taken_at: Instant,
    /// The same as JSON events have times.
    pub now_text: String,
    /// Every change up to here, of every mapping that is not locked out, is in the page.
    pub read_up_to: i64,
    /// There are no changes behind it in this snapshot.
    pub exhausted: bool,
    /// One per position, in the same order.
    pub parts: Vec<EventPart>,
}

/// One mapping's share of a page.
#[derive(Debug)]
pub struct EventPart {
    pub mapping: Arc<ResolvedMapping>,
    /// The next change stands for the whole table, and so do all up to this sequence id: a resync
    /// is to be told before anything else of the mapping. The part has nothing more.
    pub whole_table: Option<i64>,
    /// In the order of their sequence ids; those of quarantined events are below the position.
    pub rows: Vec<EventRow>,
    pub chunk: Option<EventChunk>,
    /// Rows that the query cannot compute.
    pub failed: Vec<FailedEvent>,
    /// The application has locked a table of the query: nothing of this mapping was read.
    pub locked_out: bool,
    /// Age of the oldest change in the page, when the snapshot was taken.
    pub oldest: Option<Duration>,
}

/// What is to be told of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Of the key's newest change in the page.
    pub sequence_id: i64,
    /// When that change was captured, as JSON events have it.
    pub captured_at: String,
    /// The key as a JSON object, with the query's columns.
    pub key: String,
    /// The key as `row_key` has it.
    pub row_key: String,
    pub state: RowState,
}

/// What the query returns for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowState {
    /// No row, or none that the webhook is told of.
    Absent,
    /// A row, as a JSON object; None where only keys are wanted.
    Present(Option<String>),
    /// A row whose JSON is too large.
    TooLarge,
}

/// A stretch of a backfill.
#[derive(Debug)]
pub struct EventChunk {
    pub rows: Vec<EventRow>,
    /// The last key, as text in key order; None: the stretch goes to the end of the table.
    pub up_to: Option<Vec<String>>,
}

/// A row that the query cannot compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedEvent {
    pub row_key: String,
    pub sequence_id: i64,
    pub captured_at: String,
    pub sqlstate: String,
    pub error: String,
}

/// Reads one page in one REPEATABLE READ, READ ONLY transaction, which ends before this returns.
/// What is returned is on the source's disk.
///
/// When the query of one mapping fails, the error is [`Error::Mapping`]; the caller reads again
/// without that mapping.
pub async fn read_events(pool: &SourcePool, wanted: &EventsWanted<'_>) -> Result<EventPage, Error> {
    pool.get()
        .await
        .map_err(Error::Source)?
        .uninterrupted(async |connection| in_snapshot(connection, wanted).await)
        .await
}

async fn in_snapshot(
    connection: &mut PooledConnection,
    wanted: &EventsWanted<'_>,
) -> Result<EventPage, Error> {
    let (transaction, bounds) = open(connection, wanted).await?;
    let taken_at = Instant::now();
    let Some(first) = bounds.first() else { return Ok(EventPage::empty()) };
    if bounds.iter().any(|row| row.get("lost")) {
        return Err(Error::Lost);
    }
    let mut page = EventPage {
        head: first.get("head"),
        epoch: first.get("epoch"),
        now: first.get("now"),
        taken_at,
        now_text: first.get("now_text"),
        read_up_to: first.get("head"),
        exhausted: true,
        parts: Vec::with_capacity(bounds.len()),
    };
    let found: Vec<Found> = bounds.iter().map(|row| Found::of(row, wanted.changes_max)).collect();
    for end in found.iter().filter_map(|found| found.ends_at) {
        page.read_up_to = page.read_up_to.min(end);
        page.exhausted = false;
    }
    let mut bytes_left = wanted.bytes_max;
    for (position, found) in wanted.positions.iter().zip(found) {
        let mut part = EventPart::empty(position.mapping, &found, page.read_up_to);
        let keys = found.keys(page.read_up_to);
        if !keys.is_empty() {
            match read_keys(&transaction, wanted, position, &keys, bytes_left).await {
                Ok(read) => {
                    bytes_left = bytes_left.saturating_sub(read.bytes);
                    if let (true, Some(last)) = (read.cut, read.rows.last()) {
                        page.read_up_to = page.read_up_to.min(last.sequence_id);
                        page.exhausted = false;
                    }
                    part.rows = read.rows;
                    part.failed = read.failed;
                }
                Err(error) => part.lock_out(error, &transaction).await?,
            }
        }
        page.parts.push(part);
    }
    page.cut();
    read_chunk_of_page(&transaction, wanted, &mut page, bytes_left).await?;
    // Also for a page without rows: a cursor may move to its head.
    if let Some(unflushed) = first.get::<_, Option<&str>>("unflushed") {
        end_durably(transaction, unflushed).await.map_err(Error::source)?;
    }
    Ok(page)
}

async fn open<'c>(
    connection: &'c mut PooledConnection,
    wanted: &EventsWanted<'_>,
) -> Result<(PipelinedTransaction<'c>, Vec<Row>), Error> {
    let bounds = connection.prepare_cached(sql::READ_EVENT_BOUNDS).await.map_err(Error::source)?;
    let positions = wanted.positions;
    let tables: Vec<String> = positions.iter().map(|p| p.mapping.source_table()).collect();
    let after: Vec<i64> = positions.iter().map(|p| p.after).collect();
    let up_to: Vec<Option<i64>> = positions.iter().map(|p| p.up_to).collect();
    let mappings: Vec<&str> = positions.iter().map(|p| p.mapping.name()).collect();
    let changes_max = i64::try_from(wanted.changes_max).unwrap_or(i64::MAX);
    let parameters: [&(dyn ToSql + Sync); 8] = [
        &wanted.tenant_id,
        &tables,
        &after,
        &up_to,
        &changes_max,
        &PARTITION_ROWS,
        &mappings,
        &wanted.retry_quarantined_of,
    ];
    let find = async |session: &PooledConnection| session.query(&bounds, &parameters).await;
    let opening = opening(wanted.statement_timeout);
    PipelinedTransaction::open(connection, &opening, find).await.map_err(Error::source)
}

/// A key that changed, or whose event is due for another attempt.
#[derive(Debug, Clone)]
struct Change {
    sequence_id: i64,
    /// As [`compose::copy_events`] takes it; its `k` is null where the change stands for the whole
    /// table.
    object: Value,
}

/// What the bounds say of one mapping.
struct Found {
    /// The changes before the first that stands for the whole table.
    changes: Vec<Change>,
    due: Vec<Change>,
    /// The whole-table changes at the beginning end with this one.
    whole_table: Option<i64>,
    /// Behind this sequence id there may be more; None: this is all there is.
    ends_at: Option<i64>,
    oldest: Option<Duration>,
}

impl Found {
    fn of(row: &Row, changes_max: usize) -> Self {
        let mut changes = changes_of(row.get("changes"));
        let full = changes.len() >= changes_max;
        let mut ends_at = changes.last().filter(|_| full).map(|change| change.sequence_id);
        let whole = |change: &Change| change.object["k"].is_null();
        let leading = changes.iter().take_while(|change| whole(change)).count();
        let whole_table = leading.checked_sub(1).map(|at| changes[at].sequence_id);
        if whole_table.is_some() {
            ends_at = whole_table;
            changes.clear();
        } else if let Some(at) = changes.iter().position(whole) {
            ends_at = Some(changes[at].sequence_id - 1);
            changes.truncate(at);
        }
        let oldest = row.get::<_, Option<f64>>("oldest_seconds").map(age);
        Self { changes, due: changes_of(row.get("due")), whole_table, ends_at, oldest }
    }

    /// The keys to look at, up to a sequence id.
    fn keys(&self, read_up_to: i64) -> Vec<Change> {
        let changes = self.changes.iter().filter(|change| change.sequence_id <= read_up_to);
        self.due.iter().chain(changes).cloned().collect()
    }
}

fn changes_of(json: Option<&str>) -> Vec<Change> {
    let list = json.and_then(|json| serde_json::from_str::<Vec<Value>>(json).ok());
    let change = |object: Value| {
        let sequence_id = object["s"].as_str().and_then(|id| id.parse().ok()).unwrap_or(0);
        Change { sequence_id, object }
    };
    list.unwrap_or_default().into_iter().map(change).collect()
}

impl EventPart {
    fn empty(mapping: &Arc<ResolvedMapping>, found: &Found, read_up_to: i64) -> Self {
        Self {
            mapping: mapping.clone(),
            whole_table: found.whole_table.filter(|end| *end <= read_up_to),
            rows: Vec::new(),
            chunk: None,
            failed: Vec::new(),
            locked_out: false,
            oldest: found.oldest,
        }
    }

    /// Leaves this mapping out of the page if the error says that a table is locked; any other
    /// error is returned.
    async fn lock_out(&mut self, error: Error, transaction: &Client) -> Result<(), Error> {
        let locked = |error: &offtake_postgres::Error| {
            error.sqlstate().is_some_and(|code| {
                [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
            })
        };
        match error {
            Error::Source(error) if locked(&error) => {
                transaction
                    .batch_execute("rollback to savepoint reading")
                    .await
                    .map_err(Error::source)?;
                *self = Self {
                    mapping: self.mapping.clone(),
                    whole_table: None,
                    rows: Vec::new(),
                    chunk: None,
                    failed: Vec::new(),
                    locked_out: true,
                    oldest: None,
                };
                Ok(())
            }
            error => Err(error),
        }
    }
}

impl EventPage {
    /// What is read for no position.
    fn empty() -> Self {
        Self {
            head: 0,
            epoch: String::new(),
            now: 0.0,
            taken_at: Instant::now(),
            now_text: String::new(),
            read_up_to: 0,
            exhausted: true,
            parts: Vec::new(),
        }
    }

    /// Leaves out what lies behind the end: a mapping was read first whose rows, or those of
    /// another one, turned out to be too many.
    fn cut(&mut self) {
        for part in &mut self.parts {
            part.rows.retain(|row| row.sequence_id <= self.read_up_to);
            part.failed.retain(|failed| failed.sequence_id <= self.read_up_to);
            part.whole_table = part.whole_table.filter(|end| *end <= self.read_up_to);
        }
    }
}
