//! One mapping's rows into its table in a file, inside the batch's transaction.
//!
//! The rows are written one by one. An INSERT that the file refuses undoes only itself. Rows whose
//! place among the unique values is taken are tried again behind the others, and then as a set whose
//! old rows are deleted first: two rows may have swapped a value.

use std::borrow::Cow;
use std::collections::HashSet;

use offtake_mapping::compose::sqlite::{Apply, Held};
use offtake_mapping::{KeyColumn, OnRowError, ResolvedMapping};
use offtake_postgres::Fault;
use offtake_reading::{Chunk, FAILED_ROWS_MAX, FailedRow, MappingFault, Part, Rows, key_of};
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{CachedStatement, Connection, ErrorCode, ffi, params_from_iter};

use super::connection::Open;
use super::tables::check_triggers;
use super::{Trouble, value};
use crate::Error;
use crate::destinations::Applied;

/// So many rows that collide with others are tried again before the mapping is called faulty.
const COLLIDED_ROWS_MAX: usize = 1000;

/// So many keys of a range are read at a time.
const KEYS_AT_ONCE: usize = 10_000;

/// How often a set is tried again without the rows that did not fit.
const ROUNDS_MAX: usize = 10;

/// Applies changed rows, then the chunk, behind a savepoint of its own. A mapping's own fault leaves
/// nothing of it.
pub(super) fn part(open: &mut Open, part: &Part, tenant: &str) -> Result<Applied, Error> {
    let mapping = &*part.mapping;
    let schema = open.schema().map_err(Error::destination)?;
    if let Some(table) = schema.table(mapping.definition.target.table.as_str())
        && let Err(problem) = check_triggers(table)
    {
        return Err(fault(mapping, problem.into_fault()?));
    }
    let connection = &open.connection;
    connection.execute_batch("savepoint mapping").map_err(Error::destination)?;
    let applier = Applier {
        connection,
        mapping,
        apply: Apply::new(mapping),
        held: mapping.columns.iter().map(|column| Held::of(mapping, column)).collect(),
        key: key_columns(mapping),
        tenant,
    };
    let mut applied = Applied::default();
    let done = applier.part(part, &mut applied);
    // After an error that ended the transaction there is nothing to go back to.
    if !connection.is_autocommit() {
        let end = match &done {
            Ok(()) => "release mapping",
            Err(_) => "rollback to mapping; release mapping",
        };
        connection.execute_batch(end).map_err(Error::destination)?;
    }
    done.map(|()| applied)
}

fn fault(mapping: &ResolvedMapping, fault: MappingFault) -> Error {
    Error::Mapping { mapping: mapping.name().to_owned(), fault }
}

/// The query's mistake: a key that comes twice, of which only one row can be there.
pub(in crate::destinations) fn refuse_repeated(
    mapping: &ResolvedMapping,
    rows: &Rows,
) -> Result<(), Error> {
    let place = |k: &KeyColumn| mapping.columns.iter().position(|c| c.name == k.query_column);
    let columns: Vec<usize> = mapping.key.iter().filter_map(place).collect();
    let mut seen = HashSet::with_capacity(rows.len());
    let mut present = (0..rows.len()).filter(|&line| rows.present(line..line + 1) == 1);
    if let Some(line) = present.find(|&line| !seen.insert(rows.escaped_key(line, &columns))) {
        let key = key_of(mapping, rows, line).join(", ");
        return Err(fault(mapping, MappingFault::repeated_key(&key)));
    }
    Ok(())
}

/// The columns of the table's key, by their places in a row.
fn key_columns(mapping: &ResolvedMapping) -> Vec<usize> {
    let place = |name| mapping.columns.iter().position(|column| column.name == name);
    mapping.target_key().into_iter().filter_map(place).collect()
}

struct Applier<'a> {
    connection: &'a Connection,
    mapping: &'a ResolvedMapping,
    apply: Apply<'a>,
    held: Vec<Held>,
    key: Vec<usize>,
    /// As rows have it.
    tenant: &'a str,
}

