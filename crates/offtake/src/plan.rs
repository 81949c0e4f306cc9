//! Whether a mapping's statements stay cheap as its tables grow.

use offtake_mapping::compose::{Changed, copy_changed, copy_chunk};
use offtake_mapping::{ResolvedMapping, Tenant};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Rows of one page of an initial copy; any number that is less than a large table's rows shows the same plan.
const PAGE_ROWS: usize = 1000;

/// Stands in for the log of a source that `offtake init` has not prepared yet.
const LOG_TO_BE: &str = "from (select x::text as tenant_id, x::text as source_table, x::bigint as sequence_id, \
                         jsonb_build_object('x', x) as row_key from generate_series(1, 10) x) change_log where";

/// What the planner makes of the statements that the engine runs for one mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plans {
    pub one_key: Verdict,
    pub page: Verdict,
}

/// The plan of one statement. The planner rightly reads small tables as a whole, so it is asked not to: what it still
/// reads that way has no index that could serve.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verdict {
    /// Tables that are read as a whole, in the order in which the plan names them.
    pub reads_all_of: Vec<String>,
    /// Only the tenant's rows are found by an index, and all of them are looked at for one key.
    pub reads_the_tenants_rows_of: Vec<String>,
    /// A page is found by sorting all rows of the tenant.
    pub sorts: bool,
}

impl Verdict {
    /// Whether an index serves it, whatever the tables' sizes are.
    pub fn on_indexes(&self) -> bool {
        self.reads_all_of.is_empty() && self.reads_the_tenants_rows_of.is_empty() && !self.sorts
    }
}

/// Plans exactly the queries inside the COPY statements that the engine runs, for one key and for one page.
pub async fn plans(source: &Client, mapping: &ResolvedMapping) -> Result<Plans, tokio_postgres::Error> {
    let prepared: bool = source.query_one("select to_regclass('offtake.change_log') is not null", &[]).await?.get(0);
    let changed = Changed { tenant_id: "", after: 0, up_to: 1, retry_quarantined_of: None };
    let mut one_key = copy_changed(mapping, changed);
    if !prepared {
        one_key = one_key.replace("from offtake.change_log where", LOG_TO_BE);
    }
    let mut plans = Plans {
        one_key: judge(&explain(source, mapping, &one_key).await?, mapping, true),
        page: judge(&explain(source, mapping, &copy_chunk(mapping, "", None, PAGE_ROWS)).await?, mapping, false),
    };
    plans.page.reads_the_tenants_rows_of.clear();
    Ok(plans)
}

async fn explain(source: &Client, mapping: &ResolvedMapping, copy: &str) -> Result<Value, tokio_postgres::Error> {
    let Some(query) = copy.strip_prefix("copy (").and_then(|rest| rest.trim_end().strip_suffix(") to stdout")) else {
        return Ok(Value::Null);
    };
    // The empty text may be no value of the tenant's type, and a bare null would let the planner skip everything.
    let query = query.replace(&format!("''::{}", mapping.tenant_type), &format!("(select null::{})", mapping.tenant_type));
    source.batch_execute("begin transaction read only; set local enable_seqscan = off; set local jit = off").await?;
    let explained = source.simple_query(&format!("explain (format json) {query}")).await;
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

fn judge(plan: &Value, mapping: &ResolvedMapping, one_key: bool) -> Verdict {
    let mut verdict = Verdict::default();
    collect(plan, mapping, one_key, &mut verdict);
    verdict
}

fn collect(node: &Value, mapping: &ResolvedMapping, one_key: bool, verdict: &mut Verdict) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| collect(item, mapping, one_key, verdict)),
        Value::Object(entries) => {
            let text = |key: &str| entries.get(key).and_then(Value::as_str).unwrap_or_default();
            let kind = text("Node Type");
            let table = text("Relation Name");
            let note = |tables: &mut Vec<String>| {
                if !tables.iter().any(|known| known == table) {
                    tables.push(table.to_owned());
                }
            };
            // Our own tables are read by ranges and may be small; only the application's count.
            if !table.is_empty() && !ours(table) {
                let condition = text("Index Cond");
                let index = matches!(kind, "Index Scan" | "Index Only Scan");
                if kind == "Seq Scan" || (index && condition.is_empty() && one_key) {
                    note(&mut verdict.reads_all_of);
                } else if index && one_key && table == mapping.definition.source.table.name.as_str() && !names_key(condition, mapping) {
                    note(&mut verdict.reads_the_tenants_rows_of);
                }
            }
            verdict.sorts |= !one_key && kind == "Sort";
            entries.values().for_each(|value| collect(value, mapping, one_key, verdict));
        }
        _ => {}
    }
}

/// The log, its partitions and the quarantine are Offtake's.
fn ours(table: &str) -> bool {
    table.starts_with("change_log") || table == "quarantined_row"
}

fn names_key(condition: &str, mapping: &ResolvedMapping) -> bool {
    // A key that is the tenant's own column, or a query over other tables, cannot be told apart by names.
    let tenant = match &mapping.definition.source.tenant {
        Tenant::Column(column) => column.as_str(),
        Tenant::Expression(_) | Tenant::Lookup(_) => return true,
    };
    mapping.key.iter().any(|k| k.source_column.as_str() == tenant || condition.contains(k.source_column.as_str()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use offtake_mapping::{Identifier, KeyColumn, KeyOrder, Version};
    use serde_json::json;

    use super::*;

    fn mapping() -> ResolvedMapping {
        let text = "source: { table: a, tenant: t, key: { id: id } }\nquery: select 1\ntarget: { table: a }\n";
        let definition = offtake_mapping::parse(Path::new("a.yaml"), text).unwrap();
        let id = Identifier::new("id").unwrap();
        let key = vec![KeyColumn {
            query_column: id.clone(),
            source_column: id,
            sql_type: "integer".to_owned(),
            source_type: "integer".to_owned(),
            order: KeyOrder::Native,
        }];
        let version = Version::of(&definition, &key, &[]);
        ResolvedMapping { definition, tenant_type: "text".to_owned(), key, columns: Vec::new(), version }
    }

    #[test]
    fn scans_of_the_applications_tables_are_found_at_any_depth() {
        let plan = json!([{ "Plan": { "Node Type": "Nested Loop", "Plans": [
            { "Node Type": "Index Scan", "Relation Name": "a", "Index Cond": "((t = 'x') AND (id = k.k0))" },
            { "Node Type": "Append", "Plans": [{ "Node Type": "Seq Scan", "Relation Name": "change_log_0" }] },
            { "Node Type": "Hash", "Plans": [{ "Node Type": "Seq Scan", "Relation Name": "b" }, { "Node Type": "Seq Scan", "Relation Name": "b" }] },
            { "Node Type": "Index Only Scan", "Relation Name": "c" },
        ] } }]);
        let verdict = judge(&plan, &mapping(), true);
        assert_eq!((verdict.reads_all_of.clone(), verdict.on_indexes()), (vec!["b".to_owned(), "c".to_owned()], false));
        assert!(verdict.reads_the_tenants_rows_of.is_empty());
    }

    #[test]
    fn an_index_on_the_tenant_alone_is_not_enough() {
        let plan = json!([{ "Plan": { "Node Type": "Index Scan", "Relation Name": "a", "Index Cond": "(t = 'x')" } }]);
        assert_eq!(judge(&plan, &mapping(), true).reads_the_tenants_rows_of, ["a"]);
        let sorted = json!([{ "Plan": { "Node Type": "Limit", "Plans": [{ "Node Type": "Sort", "Plans": [plan] }] } }]);
        assert!(judge(&sorted, &mapping(), false).sorts);
    }
}
