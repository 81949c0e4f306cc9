//! What the daemon's answers about exports and about snapshots have in common: the source, the
//! stores, and the jobs of one kind.

use std::sync::Arc;

use jiff::Timestamp;
use offtake_admin::jobs::{JobRefused as Refused, JobState, JobsWanted, RepeatableKey};
use offtake_jobs::job::{self, Created, Filter, NewJob, Repeatable};
use offtake_jobs::stores::Trouble;
use offtake_jobs::{Job, Kind, PublicId, State, Store, stores};
use offtake_mapping::{MappingSet, foreign};
use offtake_postgres::{Connection, Dialer, PooledConnection, SourcePool};
use serde_json::Value;
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::configuration::Configuration;
use crate::context::tenant_spelling;
use crate::export_wish::Unfit;

/// The longest look at whether a tenant has rows.
const LOOK_WITHIN: &str = "set statement_timeout = '8s'";

/// What the daemon has to answer about the jobs of one kind.
#[derive(Clone)]
pub(super) struct JobAccess {
    pub(super) kind: Kind,
    pub(super) pool: SourcePool,
    pub(super) configuration: watch::Receiver<Arc<Configuration>>,
    pub(super) mappings: watch::Receiver<Arc<MappingSet>>,
    pub(super) stores: Vec<Store>,
}

/// A job that a client asks for, once the daemon has looked at everything it says.
pub(super) struct Recorded<'a> {
    pub(super) tenant: &'a str,
    pub(super) tenant_at_source: &'a str,
    pub(super) store: &'a Store,
    pub(super) options: &'a Value,
    pub(super) repeatable: Option<&'a RepeatableKey>,
    /// At most so many wait for daemons.
    pub(super) queue: Option<u32>,
}

impl JobAccess {
    /// The jobs, the newest first.
    pub(super) async fn list(&self, of: &JobsWanted) -> Result<Vec<Job>, Refused> {
        let known = |id: &String| PublicId::parse(self.kind, id).is_some();
        if of.after.as_ref().is_some_and(|after| !known(after)) {
            return Err(Refused::Wrong("`after` is not the `next` of a page".to_owned()));
        }
        let source = self.source().await?;
        let tenant = match &of.tenant {
            Some(typed) => Some(self.spellings(&source, typed).await?),
            None => None,
        };
        let filter = Filter {
            tenant: tenant.as_deref(),
            state: of.state.and_then(job_state),
            after: of.after.as_deref(),
            limit: of.limit,
        };
        job::list(&source, self.kind, filter).await.map_err(of_source)
    }

    /// The tenant as the client spells it, and as the source may print it.
    async fn spellings(&self, source: &Client, typed: &str) -> Result<Vec<String>, Refused> {
        let set = self.mappings.borrow().clone();
        let spellings = tenant_spelling::spellings_of(source, &set, typed).await;
        let mut spellings = spellings.map_err(|error| of_source(error.into()))?;
        spellings.insert(typed.to_owned());
        Ok(spellings.into_iter().collect())
    }

    /// The job that the same request made before. None: its key is new, or it has none.
    pub(super) async fn repeated(
        &self,
        source: &Client,
        tenant: &str,
        repeatable: Option<&RepeatableKey>,
    ) -> Result<Option<Job>, Refused> {
        let Some(repeatable) = repeatable.map(known_by) else { return Ok(None) };
        match job::repeated(source, repeatable).await.map_err(of_source)? {
            Some(created) => self.created(created, tenant).await.map(Some),
            None => Ok(None),
        }
    }

    /// Records the job, so that a daemon works on it. `source` must not be in a transaction.
    pub(super) async fn record(
        &self,
        source: &mut Client,
        new: Recorded<'_>,
    ) -> Result<Job, Refused> {
        let Recorded { tenant, tenant_at_source, store, options, repeatable, queue } = new;
        let new = NewJob {
            kind: self.kind,
            tenant_id: tenant,
            tenant_at_source,
            store: Some(store.name()),
            folder: None,
            options,
            repeatable: repeatable.map(known_by),
            queue,
        };
        let created = job::create(source, &new).await.map_err(of_source)?;
        self.created(created, tenant).await
    }

    async fn created(&self, created: Created, tenant: &str) -> Result<Job, Refused> {
        match created {
            Created::Job(id) => Ok(self.found(id.as_str()).await?.1),
            Created::Repeated(id) => Ok(self.found(&id).await?.1),
            Created::Running(id) => {
                let (tenant, kind) = (foreign(tenant), a(self.kind));
                let why = format!("the tenant {tenant} has {kind} that goes on");
                Err(Refused::Running { why, id })
            }
            Created::KeyUsed => {
                let why = "this `Idempotency-Key` was used for another request within a day";
                Err(Refused::KeyUsed(why.to_owned()))
            }
            Created::Full(queued) => Err(self.full(queued)),
        }
    }

    pub(super) fn full(&self, queued: i64) -> Refused {
        let kind = self.kind.as_str();
        Refused::Full(format!("{queued} {kind}s wait, and `{kind}s.queue` allows no more"))
    }

