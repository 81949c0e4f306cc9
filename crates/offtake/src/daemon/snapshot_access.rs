//! What clients of HTTP ask of snapshots, done by this daemon.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use offtake_admin::exports::{Asking, ExportRefused as Refused, RepeatableKey};
use offtake_admin::snapshots::{
    Snapshot, SnapshotArchive, SnapshotState, SnapshotWish, SnapshotsWanted, ValidSnapshot,
};
use offtake_admin::{Pieces, SnapshotAccess, StoredFile};
use offtake_jobs::job::{self, Created, Filter, NewJob, Repeatable};
use offtake_jobs::snapshots::{self, Made, Options};
use offtake_jobs::stores::Key;
use offtake_jobs::{Job, Kind, PublicId, State, Store};
use offtake_mapping::{MappingSet, foreign};
use offtake_postgres::{PooledConnection, SourcePool};
use tokio::sync::watch;

use super::export_access::{bytes_of, dialled, of_source, of_store, unfit};
use crate::configuration::Configuration;
use crate::export_wish::{expect_rows, spelt};

#[derive(Clone)]
pub(super) struct Access {
    pub(super) pool: SourcePool,
    pub(super) configuration: watch::Receiver<Arc<Configuration>>,
    pub(super) mappings: watch::Receiver<Arc<MappingSet>>,
    pub(super) stores: Vec<Store>,
}

impl SnapshotAccess for Access {
    fn create(&self, wish: SnapshotWish, repeatable: Option<RepeatableKey>) -> Asking<Snapshot> {
        let this = self.clone();
        Box::pin(async move { this.record(&wish, repeatable.as_ref()).await })
    }

    fn list(&self, of: SnapshotsWanted) -> Asking<Vec<Snapshot>> {
        let this = self.clone();
        Box::pin(async move {
            let state = of.state.and_then(job_state);
            let (tenant, after, limit) = (of.tenant.as_deref(), of.after.as_deref(), of.limit);
            let filter = Filter { tenant, state, after, limit };
            let jobs = job::list(&*this.source().await?, Kind::Snapshot, filter).await;
            Ok(jobs.map_err(of_source)?.iter().map(item).collect())
        })
    }

    fn one(&self, id: String) -> Asking<Snapshot> {
        let this = self.clone();
        Box::pin(async move { Ok(item(&this.found(&id).await?.1)) })
    }

    fn validate(&self, id: String) -> Asking<ValidSnapshot> {
        let this = self.clone();
        Box::pin(async move {
            let (id, store, _) = this.completed(&id).await?;
            let card = snapshots::find(&store, &id).await.map_err(unreadable)?;
            let card = card.ok_or_else(gone)?;
            let (_, manifest) = snapshots::check(&store, &id, &card).await.map_err(unreadable)?;
            Ok(ValidSnapshot {
                id: id.to_string(),
                valid: true,
                members: manifest.members.len() as u64,
                rows: manifest.rows_total(),
            })
        })
    }

    fn delete(&self, id: String) -> Asking<()> {
        let this = self.clone();
        Box::pin(async move {
            let (id, job) = this.found(&id).await?;
            let mut source = this.source().await?;
            // One that goes on is ended by the process that works on it, and a daemon deletes what
            // it has left.
            let keep = Some(std::time::Duration::ZERO);
            let cancelled = job::cancel(&mut source, Kind::Snapshot, &id, keep).await;
            if cancelled.map_err(of_source)?.is_some() {
                return Ok(());
            }
            let retired = job::retire(&source, Kind::Snapshot, &id).await.map_err(of_source)?;
            drop(source);
            if retired && let Ok(store) = this.store_of(&job) {
                // A daemon tries again: what is retired is expired.
                snapshots::delete(store, &id).await.map_err(|error| of_store(&error))?;
                job::expire(&this.pool, Kind::Snapshot, &id).await.map_err(of_source)?;
            }
            Ok(())
        })
    }

    fn archive(&self, id: String) -> Asking<StoredFile> {
        let this = self.clone();
        Box::pin(async move {
            let (id, store, made) = this.completed(&id).await?;
            let key = snapshots::archive_key(&id);
            let size = store.size(&key).await.map_err(|error| of_store(&error))?;
            if size != Some(made.size) {
                return Err(gone());
            }
            let name = format!("{id}.tar.zst");
            Ok(StoredFile {
                name,
                kind: "application/zstd",
                size: made.size,
                sha256: bytes_of(&made.sha256),
                etag: made.sha256,
                open: Box::new(move |from, length| pieces(store, key, (from, length))),
            })
        })
    }

