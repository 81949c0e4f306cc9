//! What HTTP asks the daemon of exports: it has the stores, the mappings and the settings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use offtake_admin::exports::{
    Asking, Export, ExportAccess, ExportRefused, ExportWish, ExportsWanted, RepeatableKey,
};
use offtake_admin::{Pieces, StoredFile};
use offtake_jobs::exports::{
    CHUNK_ROWS_MAX, Compression, FileReader, Format, Manifest, ManifestFile, Place, read_manifest,
};
use offtake_jobs::job::{self, Created, Filter, NewJob, Repeatable};
use offtake_jobs::stores::{Key, Trouble};
use offtake_jobs::{Job, Kind, PublicId, State, Store, stores};
use offtake_mapping::{MappingSet, foreign};
use offtake_postgres::{Connection, Dialer, PooledConnection, SourcePool};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::configuration::Configuration;
use crate::export_item::{item, job_state};
use crate::export_wish::{Fit, Unfit, Wish, unfit_callback};

/// The longest look at whether a tenant has rows.
const LOOK_WITHIN: &str = "set statement_timeout = '8s'";

#[derive(Clone)]
pub(super) struct Access {
    pub(super) pool: SourcePool,
    pub(super) configuration: watch::Receiver<Arc<Configuration>>,
    pub(super) mappings: watch::Receiver<Arc<MappingSet>>,
    pub(super) stores: Vec<Store>,
}

impl ExportAccess for Access {
    fn create(&self, wish: ExportWish, key: Option<RepeatableKey>) -> Asking<Export> {
        let this = self.clone();
        Box::pin(async move { this.created(&wish, key.as_ref()).await })
    }

    fn list(&self, of: ExportsWanted) -> Asking<Vec<Export>> {
        let this = self.clone();
        Box::pin(async move {
            let known = |id: &String| PublicId::parse(Kind::Export, id).is_some();
            if of.after.as_ref().is_some_and(|after| !known(after)) {
                let why = "`after` is not the `next` of a page";
                return Err(ExportRefused::Wrong(why.to_owned()));
            }
            let filter = Filter {
                tenant: of.tenant.as_deref(),
                state: of.state.and_then(job_state),
                after: of.after.as_deref(),
                limit: of.limit,
            };
            let source = this.source().await?;
            let jobs = job::list(&source, Kind::Export, filter).await.map_err(of_source)?;
            Ok(jobs.iter().map(item).collect())
        })
    }

    fn one(&self, id: String) -> Asking<Export> {
        let this = self.clone();
        Box::pin(async move { Ok(item(&this.found(&id).await?.1)) })
    }

    fn cancel(&self, id: String) -> Asking<Export> {
        let this = self.clone();
        Box::pin(async move {
            let (id, job) = this.found(&id).await?;
            let keep = this.configuration.borrow().exports.keep;
            let keep = keep.filter(|_| job.folder.is_none());
            let mut source = this.source().await?;
            let state = job::cancel(&mut source, Kind::Export, &id, keep).await;
            let state = state.map_err(of_source)?;
            drop(source);
            if state.is_none() {
                let why = format!("the export is {} already", job.state.as_str());
                return Err(ExportRefused::Conflict(why));
            }
            Ok(item(&this.found(id.as_str()).await?.1))
        })
    }

    fn resume(&self, id: String) -> Asking<Export> {
        let this = self.clone();
        Box::pin(async move {
            let (id, job) = this.found(&id).await?;
            if job.folder.is_some() {
                return Err(of_command(&id, "resume"));
            }
            let source = this.source().await?;
            let resumed = job::resume(&source, Kind::Export, &id).await.map_err(of_source)?;
            drop(source);
            if !resumed {
                return Err(ExportRefused::Conflict(not_resumed(&job)));
            }
            Ok(item(&this.found(id.as_str()).await?.1))
        })
    }

    fn delete(&self, id: String) -> Asking<()> {
        let this = self.clone();
        Box::pin(async move {
            let (id, job) = this.found(&id).await?;
            if job.folder.is_some() {
                return Err(of_command(&id, "delete"));
            }
            let store = this.store_of(&job)?;
            let retired = {
                let source = this.source().await?;
                job::retire(&source, Kind::Export, &id).await.map_err(of_source)?
            };
            if !retired {
                let why = "a daemon works on the export; cancel it, and delete it then";
                return Err(ExportRefused::Conflict(why.to_owned()));
            }
            if let Some(below) = Key::new(id.as_str()) {
                // A daemon tries again: what is retired is expired.
                store.delete_all(&below).await.map_err(|error| of_store(&error))?;
            }
            let source = this.source().await?;
            job::delete(&source, Kind::Export, &id).await.map_err(of_source)
        })
    }

