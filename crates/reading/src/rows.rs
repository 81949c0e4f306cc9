//! Rows as the source printed them: lines of `COPY` text, never decoded except for a key.
//!
//! Lines of changes begin with a mark that says whether the row exists. A chunk of the initial copy
//! has only rows that exist; its lines have no mark, so that they can go into the target as they
//! are.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use offtake_mapping::{KeyColumn, ResolvedMapping};

/// Lines of COPY text: the mark where there is one, `t` or `f` (the row exists or not), then the
/// mapping's columns, separated by tabs.
#[derive(Debug, Clone)]
pub struct Rows {
    data: Bytes,
    /// Where each line ends, its newline included.
    ends: Vec<usize>,
    marked: bool,
}

impl Default for Rows {
    fn default() -> Self {
        Self::new(Bytes::new())
    }
}

impl Rows {
    /// `data` is whole lines with marks. A newline inside a value is written `\n` in COPY text, so
    /// every newline byte ends a row.
    pub fn new(data: Bytes) -> Self {
        Self::of(data, true)
    }

    /// The same for lines without marks: all these rows exist.
    pub fn present_only(data: Bytes) -> Self {
        Self::of(data, false)
    }

    fn of(data: Bytes, marked: bool) -> Self {
        let ends = memchr::memchr_iter(b'\n', &data).map(|at| at + 1).collect();
        Self { data, ends, marked }
    }

    /// Whether the lines begin with marks.
    pub fn marked(&self) -> bool {
        self.marked
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The COPY text of some lines, without copying.
    pub fn slice(&self, lines: Range<usize>) -> Bytes {
        if lines.is_empty() {
            Bytes::new()
        } else {
            self.data.slice(self.start(lines.start)..self.ends[lines.end - 1])
        }
    }

    /// How many of the lines say that the row exists.
    pub fn present(&self, lines: Range<usize>) -> usize {
        match self.marked {
            true => lines.filter(|&line| self.data[self.start(line)] == b't').count(),
            false => lines.len(),
        }
    }

    /// The values of some columns (0 is the mapping's first) of one line, unescaped; None for
    /// a NULL.
    pub fn fields(&self, line: usize, columns: &[usize]) -> Vec<Option<String>> {
        let text = &self.data[self.start(line)..self.ends[line] - 1];
        let fields: Vec<&[u8]> = text.split(|b| *b == b'\t').collect();
        let first = usize::from(self.marked);
        columns
            .iter()
            .map(|column| fields.get(column + first).and_then(|field| unescape(field)))
            .collect()
    }

    /// The values of all columns of one line, in their order, unescaped; None for a NULL. A value
    /// without escapes is not copied.
    pub fn texts(&self, line: usize) -> impl Iterator<Item = Option<Cow<'_, str>>> {
        let text = &self.data[self.start(line)..self.ends[line] - 1];
        let fields = text.split(|b| *b == b'\t').skip(usize::from(self.marked));
        fields.map(|field| match std::str::from_utf8(field) {
            Ok(plain) if !field.contains(&b'\\') => Some(Cow::Borrowed(plain)),
            _ => unescape(field).map(Cow::Owned),
        })
    }

    /// The fields of one line as COPY wrote them, escapes included.
    pub fn escaped_fields(&self, line: usize) -> impl Iterator<Item = &[u8]> {
        let text = &self.data[self.start(line)..self.ends[line] - 1];
        let ends = memchr::memchr_iter(b'\t', text).chain(std::iter::once(text.len()));
        let mut start = 0;
        let fields = ends.map(move |end| &text[std::mem::replace(&mut start, end + 1)..end]);
        fields.skip(usize::from(self.marked))
    }

    /// The fields of some columns (0 is the mapping's first) of one line as COPY wrote them, with tabs
    /// in between: equal where the values are, and nowhere else.
    pub fn escaped_key(&self, line: usize, columns: &[usize]) -> Cow<'_, [u8]> {
        if let [column] = columns {
            return Cow::Borrowed(self.escaped_fields(line).nth(*column).unwrap_or_default());
        }
        let fields: Vec<&[u8]> = self.escaped_fields(line).collect();
        let key: Vec<&[u8]> =
            columns.iter().map(|column| fields.get(*column).copied().unwrap_or_default()).collect();
        Cow::Owned(key.join(&b'\t'))
    }

    /// The values of a key's columns of one line.
    pub(crate) fn key(&self, line: usize, key_columns: &[usize]) -> Vec<String> {
        self.fields(line, key_columns).into_iter().map(Option::unwrap_or_default).collect()
    }

    /// The last line with another key than the last one's, and how many lines have the last one's.
    pub(crate) fn last_key(&self, key_columns: &[usize]) -> Option<(Option<usize>, usize)> {
        let last = self.len().checked_sub(1)?;
        let key = self.fields(last, key_columns);
        let before = (0..last).rev().find(|line| self.fields(*line, key_columns) != key);
        Some((before, last - before.map_or(0, |line| line + 1) + 1))
    }

    /// The first lines, without copying them.
    pub(crate) fn first(&self, lines: usize) -> Self {
        let ends = self.ends[..lines].to_vec();
        Self { data: self.slice(0..lines), ends, marked: self.marked }
    }

    /// Some of the lines, in their order.
    pub fn only(&self, mut wanted: impl FnMut(usize) -> bool) -> Self {
        let mut data = bytes::BytesMut::new();
        for line in (0..self.len()).filter(|&line| wanted(line)) {
            data.extend_from_slice(&self.slice(line..line + 1));
        }
        Self::of(data.freeze(), self.marked)
    }

    fn start(&self, line: usize) -> usize {
        if line == 0 { 0 } else { self.ends[line - 1] }
    }
}

