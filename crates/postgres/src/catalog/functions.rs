//! Functions that an operator's SQL calls although no copy can follow them.

use offtake_mapping::scan::{self, Call};
use offtake_mapping::{Mapping, Step, Tenant};
use tokio_postgres::{Client, Error, Row};

use super::problem::Problem;
use super::sql;

/// Calls in the query whose result is another one each time: no copy could ever equal it.
pub(super) async fn check_query(client: &Client, mapping: &Mapping) -> Result<Vec<Problem>, Error> {
    let found = find(client, sql::FIND_VOLATILE_FUNCTIONS, &mapping.query).await?;
    let problems = found.into_iter().map(|(call, row)| {
        let remedy = match row.get("built_in") {
            true => "take it out of the query; a value that is to stay belongs into a column of the source".to_owned(),
            false => format!("if it only reads, say so at the source: alter function {} stable;", row.get::<_, &str>("signature")),
        };
        let message = format!("`{}` is volatile: it may give another value each time, and no copy can equal that", call.name);
        Problem::in_query(mapping, call.at, message, remedy)
    });
    Ok(problems.collect())
}

/// Functions in the tenant's expression that give another value each time, and those of the
/// application that may read tables: nothing would tell the old tenant when what they read changes.
/// The search path must be `pg_catalog`.
pub(super) async fn check_tenant(
    client: &Client,
    mapping: &Mapping,
) -> Result<Vec<Problem>, Error> {
    let Tenant::Expression(expression) = &mapping.source.tenant else { return Ok(Vec::new()) };
    let path = Step::keys(&["source", "tenant"]);
    let found = find(client, sql::FIND_VOLATILE_FUNCTIONS, expression).await?;
    let mut volatile = found.into_iter().filter(|(_, row)| row.get("built_in"));
    if let Some((call, _)) = volatile.next() {
        let message = format!(
            "`{}` in the tenant's expression is volatile: it may name another tenant each time",
            call.name
        );
        let remedy = "write it over the row's own columns";
        return Ok(vec![Problem::within(mapping, &path, expression, call.at, message, remedy)]);
    }
    let found = find(client, sql::FIND_READING_FUNCTIONS, expression).await?;
    let problems = found.into_iter().map(|(call, row)| {
        let message = format!(
            "`{}` in the tenant's expression may read other tables, and a trigger has the row's \
             own columns only",
            call.name
        );
        let remedy = format!(
            "if it depends on its arguments alone, say so at the source: alter function {} \
             immutable; otherwise write a look-up: `tenant: {{ table: …, column: …, match: {{ its \
             column: column of source.table }} }}`",
            row.get::<_, &str>("signature")
        );
        Problem::within(mapping, &path, expression, call.at, message, remedy)
    });
    Ok(problems.collect())
}

/// The calls in `text` that `statement` finds, each with the row about it.
async fn find(client: &Client, statement: &str, text: &str) -> Result<Vec<(Call, Row)>, Error> {
    let calls = scan::calls(text);
    let schemas: Vec<Option<&str>> = calls.iter().map(|c| c.schema.as_deref()).collect();
    let names: Vec<&str> = calls.iter().map(|c| c.name.as_str()).collect();
    let rows = client.query(statement, &[&schemas, &names]).await?;
    let found = rows.into_iter().filter_map(|row| {
        let position: i32 = row.get("position");
        Some((calls.get(usize::try_from(position - 1).ok()?)?.clone(), row))
    });
    Ok(found.collect())
}
