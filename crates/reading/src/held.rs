//! A snapshot of the source that is kept for several reads, so that what they return is of one
//! moment.
//!
//! The snapshot keeps no lock between two reads: each is made behind a savepoint to which it
//! returns. So the application's TRUNCATE and ALTER TABLE wait for one read at most. What they do to
//! a table is visible to the snapshot all the same, and [`HeldSnapshot::unbroken`] finds that out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_mapping::compose::{self, KeyRange, ReadRange};
use offtake_mapping::{ResolvedMapping, TableName, foreign};
use offtake_postgres::change_log::PARTITION_ROWS;
use offtake_postgres::{PooledConnection, SourcePool, unreadable_row};
use tokio_postgres::Client;

use crate::copy::saved_copy;
use crate::durable::make_durable;
use crate::failed_rows::read_apart;
use crate::rows::key_columns;
use crate::snapshot::{gave_way, opening, whole_keys};
use crate::{Error, MappingFault, Rows, sql};

/// So many captured changes are waited for. Where a snapshot shows more, the sequencer is far
/// behind, and another snapshot has to be taken later.
const UNNUMBERED_MAX: i64 = 1_000_000;

/// Gives up the locks that were taken behind `savepoint page`.
const LEAVE_PAGE: &str = "rollback to savepoint page; release savepoint page";

/// A snapshot of the source. Dropping it closes its session.
pub struct HeldSnapshot {
    session: Option<PooledConnection>,
    pool: SourcePool,
    pub begun: Instant,
    /// The highest sequence id visible in it.
    pub head: i64,
    pub epoch: String,
    statement_timeout: Duration,
    tables: Vec<String>,
    storage: String,
}

/// How a page's rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printed {
    /// As COPY prints them: the mapping's columns.
    Columns,
    /// The key's columns, and then the row as one JSON object.
    Json,
}

/// What to read from a snapshot.
pub struct PageWanted<'a> {
    pub mapping: &'a Arc<ResolvedMapping>,
    pub tenant_id: &'a str,
    pub range: KeyRange<'a>,
    pub printed: Printed,
    /// At most so many rows and bytes of them; one row at least.
    pub rows_max: usize,
    pub bytes_max: usize,
    /// Until when the page must be read; None: as long as a statement may take.
    pub until: Option<Instant>,
}

/// What came of reading a page.
#[derive(Debug)]
pub enum Read {
    Page(Page),
    /// The application has locked a table of the query for longer than half a second; the caller
    /// tries again later, or gives up.
    Locked,
    /// [`PageWanted::until`] came first. The caller ends the snapshot.
    Late,
}

/// The first rows of a range, in key order.
#[derive(Debug)]
pub struct Page {
    /// Lines without marks.
    pub rows: Rows,
    /// The last key of the page; None: the page has all of the range.
    pub up_to: Option<Vec<String>>,
}

/// Captured changes that a snapshot shows and that had no number yet.
#[derive(Debug)]
pub struct Unnumbered {
    capture_ids: Vec<i64>,
    last: Option<String>,
}

impl HeldSnapshot {
    /// Takes a snapshot. What it shows is on the source's disk when this returns. `mappings` are
    /// those that will be read from it.
    pub async fn open(
        pool: &SourcePool,
        mappings: &[Arc<ResolvedMapping>],
        statement_timeout: Duration,
    ) -> Result<Self, Error> {
        let tables = mappings
            .iter()
            .flat_map(|mapping| mapping.definition.tables().chain(&mapping.definition.unchanging));
        let mut tables: Vec<String> = tables.map(TableName::sql).collect();
        tables.sort();
        tables.dedup();
        Self::open_for(pool, tables, statement_timeout).await
    }

    /// The same for tables that are read without a mapping, by their names as SQL writes them.
    pub async fn open_for(
        pool: &SourcePool,
        tables: Vec<String>,
        statement_timeout: Duration,
    ) -> Result<Self, Error> {
        let other = pool.get().await.map_err(Error::Source)?;
        // Before the snapshot: a table that is truncated between the two is found broken, which is
        // better than the other way round.
        let storage = read_storage(&other, &tables).await?;
        let session = pool.get().await.map_err(Error::Source)?;
        let mut snapshot = Self {
            session: Some(session),
            pool: pool.clone(),
            begun: Instant::now(),
            head: 0,
            epoch: String::new(),
            statement_timeout,
            tables,
            storage,
        };
        let client = snapshot.client();
        client.batch_execute(&opening(statement_timeout)).await.map_err(Error::source)?;
        let row = client.query_one(sql::READ_HEAD, &[&PARTITION_ROWS]).await;
        let row = row.map_err(Error::source)?;
        (snapshot.head, snapshot.epoch) = (row.get("head"), row.get("epoch"));
        make_durable(&other).await.map_err(Error::source)?;
        Ok(snapshot)
    }

