//! Whether a mapping's statements stay cheap as its tables grow.

use offtake_mapping::compose::{Changed, copy_changed, copy_chunk, find_dependants};
use offtake_mapping::{Condition, KeyOrder, ResolvedMapping, Tenant, Waking};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Client;

use crate::explain::explain;
use crate::sql;

/// Rows of one page of an initial copy; any number that is less than a large table's rows shows the
/// same plan.
const PAGE_ROWS: usize = 1000;

/// A small table is rightly scanned; what still is has no index. Compiling is for running.
const FOUND_BY_INDEX: &str = "set local enable_seqscan = off; set local jit = off;";

/// A small table is rightly sorted; what still is has no index in the order of the pages.
const IN_ORDER: &str = "set local enable_sort = off; set local enable_bitmapscan = off;";

/// Stands in for the log of a source that `offtake init` has not prepared yet.
const LOG_TO_BE: &str = "from (select x::text as tenant_id, x::text as source_table, x::bigint as sequence_id, \
                         jsonb_build_object('x', x) as row_key from generate_series(1, 10) x) change_log where";

/// What the planner makes of the statements that the engine runs for one mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plans {
    pub one_key: Verdict,
    pub page: Verdict,
}

/// The plan of one statement. The planner rightly reads small tables as a whole, so it is asked not
/// to: what it still reads that way has no index that could serve.
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

/// Plans exactly the queries inside the COPY statements that the engine runs, for one key and for
/// one page.
pub async fn plans(
    source: &Client,
    mapping: &ResolvedMapping,
) -> Result<Plans, tokio_postgres::Error> {
    let prepared: bool =
        source.query_one("select to_regclass('offtake.change_log') is not null", &[]).await?.get(0);
    let changed = Changed { tenant_id: "", after: 0, up_to: 1, retry_quarantined_of: None };
    let mut one_key = copy_changed(mapping, changed);
    if !prepared {
        one_key = one_key.replace("from offtake.change_log where", LOG_TO_BE);
    }
    let plans = Plans {
        one_key: judge(
            &explain_copy(source, mapping, &one_key, "").await?,
            mapping,
            Purpose::OneKey,
        ),
        page: plan_of_page(source, mapping).await?,
    };
    Ok(plans)
}

async fn plan_of_page(
    source: &Client,
    mapping: &ResolvedMapping,
) -> Result<Verdict, tokio_postgres::Error> {
    let page = copy_chunk(mapping, "", None, PAGE_ROWS);
    let mut ordered =
        judge(&explain_copy(source, mapping, &page, IN_ORDER).await?, mapping, Purpose::Page);
    let table = mapping.definition.source.table.sql();
    let tenant = match &mapping.definition.source.tenant {
        Tenant::Column(column) => Some(column),
        Tenant::Expression(_) | Tenant::Lookup(_) => None,
    };
    let columns: Vec<&str> = tenant
        .into_iter()
        .chain(mapping.key.iter().map(|k| &k.source_column))
        .map(|c| c.as_str())
        .collect();
    if !ordered.sorts
        && tenant.is_some()
        && source.query_one(sql::PROBE_PAGE_INDEX, &[&table, &columns]).await?.get(0)
    {
        ordered.reads_all_of.retain(|table| table != mapping.definition.source.table.name.as_str());
    }
    if ordered.on_indexes() {
        return Ok(ordered);
    }
    // Where a sort cannot be avoided, a plan that was to avoid it says nothing about the rest.
    let free = judge(&explain_copy(source, mapping, &page, "").await?, mapping, Purpose::Page);
    Ok(Verdict { sorts: free.sorts || ordered.sorts, ..free })
}

/// Plans the statement with which the sequencer finds the rows that a change of another table
/// concerns. Without an index, each such change reads the mapping's whole table.
pub async fn plan_of_dependants(
    source: &Client,
    waking: &Waking,
) -> Result<Verdict, tokio_postgres::Error> {
    let mut verdict = Verdict::default();
    let plan = explain(source, "", &find_dependants(waking), FOUND_BY_INDEX).await?;
    let telling = matched(waking);
    collect(&plan, &waking.mapping, &Purpose::Dependants(&telling), &mut verdict);
    if let (Condition::Match(pairs), false) =
        (&waking.dependency.condition, verdict.reads_the_tenants_rows_of.is_empty())
    {
        let table = waking.mapping.definition.source.table.sql();
        let columns: Vec<&str> = pairs.iter().map(|(ours, _)| ours.as_str()).collect();
        if source.query_one(sql::PROBE_SERVING_INDEX, &[&table, &columns, &telling]).await?.get(0) {
            verdict.reads_the_tenants_rows_of.clear();
        }
    }
    Ok(verdict)
}

