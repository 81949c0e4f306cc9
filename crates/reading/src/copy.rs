//! Lines of COPY text out of the batch's transaction, behind a savepoint to which the transaction
//! returns when a query fails.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, pin_mut};
use tokio_postgres::{Client, Error, SimpleQueryMessage, SimpleQueryRow};

const SAVE: &str = "savepoint reading";

/// Sets the savepoint.
pub(crate) async fn save(transaction: &Client) -> Result<(), Error> {
    transaction.batch_execute(SAVE).await
}

/// Undoes everything since the savepoint, the error that aborted the transaction included.
pub(crate) async fn back(transaction: &Client) -> Result<(), Error> {
    transaction.batch_execute("rollback to savepoint reading; release savepoint reading").await
}

/// [`copy_out`] behind a savepoint that is sent together with it. After an error [`back`] makes the
/// transaction usable again.
pub(crate) async fn saved_copy(
    transaction: &Client,
    statement: &str,
    bytes_max: usize,
) -> Result<(Bytes, bool), Error> {
    let copy = copy_out(transaction, statement, bytes_max);
    let (saved, copied) = tokio::join!(biased; transaction.batch_execute(SAVE), copy);
    saved?;
    copied
}

/// The same lines by a SELECT of their values, of which the server prints each as COPY would. COPY
/// has to be prepared first, which is one more round trip. None: a value is not UTF-8, which the
/// source's encoding `SQL_ASCII` allows; only COPY hands such a value out.
pub(crate) async fn saved_select(
    transaction: &Client,
    statement: &str,
    bytes_max: usize,
) -> Result<Option<(Bytes, bool)>, Error> {
    let select = select_lines(transaction, statement, bytes_max);
    let (saved, selected) = tokio::join!(biased; transaction.batch_execute(SAVE), select);
    saved?;
    selected
}

async fn select_lines(
    transaction: &Client,
    statement: &str,
    bytes_max: usize,
) -> Result<Option<(Bytes, bool)>, Error> {
    let stream = transaction.simple_query_raw(statement).await?;
    pin_mut!(stream);
    let mut data = BytesMut::new();
    while let Some(message) = stream.next().await {
        let SimpleQueryMessage::Row(row) = message? else { continue };
        let begin = data.len();
        if !push_line(&row, &mut data) {
            return Ok(None);
        }
        if begin > 0 && data.len() > bytes_max {
            // The connection reads the rest and drops it.
            data.truncate(begin);
            return Ok(Some((data.freeze(), true)));
        }
    }
    Ok(Some((data.freeze(), false)))
}

/// Appends a row as a line of COPY text. False: a value is not UTF-8.
fn push_line(row: &SimpleQueryRow, data: &mut BytesMut) -> bool {
    for at in 0..row.len() {
        if at > 0 {
            data.extend_from_slice(b"\t");
        }
        match row.try_get(at) {
            Ok(Some(value)) => push_escaped(value.as_bytes(), data),
            Ok(None) => data.extend_from_slice(b"\\N"),
            Err(_) => return false,
        }
    }
    data.extend_from_slice(b"\n");
    true
}

/// Escapes a value as COPY does: what would end it, or would be read as an escape.
fn push_escaped(value: &[u8], data: &mut BytesMut) {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | 8..=13)) {
        data.extend_from_slice(&rest[..at]);
        let letter = match rest[at] {
            8 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            11 => b'v',
            12 => b'f',
            b'\r' => b'r',
            _ => b'\\',
        };
        data.extend_from_slice(&[b'\\', letter]);
        rest = &rest[at + 1..];
    }
    data.extend_from_slice(rest);
}

/// Whole lines of a COPY, up to about `bytes_max` but at least one; and whether there would have
/// been more.
pub(crate) async fn copy_out(
    transaction: &Client,
    statement: &str,
    bytes_max: usize,
) -> Result<(Bytes, bool), Error> {
    let stream = transaction.copy_out(statement).await?;
    pin_mut!(stream);
    let mut data = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        if !data.is_empty() && data.len() + piece.len() > bytes_max {
            // The connection reads the rest and drops it. Whole lines only: a piece may end in the
            // middle of one.
            let whole = memchr::memrchr(b'\n', &data).map_or(0, |at| at + 1);
            data.truncate(whole);
            return Ok((data.freeze(), true));
        }
        data.extend_from_slice(&piece);
    }
    Ok((data.freeze(), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_escaped_as_copy_does() {
        let mut data = BytesMut::new();
        push_escaped(b"a\\b\tc\nd\re\x08\x0b\x0c\x07\x0e\xc3\xa9\\N", &mut data);
        assert_eq!(data, &b"a\\\\b\\tc\\nd\\re\\b\\v\\f\x07\x0e\xc3\xa9\\\\N"[..]);
    }
}
