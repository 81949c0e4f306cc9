//! Claiming sync requests.

use std::time::Duration;

use offtake_postgres::{Error, PipelinedTransaction, PooledConnection, SourcePool};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::lease::{Lease, milliseconds};
use crate::sql;

/// One sync request that is ours until its lease ends, with what its worker must know of the
/// destination.
#[derive(Debug, Clone)]
pub struct Claim {
    pub lease: Lease,
    pub destination_id: i64,
    pub wanted_sequence_id: i64,
    /// Failed attempts in a row before this one.
    pub failures: i32,
    /// The time of this attempt, if the last one failed: those that failed together have the same.
    /// None where the worker died, for it may have died of this destination.
    pub retried_at: Option<String>,
    /// Mappings that failed by themselves and wait for their own retry.
    pub deferred: Vec<String>,
    /// The time until the soonest of those retries.
    pub deferred_for: Option<Duration>,
    /// Mappings whose copy is to be made again, each with the id of its resync request.
    pub resyncs: Vec<(i64, String)>,
    /// The destination has quarantined rows.
    pub quarantined: bool,
    /// The destination does not tell its tenant yet what the latest audits found.
    pub audits_untold: bool,
    /// An operator has said that this source serves the destination from now on.
    pub adopted: bool,
    /// How long the request had been due.
    pub waited: Duration,
}

/// Which requests a claim is for.
#[derive(Debug, Clone, Copy)]
pub struct Due<'a> {
    /// Those of destinations (or webhooks) whose last attempt failed slowly; otherwise all others.
    pub failing_slowly: bool,
    /// Failing ones that answer quickly; they are claimed together with the healthy ones.
    pub failing_promptly: &'a [i64],
    /// At most this many.
    pub limit: usize,
}

/// Two texts, and not one with a parameter: only so the planner knows that an index serves the
/// first. It is asked several times a second, and mostly nothing fails. The second is written so
/// that the planner takes most requests to meet it; with `failures = 0 or …` it took few to, and
/// began with all destinations.
const FAILING_SLOWLY: &str = "r.failures > 0 and r.{whose} <> all($4::bigint[])";
const ALL_OTHERS: &str = "(r.failures > 0 and r.{whose} <> all($4::bigint[])) is not true";

/// Claims due sync requests for the time of `lease`. `process` names the claiming process in
/// `leased_by`.
pub async fn claim(
    pool: &SourcePool,
    due: Due<'_>,
    lease: Duration,
    process: &str,
) -> Result<Vec<Claim>, Error> {
    let rows =
        claim_rows(pool, (sql::CLAIM_REQUESTS, "destination_id"), due, lease, process).await?;
    Ok(rows.iter().map(Claim::from_row).collect())
}

/// Runs a statement that claims, whose requests are of what `whose` names.
pub(crate) async fn claim_rows(
    pool: &SourcePool,
    (statement, whose): (&str, &str),
    due: Due<'_>,
    lease: Duration,
    process: &str,
) -> Result<Vec<Row>, Error> {
    let mut connection = pool.get().await?;
    let of_these = if due.failing_slowly { FAILING_SLOWLY } else { ALL_OTHERS };
    let statement = statement.replace("{of_these}", &of_these.replace("{whose}", whose));
    let statement = connection.prepare_cached(&statement).await?;
    let limit = i64::try_from(due.limit).unwrap_or(i64::MAX);
    let parameters: [&(dyn ToSql + Sync); 4] =
        [&limit, &milliseconds(lease), &process, &due.failing_promptly];
    let take = async |session: &PooledConnection| session.query(&statement, &parameters).await;
    Ok(PipelinedTransaction::whole(&mut connection, sql::BEGIN_CLAIM, take).await?)
}

impl Claim {
    fn from_row(row: &Row) -> Self {
        let resync_ids: Vec<i64> = row.get("resync_ids");
        let resync_mappings: Vec<String> = row.get("resync_mappings");
        let deferred_ms: Option<i64> = row.get("deferred_ms");
        Self {
            lease: Lease { request_id: row.get("request_id"), attempt: row.get("attempt") },
            destination_id: row.get("destination_id"),
            wanted_sequence_id: row.get("wanted_sequence_id"),
            failures: row.get("failures"),
            retried_at: row.get("retried_at"),
            deferred: row.get("deferred"),
            deferred_for: deferred_ms.map(|ms| Duration::from_millis(ms.max(0).unsigned_abs())),
            resyncs: resync_ids.into_iter().zip(resync_mappings).collect(),
            quarantined: row.get("quarantined"),
            audits_untold: row.get("audits_untold"),
            adopted: row.get("adopted"),
            waited: Duration::from_secs_f64(row.get("waited_seconds")),
        }
    }
}
