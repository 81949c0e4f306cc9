//! Whether a mapping's statements stay cheap as its tables grow, and the index that would help.

use offtake_mapping::compose::{Changed, KeyRange, copy_changed, copy_chunk, find_dependants};
use offtake_mapping::{
    Condition, Identifier, KeyOrder, ResolvedMapping, TableName, Tenant, Waking,
};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Client;

use super::index_use::{IndexUse, Purpose, SourceTable};
use super::planner::explain;
use super::where_index::{can_be_made, searched_columns};
use crate::sql;

/// Rows of one page of an initial copy. Any number below the rows of a large table shows the same
/// plan.
const PAGE_ROWS: usize = 1000;

/// The planner rightly scans small tables. With scans disabled, it still scans only where there is
/// no index. JIT is off because its compilation is of no use for a plan alone.
const FOUND_BY_INDEX: &str = "set local enable_seqscan = off; set local jit = off;";

/// The planner rightly sorts small tables. With sorts disabled, it still sorts only where there is
/// no index in the order of the pages.
const IN_ORDER: &str = "set local enable_sort = off; set local enable_bitmapscan = off;";

/// Takes the place of the change log at a source that `offtake init` has not prepared yet, or that an
/// earlier version prepared.
const LOG_TO_BE: &str = "from (select x::text as tenant_id, x::text as source_table, \
                         x::bigint as sequence_id, jsonb_build_object('x', x) as row_key, null::integer as key_count \
                         from generate_series(1, 10) x) change_log where";

/// The plans of the statements that the sync engine runs for one mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StatementPlans {
    pub(crate) one_key: IndexUse,
    pub(crate) page: IndexUse,
}

/// Plans the queries inside the very COPY statements that the engine runs, for one key and for one
/// page.
pub(super) async fn plan_statements(
    source: &Client,
    mapping: &ResolvedMapping,
    table: &SourceTable,
) -> Result<StatementPlans, tokio_postgres::Error> {
    // By this version.
    let prepared = "select exists (select from pg_attribute where attrelid = to_regclass('offtake.change_log') and attname = 'key_count')";
    let prepared: bool = source.query_one(prepared, &[]).await?.get(0);
    let changed =
        Changed { tenant_id: "", after: 0, up_to: 1, lists: false, retry_quarantined_of: None };
    let mut one_key = copy_changed(mapping, changed);
    if !prepared {
        one_key = one_key.replace("from offtake.change_log where", LOG_TO_BE);
    }
    let one_key = explain_copy(source, mapping, &one_key, "").await?;
    let mut one_key = IndexUse::of_plan(&one_key, mapping, table, &Purpose::OneKey);
    if !one_key.reads_the_tenants_rows_of.is_empty() {
        let keys: Vec<&str> = mapping.key.iter().map(|k| k.source_column.as_str()).collect();
        let columns: Vec<&str> = tenant_column(mapping).into_iter().chain(keys.clone()).collect();
        let name = mapping.definition.source.table.sql();
        // On a small table the planner may prefer another index than the one that serves.
        if source.query_one(sql::PROBE_SERVING_INDEX, &[&name, &columns, &keys]).await?.get(0) {
            one_key.reads_the_tenants_rows_of.clear();
        }
    }
    Ok(StatementPlans { one_key, page: plan_page(source, mapping, table).await? })
}

async fn plan_page(
    source: &Client,
    mapping: &ResolvedMapping,
    source_table: &SourceTable,
) -> Result<IndexUse, tokio_postgres::Error> {
    let page = copy_chunk(mapping, "", KeyRange::ALL, PAGE_ROWS);
    let in_order = explain_copy(source, mapping, &page, IN_ORDER).await?;
    let mut in_order = IndexUse::of_plan(&in_order, mapping, source_table, &Purpose::Page);
    let table = mapping.definition.source.table.sql();
    let tenant = tenant_column(mapping);
    let columns: Vec<&str> =
        tenant.into_iter().chain(mapping.key.iter().map(|k| k.source_column.as_str())).collect();
    if !in_order.sorts
        && tenant.is_some()
        && source.query_one(sql::PROBE_PAGE_INDEX, &[&table, &columns]).await?.get(0)
    {
        let name = mapping.definition.source.table.name.as_str();
        in_order.reads_all_of.retain(|table| table != name);
    }
    if in_order.on_indexes() {
        return Ok(in_order);
    }
    // A plan that sorts although sorts are disabled was bent by that setting, and says nothing
    // about the scans. The planner's free choice does.
    let free = explain_copy(source, mapping, &page, "").await?;
    let free = IndexUse::of_plan(&free, mapping, source_table, &Purpose::Page);
    Ok(IndexUse { sorts: free.sorts || in_order.sorts, ..free })
}

