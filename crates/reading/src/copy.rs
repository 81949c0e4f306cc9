//! COPY out of the batch's transaction, behind a savepoint to which the transaction returns when a
//! query fails.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, pin_mut};
use tokio_postgres::{Client, Error};

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
