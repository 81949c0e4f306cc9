//! Tables that triggers cannot capture, or whose rows may vanish without firing any.

use std::collections::BTreeMap;

use offtake_mapping::TableName;
use tokio_postgres::{Client, Error};

use super::sql;

/// Why a table that exists cannot be captured, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) message: String,
    pub(super) remedy: String,
}

/// What is known of `tables`; in their order for each.
pub(super) async fn read(
    client: &Client,
    tables: &[TableName],
) -> Result<BTreeMap<TableName, Vec<Unfit>>, Error> {
    let mut unfit: BTreeMap<TableName, Vec<Unfit>> = BTreeMap::new();
    for manager in client.query(sql::LIST_TABLE_MANAGERS, &[]).await? {
        let (manager, catalog): (&str, &str) = (manager.get("manager"), manager.get("catalog"));
        for row in client.query(&tables_of(manager, catalog), &[]).await? {
            let (schema, name): (&str, &str) = (row.get(0), row.get(1));
            let managed = |t: &&TableName| t.schema.as_str() == schema && t.name.as_str() == name;
            for table in tables.iter().filter(managed) {
                unfit.entry(table.clone()).or_default().push(elsewhere(table, manager));
            }
        }
    }
    let schemas: Vec<&str> = tables.iter().map(|t| t.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|t| t.name.as_str()).collect();
    for row in client.query(sql::LIST_UNFIT_PARTS, &[&schemas, &names]).await? {
        let position: i32 = row.get("position");
        let Some(table) = usize::try_from(position - 1).ok().and_then(|at| tables.get(at)) else {
            continue;
        };
        let kind = match (row.get::<_, bool>("is_part"), row.get::<_, bool>("is_partition")) {
            (false, _) => None,
            (true, true) => Some("partition"),
            (true, false) => Some("child"),
        };
        let name: &str = row.get("name");
        let found = match row.get::<_, bool>("is_foreign") {
            true => foreign(table, name, kind.unwrap_or("child")),
            false => unlogged(table, name, kind, row.get("remedy")),
        };
        unfit.entry(table.clone()).or_default().push(found);
    }
    Ok(unfit)
}

/// The tables that an extension manages: schema and name. `catalog` is quoted.
fn tables_of(manager: &str, catalog: &str) -> String {
    match manager {
        "timescaledb" => format!("select schema_name::text, table_name::text from {catalog}"),
        _ => format!(
            "select n.nspname::text, c.relname::text from {catalog} d join pg_class c on c.oid = d.logicalrelid::oid \
               join pg_namespace n on n.oid = c.relnamespace"
        ),
    }
}

fn elsewhere(table: &TableName, manager: &str) -> Unfit {
    let message = match manager {
        "timescaledb" => format!(
            "{table} is a hypertable of TimescaleDB: its chunks are written, compressed and dropped without firing its triggers"
        ),
        _ => format!(
            "{table} is a table of Citus: its rows are on other servers, where no trigger of this database fires"
        ),
    };
    let remedy =
        "keep the rows that tenants are to receive in an ordinary table, and name that one";
    Unfit { message, remedy: remedy.to_owned() }
}

fn foreign(table: &TableName, part: &str, kind: &str) -> Unfit {
    Unfit {
        message: format!(
            "{table} has the foreign {kind} {part}, whose changes triggers cannot capture"
        ),
        remedy: format!("detach {part}, or leave {table} out of the mappings"),
    }
}

fn unlogged(table: &TableName, part: &str, kind: Option<&str>, remedy: &str) -> Unfit {
    let message = match kind {
        None => format!(
            "{table} is unlogged: a crash of the source's server empties it, and no trigger fires"
        ),
        Some(kind) => format!(
            "{table} has the unlogged {kind} {part}: a crash of the source's server empties it, and no trigger fires"
        ),
    };
    Unfit { message, remedy: format!("run as its owner: {remedy}") }
}
