//! What there is in a file, as far as it concerns whose tables they are.

use std::collections::HashMap;
use std::sync::Arc;

use offtake_mapping::compose::sqlite::Apply;
use rusqlite::Connection;

use super::cells::Cells;
use super::connection::Open;
use super::file::FileIdentity;
use super::sql;

/// The tables of a file, by their names in lower case: SQLite takes `Users` and `users` for one.
#[derive(Default)]
pub(in crate::destinations) struct Schema(HashMap<String, Table>);

/// A table, or a view in its place.
#[derive(Default)]
pub(in crate::destinations) struct Table {
    pub(in crate::destinations) name: String,
    pub(in crate::destinations) view: bool,
    /// Whose it is: a mapping, and the nonce of its mark.
    pub(in crate::destinations) mark: Option<Mark>,
    /// One of its triggers.
    pub(in crate::destinations) trigger: Option<String>,
}

/// What the name of an index says that marks a table.
pub(in crate::destinations) struct Mark {
    pub(in crate::destinations) mapping: String,
    pub(in crate::destinations) nonce: String,
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
        Some(file.of_table(&self.mark_of(mapping)?.nonce))
    }

    /// Its mark, if it is this mapping's.
    pub(in crate::destinations) fn mark_of(&self, mapping: &str) -> Option<&Mark> {
        self.mark.as_ref().filter(|mark| mark.mapping == mapping && !self.view)
    }
}

impl Schema {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut schema = Self::default();
        let mut statement = connection.prepare_cached(sql::LIST_OBJECTS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            schema.add(row);
        }
        Ok(schema.whole())
    }

    /// Of what `list_objects.sql` returned.
    pub(in crate::destinations) fn of<C: Cells>(rows: &[C]) -> Self {
        let mut schema = Self::default();
        rows.iter().for_each(|row| schema.add(row));
        schema.whole()
    }

    fn add(&mut self, row: &impl Cells) {
        let name = row.text(1);
        let table = self.0.entry(row.text(2)).or_default();
        match row.text(0).as_str() {
            "table" => table.name = name,
            "view" => (table.name, table.view) = (name, true),
            "trigger" => table.trigger = Some(name),
            _ => table.mark = Mark::parse(&name).or(table.mark.take()),
        }
    }

    fn whole(mut self) -> Self {
        self.0.retain(|_, table| !table.name.is_empty());
        self
    }

    pub(in crate::destinations) fn table(&self, name: &str) -> Option<&Table> {
        self.0.get(&name.to_ascii_lowercase())
    }

    /// The tables that are marked.
    pub(in crate::destinations) fn marked(&self) -> impl Iterator<Item = (&Table, &Mark)> {
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