    fn store_link(&self, id: String, valid: Duration) -> Asking<Option<String>> {
        let this = self.clone();
        Box::pin(async move {
            let (id, store, _) = this.completed(&id).await?;
            let name = Key::new(format!("{id}.tar.zst"));
            Ok(store.link(&snapshots::archive_key(&id), valid, name.as_ref()))
        })
    }
}

impl Access {
    async fn record(
        &self,
        wish: &SnapshotWish,
        repeatable: Option<&RepeatableKey>,
    ) -> Result<Snapshot, Refused> {
        let Some(tenant) = wish.tenant.as_deref().filter(|tenant| !tenant.is_empty()) else {
            return Err(Refused::Wrong("say the `tenant` whose rows the snapshot has".to_owned()));
        };
        let configuration = self.configuration.borrow().clone();
        let store = self.named(&configuration, wish.store.as_deref())?;
        let repeatable = repeatable.map(|repeatable| Repeatable {
            key: &repeatable.key,
            request_sha256: &repeatable.request_sha256,
        });
        if let Some(repeatable) = repeatable
            && let Some(created) =
                job::repeated(&*self.source().await?, repeatable).await.map_err(of_source)?
        {
            return self.answered(created, tenant).await;
        }
        let set = self.mappings.borrow().clone();
        if let Some(name) = wish.mappings.iter().find(|name| set.get(name).is_none()) {
            return Err(unfit(&set, tenant, crate::export_wish::Unfit::Mapping(name.clone())));
        }
        let source = dialled(&configuration).await?;
        let refused = |why| unfit(&set, tenant, why);
        let tenant_at_source = spelt(&source, &set, tenant).await.map_err(refused)?;
        if !wish.allow_empty {
            let asked = |name: &&str| {
                wish.mappings.is_empty() || wish.mappings.iter().any(|asked| asked == name)
            };
            let names: Vec<String> = set
                .mappings()
                .iter()
                .map(|mapping| mapping.name())
                .filter(asked)
                .map(str::to_owned)
                .collect();
            let rows = expect_rows(&source, &set, &names, &tenant_at_source).await;
            rows.map_err(|why| unfit(&set, tenant, why))?;
        }
        let options = Options {
            mappings: wish.mappings.clone(),
            allow_empty: wish.allow_empty,
            ..Options::default()
        };
        let options = serde_json::to_value(options).unwrap_or_default();
        let new = NewJob {
            kind: Kind::Snapshot,
            tenant_id: tenant,
            tenant_at_source: &tenant_at_source,
            store: Some(store.name()),
            folder: None,
            options: &options,
            repeatable,
        };
        let created = job::create(&source, &new).await.map_err(of_source)?;
        self.answered(created, tenant).await
    }

    async fn answered(&self, created: Created, tenant: &str) -> Result<Snapshot, Refused> {
        match created {
            Created::Job(id) => Ok(item(&self.found(id.as_str()).await?.1)),
            Created::Repeated(id) => Ok(item(&self.found(&id).await?.1)),
            Created::Running(id) => {
                let why = format!("a snapshot of the tenant {} is being made", foreign(tenant));
                Err(Refused::Running { why, id })
            }
            Created::KeyUsed => {
                let why = "this `Idempotency-Key` was used for another request within a day";
                Err(Refused::KeyUsed(why.to_owned()))
            }
        }
    }

    /// The store of a wish. Stores are the operator's: only their names come from a client.
    fn named(&self, configuration: &Configuration, asked: Option<&str>) -> Result<&Store, Refused> {
        let names: Vec<&str> = self.stores.iter().map(Store::name).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let default = configuration.snapshots.default_store(&configuration.stores);
        let Some(name) = asked.or(default) else {
            let why =
                format!("say `store`, as `snapshots.store` is not set; the stores are: {names}");
            return Err(Refused::Wrong(why));
        };
        self.stores.iter().find(|store| store.name() == name).ok_or_else(|| {
            let why = format!("there is no store named {}; the stores are: {names}", foreign(name));
            Refused::Missing(why)
        })
    }

