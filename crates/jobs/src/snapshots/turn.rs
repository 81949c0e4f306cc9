//! One process's work on one snapshot that a daemon makes.
//!
//! The snapshot has the id of its job, whichever attempt makes it. Its archive and its card are
//! written only where none is, and only by the process that has the job. So of two processes at
//! most one completes it, and the next attempt finds what an earlier one has completed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use offtake_mapping::{ResolvedMapping, foreign};
use offtake_postgres::{SourcePool, chain};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::ToSql;

use super::made::files;
use super::source::{self, OwnTable};
use super::{Asked, Card, Error, check, create, delete, find};
use crate::archive::Kind;
use crate::lease::{milliseconds, retry_after};
use crate::stop::Stop;
use crate::{Held, Job, Kind as JobKind, Lease, PublicId, Release, State, Store, release, sql};

/// What is known of a snapshot that was not made stays for so long.
const KEEP_UNMADE: Duration = Duration::from_secs(86_400);

/// So often a query fails before the other kinds have their turn: it takes about half an hour.
const FAILURES_MAX: i32 = 10;

/// What a daemon is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Whose rows, where not those of mappings; see [`crate::archive::Kind`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only these; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<String>,
    /// A tenant without a row gets a snapshot too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_empty: bool,
    /// By `snapshots.every`: it was not asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub scheduled: bool,
    /// Another kind of the same interval was not made, so this one does not complete it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unmade: bool,
    /// A command has made it, and daemons leave it alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_command: bool,
}

impl Options {
    /// What daemons make by themselves.
    pub(super) fn scheduled(kind: Kind, unmade: bool) -> Self {
        let kind = (kind != Kind::Rows).then(|| kind.as_str().to_owned());
        Self { kind, scheduled: true, unmade, ..Self::default() }
    }

    /// None: a newer version knows it.
    pub fn kind(&self) -> Option<Kind> {
        let known = [Kind::Rows, Kind::Source];
        match &self.kind {
            None => Some(Kind::Rows),
            Some(name) => known.into_iter().find(|kind| kind.as_str() == name),
        }
    }
}

/// How a process's part in a snapshot ended.
#[derive(Debug)]
pub(super) enum Ended {
    Completed {
        rows: u64,
        bytes: u64,
    },
    /// It was not asked for, and the tenant has no row.
    Empty,
    Cancelled,
    /// It failed for good.
    Failed(Error),
    /// It is tried again, here or elsewhere.
    Later(Error),
    /// The work stops here.
    Stopped,
    /// Another process has it.
    Lost,
}

/// Whose rows it has.
pub(super) enum Of {
    /// Those of mappings. `narrowed`: there are others.
    Rows { mappings: Vec<Arc<ResolvedMapping>>, narrowed: bool },
    /// The tenant's own, in tables of the source.
    Source { tables: Vec<OwnTable> },
}

pub(super) struct Turn {
    pub(super) pool: SourcePool,
    pub(super) store: Store,
    pub(super) id: PublicId,
    pub(super) job: Job,
    pub(super) options: Options,
    pub(super) of: Of,
    /// Which one is made after it, in the same interval.
    pub(super) next: Option<Kind>,
    /// Other kinds are made of the tenant too.
    pub(super) others: bool,
    pub(super) max_duration: Duration,
    pub(super) held: Held,
    pub(super) stop: Stop,
}

impl Turn {
    /// Works until the snapshot ends, or this process must stop. What ends it is recorded.
    pub(super) async fn run(&self) -> Ended {
        let made = tokio::select! {
            made = Box::pin(self.make()) => made,
            () = self.held.ended().cancelled() => return Ended::Lost,
            () = self.held.cancelled().cancelled() => {
                return self.cancelled().await;
            }
            why = self.stop.wait() => {
                return match self.give_back(why, Duration::ZERO, false).await {
                    true => Ended::Stopped,
                    false => Ended::Lost,
                };
            }
        };
        match made {
            Ok(card) => Ended::Completed { rows: card.rows, bytes: card.size },
            Err(Error::Lost) => Ended::Lost,
            Err(Error::Cancelled) => self.cancelled().await,
            Err(error @ Error::Empty) if self.options.scheduled => {
                let ended = self.end(State::Cancelled, &error.to_string(), true).await;
                self.ended(ended, Ended::Empty)
            }
            Err(error) if terminal(&error) || self.is_given_up(&error) => {
                let ended = self.end(State::Failed, &chain(&error), false).await;
                self.ended(ended, Ended::Failed(error))
            }
            Err(error) => {
                let after = retry_after(self.job.failures);
                match self.give_back(&chain(&error), after, true).await {
                    true => Ended::Later(error),
                    false => Ended::Lost,
                }
            }
        }
    }

