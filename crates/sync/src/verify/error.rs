use offtake_postgres::{Error as PostgresError, Fault, unreadable_row};

use super::report::SideName;
use crate::destinations::Trouble;

/// Why a comparison has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the source")]
    Source(#[source] PostgresError),
    #[error("cannot read the destination")]
    Destination(#[source] PostgresError),
    /// The destination's own state cannot be read.
    #[error("cannot read the destination's state")]
    Unreadable(#[source] Trouble),
    #[error("the query of mapping {mapping} gives the key {key} more than once")]
    DuplicateKey { mapping: String, key: String },
    #[error("the query of mapping {mapping} gives rows without a key ({columns} is null)")]
    NullKey { mapping: String, columns: String },
    #[error("the destination has no table {table}")]
    TableMissing { table: String },
    #[error("the destination's table {table} has no column {column}")]
    ColumnMissing { table: String, column: String },
    /// A destination is a stranger: what it answers must not keep us going for ever.
    #[error("the destination's keys do not advance beyond {key}")]
    KeysStandStill { key: String },
    #[error("more than {max} rows cannot be compared")]
    TooManyUnprinted {
        max: u64,
        #[source]
        error: Box<Error>,
    },
}

impl Error {
    pub(super) fn source(error: impl Into<PostgresError>) -> Self {
        Self::Source(error.into())
    }

    pub(super) fn destination(error: impl Into<PostgresError>) -> Self {
        Self::Destination(error.into())
    }

    /// What the server said, if it was a server that failed.
    pub fn postgres(&self) -> Option<&PostgresError> {
        match self {
            Self::Source(error) | Self::Destination(error) => Some(error),
            Self::TooManyUnprinted { error, .. } => error.postgres(),
            _ => None,
        }
    }

    /// The side of which a row cannot be printed while others can, if the error may be of a row.
    pub(super) fn unprinted(&self) -> Option<SideName> {
        let (side, error) = match self {
            Self::Source(error) => (SideName::Source, error),
            Self::Destination(error) => (SideName::Destination, error),
            _ => return None,
        };
        matches!(error, PostgresError::Postgres(error) if unreadable_row(error)).then_some(side)
    }

    /// What follows from it.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Unreadable(trouble) => trouble.fault,
            other => other.postgres().map_or(Fault::Fatal, PostgresError::fault),
        }
    }

    /// One line: what failed and why, without a row's values.
    pub fn message(&self) -> String {
        match self {
            Self::Unreadable(trouble) => format!("{self}: {}", trouble.message),
            other => other
                .postgres()
                .map_or_else(|| self.to_string(), |error| format!("{self}: {}", error.message())),
        }
    }
}
