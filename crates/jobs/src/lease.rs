//! A job's lease: one process works on a job at a time, and a process that died is replaced.
//!
//! The lease only saves effort. What protects the files is the attempt number: it is in the name of
//! every object, and every statement about the job carries it.

use std::time::Duration;

use offtake_postgres::{Error, SourcePool};
use offtake_requests::HEARTBEATS_PER_LEASE;
use tokio_postgres::types::ToSql;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Kind, sql};

/// How long a job stays a process's that does not answer: as a destination's lease by default. A
/// job goes on that much later when its process is killed.
pub const LEASE: Duration = Duration::from_secs(60);

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// What makes a claim ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub job_id: i64,
    pub attempt: i64,
}

/// Which jobs are claimed.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// Any whose files go to one of these stores.
    InStores(&'a [String]),
    /// This one, by its public id: a command does it itself.
    Named(&'a str),
}

/// A claimed job. While this lives, the lease is extended.
#[derive(Debug)]
pub struct Held {
    pub lease: Lease,
    pub public_id: String,
    ended: CancellationToken,
    cancelled: CancellationToken,
    _heartbeat: DropGuard,
}

impl Held {
    /// Cancelled once the job is no longer ours, or might not be: the work must stop, and writes
    /// nothing more about the job.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Cancelled once somebody has asked for the job's end.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}

/// Claims one job and begins to extend its lease. None: no such job is due, or another process has
/// it. `process` names this process, as other leases do.
pub async fn claim(
    pool: &SourcePool,
    kind: Kind,
    which: Which<'_>,
    lease: Duration,
    process: &str,
) -> Result<Option<Held>, Error> {
    // Begun before the claim: the source's lease ends later than this clock says.
    let begun = tokio::time::Instant::now();
    let (stores, named): (&[String], Option<&str>) = match which {
        Which::InStores(stores) => (stores, None),
        Which::Named(public_id) => (&[], Some(public_id)),
    };
    let connection = pool.get().await?;
    let milliseconds = milliseconds(lease);
    let row = connection
        .query_opt(sql::CLAIM_JOB, &[&kind.as_str(), &milliseconds, &process, &stores, &named])
        .await?;
    drop(connection);
    let Some(row) = row else { return Ok(None) };
    let held = Lease { job_id: row.get("job_id"), attempt: row.get("attempt") };
    let (ended, cancelled, stop) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    if row.get("cancelled") {
        cancelled.cancel();
    }
    let heartbeat = Heartbeat {
        pool: pool.clone(),
        lease: held,
        length: lease,
        ended: ended.clone(),
        cancelled: cancelled.clone(),
    };
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = heartbeat.beat(begun) => {}
            () = stopped.cancelled() => {}
        }
    });
    let public_id = row.get("public_id");
    Ok(Some(Held { lease: held, public_id, ended, cancelled, _heartbeat: stop.drop_guard() }))
}

struct Heartbeat {
    pool: SourcePool,
    lease: Lease,
    length: Duration,
    ended: CancellationToken,
    cancelled: CancellationToken,
}

impl Heartbeat {
    /// Returns when the job is no longer ours.
    async fn beat(self, begun: tokio::time::Instant) {
        let mut until = begun + self.length;
        loop {
            tokio::time::sleep(self.length / HEARTBEATS_PER_LEASE).await;
            let begun = tokio::time::Instant::now();
            // A source that does not answer is no reason to stop before the lease is over.
            let extended = extend(&self.pool, self.lease, self.length);
            match tokio::time::timeout_at(until, extended).await {
                Ok(Ok(Some(cancelled))) => {
                    until = begun + self.length;
                    if cancelled {
                        self.cancelled.cancel();
                    }
                }
                Ok(Ok(None)) | Err(_) => break,
                Ok(Err(_)) if begun < until => {}
                Ok(Err(_)) => break,
            }
        }
        self.ended.cancel();
    }
}

/// Extends a lease. None: the job is no longer ours. Else whether it is to be cancelled.
pub(crate) async fn extend(
    pool: &SourcePool,
    Lease { job_id, attempt }: Lease,
    length: Duration,
) -> Result<Option<bool>, Error> {
    let length = milliseconds(length);
    let parameters: [&(dyn ToSql + Sync); 3] = [&job_id, &attempt, &length];
    let row = pool.get().await?.query_opt(sql::EXTEND_JOB_LEASE, &parameters).await?;
    Ok(row.map(|row| row.get("cancelled")))
}

/// What becomes of a job that is given back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Release<'a> {
    /// It is due again after this long.
    pub after: Duration,
    /// Its state until then; None: as it is.
    pub state: Option<&'a str>,
    pub reason: Option<&'a str>,
    /// The attempt failed; the caller chooses `after` by how often that was so.
    pub failed: bool,
}

/// Gives a job back. False: it is no longer ours, and nothing happens.
pub async fn release(pool: &SourcePool, lease: Lease, release: Release<'_>) -> Result<bool, Error> {
    let connection = pool.get().await?;
    let reason = release.reason.map(|reason| pool.storable(reason).into_owned());
    let after = milliseconds(release.after);
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&lease.job_id, &lease.attempt, &after, &release.state, &reason, &release.failed];
    Ok(connection.query_opt(sql::RELEASE_JOB, &parameters).await?.is_some())
}

/// The pause after so many failures in a row, and this one: a second, doubled each time.
pub(crate) fn retry_after(failures: i32) -> Duration {
    RETRY_MAX.min(RETRY_MIN * 2u32.saturating_pow(failures.clamp(0, 20).unsigned_abs()))
}

pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
