//! Why capture could not be installed, removed or read.

use std::fmt;

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the schema offtake is missing or incomplete\n  remedy: run `offtake init`, which applies the migrations first"
    )]
    NotMigrated,
    #[error("the source has no table {0} any more\n  remedy: correct the mappings that name it")]
    NoTable(String),
    /// Postgres fails every write that collects changed rows through a foreign partition.
    #[error(
        "{partition}, a partition of {table}, is a foreign table, whose changes triggers cannot capture\n  remedy: detach it, or leave {table} out of the mappings"
    )]
    ForeignPartition { table: String, partition: String },
    #[error("cannot {action}")]
    Refused { action: String, source: offtake_postgres::Error },
    /// Every attempt ran into its `lock_timeout`.
    #[error(
        "cannot {action}: after {attempts} attempts the lock is still not free; {blockers}\n  remedy: run the command again when these sessions have finished"
    )]
    Blocked { action: String, attempts: u32, blockers: Blockers },
    #[error(transparent)]
    Postgres(#[from] offtake_postgres::Error),
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

/// The sessions that hold the lock an installation waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blockers(pub(crate) Vec<String>);

impl fmt::Display for Blockers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            f.write_str("the session that held it has just released it")
        } else {
            write!(f, "held by {}", self.0.join("; "))
        }
    }
}
