//! Files that are damaged: found by SQLite, and moved aside when an operator says so.

use std::path::Path;

use jiff::Timestamp;
use offtake_mapping::foreign;
use offtake_postgres::Fault;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

use super::Trouble;
use super::connection::{LOCK_WAIT, flags};
use super::file::{BESIDE, DatabaseFile};
use super::trouble::one_line;

impl DatabaseFile {
    /// What SQLite says is wrong with the file. None: nothing, or there is no file. The whole file
    /// is read.
    pub async fn damage(&self) -> Result<Option<String>, Trouble> {
        if self.look()?.is_none() {
            return Ok(None);
        }
        let path = self.path().to_owned();
        let examined = tokio::task::spawn_blocking(move || examine(&path)).await;
        examined.unwrap_or_else(|_| {
            let message = "a call of SQLite ended in a panic".to_owned();
            Err(Trouble::new(Fault::Fatal, None, message))
        })
    }

    /// The name that the file gets when it is moved aside now.
    pub fn name_aside(&self) -> String {
        format!("{}.corrupt-{}", self.as_str(), Timestamp::now().strftime("%Y%m%dT%H%M%SZ"))
    }

    /// Gives the file another name, and those beside it too. Those are moved first: a new file
    /// beside an old write-ahead log would show rows of the old one.
    pub fn move_to(&self, aside: &str) -> Result<(), Trouble> {
        let failed = |error: std::io::Error| {
            let message = format!("{}: {}", foreign(self.as_str()), error.kind());
            Trouble::new(Fault::ReadOnly, None, message)
        };
        for ending in BESIDE.into_iter().chain([""]) {
            let [from, to] = [self.as_str(), aside].map(|name| format!("{name}{ending}"));
            if Path::new(&to).symlink_metadata().is_ok() {
                return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
            }
            match std::fs::rename(from, to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                moved => moved.map_err(failed)?,
            }
        }
        Ok(())
    }
}

fn examine(path: &Path) -> Result<Option<String>, Trouble> {
    let look = || -> rusqlite::Result<String> {
        let connection = Connection::open_with_flags(path, flags())?;
        connection.busy_timeout(LOCK_WAIT)?;
        // What is damaged stays as it is, for whoever looks at it later.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.query_row("pragma integrity_check(1)", [], |row| row.get(0))
    };
    match look() {
        Ok(told) if told == "ok" => Ok(None),
        Ok(told) => Ok(Some(one_line(&told))),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Ok(Some(one_line(&error.to_string())))
            }
            _ => Err(error.into()),
        },
    }
}