    /// The other kinds of a tenant wait for this one. What concerns this kind only must not keep
    /// them from being made.
    fn is_given_up(&self, error: &Error) -> bool {
        let of_this_kind = matches!(error, Error::Query(_) | Error::Own(_));
        let waited_for = self.options.scheduled && self.others;
        of_this_kind && waited_for && self.job.failures >= FAILURES_MAX
    }

    /// What was written of it is deleted first. Where that fails, a daemon tries again when the job
    /// is forgotten.
    async fn cancelled(&self) -> Ended {
        if let Err(error) = delete(&self.store, &self.id).await {
            tracing::warn!(event = "store_failed", store = self.store.name(), "{error}");
        }
        let ended = cancel(&self.pool, self.held.lease).await;
        self.ended(ended, Ended::Cancelled)
    }

    fn ended(&self, recorded: Result<(), Error>, ended: Ended) -> Ended {
        match recorded {
            Ok(()) => ended,
            Err(Error::Lost) => Ended::Lost,
            Err(error) => Ended::Later(error),
        }
    }

    async fn give_back(&self, reason: &str, after: Duration, failed: bool) -> bool {
        let state = Some(State::Paused.as_str());
        let given = Release { after, state, reason: Some(reason), failed };
        // A source that does not answer now finds the lease run out.
        release(&self.pool, self.held.lease, given).await.unwrap_or(true)
    }

    async fn make(&self) -> Result<Card, Error> {
        self.note_progress().await?;
        if let Some(card) = self.made_before().await? {
            self.complete(&card).await?;
            return Ok(card);
        }
        let card = match &self.of {
            Of::Rows { mappings, narrowed } => {
                let asked = Asked {
                    tenant: &self.job.tenant_at_source,
                    mappings,
                    narrowed: *narrowed,
                    allow_empty: self.options.allow_empty,
                    max_duration: self.max_duration,
                    job: Some((&self.id, self.held.lease)),
                };
                create(&self.pool, &self.store, &asked).await?
            }
            Of::Source { tables } => self.make_of_source(tables).await?,
        };
        offtake_loops::failpoint("snapshot.after_card").await.map_err(Error::Source)?;
        self.complete(&card).await?;
        Ok(card)
    }

    /// Where a table is left out, most of the rows are better than none: the log tells the operator,
    /// and the tenant goes on waiting for a whole one.
    async fn make_of_source(&self, tables: &[OwnTable]) -> Result<Card, Error> {
        let asked = |partial| source::Asked {
            tenant: &self.job.tenant_at_source,
            tables,
            partial,
            allow_empty: self.options.allow_empty,
            max_duration: self.max_duration,
            job: Some((&self.id, self.held.lease)),
        };
        match source::create(&self.pool, &self.store, &asked(false)).await {
            Err(source::Error::LeftOut(tables)) => {
                let (snapshot, tables) = (self.id.as_str(), tables.join("; "));
                tracing::warn!(event = "snapshot_partial", snapshot, "{}", foreign(&tables));
                Ok(source::create(&self.pool, &self.store, &asked(true)).await?)
            }
            made => Ok(made?),
        }
    }

    /// What an earlier attempt has completed. What it has left unfinished is deleted.
    async fn made_before(&self) -> Result<Option<Card>, Error> {
        if self.held.lease.attempt == 1 {
            return Ok(None);
        }
        if let Some(card) = find(&self.store, &self.id).await? {
            match check(&self.store, &self.id, &card).await {
                Ok(_) => return Ok(Some(card)),
                // Two processes have written a part each.
                Err(Error::Refused { .. } | Error::Changed { .. }) => {}
                Err(Error::Store(error)) if error.trouble == crate::stores::Trouble::Missing => {}
                Err(error) => return Err(error),
            }
        }
        delete(&self.store, &self.id).await?;
        Ok(None)
    }

