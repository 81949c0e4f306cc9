//! What a run tells, and how it ends.

use std::fmt;
use std::time::Duration;

use crate::destinations::Spent;

/// One of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Destination,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Destination => "destination",
        })
    }
}

/// Why a run ended before everything was done. What was copied stays, and the next run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A side did not answer, however often it was tried.
    Unreachable {
        side: Side,
        why: String,
    },
    /// A credential, a right, a table or a limit is wrong.
    Refused {
        side: Side,
        why: String,
    },
    /// This table cannot be copied; others can.
    Table {
        why: String,
    },
    /// Another runner copies this table.
    Held {
        owner: String,
        since: String,
    },
    /// The checkpoints are of another copy.
    OtherCopy {
        table: String,
    },
    TimeIsUp,
    /// As many rows as were asked for are copied.
    EnoughRows,
    Interrupted,
}

/// What happens, as it happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// A table begins, or goes on behind the rows that are done.
    Began { table: &'a str, done: u64, estimate: Option<u64>, resumed: bool },
    /// A batch and its checkpoint are in the destination.
    Batch {
        table: &'a str,
        chunk: i64,
        rows: u64,
        bytes: u64,
        done: u64,
        retries: u64,
        /// For this table so far, where requests are counted.
        spent: Option<Spent>,
    },
    /// Something is tried again after this long.
    Retry { table: &'a str, side: Side, why: &'a str, attempt: u32, wait: Duration },
    /// The next chunk begins all the same.
    ChunkFailed { table: &'a str, chunk: &'a FailedChunk },
    /// Rows of the source that were compared so far.
    Compared { table: &'a str, rows: u64 },
    /// A range differed and was copied once more.
    Repaired { table: &'a str, rows: u64 },
}

/// A chunk that could not be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedChunk {
    pub id: i64,
    /// The keys before and at its end, as JSON.
    pub after: Option<String>,
    pub up_to: Option<String>,
    pub message: String,
}

/// What the comparison found in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    pub rows: u64,
    /// Rows that differed at first, in ranges that were copied once more.
    pub repaired: u64,
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    /// They changed at the source while they were looked at.
    pub unsettled: u64,
    /// A side could not print them.
    pub not_compared: u64,
    /// The key of one row that differs, as JSON.
    pub example: Option<String>,
}

impl Compared {
    pub fn equal(&self) -> bool {
        self.missing + self.extra + self.different + self.unsettled + self.not_compared == 0
    }
}

/// What became of one table.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Rows that this run wrote, and all that its checkpoints count.
    pub copied: u64,
    pub done: u64,
    pub retries: u64,
    pub failed: Vec<FailedChunk>,
    /// The keys, as JSON, of rows that were left out, each with the reason.
    pub skipped: Vec<(String, String)>,
    /// Indexes that could not be made, each with the reason.
    pub without_index: Vec<(String, String)>,
    /// None: it was not compared.
    pub compared: Option<Compared>,
    /// None: requests are not counted there.
    pub spent: Option<Spent>,
}
