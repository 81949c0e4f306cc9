//! The end of an export: what stands around the rows, the manifest, and the files of a command.
//!
//! Everything is written under names with this attempt's number. Then the job's row says that it is
//! completed, and with which attempt: that is the commit. What comes behind it, only the worker does
//! whose attempt that was: it deletes what is not needed any more, and a command's files get their
//! names. A late worker is refused by the row, and so it deletes and replaces nothing.

use offtake_loops::failpoint;
use serde_json::{Value, json};

use super::encode::csv_header;
use super::hashes::{EarlyHash, FileHash};
use super::joined::write_whole;
use super::manifest::{ManifestColumn, ManifestMapping, manifest_name};
use super::options::Format;
use super::parts::{apart, key_of};
use super::record::{self, Finish, Part};
use super::verify::read_manifest_at;
use super::work::{Parts, Told, Work};
use super::{Error, Manifest, ManifestFile, ManifestPart, sql_file};
use crate::Store;
use crate::job::State;
use crate::stores::{self, Existing, Key, Trouble};

impl Work<'_> {
    /// Writes what is still missing, and ends the job. Returns what an operator should know.
    pub(super) async fn complete(
        &self,
        parts: &mut Parts,
        consistency: &str,
    ) -> Result<Completed, Error> {
        (self.tell)(Told::Finishing);
        let files = self.files(parts).await?;
        let ids = parts.all.iter().map(|part| part.sequence_id);
        let (first, last) = (ids.clone().min().unwrap_or(0), ids.max().unwrap_or(0));
        let mut manifest = Manifest {
            offtake_export: Manifest::VERSION,
            id: self.job.public_id.clone(),
            tenant: self.job.tenant_id.clone(),
            created_at: Manifest::now(),
            format: self.options.format,
            compression: self.options.compression,
            consistency: consistency.to_owned(),
            sequence_id: last.to_string(),
            from_sequence_id: first.to_string(),
            epoch: parts.epoch.clone(),
            mappings: self.manifest_mappings(parts),
            files,
        };
        if self.job.folder.is_some() {
            for file in &mut manifest.files {
                let name = whole_name(&self.job.public_id, self.lease.attempt, &file.name);
                write_whole(self.store, &key_of(&name)?, file, manifest.compression).await?;
            }
        }
        failpoint("export.before_manifest").await?;
        let key = key_of(&manifest_name(&self.job.public_id, self.lease.attempt))?;
        self.store.put(&key, manifest.to_text().into(), Existing::Replace).await?;
        let warning = (consistency == "none").then(|| {
            "the rows changed faster than they could be read, so the files are not of one moment"
                .to_owned()
        });
        let finish = Finish {
            state: State::Completed,
            reason: warning.as_deref(),
            consistency: Some(consistency),
            from_sequence_id: Some(first),
            sequence_id: Some(last),
            files: Some(files_of(&manifest)),
            keep: self.settings.keep.filter(|_| self.job.folder.is_none()),
        };
        record::finish(self.pool, self.lease, &finish).await?;
        Ok(Completed { warning, manifest: Box::new(manifest) })
    }

    /// What follows once the job is completed, and is no part of it: a worker that dies here leaves a
    /// completed export. Its files have their names after `offtake export resume`, and objects that
    /// the manifest does not name are deleted with the others.
    pub(super) async fn tidy(&self, manifest: &Manifest) -> Result<(), Error> {
        failpoint("export.after_end").await?;
        match &self.job.folder {
            Some(_) => {
                let name = self.options.manifest_file();
                deliver(self.store, &self.prefix()?, self.lease.attempt, &name).await
            }
            None => self.delete_orphans(manifest).await,
        }
    }

    fn manifest_mappings(&self, parts: &Parts) -> Vec<ManifestMapping> {
        let of = |mapping: &std::sync::Arc<offtake_mapping::ResolvedMapping>| {
            let columns = mapping.columns.iter().map(|column| ManifestColumn {
                name: column.name.as_str().to_owned(),
                sql_type: column.target_type.clone(),
            });
            let its = parts.all.iter().filter(|part| part.mapping == mapping.name());
            ManifestMapping {
                name: mapping.name().to_owned(),
                version: mapping.version.to_string(),
                columns: columns.collect(),
                key: mapping.target_key().iter().map(|name| name.as_str().to_owned()).collect(),
                rows: its.map(|part| part.rows).sum(),
            }
        };
        self.mappings.iter().map(of).collect()
    }

    /// The files, each of its parts in their order. What stands around the rows is written here.
    async fn files(&self, parts: &mut Parts) -> Result<Vec<ManifestFile>, Error> {
        let mut files: Vec<ManifestFile> = Vec::new();
        if self.options.format == Format::Sql {
            let name = self.options.file_of("");
            let mut pieces = vec![self.around(&name, "head", sql_file::head(self)).await?];
            for mapping in self.mappings {
                if self.options.inserts {
                    pieces.extend(rows_of(parts, mapping.name()));
                    continue;
                }
                let text = sql_file::copy(self, mapping);
                pieces.push(self.around(&name, &format!("{}.copy", mapping.name()), text).await?);
                pieces.extend(rows_of(parts, mapping.name()));
                let end = format!("{}.end", mapping.name());
                pieces.push(self.around(&name, &end, sql_file::COPY_END.to_vec()).await?);
            }
            let from = parts.all.iter().map(|part| part.sequence_id).min().unwrap_or(0);
            let foot = sql_file::foot(self, from, &parts.epoch);
            pieces.push(self.around(&name, "foot", foot).await?);
            files.push(self.hashed(name, pieces, None).await?);
            return Ok(files);
        }
        for mapping in self.mappings {
            let name = self.options.file_of(mapping.name());
            let rows = rows_of(parts, mapping.name());
            let pieces = match self.options.format {
                Format::Csv => {
                    let head = self.around(&name, "head", csv_header(mapping)).await?;
                    std::iter::once(head).chain(rows).collect()
                }
                Format::Json => {
                    let mut pieces = vec![self.around(&name, "head", b"[\n".to_vec()).await?];
                    for (at, part) in rows.into_iter().enumerate() {
                        if at > 0 {
                            pieces.push(self.around(&name, "comma", b",\n".to_vec()).await?);
                        }
                        pieces.push(part);
                    }
                    pieces.push(self.around(&name, "foot", b"\n]\n".to_vec()).await?);
                    pieces
                }
                Format::Ndjson | Format::Sql if rows.is_empty() => {
                    vec![self.around(&name, "empty", Vec::new()).await?]
                }
                Format::Ndjson | Format::Sql => rows,
            };
            let early = parts.hashes.remove(mapping.name());
            files.push(self.hashed(name, pieces, early).await?);
        }
        if self.options.schema && self.options.format != Format::Sql {
            let name = self.options.schema_file();
            let text = sql_file::tables(self).into_bytes();
            let tables = vec![self.around(&name, "tables", text).await?];
            files.push(self.hashed(name, tables, None).await?);
        }
        Ok(files)
    }

    /// Writes what stands around the rows as an object.
    async fn around(&self, file: &str, what: &str, text: Vec<u8>) -> Result<ManifestPart, Error> {
        let encoded = apart(self.options.compression, move || text).await?;
        let key = self.key(&format!("{file}/{what}.a{}", self.lease.attempt))?;
        let size = encoded.bytes.len() as u64;
        self.store.put(&key, encoded.bytes, Existing::Replace).await?;
        Ok(ManifestPart {
            object: key.as_str().to_owned(),
            size,
            sha256: encoded.sha256,
            rows: 0,
            mapping: None,
            after: None,
            up_to: None,
            sequence_id: None,
        })
    }

    /// A file's entry in the manifest. Where its hash is not known yet, the parts are read once more,
    /// for that and to see that each is what was written.
    async fn hashed(
        &self,
        name: String,
        parts: Vec<ManifestPart>,
        early: Option<EarlyHash>,
    ) -> Result<ManifestFile, Error> {
        let size = parts.iter().map(|part| part.size).sum();
        let rows = parts.iter().map(|part| part.rows).sum();
        if let Some(early) = early
            && let Some(sha256) = early.end(&parts).await
        {
            return Ok(ManifestFile { name, size, sha256, rows, parts });
        }
        let hash = FileHash::begin();
        for part in &parts {
            let read = match hash.read_part(self.store, part).await {
                Err(error) if error.trouble == Trouble::Missing => Ok(false),
                read => read,
            };
            if !read? {
                let object = Some(part.object.as_str());
                record::invalidate(self.pool, self.lease, i64::MIN, object).await?;
                let what = format!("the object {} is not what was written", part.object);
                return Err(Error::Store(stores::Error::unusable(what)));
            }
        }
        Ok(ManifestFile { name, size, sha256: hash.end().await?, rows, parts })
    }

    /// Deletes what was written and the manifest does not name.
    async fn delete_orphans(&self, manifest: &Manifest) -> Result<(), Error> {
        let named: std::collections::HashSet<&str> = manifest
            .files
            .iter()
            .flat_map(|file| file.parts.iter().map(|part| part.object.as_str()))
            .collect();
        let manifest = key_of(&manifest_name(&self.job.public_id, self.lease.attempt))?;
        for object in self.store.list(&self.prefix()?).await? {
            if object.key != manifest && !named.contains(object.key.as_str()) {
                failpoint("export.tidying").await?;
                self.store.delete(&object.key).await?;
            }
        }
        Ok(())
    }
}

