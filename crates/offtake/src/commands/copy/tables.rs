//! What is to be copied: tables of the source become mappings, each with the columns and the key
//! that the catalog says it has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use offtake_mapping::compose::{KeyRange, PlainIndex, copy_chunk};
use offtake_mapping::{
    Identifier, KeyOrder, Kind, Mapping, OnRowError, ResolvedMapping, Source, TableName, Target,
    Tenant, foreign, nearest,
};
use offtake_postgres::{Dialer, Fault, catalog};
use offtake_sync::copy::{Copier, Job, columns_max};
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use super::Task;
use super::choice::Chosen;
use super::shape::Shapes;
use crate::command_line::{Copy, RowError};
use crate::context::{load_configuration, mapping_files};
use crate::outcome::{Exit, Failure};
use crate::sql;

/// A table of the source.
struct Table {
    name: TableName,
    /// The role of the session, as SQL writes it.
    role: String,
    may_enter: bool,
    may_read: bool,
    partitioned: bool,
    key: Vec<String>,
    /// The columns of a unique index that takes NULLs.
    almost: Vec<String>,
    columns: Vec<(String, String, bool)>,
    bytes: i64,
}

/// Finds what the command line names, and asks the source whether it can be copied: as often as the
/// terms say, while the source does not answer.
pub(super) async fn find(
    file: &Path,
    copier: &Copier,
    chosen: &Chosen,
    arguments: &Copy,
) -> Result<Vec<Task>, Failure> {
    let mut attempt = 1;
    loop {
        match try_to_find(file, copier, chosen, arguments).await {
            Err(failure)
                if failure.exit == Exit::Unreachable
                    && copier.wait_for_source(attempt, &failure.to_string()).await =>
            {
                attempt += 1;
            }
            found => return found,
        }
    }
}

async fn try_to_find(
    file: &Path,
    copier: &Copier,
    chosen: &Chosen,
    arguments: &Copy,
) -> Result<Vec<Task>, Failure> {
    let source = connect(copier).await?;
    let halt = match arguments.on_row_error {
        RowError::Fail => OnRowError::Halt,
        RowError::Skip => OnRowError::Quarantine,
    };
    let (mappings, tables) = match arguments.mapping.is_empty() {
        true => {
            let tables = named(list(&source).await?, chosen, arguments)?;
            let shapes = Shapes::parse(&arguments.shape)?;
            let mappings = tables.iter().map(|table| mapping(table, &shapes, halt));
            (mappings.collect::<Result<Vec<_>, _>>()?, tables)
        }
        false => (of_files(file, arguments, halt)?, Vec::new()),
    };
    refuse_shared_names(&mappings, copier.place.kind())?;
    let set = catalog::resolve_to_copy_once(&source, mappings).await?;
    let mut tasks = Vec::new();
    for mapping in set.forms_of(copier.place.kind(), false) {
        let table = tables.iter().find(|table| table.name == mapping.definition.source.table);
        tasks.push(task(&source, mapping, table, arguments).await?);
    }
    refuse_too_wide(copier, &tasks)?;
    Ok(tasks)
}

/// A session of its own, in which only the catalog is read.
pub(super) async fn connect(copier: &Copier) -> Result<offtake_postgres::Connection, Failure> {
    let unusable = |error: &offtake_postgres::Error| {
        of_source(&format!("cannot connect to the source {}", copier.source.place()), error)
    };
    let dialer = Dialer::trusted(copier.settings.lock_timeout);
    let connection = dialer.dial(&copier.source, "offtake copy").await;
    let connection = connection.map_err(|error| unusable(&error))?;
    connection.batch_execute("set jit = off").await.map_err(|error| unusable(&error.into()))?;
    Ok(connection)
}

/// The table that a name probably means: one with a similar name in the same schema, or one with the
/// same name in another.
fn like(wanted: &str, names: &[String]) -> Option<String> {
    let (schema, table) = wanted.rsplit_once('.')?;
    let all = || names.iter().filter_map(|name| name.rsplit_once('.'));
    let beside = all().filter(|(other, _)| *other == schema).map(|(_, name)| name);
    let near = nearest(table, beside).map(|name| format!("{schema}.{name}"));
    let elsewhere = || all().find(|(_, name)| *name == table);
    near.or_else(|| elsewhere().map(|(other, _)| format!("{other}.{table}")))
}

