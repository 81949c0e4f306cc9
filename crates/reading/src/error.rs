//! What can go wrong while the source is read, and whose fault it is.

use offtake_mapping::ResolvedMapping;
use offtake_postgres::{Fault, SqlState};

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the source failed")]
    Source(#[source] offtake_postgres::Error),
    /// The query of this mapping fails; the caller can read the other mappings without it.
    #[error("mapping {mapping}: {fault}")]
    Mapping { mapping: String, fault: MappingFault },
    /// A row that the query of this mapping gives cannot be taken. The fault has its key, and perhaps
    /// what it holds, so it belongs in no log. Only [`HeldSnapshot::read`](crate::HeldSnapshot::read)
    /// returns it.
    #[error("mapping {mapping}: {fault}")]
    Row { mapping: String, fault: MappingFault },
    /// The query of this mapping takes longer than a statement may. The caller can read fewer rows.
    /// Of a single row the fault has the key.
    #[error("mapping {mapping}: {fault}")]
    TooSlow { mapping: String, fault: MappingFault },
    /// Changes after a position were dropped with their partition of the log. Only a new copy of
    /// the mapping's rows makes up for them.
    #[error("the change log no longer goes back to the position to read from")]
    Lost,
    /// The changes of a batch are larger than allowed; read it again with no more than `fits` rows.
    #[error("the batch is larger than the memory set aside for it")]
    Overflow { fits: usize },
}

/// What is wrong with one mapping.
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

    /// An error while a mapping's query ran: the mapping's, unless the source itself is in trouble.
    pub(crate) fn mapping(mapping: &ResolvedMapping, error: tokio_postgres::Error) -> Self {
        let error = offtake_postgres::Error::from(error);
        match error.fault() {
            Fault::TooSlow => Self::TooSlow {
                mapping: mapping.name().to_owned(),
                fault: MappingFault::of("the query takes too long at the source", &error),
            },
            // A query that writes is refused by the transaction, which only reads.
            Fault::Schema | Fault::Row | Fault::ReadOnly | Fault::Fatal
                if error.sqlstate().is_some() =>
            {
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
    /// A server's error; `what` says what was being done.
    pub fn of(what: &str, error: &offtake_postgres::Error) -> Self {
        Self {
            sqlstate: error.sqlstate().map(|s| s.code().to_owned()),
            message: format!("{what}: {}", error.message()),
        }
    }

    /// A fault that Offtake found itself; no server reported it.
    pub fn said(message: String) -> Self {
        Self { sqlstate: None, message }
    }

    /// A key of which only one row can be in a copy.
    pub fn repeated_key(key: &str) -> Self {
        Self::said(format!(
            "the query gives more than one row for the key ({key}); join so that it gives one, or \
             name what tells them apart in source.key"
        ))
    }

    /// The label in metrics.
    pub fn class(&self) -> &'static str {
        let state = self.sqlstate.as_deref().map(SqlState::from_code);
        state.map_or(Fault::Schema, |state| offtake_postgres::classify(&state)).as_str()
    }
}