/// A mapping's parts that have rows, in key order.
fn rows_of(parts: &Parts, mapping: &str) -> Vec<ManifestPart> {
    let of = |part: &Part| {
        Some(ManifestPart {
            object: part.object.clone()?,
            size: u64::try_from(part.bytes).unwrap_or(0),
            sha256: part.sha256.clone()?,
            rows: part.rows,
            mapping: Some(part.mapping.clone()),
            after: part.after.clone(),
            up_to: part.up_to.clone(),
            sequence_id: Some(part.sequence_id.to_string()),
        })
    };
    parts.all.iter().filter(|part| part.mapping == mapping).filter_map(of).collect()
}

/// What a job's row keeps of its files.
fn files_of(manifest: &Manifest) -> Value {
    let told = |file: &ManifestFile| {
        let ManifestFile { name, size, sha256, rows, .. } = file;
        json!({ "name": name, "size": size, "sha256": sha256, "rows": rows })
    };
    manifest.files.iter().map(told).collect()
}

/// A completed export.
pub(super) struct Completed {
    pub(super) warning: Option<String>,
    pub(super) manifest: Box<Manifest>,
}

fn whole_name(id: &str, attempt: i64, file: &str) -> String {
    format!("{id}/whole.a{attempt}/{file}")
}

/// Gives the files of a command's completed export their names, the manifest last, and deletes its
/// parts. `attempt` is that which completed it. What was done before an interruption is not done
/// again, and a file that is somebody else's is not replaced.
pub async fn deliver(
    store: &Store,
    id: &Key,
    attempt: i64,
    manifest_file: &str,
) -> Result<(), Error> {
    let written = key_of(&manifest_name(id.as_str(), attempt))?;
    let manifest = match read_manifest_at(store, &written).await {
        // It has its name already.
        Err(error) if error.trouble == Trouble::Missing => return Ok(store.delete_all(id).await?),
        manifest => manifest?.map_err(|why| stores::Error::unreadable(&written, why))?,
    };
    for file in &manifest.files {
        let whole = key_of(&whole_name(id.as_str(), attempt, &file.name))?;
        store.rename(&whole, &key_of(&file.name)?).await?;
    }
    store.rename(&written, &key_of(manifest_file)?).await?;
    Ok(store.delete_all(id).await?)
}