    fn client(&self) -> &Client {
        self.session.as_ref().unwrap_or_else(|| unreachable!("only its end takes it"))
    }

    /// Reads the first rows of a range.
    ///
    /// A row that the query cannot compute is an error that names it: a page has all rows.
    pub async fn read(&self, wanted: &PageWanted<'_>) -> Result<Read, Error> {
        let client = self.client();
        let left = wanted.until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.filter(|left| *left < self.statement_timeout);
        let begin = match left {
            // 0 would be without an end.
            Some(left) => &format!(
                "savepoint page; set local statement_timeout = {}",
                left.as_millis().max(1)
            ),
            None => "savepoint page",
        };
        client.batch_execute(begin).await.map_err(Error::source)?;
        let read = match read_page(client, wanted).await {
            Ok(page) => Ok(Read::Page(page)),
            Err(Error::Source(error)) if gave_way(&error) => Ok(Read::Locked),
            Err(Error::Source(error)) => return Err(Error::Source(error)),
            Err(Error::TooSlow { .. }) if left.is_some() => Ok(Read::Late),
            Err(error) => Err(error),
        };
        client.batch_execute(LEAVE_PAGE).await.map_err(Error::source)?;
        read
    }

    /// The lines of a `COPY (…) TO STDOUT` that names everything by its schema: nothing but
    /// `pg_catalog` is on the search path. Whole lines of at most `bytes_max`, one at least; true:
    /// there are more. None: the application has locked a table, as in [`Read::Locked`].
    pub async fn lines(
        &self,
        statement: &str,
        bytes_max: usize,
    ) -> Result<Option<(Rows, bool)>, Error> {
        let client = self.client();
        let begin = "savepoint page; set local search_path = pg_catalog, pg_temp";
        client.batch_execute(begin).await.map_err(Error::source)?;
        let (data, cut) = match saved_copy(client, statement, bytes_max).await {
            Ok(copied) => copied,
            Err(error) => {
                let error = offtake_postgres::Error::from(error);
                if !gave_way(&error) {
                    return Err(Error::Source(error));
                }
                client.batch_execute(LEAVE_PAGE).await.map_err(Error::source)?;
                return Ok(None);
            }
        };
        client.batch_execute(LEAVE_PAGE).await.map_err(Error::source)?;
        Ok(Some((Rows::present_only(data), cut)))
    }

    /// The planner's estimate of how many rows of a tenant there are.
    pub async fn estimate(&self, mapping: &ResolvedMapping, tenant_id: &str) -> Result<i64, Error> {
        let client = self.client();
        client.batch_execute("savepoint page").await.map_err(Error::source)?;
        let explained = client.query_one(&compose::estimate_rows(mapping, tenant_id), &[]).await;
        let back = client.batch_execute(LEAVE_PAGE).await;
        let explained = explained.map_err(|error| Error::mapping(mapping, error))?;
        back.map_err(Error::source)?;
        let plan: serde_json::Value = explained.get(0);
        Ok(plan[0]["Plan"]["Plan Rows"].as_f64().map_or(0, |rows| rows as i64))
    }

    /// The changes that this snapshot shows although the log does not have them yet. None: more than
    /// can be waited for.
    pub async fn unnumbered(&self) -> Result<Option<Unnumbered>, Error> {
        let row = self.client().query_one(sql::LIST_UNNUMBERED, &[&UNNUMBERED_MAX]).await;
        let row = row.map_err(Error::source)?;
        let capture_ids: Vec<i64> = row.get("capture_ids");
        let few = i64::try_from(capture_ids.len()).is_ok_and(|count| count < UNNUMBERED_MAX);
        Ok(few.then(|| Unnumbered { capture_ids, last: row.get("last") }))
    }

    /// Whether no table of the mappings was truncated or rewritten since the snapshot was taken.
    /// Where one was, what was read since then may lack rows.
    pub async fn unbroken(&self) -> Result<bool, Error> {
        let connection = self.pool.get().await.map_err(Error::Source)?;
        Ok(read_storage(&connection, &self.tables).await? == self.storage)
    }

    /// Ends the snapshot and gives its session back.
    pub async fn end(mut self) {
        if let Some(session) = self.session.take()
            && session.batch_execute("rollback").await.is_err()
        {
            session.discard();
        }
    }
}

