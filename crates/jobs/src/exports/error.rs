//! Why an export does not go on.

use crate::stores;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the source failed")]
    Source(#[source] offtake_postgres::Error),
    /// Only an edited mapping helps.
    #[error("{0}")]
    Mapping(String),
    /// Only an edited mapping, or an edited row, helps. It has the row's key, and perhaps a value.
    #[error("mapping {mapping}: {told}")]
    Row { mapping: String, told: String },
    /// What is read now is not what was asked for.
    #[error("{0}; begin a new export")]
    Changed(String),
    #[error("a table of the mapping {0} is locked by the application")]
    Locked(String),
    /// A person must make room or mend the rights; then it goes on.
    #[error(transparent)]
    Store(#[from] stores::Error),
    #[error("{0}")]
    NoRoom(String),
    /// The parts are of several moments, and that was refused beforehand.
    #[error("the rows changed faster than they could be read")]
    Inconsistent,
    #[error("another process works on it now")]
    Lost,
    #[error("cannot compress a part: {0}")]
    Encoding(std::io::Error),
}

impl Error {
    /// Whether the export has failed for good: trying the same again does not help.
    pub fn terminal(&self) -> bool {
        matches!(
            self,
            Self::Mapping(_)
                | Self::Row { .. }
                | Self::Changed(_)
                | Self::Inconsistent
                | Self::Encoding(_)
        )
    }

    /// For a log, which has nothing of a row.
    pub fn logged(&self) -> String {
        match self {
            Self::Row { mapping, .. } => {
                format!("mapping {mapping}: a row cannot be taken; the export's status says which")
            }
            error => offtake_postgres::chain(error),
        }
    }
}

impl From<offtake_postgres::Error> for Error {
    fn from(error: offtake_postgres::Error) -> Self {
        Self::Source(error)
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Source(error.into())
    }
}

impl From<offtake_reading::Error> for Error {
    fn from(error: offtake_reading::Error) -> Self {
        match error {
            offtake_reading::Error::Source(error) => Self::Source(error),
            offtake_reading::Error::Row { mapping, fault } => {
                Self::Row { mapping, told: fault.message }
            }
            error => Self::Mapping(error.to_string()),
        }
    }
}