async fn list(source: &Client) -> Result<Vec<Table>, Failure> {
    let rows = source.query(sql::LIST_COPYABLE_TABLES, &[]).await.map_err(unreadable)?;
    let table = |row: &Row| {
        let name = |column: &str| Identifier::new(row.get::<_, String>(column)).ok();
        let (names, types, arrays): (Vec<String>, Vec<String>, Vec<bool>) =
            (row.get("columns"), row.get("types"), row.get("arrays"));
        Some(Table {
            name: TableName { schema: name("schema")?, name: name("name")? },
            role: row.get("role"),
            may_enter: row.get("may_enter"),
            may_read: row.get("may_read"),
            partitioned: row.get("partitioned"),
            key: row.get("key"),
            almost: row.get("almost"),
            columns: names
                .into_iter()
                .zip(types)
                .zip(arrays)
                .map(|((name, of), array)| (name, of, array))
                .collect(),
            bytes: row.get("bytes"),
        })
    };
    Ok(rows.iter().filter_map(table).collect())
}

/// The tables that are asked for; all that is wrong with them is told at once.
fn named(all: Vec<Table>, chosen: &Chosen, arguments: &Copy) -> Result<Vec<Table>, Failure> {
    let (found, mut wrong) = if arguments.all {
        let excluded = |table: &Table| {
            let (full, bare) = (table.name.to_string(), table.name.name.as_str());
            arguments.exclude.iter().any(|pattern| {
                matches(pattern, &full)
                    || table.name.schema.as_str() == "public" && matches(pattern, bare)
            })
        };
        (all.into_iter().filter(|table| !excluded(table)).collect(), Vec::new())
    } else {
        by_name(all, &chosen.tables)?
    };
    if found.is_empty() && wrong.is_empty() {
        return Err(Failure::new(Exit::Usage, "there is nothing to copy")
            .remedy("name tables with --table schema.table, or add --all"));
    }
    wrong.extend(found.iter().filter_map(unfit));
    match wrong.is_empty() {
        true => Ok(found),
        false => Err(Failure::all(wrong)),
    }
}

fn by_name(mut all: Vec<Table>, texts: &[String]) -> Result<(Vec<Table>, Vec<Failure>), Failure> {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for text in texts {
        let name = TableName::from_sql(text).map_err(|error| {
            Failure::new(Exit::Usage, "--table cannot be used").because(error.to_string())
        })?;
        if let Some(at) = all.iter().position(|table| table.name == name) {
            found.push(all.remove(at));
        } else if !found.iter().any(|table: &Table| table.name == name) {
            let names: Vec<String> = all.iter().map(|table| table.name.to_string()).collect();
            let wanted = name.to_string();
            let remedy = match like(&wanted, &names) {
                Some(like) => format!("is it {like}?"),
                None => "see \\dt in psql for those that there are".to_owned(),
            };
            let message = format!("the source has no table {}", foreign(&wanted));
            wrong.push(Failure::invalid(message).remedy(remedy));
        }
    }
    Ok((found, wrong))
}

/// Why a table cannot be copied, with the statement that makes it fit.
fn unfit(table: &Table) -> Option<Failure> {
    let name = table.name.in_sql();
    if !table.may_enter || !table.may_read {
        let (role, schema) = (&table.role, table.name.schema.in_sql());
        let enter = match table.may_enter {
            true => String::new(),
            false => format!("grant usage on schema {schema} to {role}; "),
        };
        return Some(
            Failure::invalid(format!("the role {role} may not read {name}"))
                .remedy(format!("run at the source: {enter}grant select on {name} to {role}")),
        );
    }
    if !table.key.is_empty() {
        return None;
    }
    let remedy = match table.almost.is_empty() {
        true => format!(
            "run at the source: alter table {name} add column id bigint generated always as identity \
             primary key"
        ),
        false => {
            let columns = table
                .almost
                .iter()
                .filter_map(|column| Some(Identifier::new(column.as_str()).ok()?.in_sql()));
            let set: Vec<_> = columns.map(|c| format!("alter column {c} set not null")).collect();
            format!("run at the source: alter table {name} {}", set.join(", "))
        }
    };
    Some(
        Failure::invalid(format!(
            "{name} has no primary key, and no unique index over columns that take no NULL"
        ))
        .because("without a key, a copy that is interrupted cannot go on where it was")
        .remedy(remedy),
    )
}

