//! Tables that a mapping's query reads although its file does not declare them. A change of such a
//! table refreshes no copy, so the copies would go stale unnoticed: `check --connect` and `init`
//! refuse the mapping, and a daemon that runs with it tells the table in every destination's state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use offtake_mapping::{Identifier, Mapping, MappingSet, ResolvedMapping, TableName, scan};
use offtake_postgres::catalog;
use offtake_sync::destinations::Waiting;
use serde_json::Value;
use tokio_postgres::Client;

use super::planner::explain;
use crate::outcome::Failure;
use crate::sql;

/// A daemon that waits for the application's locks would look at no trigger meanwhile.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '500ms'";

/// A table that a query reads and its mapping does not declare.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Undeclared {
    table: TableName,
    /// Triggers can capture its changes. They cannot those of a materialized view.
    captured: bool,
    /// The function that names it, where the query itself does not read it.
    function: Option<String>,
}

impl Undeclared {
    fn message(&self, mapping: &Mapping) -> String {
        let (table, name) = (&self.table, &mapping.name);
        let reads = match &self.function {
            None => format!("the query of {name} reads {table}"),
            Some(function) => format!("the query of {name} calls {function}, which names {table}"),
        };
        format!("{reads}, and a change there would refresh nothing")
    }

    fn remedy(&self) -> String {
        let capture = match self.captured {
            true => "name it under `depends_on`, or",
            false => "no trigger captures it: read the tables behind it instead, or name it",
        };
        let unread = match self.function {
            Some(_) => ", or the function does not read it",
            None => "",
        };
        format!("{capture} under `unchanging` if its rows never change{unread}")
    }

    /// Where the query names the table, why that is wrong, and what to write.
    fn refusal(&self, mapping: &Mapping) -> Failure {
        let tokens = scan::tokens(&mapping.query);
        let name = match &self.function {
            None => self.table.name.as_str(),
            Some(function) => {
                let name = function.split_once('(').map_or(function.as_str(), |(name, _)| name);
                name.rsplit('.').next().unwrap_or(name).trim_matches('"')
            }
        };
        let named = tokens.iter().find(|token| token.text == name);
        let at = named.map_or(0, |token| token.at);
        let mistake = mapping.mistake_in_query(at, self.message(mapping), self.remedy());
        Failure::invalid(mistake.finding()).remedy(mistake.remedy)
    }
}

/// Fails with every table that the queries read and the files do not declare.
pub(crate) async fn require_declared(
    source: &Client,
    mappings: &[Arc<ResolvedMapping>],
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for mapping in mappings {
        failures.extend(refusals(source, &mapping.definition).await?);
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::all(failures)) }
}

/// A refusal for every table that the query reads and the file does not declare.
pub(crate) async fn refusals(source: &Client, mapping: &Mapping) -> Result<Vec<Failure>, Failure> {
    let undeclared = undeclared_tables(source, mapping).await.map_err(|error| {
        Failure::of_source(&format!("cannot check mapping {}", mapping.name), &error.into())
    })?;
    Ok(undeclared.iter().map(|table| table.refusal(mapping)).collect())
}

/// What the queries of the mappings in use read and their files do not declare. A query is looked
/// at again when its mapping has another version, which the views that it reads are part of.
#[derive(Debug, Default)]
pub(crate) struct UndeclaredReads {
    by_mapping: BTreeMap<String, (Arc<ResolvedMapping>, Option<String>)>,
}

impl UndeclaredReads {
    /// The reason for every mapping whose copies can go stale. A query that cannot be planned gives
    /// none: reading with it fails and says why.
    pub(crate) async fn look(&mut self, source: &Client, set: &MappingSet) -> Waiting {
        let mut before = std::mem::take(&mut self.by_mapping);
        for mapping in set.mappings() {
            let name = mapping.name().to_owned();
            let known = before.remove(&name).filter(|(known, _)| {
                known.version == mapping.version && known.definition == mapping.definition
            });
            let looked = match known {
                Some(known) => known,
                None => match undeclared_tables(source, &mapping.definition).await {
                    Ok(tables) => (mapping.clone(), reason(&mapping.definition, &tables)),
                    Err(_) => continue,
                },
            };
            self.by_mapping.insert(name, looked);
        }
        let told = self.by_mapping.iter();
        told.filter_map(|(name, (_, why))| Some((name.clone(), why.clone()?))).collect()
    }
}

/// What the status says of a mapping that reads these tables.
fn reason(mapping: &Mapping, undeclared: &[Undeclared]) -> Option<String> {
    let told = |table: &Undeclared| format!("{}; {}", table.message(mapping), table.remedy());
    let file = mapping.file.display();
    let reasons: Vec<String> = undeclared.iter().map(told).collect();
    (!reasons.is_empty()).then(|| format!("{file}: {}", reasons.join("; ")))
}

/// The tables that the query reads besides those that the mapping declares. The planner names
/// them: the tables behind a view are among them. It does not see into functions, so the tables
/// that these name in their bodies are added.
async fn undeclared_tables(
    source: &Client,
    mapping: &Mapping,
) -> Result<Vec<Undeclared>, tokio_postgres::Error> {
    let query = format!("select q.* from ({}\n) q", mapping.query);
    let plan = explain(source, ", verbose", &query, LOCK_TIMEOUT).await?;
    let mut read = BTreeSet::new();
    collect(&plan, &mut read);
    let mut found = not_declared(source, mapping, read, None).await?;
    let mut by_function: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for named in catalog::tables_in_functions(source, mapping).await? {
        by_function.entry(named.function).or_default().insert((named.schema, named.table));
    }
    for (function, named) in by_function {
        let more = not_declared(source, mapping, named, Some(function)).await?;
        found.extend(more);
    }
    let mut told = BTreeSet::new();
    found.retain(|undeclared| told.insert(undeclared.table.to_string()));
    Ok(found)
}

/// Those of the relations that the mapping does not declare, a partition as its root.
async fn not_declared(
    source: &Client,
    mapping: &Mapping,
    relations: BTreeSet<(String, String)>,
    function: Option<String>,
) -> Result<Vec<Undeclared>, tokio_postgres::Error> {
    let (schemas, names): (Vec<String>, Vec<String>) = relations.into_iter().unzip();
    let declared = mapping.tables().chain(&mapping.unchanging);
    let (declared_schemas, declared_names): (Vec<&str>, Vec<&str>) =
        declared.map(|table| (table.schema.as_str(), table.name.as_str())).unzip();
    let rows = source
        .query(sql::LIST_ROOTS, &[&schemas, &names, &declared_schemas, &declared_names])
        .await?;
    let tables = rows.iter().filter_map(|row| {
        let schema = Identifier::new(row.get::<_, String>("schema_name")).ok()?;
        let name = Identifier::new(row.get::<_, String>("table_name")).ok()?;
        let table = TableName { schema, name };
        Some(Undeclared { table, captured: row.get("captured"), function: function.clone() })
    });
    Ok(tables.collect())
}

/// Collects schema and name of every relation that a plan reads.
fn collect(node: &Value, read: &mut BTreeSet<(String, String)>) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| collect(item, read)),
        Value::Object(entries) => {
            let text = |key: &str| entries.get(key).and_then(Value::as_str).map(str::to_owned);
            read.extend(text("Schema").zip(text("Relation Name")));
            entries.values().for_each(|value| collect(value, read));
        }
        _ => {}
    }
}
