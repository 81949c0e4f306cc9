//! How a value of a SQLite file prints in Postgres. What is not held as the type table of
//! `docs/destinations.md` says prints as nothing that a source prints, so that it differs.

use offtake_mapping::{Column, KeyOrder, ResolvedMapping};
use rusqlite::types::{Value, ValueRef};

/// How the values of a column print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Printing {
    Number,
    Truth,
    /// `scientific_from`: the power of ten from which on the type prints an exponent.
    Double {
        scientific_from: i32,
    },
    Text,
    /// `+00:00` prints as `+00`.
    Moment,
    Hexadecimal,
}

/// From which power of ten on a `real` prints an exponent.
const REAL_SCIENTIFIC_FROM: i32 = 6;

impl Printing {
    pub(super) fn of(mapping: &ResolvedMapping, column: &Column) -> Self {
        let key = mapping.key.iter().find(|k| k.query_column == column.name);
        if key.is_some_and(|k| k.order == KeyOrder::Text) {
            return Self::Text;
        }
        match column.target_type.as_str() {
            "smallint" | "integer" | "bigint" | "oid" => Self::Number,
            "boolean" => Self::Truth,
            "real" => Self::Double { scientific_from: REAL_SCIENTIFIC_FROM },
            "double precision" => Self::Double { scientific_from: 15 },
            "bytea" => Self::Hexadecimal,
            zoned if zoned.starts_with("timestamp") && zoned.ends_with(" with time zone") => {
                Self::Moment
            }
            _ => Self::Text,
        }
    }

    /// The text that Postgres prints; None: NULL.
    pub(super) fn print(self, value: ValueRef<'_>) -> rusqlite::Result<Option<String>> {
        let text = match value {
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        Ok(match (self, value) {
            (_, ValueRef::Null) => None,
            (Self::Number, ValueRef::Integer(number)) => Some(number.to_string()),
            (Self::Truth, ValueRef::Integer(0)) => Some("f".to_owned()),
            (Self::Truth, ValueRef::Integer(1)) => Some("t".to_owned()),
            (Self::Double { scientific_from }, ValueRef::Real(number)) => {
                Some(double(number, scientific_from))
            }
            (Self::Double { .. }, ValueRef::Text(b"NaN" | b"Infinity" | b"-Infinity"))
            | (Self::Text, ValueRef::Text(_)) => text,
            (Self::Moment, ValueRef::Text(_)) => {
                text.map(|text| match text.strip_suffix("+00:00") {
                    Some(time) => format!("{time}+00"),
                    None if text.ends_with("+00") => strange("text", &text),
                    None => text,
                })
            }
            (Self::Hexadecimal, ValueRef::Blob(bytes)) => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                Some(format!("\\x{digits}"))
            }
            (_, ValueRef::Integer(number)) => Some(strange("integer", &number.to_string())),
            (_, ValueRef::Real(number)) => Some(strange("real", &number.to_string())),
            (_, ValueRef::Text(_)) => text.map(|text| strange("text", &text)),
            (_, ValueRef::Blob(_)) => Some(strange("blob", "")),
        })
    }
}

/// A value of another type than the column's.
fn strange(kind: &str, value: &str) -> String {
    format!("{value}\u{1}({kind} in the file)")
}

/// A key's text as the file holds it.
pub(super) fn held_key(printing: Printing, text: &str) -> Value {
    let held = match printing {
        Printing::Number => text.parse().ok().map(Value::Integer),
        Printing::Truth => Some(Value::Integer(i64::from(text == "t"))),
        Printing::Double { .. } => text.parse().ok().map(Value::Real),
        Printing::Moment => {
            text.strip_suffix("+00").map(|time| Value::Text(format!("{time}+00:00")))
        }
        Printing::Hexadecimal => text.strip_prefix("\\x").and_then(|digits| {
            let digits = digits.as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>().map(Value::Blob)
        }),
        Printing::Text => None,
    };
    held.unwrap_or_else(|| Value::Text(text.to_owned()))
}

/// As Postgres prints a number of this type: the fewest digits that only this number has, with an
/// exponent where it is small or large.
fn double(number: f64, scientific_from: i32) -> String {
    let (digits, exponent) = digits_of(number, scientific_from == REAL_SCIENTIFIC_FROM);
    let sign = if number.is_sign_negative() { "-" } else { "" };
    if number == 0.0 {
        return "0".to_owned();
    }
    let (first, rest) = digits.split_at(1);
    if !(-4..scientific_from).contains(&exponent) {
        let point = if rest.is_empty() { "" } else { "." };
        let (mark, size) = (if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs());
        return format!("{sign}{first}{point}{rest}e{mark}{size:02}");
    }
    let Ok(whole) = usize::try_from(exponent) else {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    };
    match digits.split_at_checked(whole + 1) {
        Some((before, "")) => format!("{sign}{before}"),
        Some((before, after)) => format!("{sign}{before}.{after}"),
        None => format!("{sign}{digits}{}", "0".repeat(whole + 1 - digits.len())),
    }
}

