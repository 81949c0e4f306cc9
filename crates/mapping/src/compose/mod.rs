//! Statements built at run time: everything whose tables and columns come from mapping files.
//!
//! They take no parameters where Postgres allows none (`COPY (query) TO`); values then go through
//! [`crate::literal`]. A query is a view to these statements: it becomes a sub-select `q`, and the
//! predicates are put outside it.

mod apply;
mod expand;
mod fetch;

pub use apply::{Apply, KeyRange};
pub use expand::{expand_dependants, find_dependants, resolve_tenants};
pub use fetch::{
    Changed, copy_changed, copy_chunk, copy_keys, estimate_rows, list_changed, list_chunk,
};

use crate::{Identifier, KeyColumn, KeyOrder, literal};

/// `alias."a", alias."b"`.
fn columns_of<'a>(alias: &str, columns: impl IntoIterator<Item = &'a Identifier>) -> String {
    columns.into_iter().map(|c| format!("{alias}.{}", c.sql())).collect::<Vec<_>>().join(", ")
}

/// A key as a row value whose order is the same in every database.
fn ordered_key(alias: &str, key: &[KeyColumn]) -> Vec<String> {
    key.iter()
        .map(|k| {
            let column = format!("{alias}.{}", k.query_column.sql());
            match k.order {
                KeyOrder::Native => column,
                KeyOrder::Text => format!("({}) collate \"C\"", printed(&column, &k.sql_type)),
            }
        })
        .collect()
}

/// A value as COPY prints it, which is where the other side of a comparison comes from. A cast to
/// text says something else for some types (`10.0.0.1/32` of an inet, `a` of a padded char), but is
/// what an index on a text column serves.
pub fn printed(column: &str, sql_type: &str) -> String {
    if sql_type == "text" || sql_type.starts_with("character varying") {
        format!("{column}::text")
    } else {
        format!("concat({column})")
    }
}

/// The values of a key, as text, for comparison with [`ordered_key`].
fn ordered_literals(key: &[KeyColumn], values: &[String]) -> Vec<String> {
    key.iter()
        .zip(values)
        .map(|(k, value)| match k.order {
            KeyOrder::Native => format!("{}::{}", literal(value), k.sql_type),
            KeyOrder::Text => format!("{}::text collate \"C\"", literal(value)),
        })
        .collect()
}

fn row_of(parts: &[String]) -> String {
    format!("({})", parts.join(", "))
}
