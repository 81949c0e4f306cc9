//! What owes destinations a sync: changes, the sweep, the registry, operators, a new epoch, and a
//! partition of the log that is about to be dropped.
//!
//! Each function takes the caller's client; what the caller runs in a transaction stays in it.

use std::time::Duration;

use offtake_postgres::PooledConnection;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

use crate::lease::milliseconds;
use crate::sql;

/// What one page of the log led to.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Changes in the page.
    pub changes: i64,
    /// Destinations that are owed a sync for them.
    pub owed: i64,
    /// How many of these no worker has claimed.
    pub claimable: i64,
    /// Webhooks that are owed events for them.
    pub owed_webhooks: i64,
    /// There are changes that concern every destination, and [`owe_fanned_out`] has work.
    pub fanning_out: bool,
}

/// Prepares the statement of [`owe_page`], for a caller that sends it without waiting.
pub async fn prepare_owe_page(session: &PooledConnection) -> Result<(), Error> {
    session.prepare_cached(sql::OWE_PAGE).await.map(drop)
}

/// The poller's: owes a sync to every destination, and events to every webhook, that the next
/// `changes_max` changes of the log concern, and moves the poller's position behind them. Changes that concern every destination are
/// only noted, for [`owe_fanned_out`]. To be called in the poller's transaction, under its lock.
pub async fn owe_page(session: &PooledConnection, changes_max: i64) -> Result<Page, Error> {
    let statement = session.prepare_cached(sql::OWE_PAGE).await?;
    let row = session.query_one(&statement, &[&changes_max]).await?;
    Ok(Page {
        changes: row.get("changes"),
        owed: row.get("owed"),
        claimable: row.get("claimable"),
        owed_webhooks: row.get("owed_webhooks"),
        fanning_out: row.get("fanning_out"),
    })
}

/// What telling the next destinations of a change led to.
#[derive(Debug, Clone, Copy)]
pub struct FannedOut {
    /// Destinations that are owed a sync for it.
    pub owed: i64,
    /// Webhooks that are owed events for it.
    pub owed_webhooks: i64,
    /// More are to be told.
    pub fanning_out: bool,
}

/// The poller's: owes a sync to the next destinations, and events to the next webhooks, of a change
/// that concerns all of them, so that at most `waiting_max` such requests of each kind wait. To be called in the poller's transaction,
/// under its lock, after [`owe_page`].
pub async fn owe_fanned_out(
    session: &PooledConnection,
    waiting_max: i64,
) -> Result<FannedOut, Error> {
    let statement = session.prepare_cached(sql::OWE_FANNED_OUT).await?;
    let row = session.query_one(&statement, &[&waiting_max]).await?;
    Ok(FannedOut {
        owed: row.get("owed"),
        owed_webhooks: row.get("owed_webhooks"),
        fanning_out: row.get("fanning_out"),
    })
}

/// The poller's: owes a sync to every destination for which something else than a change is due,
/// and to some of those that no worker has visited for `visit_interval`. Returns how many. To be
/// called under the poller's lock.
pub async fn sweep_due(session: &PooledConnection, visit_interval: Duration) -> Result<u64, Error> {
    let statement = session.prepare_cached(sql::SWEEP_DUE).await?;
    session.execute(&statement, &[&milliseconds(visit_interval)]).await
}

/// The poller's, behind [`sweep_due`]: says when the destinations that were looked at for a visit are
/// looked at again.
pub async fn postpone_visits(
    session: &PooledConnection,
    visit_interval: Duration,
) -> Result<(), Error> {
    let statement = session.prepare_cached(sql::POSTPONE_VISITS).await?;
    session.execute(&statement, &[&milliseconds(visit_interval)]).await?;
    Ok(())
}

/// The poller's: owes a sync to every destination after `after` that is behind and is owed nothing,
/// of the next `slice` destinations at least. Returns how many, and after which destination to go
/// on; None at the end. To be called under the poller's lock.
pub async fn sweep_slice(
    session: &PooledConnection,
    after: i64,
    slice: i64,
) -> Result<(i64, Option<i64>), Error> {
    let statement = session.prepare_cached(sql::SWEEP_SLICE).await?;
    let row = session.query_one(&statement, &[&after, &slice]).await?;
    Ok((row.get("owed"), row.get("next")))
}

