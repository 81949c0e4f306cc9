//! What a snapshot of the kind `source` and its restore can fail with.

use crate::snapshots;

/// Why nothing was made, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Snapshot(#[from] snapshots::Error),
    /// The source, or a statement there.
    #[error("the source failed")]
    Source(#[source] offtake_postgres::Error),
    #[error("two rules say to which tenant a row of {0} belongs")]
    TwoRules(String),
    #[error("there is no table {0}")]
    NoTable(String),
    #[error("{0} is no table with rows of its own")]
    NotATable(String),
    #[error("{0} has neither a primary key nor another key without nulls")]
    NoKey(String),
    #[error("{table} has no column {column}")]
    NoColumn { table: String, column: String },
    /// Foreign keys of tables that are not in the snapshot; never empty.
    #[error("{}", .0.join("; "))]
    LeftOut(Vec<String>),
    /// What is there does not fit what is to be restored.
    #[error("{0}")]
    Unfit(String),
    /// A guard: each line names a table, a key and what is wrong; never empty.
    #[error("{}", .0.join("; "))]
    Guarded(Vec<String>),
    /// A unique constraint that cannot wait refused a row. Each line names a row of now that has a
    /// value which another row is to have; there may be none.
    #[error("{why}")]
    Taken { why: String, rows: Vec<String> },
    /// Other sessions hold locks.
    #[error("a lock was not given within half a second, {0} times")]
    Locked(u32),
    /// What would be done is not what was agreed.
    #[error("{0}")]
    Changed(String),
    /// The reply to the commit was lost, and the source does not say what became of it.
    #[error("the reply to the commit was lost: {0}")]
    OutcomeUnknown(String),
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Source(error.into())
    }
}

impl From<offtake_postgres::Error> for Error {
    fn from(error: offtake_postgres::Error) -> Self {
        Self::Source(error)
    }
}
