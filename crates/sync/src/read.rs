//! Reading one batch from the source: log and rows in one snapshot.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, pin_mut};
use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::{self, Changed};
use offtake_postgres::{PipelinedTransaction as Begun, PooledConnection, SourcePool, SqlState};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::apply::RefusedRow;
use crate::error::row_fault;
use crate::room::Room;
use crate::state::{Cursor, Cursors};
use crate::{Error, Rows, poison, sql};

/// A batch locks the tables of several mappings, one after the other; an application that locks two
/// of them for itself may want them in another order. We give way before the server looks for a
/// victim (`deadlock_timeout`, 1 s): it could be theirs.
const LOCK_TIMEOUT_MS: u32 = 500;

/// What to read for one destination.
pub(crate) struct Wanted<'a> {
    pub(crate) destination_id: i64,
    pub(crate) tenant_id: &'a str,
    /// The mappings to read, each with a cursor in `cursors`.
    pub(crate) mappings: &'a [Arc<ResolvedMapping>],
    pub(crate) cursors: &'a Cursors,
    /// Changes of each mapping, or rows of a chunk.
    pub(crate) rows_max: usize,
    /// Bytes of all rows together; changes beyond it are read again with fewer rows, a chunk is
    /// cut.
    pub(crate) bytes_max: usize,
    /// The destination has quarantined rows: those whose time has come are read too.
    pub(crate) retry_quarantined: bool,
    pub(crate) statement_timeout: Duration,
}

/// Everything one destination transaction applies.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The highest sequence id visible in the snapshot.
    pub(crate) head: i64,
    pub(crate) epoch: String,
    /// One per wanted mapping, in the same order.
    pub(crate) parts: Vec<Part>,
    /// The chunk was cut: rows like its own of which no more would be read than fit.
    pub(crate) fits: Option<usize>,
}

/// One mapping's share of a batch.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) mapping: Arc<ResolvedMapping>,
    /// Where the cursor goes: the end of the page, or the snapshot's head when the page held all
    /// there is.
    pub(crate) sequence_id: i64,
    /// The page held fewer changes than it could: this mapping has nothing more in this snapshot.
    pub(crate) exhausted: bool,
    /// A change of the page stands for the whole table: the copy begins anew.
    pub(crate) anew: bool,
    pub(crate) changed: Rows,
    pub(crate) chunk: Option<Chunk>,
    /// Rows of the page or the chunk that the query cannot compute.
    pub(crate) refused: Vec<RefusedRow>,
    /// The application has a table of the query to itself: nothing of this mapping was read, and
    /// its cursor stays.
    pub(crate) locked_out: bool,
    /// Age of the oldest change in the page, when the snapshot was taken.
    pub(crate) oldest: Option<Duration>,
}

/// A stretch of the initial copy: all rows of the tenant with `after < key <= up_to`.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) rows: Rows,
    pub(crate) after: Option<Vec<String>>,
    /// None: to the end of the table.
    pub(crate) up_to: Option<Vec<String>>,
}

impl Batch {
    pub(crate) fn has_rows(&self) -> bool {
        self.parts
            .iter()
            .any(|p| !p.changed.is_empty() || p.chunk.is_some() || p.anew || !p.refused.is_empty())
    }
}

