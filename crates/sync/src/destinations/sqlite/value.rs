//! A value as COPY printed it, and what SQLite is given for it. No value passes through any other
//! type on its way.

use std::borrow::Cow;

use offtake_mapping::compose::sqlite::Held;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

/// Binds `text`, a value that is held so. A text that is not what its type prints is kept as text:
/// the table then tells it apart, and the comparison with the source too.
pub(super) fn bound<'t>(held: Held, text: Option<&'t Cow<'t, str>>) -> ToSqlOutput<'t> {
    let Some(text) = text else { return ToSqlOutput::Owned(Value::Null) };
    let as_text = || ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()));
    let owned = match held {
        Held::Text => return as_text(),
        Held::Integer => text.parse().ok().map(Value::Integer),
        Held::Boolean => match &**text {
            "t" => Some(Value::Integer(1)),
            "f" => Some(Value::Integer(0)),
            _ => None,
        },
        Held::Real => double(text).map(Value::Real),
        Held::Moment => text.ends_with("+00").then(|| Value::Text(format!("{text}:00"))),
        Held::Bytes => bytes(text).map(Value::Blob),
    };
    owned.map_or_else(as_text, ToSqlOutput::Owned)
}

/// A number. NaN and the infinities, which the standard library would read too, are none.
fn double(text: &str) -> Option<f64> {
    let finite = text.bytes().last().is_some_and(|last| last.is_ascii_digit());
    text.parse().ok().filter(|_| finite)
}

/// The bytes that `\x` and hexadecimal digits stand for.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| {
        let value = digit(pair[0])? * 16 + digit(*pair.get(1)?)?;
        u8::try_from(value).ok()
    };
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(held: Held, text: &str, expect: Value) {
        let text = Cow::Borrowed(text);
        let found = match bound(held, Some(&text)) {
            ToSqlOutput::Owned(value) => value,
            ToSqlOutput::Borrowed(value) => value.try_into().expect("it is UTF-8"),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expect, "{held:?} {text}");
    }

    #[test]
    fn values_are_bound_as_they_are_held() {
        let text = |text: &str| Value::Text(text.to_owned());
        check(Held::Integer, "-9223372036854775808", Value::Integer(i64::MIN));
        check(Held::Boolean, "t", Value::Integer(1));
        check(Held::Boolean, "f", Value::Integer(0));
        check(Held::Real, "1e+300", Value::Real(1e300));
        check(Held::Real, "5e-324", Value::Real(5e-324));
        for special in ["NaN", "Infinity", "-Infinity"] {
            check(Held::Real, special, text(special));
        }
        check(Held::Text, "0012", text("0012"));
        check(Held::Bytes, "\\x00ff", Value::Blob(vec![0, 255]));
        check(Held::Bytes, "\\x", Value::Blob(Vec::new()));
        check(Held::Moment, "2026-01-01 00:00:00.5+00", text("2026-01-01 00:00:00.5+00:00"));
        for printed in ["infinity", "-infinity", "0044-03-15 00:00:00+00 BC"] {
            check(Held::Moment, printed, text(printed));
        }
        assert!(matches!(bound(Held::Text, None), ToSqlOutput::Owned(Value::Null)));
    }
}