    async fn note_progress(&self) -> Result<(), Error> {
        let (lease, state) = (self.held.lease, State::Processing.as_str());
        let none: Option<&str> = None;
        let total: Option<i64> = None;
        // No part is recorded before the archive is complete: failures in a row stay counted.
        let parameters: [&(dyn ToSql + Sync); 9] =
            [&lease.job_id, &lease.attempt, &state, &none, &0i32, &total, &none, &none, &false];
        let source = self.pool.get().await.map_err(Error::Source)?;
        let row = source.query_opt(sql::NOTE_PROGRESS, &parameters).await;
        row.map_err(|error| Error::Source(error.into()))?.map(drop).ok_or(Error::Lost)
    }

    async fn complete(&self, card: &Card) -> Result<(), Error> {
        let completed = Finish {
            sequence_id: Some(card.sequence_id),
            files: Some(files(card)),
            made: !card.narrowed,
            ..Finish::of(State::Completed)
        };
        self.finish(completed).await
    }

    /// Ends it without a snapshot. `made`: none is to be had.
    async fn end(&self, state: State, reason: &str, made: bool) -> Result<(), Error> {
        let reason = Some(reason);
        self.finish(Finish { reason, keep: Some(KEEP_UNMADE), made, ..Finish::of(state) }).await
    }

    async fn finish(&self, ended: Finish<'_>) -> Result<(), Error> {
        let unmade = self.options.unmade || !ended.made;
        let next = self.next.map(|next| Options::scheduled(next, unmade));
        // One that was asked for is of one kind only.
        let all_kinds = self.options.scheduled || !self.others;
        let made = !unmade && next.is_none() && all_kinds;
        let ended = Finish { made, next, ..ended };
        finish((&self.pool, self.held.lease, &self.job.tenant_at_source), ended).await
    }
}

/// Ends a job.
async fn finish(
    (pool, lease, tenant): (&SourcePool, Lease, &str),
    finish: Finish<'_>,
) -> Result<(), Error> {
    let done = async {
        let mut connection = pool.get().await?;
        let transaction = connection.transaction().await?;
        let keep = finish.keep.map(milliseconds);
        let state = finish.state.as_str();
        let reason = finish.reason.map(|reason| pool.storable(reason).into_owned());
        let consistency = finish.files.as_ref().map(|_| "snapshot");
        let sequence_id = finish.sequence_id;
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &lease.job_id,
            &lease.attempt,
            &state,
            &reason,
            &consistency,
            &sequence_id,
            &sequence_id,
            &finish.files,
            &keep,
        ];
        let ours = transaction.query_opt(sql::FINISH_JOB, &parameters).await?.is_some();
        if ours && finish.files.is_some() {
            transaction.execute(sql::END_IF_CANCELLED, &[&lease.job_id]).await?;
        }
        if ours && finish.made {
            transaction.execute(sql::NOTE_SNAPSHOT_MADE, &[&tenant]).await?;
        }
        if let Some(next) = finish.next.filter(|_| ours) {
            let id = PublicId::fresh(JobKind::Snapshot, Timestamp::now()).to_string();
            let next = serde_json::to_value(next).unwrap_or_default();
            let parameters: [&(dyn ToSql + Sync); 3] = [&lease.job_id, &id, &next];
            transaction.execute(sql::RECORD_NEXT_SNAPSHOT, &parameters).await?;
        }
        transaction.commit().await?;
        Ok(ours)
    };
    let ours: bool = done.await.map_err(Error::Source)?;
    if ours { Ok(()) } else { Err(Error::Lost) }
}

/// Ends a snapshot that is to be cancelled.
pub(super) async fn cancel(pool: &SourcePool, lease: Lease) -> Result<(), Error> {
    let cancelled = Finish { keep: Some(KEEP_UNMADE), ..Finish::of(State::Cancelled) };
    finish((pool, lease, ""), cancelled).await
}

struct Finish<'a> {
    state: State,
    reason: Option<&'a str>,
    sequence_id: Option<i64>,
    files: Option<serde_json::Value>,
    keep: Option<Duration>,
    /// The tenant waits for a snapshot no more.
    made: bool,
    /// Another kind follows in the same interval.
    next: Option<Options>,
}

impl Finish<'_> {
    fn of(state: State) -> Self {
        Self {
            state,
            reason: None,
            sequence_id: None,
            files: None,
            keep: None,
            made: false,
            next: None,
        }
    }
}

/// The same would happen again at once.
fn terminal(error: &Error) -> bool {
    matches!(error, Error::Empty | Error::TooLong(_) | Error::Writer(_))
}
