//! A mapping's table in a file: examined, made, widened by columns, or left alone with a reason.

use std::collections::BTreeMap;

use offtake_mapping::compose::sqlite::{Affinity, Apply, Held};
use offtake_mapping::{Column, Identifier, ResolvedMapping, foreign};
use offtake_postgres::Fault;
use offtake_reading::MappingFault;
use rand::Rng as _;
use rusqlite::Connection;

use super::connection::Open;
use super::schema::Table;
use super::{Trouble, sql};
use crate::Error;

/// What of a mapping's table is there.
pub(super) struct Examined {
    /// None: there is no table.
    pub(super) identity: Option<String>,
    /// The table is not there, or lacks columns: no cursor says anything about its rows.
    pub(super) incomplete: bool,
}

/// A statement failed, or the table does not fit.
pub(super) enum Problem {
    Statement(rusqlite::Error),
    Fault(MappingFault),
}

impl Problem {
    fn fault(message: String) -> Self {
        Self::Fault(MappingFault::said(message))
    }

    /// A mapping's own fault, or the destination's trouble.
    pub(super) fn into_fault(self) -> Result<MappingFault, Error> {
        match self {
            Self::Fault(fault) => Ok(fault),
            Self::Statement(error) => {
                let trouble = Trouble::from(error);
                match trouble.fault {
                    Fault::Schema | Fault::Row => {
                        let message = format!("cannot make the table ready: {}", trouble.message);
                        Ok(MappingFault { sqlstate: trouble.code, message })
                    }
                    _ => Err(Error::Destination(trouble)),
                }
            }
        }
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Statement(error)
    }
}

/// A column of a table.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) declared: String,
    required: bool,
    generated: bool,
}

/// Looks whether the mapping's table is there, is this mapping's own, and fits. Changes nothing.
pub(super) fn examine(open: &mut Open, mapping: &ResolvedMapping) -> Result<Examined, Problem> {
    check_names(mapping)?;
    let (schema, file) = (open.schema()?, open.file);
    let name = mapping.definition.target.table.as_str();
    let Some(table) = schema.table(name) else {
        return Ok(Examined { identity: None, incomplete: true });
    };
    check_owner(table, mapping)?;
    let found = columns(&open.connection, &table.name)?;
    check_fit(&open.connection, table, mapping, &found)?;
    let incomplete = missing(mapping, &found).next().is_some();
    Ok(Examined { identity: table.identity(mapping.name(), file), incomplete })
}

/// Makes the mapping's table what it must be, and tells what it is then. Nothing is ever dropped or
/// taken over. The caller has a transaction, and a savepoint in it.
pub(super) fn ensure(open: &mut Open, mapping: &ResolvedMapping) -> Result<String, Problem> {
    check_names(mapping)?;
    let name = mapping.definition.target.table.as_str();
    if open.schema()?.table(name).is_none() {
        make(&open.connection, mapping)?;
    }
    let schema = open.schema()?;
    let gone = || Problem::fault(format!("the table {name} is gone again"));
    let table = schema.table(name).ok_or_else(gone)?;
    check_owner(table, mapping)?;
    let found = columns(&open.connection, &table.name)?;
    let mut added = false;
    for column in missing(mapping, &found) {
        let (name, of) = (column.name.sql(), Held::of(mapping, column).declared());
        let table = Apply::new(mapping).table().to_owned();
        open.connection.execute_batch(&format!("alter table {table} add column {name} {of}"))?;
        added = true;
    }
    let found = match added {
        true => columns(&open.connection, &table.name)?,
        false => found,
    };
    check_fit(&open.connection, table, mapping, &found)?;
    table.identity(mapping.name(), open.file).ok_or_else(gone)
}

/// Makes the table from the query's columns, and marks it.
fn make(connection: &Connection, mapping: &ResolvedMapping) -> Result<(), Problem> {
    let apply = Apply::new(mapping);
    connection.execute_batch(&apply.create_table())?;
    let nonce = format!("x{:016x}", rand::rng().random::<u64>());
    connection.execute_batch(&apply.mark_table(&nonce))?;
    Ok(())
}

/// Whether the table has the mapping's mark. One that has not is someone else's, also an empty one:
/// a file is often an application's own database.
fn check_owner(table: &Table, mapping: &ResolvedMapping) -> Result<(), Problem> {
    let name = foreign(&table.name);
    if table.view {
        return Err(Problem::fault(format!(
            "{name} is not a table; rename it or set another target.table"
        )));
    }
    let Some(mark) = &table.mark else {
        return Err(Problem::fault(format!(
            "{name} was there before Offtake; it stays untouched. Rename it, or set another \
             target.table or file"
        )));
    };
    if mark.mapping != mapping.name() {
        let other = foreign(&mark.mapping);
        return Err(Problem::fault(format!(
            "{name} holds the rows of the mapping {other}; it stays untouched. Set another \
             target.table, or, where nothing receives {other} there any more, run `drop table \
             {name}` there, and Offtake makes it again with the rows of {}",
            mapping.name()
        )));
    }
    check_triggers(table)
}

/// A trigger may change or drop a row without a word.
pub(super) fn check_triggers(table: &Table) -> Result<(), Problem> {
    let Some(trigger) = &table.trigger else { return Ok(()) };
    let (trigger, name) = (foreign(trigger), foreign(&table.name));
    Err(Problem::fault(format!(
        "{name} has the trigger {trigger}, which may change or drop what is written; run there: \
         drop trigger {trigger}"
    )))
}