    fn manifest(&self, id: String) -> Asking<String> {
        let this = self.clone();
        Box::pin(async move { Ok(this.completed(&id).await?.1.to_text()) })
    }

    fn file(&self, id: String, name: String) -> Asking<StoredFile> {
        let this = self.clone();
        Box::pin(async move {
            let (store, manifest) = this.completed(&id).await?;
            let file = manifest.file(&name).ok_or_else(|| {
                let names: Vec<&str> = manifest.files.iter().map(|f| f.name.as_str()).collect();
                let why = format!("the export has no such file; it has {}", names.join(", "));
                ExportRefused::Missing(why)
            })?;
            if manifest.compression == Compression::Zstd && file.parts.len() > 1 {
                let why = "its parts are frames of their own, behind the first of which many \
                           readers stop; `offtake export download` makes one frame of them";
                return Err(ExportRefused::Conflict(why.to_owned()));
            }
            Ok(stored(store, file))
        })
    }

    fn store_links(&self, id: String, valid: Duration) -> Asking<BTreeMap<String, String>> {
        let this = self.clone();
        Box::pin(async move {
            let (store, manifest) = this.completed(&id).await?;
            let link = |file: &ManifestFile| {
                let [part] = &file.parts[..] else { return None };
                let name = Key::new(file.name.as_str());
                let url = store.link(&Key::new(part.object.as_str())?, valid, name.as_ref())?;
                Some((file.name.clone(), url))
            };
            Ok(manifest.files.iter().filter_map(link).collect())
        })
    }
}

