//! What can go wrong between Offtake and a Postgres server, and what it means.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};

use crate::chain::{chain, with_causes};
use crate::{Fault, InvalidUrl, classify};

/// An error of a connection, or of a statement on one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// There is no connection to the server, or no TLS on it.
    #[error(transparent)]
    Dial(#[from] offtake_egress::Error),
    /// A statement; [`Error::Dial`] has its own timeout.
    #[error("{what} took longer than {} ms", limit.as_millis())]
    TimedOut { what: String, limit: Duration },
    /// The server asked for the password in a form that it, or a listener, could use again.
    #[error(
        "{host} asks for the password {how}, which is only answered over verified TLS (use SCRAM on the server, or sslmode=verify-full)"
    )]
    PasswordWithheld { host: String, how: &'static str },
    /// The server and we could not agree on how to log in; no SQLSTATE.
    #[error("cannot log in to {host}")]
    Login { host: String, source: tokio_postgres::Error },
    /// We ended the connection, because the server went too far.
    #[error("the connection to {host} was cut: {why}")]
    Cut { host: String, why: String },
    /// Every connection of a pool was taken for the whole of the wait.
    #[error("no free {what} within {} s", waited.as_secs())]
    Exhausted { what: &'static str, waited: Duration },
    #[error("cannot apply the migrations")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A test told the failpoint of this name to fail as a server would; see the crate
    /// `offtake-loops`.
    #[error("the failpoint {0} says so")]
    Failpoint(&'static str),
    #[error("postgres error")]
    Postgres(#[from] tokio_postgres::Error),
}

/// A message is one line in a log, a column and a dashboard; what a server says beyond this is
/// noise or malice.
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
        if let Some(db) = self.db_error() {
            return match classify(db.code()) {
                // What our own bookkeeping refuses is no fault of a tenant's row.
                Fault::Row if is_ours(db) => Fault::Fatal,
                fault => fault,
            };
        }
        match self {
            Self::Url(_) | Self::PasswordWithheld { .. } => Fault::Credentials,
            Self::Dial(offtake_egress::Error::NoTurn { .. })
            | Self::Exhausted { .. }
            | Self::Failpoint(_) => Fault::Transient,
            Self::Dial(_) | Self::TimedOut { .. } => Fault::Unreachable,
            Self::Migration(_) | Self::Cut { .. } => Fault::Fatal,
            Self::Login { source, .. } | Self::Postgres(source) if is_lost(source) => {
                Fault::Unreachable
            }
            // A server that does not speak the protocol is no Postgres; a disagreement about the
            // login has a cause.
            Self::Login { source, .. } if source.source().is_none() => Fault::Unreachable,
            Self::Login { .. } => Fault::Credentials,
            Self::Postgres(_) => Fault::Fatal,
        }
    }

    /// One line for logs, status and the registry: at most 500 characters, no control characters.
    /// Of a server's error it has code, primary message and the names of what is concerned, never
    /// DETAIL, HINT or CONTEXT: they quote rows.
    pub fn message(&self) -> String {
        let text = match (self, self.db_error()) {
            (Self::Login { .. }, Some(db)) => format!("{self}: {}", describe(db)),
            (_, Some(db)) => describe(db),
            (Self::Postgres(source), None) => chain(source),
            _ => with_causes(self.to_string(), self.source()),
        };
        one_line(&text)
    }
}

/// The server's error without anything that could be a value.
pub(crate) fn describe(db: &DbError) -> String {
    let data_exception = db.code().code().starts_with("22");
    let mut text =
        if data_exception { without_quotations(db.message()) } else { db.message().to_owned() };
    for (what, name) in
        [("table", db.table()), ("column", db.column()), ("constraint", db.constraint())]
    {
        match name {
            // Most messages name it themselves.
            Some(name) if !text.contains(name) => {
                let _ = write!(text, ", {what} \"{name}\"");
            }
            _ => {}
        }
    }
    let _ = write!(text, " ({})", db.code().code());
    text
}

/// Messages of class 22 quote the value that they refuse: `invalid input syntax for type integer:
/// "…"`. Everything between the first and the last quotation mark goes, because a value may contain
/// some itself.
fn without_quotations(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}\"…\"{}", &message[..first], &message[last + 1..])
        }
        (Some(first), _) => format!("{}…", &message[..first]),
        _ => message.to_owned(),
    }
}

fn one_line(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() || ALTERS_LINES.contains(&c) { ' ' } else { c })
        .collect();
    let line = line.trim();
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        None => line.to_owned(),
        Some(_) => line.chars().take(MESSAGE_CHARS_MAX - 1).chain(['…']).collect(),
    }
}

/// Not control characters by Unicode's classes, but they break lines or turn them round.
const ALTERS_LINES: [char; 13] = [
    '\u{2028}', '\u{2029}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}',
    '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
];

/// The connection ended under the statement.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(|cause| cause.is::<io::Error>())
}

fn is_ours(db: &DbError) -> bool {
    db.schema() == Some("offtake") || db.table() == Some("_offtake_state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_value_is_not_repeated() {
        let check = |input: &str, expect: &str| assert_eq!(without_quotations(input), expect);
        check(
            r#"invalid input syntax for type integer: "12a""#,
            r#"invalid input syntax for type integer: "…""#,
        );
        check(
            r#"value "9 "9" 9" is out of range for type integer"#,
            r#"value "…" is out of range for type integer"#,
        );
        check(r#"cut off after "abc"#, "cut off after …");
        check(
            "value too long for type character varying(3)",
            "value too long for type character varying(3)",
        );
    }

    #[test]
    fn a_message_is_one_bounded_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m\u{202e}c\n"), "a b [31m c");
        let long = one_line(&"ä".repeat(2000));
        assert_eq!(long.chars().count(), MESSAGE_CHARS_MAX);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn errors_without_a_code_say_where_they_come_from() {
        let refused = Error::Dial(offtake_egress::Error::Unreachable {
            host: "db".into(),
            port: 5432,
            source: io::ErrorKind::ConnectionRefused.into(),
        });
        assert_eq!(refused.message(), "cannot connect to db:5432: connection refused");
        assert_eq!(refused.fault(), Fault::Unreachable);
        let withheld = Error::PasswordWithheld { host: "db".into(), how: "in clear text" };
        assert_eq!(withheld.fault(), Fault::Credentials);
    }
}
