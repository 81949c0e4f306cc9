//! What there is in a file, as far as it concerns whose tables they are.

use std::collections::HashMap;
use std::sync::Arc;

use offtake_mapping::compose::sqlite::Apply;
use rusqlite::Connection;

use super::connection::Open;
use super::file::FileIdentity;
use super::sql;

/// The tables of a file, by their names in lower case: SQLite takes `Users` and `users` for one.
#[derive(Default)]
pub(super) struct Schema(HashMap<String, Table>);

/// A table, or a view in its place.
#[derive(Default)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) view: bool,
    /// Whose it is: a mapping, and the nonce of its mark.
    pub(super) mark: Option<Mark>,
    /// One of its triggers.
    pub(super) trigger: Option<String>,
}

/// What the name of an index says that marks a table.
pub(super) struct Mark {
    pub(super) mapping: String,
    pub(super) nonce: String,
}

impl Mark {
    fn parse(index: &str) -> Option<Self> {
        let (mapping, nonce) = index.strip_prefix(Apply::MARK)?.rsplit_once(':')?;
        Some(Self { mapping: mapping.to_owned(), nonce: nonce.to_owned() })
    }
}

impl Table {
    /// What the table is, if it is this mapping's.
    pub(super) fn identity(&self, mapping: &str, file: FileIdentity) -> Option<String> {
        let mark = self.mark.as_ref().filter(|mark| mark.mapping == mapping && !self.view)?;
        Some(file.of_table(&mark.nonce))
    }
}

impl Schema {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut schema = Self::default();
        let mut statement = connection.prepare_cached(sql::LIST_OBJECTS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
            let table = schema.0.entry(row.get(2)?).or_default();
            match kind.as_str() {
                "table" => table.name = name,
                "view" => (table.name, table.view) = (name, true),
                "trigger" => table.trigger = Some(name),
                _ => table.mark = Mark::parse(&name).or(table.mark.take()),
            }
        }
        schema.0.retain(|_, table| !table.name.is_empty());
        Ok(schema)
    }

    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        self.0.get(&name.to_ascii_lowercase())
    }

    /// The tables that are marked.
    pub(super) fn marked(&self) -> impl Iterator<Item = (&Table, &Mark)> {
        self.0.values().filter_map(|table| Some((table, table.mark.as_ref()?)))
    }
}

impl Open {
    /// The schema as it is. While this connection has a transaction, no other program changes what it
    /// sees of it.
    pub(super) fn schema(&mut self) -> rusqlite::Result<Arc<Schema>> {
        let version = "select schema_version from pragma_schema_version";
        let version = self.connection.prepare_cached(version)?.query_row([], |row| row.get(0))?;
        if let Some((_, known)) = self.schema.as_ref().filter(|(known, _)| *known == version) {
            return Ok(known.clone());
        }
        let schema = Arc::new(Schema::read(&self.connection)?);
        self.schema = Some((version, schema.clone()));
        Ok(schema)
    }
}
