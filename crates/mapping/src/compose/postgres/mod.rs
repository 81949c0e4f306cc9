//! The statements in Postgres's SQL: those of the source, which is always Postgres, and those of
//! destinations that are Postgres databases.

mod agreement;
mod apply;
mod events;
mod expand;
mod fetch;
mod guard;
mod look_up;
mod merge;

pub use agreement::{Compared, compare_tenants, compute_rows, rule_for_key, sample_tenants};
pub use apply::Apply;
pub use events::{
    Accepted, EventShape, copy_event_chunk, copy_events, select_events, select_events_of_tenants,
};
pub use expand::{expand_dependants, find_dependants, sample_dependants};
pub use fetch::{
    ReadRange, TenantKeys, copied, copy_changed, copy_chunk, copy_chunk_json, copy_keys,
    estimate_rows, find_end, list_changed, list_changed_ranges, list_chunk, measure_rows,
    select_keys, select_keys_of_tenants, select_tenants,
};
pub use guard::{ActingKey, UpdatingKey};
pub use look_up::resolve_tenants;
pub use merge::Told;

use crate::{Identifier, KeyColumn, KeyOrder, literal};

/// The table of the cursors, which is also written into files that a destination begins with.
pub const CREATE_STATE_TABLE: &str = include_str!("../../../sql/create_state_table.sql");

/// `alias."a", alias."b"`.
fn columns_of<'a>(alias: &str, columns: impl IntoIterator<Item = &'a Identifier>) -> String {
    columns.into_iter().map(|c| format!("{alias}.{}", c.sql())).collect::<Vec<_>>().join(", ")
}

/// A key's columns as the parts of a row value whose order is the same in every database.
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

/// A value as COPY prints it, because it is compared with values that COPY printed. A cast to text
/// prints some types differently (an inet as `10.0.0.1/32`, a padded char without its blanks). Text
/// columns are cast all the same: only then can an index on them be used.
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

/// The same for a server that stores text in another encoding: as the text's UTF-8 bytes, whose
/// order is that of the source, and which can also be said of characters that the server lacks.
fn ordered_key_bytes(alias: &str, key: &[KeyColumn]) -> Vec<String> {
    let ordered = ordered_key(alias, key);
    let bytes = |(k, native): (&KeyColumn, String)| match k.order {
        KeyOrder::Native => native,
        KeyOrder::Text => {
            let column = format!("{alias}.{}", k.query_column.sql());
            format!("convert_to({}, 'UTF8')", printed(&column, &k.sql_type))
        }
    };
    key.iter().zip(ordered).map(bytes).collect()
}

/// The values of a key, for comparison with [`ordered_key_bytes`].
fn ordered_literal_bytes(key: &[KeyColumn], values: &[String]) -> Vec<String> {
    let literals = ordered_literals(key, values);
    let bytes = |((k, value), native): ((&KeyColumn, &String), String)| match k.order {
        KeyOrder::Native => native,
        KeyOrder::Text => {
            let hexadecimal: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
            format!("decode('{hexadecimal}', 'hex')")
        }
    };
    key.iter().zip(values).zip(literals).map(bytes).collect()
}

/// Texts as the literal of an array. It is one constant, however many there are: so the server's
/// statistics take statements that differ in them for one.
fn array_literal<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let texts: Vec<String> = texts.into_iter().map(quoted).collect();
    literal(&format!("{{{}}}", texts.join(",")))
}

fn row_of(parts: &[String]) -> String {
    format!("({})", parts.join(", "))
}
