//! What can go wrong in a sync, and whose fault it is.

use offtake_mapping::ResolvedMapping;
use offtake_postgres::Fault;
use tokio_postgres::error::SqlState;

use crate::destinations::Trouble;

/// Why a sync did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the source failed")]
    Source(#[source] offtake_postgres::Error),
    #[error("the destination failed")]
    Destination(#[source] Trouble),
    /// Only this mapping is concerned; the others of the destination go on.
    #[error("mapping {mapping}: {fault}")]
    Mapping { mapping: String, fault: MappingFault },
    /// The destination's cursors are not what the batch was read for: another worker was there. The
    /// work is dropped.
    #[error("another worker moved the destination's cursors")]
    Stale,
    /// The log no longer has the changes after a cursor; its mapping is copied anew.
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

/// What is wrong with one mapping in one destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MappingFault {
    pub sqlstate: Option<String>,
    /// One line: what, where, remedy.
    pub message: String,
}

impl Error {
    pub(crate) fn source(error: tokio_postgres::Error) -> Self {
        Self::Source(error.into())
    }

    pub(crate) fn destination(error: impl Into<Trouble>) -> Self {
        Self::Destination(error.into())
    }

    /// An error while a mapping's query ran at the source: the mapping's, unless the source itself
    /// is in trouble.
    pub(crate) fn mapping(mapping: &ResolvedMapping, error: tokio_postgres::Error) -> Self {
        let error = offtake_postgres::Error::from(error);
        match error.fault() {
            Fault::Schema | Fault::Row | Fault::Fatal if error.sqlstate().is_some() => {
                Self::Mapping {
                    mapping: mapping.name().to_owned(),
                    fault: MappingFault::of("the query failed at the source", &error),
                }
            }
            _ => Self::Source(error),
        }
    }
}

impl MappingFault {
    /// The label in metrics.
    pub(crate) fn class(&self) -> &'static str {
        let state = self.sqlstate.as_deref().map(SqlState::from_code);
        state.map_or(Fault::Schema, |state| offtake_postgres::classify(&state)).as_str()
    }

    pub(crate) fn of(what: &str, error: &offtake_postgres::Error) -> Self {
        Self {
            sqlstate: error.sqlstate().map(|s| s.code().to_owned()),
            message: format!("{what}: {}", error.message()),
        }
    }

    pub(crate) fn said(message: String) -> Self {
        Self { sqlstate: None, message }
    }
}

/// Refusals that a row can cause and another row need not.
pub(crate) fn row_fault(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        *code != SqlState::CARDINALITY_VIOLATION && offtake_postgres::classify(code) == Fault::Row
    })
}
