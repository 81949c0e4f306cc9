//! Rows on their way: COPY text becomes JSON text, in pieces that fit into a parameter.

use std::borrow::Cow;

use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::sqlite::{From, Held, Staged};
use offtake_reading::{Chunk, Rows};

use super::call::Statement;

/// A parameter has at most 2 000 000 bytes.
const JSON_BYTES_MAX: usize = 1_900_000;
const VALUE_BYTES_MAX: usize = 2_000_000;

/// And so has a row.
pub(crate) const ROW_BYTES_MAX: usize = 2_000_000;

/// Some rows that are there, in one statement's parameters.
pub(super) struct Piece {
    from: From,
    parameters: Vec<Option<String>>,
    /// Their numbers.
    pub(super) lines: Vec<usize>,
}

/// Rows of one part of a batch.
pub(super) struct Stage<'a> {
    mapping: &'a ResolvedMapping,
    pub(super) staged: Staged<'a>,
    pub(super) rows: &'a Rows,
    pub(super) pieces: Vec<Piece>,
    /// Rows that no request can hold.
    pub(super) too_large: Vec<usize>,
    /// The number of the first line.
    first: usize,
}

impl<'a> Stage<'a> {
    /// Those of the lines that are wanted; the first line has the number `first`.
    pub(super) fn new(
        mapping: &'a ResolvedMapping,
        rows: &'a Rows,
        first: usize,
        wanted: impl Fn(usize) -> bool,
    ) -> Self {
        let staged = Staged::new(mapping);
        let (mut pieces, mut too_large) = (Vec::new(), Vec::new());
        let (mut json, mut lines) = (String::new(), Vec::new());
        let mut cut = |json: &mut String, lines: &mut Vec<usize>| {
            if !lines.is_empty() {
                json.push(']');
                let parameters = vec![Some(std::mem::take(json))];
                pieces.push(Piece { from: From::Json, parameters, lines: std::mem::take(lines) });
            }
        };
        let mut alone = Vec::new();
        for line in present(rows).filter(|line| wanted(*line)) {
            let one = row(&staged, rows, line, first);
            if one.len() > JSON_BYTES_MAX {
                match by_itself(&staged, rows, line) {
                    Some(piece) => alone.push(piece),
                    None => too_large.push(line),
                }
                continue;
            }
            if json.len() + one.len() + 2 > JSON_BYTES_MAX {
                cut(&mut json, &mut lines);
            }
            json.push(if json.is_empty() { '[' } else { ',' });
            json.push_str(&one);
            lines.push(line);
        }
        cut(&mut json, &mut lines);
        pieces.extend(alone);
        Self { mapping, staged, rows, pieces, too_large, first }
    }

    /// Deletes the rows of keys that are gone.
    pub(super) fn delete_absent(&self) -> Vec<Statement> {
        let absent = (0..self.rows.len()).filter(|&line| self.rows.present(line..line + 1) == 0);
        self.delete(absent)
    }

    /// Deletes the rows that these would replace.
    pub(super) fn delete(&self, lines: impl Iterator<Item = usize>) -> Vec<Statement> {
        let keys = lines.map(|line| self.key(line, self.staged.key()));
        let of = |json| Statement::new(self.staged.delete()).with(json);
        pieces_of(keys).into_iter().map(of).collect()
    }

    /// Deletes the rows of a chunk's range that the source has not. Keys that do not fit into one
    /// parameter are of several ranges, each up to its last key.
    pub(super) fn clear(&self, chunk: &Chunk, tenant: &str) -> Vec<Statement> {
        let tenants = usize::from(self.mapping.definition.target.keep_tenant);
        let own = &self.staged.key()[tenants..];
        let held = self.staged.held();
        let bound = |key: &Vec<String>| {
            let texts = key.iter().zip(own).map(|(text, at)| (Some(Cow::from(text.as_str())), *at));
            array(texts.map(|(text, at)| json(held[at], text.as_ref())))
        };
        let tenant = self.staged.key()[..tenants]
            .iter()
            .map(|at| array([json(held[*at], Some(&Cow::from(tenant)))].into_iter()));
        let tenant: Vec<Option<String>> = tenant.map(Some).collect();
        let mut after = chunk.after.as_ref().map(bound);
        let keys = (0..self.rows.len()).map(|line| self.key(line, own));
        let mut given = groups_of(keys);
        if given.is_empty() {
            given.push(Vec::new());
        }
        let last = given.len() - 1;
        let mut statements = Vec::new();
        for (at, keys) in given.into_iter().enumerate() {
            let up_to = match at == last {
                true => chunk.up_to.as_ref().map(bound),
                false => keys.last().cloned(),
            };
            let sql = self.staged.clear(after.is_some(), up_to.is_some());
            let bounds = after.take().into_iter().chain(up_to.clone()).map(Some);
            let statement = Statement::new(sql).with(array(keys.into_iter()));
            statements.push(statement.with_all(tenant.clone()).with_all(bounds));
            after = up_to;
        }
        statements
    }

