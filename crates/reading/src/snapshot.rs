//! Reading one batch: log and rows in one snapshot of the source.

use std::time::Duration;

use bytes::Bytes;
use offtake_mapping::compose::{self, Changed, KeyRange};
use offtake_mapping::{ResolvedMapping, foreign};
use offtake_postgres::change_log::PARTITION_ROWS;
use offtake_postgres::{
    PipelinedTransaction, PooledConnection, SourcePool, SqlState, unreadable_row,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::budget::BatchBudget;
use crate::copy::{back, save, saved_copy, saved_select};
use crate::durable::end_durably;
use crate::failed_rows::read_apart;
use crate::rows::key_columns;
use crate::{
    Batch, Chunk, ChunkStart, Error, MappingFault, Part, Position, Rows, Wanted, key_of, sql,
};

/// A batch locks the tables of several mappings, one after the other. An application that locks two
/// of the same tables explicitly may take them in another order, and then the two deadlock. The
/// batch gives way before the server chooses a victim (`deadlock_timeout`, 1 s): otherwise the
/// application's transaction could be the one that is ended.
const LOCK_TIMEOUT_MS: u32 = 500;

/// The keys of a page of up to so many changes are stated in the statement that reads their rows.
/// The server plans that in half the time of one that reads the log for them: 0.2 ms of a batch.
const STATED_KEYS_MAX: i64 = 50;

/// A change is at most so old, some thirty years, whatever time its row holds.
const AGE_SECONDS_MAX: f64 = 1e9;

/// Reads one batch in one REPEATABLE READ, READ ONLY transaction, which ends before this returns.
///
/// When the query of one mapping fails, the error is [`Error::Mapping`]; the caller reads again
/// without that mapping.
pub async fn read_batch(pool: &SourcePool, wanted: &Wanted<'_>) -> Result<Batch, Error> {
    // A caller that is cancelled must not wait for a query that may run for a whole statement
    // timeout.
    pool.get()
        .await
        .map_err(Error::Source)?
        .uninterrupted(async |connection| in_snapshot(connection, wanted).await)
        .await
}

async fn in_snapshot(
    connection: &mut PooledConnection,
    wanted: &Wanted<'_>,
) -> Result<Batch, Error> {
    let copying = wanted.positions.iter().any(|position| position.chunk.is_some());
    let mut budget = BatchBudget::new(copying, wanted.rows_max, wanted.bytes_max);
    let changes_max = i64::try_from(budget.changes_max).unwrap_or(i64::MAX);
    let (transaction, bounds) = open(connection, wanted, changes_max).await?;
    let Some(first) = bounds.first() else { return Ok(Batch::default()) };
    if bounds.iter().any(|row| row.get("lost")) {
        return Err(Error::Lost);
    }
    let mut batch = Batch {
        head: first.get("head"),
        epoch: first.get("epoch"),
        parts: Vec::with_capacity(bounds.len()),
        fits: None,
    };
    let pages: Vec<i64> = bounds.iter().map(|row| row.get("changes")).collect();
    let largest_page = pages.iter().copied().max().unwrap_or(0);
    for ((position, row), changes) in wanted.positions.iter().zip(&bounds).zip(pages) {
        let mut part = Part::found(position, row, batch.head, changes < changes_max);
        if row.get::<_, Option<i64>>("up_to").is_some() || wanted.retry_quarantined_of.is_some() {
            let bytes_max = budget.for_changes();
            let keys: Option<&str> = row.get("keys");
            let found = (position, keys, row.get("lists"));
            match read_changes(&transaction, wanted, found, &mut part, bytes_max).await {
                Ok(None) => {}
                Ok(Some(cut)) => {
                    return Err(Error::Overflow { fits: budget.fits(&cut, changes, largest_page) });
                }
                Err(error) => part.lock_out(error, &transaction, position).await?,
            }
            budget.take(part.changed.bytes());
        }
        batch.parts.push(part);
    }
    // After the changes of all mappings: the chunk gets what they leave of the budget.
    let mut parts = wanted.positions.iter().zip(&mut batch.parts);
    let to_copy = |(position, part): &(&Position<'_>, &mut Part)| {
        position.chunk.is_some() && !part.whole_table && !part.locked_out
    };
    if let Some((position, part)) = parts.find(to_copy) {
        match read_chunk(&transaction, wanted, position, part, &budget).await {
            Ok(fits) => batch.fits = fits,
            Err(error) => part.lock_out(error, &transaction, position).await?,
        }
    }
    // Also for a batch without rows: a cursor may move to its head. What is not ended here rolls
    // back, which nothing waits for.
    if let Some(unflushed) = first.get::<_, Option<&str>>("unflushed") {
        end_durably(transaction, unflushed).await.map_err(Error::source)?;
    }
    Ok(batch)
}

/// Opens the snapshot and asks it what there is to read: one row per position, in the same order.
async fn open<'c>(
    connection: &'c mut PooledConnection,
    wanted: &Wanted<'_>,
    changes_max: i64,
) -> Result<(PipelinedTransaction<'c>, Vec<Row>), Error> {
    let bounds = connection.prepare_cached(sql::READ_BOUNDS).await.map_err(Error::source)?;
    let tables: Vec<String> = wanted.positions.iter().map(|p| p.mapping.source_table()).collect();
    let after: Vec<i64> = wanted.positions.iter().map(|p| p.after).collect();
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&wanted.tenant_id, &tables, &after, &changes_max, &PARTITION_ROWS, &STATED_KEYS_MAX];
    let find = async |session: &PooledConnection| session.query(&bounds, &parameters).await;
    let opening = opening(wanted.statement_timeout);
    PipelinedTransaction::open(connection, &opening, find).await.map_err(Error::source)
}

