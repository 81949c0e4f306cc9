//! The table of a mapping in one destination, as `check --connect` and `preview --changed` see it.

use offtake_mapping::compose::Apply;
use offtake_mapping::{Identifier, ResolvedMapping};
use serde::Serialize;
use tokio_postgres::Client;

use crate::sql;

/// What `check --connect` tells of a mapping's table in one destination.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DestinationTable {
    pub(crate) tenant: String,
    pub(crate) name: String,
    pub(crate) table: Fit,
    pub(crate) differences: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fit {
    /// There is no such table; it would be created.
    Absent,
    Fits,
    /// Offtake created the table, and it has other columns than the mapping.
    Differs,
    /// Someone else created the table.
    Foreign,
}

/// A table as a destination describes it.
pub(crate) struct Description {
    /// The table's comment, by which Offtake knows its own tables.
    pub(crate) mark: Option<String>,
    /// Name and SQL type, in the table's order.
    pub(crate) columns: Vec<(String, String)>,
}

/// Asks a destination for a table, named as SQL writes it; None where it has none. The only
/// statement of this module that runs at a destination.
pub(crate) async fn describe(
    destination: &Client,
    table: &str,
) -> Result<Option<Description>, tokio_postgres::Error> {
    let row = destination.query_opt(sql::DESCRIBE_COPY, &[&table]).await?;
    Ok(row.map(|row| {
        let (columns, types): (Vec<String>, Vec<String>) = (row.get("columns"), row.get("types"));
        Description { mark: row.get("mark"), columns: columns.into_iter().zip(types).collect() }
    }))
}

/// How the mapping's table in a destination differs from what the mapping would create.
pub(crate) async fn compare(
    destination: &Client,
    mapping: &ResolvedMapping,
    schema: &Identifier,
) -> Result<(Fit, Vec<String>), tokio_postgres::Error> {
    let apply = Apply::new(mapping, schema, "");
    let table = apply.table();
    let Some(found) = describe(destination, table).await? else {
        return Ok((Fit::Absent, Vec::new()));
    };
    if found.mark != Some(format!("offtake:{}", mapping.name())) {
        let why = format!("{table} was made by someone else; with rows in it, it stays untouched");
        return Ok((Fit::Foreign, vec![why]));
    }
    let differences = differences(mapping, &found.columns);
    Ok((if differences.is_empty() { Fit::Fits } else { Fit::Differs }, differences))
}

fn differences(mapping: &ResolvedMapping, columns: &[(String, String)]) -> Vec<String> {
    let mut differences = Vec::new();
    for column in &mapping.columns {
        match columns.iter().find(|(name, _)| name == column.name.as_str()) {
            None => differences.push(format!("column {} would be added", column.name)),
            Some((_, sql_type))
                if *sql_type != column.target_type
                    && mapping.definition.target.schema_sql.is_none() =>
            {
                differences.push(format!(
                    "column {} is {sql_type} there, and the query gives {}",
                    column.name, column.target_type
                ));
            }
            Some(_) => {}
        }
    }
    let in_query = |name: &str| mapping.columns.iter().any(|c| c.name.as_str() == name);
    for (name, _) in columns.iter().filter(|(name, _)| !in_query(name)) {
        differences.push(format!("column {name} is not in the query and stays as it is"));
    }
    differences
}
