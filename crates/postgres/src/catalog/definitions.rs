//! What stands between a mapping's query and its tables: views, and functions of the application.
//! Another definition gives other rows, and fires no trigger.

use std::collections::BTreeSet;

use offtake_mapping::Mapping;
use offtake_mapping::scan::{self, Kind, Token};
use tokio_postgres::{Client, Error, Row};

use super::sql;

/// The views that the query reads and the functions that it calls.
pub(super) struct Definitions {
    views: Vec<u32>,
    functions: Vec<u32>,
}

/// A table that a function names which the query calls, itself or through others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedInFunction {
    /// As SQL writes it, with its arguments.
    pub function: String,
    pub schema: String,
    pub table: String,
}

/// The tables that the application's functions name in their bodies, where the mapping's query
/// calls these functions. A function may name more than it reads. Read under the search path of the
/// query.
pub async fn tables_in_functions(
    client: &Client,
    mapping: &Mapping,
) -> Result<Vec<NamedInFunction>, Error> {
    let rows = list(client, mapping).await?;
    let named = rows.iter().filter(|row| row.get::<_, &str>("kind") == "table");
    let in_function = |row: &Row| {
        Some(NamedInFunction {
            function: row.get::<_, Option<String>>("via")?,
            schema: row.get("schema_name"),
            table: row.get("relation_name"),
        })
    };
    Ok(named.filter_map(in_function).collect())
}

/// What stands between the query and its tables. The search path must be that of the query.
async fn list(client: &Client, mapping: &Mapping) -> Result<Vec<Row>, Error> {
    let (schemas, names) = names(&mapping.query);
    let (call_schemas, calls): (Vec<_>, Vec<_>) =
        scan::calls(&mapping.query).into_iter().map(|call| (call.schema, call.name)).unzip();
    client.query(sql::LIST_DEFINITIONS, &[&schemas, &names, &call_schemas, &calls]).await
}

impl Definitions {
    /// Finds them. The search path must be that of the query.
    pub(super) async fn find(client: &Client, mapping: &Mapping) -> Result<Self, Error> {
        let rows = list(client, mapping).await?;
        let oids = |kind: &str| -> BTreeSet<u32> {
            let of_kind = rows.iter().filter(|row| row.get::<_, &str>("kind") == kind);
            of_kind.map(|row| row.get("oid")).collect()
        };
        let [views, functions] = ["view", "function"].map(|kind| oids(kind).into_iter().collect());
        Ok(Self { views, functions })
    }

    /// What they do, as one text; empty where there are none. The search path must be
    /// `pg_catalog`.
    pub(super) async fn text(&self, client: &Client) -> Result<String, Error> {
        if self.views.is_empty() && self.functions.is_empty() {
            return Ok(String::new());
        }
        let row = client.query_one(sql::READ_DEFINITIONS, &[&self.views, &self.functions]).await?;
        Ok(row.get("definitions"))
    }
}

/// Every name in a query, with the schema that may stand before it. Most of them are columns.
fn names(query: &str) -> (Vec<Option<String>>, Vec<String>) {
    let tokens = scan::tokens(query);
    let name = |token: &Token| matches!(token.kind, Kind::Word | Kind::Quoted);
    let schema = |at: usize| match at.checked_sub(2).map(|before| &tokens[before..at]) {
        Some([schema, dot]) if name(schema) && dot.symbol('.') => Some(schema.text.clone()),
        _ => None,
    };
    (0..tokens.len())
        .filter(|at| name(&tokens[*at]))
        .map(|at| (schema(at), tokens[at].text.clone()))
        .unzip()
}
