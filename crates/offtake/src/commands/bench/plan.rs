//! What is measured, and why it cannot be. Nothing is written yet.

use offtake_capture::{Copies, Relations, copies};
use offtake_mapping::{Identifier, MappingSet, TableName, suggestion};
use offtake_postgres::catalog;
use tokio_postgres::{Client, Row};

use crate::arguments::shown;
use crate::checks::source_readiness::Obstacle;
use crate::command_line::BenchCapture;
use crate::context::Context;
use crate::outcome::{Exit, Failure};
use crate::sql;

/// At most so much of the table is copied, three times, and then changed: half a gigabyte of files
/// in all, with indexes and old row versions.
const SAMPLE_BYTES_MAX: f64 = 64.0 * 1024.0 * 1024.0;

/// Rows of a table that is larger than that and was never analysed, so that the size of a row is
/// not known.
const ROWS_OF_UNKNOWN_SIZE: u32 = 1_000;

/// The comment on the schema. A person who finds the schema reads there what made it.
const COMMENT: &str =
    "Copies made by offtake bench capture, which drops them at its end. Not needed by Offtake.";

/// A measurement that can be made.
pub(super) struct Plan {
    pub(super) table: TableName,
    /// Holds the copies; its name needs no quotes.
    pub(super) schema: Identifier,
    pub(super) copies: Copies,
    /// Every column that a row is given a value for.
    pub(super) columns: Vec<Identifier>,
    /// The column that updates write; no index has it, where there is such a column.
    pub(super) written: Identifier,
    /// Rows of a table that has children of its own are read from it alone: only there does its
    /// key hold.
    pub(super) only: bool,
    pub(super) rows: u32,
    pub(super) rounds: usize,
    /// What the user should know besides.
    pub(super) notes: Vec<String>,
}

impl Plan {
    pub(super) async fn make(
        context: &Context,
        source: &Client,
        arguments: &BenchCapture,
    ) -> Result<Self, Failure> {
        let typed = &arguments.table;
        let table = TableName::from_sql(typed).map_err(|error| {
            Failure::new(Exit::Usage, format!("{} cannot be a table", shown(typed)))
                .because(error.to_string())
                .remedy("write it as schema.table, with double quotes where SQL needs them")
        })?;
        let mappings = context.mappings()?;
        let set = catalog::resolve(source, mappings).await?;
        let (schema, name) = (table.schema.as_str(), table.name.as_str());
        let found = source
            .query_one(sql::PROBE_BENCH_TABLE, &[&schema, &name])
            .await
            .map_err(|error| Failure::of_source("cannot look at the table", &error.into()))?;
        refuse(&table, &set, &found)?;
        let relations = Relations::read(source, &set).await?;
        let schema = Identifier::new(format!("offtake_bench_{:08x}", rand::random::<u32>()))
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        let storage = storage(&found);
        let Some(copies) = copies(&set, &relations, &table, (&schema, COMMENT), &storage) else {
            return Err(not_mapped(&table, &set));
        };
        let columns = names(&found, "columns");
        let Some(written) = written(&set, &table, &found) else {
            let message = format!("{} has no column that can be written", table.in_sql());
            return Err(Failure::new(Exit::Failed, message));
        };
        Ok(Self {
            notes: notes(&table, &found),
            rows: bounded(arguments.rows, found.get("size"), found.get("row_count")),
            rounds: arguments.rounds as usize,
            only: found.get::<_, Option<&str>>("kind") != Some("p"),
            table,
            schema,
            copies,
            columns,
            written,
        })
    }

    /// Said before anything is written, so that a run that is killed leaves a trace of its schema.
    pub(super) fn announcement(&self) -> String {
        let (table, schema, rounds) = (self.table.in_sql(), &self.schema, self.rounds);
        format!("measuring on copies of {table} in the schema {schema}, {rounds} round(s)")
    }
}

