//! What is read is used only once it is on the source's disk.
//!
//! Under `synchronous_commit = off` a commit is visible before it is on disk. So are the commits of
//! the sequencer and the poller, which leave the waiting to this module: it is the only way by which
//! rows, sequence ids and epochs leave the source for a destination. If the source crashed after
//! that, a copy would keep rows that the source has lost, or a cursor would stand beyond numbers
//! that the source gives to other changes later; both for ever.

use offtake_postgres::{PipelinedTransaction, PooledConnection};
use tokio_postgres::{Error, SimpleQueryMessage};

/// A commit waits for the disk only when its transaction has written something. This message is
/// all that a read-only transaction may write.
const WRITE: &str = "select pg_logical_emit_message(true, 'offtake', '')";

/// Ends a snapshot's transaction, which has `synchronous_commit = on`, when everything before
/// `unflushed` is on the disk.
pub(crate) async fn end_durably(
    transaction: PipelinedTransaction<'_>,
    unflushed: &str,
) -> Result<(), Error> {
    // Not prepared first: that would be one more round trip for every batch of a busy source.
    let write = format!("{WRITE} where pg_current_wal_flush_lsn() < '{unflushed}'");
    let answer = transaction.simple_query(&write).await?;
    let written = answer.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_)));
    if written { transaction.commit().await } else { Ok(()) }
}

/// Returns when everything that an earlier statement of the session saw is on the disk.
pub(crate) async fn make_durable(connection: &PooledConnection) -> Result<(), Error> {
    let wait = format!("begin; set local synchronous_commit = on; {WRITE}; commit");
    connection.batch_execute(&wait).await
}
