//! What stands between a mapping's query and its tables: views, and functions of the application.
//! Another definition gives other rows, and fires no trigger.

use offtake_mapping::Mapping;
use offtake_mapping::scan::{self, Kind, Token};
use tokio_postgres::{Client, Error};

use super::sql;

/// The views that the query reads and the functions that it calls.
pub(super) struct Definitions {
    views: Vec<u32>,
    functions: Vec<u32>,
}

impl Definitions {
    /// Finds them. The search path must be that of the query.
    pub(super) async fn find(client: &Client, mapping: &Mapping) -> Result<Self, Error> {
        let (schemas, names) = names(&mapping.query);
        let (call_schemas, calls): (Vec<_>, Vec<_>) =
            scan::calls(&mapping.query).into_iter().map(|call| (call.schema, call.name)).unzip();
        let rows =
            client.query(sql::LIST_DEFINITIONS, &[&schemas, &names, &call_schemas, &calls]).await?;
        let (views, functions): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| row.get::<_, bool>("is_view"));
        let oids =
            |rows: Vec<&tokio_postgres::Row>| rows.iter().map(|row| row.get("oid")).collect();
        Ok(Self { views: oids(views), functions: oids(functions) })
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
