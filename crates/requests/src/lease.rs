//! A claim's lease: kept alive by heartbeats, and ended in one of four ways.

use std::collections::HashSet;
use std::time::Duration;

use offtake_postgres::{Error, PipelinedTransaction, PooledConnection, SourcePool};
use tokio_postgres::types::ToSql;

use crate::sql;

/// Heartbeats within the time of one lease: two may be lost, or late, before another worker can
/// claim the request.
pub const HEARTBEATS_PER_LEASE: u32 = 3;

/// What makes a claim ours. Every statement of a worker about its request carries it: another claim
/// raises the attempt, and our statements then change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub request_id: i64,
    pub attempt: i64,
}

/// Planned for each execution, which takes a millisecond of a statement for hundreds of requests.
/// The table is mostly empty; a plan that a session keeps from such a moment joins each request with
/// all that there are by now.
const BEGIN_FOR_MANY: &str = "begin; set local plan_cache_mode = force_custom_plan";

/// The heartbeat: extends leases to `lease` from now. Returns the requests that are still ours.
pub async fn extend(
    pool: &SourcePool,
    leases: &[Lease],
    lease: Duration,
) -> Result<Vec<i64>, Error> {
    let connection = pool.get().await?;
    let (requests, attempts) = arrays(leases);
    let rows =
        connection.query(sql::EXTEND_LEASES, &[&requests, &attempts, &milliseconds(lease)]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Deletes a request whose destination has reached `reached` with every mapping. If more is wanted
/// by now, the request is released instead, due again at once, and this returns false.
pub async fn complete(pool: &SourcePool, lease: Lease, reached: i64) -> Result<bool, Error> {
    let mut connection = pool.get().await?;
    Ok(complete_with(&mut connection, lease, reached, async |_| Ok(())).await?)
}

/// [`complete`], in one transaction with what `first` sends, and without waiting in between.
/// `first` must not have to wait before it sends.
pub async fn complete_with(
    connection: &mut PooledConnection,
    lease: Lease,
    reached: i64,
    first: impl AsyncFnOnce(&PooledConnection) -> Result<(), tokio_postgres::Error>,
) -> Result<bool, tokio_postgres::Error> {
    let complete = connection.prepare_cached(sql::COMPLETE_REQUEST).await?;
    let parameters: [&(dyn ToSql + Sync); 3] = [&lease.request_id, &lease.attempt, &reached];
    let work = async |session: &PooledConnection| {
        let completed = session.execute(&complete, &parameters);
        let (done, completed) = tokio::join!(biased; first(session), completed);
        done?;
        completed
    };
    // The table is mostly empty, and a session keeps its first plan: without the setting that is to
    // read all requests for each one that is completed, however many there are by then.
    let begin = "begin; set local enable_seqscan = off";
    let deleted = PipelinedTransaction::whole(connection, begin, work).await?;
    if deleted == 0 {
        release_on(connection, lease, Duration::ZERO).await?;
    }
    Ok(deleted > 0)
}

/// [`complete_with`] for many requests, each with the sequence id that its destination has reached.
/// Returns those that are completed; the others are released, or another worker has them.
pub async fn complete_all_with(
    connection: &mut PooledConnection,
    done: &[(Lease, i64)],
    first: impl AsyncFnOnce(&PooledConnection) -> Result<(), tokio_postgres::Error>,
) -> Result<HashSet<i64>, tokio_postgres::Error> {
    let complete = connection.prepare_cached(sql::COMPLETE_REQUESTS).await?;
    let requests: Vec<i64> = done.iter().map(|(lease, _)| lease.request_id).collect();
    let attempts: Vec<i64> = done.iter().map(|(lease, _)| lease.attempt).collect();
    let reached: Vec<i64> = done.iter().map(|(_, reached)| *reached).collect();
    let parameters: [&(dyn ToSql + Sync); 3] = [&requests, &attempts, &reached];
    let work = async |session: &PooledConnection| {
        let completed = session.query(&complete, &parameters);
        let (done, completed) = tokio::join!(biased; first(session), completed);
        done?;
        completed
    };
    let completed = PipelinedTransaction::whole(connection, BEGIN_FOR_MANY, work).await?;
    Ok(completed.iter().map(|row| row.get(0)).collect())
}

/// Gives a request back after a turn in which the destination did not fail, due again after
/// `delay`.
pub async fn release(pool: &SourcePool, lease: Lease, delay: Duration) -> Result<(), Error> {
    let connection = pool.get().await?;
    Ok(release_on(&connection, lease, delay).await?)
}

/// Gives a request back as it was claimed, failures included, due again after `delay`.
pub async fn leave(pool: &SourcePool, lease: Lease, delay: Duration) -> Result<(), Error> {
    let connection = pool.get().await?;
    connection
        .execute(sql::LEAVE_REQUEST, &[&lease.request_id, &lease.attempt, &milliseconds(delay)])
        .await?;
    Ok(())
}

/// Gives a sync request back after its destination failed, due again after `delay`. The
/// destination's status is `blocked` from now on, with that error and reason.
pub async fn fail(
    pool: &SourcePool,
    lease: Lease,
    delay: Duration,
    error: &str,
    reason: &str,
) -> Result<(), Error> {
    let connection = pool.get().await?;
    let (error, reason) = (pool.storable(error), pool.storable(reason));
    connection
        .execute(
            sql::FAIL_REQUEST,
            &[&lease.request_id, &lease.attempt, &milliseconds(delay), &error, &"blocked", &reason],
        )
        .await?;
    Ok(())
}

/// [`fail`] for many requests whose destinations share a place that failed. All are due again at one
/// time: after `delay`, or at `again`, which an earlier call returned. Returns that time as the source
/// writes it, and how long it is until then.
pub async fn fail_all(
    pool: &SourcePool,
    leases: &[Lease],
    (delay, again): (Duration, Option<&str>),
    error: &str,
    reason: &str,
) -> Result<(String, Duration), Error> {
    let connection = pool.get().await?;
    let (error, reason) = (pool.storable(error), pool.storable(reason));
    let (requests, attempts) = arrays(leases);
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&requests, &attempts, &milliseconds(delay), &again, &error, &reason];
    let row = connection.query_one(sql::FAIL_REQUESTS, &parameters).await?;
    let milliseconds: f64 = row.get("milliseconds");
    Ok((row.get("again"), Duration::from_secs_f64(milliseconds.max(0.0) / 1000.0)))
}

/// Makes the destinations that were put off to that time due at once: their place works again.
pub async fn resume_place(pool: &SourcePool, again: &str) -> Result<(), Error> {
    pool.get().await?.execute(sql::RESUME_PLACE, &[&again]).await?;
    Ok(())
}

/// Requests and attempts, as statements take them.
fn arrays(leases: &[Lease]) -> (Vec<i64>, Vec<i64>) {
    leases.iter().map(|lease| (lease.request_id, lease.attempt)).unzip()
}

async fn release_on(
    connection: &PooledConnection,
    lease: Lease,
    delay: Duration,
) -> Result<(), tokio_postgres::Error> {
    let statement = connection.prepare_cached(sql::RELEASE_REQUEST).await?;
    connection
        .execute(&statement, &[&lease.request_id, &lease.attempt, &milliseconds(delay)])
        .await?;
    Ok(())
}

pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
