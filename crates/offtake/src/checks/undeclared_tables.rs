//! Tables that a mapping's query reads although its file does not declare them. A change of such a
//! table refreshes no copy, so the copies would go stale unnoticed.

use std::collections::BTreeSet;

use offtake_mapping::{Identifier, Mapping, TableName, scan};
use serde_json::Value;
use tokio_postgres::Client;

use super::planner::explain;
use crate::sql;

/// A table that a query reads and its mapping does not declare.
pub(super) struct Undeclared {
    pub(super) table: TableName,
    /// Triggers can capture its changes. They cannot those of a materialized view.
    captured: bool,
}

/// The tables that the query reads besides those that the mapping declares. The planner names
/// them: the tables behind a view are among them, the tables that a function reads are not.
pub(super) async fn undeclared_tables(
    source: &Client,
    mapping: &Mapping,
) -> Result<Vec<Undeclared>, tokio_postgres::Error> {
    let plan =
        explain(source, ", verbose", &format!("select q.* from ({}\n) q", mapping.query), "")
            .await?;
    let mut read = BTreeSet::new();
    collect(&plan, &mut read);
    let (schemas, names): (Vec<String>, Vec<String>) = read.into_iter().unzip();
    let (declared_schemas, declared_names): (Vec<&str>, Vec<&str>) =
        mapping.tables().map(|table| (table.schema.as_str(), table.name.as_str())).unzip();
    let rows = source
        .query(sql::LIST_ROOTS, &[&schemas, &names, &declared_schemas, &declared_names])
        .await?;
    let tables = rows.iter().filter_map(|row| {
        let schema = Identifier::new(row.get::<_, String>("schema_name")).ok()?;
        let name = Identifier::new(row.get::<_, String>("table_name")).ok()?;
        Some(Undeclared { table: TableName { schema, name }, captured: row.get("captured") })
    });
    Ok(tables.collect())
}

/// The warning about one such table: where the query names it, and what to do.
pub(super) fn warning(mapping: &Mapping, undeclared: &Undeclared) -> String {
    let table = &undeclared.table;
    let tokens = scan::tokens(&mapping.query);
    let at =
        tokens.iter().find(|token| token.text == table.name.as_str()).map_or(0, |token| token.at);
    let remedy = match undeclared.captured {
        true => "name it under depends_on, unless it never changes",
        false => {
            "no trigger captures it, so read the tables behind it instead, unless it never changes"
        }
    };
    let message = format!(
        "the query of {} reads {table}, and a change there refreshes nothing; {remedy}",
        mapping.name
    );
    mapping
        .mistake_in_query(at, message, "")
        .finding()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
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
