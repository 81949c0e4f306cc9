//! What HTTP asks the daemon of exports: it has the stores, the mappings and the settings.

use futures_util::stream::unfold;
use jiff::Timestamp;
use offtake_admin::exports::{Export, ExportAccess, ExportWish};
use offtake_admin::jobs::{Asking, JobRefused, JobsWanted, Linkable, LinkableFile, RepeatableKey};
use offtake_admin::{Pieces, StoredFile};
use offtake_jobs::exports::{
    CHUNK_ROWS_MAX, Compression, FileReader, Format, Manifest, ManifestFile, Place, read_manifest,
};
use offtake_jobs::stores::Key;
use offtake_jobs::{Job, Kind, PublicId, State, Store, job};
use offtake_mapping::foreign;
use sha2::{Digest as _, Sha256};

use super::job_access::{JobAccess, Recorded, dialled, kept_until, of_source, of_store, unfit};
use crate::export_item::item;
use crate::export_wish::{Fit, Wish, unfit_callback};

#[derive(Clone)]
pub(super) struct Access(pub(super) JobAccess);

impl ExportAccess for Access {
    fn create(&self, wish: ExportWish, key: Option<RepeatableKey>) -> Asking<Export> {
        let this = self.clone();
        Box::pin(async move { this.created(&wish, key.as_ref()).await })
    }

    fn list(&self, of: JobsWanted) -> Asking<Vec<Export>> {
        let Self(jobs) = self.clone();
        Box::pin(async move { Ok(jobs.list(&of).await?.iter().map(item).collect()) })
    }

    fn one(&self, id: String) -> Asking<Export> {
        let this = self.clone();
        Box::pin(async move { Ok(item(&this.0.found(&id).await?.1)) })
    }

    fn cancel(&self, id: String) -> Asking<Export> {
        let this = self.clone();
        Box::pin(async move {
            let (id, job) = this.0.found(&id).await?;
            let keep = this.0.configuration.borrow().exports.keep;
            let keep = keep.filter(|_| job.folder.is_none());
            let mut source = this.0.source().await?;
            let state = job::cancel(&mut source, Kind::Export, &id, keep).await;
            let state = state.map_err(of_source)?;
            drop(source);
            if state.is_none() {
                let why = format!("the export is {} already", job.state.as_str());
                return Err(JobRefused::Conflict(why));
            }
            Ok(item(&this.0.found(id.as_str()).await?.1))
        })
    }

    fn resume(&self, id: String) -> Asking<Export> {
        let this = self.clone();
        Box::pin(async move {
            let (id, job) = this.0.found(&id).await?;
            if job.folder.is_some() {
                return Err(of_command(&id, "resume"));
            }
            let source = this.0.source().await?;
            let resumed = job::resume(&source, Kind::Export, &id).await.map_err(of_source)?;
            drop(source);
            if !resumed {
                return Err(JobRefused::Conflict(not_resumed(&job)));
            }
            Ok(item(&this.0.found(id.as_str()).await?.1))
        })
    }

    fn delete(&self, id: String) -> Asking<()> {
        let this = self.clone();
        Box::pin(async move {
            let (id, job) = this.0.found(&id).await?;
            if job.folder.is_some() {
                return Err(of_command(&id, "delete"));
            }
            let store = this.0.store_of(&job)?;
            let retired = {
                let source = this.0.source().await?;
                job::retire(&source, Kind::Export, &id).await.map_err(of_source)?
            };
            if !retired {
                let why = "a daemon works on the export; cancel it, and delete it then";
                return Err(JobRefused::Conflict(why.to_owned()));
            }
            if let Some(below) = Key::new(id.as_str()) {
                // A daemon tries again: what is retired is expired.
                store.delete_all(&below).await.map_err(|error| of_store(&error))?;
            }
            let source = this.0.source().await?;
            job::delete(&source, Kind::Export, &id).await.map_err(of_source)
        })
    }

    fn manifest(&self, id: String) -> Asking<String> {
        let this = self.clone();
        Box::pin(async move { Ok(this.completed(&id).await?.2.to_text()) })
    }

    fn file(&self, id: String, name: String) -> Asking<StoredFile> {
        let this = self.clone();
        Box::pin(async move {
            let (_, store, manifest) = this.completed(&id).await?;
            let file = manifest.file(&name).ok_or_else(|| {
                let names: Vec<&str> = manifest.files.iter().map(|f| f.name.as_str()).collect();
                let why = format!("the export has no such file; it has {}", names.join(", "));
                JobRefused::Missing(why)
            })?;
            if manifest.compression == Compression::Zstd && file.parts.len() > 1 {
                let why = "its parts are frames of their own, behind the first of which many \
                           readers stop; `offtake export download` makes one frame of them";
                return Err(JobRefused::Conflict(why.to_owned()));
            }
            Ok(stored(store, file))
        })
    }

