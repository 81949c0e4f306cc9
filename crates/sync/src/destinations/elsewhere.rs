//! What an operator does about a table that cannot be there: an edit of the mapping's file, or, of a
//! table that is copied once, another command line.

use offtake_mapping::Mapping;

/// How its rows go to another table. `place`: what holds tables of that kind of destination.
pub(super) fn elsewhere(mapping: &Mapping, place: &str) -> String {
    match mapping.is_written() {
        true => format!("set another target.table or {place}"),
        false => format!("copy into another {place}"),
    }
}

/// How a column gets another name, or none.
pub(super) fn rename_column(mapping: &Mapping) -> &'static str {
    match mapping.is_written() {
        true => "give one of them another name in the query",
        false => {
            "rename one of them at the source, or copy a mapping whose query does, with --mapping \
             and --tenant"
        }
    }
}

/// Why a column that the destination wants has no value, and how it gets one, or is not wanted.
pub(super) fn lacks_value(mapping: &Mapping) -> [&'static str; 2] {
    match mapping.is_written() {
        true => ["the query does not give it", "add it to the query"],
        false => ["the table at the source has no such column", "drop it there"],
    }
}

/// What an operator does about a table of Offtake's own, made for something else.
pub(super) fn instead_of_taking(mapping: &Mapping, other: &str, place: &str) -> String {
    match mapping.is_written() {
        true => format!(
            "holds the rows of the mapping {other}; it stays untouched. Set another target.table, or"
        ),
        false => {
            format!("holds the rows of {other}; it stays untouched. Copy into another {place}, or")
        }
    }
}

/// What a table without such a key can be kept by.
pub(super) fn key_of(mapping: &Mapping) -> &'static str {
    match mapping.is_written() {
        true => "the mapping's key",
        false => "the key at the source",
    }
}