/// The columns of the mapping's table that tell its rows apart within a tenant; empty where a
/// condition is not of columns.
fn matched(waking: &Waking) -> Vec<&str> {
    let tenant = match &waking.mapping.definition.source.tenant {
        Tenant::Column(column) => Some(column),
        Tenant::Expression(_) | Tenant::Lookup(_) => None,
    };
    match &waking.dependency.condition {
        Condition::Match(pairs) => pairs
            .iter()
            .map(|(ours, _)| ours)
            .filter(|ours| Some(*ours) != tenant)
            .map(|c| c.as_str())
            .collect(),
        Condition::Where(_) => Vec::new(),
    }
}

/// The index that would serve [`plan_of_dependants`], as the statement that makes it.
pub fn index_for_dependants(waking: &Waking) -> Option<String> {
    let Condition::Match(pairs) = &waking.dependency.condition else { return None };
    let columns: Vec<String> = pairs.iter().map(|(ours, _)| ours.sql()).collect();
    Some(format!(
        "create index concurrently on {} ({});",
        waking.mapping.definition.source.table.sql(),
        columns.join(", ")
    ))
}

/// The index in whose order the pages of a copy are read, as the statement that makes it; None
/// where no index can be.
pub fn index_for_pages(mapping: &ResolvedMapping) -> Option<String> {
    let Tenant::Column(tenant) = &mapping.definition.source.tenant else { return None };
    let textual = |sql_type: &str| sql_type == "text" || sql_type.starts_with("character varying");
    let mut columns = vec![tenant.sql()];
    for key in &mapping.key {
        columns.push(match key.order {
            KeyOrder::Native => key.source_column.sql(),
            KeyOrder::Text if textual(&key.source_type) => {
                format!("{} collate \"C\"", key.source_column.sql())
            }
            KeyOrder::Text => return None,
        });
    }
    Some(format!(
        "create index concurrently on {} ({});",
        mapping.definition.source.table.sql(),
        columns.join(", ")
    ))
}

async fn explain_copy(
    source: &Client,
    mapping: &ResolvedMapping,
    copy: &str,
    settings: &str,
) -> Result<Value, tokio_postgres::Error> {
    let Some(query) =
        copy.strip_prefix("copy (").and_then(|rest| rest.trim_end().strip_suffix(") to stdout"))
    else {
        return Ok(Value::Null);
    };
    // The empty text may be no value of the tenant's type, and a bare null would let the planner
    // skip everything.
    let query = query.replace(
        &format!("''::{}", mapping.tenant_type),
        &format!("(select null::{})", mapping.tenant_type),
    );
    explain(source, "", &query, &format!("{FOUND_BY_INDEX} {settings}")).await
}

/// What a statement is run for, which says what in its plan would grow.
enum Purpose<'a> {
    OneKey,
    Page,
    /// With [`matched`].
    Dependants(&'a [&'a str]),
}

fn judge(plan: &Value, mapping: &ResolvedMapping, purpose: Purpose) -> Verdict {
    let mut verdict = Verdict::default();
    collect(plan, mapping, &purpose, &mut verdict);
    verdict
}

