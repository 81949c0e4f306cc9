//! The rows of `offtake.job`: what was asked for, and how far it is.

use std::time::Duration;

use jiff::Timestamp;
use offtake_postgres::{Error, SourcePool};
use serde_json::Value;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Row};

use crate::lease::milliseconds;
use crate::{Kind, PublicId, sql};

/// A job as its row has it.
#[derive(Debug, Clone)]
pub struct Job {
    pub job_id: i64,
    pub public_id: String,
    pub tenant_id: String,
    /// The tenant as the log has it.
    pub tenant_at_source: String,
    pub store: Option<String>,
    pub folder: Option<String>,
    pub options: Value,
    pub state: State,
    pub reason: Option<String>,
    pub attempt: i64,
    /// A process holds its lease.
    pub working: bool,
    pub mapping: Option<String>,
    pub round: i32,
    pub rows_total: Option<i64>,
    pub rows_done: i64,
    pub bytes_done: i64,
    pub percent: i32,
    pub from_sequence_id: Option<i64>,
    pub sequence_id: Option<i64>,
    pub epoch: Option<String>,
    pub consistency: Option<String>,
    pub files: Option<Value>,
    /// How its callback went, when it was last tried.
    pub callback: Option<Value>,
    pub failures: i32,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    /// The source's clock when the row was read, in seconds.
    pub now: f64,
}

/// The states of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Accepted,
    Processing,
    Paused,
    Settling,
    Completed,
    Expired,
    Failed,
    Cancelled,
}

impl State {
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Processing,
        Self::Paused,
        Self::Settling,
        Self::Completed,
        Self::Expired,
        Self::Failed,
        Self::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Processing => "processing",
            Self::Paused => "paused",
            Self::Settling => "settling",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job still goes on, or will.
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Accepted | Self::Processing | Self::Paused | Self::Settling)
    }

    fn of(text: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.as_str() == text).unwrap_or(Self::Failed)
    }
}

impl Job {
    /// Whether its files are kept no longer: they are deleted, or a daemon deletes them soon.
    pub fn files_are_deleted(&self) -> bool {
        self.expires_at.is_some_and(|at| at.as_millisecond() as f64 / 1000.0 <= self.now)
    }

    fn of(row: &Row) -> Self {
        Self {
            job_id: row.get("job_id"),
            public_id: row.get("public_id"),
            tenant_id: row.get("tenant_id"),
            tenant_at_source: row.get("tenant_at_source"),
            store: row.get("store"),
            folder: row.get("folder"),
            options: row.get("options"),
            state: State::of(row.get("state")),
            reason: row.get("reason"),
            attempt: row.get("attempt"),
            working: row.get::<_, Option<bool>>("working").unwrap_or_default(),
            mapping: row.get("mapping"),
            round: row.get("round"),
            rows_total: row.get("rows_total"),
            rows_done: row.get("rows_done"),
            bytes_done: row.get("bytes_done"),
            percent: row.get("percent"),
            from_sequence_id: row.get("from_sequence_id"),
            sequence_id: row.get("sequence_id"),
            epoch: row.get("epoch"),
            consistency: row.get("consistency"),
            files: row.get("files"),
            callback: row.get("callback"),
            failures: row.get("failures"),
            created_at: row.get("created_at"),
            started_at: row.get("started_at"),
            finished_at: row.get("finished_at"),
            expires_at: row.get("expires_at"),
            now: row.get("now"),
        }
    }
}

/// What is asked for.
pub struct NewJob<'a> {
    pub kind: Kind,
    pub tenant_id: &'a str,
    pub tenant_at_source: &'a str,
    pub store: Option<&'a str>,
    pub folder: Option<&'a str>,
    pub options: &'a Value,
    /// Of a client that may ask twice.
    pub repeatable: Option<Repeatable<'a>>,
    /// At most so many jobs of the kind wait for daemons, with this one; None: however many.
    pub queue: Option<u32>,
}

/// How a client's request is known that comes a second time, because its answer was lost.
#[derive(Debug, Clone, Copy)]
pub struct Repeatable<'a> {
    /// Chosen by the client.
    pub key: &'a str,
    /// Of what it asked for.
    pub request_sha256: &'a str,
}

/// What became of a wish for a job.
#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    Job(PublicId),
    /// The tenant has one that goes on: this one.
    Running(String),
    /// The same was asked for with this key before, and this job was made.
    Repeated(String),
    /// Something else was asked for with this key before.
    KeyUsed,
    /// So many wait for daemons, and no more may.
    Full(i64),
}

