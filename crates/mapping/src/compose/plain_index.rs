//! Indexes of a source table that a copy made once can have too.

use crate::{Identifier, ResolvedMapping};

/// A btree over columns, all of them ascending and compared as their type does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainIndex {
    pub name: Identifier,
    pub unique: bool,
    pub columns: Vec<Identifier>,
}

impl PlainIndex {
    /// Whether the copy's table has all of its columns.
    pub fn fits(&self, mapping: &ResolvedMapping) -> bool {
        let there = |name: &Identifier| mapping.columns.iter().any(|column| column.name == *name);
        self.columns.iter().all(there)
    }

    /// Makes it where it is not there: the same in every dialect but for the schema. SQLite has the
    /// schema before the index's name, and Postgres before the table's.
    pub fn create(&self, table: &str) -> String {
        let unique = if self.unique { "unique " } else { "" };
        let columns: Vec<String> = self.columns.iter().map(Identifier::sql).collect();
        let (name, columns) = (self.name.sql(), columns.join(", "));
        format!("create {unique}index if not exists {name} on {table} ({columns})")
    }
}
