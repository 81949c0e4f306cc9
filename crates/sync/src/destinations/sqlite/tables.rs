//! A mapping's table in a file: examined, made, widened by columns, or left alone with a reason.

use std::collections::BTreeMap;

use offtake_mapping::compose::sqlite::{Affinity, Apply, Held};
use offtake_mapping::{Column, Identifier, ResolvedMapping, foreign};
use offtake_postgres::Fault;
use offtake_reading::MappingFault;
use rand::Rng as _;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::cells::Cells;
use super::connection::Open;
use super::schema::{Schema, Table};
use super::{Trouble, sql};
use crate::Error;
use crate::destinations::elsewhere::{elsewhere, instead_of_taking, lacks_value, rename_column};

/// What of a mapping's table is there.
pub(super) struct Examined {
    /// None: there is no table.
    pub(super) identity: Option<String>,
    /// The table is not there, or lacks columns: no cursor says anything about its rows.
    pub(super) incomplete: bool,
}

/// A statement failed, or the table does not fit.
pub(in crate::destinations) enum Problem {
    Statement(Trouble),
    Fault(MappingFault),
}

impl Problem {
    pub(in crate::destinations) fn fault(message: String) -> Self {
        Self::Fault(MappingFault::said(message))
    }

    /// A mapping's own fault, or the destination's trouble.
    pub(in crate::destinations) fn into_fault(self) -> Result<MappingFault, Error> {
        match self {
            Self::Fault(fault) => Ok(fault),
            Self::Statement(trouble) => match trouble.fault {
                Fault::Schema | Fault::Row => {
                    let message = format!("cannot make the table ready: {}", trouble.message);
                    Ok(MappingFault { sqlstate: trouble.code, message })
                }
                _ => Err(Error::Destination(trouble)),
            },
        }
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Statement(error.into())
    }
}

/// A column of a table.
pub(in crate::destinations) struct Found {
    pub(in crate::destinations) name: String,
    pub(in crate::destinations) declared: String,
    required: bool,
    generated: bool,
}

impl Found {
    /// Of a row that `list_columns.sql` returned.
    pub(in crate::destinations) fn of(row: &impl Cells) -> Self {
        Self {
            name: row.text(0),
            declared: row.text(1),
            required: row.number(2) != 0 && row.is_null(3),
            generated: row.number(4) != 0,
        }
    }
}

/// What a table looks like, as far as it decides whether a mapping's rows fit.
pub(in crate::destinations) struct Shape {
    pub(in crate::destinations) columns: Vec<Found>,
    /// Columns and collations of its unique indexes, by the index.
    keys: BTreeMap<String, Vec<(String, String)>>,
    /// The column that is the row's number, where the table is its own index by it.
    rowid: Option<String>,
}

impl Shape {
    /// Of what the three statements returned that describe a table.
    pub(in crate::destinations) fn of<C: Cells>(columns: &[C], keys: &[C], rowid: &[C]) -> Self {
        let mut by_index: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for row in keys {
            by_index.entry(row.text(0)).or_default().push((row.text(1), row.text(2)));
        }
        Self {
            columns: columns.iter().map(Found::of).collect(),
            keys: by_index,
            rowid: rowid.first().map(|row| row.text(0)),
        }
    }

    fn read(connection: &Connection, table: &str) -> rusqlite::Result<Self> {
        let all = |statement: &str| {
            let mut statement = connection.prepare_cached(statement)?;
            let columns = statement.column_count();
            let row = |row: &rusqlite::Row<'_>| {
                (0..columns).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Value>>>()
            };
            statement.query_map([table], row)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        let [columns, keys, rowid] = sql::DESCRIBE_TABLE;
        Ok(Self::of(&all(columns)?, &all(keys)?, &all(rowid)?))
    }
}

/// Looks whether the mapping's table is there, is this mapping's own, and fits. Changes nothing.
pub(super) fn examine(open: &mut Open, mapping: &ResolvedMapping) -> Result<Examined, Problem> {
    let (schema, file) = (open.schema()?, open.file);
    let read = |table: &Table| Ok(Shape::read(&open.connection, &table.name)?);
    Ok(match stands(&schema, mapping, read)? {
        None => Examined { identity: None, incomplete: true },
        Some((table, incomplete)) => {
            Examined { identity: table.identity(mapping.name(), file), incomplete }
        }
    })
}

/// The mapping's table, and whether it lacks columns; None: it is not there. `shape` tells what a
/// table looks like.
pub(in crate::destinations) fn stands<'s, S: std::borrow::Borrow<Shape>>(
    schema: &'s Schema,
    mapping: &ResolvedMapping,
    shape: impl FnOnce(&Table) -> Result<S, Problem>,
) -> Result<Option<(&'s Table, bool)>, Problem> {
    check_names(mapping)?;
    let name = mapping.definition.target.table.as_str();
    let Some(table) = schema.table(name) else { return Ok(None) };
    check_owner(table, mapping)?;
    let shape = shape(table)?;
    check_fit(shape.borrow(), table, mapping)?;
    let incomplete = missing(mapping, &shape.borrow().columns).next().is_some();
    Ok(Some((table, incomplete)))
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
    let mut shape = Shape::read(&open.connection, &table.name)?;
    let add = widen(mapping, &shape);
    if !add.is_empty() {
        add.iter().try_for_each(|statement| open.connection.execute_batch(statement))?;
        shape = Shape::read(&open.connection, &table.name)?;
    }
    check_fit(&shape, table, mapping)?;
    table.identity(mapping.name(), open.file).ok_or_else(gone)
}

