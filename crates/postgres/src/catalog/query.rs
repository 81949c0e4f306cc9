//! A mapping's query, as far as the server can tell without running it: its columns and their types.

use std::collections::BTreeSet;

use offtake_mapping::{Column, Condition, Identifier, KeyColumn, KeyOrder, Mapping, Tenant};
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::{Client, Error, Statement};

use super::problem::Problem;
use super::read_only::ReadOnly;
use super::sql;

/// The column every query exposes besides its key.
pub(super) const TENANT_COLUMN: &str = "tenant_id";

/// What stands before the query's text in the statement that is prepared, in characters.
const BEFORE_QUERY: &str = "select q.* from (";

/// One column of a query.
#[derive(Debug)]
pub(super) struct QueryColumn {
    column: Column,
    ordered_alike: bool,
}

/// What a query exposes, by oid; [`Prepared::columns`] gives the types their names.
pub(super) struct Prepared(Statement);

/// Prepares the mapping's query under the session's own search path, as the engine will run it.
pub(super) async fn prepare(transaction: &ReadOnly<'_>, mapping: &Mapping) -> Result<Result<Prepared, Vec<Problem>>, Error> {
    // The line break ends a comment on the query's last line.
    let statement = match transaction.prepare(&format!("{BEFORE_QUERY}{}\n) q", mapping.query)).await? {
        Ok(statement) => statement,
        Err(error) => return Ok(Err(vec![refused_query(mapping, &error)])),
    };
    let mut problems = Vec::new();
    if !statement.params().is_empty() {
        problems.push(parameter(mapping));
    }
    let mut seen = BTreeSet::new();
    for column in statement.columns() {
        if !seen.insert(column.name()) {
            problems.push(Problem::in_query(
                mapping,
                format!("the query has two columns named `{}`", column.name()),
                "give one of them another name with `as`",
            ));
        }
        if let Err(invalid) = Identifier::new(column.name()) {
            problems.push(Problem::in_query(mapping, invalid.to_string(), "give every column of the query a name with `as`"));
        }
    }
    Ok(if problems.is_empty() { Ok(Prepared(statement)) } else { Err(problems) })
}

fn parameter(mapping: &Mapping) -> Problem {
    Problem::in_query(
        mapping,
        "the query has a parameter ($1)",
        "write it as a view: it returns the rows of every tenant, and the engine adds the predicates",
    )
}

fn refused_query(mapping: &Mapping, error: &Error) -> Problem {
    let Some(db) = error.as_db_error() else {
        return Problem::in_query(mapping, error.to_string(), "correct the query");
    };
    if db.code().code() == "42P18" && db.message().contains("parameter") {
        return parameter(mapping);
    }
    let line = match db.position() {
        Some(ErrorPosition::Original(at)) => Some(mapping.query_line + line_of(&mapping.query, *at as usize)),
        _ => Some(mapping.query_line),
    };
    let remedy = db.hint().unwrap_or("correct the query; it must run on the source by itself, as written").to_owned();
    Problem::of(mapping, format!("the source refuses the query: {}", db.message()), remedy).at_line(line)
}

/// Lines before a position in the prepared statement, which Postgres counts in characters from 1.
fn line_of(query: &str, position: usize) -> usize {
    let within = position.saturating_sub(1 + BEFORE_QUERY.len());
    let before = query.chars().take(within).filter(|c| *c == '\n').count();
    // An error "at end of input" points behind the query.
    before.min(query.lines().count().saturating_sub(1))
}

impl Prepared {
    /// Names the types. The search path must be `pg_catalog`.
    pub(super) async fn columns(&self, client: &Client) -> Result<Vec<QueryColumn>, Error> {
        let types: Vec<u32> = self.0.columns().iter().map(|c| c.type_().oid()).collect();
        let modifiers: Vec<i32> = self.0.columns().iter().map(tokio_postgres::Column::type_modifier).collect();
        let rows = client.query(sql::DESCRIBE_TYPES, &[&types, &modifiers]).await?;
        let described = self.0.columns().iter().zip(rows).filter_map(|(column, row)| {
            Some(QueryColumn {
                column: Column {
                    name: Identifier::new(column.name()).ok()?,
                    source_type: row.get("source_type"),
                    target_type: row.get("target_type"),
                },
                ordered_alike: row.get("ordered_alike"),
            })
        });
        Ok(described.collect())
    }
}

/// The query's columns, told apart by what they are for.
pub(super) struct Exposed {
    pub(super) tenant_type: String,
    pub(super) key: Vec<KeyColumn>,
    pub(super) columns: Vec<Column>,
}

