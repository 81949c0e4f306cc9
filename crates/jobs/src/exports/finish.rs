//! The end of an export: what stands around the rows, the manifest, and the files of a command.

use bytes::Bytes;
use offtake_loops::failpoint;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::encode::{csv_header, hex};
use super::manifest::{ManifestColumn, ManifestMapping};
use super::options::Format;
use super::parts::apart;
use super::record::{self, Finish, Part};
use super::work::{Parts, Told, Work};
use super::{Error, Manifest, ManifestFile, ManifestPart, sql_file};
use crate::Store;
use crate::job::State;
use crate::stores::{self, Existing, Key, Trouble};

impl Work<'_> {
    /// Writes the manifest and ends the job. Returns what an operator should know.
    pub(super) async fn complete(
        &self,
        parts: &Parts,
        consistency: &str,
    ) -> Result<Option<String>, Error> {
        (self.tell)(Told::Finishing);
        let files = self.files(parts).await?;
        let ids = parts.all.iter().map(|part| part.sequence_id);
        let (first, last) = (ids.clone().min().unwrap_or(0), ids.max().unwrap_or(0));
        let manifest = Manifest {
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
        failpoint("export.before_manifest").await?;
        let text = Bytes::from(manifest.to_text());
        match &self.job.folder {
            None => {
                let key = self.key("manifest.json")?;
                put_last(self.store, &key, text).await?;
                self.delete_orphans(&manifest).await?;
            }
            Some(_) => deliver(self.store, &manifest, text).await?,
        }
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
        if self.job.folder.is_some() {
            let below = Key::new(self.job.public_id.as_str());
            if let Some(below) = below {
                self.store.delete_all(&below).await?;
            }
        }
        Ok(warning)
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
    async fn files(&self, parts: &Parts) -> Result<Vec<ManifestFile>, Error> {
        let mut files: Vec<ManifestFile> = Vec::new();
        if self.options.format == Format::Sql {
            let name = self.options.file_of("");
            let mut pieces = vec![self.around(&name, "head", sql_file::head(self)).await?];
            for mapping in self.mappings {
                let text = sql_file::copy(self, mapping);
                pieces.push(self.around(&name, &format!("{}.copy", mapping.name()), text).await?);
                pieces.extend(rows_of(parts, mapping.name()));
                let end = format!("{}.end", mapping.name());
                pieces.push(self.around(&name, &end, sql_file::COPY_END.to_vec()).await?);
            }
            let from = parts.all.iter().map(|part| part.sequence_id).min().unwrap_or(0);
            let foot = sql_file::foot(self, from, &parts.epoch);
            pieces.push(self.around(&name, "foot", foot).await?);
            files.push(self.hashed(name, pieces).await?);
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
            files.push(self.hashed(name, pieces).await?);
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

    /// Reads the parts of a file once more, for its own hash and to see that each is what was
    /// written.
    async fn hashed(&self, name: String, parts: Vec<ManifestPart>) -> Result<ManifestFile, Error> {
        let mut whole = Sha256::new();
        for part in &parts {
            let read = read_part(self.store, part, |bytes| whole.update(bytes)).await;
            let read = match read {
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
        let size = parts.iter().map(|part| part.size).sum();
        let rows = parts.iter().map(|part| part.rows).sum();
        Ok(ManifestFile { name, size, sha256: hex(&whole.finalize()), rows, parts })
    }

    /// Deletes what earlier attempts wrote and the manifest does not name.
    async fn delete_orphans(&self, manifest: &Manifest) -> Result<(), Error> {
        let Some(prefix) = Key::new(self.job.public_id.as_str()) else { return Ok(()) };
        let named: std::collections::HashSet<&str> = manifest
            .files
            .iter()
            .flat_map(|file| file.parts.iter().map(|part| part.object.as_str()))
            .collect();
        let manifest = self.key("manifest.json")?;
        for object in self.store.list(&prefix).await? {
            if object.key != manifest && !named.contains(object.key.as_str()) {
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
    let file = |file: &ManifestFile| json!({ "name": file.name, "size": file.size, "sha256": file.sha256, "rows": file.rows });
    manifest.files.iter().map(file).collect()
}

/// Reads a part to its end. False: it is not what the manifest says.
pub(super) async fn read_part(
    store: &Store,
    part: &ManifestPart,
    mut each: impl FnMut(&[u8]),
) -> Result<bool, stores::Error> {
    let Some(key) = Key::new(part.object.as_str()) else { return Ok(false) };
    let mut reader = store.read(&key, 0, None).await?;
    if reader.left() != part.size {
        return Ok(false);
    }
    let mut hash = Sha256::new();
    while let Some(bytes) = reader.next().await? {
        hash.update(&bytes);
        each(&bytes);
    }
    Ok(hex(&hash.finalize()) == part.sha256)
}

/// Writes the manifest of an export in a store. One that is there is an earlier attempt's, whose
/// process died before it recorded the end: ours takes its place.
async fn put_last(store: &Store, key: &Key, text: Bytes) -> Result<(), stores::Error> {
    match store.put(key, text.clone(), Existing::Keep).await {
        Err(error) if error.trouble == Trouble::Exists => {
            store.delete(key).await?;
            store.put(key, text, Existing::Keep).await
        }
        put => put,
    }
}

/// Writes the files of a command into its folder, each as a whole, and then the manifest.
async fn deliver(store: &Store, manifest: &Manifest, text: Bytes) -> Result<(), Error> {
    for file in &manifest.files {
        let key = Key::new(file.name.as_str());
        let key = key.ok_or_else(|| Error::Mapping(format!("{} is no file name", file.name)))?;
        let mut writer = store.writer(&key).await?;
        for part in &file.parts {
            let Some(object) = Key::new(part.object.as_str()) else { continue };
            let mut reader = store.read(&object, 0, None).await?;
            while let Some(bytes) = reader.next().await? {
                writer.write(bytes).await?;
            }
        }
        writer.finish(Existing::Replace).await?;
    }
    let Some(key) = Key::new("manifest.json") else { return Ok(()) };
    Ok(store.put(&key, text, Existing::Replace).await?)
}
