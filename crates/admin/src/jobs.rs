//! What exports and snapshots have in common for a reader and for clients of HTTP: both are jobs.

use std::fmt;
use std::pin::Pin;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The daemon's answer, once it is there.
pub type Asking<T> = Pin<Box<dyn Future<Output = Result<T, JobRefused>> + Send>>;

/// Why the daemon does not do what a client asks; each with a text for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobRefused {
    /// It cannot be, whatever happens.
    Wrong(String),
    /// There is no such job, file, tenant, mapping or store.
    Missing(String),
    /// Its files were there, and are deleted.
    Gone(String),
    /// Not in its present state.
    Conflict(String),
    /// The tenant has a job of this kind that goes on, with this id.
    Running { why: String, id: String },
    /// The idempotency key was used for another request.
    KeyUsed(String),
    /// As many jobs wait as may.
    Full(String),
    /// A file is not what was written.
    Damaged(String),
    /// Not now.
    Unavailable(String),
}

/// The client's key of a request that it may send twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatableKey {
    pub key: String,
    /// Of what it asks for.
    pub request_sha256: String,
}

/// Which jobs are listed.
#[derive(Debug, Clone, Default)]
pub struct JobsWanted {
    pub tenant: Option<String>,
    pub state: Option<JobState>,
    /// Those that are older than this one.
    pub after: Option<String>,
    pub limit: i64,
}

/// The files of a job that links may open.
#[derive(Debug, Clone)]
pub struct Linkable {
    /// Until when they may: as asked for, and no longer than the files are kept.
    pub until: Timestamp,
    pub files: Vec<LinkableFile>,
}

#[derive(Debug, Clone)]
pub struct LinkableFile {
    pub name: String,
    /// A URL of the store that opens it for so long. None: only a daemon can send it.
    pub url: Option<String>,
}

/// `accepted`, `processing`, `paused` and `settling` go on; only exports settle. An export that
/// `failed` or was `cancelled` can be resumed while its parts are kept. The files of an `expired`
/// job are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Accepted,
    Processing,
    Paused,
    Settling,
    Completed,
    Expired,
    Failed,
    Cancelled,
}

impl JobState {
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Processing,
        Self::Paused,
        Self::Settling,
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
            Self::Settling => "settling",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
