//! What is asked for: the column `options` of a job.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Rows of a part, if they are not too large.
pub const CHUNK_ROWS: u32 = 50_000;

/// The most rows that a part may be asked to have.
pub const CHUNK_ROWS_MAX: u32 = 10_000_000;

/// Bytes of a part before it is compressed. Twice this bounds the memory of an export.
pub const CHUNK_BYTES: usize = 64 << 20;

/// An export as it was asked for. It never changes afterwards: what is read after a crash must be
/// what was read before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub format: Format,
    pub compression: Compression,
    pub mappings: Vec<Asked>,
    pub chunk_rows: u32,
    /// SQL only: with the cursors of a destination, so that live sync goes on where it was loaded.
    #[serde(default)]
    pub state: bool,
    /// Fail rather than complete with parts of several moments.
    #[serde(default)]
    pub require_consistent: bool,
    /// Who is told of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
}

/// Where the end of an export is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// Its path and query may hold a secret of the receiver: they are not shown.
    pub url: String,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback { … }")
    }
}

/// A mapping, and its version when the export was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Csv,
    Ndjson,
    Json,
    Sql,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    Gzip,
    None,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Csv, Self::Ndjson, Self::Json, Self::Sql];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Json => "json",
            Self::Sql => "sql",
        }
    }
}

impl Compression {
    pub const ALL: [Self; 2] = [Self::Gzip, Self::None];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::None => "none",
        }
    }
}

impl Options {
    /// The file that a mapping's rows are in.
    pub(super) fn file_of(&self, mapping: &str) -> String {
        let name = match self.format {
            Format::Sql => "export",
            _ => mapping,
        };
        let compressed = match self.compression {
            Compression::Gzip => ".gz",
            Compression::None => "",
        };
        format!("{name}.{}{compressed}", self.format.as_str())
    }
}
