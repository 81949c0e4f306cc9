//! Destinations that are owed nothing any more.

use tokio_postgres::{Client, Error};

use crate::sql;

/// The registry's: deactivates all destinations but these, and deletes what was owed to them. To be
/// called in the transaction that registers the others.
pub async fn deactivate_destinations(client: &Client, registered: &[i64]) -> Result<(), Error> {
    client.execute(sql::DEACTIVATE_DESTINATIONS, &[&registered]).await?;
    Ok(())
}

/// The daemon's: registers a destination that the destinations query names in a way that cannot be
/// used, with the reason that status shows, and deletes what was owed to it.
pub async fn refuse_destination(
    client: &Client,
    tenant_id: &str,
    name: &str,
    why: &str,
) -> Result<(), Error> {
    client.execute(sql::REFUSE_DESTINATION, &[&tenant_id, &name, &why]).await?;
    Ok(())
}