/// The digits that Postgres prints, and the power of ten of the first one.
///
/// Rust, too, prints the fewest digits that only this number has. Postgres differs in two ways. Of
/// two such texts that are equally near it takes the one that ends in an even digit. And it does not
/// take one that lies exactly between this number and its neighbour, because it does not rely on
/// readers that round such a tie to the even one. `exact`: the number is one of the type `real`,
/// whose text the double was read from; then the fewest digits are that text.
fn digits_of(number: f64, exact: bool) -> (String, i32) {
    let magnitude = number.abs();
    let (mut mantissa, mut exponent) = parts(&format!("{magnitude:e}"));
    if !exact {
        let fewest = mantissa.len();
        let nearest = |digits: usize| parts(&format!("{magnitude:.0$e}", digits - 1));
        let shortest = (mantissa.clone(), exponent);
        let longer = (fewest + 1..=17).map(nearest);
        let mut all = [nearest(fewest), shortest].into_iter().chain(longer);
        let inside = all.find(|(mantissa, exponent)| is_inside(mantissa, *exponent, magnitude));
        (mantissa, exponent) = inside.unwrap_or_else(|| nearest(17));
    }
    let trimmed = mantissa.trim_end_matches('0');
    (if trimmed.is_empty() { "0" } else { trimmed }.to_owned(), exponent)
}

fn parts(scientific: &str) -> (String, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// Whether what is a little less, and a little more, than these digits reads as the number too.
fn is_inside(mantissa: &str, exponent: i32, number: f64) -> bool {
    const FAR: usize = 40;
    let power = exponent - (mantissa.len() as i32 - 1);
    let more = format!("{mantissa}{}1e{}", "0".repeat(FAR), power - FAR as i32 - 1);
    let Ok(whole) = mantissa.parse::<u128>() else { return true };
    let less = format!("{}{}e{}", whole.saturating_sub(1), "9".repeat(FAR), power - FAR as i32);
    let reads = |text: &str| text.parse::<f64>().is_ok_and(|read| read == number);
    whole == 0 || (reads(&more) && reads(&less))
}

/// A row's text as `row(…)::text` prints it: a value is in quotes where it is empty or has a
/// character that would end it; NULL is nothing.
pub(super) fn composite(values: &[Option<String>]) -> String {
    let mut text = String::from("(");
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        let Some(value) = value else { continue };
        let ends = |c: char| {
            matches!(c, '"' | '\\' | '(' | ')' | ',' | ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
        };
        if !value.is_empty() && !value.contains(ends) {
            text.push_str(value);
            continue;
        }
        text.push('"');
        for c in value.chars() {
            if matches!(c, '"' | '\\') {
                text.push(c);
            }
            text.push(c);
        }
        text.push('"');
    }
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_print_as_a_server_prints_them() {
        let check = |number: f64, expect: &str| assert_eq!(double(number, 15), expect);
        check(0.0, "0");
        check(-0.0, "0");
        check(1.0, "1");
        check(-1.5, "-1.5");
        check(0.1, "0.1");
        check(0.0001, "0.0001");
        check(0.00001, "1e-05");
        check(100.0, "100");
        check(123_456_789_012_345.0, "123456789012345");
        check(1e14, "100000000000000");
        check(1e15, "1e+15");
        check(1.25e16, "1.25e+16");
        check(5e-324, "5e-324");
        check(f64::MAX, "1.7976931348623157e+308");
        // Ties, as PostgreSQL 15 prints them.
        check(1e23, "9.999999999999999e+22");
        check(-5_855_444_838_687_914.0 / 8.0, "-731930604835989.2");
        assert_eq!(double(2.3134286e20, 6), "2.3134286e+20");
        check(9_007_199_254_740_993.0, "9.007199254740992e+15");
        check(2f64.powi(-44), "5.684341886080802e-14");
        assert_eq!(double(1e6, 6), "1e+06");
        assert_eq!(double(999_999.0, 6), "999999");
    }

    #[test]
    fn a_row_prints_as_a_composite() {
        let row = |values: &[Option<&str>]| {
            composite(&values.iter().map(|v| v.map(str::to_owned)).collect::<Vec<_>>())
        };
        assert_eq!(row(&[Some("1"), None, Some(""), Some("a")]), "(1,,\"\",a)");
        assert_eq!(
            row(&[Some("a b"), Some("x\"y\\z"), Some("(")]),
            "(\"a b\",\"x\"\"y\\\\z\",\"(\")"
        );
        assert_eq!(row(&[None]), "()");
    }

    #[test]
    fn what_is_held_otherwise_than_it_should_be_differs() {
        let print = |printing: Printing, value: ValueRef<'_>| {
            printing.print(value).expect("it prints").expect("it is a value")
        };
        assert_eq!(print(Printing::Number, ValueRef::Integer(12)), "12");
        assert_ne!(print(Printing::Number, ValueRef::Text(b"12")), "12");
        assert_ne!(print(Printing::Text, ValueRef::Integer(12)), "12");
        assert_ne!(print(Printing::Truth, ValueRef::Integer(2)), "2");
        assert_eq!(print(Printing::Moment, ValueRef::Text(b"x+00:00")), "x+00");
        assert_ne!(print(Printing::Moment, ValueRef::Text(b"x+00")), "x+00");
        assert_eq!(print(Printing::Hexadecimal, ValueRef::Blob(&[0, 255])), "\\x00ff");
    }
}