impl Applier<'_> {
    fn part(&self, part: &Part, applied: &mut Applied) -> Result<(), Error> {
        if !part.changed.is_empty() {
            refuse_repeated(self.mapping, &part.changed)?;
            self.delete_absent(&part.changed, applied)?;
            self.upsert(&part.changed, applied)?;
        }
        if let Some(chunk) = &part.chunk {
            refuse_repeated(self.mapping, &chunk.rows)?;
            self.clear_range(chunk, applied)?;
            self.upsert(&chunk.rows, applied)?;
        }
        Ok(())
    }

    fn delete_absent(&self, rows: &Rows, applied: &mut Applied) -> Result<(), Error> {
        let absent = (0..rows.len()).filter(|&line| rows.present(line..line + 1) == 0);
        let mut statement = self.prepare(&self.apply.delete())?;
        for line in absent {
            applied.deleted += self.delete(&mut statement, rows, line)?;
        }
        Ok(())
    }

    /// Deletes the rows of a chunk's range that the source has not, some at a time: a file may have
    /// any number of them.
    fn clear_range(&self, chunk: &Chunk, applied: &mut Applied) -> Result<(), Error> {
        let (of_tenant, own) =
            self.key.split_at(usize::from(self.mapping.definition.target.keep_tenant));
        let tenant = of_tenant.iter().map(|at| self.value(*at, Some(&self.tenant.into())));
        let tenant: Vec<Value> = tenant.collect();
        let bound = |bound: &Option<Vec<String>>| -> Option<Vec<Value>> {
            let texts = bound.as_ref()?.iter().map(|text| Cow::from(text.as_str()));
            Some(own.iter().zip(texts).map(|(at, text)| self.value(*at, Some(&text))).collect())
        };
        let (mut after, up_to) = (bound(&chunk.after), bound(&chunk.up_to));
        let mut given = None;
        loop {
            let there = self.keys(&tenant, after.as_ref(), up_to.as_ref(), own.len())?;
            let Some(last) = there.last() else { return Ok(()) };
            let given: &HashSet<Vec<u8>> = given.get_or_insert_with(|| {
                (0..chunk.rows.len()).map(|line| self.encoded(&chunk.rows, line, own)).collect()
            });
            let mut delete = self.prepare(&self.apply.delete())?;
            for key in there.iter().filter(|key| !given.contains(&encode(key))) {
                let deleted = delete.execute(params_from_iter(tenant.iter().chain(key)));
                applied.deleted += deleted.map_err(|error| self.classify(error))? as u64;
            }
            if there.len() < KEYS_AT_ONCE {
                return Ok(());
            }
            after = Some(last.clone());
        }
    }

    /// The first keys of a range that the table has.
    fn keys(
        &self,
        tenant: &[Value],
        after: Option<&Vec<Value>>,
        up_to: Option<&Vec<Value>>,
        columns: usize,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let select = || {
            let sql = self.apply.select_keys(after.is_some(), up_to.is_some());
            let mut statement = self.connection.prepare_cached(&sql)?;
            let limit = [Value::Integer(KEYS_AT_ONCE as i64)];
            let bounds = after.into_iter().chain(up_to).flatten();
            let parameters = tenant.iter().chain(bounds).chain(&limit);
            let rows = statement.query_map(params_from_iter(parameters), |row| {
                (0..columns).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Value>>>()
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        select().map_err(|error: rusqlite::Error| self.classify(error))
    }

    /// A value as the column at this place holds it.
    fn value(&self, column: usize, text: Option<&Cow<'_, str>>) -> Value {
        match value::bound(self.held[column], text) {
            ToSqlOutput::Owned(value) => value,
            ToSqlOutput::Borrowed(value) => value.try_into().unwrap_or(Value::Null),
            _ => Value::Null,
        }
    }

    /// A row's key as the table holds it, so that it can be looked up.
    fn encoded(&self, rows: &Rows, line: usize, columns: &[usize]) -> Vec<u8> {
        let texts: Vec<_> = rows.texts(line).collect();
        let value = |at: &usize| self.value(*at, texts[*at].as_ref());
        encode(&columns.iter().map(value).collect::<Vec<_>>())
    }

    /// Writes the rows that are there, and finds those that the file refuses.
    fn upsert(&self, rows: &Rows, applied: &mut Applied) -> Result<(), Error> {
        let mut statement = self.prepare(&self.apply.upsert())?;
        let mut collided = Vec::new();
        for line in (0..rows.len()).filter(|&line| rows.present(line..line + 1) == 1) {
            match self.execute(&mut statement, rows, line) {
                Ok(changed) => applied.upserted += changed,
                Err(error) if may_be_freed(&error) && collided.len() < COLLIDED_ROWS_MAX => {
                    collided.push(line);
                }
                Err(error) => self.refuse(rows, line, error, applied)?,
            }
        }
        let mut before = usize::MAX;
        while !collided.is_empty() && collided.len() < before {
            before = collided.len();
            let mut left = Vec::new();
            for line in collided {
                match self.execute(&mut statement, rows, line) {
                    Ok(changed) => applied.upserted += changed,
                    Err(error) if may_be_freed(&error) => left.push(line),
                    Err(error) => self.refuse(rows, line, error, applied)?,
                }
            }
            collided = left;
        }
        drop(statement);
        match collided.is_empty() {
            true => Ok(()),
            false => self.as_set(rows, collided, applied),
        }
    }

    /// Deletes the old rows of a set, and inserts the new ones. A row that even then does not fit is
    /// refused and keeps its old version; the set is tried again without it.
    fn as_set(&self, rows: &Rows, lines: Vec<usize>, applied: &mut Applied) -> Result<(), Error> {
        let mut set = lines;
        for _ in 0..ROUNDS_MAX {
            self.run("savepoint swap")?;
            let mut delete = self.prepare(&self.apply.delete())?;
            for &line in &set {
                self.delete(&mut delete, rows, line)?;
            }
            let mut insert = self.prepare(&self.apply.insert())?;
            let (mut fit, mut refused) = (Vec::new(), Vec::new());
            for &line in &set {
                match self.execute(&mut insert, rows, line) {
                    Ok(_) => fit.push(line),
                    Err(error) => refused.push((line, error)),
                }
            }
            if refused.is_empty() {
                self.run("release swap")?;
                applied.upserted += fit.len() as u64;
                return Ok(());
            }
            self.run("rollback to swap; release swap")?;
            for (line, error) in refused {
                self.refuse(rows, line, error, applied)?;
            }
            if fit.is_empty() {
                return Ok(());
            }
            set = fit;
        }
        let mut statement = self.prepare(&self.apply.upsert())?;
        for line in set {
            match self.execute(&mut statement, rows, line) {
                Ok(changed) => applied.upserted += changed,
                Err(error) => self.refuse(rows, line, error, applied)?,
            }
        }
        Ok(())
    }

    /// One row that the file does not take: set aside, or the mapping's stop.
    fn refuse(
        &self,
        rows: &Rows,
        line: usize,
        error: rusqlite::Error,
        applied: &mut Applied,
    ) -> Result<(), Error> {
        let trouble = Trouble::from(error);
        if trouble.fault != Fault::Row {
            return Err(self.of_destination(trouble));
        }
        let key = key_of(self.mapping, rows, line);
        let halts = self.mapping.definition.on_row_error == OnRowError::Halt;
        if halts || applied.refused.len() >= FAILED_ROWS_MAX {
            let what = match halts {
                true => format!("the destination refuses the row with key ({})", key.join(", ")),
                false => {
                    format!("the destination refuses more than {FAILED_ROWS_MAX} rows of one batch")
                }
            };
            let message = format!("{what}: {}", trouble.message);
            return Err(fault(self.mapping, MappingFault { sqlstate: trouble.code, message }));
        }
        // A row may be among the changes and in the chunk.
        applied.refused.retain(|refused| refused.key != key);
        let sqlstate = trouble.code.unwrap_or_default();
        applied.refused.push(FailedRow { key, sqlstate, error: trouble.message });
        Ok(())
    }

    fn execute(
        &self,
        statement: &mut CachedStatement<'_>,
        rows: &Rows,
        line: usize,
    ) -> rusqlite::Result<u64> {
        for (at, (text, held)) in rows.texts(line).zip(&self.held).enumerate() {
            statement.raw_bind_parameter(at + 1, value::bound(*held, text.as_ref()))?;
        }
        statement.raw_execute().map(|changed| changed as u64)
    }

    fn delete(
        &self,
        statement: &mut CachedStatement<'_>,
        rows: &Rows,
        line: usize,
    ) -> Result<u64, Error> {
        let texts: Vec<_> = rows.texts(line).collect();
        for (at, column) in self.key.iter().enumerate() {
            let bound = value::bound(self.held[*column], texts[*column].as_ref());
            statement.raw_bind_parameter(at + 1, bound).map_err(|e| self.classify(e))?;
        }
        statement.raw_execute().map(|deleted| deleted as u64).map_err(|e| self.classify(e))
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        self.connection.prepare_cached(sql).map_err(|error| self.classify(error))
    }

    fn run(&self, sql: &str) -> Result<(), Error> {
        self.connection.execute_batch(sql).map_err(Error::destination)
    }

    /// A statement's error: the mapping's, unless the file itself is in trouble.
    fn classify(&self, error: rusqlite::Error) -> Error {
        self.of_destination(error.into())
    }

    fn of_destination(&self, trouble: Trouble) -> Error {
        match trouble.fault {
            Fault::Schema | Fault::Row => {
                let message = format!("the destination refuses it: {}", trouble.message);
                fault(self.mapping, MappingFault { sqlstate: trouble.code, message })
            }
            _ => Error::Destination(trouble),
        }
    }
}

/// Whether the row's place among unique values is taken, maybe by a row that gives it up later.
fn may_be_freed(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return false };
    failure.code == ErrorCode::ConstraintViolation
        && failure.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE
}

/// Values as bytes that are equal only where the values and their types are.
fn encode(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        let (kind, content): (u8, Vec<u8>) = match value {
            Value::Null => (0, Vec::new()),
            Value::Integer(number) => (1, number.to_be_bytes().to_vec()),
            Value::Real(number) => (2, number.to_bits().to_be_bytes().to_vec()),
            Value::Text(text) => (3, text.clone().into_bytes()),
            Value::Blob(blob) => (4, blob.clone()),
        };
        bytes.push(kind);
        bytes.extend((content.len() as u64).to_be_bytes());
        bytes.extend(content);
    }
    bytes
}
