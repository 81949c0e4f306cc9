//! What the statements about a tenant's own rows are made of.

use offtake_mapping::compose::postgres::printed;
use offtake_mapping::{Identifier, literal};

use super::super::tables::{OwnColumn, Resolved};

/// The columns of an existing row that a restore writes.
pub(super) fn updated<'t>(table: &'t Resolved, given: &[Identifier]) -> Vec<&'t OwnColumn> {
    let written = |column: &&OwnColumn| {
        given.contains(&column.name)
            && !column.always_identity
            && !table.key_columns().any(|key| key.name == column.name)
    };
    table.stored().filter(written).collect()
}

/// Whether a column holds the tenant. The first comparison is the type's own, which an index serves;
/// the second is by text, because the tenant is one.
pub(super) fn is_tenant(alias: &str, column: &OwnColumn, tenant: &str) -> String {
    let sql = format!("{alias}.{}", column.name.sql());
    let text = printed(&sql, &column.sql_type);
    let by_text = format!(
        "pg_catalog.{} collate pg_catalog.\"C\" operator(pg_catalog.=) {tenant}",
        as_function(&text)
    );
    match &column.equals {
        Some(equals) => format!(
            "{} {equals} {tenant}::{} and {by_text}",
            operand(column, &sql),
            column.base_type
        ),
        None => by_text,
    }
}

/// `printed` gives `x::text` or `concat(x)`; both are written as a function of the catalog.
pub(super) fn as_function(printed: &str) -> String {
    match printed.strip_suffix("::text") {
        Some(value) => format!("concat({value})"),
        None => printed.to_owned(),
    }
}

/// Whether two values are equal by the operator of a column's type.
pub(super) fn equal(column: &OwnColumn, theirs: &str, ours: &str) -> String {
    match &column.equals {
        Some(equals) => format!("{} {equals} {ours}", operand(column, theirs)),
        None => "false".to_owned(),
    }
}

pub(super) fn same_key(table: &Resolved, one: &str, other: &str) -> String {
    let same = table.key.iter().map(|key| {
        let column = &table.columns[key.column];
        let side = |alias: &str| operand(column, &format!("{alias}.{}", column.name.sql()));
        format!("{} {} {}", side(one), key.equals, side(other))
    });
    same.collect::<Vec<_>>().join(" and ")
}

/// The condition that a row is behind a key in key order.
pub(super) fn behind_key(table: &Resolved, alias: &str, after: &[String]) -> String {
    let parts: Vec<(String, String, &str, &str)> = table
        .key
        .iter()
        .zip(after)
        .map(|(key, value)| {
            let column = &table.columns[key.column];
            let ours = operand(column, &format!("{alias}.{}", column.name.sql()));
            let value = format!("{}::{}", literal(value), column.base_type);
            (ours, value, key.equals.as_str(), key.greater.as_str())
        })
        .collect();
    let greater = parts.first().map_or("", |part| part.3);
    if parts.iter().all(|part| part.3 == greater) {
        let ours: Vec<&str> = parts.iter().map(|part| part.0.as_str()).collect();
        let values: Vec<&str> = parts.iter().map(|part| part.1.as_str()).collect();
        return format!("row({}) {greater} row({})", ours.join(", "), values.join(", "));
    }
    let tails = (0..parts.len()).map(|at| {
        let equal = parts[..at]
            .iter()
            .map(|(ours, value, equals, _)| format!("{ours} {equals} {value} and "));
        let (ours, value, _, greater) = &parts[at];
        format!("({}{ours} {greater} {value})", equal.collect::<String>())
    });
    format!("({})", tails.collect::<Vec<_>>().join(" or "))
}

/// A value of a column as an operand of its type's operators: a domain is taken off.
pub(super) fn operand(column: &OwnColumn, sql: &str) -> String {
    match column.is_domain {
        true => format!("{sql}::{}", column.base_type),
        false => sql.to_owned(),
    }
}

/// A key as a JSON object of texts, for people.
pub(super) fn key_text(table: &Resolved, alias: &str) -> String {
    let parts = table.key_columns().map(|column| {
        let value = format!("{alias}.{}", column.name.sql());
        format!("{}, pg_catalog.concat({value})", literal(column.name.as_str()))
    });
    format!(
        "pg_catalog.jsonb_build_object({})::pg_catalog.text",
        parts.collect::<Vec<_>>().join(", ")
    )
}

pub(super) fn from(table: &Resolved) -> String {
    match table.only {
        true => format!("only {}", table.name.sql()),
        false => table.name.sql(),
    }
}

pub(super) fn columns<'c>(alias: &str, of: impl IntoIterator<Item = &'c OwnColumn>) -> String {
    let named = of.into_iter().map(|column| format!("{alias}.{}", column.name.sql()));
    named.collect::<Vec<_>>().join(", ")
}

pub(super) fn names<'c>(of: impl IntoIterator<Item = &'c OwnColumn>) -> String {
    of.into_iter().map(|column| column.name.sql()).collect::<Vec<_>>().join(", ")
}

pub(super) fn stage(at: usize) -> String {
    format!("pg_temp.offtake_stage_{at}")
}

pub(super) fn plan(at: usize) -> String {
    format!("pg_temp.offtake_plan_{at}")
}
