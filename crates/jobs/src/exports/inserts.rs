//! Rows as `INSERT` statements, for databases that do not read `COPY`.

use std::ops::Range;

use offtake_mapping::ResolvedMapping;
use offtake_reading::{Rows, unescape_bytes};

use super::encode::push_quoted;

/// A statement has at most so many rows…
const ROWS_MAX: usize = 500;

/// …and begins no other row once it has so many bytes: servers bound the size of a statement.
const BYTES_MAX: usize = 1 << 20;

/// Types whose values are written without quotes. Others are read out of text by every database.
const NUMBERS: [&str; 6] = ["smallint", "integer", "bigint", "numeric", "real", "double precision"];

/// The statements that insert a page's rows.
pub(super) fn text_of(mapping: &ResolvedMapping, rows: &Rows) -> Vec<u8> {
    let columns: Vec<String> = mapping.columns.iter().map(|column| column.name.sql()).collect();
    let table = mapping.definition.target.table.sql();
    let begin = format!("insert into {table} ({}) values\n", columns.join(", "));
    let kinds: Vec<Kind> =
        mapping.columns.iter().map(|column| Kind::of(&column.target_type)).collect();
    let mut text = Vec::with_capacity(rows.bytes() * 2);
    let mut left: Range<usize> = 0..rows.len();
    while !left.is_empty() {
        let (first, began) = (left.start, text.len());
        text.extend_from_slice(begin.as_bytes());
        while !left.is_empty() && left.start - first < ROWS_MAX && text.len() - began < BYTES_MAX {
            text.extend_from_slice(if left.start == first { b"(" } else { b",\n(" });
            for (at, field) in rows.escaped_fields(left.start).take(kinds.len()).enumerate() {
                if at > 0 {
                    text.extend_from_slice(b", ");
                }
                push(unescape_bytes(field).as_deref(), kinds[at], &mut text);
            }
            text.push(b')');
            left.start += 1;
        }
        text.extend_from_slice(b";\n");
    }
    text
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Boolean,
    Text,
}

impl Kind {
    fn of(sql_type: &str) -> Self {
        let number = |name: &&str| {
            sql_type.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || is_modifier(rest))
        };
        match sql_type {
            "boolean" => Self::Boolean,
            _ if NUMBERS.iter().any(number) => Self::Number,
            _ => Self::Text,
        }
    }
}

/// `(10,2)`, and nothing behind it: an array of numbers is text.
fn is_modifier(rest: &str) -> bool {
    rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).is_some()
}

/// One value. Only quotes are doubled, as standard SQL wants it.
fn push(value: Option<&[u8]>, kind: Kind, text: &mut Vec<u8>) {
    let Some(value) = value else { return text.extend_from_slice(b"null") };
    // `NaN` and `Infinity` are no numbers in SQL.
    let of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    match (kind, value) {
        (Kind::Boolean, b"t") => return text.extend_from_slice(b"true"),
        (Kind::Boolean, b"f") => return text.extend_from_slice(b"false"),
        (Kind::Number, number) if number.iter().all(of_number) => {
            return text.extend_from_slice(number);
        }
        _ => {}
    }
    push_quoted(value, b'\'', text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_literal_of_standard_sql() {
        let check = |sql_type: &str, value: Option<&str>, expect: &str| {
            let mut text = Vec::new();
            push(value.map(str::as_bytes), Kind::of(sql_type), &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), expect, "{sql_type}");
        };
        check("integer", None, "null");
        check("integer", Some("-7"), "-7");
        check("numeric(10,2)", Some("1.50"), "1.50");
        check("double precision", Some("1e-05"), "1e-05");
        check("double precision", Some("NaN"), "'NaN'");
        check("numeric(10,2)[]", Some("{1.50}"), "'{1.50}'");
        check("integer[]", Some("{1}"), "'{1}'");
        check("boolean", Some("t"), "true");
        check("text", Some("t"), "'t'");
        check("text", Some("it's \\ and \"x\""), "'it''s \\ and \"x\"'");
        check("text", Some(""), "''");
    }
}