/// Why the table cannot be measured, if so.
fn refuse(table: &TableName, set: &MappingSet, found: &Row) -> Result<(), Failure> {
    let name = table.in_sql();
    if found.get::<_, Option<&str>>("kind").is_none() {
        let message = format!("the source has no table {name}");
        return Err(Failure::new(Exit::Usage, message).remedy(captured_tables(table, set)));
    }
    if !set.captures().any(|capture| capture.table == *table) {
        return Err(not_mapped(table, set));
    }
    if found.get("read_only") {
        return Err(Obstacle::ReadOnly.failure());
    }
    let (role, database): (&str, &str) = (found.get("role"), found.get("database"));
    if !found.get::<_, bool>("may_read") {
        let message = format!("the role {role} may not read {name}");
        let grant = format!("run as its owner: grant select on {} to {role};", table.sql());
        return Err(Failure::new(Exit::Failed, message).remedy(grant));
    }
    if !found.get::<_, bool>("may_create") {
        let message = format!("the role {role} may not create a schema in the database {database}");
        return Err(Failure::new(Exit::Failed, message)
            .because("the measurement is made in a schema of its own, which is dropped again")
            .remedy(format!(
                "run as its owner, or as a superuser: grant create on database {database} to {role};"
            )));
    }
    let publications: Vec<&str> = found.get("publications");
    if !publications.is_empty() {
        let message = format!(
            "the publication {} publishes every table, so also those of a measurement",
            publications.join(", ")
        );
        return Err(Failure::new(Exit::Failed, message)
            .because("its subscribers do not have these tables, and would stop at their rows")
            .remedy("measure on a restored copy of the database, without the publication"));
    }
    Ok(())
}

fn not_mapped(table: &TableName, set: &MappingSet) -> Failure {
    let message = format!("no mapping names {}, so nothing captures it", table.in_sql());
    Failure::new(Exit::Usage, message).remedy(captured_tables(table, set))
}

fn captured_tables(table: &TableName, set: &MappingSet) -> String {
    let known: Vec<String> = set.captures().map(|capture| capture.table.in_sql()).collect();
    match known.is_empty() {
        true => "write a mapping of the table first; --mappings names their folder".to_owned(),
        false => {
            let name = table.in_sql();
            suggestion(&name, "tables that the mappings name", known.iter().map(String::as_str))
        }
    }
}

/// So many rows as were asked for, and as fit into [`SAMPLE_BYTES_MAX`].
fn bounded(asked: u32, size: i64, row_count: f64) -> u32 {
    let size = size as f64;
    if size <= SAMPLE_BYTES_MAX {
        return asked;
    }
    let fit = match row_count > 0.0 {
        true => (SAMPLE_BYTES_MAX / (size / row_count)).max(1.0) as u32,
        false => ROWS_OF_UNKNOWN_SIZE,
    };
    asked.min(fit)
}

/// The first column that neither an index nor the capture function reads; else one that no index
/// has; else any.
fn written(set: &MappingSet, table: &TableName, found: &Row) -> Option<Identifier> {
    let capture = set.captures().find(|capture| capture.table == *table)?;
    let calm = names(found, "calm");
    let read = |name: &Identifier| {
        capture.key.iter().chain(&capture.matched).any(|column| column.name == *name)
    };
    let quiet = calm.iter().find(|name| !read(name)).cloned();
    quiet.or_else(|| calm.into_iter().next()).or_else(|| names(found, "columns").into_iter().next())
}

fn names(found: &Row, column: &str) -> Vec<Identifier> {
    let names: Vec<String> = found.get(column);
    names.into_iter().filter_map(|name| Identifier::new(name).ok()).collect()
}

fn storage(found: &Row) -> Vec<(String, String)> {
    let options: Vec<String> = found.get("storage");
    let pair = |option: String| {
        option.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    options.into_iter().filter_map(pair).collect()
}

fn notes(table: &TableName, found: &Row) -> Vec<String> {
    let mut notes = Vec::new();
    if found.get::<_, Option<&str>>("kind") == Some("p") {
        notes.push(format!("{} is partitioned; each copy is one table", table.in_sql()));
    }
    let slots: i64 = found.get("slots");
    if slots > 0 {
        notes.push(format!(
            "{slots} logical replication slot(s) decode this database: their readers may have \
             seen the copies' rows"
        ));
    }
    let left_over: Vec<String> = found.get("left_over");
    for schema in left_over {
        notes.push(format!(
            "the schema {schema} belongs to another run, or was left by one that was killed: \
             drop schema {schema} cascade;"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_bounded_by_bytes() {
        let gibibyte = 1 << 30;
        assert_eq!(bounded(20_000, 1 << 20, 0.0), 20_000);
        assert_eq!(bounded(20_000, gibibyte, 1_000_000.0), 20_000);
        assert_eq!(bounded(20_000, gibibyte, 16_000.0), 1_000);
        assert_eq!(bounded(20_000, gibibyte, 1.0), 1);
        assert_eq!(bounded(20_000, gibibyte, 0.0), ROWS_OF_UNKNOWN_SIZE);
        assert_eq!(bounded(10, gibibyte, 1_000_000.0), 10);
    }
}
