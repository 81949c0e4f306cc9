//! Which of the query's columns can be a tenant's id or part of a key, by how their type compares:
//! see [`offtake_mapping::equality`].

use offtake_mapping::{Equality, Identifier, Mapping, Step, Tenant, TypeFacts};
use tokio_postgres::Error;

use super::problem::Problem;
use super::query::{QueryColumn, TENANT_COLUMN};
use super::read_only::ReadOnly;
use super::sql;

/// Sets [`QueryColumn::deterministic`] of the columns that `wanted` names.
pub(super) async fn read_collations(
    transaction: &ReadOnly<'_>,
    mapping: &Mapping,
    columns: &mut [QueryColumn],
    wanted: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let mut collated: Vec<&mut QueryColumn> = columns
        .iter_mut()
        .filter(|column| column.collatable && wanted(column.column.name.as_str()))
        .collect();
    if collated.is_empty() {
        return Ok(());
    }
    let expressions = collated.iter().map(|column| {
        format!(
            "(select c.collisdeterministic from pg_catalog.pg_collation c \
               where c.oid = pg_catalog.pg_collation_for(q.{})::pg_catalog.regcollation)",
            column.column.name.sql()
        )
    });
    // The query last: it may hold the other placeholder's text.
    let statement = sql::READ_COLLATIONS
        .replace("{columns}", &expressions.collect::<Vec<_>>().join(", "))
        .replace("{query}", &mapping.query);
    let Some(row) = transaction.query_one(&statement).await? else { return Ok(()) };
    let deterministic: Vec<Option<bool>> = row.get(0);
    for (column, deterministic) in collated.iter_mut().zip(deterministic) {
        column.deterministic = deterministic.unwrap_or(true);
    }
    Ok(())
}

/// How `=` of the column's type relates to the text of its values.
pub(super) fn of(column: &QueryColumn) -> Equality {
    Equality::of(TypeFacts {
        sql_type: &column.column.source_type,
        kind: column.kind,
        array: column.array,
        built_in: column.built_in,
        deterministic: column.deterministic,
        comparable: column.comparable,
    })
}

/// A tenant whose rows would be found by value and whose changes by text.
pub(super) fn check_tenant(mapping: &Mapping, tenant: &QueryColumn) -> Option<Problem> {
    let path = Step::keys(&["source", "tenant"]);
    let sql_type = type_of(tenant);
    match of(tenant) {
        Equality::Text => None,
        Equality::None => Some(Problem::at(
            mapping,
            &path,
            format!("the tenant is {sql_type}, a type whose values cannot be compared"),
            format!(
                "name the tenant by a column or an expression of another type, in `tenant` and as `{TENANT_COLUMN}` in the query alike"
            ),
        )),
        class @ Equality::Coarse(_) => Some(Problem::at(
            mapping,
            &path,
            format!(
                "the tenant is {sql_type}, a type whose equal values may print differently: rows \
                 are found by value and changes by text, so that changes would be missed"
            ),
            remedy_of_tenant(mapping, class),
        )),
    }
}

fn remedy_of_tenant(mapping: &Mapping, class: Equality) -> String {
    let normal = |column: &str| class.normal_form(column).unwrap_or_default();
    match &mapping.source.tenant {
        Tenant::Column(column) => {
            let expression = normal(&written(column));
            format!(
                "write `tenant: {expression}`, select {expression} as {TENANT_COLUMN} in the \
                 query, create an index on ({expression}), and name the destinations' tenants as \
                 it prints them"
            )
        }
        // It has no type of its own; this is never said of it.
        Tenant::Expression(_) | Tenant::Everyone => format!(
            "write the tenant as {}, in `tenant` and as `{TENANT_COLUMN}` in the query alike",
            normal("(…)")
        ),
        Tenant::Lookup(lookup) => {
            let expression = normal(&written(&lookup.column));
            format!(
                "run at the source: alter table {} add column tenant_text text generated always \
                 as ({expression}) stored; then look up `column: tenant_text` and select it as \
                 {TENANT_COLUMN} in the query",
                lookup.last().table.sql()
            )
        }
    }
}

/// A column as people write it: in double quotes only where SQL needs them.
fn written(column: &Identifier) -> String {
    /// The reserved words of Postgres that columns are called by.
    const RESERVED: [&str; 20] = [
        "user",
        "order",
        "group",
        "table",
        "column",
        "references",
        "default",
        "end",
        "from",
        "to",
        "check",
        "primary",
        "all",
        "any",
        "case",
        "only",
        "offset",
        "limit",
        "desc",
        "asc",
    ];
    let name = column.as_str();
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !RESERVED.contains(&name) { name.to_owned() } else { column.sql() }
}

/// A key column that no unique index and no condition could be about.
pub(super) fn check_key(mapping: &Mapping, column: &QueryColumn) -> Option<Problem> {
    (of(column) == Equality::None).then(|| {
        let name = &column.column.name;
        Problem::at(
            mapping,
            &Step::keys(&["source", "key"]),
            format!(
                "the key column `{name}` is {}, a type whose values cannot be compared",
                type_of(column)
            ),
            format!(
                "key the rows by another column; one that holds its text is made by: alter table \
                 {} add column {} text generated always as ({}::text) stored;",
                mapping.source.table.sql(),
                format_args!("{}_text", name.as_str().replace(|c: char| !c.is_alphanumeric(), "_")),
                name.sql()
            ),
        )
    })
}

/// Whether the destination tells keys apart that the source takes as equal.
pub(super) fn by_text(column: &QueryColumn) -> bool {
    !column.deterministic || column.column.target_type != column.column.source_type
}

fn type_of(column: &QueryColumn) -> String {
    let sql_type = &column.column.source_type;
    match column.deterministic {
        true => sql_type.clone(),
        false => format!("{sql_type} under a nondeterministic collation"),
    }
}