/// Plans the statement with which the sequencer finds the rows that a change of another table
/// refreshes. Without an index, each such change reads the mapping's whole table. Returns the
/// statement that creates the index, too; None where the condition is an expression.
pub(super) async fn plan_dependants(
    source: &Client,
    waking: &Waking,
    table: &SourceTable,
) -> Result<(IndexUse, Option<String>), tokio_postgres::Error> {
    let Some(lookup) = &waking.lookup else {
        let mut found = plan_search(source, waking, table).await?;
        // What a look-up of the tenant lacks is told where the mapping has the look-up.
        if let Tenant::Lookup(lookup) = &waking.mapping.definition.source.tenant {
            let own = &waking.mapping.definition.source.table;
            let others = lookup.steps.iter().map(|step| &step.table).filter(|table| *table != own);
            let others: Vec<&str> = others.map(|table| table.name.as_str()).collect();
            found.reads_all_of.retain(|table| !others.contains(&table.as_str()));
        }
        let index = match found.on_indexes() {
            true => None,
            false => index_for_dependants(source, waking, table).await?,
        };
        return Ok((found, index));
    };
    let (searched, step) = (waking.searched_table(), &lookup.path.lookup.steps[lookup.step]);
    let (theirs, ours): (Vec<_>, Vec<_>) =
        step.matches.iter().map(|(theirs, ours)| (theirs, ours)).unzip();
    // The search for the rows before the changed one, then the look-up of the row itself.
    let (mut found, mut indexes) = (IndexUse::default(), Vec::new());
    if lookup.step == 0 {
        found = plan_search(source, waking, table).await?;
        let own = searched.name.as_str();
        found.reads_all_of.retain(|table| table == own);
        if !found.on_indexes() {
            indexes.extend(index_for_dependants(source, waking, table).await?);
        }
    } else if let Some(index) = index_for_look_up(source, searched, &ours).await? {
        found.reads_all_of.push(searched.name.as_str().to_owned());
        indexes.push(index);
    }
    if let Some(index) = index_for_look_up(source, &step.table, &theirs).await? {
        found.reads_all_of.push(step.table.name.as_str().to_owned());
        indexes.push(index);
    }
    Ok((found, (!indexes.is_empty()).then(|| indexes.join(" "))))
}

/// The statement that creates the index by which rows are found by these columns; None if there is
/// one.
async fn index_for_look_up(
    source: &Client,
    table: &TableName,
    columns: &[&Identifier],
) -> Result<Option<String>, tokio_postgres::Error> {
    let names: Vec<&str> = columns.iter().map(|column| column.as_str()).collect();
    let name = table.sql();
    if source.query_one(sql::PROBE_SERVING_INDEX, &[&name, &names, &names]).await?.get(0) {
        return Ok(None);
    }
    let facts = SourceTable::read(source, table).await?;
    let columns: Vec<String> = columns.iter().map(|column| column.sql()).collect();
    Ok(Some(create_index(table, &facts, &columns)))
}

async fn plan_search(
    source: &Client,
    waking: &Waking,
    table: &SourceTable,
) -> Result<IndexUse, tokio_postgres::Error> {
    let plan = explain(source, "", &find_dependants(waking), FOUND_BY_INDEX).await?;
    let telling = telling_columns(waking);
    let mut found =
        IndexUse::of_plan(&plan, &waking.mapping, table, &Purpose::Dependants(&telling));
    if let (Condition::Match(pairs), false) =
        (&waking.dependency.condition, found.reads_the_tenants_rows_of.is_empty())
    {
        let table = waking.mapping.definition.source.table.sql();
        let columns: Vec<&str> = pairs.iter().map(|(ours, _)| ours.as_str()).collect();
        if source.query_one(sql::PROBE_SERVING_INDEX, &[&table, &columns, &telling]).await?.get(0) {
            found.reads_the_tenants_rows_of.clear();
        }
    }
    Ok(found)
}