    /// The store that a client names, or the default. Stores are the operator's: only their names
    /// come from a client.
    pub(super) fn named(
        &self,
        asked: Option<&str>,
        default: Option<&str>,
    ) -> Result<&Store, Refused> {
        let names: Vec<&str> = self.stores.iter().map(Store::name).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let Some(name) = asked.or(default) else {
            let setting = format!("{}s.store", self.kind.as_str());
            let why = format!("say `store`, as `{setting}` is not set; the stores are: {names}");
            return Err(Refused::Wrong(why));
        };
        self.stores.iter().find(|store| store.name() == name).ok_or_else(|| {
            let why = format!("there is no store named {}; the stores are: {names}", foreign(name));
            Refused::Missing(why)
        })
    }

    pub(super) fn store_of(&self, job: &Job) -> Result<&Store, Refused> {
        let name = job.store.as_deref();
        self.stores.iter().find(|store| Some(store.name()) == name).ok_or_else(|| {
            let name = foreign(name.unwrap_or_default());
            Refused::Unavailable(format!("this daemon does not have the store {name}"))
        })
    }

    pub(super) async fn source(&self) -> Result<PooledConnection, Refused> {
        self.pool.get().await.map_err(of_source)
    }

    pub(super) async fn found(&self, id: &str) -> Result<(PublicId, Job), Refused> {
        let missing = || Refused::Missing(format!("there is no such {}", self.kind.as_str()));
        let id = PublicId::parse(self.kind, id).ok_or_else(missing)?;
        let source = self.source().await?;
        let job = job::read(&source, self.kind, &id).await.map_err(of_source)?;
        Ok((id, job.ok_or_else(missing)?))
    }

    /// A job whose files can be fetched.
    pub(super) async fn completed(&self, id: &str) -> Result<(PublicId, Job), Refused> {
        let (id, job) = self.found(id).await?;
        match job.state {
            // A daemon deletes them soon, or is about to: some may be gone.
            State::Completed if job.files_are_deleted() => {
                Err(Refused::Gone("its files are being deleted".to_owned()))
            }
            State::Completed => Ok((id, job)),
            State::Expired => Err(Refused::Gone("its files were deleted".to_owned())),
            other => {
                let (kind, state) = (self.kind.as_str(), other.as_str());
                Err(Refused::Conflict(format!("the {kind} is {state}, and has no files")))
            }
        }
    }
}

/// The kind with its article.
fn a(kind: Kind) -> &'static str {
    match kind {
        Kind::Export => "an export",
        Kind::Snapshot => "a snapshot",
        Kind::Restore => "a restore",
    }
}

fn known_by(RepeatableKey { key, request_sha256 }: &RepeatableKey) -> Repeatable<'_> {
    Repeatable { key, request_sha256 }
}

/// Until when links to a job's files open that are asked for until then, and how long that is.
pub(super) fn kept_until(job: &Job, until: Timestamp) -> (Timestamp, std::time::Duration) {
    let until = job.expires_at.map_or(until, |expires| until.min(expires));
    let lasts = until.duration_since(Timestamp::now()).try_into().unwrap_or_default();
    (until, lasts)
}

pub(super) fn unfit(set: &MappingSet, tenant: &str, unfit: Unfit) -> Refused {
    match unfit {
        Unfit::Mapping(name) => {
            let known: Vec<&str> = set.mappings().iter().map(|mapping| mapping.name()).collect();
            Refused::Missing(format!(
                "there is no mapping named {}; the mappings are: {}",
                foreign(&name),
                known.join(", ")
            ))
        }
        Unfit::Ambiguous(spellings) => {
            let all: Vec<_> = spellings.iter().map(|id| foreign(id)).collect();
            Refused::Wrong(format!(
                "{} may be the tenant {}: write the id as the source prints it",
                foreign(tenant),
                all.join(" or ")
            ))
        }
        Unfit::NoRows => {
            let tenant = foreign(tenant);
            Refused::Missing(format!("no mapping has a row of the tenant {tenant}"))
        }
        Unfit::Source { what, error } => {
            Refused::Unavailable(format!("{what}: {}", error.message()))
        }
    }
}

/// A connection of its own: a look that is given up must not go on in one of the pool.
pub(super) async fn dialled(configuration: &Configuration) -> Result<Connection, Refused> {
    let dialer = Dialer::trusted(configuration.sync.connect_timeout);
    let source = dialer.dial(&configuration.source.url, "offtake http").await;
    let source = source.map_err(of_source)?;
    source.batch_execute(LOOK_WITHIN).await.map_err(|error| of_source(error.into()))?;
    Ok(source)
}

pub(super) fn of_source(error: offtake_postgres::Error) -> Refused {
    Refused::Unavailable(format!("the source: {}", error.message()))
}

pub(super) fn of_store(error: &stores::Error) -> Refused {
    match error.trouble {
        Trouble::Missing => Refused::Gone("its files are not in the store".to_owned()),
        _ => Refused::Unavailable(format!("the store: {error}")),
    }
}

/// The job's state of the same name.
fn job_state(state: JobState) -> Option<State> {
    State::ALL.into_iter().find(|one| one.as_str() == state.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_counterpart() {
        assert!(JobState::ALL.iter().all(|state| job_state(*state).is_some()));
        for state in State::ALL {
            let told = crate::export_item::state_of(state);
            assert_eq!(job_state(told), Some(state));
        }
    }
}