    fn store_of(&self, job: &Job) -> Result<&Store, Refused> {
        let name = job.store.as_deref();
        self.stores.iter().find(|store| Some(store.name()) == name).ok_or_else(|| {
            let name = foreign(name.unwrap_or_default());
            Refused::Unavailable(format!("this daemon does not have the store {name}"))
        })
    }

    async fn source(&self) -> Result<PooledConnection, Refused> {
        self.pool.get().await.map_err(of_source)
    }

    async fn found(&self, id: &str) -> Result<(PublicId, Job), Refused> {
        let missing = || Refused::Missing("there is no such snapshot".to_owned());
        let id = PublicId::parse(Kind::Snapshot, id).ok_or_else(missing)?;
        let source = self.source().await?;
        let job = job::read(&source, Kind::Snapshot, &id).await.map_err(of_source)?;
        Ok((id, job.ok_or_else(missing)?))
    }

    async fn completed(&self, id: &str) -> Result<(PublicId, Store, Made), Refused> {
        let (id, job) = self.found(id).await?;
        match (job.state, Made::of(&job)) {
            (State::Completed, Some(made)) => {
                let store = self.store_of(&job)?.clone();
                Ok((id, store, made))
            }
            (State::Expired, _) => Err(gone()),
            (other, _) => {
                let why = format!("the snapshot is {}, and has no file", other.as_str());
                Err(Refused::Conflict(why))
            }
        }
    }
}

fn gone() -> Refused {
    Refused::Gone("its file was deleted".to_owned())
}

fn unreadable(error: snapshots::Error) -> Refused {
    match error {
        snapshots::Error::Store(error) => of_store(&error),
        error @ (snapshots::Error::Refused { .. } | snapshots::Error::Changed { .. }) => {
            Refused::Damaged(error.to_string())
        }
        error => Refused::Unavailable(error.to_string()),
    }
}

fn pieces(store: Store, key: offtake_jobs::stores::Key, (from, length): (u64, u64)) -> Pieces {
    enum Reading {
        At(Store, offtake_jobs::stores::Key, u64, u64),
        Of(offtake_jobs::stores::Reader),
    }
    Box::pin(unfold(Some(Reading::At(store, key, from, length)), async |reading| {
        let mut reader = match reading? {
            Reading::Of(reader) => reader,
            Reading::At(store, key, from, length) => {
                match store.read(&key, from, Some(length)).await {
                    Ok(reader) => reader,
                    Err(error) => return Some((Err(error.to_string()), None)),
                }
            }
        };
        match reader.next().await {
            Ok(bytes) => Some((Ok(bytes?), Some(Reading::Of(reader)))),
            Err(error) => Some((Err(error.to_string()), None)),
        }
    }))
}

fn item(job: &Job) -> Snapshot {
    let options: Options = serde_json::from_value(job.options.clone()).unwrap_or_default();
    let made = Made::of(job).map(|made| SnapshotArchive {
        created_at: made.created_at,
        sequence_id: offtake_admin::status::Long(made.sequence_id),
        epoch: made.epoch,
        size: made.size,
        sha256: made.sha256,
        rows: made.rows,
        bytes: made.bytes,
        narrowed: made.narrowed,
        tables: made
            .tables
            .into_iter()
            .map(|table| offtake_admin::snapshots::SnapshotTable {
                mapping: table.mapping,
                rows: table.rows,
            })
            .collect(),
    });
    Snapshot {
        id: job.public_id.clone(),
        tenant: job.tenant_id.clone(),
        state: state_of(job.state),
        reason: job.reason.clone(),
        store: job.store.clone(),
        scheduled: options.scheduled,
        created_at: job.created_at,
        finished_at: job.finished_at,
        archive: made,
    }
}

fn state_of(state: State) -> SnapshotState {
    match state {
        State::Accepted => SnapshotState::Accepted,
        // A snapshot does not settle.
        State::Processing | State::Settling => SnapshotState::Processing,
        State::Paused => SnapshotState::Paused,
        State::Completed => SnapshotState::Completed,
        State::Expired => SnapshotState::Expired,
        State::Failed => SnapshotState::Failed,
        State::Cancelled => SnapshotState::Cancelled,
    }
}

fn job_state(state: SnapshotState) -> Option<State> {
    State::ALL.into_iter().find(|found| found.as_str() == state.as_str())
}
