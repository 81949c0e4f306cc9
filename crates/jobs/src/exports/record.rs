//! The rows of `offtake.job_chunk`, and a job's progress. Every statement carries the attempt.

use std::time::Duration;

use offtake_mapping::compose::KeyRange;
use offtake_postgres::SourcePool;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Error;
use crate::job::State;
use crate::{Lease, sql};

/// A part that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) mapping: String,
    pub(super) chunk: i32,
    pub(super) piece: i32,
    pub(super) after: Option<Vec<String>>,
    pub(super) up_to: Option<Vec<String>>,
    pub(super) rows: i64,
    pub(super) bytes: i64,
    pub(super) sha256: Option<String>,
    /// None: the part has no rows.
    pub(super) object: Option<String>,
    /// The head of the snapshot that it was read in.
    pub(super) sequence_id: i64,
}

impl Part {
    pub(super) fn range(&self) -> KeyRange<'_> {
        KeyRange { after: self.after.as_deref(), up_to: self.up_to.as_deref() }
    }

    fn of(row: &Row) -> Self {
        let key = |column: &str| {
            let key: Option<Value> = row.get(column);
            key.and_then(|key| serde_json::from_value(key).ok())
        };
        Self {
            mapping: row.get("mapping"),
            chunk: row.get("chunk"),
            piece: row.get("piece"),
            after: key("after_key"),
            up_to: key("up_to_key"),
            rows: row.get("rows"),
            bytes: row.get("bytes"),
            sha256: row.get("sha256"),
            object: row.get("object"),
            sequence_id: row.get("sequence_id"),
        }
    }
}

/// What is told of a job that goes on.
pub(super) struct Progress<'a> {
    pub(super) state: State,
    pub(super) mapping: Option<&'a str>,
    pub(super) round: i32,
    pub(super) rows_total: Option<i64>,
    pub(super) epoch: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Far {
    pub rows_done: i64,
    pub rows_total: i64,
    pub percent: i32,
    /// Somebody has asked for its end.
    pub cancelled: bool,
}

/// The parts of a job, by mapping, chunk and piece.
pub(super) async fn parts(pool: &SourcePool, job_id: i64) -> Result<Vec<Part>, Error> {
    let rows = pool.get().await?.query(sql::LIST_CHUNKS, &[&job_id]).await?;
    Ok(rows.iter().map(Part::of).collect())
}

/// Records the pieces of one chunk, in place of those that it had, and the progress, in one
/// transaction. Without pieces, only what the worker does.
pub(super) async fn put(
    pool: &SourcePool,
    lease: Lease,
    pieces: &[Part],
    progress: &Progress<'_>,
) -> Result<Far, Error> {
    let mut connection = pool.get().await?;
    let transaction = connection.transaction().await?;
    for part in pieces {
        let key = |key: &Option<Vec<String>>| key.clone().map(Value::from);
        let (after, up_to) = (key(&part.after), key(&part.up_to));
        let parameters: [&(dyn ToSql + Sync); 13] = [
            &lease.job_id,
            &lease.attempt,
            &part.mapping,
            &part.chunk,
            &part.piece,
            &after,
            &up_to,
            &part.rows,
            &part.bytes,
            &part.sha256,
            &part.object,
            &part.sequence_id,
            &progress.round,
        ];
        transaction.execute(sql::PUT_CHUNK, &parameters).await?;
    }
    if let Some(last) = pieces.last() {
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&lease.job_id, &lease.attempt, &last.mapping, &last.chunk, &last.piece];
        transaction.execute(sql::DROP_PIECES, &parameters).await?;
    }
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &lease.job_id,
        &lease.attempt,
        &progress.state.as_str(),
        &progress.mapping,
        &progress.round,
        &progress.rows_total,
        &progress.epoch,
        &progress.reason,
        &!pieces.is_empty(),
    ];
    let row = transaction.query_opt(sql::NOTE_PROGRESS, &parameters).await?.ok_or(Error::Lost)?;
    let far = Far {
        rows_done: row.get("rows_done"),
        rows_total: row.get("rows_total"),
        percent: row.get("percent"),
        cancelled: row.get("cancelled"),
    };
    transaction.commit().await?;
    Ok(far)
}

/// Has parts read again: those that were read at `from` or later, or the one that has this object.
pub(super) async fn invalidate(
    pool: &SourcePool,
    lease: Lease,
    from: i64,
    object: Option<&str>,
) -> Result<(), Error> {
    let parameters: [&(dyn ToSql + Sync); 4] = [&lease.job_id, &lease.attempt, &from, &object];
    pool.get().await?.execute(sql::INVALIDATE_CHUNKS, &parameters).await?;
    Ok(())
}

/// How a job ended.
pub(super) struct Finish<'a> {
    pub(super) state: State,
    pub(super) reason: Option<&'a str>,
    pub(super) consistency: Option<&'a str>,
    pub(super) from_sequence_id: Option<i64>,
    pub(super) sequence_id: Option<i64>,
    pub(super) files: Option<Value>,
    /// How long its files are kept; None: for ever.
    pub(super) keep: Option<Duration>,
}

/// Ends a job that is not complete.
pub(super) async fn end(
    pool: &SourcePool,
    lease: Lease,
    (state, reason): (State, Option<&str>),
    keep: Option<Duration>,
) -> Result<(), Error> {
    let ended = Finish {
        state,
        reason,
        consistency: None,
        from_sequence_id: None,
        sequence_id: None,
        files: None,
        keep,
    };
    finish(pool, lease, &ended).await
}

pub(super) async fn finish(
    pool: &SourcePool,
    lease: Lease,
    finish: &Finish<'_>,
) -> Result<(), Error> {
    let keep = finish.keep.map(crate::lease::milliseconds);
    let reason = finish.reason.map(|reason| pool.storable(reason).into_owned());
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &lease.job_id,
        &lease.attempt,
        &finish.state.as_str(),
        &reason,
        &finish.consistency,
        &finish.from_sequence_id,
        &finish.sequence_id,
        &finish.files,
        &keep,
    ];
    let mut connection = pool.get().await?;
    let transaction = connection.transaction().await?;
    let row = transaction.query_opt(sql::FINISH_JOB, &parameters).await?;
    row.ok_or(Error::Lost)?;
    offtake_requests::owe_callback(&transaction, lease.job_id).await?;
    Ok(transaction.commit().await?)
}
