//! Whether the rule under `source.tenant` and the query's `tenant_id` name the same tenant.
//!
//! A change of a source row is sent to the tenant that the rule names. The query says in whose copy
//! the row is. Where the two differ, the copy misses the row's changes.

use super::expand::tenant_of;
use crate::{KeyColumn, ResolvedMapping, Tenant, literal};

/// Which of a tenant's rows are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    All,
    /// At most this many, whichever the planner finds first.
    Some(usize),
    /// At most this many from the beginning of the key's order.
    First(usize),
    /// At most this many from the end of the key's order.
    Last(usize),
}

/// Compares rule and query on rows that the query gives to the tenant. Returns one row: `compared`
/// and `differing` (bigint), `example` (the key of one that differs, as JSON text, or null), and
/// `repeated` (a key that several of the compared rows have, as JSON text, or null; of `All` rows
/// this is not looked for, because that takes a sort).
///
/// A row differs if no row of the source table has its key and, by the rule, its tenant. Tenants
/// are compared as text, because the change log holds them as text. Where a look-up finds no
/// tenant, every tenant looks at the row again, so nothing is missed. Of a mapping that every
/// tenant receives only the keys are compared, and `tenant_id` is not used.
pub fn compare_tenants(mapping: &ResolvedMapping, tenant_id: &str, compared: Compared) -> String {
    let parts = |part: &dyn Fn(usize, &KeyColumn) -> String, separator: &str| {
        let parts: Vec<String> =
            mapping.key.iter().enumerate().map(|(at, key)| part(at, key)).collect();
        parts.join(separator)
    };
    let ordered = |direction: &str| parts(&|at, _| format!("k{at}{direction}"), ", ");
    let order_and_limit = match compared {
        Compared::All => String::new(),
        Compared::Some(rows) => format!("limit {rows}"),
        Compared::First(rows) => format!("order by {} limit {rows}", ordered("")),
        Compared::Last(rows) => format!("order by {} limit {rows}", ordered(" desc")),
    };
    let rule = tenant_of(mapping, "source");
    let named = format!("{rule} = given.offtake_tenant::text");
    let same_tenant = match &mapping.definition.source.tenant {
        // An index on the column serves its own type's `=`.
        Tenant::Column(column) => {
            let column = format!("source.{}", column.sql());
            format!("{} and {named}", mapping.same_tenant(&column, "given.offtake_tenant"))
        }
        Tenant::Expression(_) => named,
        Tenant::Lookup(_) => format!("{named} or {rule} is null"),
        Tenant::Everyone => "true".to_owned(),
    };
    let tenant = format!("{}::{}", literal(tenant_id), mapping.tenant_type);
    let rows_of_key = match compared {
        Compared::All => "1".to_owned(),
        _ => format!("count(*) over (partition by {})", ordered("")),
    };
    format!(
        "select count(*) as compared, count(*) filter (where not agrees) as differing,\n\
                (array_agg(jsonb_build_object({shown})::text) filter (where not agrees))[1] as example,\n\
                (array_agg(jsonb_build_object({shown})::text) filter (where rows_of_key > 1))[1] as repeated\n\
           from (\n\
             select given.*, {rows_of_key} as rows_of_key, exists (\n\
                      select from {table} source\n\
                       where {same} and ({same_tenant})) as agrees\n\
               from (select q.tenant_id as offtake_tenant, {keys} from {rows}\n\
                      where {of_tenant} {order_and_limit}) given\n\
              offset 0) compared",
        shown =
            parts(&|at, key| format!("{}, k{at}::text", literal(key.query_column.as_str())), ", "),
        same = parts(
            &|at, key| {
                let column = format!("source.{}", key.source_column.sql());
                key.same(&column, &format!("given.k{at}"))
            },
            " and "
        ),
        keys = parts(&|at, key| format!("q.{} as k{at}", key.query_column.sql()), ", "),
        table = mapping.definition.source.table.sql(),
        rows = mapping.rows(&tenant),
        of_tenant = mapping.of_tenant(&tenant),
    )
}

/// Computes every column of at most `rows` rows that the query gives to the tenant, and returns
/// nothing of them: what the query calls is run as it is run for a copy.
pub fn compute_rows(mapping: &ResolvedMapping, tenant_id: &str, rows: usize) -> String {
    let tenant = format!("{}::{}", literal(tenant_id), mapping.tenant_type);
    format!(
        "select count(whole) as computed from (select q as whole from {} where {} limit {rows}) q",
        mapping.rows(&tenant),
        mapping.of_tenant(&tenant)
    )
}

/// The tenants that the rule names for rows with the key `key` (JSON, by query column), one text
/// each; at most a few.
pub fn rule_for_key(mapping: &ResolvedMapping, key: &str) -> String {
    let same: Vec<String> = mapping
        .key
        .iter()
        .map(|k| {
            let value = format!(
                "({}::jsonb ->> {})::{}",
                literal(key),
                literal(k.query_column.as_str()),
                k.sql_type
            );
            k.same(&format!("source.{}", k.source_column.sql()), &value)
        })
        .collect();
    format!(
        "select {} as tenant_id from {} source where {} limit 3",
        tenant_of(mapping, "source"),
        mapping.definition.source.table.sql(),
        same.join(" and ")
    )
}

/// Some tenants of the source, one text each: those of the first `rows` rows that the table and the
/// query give, whichever the planner finds first.
pub fn sample_tenants(mapping: &ResolvedMapping, rows: usize) -> [String; 2] {
    let rule = tenant_of(mapping, "source");
    let table = mapping.definition.source.table.sql();
    let query = &mapping.definition.query;
    [
        format!(
            "select distinct {rule} as tenant_id from (select * from {table} limit {rows}) source"
        ),
        format!(
            "select distinct tenant_id::text as tenant_id \
               from (select q.tenant_id from (\n{query}\n) q limit {rows}) found"
        ),
    ]
}
