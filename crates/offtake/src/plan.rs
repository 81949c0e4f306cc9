//! Whether a mapping's statements stay cheap as its tables grow.

use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::{Changed, copy_changed};
use serde_json::Value;
use tokio_postgres::Client;

/// The tables that are read as a whole to evaluate one key of the mapping, in the order in which the plan names them.
///
/// The planner rightly reads small tables as a whole, so it is asked not to: what it still reads that way has no index
/// that could serve. The statement is exactly the one that the engine runs.
pub async fn whole_table_reads(source: &Client, mapping: &ResolvedMapping) -> Result<Vec<String>, tokio_postgres::Error> {
    let changed = Changed { tenant_id: "", after: 0, up_to: 1, retry_quarantined_of: None };
    let statement = copy_changed(mapping, changed);
    let Some(query) = statement.strip_prefix("copy (").and_then(|rest| rest.trim_end().strip_suffix(") to stdout")) else {
        return Ok(Vec::new());
    };
    // The empty text may be no value of the tenant's type, and a bare null would let the planner skip everything.
    let query = query.replace(&format!("''::{}", mapping.tenant_type), &format!("(select null::{})", mapping.tenant_type));
    source.batch_execute("begin transaction read only; set local enable_seqscan = off").await?;
    let explained = source.simple_query(&format!("explain (format json) {query}")).await;
    source.batch_execute("rollback").await?;
    let text: String = explained?
        .iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    let mut tables = Vec::new();
    collect(&serde_json::from_str(&text).unwrap_or_default(), &mut tables);
    Ok(tables)
}

fn collect(node: &Value, tables: &mut Vec<String>) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| collect(item, tables)),
        Value::Object(entries) => {
            // Our own log is read by a union of ranges and may be small; only the application's tables count.
            let table = entries.get("Relation Name").and_then(Value::as_str);
            if let Some(table) = table
                && entries.get("Node Type").and_then(Value::as_str) == Some("Seq Scan")
                && !table.starts_with("change_log")
                && !tables.iter().any(|known| known == table)
            {
                tables.push(table.to_owned());
            }
            entries.values().for_each(|value| collect(value, tables));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scans_of_the_applications_tables_are_found_at_any_depth() {
        let plan = json!([{ "Plan": { "Node Type": "Nested Loop", "Plans": [
            { "Node Type": "Index Scan", "Relation Name": "a" },
            { "Node Type": "Append", "Plans": [{ "Node Type": "Seq Scan", "Relation Name": "change_log_0" }] },
            { "Node Type": "Hash", "Plans": [{ "Node Type": "Seq Scan", "Relation Name": "b" }, { "Node Type": "Seq Scan", "Relation Name": "b" }] },
        ] } }]);
        let mut tables = Vec::new();
        collect(&plan, &mut tables);
        assert_eq!(tables, ["b"]);
    }
}