impl Access {
    async fn created(
        &self,
        wish: &ExportWish,
        key: Option<&RepeatableKey>,
    ) -> Result<Export, ExportRefused> {
        let (tenant, format) = required(wish)?;
        let repeatable =
            key.map(|RepeatableKey { key, request_sha256 }| Repeatable { key, request_sha256 });
        let configuration = self.configuration.borrow().clone();
        let settings = &configuration.exports;
        let store = self.named(wish.store.as_deref().or(settings.store.as_deref()))?;
        if let Some(callback) = &wish.callback
            && let Some(why) = unfit_callback(settings, &callback.url)
        {
            return Err(ExportRefused::Wrong(format!("`callback`: {why}")));
        }
        let source = dialled(&configuration).await?;
        if let Some(repeatable) = repeatable
            && let Some(created) = job::repeated(&source, repeatable).await.map_err(of_source)?
        {
            return self.answered(created, tenant).await;
        }
        let queued = job::queued(&source, Kind::Export).await.map_err(of_source)?;
        if queued >= i64::from(settings.queue) {
            let why = format!("{queued} exports wait, and `exports.queue` allows no more");
            return Err(ExportRefused::Full(why));
        }
        let set = self.mappings.borrow().clone();
        let looked_at = Wish {
            tenant,
            format,
            mappings: &wish.mappings,
            compression: compression_of(wish)?,
            state: wish.state,
            inserts: wish.inserts,
            schema: wish.schema,
            chunk_rows: wish.chunk_rows.unwrap_or(settings.chunk_rows),
            require_consistent: wish.require_consistent,
            callback: wish.callback.as_ref().map(|callback| callback.url.as_str()),
        };
        let fit = looked_at.fit(&source, &set).await;
        let Fit { tenant_at_source, options } = fit.map_err(|why| unfit(&set, tenant, why))?;
        let options = serde_json::to_value(options).unwrap_or_default();
        let new = NewJob {
            kind: Kind::Export,
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

    async fn answered(&self, created: Created, tenant: &str) -> Result<Export, ExportRefused> {
        match created {
            Created::Job(id) => Ok(item(&self.found(id.as_str()).await?.1)),
            Created::Repeated(id) => Ok(item(&self.found(&id).await?.1)),
            Created::Running(id) => {
                let why = format!("the tenant {} has an export that goes on", foreign(tenant));
                Err(ExportRefused::Running { why, id })
            }
            Created::KeyUsed => {
                let why = "this `Idempotency-Key` was used for another request within a day";
                Err(ExportRefused::KeyUsed(why.to_owned()))
            }
        }
    }

    /// The store of a wish. Stores are the operator's: only their names come from a client.
    fn named(&self, name: Option<&str>) -> Result<&Store, ExportRefused> {
        let names: Vec<&str> = self.stores.iter().map(Store::name).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let Some(name) = name else {
            let why =
                format!("say `store`, as `exports.store` is not set; the stores are: {names}");
            return Err(ExportRefused::Wrong(why));
        };
        self.stores.iter().find(|store| store.name() == name).ok_or_else(|| {
            let why = format!("there is no store named {}; the stores are: {names}", foreign(name));
            ExportRefused::Missing(why)
        })
    }

    fn store_of(&self, job: &Job) -> Result<&Store, ExportRefused> {
        let name = job.store.as_deref();
        self.stores.iter().find(|store| Some(store.name()) == name).ok_or_else(|| {
            let name = foreign(name.unwrap_or_default());
            ExportRefused::Unavailable(format!("this daemon does not have the store {name}"))
        })
    }

    async fn source(&self) -> Result<PooledConnection, ExportRefused> {
        self.pool.get().await.map_err(of_source)
    }

    async fn found(&self, id: &str) -> Result<(PublicId, Job), ExportRefused> {
        let missing = || ExportRefused::Missing("there is no such export".to_owned());
        let id = PublicId::parse(Kind::Export, id).ok_or_else(missing)?;
        let source = self.source().await?;
        let job = job::read(&source, Kind::Export, &id).await.map_err(of_source)?;
        Ok((id, job.ok_or_else(missing)?))
    }

    /// The store and the manifest of an export whose files can be fetched.
    async fn completed(&self, id: &str) -> Result<(Store, Manifest), ExportRefused> {
        let (id, job) = self.found(id).await?;
        match job.state {
            State::Completed => {}
            State::Expired => {
                return Err(ExportRefused::Gone("its files were deleted".to_owned()));
            }
            other => {
                let why = format!("the export is {}, and has no files yet", other.as_str());
                return Err(ExportRefused::Conflict(why));
            }
        }
        if let Some(folder) = &job.folder {
            let why = format!("its files are in {}, where its command ran", foreign(folder));
            return Err(ExportRefused::Conflict(why));
        }
        let store = self.store_of(&job)?.clone();
        let place = Place::Store { id: &id, attempt: job.attempt };
        match read_manifest(&store, place).await {
            Ok(Ok(manifest)) => Ok((store, manifest)),
            Ok(Err(why)) => {
                Err(ExportRefused::Unavailable(format!("its manifest cannot be used: {why}")))
            }
            Err(error) => Err(of_store(&error)),
        }
    }
}

/// What a wish must say, and within which bounds.
fn required(wish: &ExportWish) -> Result<(&str, Format), ExportRefused> {
    let wrong = |why: &str| Err(ExportRefused::Wrong(why.to_owned()));
    let formats = "`format` is csv, ndjson, json or sql";
    let Some(tenant) = wish.tenant.as_deref().filter(|tenant| !tenant.is_empty()) else {
        return wrong("say the `tenant` whose rows are written");
    };
    let asked = wish.format.and_then(|format| serde_json::to_value(format).ok());
    let Some(format) = asked.and_then(|format| serde_json::from_value(format).ok()) else {
        return wrong(formats);
    };
    if wish.state && format != Format::Sql {
        return wrong("only an SQL file can have the state of a destination; `format` must be sql");
    }
    if wish.inserts && format != Format::Sql {
        return wrong("only an SQL file has INSERT statements; `format` must be sql");
    }
    if wish.inserts && wish.state {
        return wrong("`state` is for Postgres, and `inserts` for other databases; leave one out");
    }
    if wish.chunk_rows.is_some_and(|rows| !(1..=CHUNK_ROWS_MAX).contains(&rows)) {
        return wrong("`chunk_rows` is from 1 to 10000000");
    }
    Ok((tenant, format))
}

/// The compression of the same name.
fn compression_of(wish: &ExportWish) -> Result<Compression, ExportRefused> {
    let named = serde_json::to_value(wish.compression).unwrap_or_default();
    serde_json::from_value(named)
        .map_err(|_| ExportRefused::Wrong("`compression` is another one".to_owned()))
}

pub(super) fn unfit(set: &MappingSet, tenant: &str, unfit: Unfit) -> ExportRefused {
    match unfit {
        Unfit::Mapping(name) => {
            let known: Vec<&str> = set.mappings().iter().map(|mapping| mapping.name()).collect();
            ExportRefused::Missing(format!(
                "there is no mapping named {}; the mappings are: {}",
                foreign(&name),
                known.join(", ")
            ))
        }
        Unfit::Ambiguous(spellings) => {
            let all: Vec<_> = spellings.iter().map(|id| foreign(id)).collect();
            ExportRefused::Wrong(format!(
                "{} may be the tenant {}: write the id as the source prints it",
                foreign(tenant),
                all.join(" or ")
            ))
        }
        Unfit::NoRows => {
            let tenant = foreign(tenant);
            ExportRefused::Missing(format!("no mapping has a row of the tenant {tenant}"))
        }
        Unfit::Source { what, error } => {
            ExportRefused::Unavailable(format!("{what}: {}", error.message()))
        }
    }
}

fn not_resumed(job: &Job) -> String {
    match job.state {
        State::Failed | State::Cancelled | State::Paused => {
            "its parts are being deleted, or the tenant has another export that goes on".to_owned()
        }
        other => format!("the export is {}", other.as_str()),
    }
}

fn of_command(id: &PublicId, what: &str) -> ExportRefused {
    let why = format!("a command writes it to a folder; run `offtake export {what} {id}` there");
    ExportRefused::Conflict(why)
}

/// A connection of its own: a look that is given up must not go on in one of the pool.
pub(super) async fn dialled(configuration: &Configuration) -> Result<Connection, ExportRefused> {
    let dialer = Dialer::trusted(configuration.sync.connect_timeout);
    let source = dialer.dial(&configuration.source.url, "offtake export").await;
    let source = source.map_err(of_source)?;
    source.batch_execute(LOOK_WITHIN).await.map_err(|error| of_source(error.into()))?;
    Ok(source)
}

pub(super) fn of_source(error: offtake_postgres::Error) -> ExportRefused {
    ExportRefused::Unavailable(format!("the source: {}", error.message()))
}

pub(super) fn of_store(error: &stores::Error) -> ExportRefused {
    match error.trouble {
        Trouble::Missing => ExportRefused::Gone("its files are not in the store".to_owned()),
        _ => ExportRefused::Unavailable(format!("the store: {error}")),
    }
}

/// A file of a manifest, to be served.
fn stored(store: Store, file: &ManifestFile) -> StoredFile {
    let mut parts = Sha256::new();
    file.parts.iter().for_each(|part| parts.update(&part.sha256));
    let opened = file.clone();
    StoredFile {
        name: file.name.clone(),
        kind: kind_of(&file.name),
        size: file.size,
        etag: hex(&parts.finalize()),
        sha256: bytes_of(&file.sha256),
        open: Box::new(move |from, length| pieces(&store, &opened, from, length)),
    }
}

/// The media type of what is stored. It is never told as an encoding: a client would unpack it on
/// the way, and its size and hashes would be others.
fn kind_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or(name, |(_, ending)| ending) {
        "gz" => "application/gzip",
        "zst" => "application/zstd",
        "csv" => "text/csv; charset=utf-8",
        "ndjson" => "application/x-ndjson",
        "json" => "application/json",
        "sql" => "application/sql",
        _ => "application/octet-stream",
    }
}

fn pieces(store: &Store, file: &ManifestFile, from: u64, length: u64) -> Pieces {
    let reader = FileReader::new(store, file, from, length);
    let unusable = reader.is_none().then(|| "a part has no usable name".to_owned());
    let failed = futures_util::stream::iter(unusable.map(Err));
    let read = unfold(reader, async |reader| {
        let mut reader = reader?;
        match reader.next().await {
            Ok(bytes) => Some((Ok(bytes?), Some(reader))),
            Err(error) => Some((Err(error.to_string()), None)),
        }
    });
    Box::pin(futures_util::StreamExt::chain(failed, read))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use offtake_admin::exports::ExportState;

    use super::*;

    #[test]
    fn every_state_format_and_compression_has_its_counterpart() {
        assert!(ExportState::ALL.iter().all(|state| job_state(*state).is_some()));
        for format in Format::ALL {
            let named = serde_json::json!({ "tenant": "acme", "format": format.as_str() });
            let wish: ExportWish = serde_json::from_value(named).unwrap();
            assert_eq!(required(&wish).unwrap(), ("acme", format));
        }
        // A file is served as its parts are, and those of zstd are frames of their own.
        for compression in Compression::ALL.into_iter().filter(|one| *one != Compression::Zstd) {
            let named = serde_json::json!({ "compression": compression.as_str() });
            let wish: ExportWish = serde_json::from_value(named).unwrap();
            assert_eq!(compression_of(&wish).unwrap(), compression);
        }
        assert_eq!(bytes_of(&"0f".repeat(32)), Some([15; 32]));
        assert_eq!(bytes_of("0f"), None);
        assert_eq!(hex(&[15, 160]), "0fa0");
    }
}