fn collect(node: &Value, mapping: &ResolvedMapping, purpose: &Purpose, verdict: &mut Verdict) {
    match node {
        Value::Array(items) => {
            items.iter().for_each(|item| collect(item, mapping, purpose, verdict))
        }
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
                let index = matches!(kind, "Index Scan" | "Index Only Scan" | "Bitmap Heap Scan");
                let condition = if kind == "Bitmap Heap Scan" {
                    text("Recheck Cond")
                } else {
                    text("Index Cond")
                };
                let drives = table == mapping.definition.source.table.name.as_str();
                let names_row = match purpose {
                    Purpose::OneKey => names_key(condition, mapping),
                    // Else the pages of one tenant are looked for among the rows of all of them.
                    Purpose::Page => names_tenant(condition, mapping),
                    Purpose::Dependants(matched) => {
                        matched.is_empty()
                            || matched.iter().any(|column| condition.contains(column))
                    }
                };
                if kind == "Seq Scan"
                    || (index && condition.is_empty() && !matches!(purpose, Purpose::Page))
                {
                    note(&mut verdict.reads_all_of);
                } else if index && drives && !names_row {
                    match purpose {
                        Purpose::Page => note(&mut verdict.reads_all_of),
                        _ => note(&mut verdict.reads_the_tenants_rows_of),
                    }
                }
            }
            verdict.sorts |= kind == "Sort" && matches!(purpose, Purpose::Page);
            entries.values().for_each(|value| collect(value, mapping, purpose, verdict));
        }
        _ => {}
    }
}

/// The log, its partitions and the quarantine are Offtake's.
fn ours(table: &str) -> bool {
    table.starts_with("change_log") || table == "quarantined_row"
}

fn names_tenant(condition: &str, mapping: &ResolvedMapping) -> bool {
    match &mapping.definition.source.tenant {
        Tenant::Column(column) => condition.contains(column.as_str()),
        Tenant::Expression(_) | Tenant::Lookup(_) => true,
    }
}

fn names_key(condition: &str, mapping: &ResolvedMapping) -> bool {
    // A key that is the tenant's own column, or a query over other tables, cannot be told apart by
    // names.
    let tenant = match &mapping.definition.source.tenant {
        Tenant::Column(column) => column.as_str(),
        Tenant::Expression(_) | Tenant::Lookup(_) => return true,
    };
    mapping
        .key
        .iter()
        .any(|k| k.source_column.as_str() == tenant || condition.contains(k.source_column.as_str()))
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
        ResolvedMapping {
            definition,
            tenant_type: "text".to_owned(),
            key,
            columns: Vec::new(),
            version,
        }
    }

    #[test]
    fn scans_of_the_applications_tables_are_found_at_any_depth() {
        let plan = json!([{ "Plan": { "Node Type": "Nested Loop", "Plans": [
            { "Node Type": "Index Scan", "Relation Name": "a", "Index Cond": "((t = 'x') AND (id = k.k0))" },
            { "Node Type": "Append", "Plans": [{ "Node Type": "Seq Scan", "Relation Name": "change_log_0" }] },
            { "Node Type": "Hash", "Plans": [{ "Node Type": "Seq Scan", "Relation Name": "b" }, { "Node Type": "Seq Scan", "Relation Name": "b" }] },
            { "Node Type": "Index Only Scan", "Relation Name": "c" },
        ] } }]);
        let verdict = judge(&plan, &mapping(), Purpose::OneKey);
        assert_eq!(
            (verdict.reads_all_of.clone(), verdict.on_indexes()),
            (vec!["b".to_owned(), "c".to_owned()], false)
        );
        assert!(verdict.reads_the_tenants_rows_of.is_empty());
    }

    #[test]
    fn an_index_on_the_tenant_alone_is_not_enough() {
        let plan = json!([{ "Plan": { "Node Type": "Index Scan", "Relation Name": "a", "Index Cond": "(t = 'x')" } }]);
        assert_eq!(judge(&plan, &mapping(), Purpose::OneKey).reads_the_tenants_rows_of, ["a"]);
        let bitmap = json!([{ "Plan": { "Node Type": "Bitmap Heap Scan", "Relation Name": "a", "Recheck Cond": "(t = 'x')" } }]);
        assert_eq!(
            judge(&bitmap, &mapping(), Purpose::Dependants(&["b"])).reads_the_tenants_rows_of,
            ["a"]
        );
        assert!(judge(&bitmap, &mapping(), Purpose::Dependants(&["t"])).on_indexes());
        let sorted = json!([{ "Plan": { "Node Type": "Limit", "Plans": [{ "Node Type": "Sort", "Plans": [plan] }] } }]);
        assert!(judge(&sorted, &mapping(), Purpose::Page).sorts);
    }
}