/// Makes the table from the query's columns, and marks it.
fn make(connection: &Connection, mapping: &ResolvedMapping) -> Result<(), Problem> {
    for statement in making(mapping) {
        connection.execute_batch(&statement)?;
    }
    Ok(())
}

/// The statements that make the table from the query's columns, and mark it.
pub(in crate::destinations) fn making(mapping: &ResolvedMapping) -> [String; 2] {
    let apply = Apply::new(mapping);
    let nonce = format!("x{:016x}", rand::rng().random::<u64>());
    [apply.create_table(), apply.mark_table(&nonce)]
}

/// The statements that add the columns that the table lacks.
pub(in crate::destinations) fn widen(mapping: &ResolvedMapping, shape: &Shape) -> Vec<String> {
    let table = Apply::new(mapping).table().to_owned();
    let add = |column: &Column| {
        let (name, of) = (column.name.sql(), Held::of(mapping, column).declared());
        format!("alter table {table} add column {name} {of}")
    };
    missing(mapping, &shape.columns).map(add).collect()
}

/// Whether the table has the mapping's mark. One that has not is someone else's, also an empty one:
/// a file is often an application's own database.
fn check_owner(table: &Table, mapping: &ResolvedMapping) -> Result<(), Problem> {
    let name = foreign(&table.name);
    if table.view {
        return Err(Problem::fault(format!(
            "{name} is not a table; rename it or {}",
            elsewhere(&mapping.definition, "file")
        )));
    }
    let Some(mark) = &table.mark else {
        return Err(Problem::fault(format!(
            "{name} was there before Offtake; it stays untouched. Rename it, or {}",
            elsewhere(&mapping.definition, "file")
        )));
    };
    if mark.mapping != mapping.name() {
        let other = foreign(&mark.mapping);
        return Err(Problem::fault(format!(
            "{name} {}, where nothing receives {other} there any more, run `drop table {name}` \
             there, and Offtake makes it again with the rows of {}",
            instead_of_taking(&mapping.definition, &other, "file"),
            mapping.name()
        )));
    }
    check_triggers(table)
}

/// A trigger may change or drop a row without a word.
pub(in crate::destinations) fn check_triggers(table: &Table) -> Result<(), Problem> {
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
            "SQLite or Offtake keeps the name {table} for itself; {}",
            match mapping.definition.is_written() {
                true => "set another target.table",
                false => "rename the table at the source",
            }
        )));
    }
    let mut names = BTreeMap::new();
    let twice = mapping.columns.iter().find_map(|column| {
        let name = column.name.as_str();
        Some((names.insert(name.to_ascii_lowercase(), name)?, name))
    });
    match twice {
        Some((one, other)) => Err(Problem::fault(format!(
            "the columns {one} and {other} are one in SQLite; {}",
            rename_column(&mapping.definition)
        ))),
        None => Ok(()),
    }
}

/// The columns of a table, in their order.
pub(super) fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Found>> {
    let mut statement = connection.prepare_cached(sql::LIST_COLUMNS)?;
    statement.query_map([table], |row| Ok(Found::of(row)))?.collect()
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
fn check_fit(shape: &Shape, table: &Table, mapping: &ResolvedMapping) -> Result<(), Problem> {
    let (name, columns) = (foreign(&table.name), &shape.columns);
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
                 it: a text 0012 to 12, an integer of 19 digits to a double; declare it {}, or drop the table: it is then \
                 made and copied again",
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
        let [why, mend] = lacks_value(&mapping.definition);
        let or = if mapping.definition.is_written() { ", or drop it there" } else { "" };
        return Err(Problem::fault(format!(
            "the column {} of {name} takes no NULL and has no default, and {why}; {mend}{or}",
            foreign(&required.name)
        )));
    }
    check_key(shape, table, mapping)
}

/// The table's key must be the mapping's, compared by bytes.
fn check_key(shape: &Shape, table: &Table, mapping: &ResolvedMapping) -> Result<(), Problem> {
    let wanted = mapping.target_key();
    let is_it = |key: &Vec<(String, String)>| {
        let is_there = |name: &Identifier| {
            key.iter().any(|(column, collation)| {
                column.eq_ignore_ascii_case(name.as_str()) && collation == "BINARY"
            })
        };
        key.len() == wanted.len() && wanted.iter().all(is_there)
    };
    let rowid = || match (&wanted[..], &shape.rowid) {
        ([only], Some(rowid)) => rowid.eq_ignore_ascii_case(only.as_str()),
        _ => false,
    };
    let key: Vec<&str> = wanted.iter().map(Identifier::as_str).collect();
    let (key, name) = (key.join(", "), foreign(&table.name));
    if !shape.keys.values().any(is_it) && !rowid() {
        return Err(Problem::fault(format!(
            "{name} has no primary key or unique index on exactly ({key}) that compares bytes; \
             without one a row could be there twice"
        )));
    }
    Ok(())
}
