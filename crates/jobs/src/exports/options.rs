//! What is asked for: the column `options` of a job.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Rows of a part, if they are not too large.
pub const CHUNK_ROWS: u32 = 50_000;

/// The most rows that a part may be asked to have.
pub const CHUNK_ROWS_MAX: u32 = 10_000_000;

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
    /// SQL only: rows as `INSERT` statements, for databases that do not read `COPY`.
    #[serde(default)]
    pub inserts: bool,
    /// With the statements that create the tables: a file of its own, but in an SQL file with
    /// inserts. One that psql loads has them always.
    #[serde(default)]
    pub schema: bool,
    /// The name of the only file, where a command chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Fail rather than complete with parts of several moments.
    #[serde(default)]
    pub require_consistent: bool,
    /// The URL to which a daemon sends how the export ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
}

/// The URL to which a daemon sends how an export ended.
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
    Zstd,
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
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Zstd, Self::None];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
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
        let ending = ending(self.format.as_str(), self.compression);
        match &self.file {
            Some(file) => file.clone(),
            // The export's manifest has this name.
            None if format!("{name}{ending}") == MANIFEST => format!("{name}.rows{ending}"),
            None => format!("{name}{ending}"),
        }
    }

    /// The file that has the statements that create the tables.
    pub(super) fn schema_file(&self) -> String {
        format!("schema{}", ending("sql", self.compression))
    }

    /// The name of the manifest where it is beside the files: that of a file chosen by a command is
    /// beside it.
    pub fn manifest_file(&self) -> String {
        manifest_beside(self.file.as_deref())
    }
}

const MANIFEST: &str = "manifest.json";

/// The name of the manifest of a folder, or of one file in it.
pub(super) fn manifest_beside(file: Option<&str>) -> String {
    file.map_or_else(|| MANIFEST.to_owned(), |file| format!("{file}.{MANIFEST}"))
}

/// What a file's name ends with: `.csv.gz`.
pub fn ending(format: &str, compression: Compression) -> String {
    let compressed = match compression {
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
        Compression::None => "",
    };
    format!(".{format}{compressed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_has_the_name_of_the_manifest() {
        for (format, compression, expect) in [
            (Format::Json, Compression::None, "manifest.rows.json"),
            (Format::Json, Compression::Gzip, "manifest.json.gz"),
            (Format::Csv, Compression::None, "manifest.csv"),
        ] {
            let (mappings, chunk_rows, callback, file) = (Vec::new(), 1, None, None);
            let (state, inserts, schema, require_consistent) = (false, false, false, false);
            let options = Options {
                format,
                compression,
                mappings,
                chunk_rows,
                state,
                inserts,
                schema,
                file,
                require_consistent,
                callback,
            };
            assert_eq!(options.file_of("manifest"), expect);
            assert_ne!(options.file_of("manifest"), options.manifest_file());
        }
    }
}
