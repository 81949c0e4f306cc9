//! Whether the rule under `source.tenant` and the query's `tenant_id` agree on the rows that there
//! are, whether the query's keys are those of the source table, and whether it gives one row for
//! each. Types are the same in nearly every such mistake, so only rows can tell.

use std::collections::BTreeSet;
use std::time::Duration;

use offtake_mapping::compose::postgres::{
    Compared, compare_tenants, compute_rows, rule_for_key, sample_tenants,
};
use offtake_mapping::{Diagnostic, Identifier, ResolvedMapping, Step, Tenant, scan};
use offtake_postgres::{TEXT_FORMAT, row_fault};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};

use crate::outcome::Failure;

/// At most this many tenants of a mapping are looked at. A rule that names another column than the
/// query differs for nearly every tenant.
const TENANTS_MAX: usize = 20;

/// Rows that are compared at each end of a tenant's key order, so that the oldest and the newest
/// rows are among them. Comparing one row is one probe of an index.
const ROWS_AT_EACH_END: usize = 1_000;

/// Rows of each tenant of which every column is computed: a function that a query calls writes for
/// every row or for none.
const ROWS_COMPUTED: usize = 20;

/// A statement that no index serves is given up after this time; `verify` compares all rows.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// A tenant's id or a key in a message is cut after this many characters.
const SHOWN_CHARS_MAX: usize = 80;

/// What comparing rule and query of one mapping found.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    /// How many rows were compared.
    pub(crate) rows: i64,
    pub(crate) differing: i64,
    /// The tenant and the key (JSON) of a row that differs.
    example: Option<(String, String)>,
    /// A key (JSON) that several rows of one tenant have.
    repeated: Option<String>,
}

/// Fails with every mapping whose rule and query disagree. `init` asks before it changes anything.
pub(crate) async fn require_agreement(
    source: &Client,
    mappings: &[std::sync::Arc<ResolvedMapping>],
    tenants: &[String],
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for mapping in mappings {
        let compared = compare(source, mapping, tenants).await;
        let compared = compared.map_err(|error| unusable(mapping, error))?;
        failures.extend(disagreement(source, mapping, &compared).await.err());
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::all(failures)) }
}

/// The failure of a source that could not be asked, or of a query that it does not run.
pub(crate) fn unusable(mapping: &ResolvedMapping, error: Error) -> Failure {
    if let Some(told) = refused_when_run(mapping, &error) {
        return Failure::invalid(told.finding()).remedy(told.remedy);
    }
    let what = format!("cannot compare the tenants of mapping {}", mapping.name());
    Failure::of_source(&what, &error.into())
}

/// What only the run of a query tells: a function that it calls, or that a view of it calls, does
/// what a transaction that only reads may not do.
fn refused_when_run(mapping: &ResolvedMapping, error: &Error) -> Option<Diagnostic> {
    let db = error.as_db_error()?;
    let writes = [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::FEATURE_NOT_SUPPORTED,
        SqlState::E_R_E_MODIFYING_SQL_DATA_NOT_PERMITTED,
        SqlState::E_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED,
        SqlState::E_R_E_READING_SQL_DATA_NOT_PERMITTED,
    ];
    if !writes.contains(db.code()) {
        return None;
    }
    // The server tells the function in its context, and no place in the query.
    let context = db.where_().unwrap_or_default();
    let definition = &mapping.definition;
    let named = |call: &scan::Call| {
        context.contains(&format!("{}(", call.name))
            || context.contains(&format!("\"{}\"", call.name))
    };
    let call = scan::calls(&definition.query).into_iter().find(named);
    let (at, what) = match call {
        Some(call) => (call.at, format!("`{}`", call.name)),
        None => (0, "a function that the query calls".to_owned()),
    };
    let message = format!("the source does not run the query: {} ({what})", db.message());
    let remedy = format!(
        "have {what} only read, or take it out of the query: a copy is read in a read-only transaction"
    );
    Some(definition.mistake_in_query(at, message, remedy))
}

/// Compares a bounded sample of the rows of `tenants` and of some tenants that the source has.
pub(crate) async fn compare(
    source: &Client,
    mapping: &ResolvedMapping,
    tenants: &[String],
) -> Result<Agreement, Error> {
    if mapping.for_everyone() {
        // The rows are the same for each tenant.
        return compare_rows(source, mapping, std::iter::once(&String::new())).await;
    }
    let mut chosen: BTreeSet<String> = spread(tenants).cloned().collect();
    for sample in sample_tenants(mapping, ROWS_AT_EACH_END) {
        let rows = read(source, &sample).await?.unwrap_or_default();
        let found = rows.iter().filter_map(|row| row.get::<_, Option<String>>("tenant_id"));
        chosen.extend(found.take(TENANTS_MAX));
    }
    let chosen: Vec<String> = chosen.into_iter().collect();
    compare_rows(source, mapping, spread(&chosen)).await
}

