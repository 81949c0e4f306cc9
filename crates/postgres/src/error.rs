//! What can go wrong between Offtake and a Postgres server, and what it means.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};

use crate::{Fault, InvalidUrl, Refused, classify};

/// An error of a connection, or of a statement on one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    #[error("cannot resolve the host name {host}")]
    Unresolved { host: String, source: io::Error },
    /// Our own refusal, before a packet is sent.
    #[error("will not connect to {host}: {source}")]
    Filtered { host: String, source: Refused },
    #[error("cannot connect to {host}:{port}")]
    Refused { host: String, port: u16, source: io::Error },
    #[error("{what} took longer than {} ms", limit.as_millis())]
    TimedOut { what: String, limit: Duration },
    #[error("no TLS with {host}: {why}")]
    Tls { host: String, why: String },
    /// The server asked for the password in a form that it, or a listener, could use again.
    #[error(
        "{host} asks for the password {how}, which is only answered over verified TLS (use SCRAM on the server, or sslmode=verify-full)"
    )]
    PasswordWithheld { host: String, how: &'static str },
    /// The server and we could not agree on how to log in; no SQLSTATE.
    #[error("cannot log in to {host}")]
    Login { host: String, source: tokio_postgres::Error },
    /// Every connection of a pool, or every permit to dial, was taken for the whole of the wait.
    #[error("no free {what} within {} s", waited.as_secs())]
    Exhausted { what: &'static str, waited: Duration },
    #[error("cannot apply the migrations")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("postgres error")]
    Postgres(#[from] tokio_postgres::Error),
}

/// A message is one line in a log, a column and a dashboard; what a server says beyond this is noise or malice.
const MESSAGE_CHARS_MAX: usize = 500;

impl Error {
    pub fn sqlstate(&self) -> Option<&SqlState> {
        self.db_error().map(DbError::code)
    }

    /// What the server said, if it was the server who spoke.
    pub fn db_error(&self) -> Option<&DbError> {
        match self {
            Self::Postgres(source) | Self::Login { source, .. } => source.as_db_error(),
            _ => None,
        }
    }

    pub fn fault(&self) -> Fault {
        if let Some(state) = self.sqlstate() {
            return classify(state);
        }
        match self {
            Self::Url(_) | Self::Login { .. } | Self::PasswordWithheld { .. } => Fault::Credentials,
            Self::Unresolved { .. } | Self::Filtered { .. } | Self::Refused { .. } | Self::TimedOut { .. } | Self::Tls { .. } => {
                Fault::Unreachable
            }
            Self::Exhausted { .. } => Fault::Transient,
            Self::Migration(_) => Fault::Fatal,
            Self::Postgres(source) if source.is_closed() || has_io_error(source) => Fault::Unreachable,
            Self::Postgres(_) => Fault::Fatal,
        }
    }

    /// One line for logs, status and the registry: at most 500 characters, no control characters. Of a server's error it
    /// has code, primary message and the names of what is concerned, never DETAIL, HINT or CONTEXT: they quote rows.
    pub fn message(&self) -> String {
        let mut text = String::new();
        if let Some(db) = self.db_error() {
            let _ = write!(text, "{} ({})", db.message(), db.code().code());
            for (what, name) in [("table", db.table()), ("column", db.column()), ("constraint", db.constraint())] {
                if let Some(name) = name {
                    let _ = write!(text, ", {what} {name}");
                }
            }
        } else {
            let _ = write!(text, "{self}");
            let mut cause = self.source();
            while let Some(error) = cause {
                let _ = write!(text, ": {error}");
                cause = error.source();
            }
        }
        one_line(&text)
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS_MAX).collect()
}

fn has_io_error(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(|cause| cause.is::<io::Error>())
}