/// Finds tenant and key among the query's columns. `source_type` tells the type of a column of the source table.
pub(super) fn expose(
    mapping: &Mapping,
    key: &[(Identifier, Identifier)],
    mut columns: Vec<QueryColumn>,
    source_type: impl Fn(&Identifier) -> String,
) -> Result<Exposed, Vec<Problem>> {
    let names: Vec<String> = columns.iter().map(|c| c.column.name.to_string()).collect();
    let missing = |name: &str, what: &str, remedy: String| {
        Problem::in_query(mapping, format!("the query has no column `{name}`, {what}; it has: {}", names.join(", ")), remedy)
    };
    let mut problems = Vec::new();
    let mut found = Vec::new();
    for (query_column, source_column) in key {
        if query_column.as_str() == TENANT_COLUMN {
            problems.push(Problem::of(
                mapping,
                format!("`{TENANT_COLUMN}` cannot be a key column: a destination holds one tenant, or has it in front of the key anyway"),
                format!("expose the column a second time under another name, and write `key: {{ that_name: {source_column} }}`"),
            ));
            continue;
        }
        match columns.iter().find(|c| c.column.name == *query_column) {
            Some(c) => found.push(KeyColumn {
                query_column: query_column.clone(),
                source_column: source_column.clone(),
                sql_type: c.column.source_type.clone(),
                source_type: source_type(source_column),
                order: if c.ordered_alike { KeyOrder::Native } else { KeyOrder::Text },
            }),
            None => problems.push(missing(
                query_column.as_str(),
                "which is in the key",
                format!("select {source_column} as {query_column}, or name another column in `source.key`"),
            )),
        }
    }
    let Some(at) = columns.iter().position(|c| c.column.name.as_str() == TENANT_COLUMN) else {
        problems.push(missing(TENANT_COLUMN, "which says whose row it is", format!("select the tenant's id as {TENANT_COLUMN}")));
        return Err(problems);
    };
    let tenant = columns.remove(at);
    let tenant_type = tenant.column.source_type.clone();
    if mapping.target.keep_tenant {
        columns.insert(0, tenant);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Exposed { tenant_type, key: found, columns: columns.into_iter().map(|c| c.column).collect() })
}

/// Parses the SQL that mappings hold besides the query, under the session's own search path: the conditions of
/// dependencies, which the sequencer evaluates.
pub(super) async fn check_conditions(transaction: &ReadOnly<'_>, mapping: &Mapping) -> Result<Vec<Problem>, Error> {
    let mut problems = Vec::new();
    for dependency in &mapping.depends_on {
        let Condition::Where(condition) = &dependency.condition else { continue };
        let (source, changed) = (mapping.source.table.sql(), dependency.table.sql());
        let statement = format!("select from {source} as source, {changed} as changed where (\n{condition}\n)");
        let subject = format!("the condition on {}", dependency.table);
        problems.extend(check_statement(transaction, mapping, &statement, &subject).await?);
    }
    Ok(problems)
}

/// Parses the tenant's expression as the triggers will: with nothing but the system catalog in the search path.
pub(super) async fn check_tenant(transaction: &ReadOnly<'_>, mapping: &Mapping) -> Result<Option<Problem>, Error> {
    let Tenant::Expression(expression) = &mapping.source.tenant else { return Ok(None) };
    let statement = format!("select (\n{expression}\n)::text from (select * from {}) as source", mapping.source.table.sql());
    check_statement(transaction, mapping, &statement, "the tenant's expression").await
}

async fn check_statement(transaction: &ReadOnly<'_>, mapping: &Mapping, statement: &str, subject: &str) -> Result<Option<Problem>, Error> {
    let message = match transaction.prepare(statement).await? {
        Ok(statement) if statement.params().is_empty() => return Ok(None),
        Ok(_) => "it has a parameter ($1)".to_owned(),
        Err(error) => error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned()),
    };
    let remedy = "correct it; functions and operators outside pg_catalog are written with their schema";
    Ok(Some(Problem::of(mapping, format!("the source refuses {subject}: {message}"), remedy)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_become_lines_of_the_query() {
        let query = "select ü,\n  nothing\nfrom t";
        let check = |at: usize, expect: usize| {
            assert_eq!(line_of(query, 1 + BEFORE_QUERY.len() + at), expect, "{at}");
        };
        check(0, 0);
        check(9, 0);
        check(12, 1);
        check(query.chars().count() + 5, 2);
    }
}
