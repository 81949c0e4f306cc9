//! A tenant's SQLite file, read as a tenant's program reads it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

/// A file that is the destination of a tenant. It is made by a daemon.
#[derive(Debug, Clone)]
pub struct SqliteFile {
    path: PathBuf,
}

impl SqliteFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As a destination's `url`.
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    /// A connection of the tenant's, which may write. The file must be there.
    pub fn connect(&self) -> Connection {
        self.try_connect().unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }

    fn try_connect(&self) -> rusqlite::Result<Connection> {
        let connection =
            Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(Duration::from_secs(30))?;
        Ok(connection)
    }

    /// Runs statements as the tenant.
    pub fn execute(&self, sql: &str) {
        self.connect().execute_batch(sql).unwrap_or_else(|error| panic!("{sql}\n  {error}"));
    }

    /// The rows as `psql -At` would print them: one line per row, columns separated by `|`, null as
    /// empty text.
    pub fn query_text(&self, sql: &str) -> String {
        self.try_query_text(sql).unwrap_or_else(|error| panic!("{sql}\n  {error}"))
    }

    pub fn try_query_text(&self, sql: &str) -> Result<String, String> {
        let rows = self.try_rows(sql)?;
        let line = |row: Vec<Option<String>>| {
            row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("|")
        };
        Ok(rows.into_iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    /// The rows as texts that Postgres reads: a double in its exponent form, bytes as `\x`.
    pub fn try_rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        let read = || -> rusqlite::Result<_> {
            let connection = self.try_connect()?;
            let mut statement = connection.prepare(sql)?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let text = |at| row.get_ref(at).map(text);
                all.push((0..columns).map(text).collect::<rusqlite::Result<Vec<_>>>()?);
            }
            Ok(all)
        };
        read().map_err(|error| error.to_string())
    }
}

fn text(value: ValueRef<'_>) -> Option<String> {
    Some(match value {
        ValueRef::Null => return None,
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:e}"),
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).expect("the file holds UTF-8"),
        ValueRef::Blob(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{digits}")
        }
    })
}