/// Whether a text is like a pattern, in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The mapping that a table is copied as. All of its rows belong to one tenant without a name.
fn mapping(table: &Table, shapes: &Shapes, on_row_error: OnRowError) -> Result<Mapping, Failure> {
    let name =
        |text: &str| Identifier::new(text).map_err(|error| Failure::invalid(error.to_string()));
    let mut columns = Vec::new();
    for (column, of, array) in &table.columns {
        let is_key = table.key.contains(column);
        columns.push(shapes.column(&name(column)?, (of.as_str(), *array), is_key));
    }
    let mut key = Vec::new();
    for column in &table.key {
        key.push((name(column)?, name(column)?));
    }
    let target = match table.name.schema.as_str() {
        "public" => table.name.name.clone(),
        schema => name(&format!("{schema}_{}", table.name.name))?,
    };
    Ok(Mapping {
        name: target.to_string(),
        file: PathBuf::from(table.name.in_sql()),
        text: Arc::from(""),
        source: Source { table: table.name.clone(), tenant: Tenant::Everyone, key: Some(key) },
        depends_on: Vec::new(),
        unchanging: Vec::new(),
        query: format!("select {} from {}", columns.join(", "), table.name.sql()),
        query_line: 1,
        target: Target { table: target, schema_sql: None, keep_tenant: false },
        on_row_error,
    })
}

/// The mappings of the folder that are asked for.
fn of_files(
    file: &Path,
    arguments: &Copy,
    on_row_error: OnRowError,
) -> Result<Vec<Mapping>, Failure> {
    let (all, _) = mapping_files::load(&load_configuration(file)?.mappings)?;
    for name in &arguments.mapping {
        if !all.iter().any(|mapping| mapping.name == *name) {
            let names = all.iter().map(|mapping| mapping.name.as_str());
            let remedy = match nearest(name, names) {
                Some(like) => format!("is it {like}?"),
                None => "see the folder of `mappings` in offtake.yaml".to_owned(),
            };
            let message = format!("there is no mapping named {}", foreign(name));
            return Err(Failure::invalid(message).remedy(remedy));
        }
    }
    let asked = all.into_iter().filter(|mapping| arguments.mapping.contains(&mapping.name));
    Ok(asked.map(|mapping| Mapping { on_row_error, ..mapping }).collect())
}

/// Two tables would have one name there: in SQLite also where only the case of letters differs.
fn refuse_shared_names(mappings: &[Mapping], kind: Kind) -> Result<(), Failure> {
    let mut taken: BTreeMap<String, &Mapping> = BTreeMap::new();
    let mut wrong = Vec::new();
    for mapping in mappings {
        let name = mapping.target.table.as_str();
        let folded = match kind {
            Kind::Postgres => name.to_owned(),
            Kind::Sqlite | Kind::D1 => name.to_ascii_lowercase(),
        };
        if let Some(other) = taken.insert(folded, mapping) {
            let [one, two] = [other, mapping].map(|of| of.source.table.in_sql());
            wrong.push(
                Failure::invalid(format!("{one} and {two} would be one table there, {name}"))
                    .remedy("copy one of them in a run of its own, into another place"),
            );
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::all(wrong)),
    }
}

