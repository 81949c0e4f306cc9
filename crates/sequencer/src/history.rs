//! Epochs: is this still the history that the destinations' cursors were written in?

use offtake_postgres::PooledConnection;

use crate::Error;
use crate::tick::locked;

/// Begins a new epoch if the source is on another server or timeline than the latest one. Before
/// numbering on a new connection, because a restored source gives numbers anew that destinations
/// have already seen.
///
/// A promoted standby that lost nothing looks the same and also begins one: copies are then
/// compared and mended in place, which costs time and nothing else.
pub(crate) async fn check(connection: &mut PooledConnection) -> Result<(), Error> {
    let Some(transaction) = locked(connection).await? else { return Ok(()) };
    if let Some(reason) = offtake_requests::begin_epoch(&transaction).await? {
        tracing::warn!(
            event = "epoch_began",
            "a new epoch of the source begins: {reason}; every copy is compared anew, in place"
        );
    }
    transaction.commit().await?;
    Ok(())
}
