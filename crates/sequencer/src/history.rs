//! Epochs: checks that the source still continues the history in which the destinations' cursors
//! were written.

use offtake_postgres::PooledConnection;

use crate::Error;
use crate::tick::{Durability, locked};

/// Begins a new epoch if the source is on another server or timeline than the latest epoch. Must
/// run before a tick on a new connection: a restored source gives out again sequence ids that
/// destinations have already seen.
///
/// A promoted standby that lost nothing looks the same, so it begins an epoch too. Copies are then
/// compared and repaired in place, which costs only time.
pub(crate) async fn check(connection: &mut PooledConnection) -> Result<(), Error> {
    let Some(transaction) = locked(connection, Durability::AtCommit).await? else { return Ok(()) };
    if let Some(reason) = offtake_requests::begin_epoch(&transaction).await? {
        tracing::warn!(
            event = "epoch_began",
            "a new epoch of the source begins: {reason}; every copy is compared again, in place"
        );
    }
    transaction.commit().await?;
    Ok(())
}
