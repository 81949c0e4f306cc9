//! Exports: what a reader is told of them, and what clients of HTTP ask for. The running daemon does
//! it ([`ExportAccess`]), because it has the stores and the mappings.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::StoredFile;
use crate::jobs::{Asking, JobState, JobsWanted, Linkable, RepeatableKey};
use crate::status::Long;

/// What only a process can do that has read the configuration.
pub trait ExportAccess: Send + Sync {
    fn create(&self, wish: ExportWish, repeatable: Option<RepeatableKey>) -> Asking<Export>;

    /// The newest first.
    fn list(&self, of: JobsWanted) -> Asking<Vec<Export>>;

    fn one(&self, id: String) -> Asking<Export>;

    fn cancel(&self, id: String) -> Asking<Export>;

    fn resume(&self, id: String) -> Asking<Export>;

    /// Deletes its files, and what is known of it.
    fn delete(&self, id: String) -> Asking<()>;

    /// The text of a completed export's manifest.
    fn manifest(&self, id: String) -> Asking<String>;

    /// A file of a completed export.
    fn file(&self, id: String, name: String) -> Asking<StoredFile>;

    /// The files of a completed export that links may open until then.
    fn links(&self, id: String, until: Timestamp) -> Asking<Linkable>;
}

/// An export that is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportWish {
    /// The tenant whose rows are written.
    #[schemars(required, length(min = 1, max = 1000))]
    pub tenant: Option<String>,
    #[schemars(required)]
    pub format: Option<ExportFormat>,
    /// Only these; absent or empty: all.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub mappings: Vec<String>,
    /// The store that the files go to; absent: `exports.store`.
    pub store: Option<String>,
    /// Absent: `exports.compression`.
    pub compression: Option<ExportCompression>,
    /// SQL only: with the state of a destination, so that live sync goes on where it is loaded.
    #[serde(default)]
    pub state: bool,
    /// SQL only: as INSERT statements, for databases that are not Postgres.
    #[serde(default)]
    pub inserts: bool,
    /// With the statements that create the tables, in a file of their own.
    #[serde(default)]
    pub schema: bool,
    /// Rows of a part; absent: `exports.chunk_rows`.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub chunk_rows: Option<u32>,
    /// Fail rather than complete with parts of several moments.
    #[serde(default)]
    pub require_consistent: bool,
    /// The daemon sends how the export ended to this URL, signed as a webhook.
    pub callback: Option<CallbackWish>,
}

/// The URL to which a daemon sends how an export ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallbackWish {
    /// https, or http towards a network of `security.allow_destinations`.
    #[schemars(length(min = 1, max = 2000))]
    pub url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    Csv,
    Ndjson,
    Json,
    Sql,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportCompression {
    Gzip,
    None,
}

/// One export.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Export {
    /// As `exp_20261128-031300_k7f3a2`.
    pub id: String,
    pub tenant: String,
    pub format: String,
    pub compression: String,
    pub state: JobState,
    /// Why it is paused, has failed or was cancelled; null normally.
    pub reason: Option<String>,
    /// The store that has its files; null: a command wrote them to `folder`.
    pub store: Option<String>,
    pub folder: Option<String>,
    pub created_at: Timestamp,
    /// When work on it began. A resumption moves it by the time that the export had ended.
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// When its files are deleted; null: never.
    pub expires_at: Option<Timestamp>,
    pub progress: ExportProgress,
    /// The moment of the rows: changes up to here are in the files. Null before the end.
    pub sequence_id: Option<Long>,
    /// The earliest moment that a part is of; another one where `consistency` is `none`.
    pub from_sequence_id: Option<Long>,
    pub epoch: Option<String>,
    /// `snapshot`, `settled` or `none`; null before the end.
    pub consistency: Option<String>,
    /// Null before the end, and once they are deleted.
    pub files: Option<Vec<ExportFile>>,
    /// Null where the client asked for none.
    pub callback: Option<ExportCallback>,
}

/// The URL to which a daemon sends how the export ended, and the last attempt to send it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ExportCallback {
    /// Scheme, host and port: the rest may be secret.
    pub url: String,
    pub attempts: i64,
    pub delivered: bool,
    /// The receiver did not acknowledge it, and the daemon does not try again.
    pub gave_up: bool,
    /// Of the last answer.
    pub status: Option<u16>,
    pub error: Option<String>,
}

/// How far an export is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ExportProgress {
    pub rows_done: i64,
    /// The planner's estimate until all rows were read once.
    pub rows_total: Option<i64>,
    pub rows_total_exact: bool,
    /// Never falls, and is 100 only when the export is completed.
    pub percent: i32,
    pub bytes_written: i64,
    /// Of the whole time since it began, pauses included.
    pub rows_per_second: Option<f64>,
    pub eta_seconds: Option<i64>,
    pub estimated_completion_at: Option<Timestamp>,
    /// The mapping that is read now.
    pub mapping: Option<String>,
    /// Of settling: 0 while rows are read for the first time.
    pub round: i32,
}

/// A file of a completed export.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ExportFile {
    pub name: String,
    pub size: u64,
    pub sha256: String,
    pub rows: i64,
}