    fn links(&self, id: String, until: Timestamp) -> Asking<Linkable> {
        let this = self.clone();
        Box::pin(async move {
            let (job, store, manifest) = this.completed(&id).await?;
            let (until, lasts) = kept_until(&job, until);
            let link = |file: &ManifestFile| {
                let [part] = &file.parts[..] else { return None };
                let name = Key::new(file.name.as_str());
                store.link(&Key::new(part.object.as_str())?, lasts, name.as_ref())
            };
            let linkable =
                |file: &ManifestFile| LinkableFile { name: file.name.clone(), url: link(file) };
            Ok(Linkable { until, files: manifest.files.iter().map(linkable).collect() })
        })
    }
}

impl Access {
    async fn created(
        &self,
        wish: &ExportWish,
        key: Option<&RepeatableKey>,
    ) -> Result<Export, JobRefused> {
        let (tenant, format) = required(wish)?;
        let configuration = self.0.configuration.borrow().clone();
        let settings = &configuration.exports;
        let store = self.0.named(wish.store.as_deref(), settings.store.as_deref())?;
        if let Some(callback) = &wish.callback
            && let Some(why) = unfit_callback(settings, &callback.url)
        {
            return Err(JobRefused::Wrong(format!("`callback`: {why}")));
        }
        let mut source = dialled(&configuration).await?;
        if let Some(job) = self.0.repeated(&source, tenant, key).await? {
            return Ok(item(&job));
        }
        // Counted again when it is recorded. A look at the tenant's rows costs more.
        let queued = job::queued(&source, Kind::Export).await.map_err(of_source)?;
        if queued >= i64::from(settings.queue) {
            return Err(self.0.full(queued));
        }
        let set = self.0.mappings.borrow().clone();
        let looked_at = Wish {
            tenant,
            format,
            mappings: &wish.mappings,
            compression: compression_of(wish)?.unwrap_or(settings.compression),
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
        let new = Recorded {
            tenant,
            tenant_at_source: &tenant_at_source,
            store,
            options: &options,
            repeatable: key,
            queue: Some(settings.queue),
        };
        Ok(item(&self.0.record(&mut source, new).await?))
    }

    /// An export whose files can be fetched, with its store and its manifest.
    async fn completed(&self, id: &str) -> Result<(Job, Store, Manifest), JobRefused> {
        let (id, job) = self.0.completed(id).await?;
        if let Some(folder) = &job.folder {
            let why = format!("its files are in {}, where its command ran", foreign(folder));
            return Err(JobRefused::Conflict(why));
        }
        let store = self.0.store_of(&job)?.clone();
        let place = Place::Store { id: &id, attempt: job.attempt };
        match read_manifest(&store, place).await {
            Ok(Ok(manifest)) => Ok((job, store, manifest)),
            Ok(Err(why)) => {
                Err(JobRefused::Unavailable(format!("its manifest cannot be used: {why}")))
            }
            Err(error) => Err(of_store(&error)),
        }
    }
}

/// What a wish must say, and within which bounds.
fn required(wish: &ExportWish) -> Result<(&str, Format), JobRefused> {
    let wrong = |why: &str| Err(JobRefused::Wrong(why.to_owned()));
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

/// The compression of the same name; None: it says none.
fn compression_of(wish: &ExportWish) -> Result<Option<Compression>, JobRefused> {
    let named = serde_json::to_value(wish.compression).unwrap_or_default();
    serde_json::from_value(named)
        .map_err(|_| JobRefused::Wrong("`compression` is another one".to_owned()))
}

fn not_resumed(job: &Job) -> String {
    match job.state {
        State::Failed | State::Cancelled | State::Paused => {
            "its parts are being deleted, or the tenant has another export that goes on".to_owned()
        }
        other => format!("the export is {}", other.as_str()),
    }
}

fn of_command(id: &PublicId, what: &str) -> JobRefused {
    let why = format!("a command writes it to a folder; run `offtake export {what} {id}` there");
    JobRefused::Conflict(why)
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
    use super::*;

    #[test]
    fn every_format_and_compression_has_its_counterpart() {
        for format in Format::ALL {
            let named = serde_json::json!({ "tenant": "acme", "format": format.as_str() });
            let wish: ExportWish = serde_json::from_value(named).unwrap();
            assert_eq!(required(&wish).unwrap(), ("acme", format));
        }
        // A file is served as its parts are, and those of zstd are frames of their own.
        for compression in Compression::ALL.into_iter().filter(|one| *one != Compression::Zstd) {
            let named = serde_json::json!({ "compression": compression.as_str() });
            let wish: ExportWish = serde_json::from_value(named).unwrap();
            assert_eq!(compression_of(&wish).unwrap(), Some(compression));
        }
        assert_eq!(bytes_of(&"0f".repeat(32)), Some([15; 32]));
        assert_eq!(bytes_of("0f"), None);
        assert_eq!(hex(&[15, 160]), "0fa0");
    }
}