/// Begins the snapshot.
///
/// The bounds are found by index whatever the parameters are; without the last setting, the server
/// plans for each batch again, because partitions can be left out: 0.6 ms, and running the plan
/// takes 0.15 ms.
pub(crate) fn opening(statement_timeout: Duration) -> String {
    format!(
        "begin isolation level repeatable read, read only; set local statement_timeout = {}; \
         set local lock_timeout = {LOCK_TIMEOUT_MS}; set local synchronous_commit = on; \
         set local plan_cache_mode = force_generic_plan",
        statement_timeout.as_millis()
    )
}

/// The age of a change in seconds, as a row says it.
pub(crate) fn age(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, AGE_SECONDS_MAX))
}

impl Part {
    /// What the bounds say of a mapping; its rows are not read yet.
    fn found(position: &Position<'_>, bounds: &Row, head: i64, exhausted: bool) -> Self {
        let read_up_to = if exhausted {
            head.max(position.after)
        } else {
            bounds.get::<_, Option<i64>>("up_to").unwrap_or(head)
        };
        let oldest = bounds.get::<_, Option<f64>>("oldest_seconds");
        Self {
            mapping: position.mapping.clone(),
            read_up_to,
            exhausted,
            whole_table: bounds.get::<_, Option<i64>>("whole_table").is_some(),
            changed: Rows::default(),
            chunk: None,
            failed: Vec::new(),
            locked_out: false,
            oldest: oldest.map(age),
        }
    }

