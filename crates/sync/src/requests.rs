//! Outgoing requests as workers see them: claimed with a lease and an attempt number, then
//! completed, released or failed.

use std::sync::Arc;
use std::time::Duration;

use offtake_loops::failpoint;
use offtake_mapping::ResolvedMapping;
use offtake_postgres::{PooledConnection, SourcePool};
use serde_json::Value;
use tokio_postgres::types::ToSql;

use crate::state::{Cursors, Identities};
use crate::{Error, sql};

/// One request that is ours until its lease ends.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) request_id: i64,
    pub(crate) destination_id: i64,
    /// Every write about the request carries it: another claim raises it, and ours then changes
    /// nothing.
    pub(crate) attempt: i64,
    pub(crate) wanted_sequence_id: i64,
    /// Failed attempts in a row before this one.
    pub(crate) failures: i32,
    /// Mappings that failed by themselves and wait for their own retry.
    pub(crate) deferred: Vec<String>,
    /// The soonest of those retries.
    pub(crate) deferred_for: Option<Duration>,
    /// Mappings that someone wants copied anew, each with its request.
    pub(crate) resyncs: Vec<(i64, String)>,
    /// The destination has quarantined rows.
    pub(crate) quarantined: bool,
    pub(crate) waited: Duration,
}

/// Which requests a claim is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due<'a> {
    /// Of destinations whose last attempt failed; or of all others.
    pub(crate) failing: bool,
    /// Destinations that count as others though it failed.
    pub(crate) prompt: &'a [i64],
    pub(crate) limit: usize,
}

/// Claims due requests for `lease`.
pub(crate) async fn claim(
    connection: &PooledConnection,
    due: Due<'_>,
    lease: Duration,
    who: &str,
) -> Result<Vec<Claim>, Error> {
    let statement = connection.prepare_cached(sql::CLAIM_REQUESTS).await.map_err(Error::source)?;
    let limit = i64::try_from(due.limit).unwrap_or(i64::MAX);
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&limit, &milliseconds(lease), &who, &due.failing, &due.prompt];
    let rows = connection.query(&statement, &parameters).await.map_err(Error::source)?;
    let claims = rows.iter().map(|row| Claim {
        request_id: row.get("request_id"),
        destination_id: row.get("destination_id"),
        attempt: row.get("attempt"),
        wanted_sequence_id: row.get("wanted_sequence_id"),
        failures: row.get("failures"),
        deferred: row.get("deferred"),
        deferred_for: row
            .get::<_, Option<i64>>("deferred_ms")
            .map(|ms| Duration::from_millis(ms.max(0).unsigned_abs())),
        resyncs: row
            .get::<_, Vec<i64>>("resync_ids")
            .into_iter()
            .zip(row.get::<_, Vec<String>>("resync_mappings"))
            .collect(),
        quarantined: row.get("quarantined"),
        waited: Duration::from_secs_f64(row.get("waited_seconds")),
    });
    Ok(claims.collect())
}

/// Extends leases; returns the requests that are still ours.
pub(crate) async fn extend(
    pool: &SourcePool,
    claims: &[(i64, i64)],
    lease: Duration,
) -> Result<Vec<i64>, Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let (requests, attempts): (Vec<i64>, Vec<i64>) = claims.iter().copied().unzip();
    let rows = connection
        .query(sql::EXTEND_LEASES, &[&requests, &attempts, &milliseconds(lease)])
        .await
        .map_err(Error::source)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Ends a request whose destination has reached `reached` with every mapping. If more is wanted by
/// now, it is due again at once, and this returns false.
pub(crate) async fn complete(
    pool: &SourcePool,
    claim: &Claim,
    reached: i64,
) -> Result<bool, Error> {
    failpoint("sync.before_complete").await.map_err(Error::Source)?;
    let connection = pool.get().await.map_err(Error::Source)?;
    let statement =
        connection.prepare_cached(sql::COMPLETE_REQUEST).await.map_err(Error::source)?;
    let deleted = connection
        .execute(&statement, &[&claim.request_id, &claim.attempt, &reached])
        .await
        .map_err(Error::source)?;
    if deleted == 0 {
        release_on(&connection, claim, Duration::ZERO).await?;
    }
    Ok(deleted > 0)
}

/// Gives a request back, due again after `delay`.
pub(crate) async fn release(
    pool: &SourcePool,
    claim: &Claim,
    delay: Duration,
) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    release_on(&connection, claim, delay).await
}

/// Gives a request back as it was claimed, due again after `delay`.
pub(crate) async fn leave(pool: &SourcePool, claim: &Claim, delay: Duration) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    connection
        .execute(sql::LEAVE_REQUEST, &[&claim.request_id, &claim.attempt, &milliseconds(delay)])
        .await
        .map_err(Error::source)?;
    Ok(())
}

async fn release_on(
    connection: &PooledConnection,
    claim: &Claim,
    delay: Duration,
) -> Result<(), Error> {
    let statement = connection.prepare_cached(sql::RELEASE_REQUEST).await.map_err(Error::source)?;
    connection
        .execute(&statement, &[&claim.request_id, &claim.attempt, &milliseconds(delay)])
        .await
        .map_err(Error::source)?;
    Ok(())
}

/// Gives a request back after the destination failed.
pub(crate) async fn fail(
    pool: &SourcePool,
    claim: &Claim,
    delay: Duration,
    error: &str,
    reason: &str,
) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    connection
        .execute(
            sql::FAIL_REQUEST,
            &[&claim.request_id, &claim.attempt, &milliseconds(delay), &error, &"blocked", &reason],
        )
        .await
        .map_err(Error::source)?;
    Ok(())
}