/// The key of one line, as text in key order.
pub fn key_of(mapping: &ResolvedMapping, rows: &Rows, line: usize) -> Vec<String> {
    rows.key(line, &key_columns(mapping))
}

/// Where the key's columns stand among the mapping's, in key order.
pub(crate) fn key_columns(mapping: &ResolvedMapping) -> Vec<usize> {
    let place = |k: &KeyColumn| mapping.columns.iter().position(|c| c.name == k.query_column);
    mapping.key.iter().filter_map(place).collect()
}

/// One field of COPY text; None for `\N`.
pub(crate) fn unescape(field: &[u8]) -> Option<String> {
    unescape_bytes(field).map(|value| String::from_utf8_lossy(&value).into_owned())
}

/// The same, byte for byte; a value without escapes is not copied.
pub fn unescape_bytes(field: &[u8]) -> Option<Cow<'_, [u8]>> {
    if field == b"\\N" {
        return None;
    }
    if !field.contains(&b'\\') {
        return Some(Cow::Borrowed(field));
    }
    let mut value = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        value.extend_from_slice(&rest[..at]);
        value.push(match rest.get(at + 1) {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 11,
            Some(other) => *other,
            None => b'\\',
        });
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    value.extend_from_slice(rest);
    Some(Cow::Owned(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_cut_and_read() {
        let rows = Rows::new(Bytes::from_static(b"t\t1\ta\\tb\\\\c\nf\t2\t\\N\nt\t3\t\n"));
        assert_eq!(rows.len(), 3);
        assert_eq!(rows.present(0..3), 2);
        assert_eq!(rows.slice(1..3), Bytes::from_static(b"f\t2\t\\N\nt\t3\t\n"));
        assert_eq!(rows.fields(0, &[1, 0]), [Some("a\tb\\c".to_owned()), Some("1".to_owned())]);
        assert_eq!(rows.fields(1, &[1]), [None]);
        assert_eq!(rows.fields(2, &[1]), [Some(String::new())]);
        assert_eq!(rows.escaped_fields(2).collect::<Vec<_>>(), [&b"3"[..], b""]);
        assert_eq!(rows.escaped_key(0, &[1]), &b"a\\tb\\\\c"[..]);
        assert_eq!(rows.escaped_key(0, &[1, 0]), &b"a\\tb\\\\c\t1"[..]);
        assert_eq!(rows.escaped_fields(0).collect::<Vec<_>>(), [&b"1"[..], b"a\\tb\\\\c"]);
        let texts = |line| rows.texts(line).map(|text| text.map(Cow::into_owned));
        for line in 0..3 {
            assert_eq!(texts(line).collect::<Vec<_>>(), rows.fields(line, &[0, 1]));
        }
        assert!(Rows::default().is_empty());
    }

    #[test]
    fn what_copy_escapes_is_read_back() {
        let check = |field: &[u8], expect: Option<&[u8]>| {
            assert_eq!(unescape_bytes(field).as_deref(), expect, "{field:?}");
        };
        check(b"\\N", None);
        check(b"", Some(b""));
        check(b"plain", Some(b"plain"));
        check(b"\\b\\f\\n\\r\\t\\v\\\\", Some(b"\x08\x0c\n\r\t\x0b\\"));
        check(b"a\\\\N b\\\\", Some(b"a\\N b\\"));
        check(b"cut\\", Some(b"cut\\"));
    }

    #[test]
    fn lines_without_marks_are_rows_that_exist() {
        let rows = Rows::present_only(Bytes::from_static(b"f\t1\nt\t\\N\n"));
        assert_eq!((rows.len(), rows.present(0..2)), (2, 2));
        assert_eq!(rows.fields(0, &[0, 1]), [Some("f".to_owned()), Some("1".to_owned())]);
        let second = rows.only(|line| line == 1);
        assert_eq!((second.marked(), second.present(0..1)), (false, 1));
        assert_eq!(second.fields(0, &[1]), [None]);
    }
}
