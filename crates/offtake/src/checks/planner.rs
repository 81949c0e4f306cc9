//! Asking the source's query planner.

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

/// The planner's plan of `query` as EXPLAIN prints it in JSON, with EXPLAIN's further `options` and
/// after the statements in `settings`. Runs in a read-only transaction, because planning may
/// execute functions of the operator's.
pub(super) async fn explain(
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