impl Drop for HeldSnapshot {
    fn drop(&mut self) {
        // It may be in the middle of a statement.
        if let Some(session) = self.session.take() {
            session.discard();
        }
    }
}

/// Whether all of these changes have their numbers by now.
pub async fn are_numbered(pool: &SourcePool, changes: &Unnumbered) -> Result<bool, Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let Unnumbered { capture_ids, last } = changes;
    let row = connection.query_one(sql::PROBE_UNNUMBERED, &[capture_ids, last]).await;
    Ok(!row.map_err(Error::source)?.get::<_, bool>(0))
}

/// The places in `ranges` of those in which a row may have changed up to the sequence id `up_to`,
/// and of those whose changes the log no longer has. A range whose `after` is negative counts as
/// changed.
pub async fn changed_ranges(
    pool: &SourcePool,
    (mapping, tenant_id): (&ResolvedMapping, &str),
    ranges: &[ReadRange<'_>],
    (up_to, keys_max): (i64, usize),
) -> Result<Vec<usize>, Error> {
    let (asked, places): (Vec<ReadRange<'_>>, Vec<usize>) = ranges
        .iter()
        .enumerate()
        .filter(|(_, range)| range.after >= 0)
        .map(|(at, range)| (*range, at))
        .unzip();
    if asked.is_empty() {
        return Ok((0..ranges.len()).collect());
    }
    let connection = pool.get().await.map_err(Error::Source)?;
    let statement = compose::list_changed_ranges(mapping, tenant_id, &asked, (up_to, keys_max));
    let rows = connection.query(&statement, &[]).await;
    let rows = rows.map_err(|error| Error::mapping(mapping, error))?;
    // Asked afterwards: a partition may be dropped meanwhile.
    let head = crate::read_head(&connection).await?;
    let place = |row: &tokio_postgres::Row| {
        usize::try_from(row.get::<_, i32>(0)).ok().and_then(|at| places.get(at).copied())
    };
    let mut changed: Vec<usize> = rows.iter().filter_map(place).collect();
    let unknown = |range: &ReadRange<'_>| range.after < 0 || range.after + 1 < head.log_begins;
    changed.extend(ranges.iter().enumerate().filter(|(_, r)| unknown(r)).map(|(at, _)| at));
    changed.sort_unstable();
    changed.dedup();
    Ok(changed)
}

async fn read_storage(connection: &PooledConnection, tables: &[String]) -> Result<String, Error> {
    let row = connection.query_one(sql::READ_STORAGE, &[&tables]).await;
    Ok(row.map_err(Error::source)?.get(0))
}

async fn read_page(client: &Client, wanted: &PageWanted<'_>) -> Result<Page, Error> {
    let PageWanted { mapping, tenant_id, range, printed, rows_max, bytes_max, .. } = *wanted;
    let (statement, key_columns) = match printed {
        Printed::Columns => {
            (compose::copy_chunk(mapping, tenant_id, range, rows_max), key_columns(mapping))
        }
        Printed::Json => {
            let key = (0..mapping.key.len()).collect();
            (compose::copy_chunk_json(mapping, tenant_id, range, rows_max), key)
        }
    };
    match saved_copy(client, &statement, bytes_max).await {
        Ok((data, cut)) => {
            let rows = Rows::present_only(data);
            if !cut && rows.len() < rows_max {
                return Ok(Page { rows, up_to: None });
            }
            let of = (&**mapping, tenant_id);
            let rows = whole_keys(client, of, range.after, (rows, &key_columns)).await;
            let rows = rows.map_err(of_a_row)?;
            let last = rows.len().checked_sub(1);
            let up_to = last.map(|last| rows.key(last, &key_columns));
            Ok(Page { rows, up_to })
        }
        Err(error) if unreadable_row(&error) => {
            let list = compose::list_chunk(mapping, tenant_id, range, rows_max);
            let apart = read_apart(client, mapping, tenant_id, &list, error).await?;
            let fault = match apart.failed.first() {
                Some(failed) => MappingFault {
                    sqlstate: Some(failed.sqlstate.clone()),
                    message: format!(
                        "the row ({}) cannot be computed: {}",
                        foreign(&failed.key.join(", ")),
                        failed.error
                    ),
                },
                None => MappingFault::said("a row cannot be printed as JSON".to_owned()),
            };
            Err(Error::Row { mapping: mapping.name().to_owned(), fault })
        }
        Err(error) => Err(Error::mapping(mapping, error)),
    }
}

/// A key that is there twice is told with the key.
fn of_a_row(error: Error) -> Error {
    match error {
        Error::Mapping { mapping, fault } => Error::Row { mapping, fault },
        other => other,
    }
}