    pub(super) fn upsert(&self) -> Vec<Statement> {
        self.each(|from| Some(self.staged.upsert(from)))
    }

    pub(super) fn insert(&self) -> Vec<Statement> {
        self.each(|from| Some(self.staged.insert(from)))
    }

    /// Writes those rows that the table takes.
    pub(super) fn write_or_ignore(&self) -> Vec<Statement> {
        let mut statements = self.each(|from| self.staged.update_or_ignore(from));
        statements.extend(self.each(|from| Some(self.staged.insert_or_ignore(from))));
        statements
    }

    /// Notes the rows that are not there as they are given.
    pub(super) fn note(&self, into: &str, fixed: &[&str]) -> Vec<Statement> {
        let note = |piece: &Piece| {
            let sql = self.staged.note(piece.from, into, fixed, self.first + piece.lines[0]);
            Statement::new(sql).with_all(piece.parameters.clone())
        };
        self.pieces.iter().map(note).collect()
    }

    fn each(&self, sql: impl Fn(From) -> Option<String>) -> Vec<Statement> {
        let of = |piece: &Piece| {
            Some(Statement::new(sql(piece.from)?).with_all(piece.parameters.clone()))
        };
        self.pieces.iter().filter_map(of).collect()
    }

    fn key(&self, line: usize, columns: &[usize]) -> String {
        let texts: Vec<_> = self.rows.texts(line).collect();
        let held = self.staged.held();
        array(columns.iter().map(|at| json(held[*at], texts[*at].as_ref())))
    }
}

/// The lines of rows that are there.
fn present(rows: &Rows) -> impl Iterator<Item = usize> {
    (0..rows.len()).filter(|&line| rows.present(line..line + 1) == 1)
}

/// A row and its number, as one JSON array.
fn row(staged: &Staged<'_>, rows: &Rows, line: usize, first: usize) -> String {
    let values = rows.texts(line).zip(staged.held()).map(|(text, held)| json(*held, text.as_ref()));
    array(values.chain([(first + line).to_string()]))
}

/// A row whose columns are parameters; None: it is too large for any request.
fn by_itself(staged: &Staged<'_>, rows: &Rows, line: usize) -> Option<Piece> {
    let (mut parameters, mut bytes) = (Vec::new(), 0);
    for (text, held) in rows.texts(line).zip(staged.held()) {
        let parameter = text.as_ref().map(|text| match held {
            Held::Bytes => text.strip_prefix("\\x").unwrap_or(text).to_owned(),
            Held::Moment => moment(text).into_owned(),
            Held::Integer | Held::Text => text.to_string(),
            Held::Boolean | Held::Real => json(*held, Some(text)).trim_matches('"').to_owned(),
        });
        let length = parameter.as_ref().map_or(0, String::len);
        if length > VALUE_BYTES_MAX {
            return None;
        }
        bytes += if *held == Held::Bytes { length / 2 } else { length };
        parameters.push(parameter);
    }
    (bytes <= ROW_BYTES_MAX).then(|| Piece {
        from: From::Parameters,
        parameters,
        lines: vec![line],
    })
}

/// JSON texts, each an array of some of the values.
fn pieces_of(values: impl Iterator<Item = String>) -> Vec<String> {
    groups_of(values).into_iter().map(|group| array(group.into_iter())).collect()
}

