//! Snapshots: what a reader is told of them, and what clients of HTTP ask for. The running daemon does
//! it ([`SnapshotAccess`]), because it has the stores and the mappings.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exports::{Asking, RepeatableKey};
use crate::http::StoredFile;
use crate::status::Long;

/// What only a process can do that has read the configuration.
pub trait SnapshotAccess: Send + Sync {
    fn create(&self, wish: SnapshotWish, repeatable: Option<RepeatableKey>) -> Asking<Snapshot>;

    /// The newest first.
    fn list(&self, of: SnapshotsWanted) -> Asking<Vec<Snapshot>>;

    fn one(&self, id: String) -> Asking<Snapshot>;

    /// Reads all of it.
    fn validate(&self, id: String) -> Asking<ValidSnapshot>;

    /// Deletes its file. One that is not made yet is made no more.
    fn delete(&self, id: String) -> Asking<()>;

    /// The file of a complete snapshot.
    fn archive(&self, id: String) -> Asking<StoredFile>;

    /// A URL at its store that opens the file for that long; None: the store has no such URLs.
    fn store_link(&self, id: String, valid: Duration) -> Asking<Option<String>>;
}

/// Which snapshots are listed.
#[derive(Debug, Clone, Default)]
pub struct SnapshotsWanted {
    pub tenant: Option<String>,
    pub state: Option<SnapshotState>,
    /// Those that are older than this one.
    pub after: Option<String>,
    pub limit: i64,
}

/// A snapshot that is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotWish {
    /// The tenant whose rows it has.
    #[schemars(required, length(min = 1, max = 1000))]
    pub tenant: Option<String>,
    /// Only these; absent or empty: all.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub mappings: Vec<String>,
    /// The store that keeps it; absent: `snapshots.store`.
    pub store: Option<String>,
    /// A tenant without a row gets one too.
    #[serde(default)]
    pub allow_empty: bool,
}

/// `accepted`, `processing` and `paused` go on. The file of an `expired` one is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotState {
    Accepted,
    Processing,
    Paused,
    Completed,
    Expired,
    Failed,
    Cancelled,
}

impl SnapshotState {
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Processing,
        Self::Paused,
        Self::Completed,
        Self::Expired,
        Self::Failed,
        Self::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Processing => "processing",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for SnapshotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One snapshot.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Snapshot {
    /// As `snap_20261128-031300_k7f3a2`.
    pub id: String,
    pub tenant: String,
    pub state: SnapshotState,
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
    /// Other mappings are left out.
    pub narrowed: bool,
    pub tables: Vec<SnapshotTable>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SnapshotTable {
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