impl Part {
    /// Leaves this mapping out of the batch, when that is all that went wrong.
    async fn lock_out(
        &mut self,
        error: Error,
        transaction: &Client,
        cursor: &Cursor,
    ) -> Result<(), Error> {
        let gave_way = |error: &offtake_postgres::Error| {
            error.sqlstate().is_some_and(|code| {
                [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
            })
        };
        match error {
            Error::Source(error) if gave_way(&error) => {
                transaction
                    .batch_execute("rollback to savepoint reading")
                    .await
                    .map_err(Error::source)?;
                self.sequence_id = cursor.sequence_id;
                self.exhausted = true;
                self.anew = false;
                self.changed = Rows::default();
                self.chunk = None;
                self.refused.clear();
                self.oldest = None;
                self.locked_out = true;
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// Reads one batch in one REPEATABLE READ, READ ONLY transaction, which ends before this returns.
///
/// An error of one mapping's query is [`Error::Mapping`]; the caller reads again without that
/// mapping.
pub(crate) async fn batch(pool: &SourcePool, wanted: &Wanted<'_>) -> Result<Batch, Error> {
    // A query may take as long as a statement may, and whoever stops the turn waits for none.
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
    let bounds = connection.prepare_cached(sql::READ_BOUNDS).await.map_err(Error::source)?;
    let tables: Vec<String> = wanted.mappings.iter().map(|m| m.source_table()).collect();
    let after: Vec<i64> =
        wanted.mappings.iter().map(|m| wanted.cursors[m.name()].sequence_id).collect();
    let copying = wanted.mappings.iter().any(|m| !wanted.cursors[m.name()].backfilled);
    let mut room = Room::new(copying, wanted.rows_max, wanted.bytes_max);
    let changes_max = i64::try_from(room.changes_max).unwrap_or(i64::MAX);
    let statement_ms = wanted.statement_timeout.as_millis();
    let opening = format!(
        "begin isolation level repeatable read, read only; set local statement_timeout = {statement_ms}; \
         set local lock_timeout = {LOCK_TIMEOUT_MS}; set local synchronous_commit = on"
    );
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&wanted.tenant_id, &tables, &after, &changes_max];
    let find = async |session: &PooledConnection| session.query(&bounds, &parameters).await;
    let (transaction, found) =
        Begun::open(connection, &opening, find).await.map_err(Error::source)?;
    let Some(first) = found.first() else {
        return Ok(Batch { head: 0, epoch: String::new(), parts: Vec::new(), fits: None });
    };
    let mut batch = Batch {
        head: first.get("head"),
        epoch: first.get("epoch"),
        parts: Vec::with_capacity(found.len()),
        fits: None,
    };
    if found.iter().any(|row| row.get("lost")) {
        return Err(Error::Lost);
    }
    let largest_page = found.iter().map(|row| row.get::<_, i64>("changes")).max().unwrap_or(0);
    for (mapping, row) in wanted.mappings.iter().zip(&found) {
        let cursor = &wanted.cursors[mapping.name()];
        let up_to: Option<i64> = row.get("up_to");
        let changes: i64 = row.get("changes");
        let exhausted = changes < changes_max;
        let mut part = Part {
            mapping: mapping.clone(),
            sequence_id: if exhausted {
                batch.head.max(cursor.sequence_id)
            } else {
                up_to.unwrap_or(batch.head)
            },
            exhausted,
            anew: row.get::<_, Option<i64>>("whole_table").is_some(),
            changed: Rows::default(),
            chunk: None,
            refused: Vec::new(),
            locked_out: false,
            oldest: row
                .get::<_, Option<f64>>("oldest_seconds")
                .map(|s| Duration::from_secs_f64(s.max(0.0))),
        };
        if up_to.is_some() || wanted.retry_quarantined {
            let changed = Changed {
                tenant_id: wanted.tenant_id,
                after: cursor.sequence_id,
                up_to: part.sequence_id,
                retry_quarantined_of: wanted.retry_quarantined.then_some(wanted.destination_id),
            };
            match read_changes(&transaction, changed, &mut part, room.for_changes()).await {
                Ok(None) => {}
                Ok(Some(cut)) => {
                    return Err(Error::Overflow { fits: room.fits(&cut, changes, largest_page) });
                }
                Err(error) => part.lock_out(error, &transaction, cursor).await?,
            }
            room.take(part.changed.bytes());
        }
        batch.parts.push(part);
    }
    // After the changes of all mappings, whose room it would take.
    let to_copy = |part: &&mut Part| {
        !wanted.cursors[part.mapping.name()].backfilled && !part.anew && !part.locked_out
    };
    if let Some(part) = batch.parts.iter_mut().find(to_copy) {
        match read_chunk(&transaction, wanted, part, &room).await {
            Ok(fits) => batch.fits = fits,
            Err(error) => {
                part.lock_out(error, &transaction, &wanted.cursors[part.mapping.name()]).await?
            }
        }
    }
    // Nothing was written: without more to wait for, its end, a rollback, is not waited for.
    if let Some(unflushed) = first.get::<_, Option<&str>>("unflushed").filter(|_| batch.has_rows())
    {
        make_durable(transaction, unflushed).await.map_err(Error::source)?;
    }
    Ok(batch)
}

/// Ends the transaction when everything that its snapshot saw is on the source's disk. Under
/// `synchronous_commit = off` a commit is visible before that, and a crash would leave its rows in
/// the copies only, for ever.
async fn make_durable(
    transaction: Begun<'_>,
    unflushed: &str,
) -> Result<(), tokio_postgres::Error> {
    // A commit is waited for when its transaction has written something, and this is all that a
    // reading one may write.
    let write = format!(
        "select pg_logical_emit_message(true, 'offtake', '') where pg_current_wal_flush_lsn() < '{unflushed}'"
    );
    // Not prepared first: that would be one more round trip for every batch of a busy source.
    let answer = transaction.simple_query(&write).await?;
    let written = answer.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_)));
    if written { transaction.commit().await } else { Ok(()) }
}

/// The rows of the changed keys. Where they are more than there is room for, those that were read
/// until then.
async fn read_changes(
    transaction: &Client,
    changed: Changed<'_>,
    part: &mut Part,
    bytes_max: usize,
) -> Result<Option<Rows>, Error> {
    let mapping = part.mapping.clone();
    match saved_copy(transaction, &compose::copy_changed(&mapping, changed), bytes_max).await {
        Ok((data, true)) => return Ok(Some(Rows::new(data))),
        Ok((data, false)) => part.changed = Rows::new(data),
        Err(error) if row_fault(&error) => {
            let list = compose::list_changed(&mapping, changed);
            let mut apart =
                poison::read_apart(transaction, &mapping, changed.tenant_id, &list, error).await?;
            part.changed = Rows::new(apart.lines());
            part.refused.append(&mut apart.refused);
        }
        Err(error) => return Err(Error::mapping(&mapping, error)),
    }
    Ok(None)
}

/// The next stretch of the copy. Where it was cut, how many rows like its own fit into a batch.
async fn read_chunk(
    transaction: &Client,
    wanted: &Wanted<'_>,
    part: &mut Part,
    room: &Room,
) -> Result<Option<usize>, Error> {
    let mapping = part.mapping.clone();
    let after = wanted.cursors[mapping.name()].backfill_key.clone();
    let (rows_max, bytes_max) = room.for_chunk();
    let statement = compose::copy_chunk(&mapping, wanted.tenant_id, after.as_deref(), rows_max);
    let mut fits = None;
    part.chunk = Some(match saved_copy(transaction, &statement, bytes_max).await {
        Ok((data, cut)) => {
            let rows = Rows::new(data);
            let finished = !cut && rows.len() < rows_max;
            let up_to = if finished || rows.is_empty() {
                None
            } else {
                Some(key_of(&mapping, &rows, rows.len() - 1))
            };
            fits = cut.then(|| room.filled_by(&rows));
            Chunk { rows, after, up_to }
        }
        Err(error) if row_fault(&error) => {
            let list = compose::list_chunk(&mapping, wanted.tenant_id, after.as_deref(), rows_max);
            let mut apart =
                poison::read_apart(transaction, &mapping, wanted.tenant_id, &list, error).await?;
            part.refused.append(&mut apart.refused);
            let up_to = if apart.keys < rows_max { None } else { apart.last.take() };
            Chunk { rows: Rows::new(apart.lines()), after, up_to }
        }
        Err(error) => return Err(Error::mapping(&mapping, error)),
    });
    Ok(fits)
}

/// Behind a savepoint that is sent together with it, so that a row that cannot be computed can be
/// looked for.
async fn saved_copy(
    transaction: &Client,
    statement: &str,
    bytes_max: usize,
) -> Result<(Bytes, bool), tokio_postgres::Error> {
    let (saved, copied) = tokio::join!(biased; transaction.batch_execute("savepoint reading"), copy_out(transaction, statement, bytes_max));
    saved?;
    copied
}

/// The key of one line, as text in key order.
pub(crate) fn key_of(mapping: &ResolvedMapping, rows: &Rows, line: usize) -> Vec<String> {
    let columns: Vec<usize> = mapping
        .key
        .iter()
        .filter_map(|k| mapping.columns.iter().position(|c| c.name == k.query_column))
        .collect();
    rows.fields(line, &columns).into_iter().map(Option::unwrap_or_default).collect()
}

/// Whole lines of a COPY, up to about `bytes_max` but at least one; and whether there would have
/// been more.
pub(crate) async fn copy_out(
    transaction: &Client,
    statement: &str,
    bytes_max: usize,
) -> Result<(Bytes, bool), tokio_postgres::Error> {
    let stream = transaction.copy_out(statement).await?;
    pin_mut!(stream);
    let mut data = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        if !data.is_empty() && data.len() + piece.len() > bytes_max {
            // The rest is read and dropped by the connection; the rows so far are a whole number of
            // lines.
            let whole = memchr::memrchr(b'\n', &data).map_or(0, |at| at + 1);
            data.truncate(whole);
            return Ok((data.freeze(), true));
        }
        data.extend_from_slice(&piece);
    }
    Ok((data.freeze(), false))
}

/// Where a cursor that begins now stands, and which cursors still mean anything.
pub(crate) struct Head {
    /// The highest visible sequence id.
    pub(crate) sequence_id: i64,
    pub(crate) epoch: String,
    /// Cursors below it have lost changes.
    pub(crate) log_begins: i64,
}

pub(crate) async fn head(connection: &PooledConnection) -> Result<Head, Error> {
    let row = connection.query_one(sql::READ_HEAD, &[]).await.map_err(Error::source)?;
    Ok(Head {
        sequence_id: row.get("head"),
        epoch: row.get("epoch"),
        log_begins: row.get("log_begins"),
    })
}