/// Random ids that are tried, should one be taken.
const ID_ATTEMPTS_MAX: usize = 10;

/// Records a job. While a request with a key does, others with the same key wait: they find what it
/// has recorded, also where they ask for something else. Where a queue has an end, jobs of the kind
/// are recorded one after the other. `client` must not be in a transaction.
pub async fn create(client: &mut Client, new: &NewJob<'_>) -> Result<Created, Error> {
    if new.repeatable.is_none() && new.queue.is_none() {
        return record(client, new).await;
    }
    let begin = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
    let transaction = begin.start().await?;
    if let Some(repeatable) = new.repeatable {
        transaction.execute(sql::LOCK_REQUEST, &[&repeatable.key]).await?;
        // Its own job may have the last place.
        if let Some(created) = repeated(transaction.client(), repeatable).await? {
            return Ok(created);
        }
    }
    if let Some(queue) = new.queue {
        transaction.execute(sql::LOCK_QUEUE, &[&new.kind.as_str()]).await?;
        let queued = queued(transaction.client(), new.kind).await?;
        if queued >= i64::from(queue) {
            return Ok(Created::Full(queued));
        }
    }
    let created = record(transaction.client(), new).await?;
    transaction.commit().await?;
    Ok(created)
}

async fn record(client: &Client, new: &NewJob<'_>) -> Result<Created, Error> {
    let other = (new.tenant_at_source != new.tenant_id).then_some(new.tenant_at_source);
    for _ in 0..ID_ATTEMPTS_MAX {
        let id = PublicId::fresh(new.kind, Timestamp::now());
        let (text, kind) = (id.as_str(), new.kind.as_str());
        let key = new.repeatable.map(|repeatable| repeatable.key);
        let request = new.repeatable.map(|repeatable| repeatable.request_sha256);
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &text,
            &kind,
            &new.tenant_id,
            &other,
            &new.store,
            &new.folder,
            new.options,
            &key,
            &request,
        ];
        if client.query_opt(sql::CREATE_JOB, &parameters).await?.is_some() {
            return Ok(Created::Job(id));
        }
        if let Some(repeatable) = new.repeatable
            && let Some(created) = repeated(client, repeatable).await?
        {
            return Ok(created);
        }
        let of_tenant: [&(dyn ToSql + Sync); 2] = [&kind, &new.tenant_at_source];
        if let Some(row) = client.query_opt(sql::FIND_RUNNING, &of_tenant).await? {
            return Ok(Created::Running(row.get("public_id")));
        }
    }
    Err(Error::Exhausted { what: "job id", waited: Duration::ZERO })
}

/// What was made when the same client asked before. None: its key is new.
pub async fn repeated(
    client: &Client,
    repeatable: Repeatable<'_>,
) -> Result<Option<Created>, Error> {
    let row = client.query_opt(sql::FIND_REPEATED, &[&repeatable.key]).await?;
    Ok(row.map(|row| match row.get::<_, Option<&str>>("request_sha256") {
        Some(request) if request == repeatable.request_sha256 => {
            Created::Repeated(row.get("public_id"))
        }
        _ => Created::KeyUsed,
    }))
}

/// The job of this id.
pub async fn read(client: &Client, kind: Kind, id: &PublicId) -> Result<Option<Job>, Error> {
    let row = client.query_opt(sql::READ_JOB, &[&kind.as_str(), &id.as_str()]).await?;
    Ok(row.as_ref().map(Job::of))
}

/// The job of this number.
pub async fn read_by_number(client: &Client, job_id: i64) -> Result<Option<Job>, Error> {
    let row = client.query_opt(sql::READ_JOB_BY_NUMBER, &[&job_id]).await?;
    Ok(row.as_ref().map(Job::of))
}

/// Which jobs are listed, the newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Those of the tenant that is spelled in one of these ways.
    pub tenant: Option<&'a [String]>,
    pub state: Option<State>,
    /// Those that are older than this one.
    pub after: Option<&'a str>,
    pub limit: i64,
}

pub async fn list(client: &Client, kind: Kind, filter: Filter<'_>) -> Result<Vec<Job>, Error> {
    let state = filter.state.map(State::as_str);
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&kind.as_str(), &filter.tenant, &state, &filter.after, &filter.limit];
    let rows = client.query(sql::LIST_JOBS, &parameters).await?;
    Ok(rows.iter().map(Job::of).collect())
}

