//! What went wrong at a destination, in words that every kind of destination can say.

use std::time::Duration;

use offtake_postgres::Fault;

/// A destination's failure. What follows from it depends on `fault` alone, never on the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    pub fault: Fault,
    /// The SQLSTATE, where the server gave one.
    pub code: Option<String>,
    /// One bounded line without a value of any row.
    pub message: String,
    /// What a person reads first: the message, what it means, and the remedy where one is known.
    pub reason: String,
    /// How long the server wants to be left alone, where it said so.
    pub wait: Option<Duration>,
}

impl Trouble {
    pub(crate) fn new(fault: Fault, code: Option<String>, message: String) -> Self {
        let what = match fault {
            Fault::Unreachable | Fault::OutcomeUnknown => "unreachable",
            Fault::Credentials => "refused credentials",
            Fault::Schema => "schema mismatch",
            Fault::ReadOnly => "read-only",
            Fault::Full => "disk full",
            Fault::Transient | Fault::TooSlow | Fault::Row | Fault::Fatal => "failing",
        };
        let reason = format!("{what}: {message}");
        Self { fault, code, message, reason, wait: None }
    }

    pub(crate) fn is(&self, code: &tokio_postgres::error::SqlState) -> bool {
        self.code.as_deref() == Some(code.code())
    }
}

impl From<offtake_postgres::Error> for Trouble {
    fn from(error: offtake_postgres::Error) -> Self {
        let code = error.sqlstate().map(|state| state.code().to_owned());
        Self::new(error.fault(), code, error.message())
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        offtake_postgres::Error::from(error).into()
    }
}
