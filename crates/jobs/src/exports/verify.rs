//! Are the files what the manifest says?

use sha2::{Digest as _, Sha256};

use super::encode::hex;
use super::hashes::FileHash;
use super::manifest::manifest_name;
use super::options::manifest_beside;
use super::{Manifest, ManifestFile};
use crate::stores::{self, Key, Trouble};
use crate::{PublicId, Store};

/// Where an export's files are.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// As parts, under the export's id. The attempt is that which completed it, as its row says.
    Store { id: &'a PublicId, attempt: i64 },
    /// As whole files, beside the manifest.
    Folder,
    /// As one file in a folder, with its manifest beside it.
    File(&'a str),
}

/// A manifest is no larger than this: some million parts.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub files: usize,
    pub rows: i64,
    pub bytes: u64,
    /// What is wrong, a sentence each.
    pub wrong: Vec<String>,
}

/// Reads an export's manifest.
pub async fn read_manifest(
    store: &Store,
    place: Place<'_>,
) -> Result<Result<Manifest, String>, stores::Error> {
    let name = match place {
        Place::Store { id, attempt } => manifest_name(id.as_str(), attempt),
        Place::Folder => manifest_beside(None),
        Place::File(name) => manifest_beside(Some(name)),
    };
    let Some(key) = Key::new(name) else { return Ok(Err("it has no place".to_owned())) };
    read_manifest_at(store, &key).await
}

pub(super) async fn read_manifest_at(
    store: &Store,
    key: &Key,
) -> Result<Result<Manifest, String>, stores::Error> {
    let bytes = store.get(key, MANIFEST_BYTES_MAX).await?;
    Ok(match std::str::from_utf8(&bytes) {
        Ok(text) => Manifest::parse(text),
        Err(_) => Err("it is not UTF-8".to_owned()),
    })
}

/// Reads every byte of an export, and compares sizes and hashes with its manifest.
pub async fn verify(store: &Store, place: Place<'_>) -> Result<Checked, stores::Error> {
    let mut checked = Checked { files: 0, rows: 0, bytes: 0, wrong: Vec::new() };
    let manifest = match read_manifest(store, place).await? {
        Ok(manifest) => manifest,
        Err(why) => {
            checked.wrong.push(format!("the manifest cannot be used: {why}"));
            return Ok(checked);
        }
    };
    for file in &manifest.files {
        let wrong = match place {
            Place::Store { .. } => verify_parts(store, file).await?,
            Place::Folder | Place::File(_) => verify_file(store, file).await?,
        };
        checked.wrong.extend(wrong.map(|wrong| format!("{}: {wrong}", file.name)));
        checked.files += 1;
        checked.rows += file.rows;
        checked.bytes += file.size;
    }
    Ok(checked)
}

async fn verify_parts(store: &Store, file: &ManifestFile) -> Result<Option<String>, stores::Error> {
    let hash = FileHash::begin();
    for part in &file.parts {
        match hash.read_part(store, part).await {
            Ok(true) => {}
            Ok(false) => return Ok(Some(format!("the part {} was changed", part.object))),
            Err(error) if error.trouble == Trouble::Missing => {
                return Ok(Some(format!("the part {} is not there", part.object)));
            }
            Err(error) => return Err(error),
        }
    }
    let same = hash.end().await? == file.sha256;
    Ok((!same).then(|| "its parts are not those of the manifest".to_owned()))
}

async fn verify_file(store: &Store, file: &ManifestFile) -> Result<Option<String>, stores::Error> {
    let Some(key) = Key::new(file.name.as_str()) else {
        return Ok(Some("this is no file name".to_owned()));
    };
    let mut reader = match store.read(&key, 0, None).await {
        Err(error) if error.trouble == Trouble::Missing => {
            return Ok(Some("it is not there".to_owned()));
        }
        reader => reader?,
    };
    if reader.left() != file.size {
        let size = reader.left();
        return Ok(Some(format!("it has {size} bytes, and the manifest says {}", file.size)));
    }
    let mut whole = Sha256::new();
    while let Some(bytes) = reader.next().await? {
        whole.update(&bytes);
    }
    let same = hex(&whole.finalize()) == file.sha256;
    Ok((!same).then(|| "its SHA-256 is another one: it was changed".to_owned()))
}