/// How many jobs of a kind wait for daemons, or are worked on by them.
pub async fn queued(client: &Client, kind: Kind) -> Result<i64, Error> {
    Ok(client.query_one(sql::COUNT_QUEUED, &[&kind.as_str()]).await?.get(0))
}

/// Asks for a job's end. None: it does not go on. `keep`: how long its files are kept if it ends at
/// once, because no process works on it; None: for ever.
pub async fn cancel(
    client: &mut Client,
    kind: Kind,
    id: &PublicId,
    keep: Option<Duration>,
) -> Result<Option<State>, Error> {
    let keep = keep.map(milliseconds);
    let transaction = client.transaction().await?;
    let parameters: [&(dyn ToSql + Sync); 3] = [&kind.as_str(), &id.as_str(), &keep];
    let Some(row) = transaction.query_opt(sql::CANCEL_JOB, &parameters).await? else {
        return Ok(None);
    };
    let state = State::of(row.get("state"));
    if !state.goes_on() {
        offtake_requests::owe_callback(&transaction, row.get("job_id")).await?;
    }
    transaction.commit().await?;
    Ok(Some(state))
}

/// Ends jobs of commands that are to be cancelled, but whose process died before it heard that.
pub async fn end_abandoned(pool: &SourcePool, kind: Kind) -> Result<(), Error> {
    let mut connection = pool.get().await?;
    let transaction = connection.transaction().await?;
    for row in transaction.query(sql::END_ABANDONED, &[&kind.as_str()]).await? {
        offtake_requests::owe_callback(&transaction, row.get("job_id")).await?;
    }
    Ok(transaction.commit().await?)
}

/// Has a job go on that failed, was cancelled or pauses. False: it is in another state, its files
/// are being deleted, or the tenant has another one that goes on.
pub async fn resume(client: &Client, kind: Kind, id: &PublicId) -> Result<bool, Error> {
    match client.query_opt(sql::RESUME_JOB, &[&kind.as_str(), &id.as_str()]).await {
        // An index allows one.
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(false),
        resumed => Ok(resumed?.is_some()),
    }
}

/// Ends a job for good; its files may be deleted then. False: a process works on it, or there is no
/// such job.
pub async fn retire(client: &Client, kind: Kind, id: &PublicId) -> Result<bool, Error> {
    Ok(client.query_opt(sql::RETIRE_JOB, &[&kind.as_str(), &id.as_str()]).await?.is_some())
}

/// Forgets a retired job whose files are deleted.
pub async fn delete(client: &Client, kind: Kind, id: &PublicId) -> Result<(), Error> {
    client.execute(sql::DELETE_JOB, &[&kind.as_str(), &id.as_str()]).await?;
    Ok(())
}

/// The jobs whose files are to be deleted, each with its store.
pub async fn expired(
    pool: &SourcePool,
    kind: Kind,
    stores: &[String],
) -> Result<Vec<(PublicId, String)>, Error> {
    let rows = pool.get().await?.query(sql::LIST_EXPIRED, &[&kind.as_str(), &stores]).await?;
    let one = |row: &Row| Some((PublicId::parse(kind, row.get("public_id"))?, row.get("store")));
    Ok(rows.iter().filter_map(one).collect())
}

/// Forgets jobs that ended thirty days ago and have no files in a store.
pub async fn forget_ended(pool: &SourcePool, kind: Kind) -> Result<(), Error> {
    pool.get().await?.execute(sql::FORGET_ENDED, &[&kind.as_str()]).await?;
    Ok(())
}

/// Says that a job's files are deleted.
pub async fn expire(pool: &SourcePool, kind: Kind, id: &PublicId) -> Result<(), Error> {
    pool.get().await?.execute(sql::EXPIRE_JOB, &[&kind.as_str(), &id.as_str()]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_are_those_of_the_metrics() {
        use offtake_loops::metrics::{EXPORT_STATES, SNAPSHOT_STATES};
        assert_eq!(State::ALL.map(State::as_str), EXPORT_STATES);
        let of_snapshots = State::ALL.into_iter().filter(|state| *state != State::Settling);
        assert!(of_snapshots.map(State::as_str).eq(SNAPSHOT_STATES));
    }
}