fn groups_of(values: impl Iterator<Item = String>) -> Vec<Vec<String>> {
    let (mut groups, mut group, mut bytes) = (Vec::new(), Vec::new(), 0);
    for value in values {
        if bytes + value.len() + 2 > JSON_BYTES_MAX && !group.is_empty() {
            groups.push(std::mem::take(&mut group));
            bytes = 0;
        }
        bytes += value.len() + 1;
        group.push(value);
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

pub(super) fn array(values: impl Iterator<Item = String>) -> String {
    let mut text = String::from("[");
    for (at, value) in values.enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&value);
    }
    text.push(']');
    text
}

/// A value that is held so, as JSON. A text that is not what its type prints stays a text, as in a
/// file.
fn json(held: Held, text: Option<&Cow<'_, str>>) -> String {
    let Some(text) = text else { return "null".to_owned() };
    match held {
        Held::Integer if text.parse::<i64>().is_ok() => text.to_string(),
        Held::Boolean if text == "t" => "1".to_owned(),
        Held::Boolean if text == "f" => "0".to_owned(),
        Held::Real => double(text).unwrap_or_else(|| quoted(text)),
        Held::Moment => quoted(&moment(text)),
        Held::Bytes => quoted(text.strip_prefix("\\x").unwrap_or(text)),
        Held::Integer | Held::Boolean | Held::Text => quoted(text),
    }
}

fn moment(text: &str) -> Cow<'_, str> {
    match text.ends_with("+00") {
        true => format!("{text}:00").into(),
        false => Cow::Borrowed(text),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `[mantissa, exponent]` of a number, whose product no reader of decimal digits can spoil. NaN and
/// the infinities are none.
fn double(text: &str) -> Option<String> {
    let finite = text.bytes().last().is_some_and(|last| last.is_ascii_digit());
    let number: f64 = text.parse().ok().filter(|_| finite)?;
    if number == 0.0 {
        return Some("[0,0]".to_owned());
    }
    let bits = number.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64;
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, exponent) = match exponent {
        0 => (fraction, -1074),
        normal => (fraction | 1 << 52, normal - 1075),
    };
    let even = mantissa.trailing_zeros();
    let sign = if number < 0.0 { "-" } else { "" };
    Some(format!("[{sign}{},{}]", mantissa >> even, exponent + i64::from(even)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_sent_as_they_are_held() {
        let check = |held: Held, text: &str, expect: &str| {
            assert_eq!(json(held, Some(&Cow::from(text))), expect, "{held:?} {text}");
        };
        check(Held::Integer, "-9223372036854775808", "-9223372036854775808");
        check(Held::Boolean, "t", "1");
        check(Held::Real, "1.5", "[3,-1]");
        check(Held::Real, "-0", "[0,0]");
        check(Held::Real, "5e-324", "[1,-1074]");
        check(Held::Real, "1e+300", "[1681218273811815,946]");
        check(Held::Real, "NaN", "\"NaN\"");
        check(Held::Real, "-Infinity", "\"-Infinity\"");
        check(Held::Text, "0012", "\"0012\"");
        check(Held::Text, "a\"b\n", "\"a\\\"b\\n\"");
        check(Held::Bytes, "\\x00ff", "\"00ff\"");
        check(Held::Moment, "2026-01-01 00:00:00+00", "\"2026-01-01 00:00:00+00:00\"");
        check(Held::Moment, "infinity", "\"infinity\"");
        assert_eq!(json(Held::Real, None), "null");
    }

    #[test]
    fn mantissa_and_exponent_are_the_double() {
        let mut bits: u64 = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..100_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let number = f64::from_bits(bits);
            if !number.is_finite() {
                continue;
            }
            let sent = double(&format!("{number:e}")).expect("it is finite");
            let (mantissa, exponent) =
                sent[1..sent.len() - 1].split_once(',').expect("two numbers");
            let mantissa: i64 = mantissa.parse().expect("a mantissa");
            let exponent: i32 = exponent.parse().expect("an exponent");
            let product =
                mantissa as f64 * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2);
            assert_eq!(product.to_bits(), number.to_bits(), "{number:e} {sent}");
        }
    }

    #[test]
    fn what_does_not_fit_into_one_parameter_is_cut() {
        let keys = (0..5).map(|_| "x".repeat(JSON_BYTES_MAX / 2));
        assert_eq!(groups_of(keys).iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 1, 1]);
        let keys = (0..5).map(|_| "x".repeat(JSON_BYTES_MAX / 2 - 2));
        assert_eq!(groups_of(keys).iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    }
}
