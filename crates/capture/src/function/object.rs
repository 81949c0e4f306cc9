//! The objects of texts in which captured rows have keys of rows, and columns that others match on.

use offtake_mapping::{CapturedColumn, Identifier, literal};

/// `{"column": "text", …}` of the row in scope, or of the row variable that `prefix` names with a
/// full stop behind it.
pub(super) fn object(columns: &[CapturedColumn], prefix: &str) -> String {
    object_of(columns, |_, name| format!("{prefix}{}", name.sql()))
}

/// The same of the values that `value` names, given a column's position and its name.
///
/// From an array of texts, because `jsonb_build_object` asks the catalog for the type of each of
/// its arguments, in every statement of the application.
pub(super) fn object_of(
    columns: &[CapturedColumn],
    value: impl Fn(usize, &Identifier) -> String,
) -> String {
    let pairs: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let name = literal(column.name.as_str());
            format!("{}, {}::pg_catalog.text", name.trim(), value(at, &column.name))
        })
        .collect();
    match pairs.is_empty() {
        true => "'{}'::pg_catalog.jsonb".to_owned(),
        false => format!("pg_catalog.jsonb_object(array[{}])", pairs.join(", ")),
    }
}
