//! What clients of HTTP ask of snapshots, done by this daemon.

use futures_util::stream::unfold;
use jiff::Timestamp;
use offtake_admin::jobs::{
    Asking, JobRefused as Refused, JobsWanted, Linkable, LinkableFile, RepeatableKey,
};
use offtake_admin::snapshots::{
    Snapshot, SnapshotArchive, SnapshotKind, SnapshotTable, SnapshotWish, ValidSnapshot,
};
use offtake_admin::status::Long;
use offtake_admin::{Pieces, SnapshotAccess, StoredFile};
use offtake_jobs::snapshots::{self, Made, Options};
use offtake_jobs::stores::{Key, Reader};
use offtake_jobs::{Job, Kind, PublicId, Store, archive, job};

use super::export_access::bytes_of;
use super::job_access::{JobAccess, Recorded, dialled, kept_until, of_source, of_store, unfit};
use crate::export_item::state_of;
use crate::export_wish::{chosen, expect_rows, spelt};

#[derive(Clone)]
pub(super) struct Access(pub(super) JobAccess);

impl SnapshotAccess for Access {
    fn create(&self, wish: SnapshotWish, repeatable: Option<RepeatableKey>) -> Asking<Snapshot> {
        let this = self.clone();
        Box::pin(async move { this.record(&wish, repeatable.as_ref()).await })
    }

    fn list(&self, of: JobsWanted) -> Asking<Vec<Snapshot>> {
        let Self(jobs) = self.clone();
        Box::pin(async move { Ok(jobs.list(&of).await?.iter().map(item).collect()) })
    }

    fn one(&self, id: String) -> Asking<Snapshot> {
        let this = self.clone();
        Box::pin(async move { Ok(item(&this.0.found(&id).await?.1)) })
    }

    fn validate(&self, id: String) -> Asking<ValidSnapshot> {
        let this = self.clone();
        Box::pin(async move {
            let Complete { id, store, .. } = this.completed(&id).await?;
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
            let (id, job) = this.0.found(&id).await?;
            let mut source = this.0.source().await?;
            // One that goes on is ended by the process that works on it, and a daemon deletes what
            // it has left.
            let keep = Some(std::time::Duration::ZERO);
            let cancelled = job::cancel(&mut source, Kind::Snapshot, &id, keep).await;
            if cancelled.map_err(of_source)?.is_some() {
                return Ok(());
            }
            let retired = job::retire(&source, Kind::Snapshot, &id).await.map_err(of_source)?;
            drop(source);
            if retired && let Ok(store) = this.0.store_of(&job) {
                // A daemon tries again: what is retired is expired.
                snapshots::delete(store, &id).await.map_err(|error| of_store(&error))?;
                job::expire(&this.0.pool, Kind::Snapshot, &id).await.map_err(of_source)?;
            }
            Ok(())
        })
    }

    fn archive(&self, id: String) -> Asking<StoredFile> {
        let this = self.clone();
        Box::pin(async move {
            let Complete { id, store, made, .. } = this.completed(&id).await?;
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

    fn links(&self, id: String, until: Timestamp) -> Asking<Linkable> {
        let this = self.clone();
        Box::pin(async move {
            let Complete { id, job, store, .. } = this.completed(&id).await?;
            let (until, lasts) = kept_until(&job, until);
            let name = format!("{id}.tar.zst");
            let saved_as = Key::new(name.as_str());
            let url = store.link(&snapshots::archive_key(&id), lasts, saved_as.as_ref());
            Ok(Linkable { until, files: vec![LinkableFile { name, url }] })
        })
    }
}

/// A snapshot whose file can be fetched.
struct Complete {
    id: PublicId,
    job: Job,
    store: Store,
    made: Made,
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
        let of_source = wish.kind == Some(SnapshotKind::Source);
        if of_source && !wish.mappings.is_empty() {
            return Err(Refused::Wrong(
                "a snapshot of the kind source has tables of the source: leave out `mappings`"
                    .to_owned(),
            ));
        }
        let configuration = self.0.configuration.borrow().clone();
        let default = configuration.snapshots.default_store(&configuration.stores);
        let store = self.0.named(wish.store.as_deref(), default)?;
        let mut source = dialled(&configuration).await?;
        if let Some(job) = self.0.repeated(&source, tenant, repeatable).await? {
            return Ok(item(&job));
        }
        let set = self.0.mappings.borrow().clone();
        let refused = |why| unfit(&set, tenant, why);
        let names = chosen(&set, &wish.mappings).map_err(refused)?;
        let tenant_at_source = spelt(&source, &set, tenant).await.map_err(refused)?;
        if !wish.allow_empty && !of_source {
            let rows = expect_rows(&source, &set, &names, &tenant_at_source).await;
            rows.map_err(refused)?;
        }
        let options = Options {
            kind: of_source.then(|| archive::Kind::Source.as_str().to_owned()),
            mappings: wish.mappings.clone(),
            allow_empty: wish.allow_empty,
            ..Options::default()
        };
        let options = serde_json::to_value(options).unwrap_or_default();
        let new = Recorded {
            tenant,
            tenant_at_source: &tenant_at_source,
            store,
            options: &options,
            repeatable,
            queue: None,
        };
        Ok(item(&self.0.record(&mut source, new).await?))
    }

    async fn completed(&self, id: &str) -> Result<Complete, Refused> {
        let (id, job) = self.0.completed(id).await?;
        let made = Made::of(&job).ok_or_else(gone)?;
        let store = self.0.store_of(&job)?.clone();
        Ok(Complete { id, job, store, made })
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

fn pieces(store: Store, key: Key, (from, length): (u64, u64)) -> Pieces {
    enum Reading {
        At(Store, Key, u64, u64),
        Of(Reader),
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
        sequence_id: Long(made.sequence_id),
        epoch: made.epoch,
        size: made.size,
        sha256: made.sha256,
        rows: made.rows,
        bytes: made.bytes,
        narrowed: made.narrowed,
        tables: made
            .tables
            .into_iter()
            .map(|table| SnapshotTable { mapping: table.mapping, rows: table.rows })
            .collect(),
    });
    Snapshot {
        id: job.public_id.clone(),
        tenant: job.tenant_id.clone(),
        kind: match options.kind() {
            Some(archive::Kind::Source) => SnapshotKind::Source,
            Some(archive::Kind::Rows) | None => SnapshotKind::Rows,
        },
        state: state_of(job.state),
        reason: job.reason.clone(),
        store: job.store.clone(),
        scheduled: options.scheduled,
        created_at: job.created_at,
        finished_at: job.finished_at,
        archive: made,
    }
}