    /// Leaves this mapping out of the batch if the error says that a table is locked; any other
    /// error is returned.
    async fn lock_out(
        &mut self,
        error: Error,
        transaction: &Client,
        position: &Position<'_>,
    ) -> Result<(), Error> {
        match error {
            Error::Source(error) if gave_way(&error) => {
                transaction
                    .batch_execute("rollback to savepoint reading")
                    .await
                    .map_err(Error::source)?;
                self.read_up_to = position.after;
                self.exhausted = true;
                self.whole_table = false;
                self.changed = Rows::default();
                self.chunk = None;
                self.failed.clear();
                self.oldest = None;
                self.locked_out = true;
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// Whether a read was given up because the application has locked a table.
pub(crate) fn gave_way(error: &offtake_postgres::Error) -> bool {
    error.sqlstate().is_some_and(|code| {
        [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
    })
}

/// Reads the rows of the changed keys into the part. `keys`: all of them, if they are few; `lists`:
/// there are lists of keys among them. If the rows are larger than `bytes_max`, returns those that were read until then.
async fn read_changes(
    transaction: &Client,
    wanted: &Wanted<'_>,
    (position, keys, lists): (&Position<'_>, Option<&str>, bool),
    part: &mut Part,
    bytes_max: usize,
) -> Result<Option<Rows>, Error> {
    let mapping = position.mapping;
    let changed = Changed {
        tenant_id: wanted.tenant_id,
        after: position.after,
        up_to: part.read_up_to,
        lists,
        retry_quarantined_of: wanted.retry_quarantined_of,
    };
    let keys = keys.filter(|_| wanted.retry_quarantined_of.is_none());
    match changed_lines(transaction, changed, (mapping, keys), bytes_max).await {
        Ok((data, true)) => return Ok(Some(Rows::new(data))),
        Ok((data, false)) => part.changed = Rows::new(data),
        Err(error) if unreadable_row(&error) => {
            let list = compose::list_changed(mapping, changed);
            let apart = read_apart(transaction, mapping, wanted.tenant_id, &list, error).await?;
            part.changed = apart.rows;
            part.failed.extend(apart.failed);
        }
        Err(error) => {
            let list = compose::list_changed(mapping, changed);
            return Err(naming_the_row(transaction, wanted, mapping, &list, error).await);
        }
    }
    Ok(None)
}

/// The lines of the changed rows, as [`saved_copy`] returns them.
async fn changed_lines(
    transaction: &Client,
    changed: Changed<'_>,
    (mapping, keys): (&ResolvedMapping, Option<&str>),
    bytes_max: usize,
) -> Result<(Bytes, bool), tokio_postgres::Error> {
    let tenant_id = changed.tenant_id;
    let Some(keys) = keys else {
        return saved_copy(transaction, &compose::copy_changed(mapping, changed), bytes_max).await;
    };
    let select = compose::select_keys(mapping, tenant_id, keys);
    match saved_select(transaction, &select, bytes_max).await? {
        Some(lines) => Ok(lines),
        None => {
            let copy = compose::copy_keys(mapping, tenant_id, keys);
            saved_copy(transaction, &copy, bytes_max).await
        }
    }
}

/// The error of a read. Where a single row was read and took too long, with that row's key, which
/// is read without evaluating the query.
async fn naming_the_row(
    transaction: &Client,
    wanted: &Wanted<'_>,
    mapping: &ResolvedMapping,
    list: &str,
    error: tokio_postgres::Error,
) -> Error {
    let mut error = Error::mapping(mapping, error);
    if let (Error::TooSlow { fault, .. }, 1) = (&mut error, wanted.chunk_rows_max)
        && back(transaction).await.is_ok()
        && let Ok(listed) = transaction.query(list, &[]).await
        && let [row] = &listed[..]
    {
        fault.message.push_str(&format!("; the row is {}", foreign(row.get(0))));
    }
    error
}

/// A stretch of the initial copy that ends behind all rows of its last key: the next one begins
/// behind that key, so a row that the query gives twice, once on each side of the end, would be left
/// out without a word. Where there are more rows with the last key, the next stretch begins with
/// them; where the stretch has no other key, that is the mapping's fault.
///
/// `after`: where the stretch begins. `key_columns`: where the key stands in a line.
pub(crate) async fn whole_keys(
    transaction: &Client,
    (mapping, tenant_id): (&ResolvedMapping, &str),
    after: Option<&[String]>,
    (rows, key_columns): (Rows, &[usize]),
) -> Result<Rows, Error> {
    let Some((before, of_last)) = rows.last_key(key_columns) else { return Ok(rows) };
    let other = before.map(|line| rows.key(line, key_columns));
    let after = other.as_deref().or(after);
    // Only the keys are evaluated, of the last one's rows and of one more.
    let behind = KeyRange::behind(after);
    let list = compose::list_chunk(mapping, tenant_id, behind, of_last + 1);
    let (saved, listed) = tokio::join!(biased; save(transaction), transaction.query(&list, &[]));
    saved.map_err(Error::source)?;
    let keys = match listed {
        Ok(keys) => keys,
        // The row behind the stretch has no key that can be computed, so not this one.
        Err(error) if unreadable_row(&error) => {
            back(transaction).await.map_err(Error::source)?;
            return Ok(rows);
        }
        Err(error) => return Err(Error::mapping(mapping, error)),
    };
    let key = |row: &Row| row.get::<_, String>(0);
    let more = keys.get(of_last).is_some_and(|next| key(next) == key(&keys[0]));
    match (more, before) {
        (false, _) => Ok(rows),
        (true, Some(line)) => Ok(rows.first(line + 1)),
        (true, None) => {
            let fault = MappingFault::repeated_key(&foreign(&key(&keys[0])));
            Err(Error::Mapping { mapping: mapping.name().to_owned(), fault })
        }
    }
}

/// Reads the next stretch of the initial copy into the part. If it was cut, returns how many rows
/// of its size fit into a batch.
pub(crate) async fn read_chunk(
    transaction: &Client,
    wanted: &Wanted<'_>,
    position: &Position<'_>,
    part: &mut Part,
    budget: &BatchBudget,
) -> Result<Option<usize>, Error> {
    let mapping = position.mapping;
    let range = position.chunk.map_or(KeyRange::ALL, ChunkStart::range);
    let (rows_max, bytes_max) = budget.for_chunk(wanted.chunk_rows_max);
    let statement = compose::copy_chunk(mapping, wanted.tenant_id, range, rows_max);
    let mut fits = None;
    let (rows, up_to) = match saved_copy(transaction, &statement, bytes_max).await {
        Ok((data, cut)) => {
            let rows = Rows::present_only(data);
            let finished = !cut && rows.len() < rows_max;
            let rows = match finished {
                true => rows,
                false => {
                    let of = (&**mapping, wanted.tenant_id);
                    whole_keys(transaction, of, range.after, (rows, &key_columns(mapping))).await?
                }
            };
            let up_to = if finished || rows.is_empty() {
                None
            } else {
                Some(key_of(mapping, &rows, rows.len() - 1))
            };
            fits = cut.then(|| budget.filled_by(&rows));
            (rows, up_to)
        }
        Err(error) if unreadable_row(&error) => {
            let list = compose::list_chunk(mapping, wanted.tenant_id, range, rows_max);
            let apart = read_apart(transaction, mapping, wanted.tenant_id, &list, error).await?;
            part.failed.extend(apart.failed);
            let up_to = if apart.keys < rows_max { None } else { apart.last };
            (apart.rows, up_to)
        }
        Err(error) => {
            let list = compose::list_chunk(mapping, wanted.tenant_id, range, rows_max);
            return Err(naming_the_row(transaction, wanted, mapping, &list, error).await);
        }
    };
    part.chunk = Some(Chunk { rows, after: range.after.map(<[String]>::to_vec), up_to });
    Ok(fits)
}
