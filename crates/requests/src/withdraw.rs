//! Destinations that are owed nothing any more.

use tokio_postgres::{Client, Error};

use crate::sql;

/// Tenants and names of destinations.
type Names = (Vec<String>, Vec<String>);

/// The registry's: deactivates these destinations, but not the `unusable` ones, and deletes what
/// was owed to them. To be called in the transaction that registers others.
pub async fn deactivate_destinations(
    client: &Client,
    gone: &[i64],
    unusable: Names,
) -> Result<(), Error> {
    client.execute(sql::DEACTIVATE_DESTINATIONS, &[&gone, &unusable.0, &unusable.1]).await?;
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

/// An operator's: no daemon writes to these destinations any more, and nothing is owed to them. To
/// be followed by [`forget_destinations`], by another process if this one dies.
pub async fn begin_forgetting(client: &Client, destinations: &[i64]) -> Result<(), Error> {
    client.execute(sql::BEGIN_FORGETTING, &[&destinations]).await?;
    Ok(())
}

/// An operator's: deletes everything that the source keeps of these destinations. Returns how many
/// they were.
pub async fn forget_destinations(client: &Client, destinations: &[i64]) -> Result<i64, Error> {
    Ok(client.query_one(sql::FORGET_DESTINATIONS, &[&destinations]).await?.get(0))
}