/// At most [`TENANTS_MAX`] of the tenants, evenly from the whole list.
fn spread(tenants: &[String]) -> impl Iterator<Item = &String> {
    tenants.iter().step_by(tenants.len().div_ceil(TENANTS_MAX).max(1))
}

async fn compare_rows(
    source: &Client,
    mapping: &ResolvedMapping,
    tenants: impl Iterator<Item = &String>,
) -> Result<Agreement, Error> {
    let mut agreement = Agreement::default();
    for tenant in tenants {
        read(source, &compute_rows(mapping, tenant, ROWS_COMPUTED)).await?;
        let ends = [Compared::First(ROWS_AT_EACH_END), Compared::Last(ROWS_AT_EACH_END)];
        for (at, compared) in ends.into_iter().enumerate() {
            let statement = compare_tenants(mapping, tenant, compared);
            let mut rows = read(source, &statement).await?;
            if rows.is_none() && at == 0 {
                let some = compare_tenants(mapping, tenant, Compared::Some(ROWS_AT_EACH_END));
                rows = read(source, &some).await?;
            }
            let Some(row) = rows.as_ref().and_then(|rows| rows.first()) else { break };
            let compared: i64 = row.get("compared");
            agreement.rows += compared;
            agreement.differing += row.get::<_, i64>("differing");
            let key: Option<String> = row.get("example");
            agreement.example =
                agreement.example.or_else(|| key.map(|key| (tenant.to_owned(), key)));
            agreement.repeated = agreement.repeated.or_else(|| row.get("repeated"));
            if compared < ROWS_AT_EACH_END as i64 {
                break;
            }
        }
    }
    Ok(agreement)
}