/// The columns of the mapping's table by which a dependency tells the rows of a tenant apart; empty
/// where its condition is an expression.
fn telling_columns(waking: &Waking) -> Vec<&str> {
    let tenant = tenant_column(&waking.mapping);
    match &waking.dependency.condition {
        Condition::Match(pairs) => {
            pairs.iter().map(|(ours, _)| ours.as_str()).filter(|c| Some(*c) != tenant).collect()
        }
        Condition::Where(_) => Vec::new(),
    }
}

fn tenant_column(mapping: &ResolvedMapping) -> Option<&str> {
    match &mapping.definition.source.tenant {
        Tenant::Column(column) => Some(column.as_str()),
        Tenant::Expression(_) | Tenant::Lookup(_) | Tenant::Everyone => None,
    }
}

/// The statement that creates the index for the search of [`plan_search`]; None where none is
/// known to serve the condition.
async fn index_for_dependants(
    source: &Client,
    waking: &Waking,
    table: &SourceTable,
) -> Result<Option<String>, tokio_postgres::Error> {
    let mapping = &waking.mapping;
    let columns: Vec<String> = match &waking.dependency.condition {
        Condition::Match(pairs) => pairs.iter().map(|(ours, _)| ours.sql()).collect(),
        Condition::Where(condition) => {
            let Some(columns) = searched_columns(condition) else { return Ok(None) };
            if !can_be_made(source, mapping, &columns).await? {
                return Ok(None);
            }
            columns
        }
    };
    Ok(Some(create_index(&mapping.definition.source.table, table, &columns)))
}

/// The statement that creates the index in whose order the pages of a copy are read; None where no
/// index can have that order.
pub(super) fn index_for_pages(mapping: &ResolvedMapping, table: &SourceTable) -> Option<String> {
    let tenant = match &mapping.definition.source.tenant {
        Tenant::Column(tenant) => Some(tenant),
        Tenant::Everyone => None,
        Tenant::Expression(_) | Tenant::Lookup(_) => return None,
    };
    let textual = |sql_type: &str| sql_type == "text" || sql_type.starts_with("character varying");
    let mut columns: Vec<String> = tenant.into_iter().map(Identifier::sql).collect();
    for key in &mapping.key {
        columns.push(match key.order {
            KeyOrder::Native => key.source_column.sql(),
            KeyOrder::Text if textual(&key.source_type) => {
                format!("{} collate \"C\"", key.source_column.sql())
            }
            KeyOrder::Text => return None,
        });
    }
    Some(create_index(&mapping.definition.source.table, table, &columns))
}

/// The statement that creates the index by which one key is found; None where the tenant is no
/// column.
pub(super) fn index_for_keys(mapping: &ResolvedMapping, table: &SourceTable) -> Option<String> {
    let Tenant::Column(tenant) = &mapping.definition.source.tenant else { return None };
    let keys = mapping.key.iter().map(|key| key.source_column.sql());
    let columns: Vec<String> = std::iter::once(tenant.sql()).chain(keys).collect();
    Some(create_index(&mapping.definition.source.table, table, &columns))
}

/// Postgres makes no index of a partitioned table concurrently, and none of the children of a table
/// with that table's.
fn create_index(table: &TableName, facts: &SourceTable, columns: &[String]) -> String {
    let own = table.sql();
    let columns_in_sql = columns.join(", ");
    if facts.partitioned {
        return format!("create index on {own} ({columns_in_sql});");
    }
    let create = |name: &str| format!("create index concurrently on {name} ({columns_in_sql});");
    match facts.lacking(columns).as_slice() {
        [] => create(&own),
        relations => relations.iter().map(|name| create(name)).collect::<Vec<_>>().join(" "),
    }
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
    // The tenant in the statement is the empty text, which the tenant's type may not accept. With a
    // plain null, the planner would know that there are no rows and skip the whole query.
    let query = query.replace(
        &format!("''::{}", mapping.tenant_type),
        &format!("(select null::{})", mapping.tenant_type),
    );
    explain(source, "", &query, &format!("{FOUND_BY_INDEX} {settings}")).await
}
