//! SQLite's error codes, and what they mean.
//!
//! Each code has the SQLSTATE of what a Postgres server would say, so that quarantine, metrics and
//! API need no other field. The message has SQLite's own code.

use offtake_postgres::Fault;
use rusqlite::ffi;

use super::Trouble;

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let (code, message) = match &error {
            rusqlite::Error::SqliteFailure(code, message) => (code, message.as_deref()),
            // A statement names a table or a column that is not there.
            rusqlite::Error::SqlInputError { error, msg, .. } => (error, Some(msg.as_str())),
            // A value of another type than was asked for.
            _ => return Self::new(Fault::Fatal, None, one_line(&error.to_string())),
        };
        let (fault, state) = meaning(code.extended_code);
        let name = code.to_string();
        let told = message.unwrap_or(&name);
        let message = one_line(&format!("{told} (SQLite {})", code.extended_code));
        let mut trouble = Self::new(fault, state.map(str::to_owned), message);
        if state == Some("XX001") {
            trouble.reason = format!(
                "the file is damaged: {}; to keep it aside and begin a new one, run on its machine: \
                 offtake resync --recreate, with the --tenant",
                trouble.message
            );
        }
        trouble
    }
}

fn meaning(extended: i32) -> (Fault, Option<&'static str>) {
    match extended {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => return (Fault::Row, Some("23505")),
        ffi::SQLITE_CONSTRAINT_NOTNULL => return (Fault::Row, Some("23502")),
        ffi::SQLITE_CONSTRAINT_CHECK => return (Fault::Row, Some("23514")),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => return (Fault::Row, Some("23503")),
        ffi::SQLITE_CONSTRAINT_DATATYPE => return (Fault::Row, Some("42804")),
        _ => {}
    }
    match extended & 0xff {
        ffi::SQLITE_CONSTRAINT => (Fault::Row, Some("23000")),
        ffi::SQLITE_MISMATCH => (Fault::Row, Some("42804")),
        ffi::SQLITE_TOOBIG => (Fault::Row, Some("22001")),
        ffi::SQLITE_FULL => (Fault::Full, Some("53100")),
        ffi::SQLITE_READONLY | ffi::SQLITE_PERM | ffi::SQLITE_CANTOPEN => {
            (Fault::ReadOnly, Some("25006"))
        }
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => (Fault::Transient, Some("55P03")),
        ffi::SQLITE_INTERRUPT => (Fault::TooSlow, Some("57014")),
        ffi::SQLITE_IOERR | ffi::SQLITE_NOMEM | ffi::SQLITE_PROTOCOL => {
            (Fault::Transient, Some("58030"))
        }
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => (Fault::Fatal, Some("XX001")),
        // What a table or a column is there is the tenant's; a statement of ours that names one that
        // is gone is no statement of ours that is wrong.
        ffi::SQLITE_ERROR | ffi::SQLITE_SCHEMA => (Fault::Schema, Some("42000")),
        ffi::SQLITE_AUTH => (Fault::Schema, Some("42501")),
        _ => (Fault::Fatal, None),
    }
}

/// A message is one line in a log, a column and a dashboard.
const MESSAGE_CHARS_MAX: usize = 500;

pub(super) fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_the_same_codes_of_a_server_mean() {
        let check = |code: i32, fault: Fault, state: &str| {
            assert_eq!(meaning(code), (fault, Some(state)), "{code}");
        };
        check(ffi::SQLITE_CONSTRAINT_UNIQUE, Fault::Row, "23505");
        check(ffi::SQLITE_CONSTRAINT_NOTNULL, Fault::Row, "23502");
        check(ffi::SQLITE_CONSTRAINT_CHECK, Fault::Row, "23514");
        check(ffi::SQLITE_FULL, Fault::Full, "53100");
        check(ffi::SQLITE_READONLY_DIRECTORY, Fault::ReadOnly, "25006");
        check(ffi::SQLITE_BUSY, Fault::Transient, "55P03");
        check(ffi::SQLITE_INTERRUPT, Fault::TooSlow, "57014");
        check(ffi::SQLITE_IOERR_WRITE, Fault::Transient, "58030");
        check(ffi::SQLITE_CORRUPT_INDEX, Fault::Fatal, "XX001");
        check(ffi::SQLITE_NOTADB, Fault::Fatal, "XX001");
    }

    #[test]
    fn a_message_has_the_code_and_no_second_line() {
        let failure = ffi::Error::new(ffi::SQLITE_CONSTRAINT_UNIQUE);
        let error = rusqlite::Error::SqliteFailure(failure, Some("UNIQUE failed:\nt.a".to_owned()));
        assert_eq!(Trouble::from(error).message, "UNIQUE failed: t.a (SQLite 2067)");
    }
}