/// SQLite takes names that differ only in the case of their letters for one, and keeps some for
/// itself.
fn check_names(mapping: &ResolvedMapping) -> Result<(), Problem> {
    let table = mapping.definition.target.table.as_str();
    let folded = table.to_ascii_lowercase();
    if folded.starts_with("sqlite_") || folded.starts_with("_offtake") {
        return Err(Problem::fault(format!(
            "SQLite or Offtake keeps the name {table} for itself; set another target.table"
        )));
    }
    let mut names = BTreeMap::new();
    let twice = mapping.columns.iter().find_map(|column| {
        let name = column.name.as_str();
        Some((names.insert(name.to_ascii_lowercase(), name)?, name))
    });
    match twice {
        Some((one, other)) => Err(Problem::fault(format!(
            "the columns {one} and {other} are one in SQLite; give one of them another name in the \
             query"
        ))),
        None => Ok(()),
    }
}

/// The columns of a table, in their order.
pub(super) fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Found>> {
    let mut statement = connection.prepare_cached(sql::LIST_COLUMNS)?;
    let column = |row: &rusqlite::Row<'_>| {
        let default: Option<String> = row.get(3)?;
        Ok(Found {
            name: row.get(0)?,
            declared: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
            required: row.get::<_, bool>(2)? && default.is_none(),
            generated: row.get(4)?,
        })
    };
    statement.query_map([table], column)?.collect()
}

fn found<'f>(columns: &'f [Found], name: &Identifier) -> Option<&'f Found> {
    columns.iter().find(|found| found.name.eq_ignore_ascii_case(name.as_str()))
}

/// Columns that the query gives and the table has not.
fn missing<'a>(
    mapping: &'a ResolvedMapping,
    columns: &'a [Found],
) -> impl Iterator<Item = &'a Column> {
    mapping.columns.iter().filter(|column| found(columns, &column.name).is_none())
}

/// Whether rows of the mapping can be written as they are, and found by their key.
fn check_fit(
    connection: &Connection,
    table: &Table,
    mapping: &ResolvedMapping,
    columns: &[Found],
) -> Result<(), Problem> {
    let name = foreign(&table.name);
    for column in &mapping.columns {
        let Some(there) = found(columns, &column.name) else { continue };
        let (held, declared) = (Held::of(mapping, column), foreign(&there.declared));
        if there.generated {
            return Err(Problem::fault(format!(
                "the column {} of {name} is generated; declare it {}",
                column.name,
                held.declared()
            )));
        }
        if !held.fits(Affinity::of(&there.declared)) {
            return Err(Problem::fault(format!(
                "the column {} of {name} is declared {declared}, and SQLite would change values in \
                 it: a text 0012 to 12, an integer of 19 digits to a double; declare it {}",
                column.name,
                held.declared()
            )));
        }
    }
    let given = |there: &&Found| {
        there.required
            && !mapping.columns.iter().any(|c| there.name.eq_ignore_ascii_case(c.name.as_str()))
    };
    if let Some(required) = columns.iter().find(given) {
        return Err(Problem::fault(format!(
            "the column {} of {name} takes no NULL and has no default, and the query does not give \
             it; add it to the query, or drop it there",
            foreign(&required.name)
        )));
    }
    check_key(connection, table, mapping)
}

/// The table's key must be the mapping's, compared by bytes.
fn check_key(
    connection: &Connection,
    table: &Table,
    mapping: &ResolvedMapping,
) -> Result<(), Problem> {
    let wanted = mapping.target_key();
    let mut keys: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut statement = connection.prepare_cached(sql::LIST_UNIQUE_KEYS)?;
    let mut rows = statement.query([&table.name])?;
    while let Some(row) = rows.next()? {
        let column = (row.get::<_, Option<String>>(1)?.unwrap_or_default(), row.get(2)?);
        keys.entry(row.get(0)?).or_default().push(column);
    }
    let is_it = |key: &Vec<(String, String)>| {
        let is_there = |name: &Identifier| {
            key.iter().any(|(column, collation)| {
                column.eq_ignore_ascii_case(name.as_str()) && collation == "BINARY"
            })
        };
        key.len() == wanted.len() && wanted.iter().all(is_there)
    };
    let rowid = || match &wanted[..] {
        [only] => is_rowid(connection, table, only),
        _ => Ok(false),
    };
    let key: Vec<&str> = wanted.iter().map(Identifier::as_str).collect();
    let (key, name) = (key.join(", "), foreign(&table.name));
    if !keys.values().any(is_it) && !rowid()? {
        return Err(Problem::fault(format!(
            "{name} has no primary key or unique index on exactly ({key}) that compares bytes; \
             without one a row could be there twice"
        )));
    }
    Ok(())
}

/// Whether the column is another name of the row's number: that is its own key.
fn is_rowid(connection: &Connection, table: &Table, column: &Identifier) -> rusqlite::Result<bool> {
    let asked = "select count(*) = 1 and max(type = 'INTEGER' collate nocase and name = ?2 collate nocase) = 1 \
                   from pragma_table_info(?1) where pk > 0";
    let alone: bool = connection
        .prepare_cached(asked)?
        .query_row([&table.name, column.as_str()], |row| row.get::<_, Option<bool>>(0))?
        .unwrap_or(false);
    let indexed = "select exists (select 1 from pragma_index_list(?1) where origin = 'pk')";
    let indexed: bool =
        connection.prepare_cached(indexed)?.query_row([&table.name], |row| row.get(0))?;
    Ok(alone && !indexed)
}
