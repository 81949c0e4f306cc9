//! Snapshots: what a reader is told of them, and what clients of HTTP ask for. The running daemon does
//! it ([`SnapshotAccess`]), because it has the stores and the mappings.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::StoredFile;
use crate::jobs::{Asking, JobState, JobsWanted, Linkable, RepeatableKey};
use crate::status::Long;

/// What only a process can do that has read the configuration.
pub trait SnapshotAccess: Send + Sync {
    fn create(&self, wish: SnapshotWish, repeatable: Option<RepeatableKey>) -> Asking<Snapshot>;

    /// The newest first.
    fn list(&self, of: JobsWanted) -> Asking<Vec<Snapshot>>;

    fn one(&self, id: String) -> Asking<Snapshot>;

    /// Reads all of it.
    fn validate(&self, id: String) -> Asking<ValidSnapshot>;

    /// Deletes its file. One that is not made yet is made no more.
    fn delete(&self, id: String) -> Asking<()>;

    /// The file of a complete snapshot.
    fn archive(&self, id: String) -> Asking<StoredFile>;

    /// The file of a complete snapshot, which a link may open until then.
    fn links(&self, id: String, until: Timestamp) -> Asking<Linkable>;
}

/// A snapshot that is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotWish {
    /// The tenant whose rows it has.
    #[schemars(required, length(min = 1, max = 1000))]
    pub tenant: Option<String>,
    /// Whose rows it has; absent: `rows`.
    pub kind: Option<SnapshotKind>,
    /// Only these; absent or empty: all. Of the kind `rows` only.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub mappings: Vec<String>,
    /// The store that keeps it; absent: `snapshots.store`.
    pub store: Option<String>,
    /// A tenant without a row gets one too.
    #[serde(default)]
    pub allow_empty: bool,
}

/// One snapshot.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Snapshot {
    /// As `snap_20261128-031300_k7f3a2`.
    pub id: String,
    pub tenant: String,
    /// Whose rows it has.
    pub kind: SnapshotKind,
    pub state: JobState,
    /// Why it is paused, has failed or was cancelled; null normally.
    pub reason: Option<String>,
    pub store: Option<String>,
    /// A daemon makes it by itself, because of `snapshots.every`.
    pub scheduled: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// What it has; null before it is complete.
    pub archive: Option<SnapshotArchive>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotKind {
    /// Those that the mappings give, which are restored into a copy.
    Rows,
    /// The tenant's own in the application's tables, which are restored there.
    Source,
}

/// The file of a complete snapshot.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SnapshotArchive {
    /// The moment of its rows.
    pub created_at: Timestamp,
    /// Changes up to here are in it.
    pub sequence_id: Long,
    pub epoch: String,
    pub size: u64,
    pub sha256: String,
    pub rows: u64,
    /// Of the rows, as text.
    pub bytes: u64,
    /// Other mappings are left out; of the kind `source`, tables that refer to its tables.
    pub narrowed: bool,
    pub tables: Vec<SnapshotTable>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SnapshotTable {
    /// Of the kind `source`, the name of the table.
    pub mapping: String,
    pub rows: u64,
}

/// A snapshot that was read from its first byte to its last.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ValidSnapshot {
    pub id: String,
    /// Always true: what is wrong with another one is an error.
    pub valid: bool,
    pub members: u64,
    pub rows: u64,
}
