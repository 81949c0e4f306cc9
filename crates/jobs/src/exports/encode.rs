//! From the rows of a page to the bytes of a part: printed, compressed, hashed.
//!
//! A value is never interpreted: a field of CSV is the text that the source printed, and so is a
//! JSON object.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::GzEncoder;
use offtake_mapping::ResolvedMapping;
use offtake_reading::{Rows, unescape_bytes};
use sha2::{Digest as _, Sha256};

use super::inserts;
use super::options::{Compression, Format};

/// What goes into a store.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub(super) bytes: Bytes,
    pub(super) sha256: String,
}

/// The text of a page's rows in a format. Parts of a file follow each other directly, but those of a
/// `json` array have a comma between them.
pub(super) fn text_of(
    (format, with_inserts): (Format, bool),
    mapping: &ResolvedMapping,
    rows: &Rows,
) -> Vec<u8> {
    let lines = 0..rows.len();
    match format {
        Format::Sql if with_inserts => inserts::text_of(mapping, rows),
        Format::Sql => rows.slice(lines).to_vec(),
        Format::Csv => {
            let mut text = Vec::with_capacity(rows.bytes() + rows.len() * 2);
            for line in lines {
                for (at, field) in rows.escaped_fields(line).enumerate() {
                    if at > 0 {
                        text.push(b',');
                    }
                    push_csv(unescape_bytes(field).as_deref(), &mut text);
                }
                text.extend_from_slice(b"\r\n");
            }
            text
        }
        Format::Ndjson | Format::Json => {
            let between: &[u8] = if format == Format::Json { b",\n" } else { b"\n" };
            let mut text = Vec::with_capacity(rows.bytes());
            for line in lines {
                if line > 0 {
                    text.extend_from_slice(between);
                }
                let object = rows.escaped_fields(line).nth(mapping.key.len());
                let object = object.and_then(unescape_bytes).unwrap_or_default();
                // A column of the type json is printed as it was written, with its line ends. In
                // strings JSON has none, so these stand between words.
                let one_line = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
                text.extend(object.iter().map(one_line));
            }
            if format == Format::Ndjson && !rows.is_empty() {
                text.push(b'\n');
            }
            text
        }
    }
}

/// The line of the columns' names.
pub(super) fn csv_header(mapping: &ResolvedMapping) -> Vec<u8> {
    let mut text = Vec::new();
    for (at, column) in mapping.columns.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        push_csv(Some(column.name.as_str().as_bytes()), &mut text);
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// A field by RFC 4180. NULL is an empty field, and an empty text is `""`, as Postgres reads them.
fn push_csv(value: Option<&[u8]>, text: &mut Vec<u8>) {
    let Some(value) = value else { return };
    let quoted = value.is_empty()
        || value == b"\\."
        || memchr::memchr3(b',', b'"', b'\n', value).is_some()
        || memchr::memchr(b'\r', value).is_some();
    match quoted {
        true => push_quoted(value, b'"', text),
        false => text.extend_from_slice(value),
    }
}

/// A value between quotes; those in it are doubled.
pub(super) fn push_quoted(value: &[u8], quote: u8, text: &mut Vec<u8>) {
    text.push(quote);
    let mut rest = value;
    while let Some(at) = memchr::memchr(quote, rest) {
        text.extend_from_slice(&rest[..=at]);
        text.push(quote);
        rest = &rest[at + 1..];
    }
    text.extend_from_slice(rest);
    text.push(quote);
}

/// Less than a third of gzip's time, for a smaller file.
pub(super) const ZSTD_LEVEL: i32 = 3;

/// Compresses a text as one gzip member or zstd frame, which can follow another one, and hashes what
/// comes out.
pub(super) fn encoded(text: Vec<u8>, compression: Compression) -> std::io::Result<Encoded> {
    let bytes = match compression {
        Compression::None => text,
        Compression::Gzip => {
            let room = Vec::with_capacity(text.len() / 4);
            let mut encoder = GzEncoder::new(room, flate2::Compression::default());
            encoder.write_all(&text)?;
            encoder.finish()?
        }
        Compression::Zstd => {
            let room = Vec::with_capacity(text.len() / 4);
            let mut encoder = zstd::stream::write::Encoder::new(room, ZSTD_LEVEL)?;
            encoder.include_checksum(true)?;
            encoder.set_pledged_src_size(Some(text.len() as u64))?;
            encoder.write_all(&text)?;
            encoder.finish()?
        }
    };
    let sha256 = hex(&Sha256::digest(&bytes));
    Ok(Encoded { bytes: bytes.into(), sha256 })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_csv_reads_back_as_postgres_reads_it() {
        let check = |value: Option<&str>, expect: &str| {
            let mut text = Vec::new();
            push_csv(value.map(str::as_bytes), &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), expect);
        };
        check(None, "");
        check(Some(""), "\"\"");
        check(Some("plain text"), "plain text");
        check(Some("a,b"), "\"a,b\"");
        check(Some("say \"x\""), "\"say \"\"x\"\"\"");
        check(Some("\"\",\""), "\"\"\"\"\",\"\"\"");
        check(Some("a\rb"), "\"a\rb\"");
        check(Some("two\nlines"), "\"two\nlines\"");
        check(Some("\\."), "\"\\.\"");
    }

    #[test]
    fn gzip_members_follow_each_other() {
        use std::io::Read as _;
        let parts = ["one\n", "", "two\n"];
        let bytes: Vec<u8> = parts
            .iter()
            .flat_map(|part| encoded(part.as_bytes().to_vec(), Compression::Gzip).unwrap().bytes)
            .collect();
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
    }
}
