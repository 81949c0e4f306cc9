//! Plans, as the source's planner makes them.

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

/// The plan of a query, with EXPLAIN's `options`, under `settings`. In a read-only transaction:
/// planning may run functions of the operator's.
pub(crate) async fn explain(
    source: &Client,
    options: &str,
    query: &str,
    settings: &str,
) -> Result<Value, tokio_postgres::Error> {
    source.batch_execute(&format!("begin transaction read only; {settings}")).await?;
    let explained = source.simple_query(&format!("explain (format json{options}) {query}")).await;
    source.batch_execute("rollback").await?;
    let text: String = explained?
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    Ok(serde_json::from_str(&text).unwrap_or_default())
}
