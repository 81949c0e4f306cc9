//! The manifest: which files there are, of which parts, and what is in them. It is written last, so
//! an export without one is not complete.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::encode::hex;
use super::{Compression, Format};

/// The format of the manifest.
const VERSION: u32 = 1;

/// Keys in it are values of the tenant: it is as secret as the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub offtake_export: u32,
    pub id: String,
    pub tenant: String,
    pub created_at: Timestamp,
    pub format: Format,
    pub compression: Compression,
    /// `snapshot`, `settled` or `none`.
    pub consistency: String,
    /// The moment of the rows: all changes up to here are in them. Text, as JSON numbers are rounded
    /// by many readers.
    pub sequence_id: String,
    /// The earliest moment that a part is of.
    pub from_sequence_id: String,
    pub epoch: String,
    pub mappings: Vec<ManifestMapping>,
    pub files: Vec<ManifestFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestMapping {
    pub name: String,
    pub version: String,
    pub columns: Vec<ManifestColumn>,
    pub key: Vec<String>,
    pub rows: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestColumn {
    pub name: String,
    #[serde(rename = "type")]
    pub sql_type: String,
}

/// A file: its parts, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    pub name: String,
    pub size: u64,
    pub sha256: String,
    pub rows: i64,
    pub parts: Vec<ManifestPart>,
}

/// A stretch of a file. What stands around the rows has no mapping and no rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPart {
    pub object: String,
    pub size: u64,
    pub sha256: String,
    pub rows: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence_id: Option<String>,
}

/// The key of an export's manifest in its store. `attempt` is that which completed it: a worker that
/// lost its lease writes another one.
pub(super) fn manifest_name(id: &str, attempt: i64) -> String {
    format!("{id}/manifest.a{attempt}.json")
}

/// What stands before the hash at the end of a manifest.
const HASH: &str = ",\"sha256\":\"";

impl Manifest {
    pub(super) const VERSION: u32 = VERSION;

    pub(super) fn now() -> Timestamp {
        Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The manifest as it is written: its last member is the SHA-256 of everything before that.
    pub fn to_text(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        let body = text.strip_suffix('}').unwrap_or(&text);
        format!("{body}{HASH}{}\"}}\n", hex(&Sha256::digest(body)))
    }

    /// Reads one. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_end();
        let (body, rest) = text.rsplit_once(HASH).ok_or("it does not end with its SHA-256")?;
        if rest != format!("{}\"}}", hex(&Sha256::digest(body))) {
            return Err("its SHA-256 is another one: it was changed".to_owned());
        }
        let manifest: Self = serde_json::from_str(&format!("{body}}}"))
            .map_err(|error| format!("it is not a manifest: {error}"))?;
        match manifest.offtake_export {
            VERSION => Ok(manifest),
            other => Err(format!("its format is {other}, and this program reads {VERSION}")),
        }
    }

    pub fn file(&self, name: &str) -> Option<&ManifestFile> {
        self.files.iter().find(|file| file.name == name)
    }
}