/// The registry's: owes these destinations a sync that is due now. To be called in the transaction
/// that registers them.
pub async fn owe_registered(client: &Client, destinations: &[i64]) -> Result<(), Error> {
    client.query(sql::OWE_REGISTERED, &[&destinations]).await?;
    Ok(())
}

/// An operator's: owes these destinations a sync up to the newest change, due now, and returns that
/// change's sequence id.
pub async fn owe_on_command(client: &Client, destinations: &[i64]) -> Result<i64, Error> {
    Ok(client.query_one(sql::OWE_ON_COMMAND, &[&destinations]).await?.get("head"))
}

/// A restore's: owes a destination, whose cursors go back, a sync up to the newest change. A worker
/// that still has its request loses it.
pub async fn owe_restored(client: &Client, destination_id: i64) -> Result<(), Error> {
    client.execute(sql::OWE_RESTORED, &[&destination_id]).await?;
    Ok(())
}

/// Where a worker's destination is: what a registration says of it.
#[derive(Debug, Clone, Copy)]
pub struct PlaceOf<'a> {
    pub host: &'a str,
    pub port: i32,
    pub database: &'a str,
    pub schema: &'a str,
}

/// A worker's: owes a visit to every destination of a place where a copy was lost.
pub async fn owe_place(client: &Client, place: PlaceOf<'_>) -> Result<(), Error> {
    /// Destinations that one statement looks at: some ten milliseconds.
    const SLICE: i64 = 10_000;
    let PlaceOf { host, port, database, schema } = place;
    let mut after = Some(0_i64);
    while let Some(from) = after {
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&host, &port, &database, &schema, &from, &SLICE];
        after = client.query_one(sql::OWE_PLACE, &parameters).await?.get("next");
    }
    Ok(())
}

/// An operator's: asks that the copies of a mapping (None: of all) be made again, in place. Returns
/// how many copies.
pub async fn request_resync(
    client: &Client,
    destinations: &[i64],
    mapping: Option<&str>,
) -> Result<usize, Error> {
    Ok(client.query(sql::REQUEST_RESYNC, &[&destinations, &mapping]).await?.len())
}

/// An operator's: makes quarantined rows due now, of one tenant, destination name and mapping
/// (None: of any). Returns how many rows.
pub async fn retry_quarantined(
    client: &Client,
    tenant: Option<&str>,
    destination: Option<&str>,
    mapping: Option<&str>,
) -> Result<i64, Error> {
    let row = client.query_one(sql::RETRY_QUARANTINED, &[&tenant, &destination, &mapping]).await?;
    Ok(row.get("rows"))
}

/// The sequencer's: begins a new epoch if the source is on another server or timeline than the
/// latest one, owes every destination a sync, and returns the reason. To be called in the
/// sequencer's transaction, under its lock.
pub async fn begin_epoch(client: &Client) -> Result<Option<String>, Error> {
    Ok(client.query_opt(sql::BEGIN_EPOCH, &[]).await?.map(|row| row.get("reason")))
}

/// What is known of a partition of the log that may be dropped.
#[derive(Debug, Clone, Copy)]
pub struct Judgement {
    /// Its last change is older than retention.
    pub expired: bool,
    /// Its last change is older than twice retention.
    pub overdue: bool,
    /// Active destinations and webhooks whose cursor is still inside, if it is expired.
    pub behind: i64,
}

/// The sequencer's: may this partition, which ends before sequence id `end`, be dropped? Owes the
/// destinations that are still inside a sync that moves them on.
pub async fn judge_partition(
    client: &Client,
    partition: i64,
    end: i64,
    retention_ms: i64,
) -> Result<Judgement, Error> {
    let statement = sql::JUDGE_PARTITION.replace("{partition}", &partition.to_string());
    let row = client.query_one(&statement, &[&end, &retention_ms]).await?;
    Ok(Judgement {
        expired: row.get("expired"),
        overdue: row.get("overdue"),
        behind: row.get("behind"),
    })
}
