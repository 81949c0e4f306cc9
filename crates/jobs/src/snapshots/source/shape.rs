//! How an archive's table compares with the source's of now.

use offtake_mapping::{Identifier, foreign};

use super::tables::Resolved;
use crate::archive::Table;

/// Whether the rows of an archive fit the table of now.
pub(super) enum Shape {
    /// `columns`: those of the archive, in its order. `notes`: what is new since.
    Fits { columns: Vec<Identifier>, notes: Vec<String> },
    /// Each difference as a person is told it.
    Differs(Vec<String>),
}

/// Compares. Of the archive, names and types are compared as texts and never become SQL.
pub(super) fn compare(table: &Table, now: &Resolved) -> Shape {
    let label = now.label();
    let (mut differing, mut columns, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for column in &table.columns {
        let (name, then) = (foreign(&column.name), foreign(&column.sql_type));
        match now.columns.iter().find(|known| known.name.as_str() == column.name) {
            None => differing.push(format!("{label}: the column {name} is no longer there")),
            Some(known) if known.generated => {
                differing.push(format!("{label}: the column {name} is generated now"));
            }
            Some(known) if known.sql_type != column.sql_type => {
                let is = &known.sql_type;
                differing.push(format!("{label}: {name} was {then} and is {is}"));
            }
            Some(known) if columns.contains(&known.name) => {
                differing.push(format!("{label}: the column {name} is there twice"));
            }
            Some(known) => columns.push(known.name.clone()),
        }
    }
    for new in now.stored().filter(|column| !columns.contains(&column.name)) {
        let name = new.name.in_sql();
        if table.columns.iter().any(|column| column.name == new.name.as_str()) {
            continue;
        }
        match new.not_null && !new.has_default {
            true => differing.push(format!(
                "{label}: the column {name} is new, without a default, and cannot be null"
            )),
            false => notes.push(format!(
                "{label}: the column {name} is new; a row that comes back has its default"
            )),
        }
    }
    let key = now.key_columns().map(|column| column.name.as_str());
    if !key.eq(table.key.iter().map(String::as_str)) {
        differing.push(format!("{label}: its key is another one"));
    }
    match differing.is_empty() {
        true => Shape::Fits { columns, notes },
        false => Shape::Differs(differing),
    }
}
