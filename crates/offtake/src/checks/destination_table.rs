//! The table of a mapping in one destination, as `check --connect` and `preview --changed` see it.

use offtake_mapping::{Kind, ResolvedMapping};
use offtake_sync::destinations::{Copied, Place, Session, Standing, Trouble};
use serde::Serialize;

/// What `check --connect` tells of a mapping's table in one destination.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DestinationTable {
    pub(crate) tenant: String,
    pub(crate) name: String,
    pub(crate) table: Fit,
    pub(crate) differences: Vec<String>,
    /// Why a table that is not there cannot be made, or cannot be copied to.
    pub(crate) fault: Option<String>,
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

/// How the mapping's table in a destination differs from what the mapping would create.
pub(crate) async fn compare(
    session: &Session,
    mapping: &ResolvedMapping,
    place: &Place,
) -> Result<(Fit, Vec<String>), Trouble> {
    let Copied { standing, columns } = session.table_of(mapping).await?;
    match standing {
        Standing::Absent => return Ok((Fit::Absent, Vec::new())),
        Standing::Foreign => {
            let table = place.table_name(mapping);
            let why =
                format!("{table} was made by someone else; with rows in it, it stays untouched");
            return Ok((Fit::Foreign, vec![why]));
        }
        Standing::Ours => {}
    }
    let differences = differences(mapping, &columns, place.kind());
    Ok((if differences.is_empty() { Fit::Fits } else { Fit::Differs }, differences))
}

fn differences(mapping: &ResolvedMapping, columns: &[(String, String)], kind: Kind) -> Vec<String> {
    let mut differences = Vec::new();
    for column in &mapping.columns {
        match columns.iter().find(|(name, _)| name == column.name.as_str()) {
            None => differences.push(format!("column {} would be added", column.name)),
            Some((_, sql_type))
                if *sql_type != kind.declared(mapping, column)
                    && mapping.definition.target.schema_sql.is_none() =>
            {
                differences.push(format!(
                    "column {} is {sql_type} there, and the query gives {}",
                    column.name,
                    kind.declared(mapping, column)
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
