//! What can go wrong in a sync, and whose fault it is.

use offtake_reading::MappingFault;

use crate::destinations::Trouble;

/// Why a sync did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the source failed")]
    Source(#[source] offtake_postgres::Error),
    #[error("the destination failed")]
    Destination(#[source] Trouble),
    /// The place cannot be reached: what concerns one of the tenants that share it concerns all.
    #[error("the place failed")]
    Place(#[source] Trouble),
    /// Concerns this mapping only. The destination's other mappings go on.
    #[error("mapping {mapping}: {fault}")]
    Mapping { mapping: String, fault: MappingFault },
    /// The destination's state is not the one that the batch was read for: another worker has
    /// written there. The batch is dropped.
    #[error("another worker moved the destination's cursors")]
    Stale,
    /// Another worker makes tables in the same schema, and has done so for longer than this one
    /// waits. The turn is tried again soon; the destination did not fail.
    #[error("another worker makes tables in the same schema")]
    Making,
    /// The log no longer has the changes after a cursor. The mapping is re-copied.
    #[error("the change log no longer goes back to the destination's cursor")]
    Lost,
    /// The changes of a batch are larger than allowed; read it again with no more than `fits` rows.
    #[error("the batch is larger than the memory set aside for it")]
    Overflow { fits: usize },
    #[error("the destination did not answer within {0} s")]
    Deadline(u64),
    /// The lease was lost or the daemon is stopping.
    #[error("the work was given up")]
    Cancelled,
}

impl Error {
    pub(crate) fn source(error: tokio_postgres::Error) -> Self {
        Self::Source(error.into())
    }

    pub(crate) fn destination(error: impl Into<Trouble>) -> Self {
        Self::Destination(error.into())
    }

    /// What failed, and why. No value of a row, and no secret.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Source(error) => format!("{self}: {}", error.message()),
            Self::Destination(trouble) | Self::Place(trouble) => format!("{self}: {trouble}"),
            other => other.to_string(),
        }
    }
}

impl From<offtake_reading::Error> for Error {
    fn from(error: offtake_reading::Error) -> Self {
        match error {
            offtake_reading::Error::Source(source) => Self::Source(source),
            offtake_reading::Error::Mapping { mapping, fault }
            | offtake_reading::Error::Row { mapping, fault }
            | offtake_reading::Error::TooSlow { mapping, fault } => {
                Self::Mapping { mapping, fault }
            }
            offtake_reading::Error::Lost => Self::Lost,
            offtake_reading::Error::Overflow { fits } => Self::Overflow { fits },
        }
    }
}