async fn task(
    source: &Client,
    mapping: &Arc<ResolvedMapping>,
    table: Option<&Table>,
    arguments: &Copy,
) -> Result<Task, Failure> {
    let (mut indexes, mut uncopied, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(table) = table {
        let name = table.name.sql();
        let rows = source.query(sql::LIST_TABLE_INDEXES, &[&name]).await.map_err(unreadable)?;
        for row in &rows {
            match plain(row, table) {
                Some(index) if index.fits(mapping) => indexes.extend(Some(index)),
                None if row.get("plain") => {}
                _ => uncopied.push(format!("the index {}", row.get::<_, &str>("name"))),
            }
        }
        let rows = source.query(sql::LIST_UNCOPIED_PARTS, &[&name]).await.map_err(unreadable)?;
        uncopied.extend(rows.iter().map(|row| row.get::<_, String>("line")));
    }
    let partitioned = table.is_some_and(|table| table.partitioned);
    notes.extend(slow_pages(source, mapping, partitioned).await?);
    Ok(Task {
        job: Job {
            mapping: mapping.clone(),
            tenant: arguments.tenant.clone().unwrap_or_default(),
            indexes,
        },
        source: mapping.definition.source.table.in_sql(),
        uncopied,
        notes,
        bytes: table.map_or(0, |table| table.bytes),
    })
}

/// An index that the copy can have. The one over the key's columns is the copy's primary key.
fn plain(row: &Row, table: &Table) -> Option<PlainIndex> {
    let (name, columns): (&str, Vec<String>) = (row.get("name"), row.get("columns"));
    let unique: bool = row.get("unique");
    if !row.get::<_, bool>("plain") || unique && columns == table.key {
        return None;
    }
    let name = match table.name.schema.as_str() {
        "public" => name.to_owned(),
        schema => format!("{schema}_{name}"),
    };
    let columns = columns.into_iter().map(Identifier::new).collect::<Result<Vec<_>, _>>();
    Some(PlainIndex { name: Identifier::new(name).ok()?, unique, columns: columns.ok()? })
}

/// Whether each batch would sort the whole table, and the index that helps.
async fn slow_pages(
    source: &Client,
    mapping: &ResolvedMapping,
    partitioned: bool,
) -> Result<Option<String>, Failure> {
    let page = copy_chunk(mapping, "", KeyRange::ALL, 1000);
    let query = page.strip_prefix("copy (").and_then(|rest| rest.strip_suffix(") to stdout"));
    let Some(query) = query.filter(|_| mapping.for_everyone()) else { return Ok(None) };
    // With sorts disabled, the planner still sorts only where there is no index in this order.
    source
        .batch_execute("begin transaction read only; set local enable_sort = off; set local enable_seqscan = off")
        .await
        .map_err(unreadable)?;
    let explained = source.simple_query(&format!("explain {query}")).await;
    source.batch_execute("rollback").await.map_err(unreadable)?;
    let lines = explained.map_err(unreadable)?;
    let sorts = lines.iter().any(|line| match line {
        SimpleQueryMessage::Row(row) => row.get(0).is_some_and(|line| line.contains("Sort ")),
        _ => false,
    });
    let texts = mapping.key.iter().map(|k| {
        let column = k.source_column.in_sql();
        match k.order {
            KeyOrder::Native => Some(column),
            KeyOrder::Text
                if k.sql_type == "text" || k.sql_type.starts_with("character varying") =>
            {
                Some(format!("({column}::text) collate \"C\""))
            }
            KeyOrder::Text => None,
        }
    });
    let table = mapping.definition.source.table.in_sql();
    // Postgres makes none concurrently on a partitioned table.
    let concurrently = if partitioned { "" } else { " concurrently" };
    Ok(sorts.then(|| {
        let why = format!("each batch sorts all of {table}, because the key is compared by its text");
        match texts.collect::<Option<Vec<_>>>() {
            Some(columns) => format!(
                "{why}; on a large table run this at the source first: create index{concurrently} on \
                 {table} ({})",
                columns.join(", ")
            ),
            None => format!("{why}, which no index can have"),
        }
    }))
}

fn refuse_too_wide(copier: &Copier, tasks: &[Task]) -> Result<(), Failure> {
    let most = columns_max(copier.place.kind());
    let wide = tasks.iter().filter(|task| task.job.mapping.columns.len() > most);
    let wide: Vec<Failure> = wide
        .map(|task| {
            let columns = task.job.mapping.columns.len();
            Failure::invalid(format!(
                "{} has {columns} columns, and a table there has at most {most}",
                task.source
            ))
            .remedy("copy a mapping whose query gives fewer columns, with --mapping and --tenant")
        })
        .collect();
    match wide.is_empty() {
        true => Ok(()),
        false => Err(Failure::all(wide)),
    }
}

pub(super) fn unreadable(error: tokio_postgres::Error) -> Failure {
    of_source("cannot read the source's catalog", &error.into())
}

/// What may be over in a moment counts as unreachable: it is tried again. What is left is wrong.
fn of_source(while_doing: &str, error: &offtake_postgres::Error) -> Failure {
    let mut failure = Failure::of_source(while_doing, error).source_named_by("--from");
    failure.exit = match error.fault() {
        Fault::Transient | Fault::Unreachable | Fault::OutcomeUnknown => Exit::Unreachable,
        _ if failure.exit == Exit::Failed => Exit::InvalidConfiguration,
        _ => failure.exit,
    };
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let check = |pattern: &str, like: &[&str], unlike: &[&str]| {
            assert!(like.iter().all(|text| matches(pattern, text)), "{pattern}");
            assert!(!unlike.iter().any(|text| matches(pattern, text)), "{pattern}");
        };
        check("audit_*", &["audit_", "audit_log"], &["an_audit_log", "audit"]);
        check("*", &["", "a"], &[]);
        check("*.log", &["a.log", ".log"], &["a.logs"]);
        check("a*b*c", &["abc", "a1b2c"], &["acb", "abcd", "ac"]);
        check("orders", &["orders"], &["orders2", "order"]);
        check("a*a", &["aa", "aba"], &["a"]);
    }
}