/// The statement's rows; None if it cannot tell: it takes too long, or it fails for a value that
/// the application wrote.
async fn read(source: &Client, statement: &str) -> Result<Option<Vec<Row>>, Error> {
    let timeout = STATEMENT_TIMEOUT.as_millis();
    let begin = format!(
        "begin transaction read only; {TEXT_FORMAT} set local row_security = off; \
         set local jit = off; set local statement_timeout = {timeout}"
    );
    source.batch_execute(&begin).await?;
    let rows = source.query(statement, &[]).await;
    source.batch_execute("rollback").await?;
    match rows {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if cannot_tell(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A value that does not fit (a tenant's id that its type cannot read), a row that the query cannot
/// compute, or no time.
fn cannot_tell(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        *code == SqlState::QUERY_CANCELED
            || *code == SqlState::LOCK_NOT_AVAILABLE
            || row_fault(error)
    })
}

/// Refuses a mapping whose rule and query disagree: what each says of an example, and what makes
/// them agree, tried on the same rows.
pub(crate) async fn disagreement(
    source: &Client,
    mapping: &ResolvedMapping,
    found: &Agreement,
) -> Result<(), Failure> {
    let Some((tenant, key)) = &found.example else { return repeated_key(mapping, found) };
    let by_rule = read(source, &rule_for_key(mapping, key)).await.ok().flatten();
    let said: Vec<String> = by_rule
        .unwrap_or_default()
        .iter()
        .map(|row| row.get::<_, Option<String>>("tenant_id"))
        .map(|tenant| tenant.map_or_else(|| "null".to_owned(), |tenant| shown(&tenant)))
        .collect();
    if said.is_empty() {
        return Err(other_key(mapping, found, key));
    }
    let (rule, exposed) = (rule_text(mapping), exposed_tenant(&mapping.definition.query));
    let message = format!(
        "the rule under source.tenant ({rule}) and the query's tenant_id ({exposed}) disagree on {} \
         of {} row(s): for {}, {rule} is {} and {exposed} is {}",
        found.differing,
        found.rows,
        key_text(key),
        said.join(" or "),
        shown(tenant)
    );
    let remedy = remedy(source, mapping, &exposed, tenant).await;
    let told: Diagnostic =
        mapping.definition.mistake(&Step::keys(&["source", "tenant"]), message, remedy);
    let why = "a change is sent to the tenant that source.tenant names, so the copy that the \
               query puts the row into would miss it";
    Err(Failure::invalid(told.finding()).because(why).remedy(told.remedy))
}

/// Refuses a query that gives several rows for one key: a copy has room for one of them.
fn repeated_key(mapping: &ResolvedMapping, found: &Agreement) -> Result<(), Failure> {
    let Some(key) = &found.repeated else { return Ok(()) };
    let message = format!(
        "the query gives more than one row for {} (of {} row(s) looked at)",
        key_text(key),
        found.rows
    );
    let remedy = "have it give one row for each key: leave out what multiplies rows (a join to \
                  several rows, `union all`), aggregate it, or write `select distinct on` the key";
    let told = mapping.definition.mistake_in_query(0, message, remedy);
    let why = "a copy has one row for each key, so nothing could say which of them it is";
    Err(Failure::invalid(told.finding()).because(why).remedy(told.remedy))
}

/// The query gives keys that the source table does not have: another column, or an expression.
fn other_key(mapping: &ResolvedMapping, found: &Agreement, key: &str) -> Failure {
    let table = mapping.source_table();
    let message = format!(
        "the query's key is not that of {table} on {} of {} row(s): no row there has {}",
        found.differing,
        found.rows,
        key_text(key)
    );
    let pairs: Vec<String> = (mapping.key.iter())
        .map(|k| format!("{} as {}", k.source_column.in_sql(), k.query_column.in_sql()))
        .collect();
    let remedy = format!(
        "expose {} as it is in {table}, or name under source.key the columns that the key comes from",
        pairs.join(", ")
    );
    let told = mapping.definition.mistake(&Step::keys(&["source", "key"]), message, remedy);
    let why = "a change names its row by the key in the source table, so the row that the query \
               gives another key would miss it";
    Failure::invalid(told.finding()).because(why).remedy(told.remedy)
}

async fn remedy(
    source: &Client,
    mapping: &ResolvedMapping,
    exposed: &str,
    tenant: &String,
) -> String {
    let same_in_query = match &mapping.definition.source.tenant {
        Tenant::Column(column) => {
            format!(", or expose {} as tenant_id in the query", column.in_sql())
        }
        Tenant::Expression(_) | Tenant::Lookup(_) | Tenant::Everyone => String::new(),
    };
    let name = exposed.rsplit('.').next().and_then(|name| Identifier::from_sql(name).ok());
    if let Some(column) = name {
        let mut other = mapping.clone();
        other.definition.source.tenant = Tenant::Column(column.clone());
        // The column may be one of another table; then the statement fails.
        let tried = compare_rows(source, &other, std::iter::once(tenant)).await;
        if tried.is_ok_and(|tried| tried.rows > 0 && tried.differing == 0) {
            return format!("write `tenant: {}`{same_in_query}", column.in_yaml());
        }
    }
    format!(
        "write a rule that names the query's tenant for every row: a column, an expression over \
         the row's own columns, or a look-up `tenant: {{ table: …, column: …, match: {{ its \
         column: column of source.table }} }}`{same_in_query}"
    )
}

/// The rule, as a person wrote it.
fn rule_text(mapping: &ResolvedMapping) -> String {
    match &mapping.definition.source.tenant {
        Tenant::Column(column) => column.in_sql(),
        Tenant::Expression(sql) => shown(sql),
        Tenant::Lookup(lookup) => format!("{}.{}", lookup.last().table, lookup.column.in_sql()),
        Tenant::Everyone => "everyone".to_owned(),
    }
}

/// What the query exposes as `tenant_id`, as a person wrote it.
fn exposed_tenant(query: &str) -> String {
    let tokens = scan::tokens(query);
    let named = |at: &usize| tokens[*at].depth == 0 && tokens[*at].text == "tenant_id";
    let Some(at) = (0..tokens.len()).find(named) else { return "tenant_id".to_owned() };
    let after_as = at.checked_sub(1).is_some_and(|before| tokens[before].word("as"));
    let end = if after_as { tokens[at - 1].at } else { tokens[at].at + "tenant_id".len() };
    let begins = |at: &usize| {
        let token = &tokens[*at];
        token.depth == 0 && (token.symbol(',') || token.word("select") || token.word("distinct"))
    };
    let begin = (0..at).rev().find(begins).map_or(0, |before| tokens[before + 1].at);
    let text: String = query.chars().skip(begin).take(end.saturating_sub(begin)).collect();
    shown(text.trim())
}

/// `id = 2, at = 2026-01-01`.
fn key_text(key: &str) -> String {
    let columns: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(key).unwrap_or_default();
    let pairs = columns
        .iter()
        .map(|(column, value)| format!("{column} = {}", shown(value.as_str().unwrap_or("null"))));
    pairs.collect::<Vec<_>>().join(", ")
}

/// Foreign text on one line: control characters escaped, cut where it is long.
fn shown(text: &str) -> String {
    let one_line = |c: char| -> String {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    let cut: String = text.chars().take(SHOWN_CHARS_MAX).map(one_line).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() { format!("{cut}…") } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_query_exposes_as_tenant_is_found_in_its_text() {
        let check = |query: &str, expect: &str| assert_eq!(exposed_tenant(query), expect);
        check("select owner_org as tenant_id, id from t", "owner_org");
        check("select id, t.\"orgId\" as tenant_id from t", "t.\"orgId\"");
        check("select coalesce(a, b)::text as tenant_id from t", "coalesce(a, b)::text");
        check("select t.tenant_id, id from t", "t.tenant_id");
        check("with x as (select a as tenant_id from t) select b as tenant_id from x", "b");
        check("select * from x", "tenant_id");
    }
}