/// Takes resync requests off the list: the destination's cursors say that the copies have begun.
pub(crate) async fn end_resyncs(pool: &SourcePool, resync_ids: &[i64]) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    connection.execute(sql::END_RESYNC_REQUESTS, &[&resync_ids]).await.map_err(Error::source)?;
    Ok(())
}

/// Says of which versions of its mappings the destination has copies; to be done before anything is
/// read for them. False: the claim is not ours any more.
pub(crate) async fn begin_copies(
    pool: &SourcePool,
    claim: &Claim,
    mappings: &[Arc<ResolvedMapping>],
    cursors: &Cursors,
) -> Result<bool, Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let begun: Vec<_> = mappings
        .iter()
        .filter_map(|mapping| Some((mapping, cursors.get(mapping.name())?.sequence_id)))
        .collect();
    let names: Vec<&str> = begun.iter().map(|(mapping, _)| mapping.name()).collect();
    let needs: Vec<String> = begun.iter().map(|(mapping, _)| mapping.need()).collect();
    let sequence_ids: Vec<i64> = begun.iter().map(|(_, sequence_id)| *sequence_id).collect();
    let told = connection
        .query_opt(
            sql::BEGIN_COPIES,
            &[&claim.request_id, &claim.attempt, &names, &needs, &sequence_ids],
        )
        .await;
    Ok(told.map_err(Error::source)?.is_some())
}

/// What became of a mapping's failure.
pub(crate) struct Noted {
    /// After how long it is tried again.
    pub(crate) retry: Duration,
    /// It did not fail like this the last time.
    pub(crate) first: bool,
}

/// Notes the failure of one mapping. None: the claim is not ours any more.
pub(crate) async fn fail_mapping(
    pool: &SourcePool,
    claim: &Claim,
    mapping: &str,
    fault: &crate::MappingFault,
    retry: (Duration, Duration),
) -> Result<Option<Noted>, Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let row = connection
        .query_opt(
            sql::FAIL_MAPPING,
            &[
                &claim.request_id,
                &claim.attempt,
                &mapping,
                &fault.sqlstate,
                &fault.message,
                &milliseconds(retry.0),
                &milliseconds(retry.1),
            ],
        )
        .await
        .map_err(Error::source)?;
    Ok(row.map(|row| Noted {
        retry: Duration::from_millis(row.get::<_, i64>("retry_ms").max(0).unsigned_abs()),
        first: row.get("first"),
    }))
}

/// What is mirrored of a destination after a commit there.
pub(crate) struct Mirror<'a> {
    pub(crate) cursors: &'a Cursors,
    pub(crate) identities: &'a Identities,
    /// Rows that a chunk of this step copied, by mapping.
    pub(crate) chunk_rows: &'a [(String, i64)],
    /// Mappings whose copy begins anew with this step, with the planner's estimate of their rows.
    pub(crate) begun: &'a [(String, Option<i64>)],
    pub(crate) state: &'a str,
    pub(crate) reason: Option<&'a str>,
}

pub(crate) async fn mirror(
    pool: &SourcePool,
    claim: &Claim,
    mirror: &Mirror<'_>,
) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    let statement =
        connection.prepare_cached(sql::MIRROR_DESTINATION).await.map_err(Error::source)?;
    let names: Vec<&String> = mirror.cursors.keys().collect();
    let rows = |name: &String| {
        mirror.chunk_rows.iter().find(|(m, _)| m == name).map_or(0, |(_, rows)| *rows)
    };
    let total =
        |name: &String| mirror.begun.iter().find(|(m, _)| m == name).and_then(|(_, total)| *total);
    connection
        .execute(
            &statement,
            &[
                &claim.request_id,
                &claim.attempt,
                &names,
                &mirror.cursors.values().map(|c| c.sequence_id).collect::<Vec<_>>(),
                &mirror.cursors.values().map(|c| c.backfilled).collect::<Vec<_>>(),
                &names.iter().map(|n| rows(n)).collect::<Vec<_>>(),
                &names.iter().map(|n| total(n)).collect::<Vec<_>>(),
                &mirror.state,
                &mirror.reason,
                &mirror.begun.iter().map(|(m, _)| m).collect::<Vec<_>>(),
                &names.iter().map(|n| mirror.identities.get(*n)).collect::<Vec<_>>(),
            ],
        )
        .await
        .map_err(Error::source)?;
    Ok(())
}

/// A refused row on its way into `quarantined_row`.
pub(crate) struct Refusal {
    pub(crate) row_key: Value,
    pub(crate) sqlstate: String,
    pub(crate) error: String,
}

pub(crate) async fn quarantine(
    pool: &SourcePool,
    destination_id: i64,
    mapping: &str,
    rows: &[Refusal],
) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    connection
        .execute(
            sql::QUARANTINE_ROWS,
            &[
                &destination_id,
                &mapping,
                &rows.iter().map(|r| &r.row_key).collect::<Vec<_>>(),
                &rows.iter().map(|r| &r.sqlstate).collect::<Vec<_>>(),
                &rows.iter().map(|r| &r.error).collect::<Vec<_>>(),
            ],
        )
        .await
        .map_err(Error::source)?;
    Ok(())
}

pub(crate) async fn release_quarantined(
    pool: &SourcePool,
    claim: &Claim,
    mapping: &str,
    keys: &[Value],
) -> Result<(), Error> {
    let connection = pool.get().await.map_err(Error::Source)?;
    connection
        .execute(sql::RELEASE_QUARANTINED, &[&claim.request_id, &claim.attempt, &mapping, &keys])
        .await
        .map_err(Error::source)?;
    Ok(())
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
