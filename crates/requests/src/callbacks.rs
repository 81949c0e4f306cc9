//! The requests of callbacks. A callback tells the end of a job to the URL that its client named.

use std::time::Duration;

use offtake_postgres::{Error, SourcePool};
use serde_json::Value;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};

use crate::lease::{Lease, milliseconds};
use crate::sql;

/// A callback that is ours until its lease ends.
#[derive(Debug, Clone)]
pub struct CallbackClaim {
    pub lease: Lease,
    pub job_id: i64,
    /// Failed attempts before this one.
    pub failures: i32,
    /// The source's clock when it was claimed, in seconds since 1970.
    pub now: Duration,
}

/// Owes the callback of a job, where its client asked for one, in the transaction that ends the job.
pub async fn owe_callback(
    transaction: &Transaction<'_>,
    job_id: i64,
) -> Result<(), tokio_postgres::Error> {
    transaction.execute(sql::OWE_CALLBACK, &[&job_id]).await.map(drop)
}

/// Claims due callbacks. `process` names the claiming process in `leased_by`.
pub async fn claim_callbacks(
    pool: &SourcePool,
    limit: usize,
    lease: Duration,
    process: &str,
) -> Result<Vec<CallbackClaim>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters: [&(dyn ToSql + Sync); 3] = [&limit, &milliseconds(lease), &process];
    let rows = pool.get().await?.query(sql::CLAIM_CALLBACKS, &parameters).await?;
    let one = |row: &Row| CallbackClaim {
        lease: Lease { request_id: row.get("request_id"), attempt: row.get("attempt") },
        job_id: row.get("job_id"),
        failures: row.get("failures"),
        now: Duration::from_secs_f64(row.get::<_, f64>("now").max(0.0)),
    };
    Ok(rows.iter().map(one).collect())
}

/// Records how an attempt went. `again`: when the engine tries again; None: the request is done.
/// Nothing happens where another process has claimed the request since.
pub async fn settle_callback(
    pool: &SourcePool,
    lease: Lease,
    shown: Option<&Value>,
    again: Option<Duration>,
) -> Result<(), Error> {
    let again = again.map(milliseconds);
    let parameters: [&(dyn ToSql + Sync); 4] = [&lease.request_id, &lease.attempt, &shown, &again];
    pool.get().await?.execute(sql::SETTLE_CALLBACK, &parameters).await?;
    Ok(())
}
