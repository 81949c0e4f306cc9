//! What operators ask for. Each request is one statement that writes into the source; the running
//! daemons read it there and act.
//!
//! The commands and the HTTP API call the same functions, so both do the same.

use std::time::Duration;

use jiff::Timestamp;
use offtake_loops::names_a_fuse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::status::Fuse;
use crate::webhooks::named_webhooks;
use crate::{Error, moment, sql};

/// A destination as the registry names it.
#[derive(Debug, Clone)]
pub struct Named {
    pub destination_id: i64,
    pub tenant: String,
    /// The tenant as the source prints it.
    pub tenant_at_source: String,
    pub name: String,
    /// Why no daemon syncs this destination; None: it is synced.
    pub refused: Option<String>,
    pub mappings: Vec<String>,
}

/// A destination that the registry keeps, whether something still names it or not.
#[derive(Debug, Clone)]
pub struct Kept {
    pub destination_id: i64,
    pub tenant: String,
    /// The tenant as the source prints it.
    pub tenant_at_source: String,
    pub name: String,
    pub host: String,
    pub port: i32,
    pub database: String,
    pub user: String,
    pub schema: String,
    /// A daemon named it when it last listed the destinations.
    pub active: bool,
    /// An operator has begun to forget it.
    pub forgetting: bool,
}

/// Which quarantined rows and events. Each None matches all; with a destination, only its rows are
/// meant, and with a webhook, only its events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    pub tenant: Option<&'a str>,
    pub destination: Option<&'a str>,
    pub webhook: Option<&'a str>,
    pub mapping: Option<&'a str>,
}

/// A row that its destination refuses, or an event that its webhook's receiver does.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Quarantined {
    pub tenant: String,
    /// Null for an event of a webhook.
    pub destination: Option<String>,
    /// Null for a row of a destination.
    pub webhook: Option<String>,
    pub mapping: String,
    /// The key's source columns, as text; never the row's values.
    #[schemars(with = "Map<String, Value>")]
    pub key: Value,
    /// Null where a receiver refused it.
    pub sqlstate: Option<String>,
    /// Of the receiver's answer; null where there was none.
    pub status: Option<i32>,
    pub error: String,
    pub attempts: i32,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    /// Null: no attempt is left.
    pub retry_at: Option<Timestamp>,
    /// Sorts what one destination or webhook has, and marks where a page of the list ended.
    #[serde(skip)]
    pub place: String,
}

impl Quarantined {
    /// The destination's or the webhook's.
    pub fn name(&self) -> &str {
        self.destination.as_deref().or(self.webhook.as_deref()).unwrap_or_default()
    }
}

/// How far a re-copy is that an operator asked for.
#[derive(Debug, Clone)]
pub struct ResyncProgress {
    pub tenant: String,
    pub destination: String,
    pub mapping: String,
    /// No worker has begun it yet.
    pub waiting: bool,
    pub backfilled: bool,
    pub rows_done: i64,
    /// Estimated by the source's planner.
    pub rows_total: Option<i64>,
    /// Why it makes no progress at present, if there is a reason.
    pub obstacle: Option<String>,
}

impl ResyncProgress {
    pub fn done(&self) -> bool {
        !self.waiting && self.backfilled
    }
}

/// The longest reason, which fills two lines of a wide terminal.
pub const REASON_CHARACTERS_MAX: usize = 200;

/// The longest that a fuse stays blown, a pause lasts or a command waits. A longer time is a slip
/// of the hand, and one beyond the calendar could not be told.
pub const DURATION_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Trims a reason. None: it is empty, too long, or more than one line; tables would not show it.
pub fn reason(text: &str) -> Option<&str> {
    let text = text.trim();
    let fits = !text.is_empty()
        && !text.chars().any(char::is_control)
        && text.chars().count() <= REASON_CHARACTERS_MAX;
    fits.then_some(text)
}

/// The active destinations with this tenant and this name. None matches all.
pub async fn named_destinations(
    source: &Client,
    tenant: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Named>, Error> {
    let rows = source.query(sql::LIST_NAMED_DESTINATIONS, &[&tenant, &name]).await?;
    let named = rows.iter().map(|row| Named {
        destination_id: row.get("destination_id"),
        tenant: row.get("tenant_id"),
        tenant_at_source: row.get("tenant_at_source"),
        name: row.get("name"),
        refused: row.get("refused"),
        mappings: row.get("mappings"),
    });
    Ok(named.collect())
}

/// Owes the destinations a sync up to the newest change. Returns that change's sequence id.
pub async fn owe_sync(source: &Client, destinations: &[i64]) -> Result<i64, Error> {
    Ok(offtake_requests::owe_on_command(source, destinations).await?)
}

/// Pauses destinations, for a time or until resumed. Returns when the pause ends by itself.
pub async fn pause(
    source: &Client,
    destinations: &[i64],
    reason: &str,
    lasts: Option<Duration>,
) -> Result<Option<Timestamp>, Error> {
    let seconds = lasts.map(|lasts| lasts.as_secs_f64());
    let rows = source.query(sql::PAUSE_DESTINATIONS, &[&destinations, &reason, &seconds]).await?;
    Ok(rows.first().and_then(|row| moment::optional(row, "paused_until")))
}

/// Resumes destinations. Returns how many of them were paused.
pub async fn resume(source: &Client, destinations: &[i64]) -> Result<u64, Error> {
    Ok(source.execute(sql::RESUME_DESTINATIONS, &[&destinations]).await?)
}

/// Has this source serve the destinations from now on, whichever source served them before, and
/// owes them a sync.
pub async fn adopt(source: &Client, destinations: &[i64]) -> Result<(), Error> {
    source.execute(sql::ADOPT_DESTINATIONS, &[&destinations]).await?;
    owe_sync(source, destinations).await?;
    Ok(())
}

/// Takes a destination back from whichever worker has it, because a restore is about to set its
/// cursors back. The next worker reads them there, instead of going on from those that it remembers.
pub async fn take_back(source: &Client, destination_id: i64) -> Result<(), Error> {
    offtake_requests::owe_restored(source, destination_id).await?;
    source.execute(sql::ADOPT_DESTINATIONS, &[&[destination_id].as_slice()]).await?;
    Ok(())
}

/// What the registry keeps of a tenant, under a destination's name (None: any).
pub async fn kept_destinations(
    source: &Client,
    tenant: &str,
    name: Option<&str>,
) -> Result<Vec<Kept>, Error> {
    let rows = source.query(sql::LIST_KEPT_DESTINATIONS, &[&tenant, &name]).await?;
    let kept = rows.iter().map(|row| Kept {
        destination_id: row.get("destination_id"),
        tenant: row.get("tenant_id"),
        tenant_at_source: row.get("tenant_at_source"),
        name: row.get("name"),
        host: row.get("host"),
        port: row.get("port"),
        database: row.get("database_name"),
        user: row.get("user_name"),
        schema: row.get("schema_name"),
        active: row.get("active"),
        forgetting: row.get("forgetting"),
    });
    Ok(kept.collect())
}

/// Has no daemon write to the destinations any more. [`forget`] deletes what is kept of them.
pub async fn begin_forgetting(source: &Client, destinations: &[i64]) -> Result<(), Error> {
    Ok(offtake_requests::begin_forgetting(source, destinations).await?)
}

/// Deletes everything that the source keeps of the destinations. Their rows stay where they are.
pub async fn forget(source: &Client, destinations: &[i64]) -> Result<(), Error> {
    // Two transactions: a worker that has one of them then finds its claim gone, and does not wait
    // for rows of the registry that this one waits for, too.
    begin_forgetting(source, destinations).await?;
    offtake_requests::forget_destinations(source, destinations).await?;
    Ok(())
}

/// Asks for a mapping (None: all) to be re-copied in place. Returns how many copies that concerns.
pub async fn request_resync(
    source: &Client,
    destinations: &[i64],
    mapping: Option<&str>,
) -> Result<usize, Error> {
    Ok(offtake_requests::request_resync(source, destinations, mapping).await?)
}

/// How far the re-copies of a mapping (None: of all) are.
pub async fn resync_progress(
    source: &Client,
    destinations: &[i64],
    mapping: Option<&str>,
) -> Result<Vec<ResyncProgress>, Error> {
    let rows = source.query(sql::READ_RESYNC_PROGRESS, &[&destinations, &mapping]).await?;
    let progress = rows.iter().map(|row| ResyncProgress {
        tenant: row.get("tenant_id"),
        destination: row.get("name"),
        mapping: row.get("mapping"),
        waiting: row.get("waiting"),
        backfilled: row.get("backfilled"),
        rows_done: row.get("rows_done"),
        rows_total: row.get("rows_total"),
        obstacle: row.get("obstacle"),
    });
    Ok(progress.collect())
}

/// At most `limit` quarantined rows and events, beginning after the one at `after` (tenant, name,
/// place).
pub async fn quarantined(
    source: &Client,
    of: Selection<'_>,
    after: Option<&(String, String, String)>,
    limit: i64,
) -> Result<Vec<Quarantined>, Error> {
    let (tenant, name, place) =
        after.map_or((None, None, None), |(a, b, c)| (Some(a), Some(b), Some(c)));
    let Selection { tenant: of_tenant, destination, webhook, mapping } = of;
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&of_tenant, &destination, &mapping, &webhook, &tenant, &name, &place, &limit];
    let rows = source.query(sql::LIST_QUARANTINED, &parameters).await?;
    let quarantined = rows.iter().map(|row| Quarantined {
        tenant: row.get("tenant_id"),
        destination: row.get("destination"),
        webhook: row.get("webhook"),
        mapping: row.get("mapping"),
        key: row.get("row_key"),
        sqlstate: row.get("sqlstate"),
        status: row.get("status"),
        error: row.get("error"),
        attempts: row.get("attempts"),
        first_failed_at: moment::required(row, "first_failed_at"),
        last_failed_at: moment::required(row, "last_failed_at"),
        retry_at: moment::optional(row, "retry_at"),
        place: row.get("place"),
    });
    Ok(quarantined.collect())
}

/// Retries quarantined rows and events now. Returns how many.
pub async fn retry_quarantined(source: &Client, of: Selection<'_>) -> Result<i64, Error> {
    let Selection { tenant, destination, webhook, mapping } = of;
    let (mut rows, mut events) = (0, 0);
    if webhook.is_none() {
        rows = offtake_requests::retry_quarantined(source, tenant, destination, mapping).await?;
    }
    if destination.is_none() {
        events =
            offtake_requests::retry_quarantined_events(source, tenant, webhook, mapping).await?;
    }
    Ok(rows + events)
}

/// Forgets quarantined rows and events. A row stays absent from its destination, and an event
/// untold, until it changes at the source. Returns how many.
pub async fn discard_quarantined(source: &Client, of: Selection<'_>) -> Result<u64, Error> {
    let Selection { tenant, destination, webhook, mapping } = of;
    let (mut rows, mut events) = (0, 0);
    if webhook.is_none() {
        rows = source.execute(sql::DISCARD_QUARANTINED, &[&tenant, &destination, &mapping]).await?;
    }
    if destination.is_none() {
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &webhook, &mapping];
        events = source.execute(sql::DISCARD_QUARANTINED_EVENTS, &parameters).await?;
    }
    Ok(rows + events)
}

/// How many sessions daemons have on the source; 0: none runs.
pub async fn daemon_sessions(source: &Client) -> Result<i64, Error> {
    Ok(source.query_one(sql::COUNT_DAEMON_SESSIONS, &[]).await?.get(0))
}

/// The fuses of the loops, and every other fuse that was ever switched.
pub async fn fuses(source: &Client) -> Result<Vec<Fuse>, Error> {
    let rows = source.query(sql::LIST_FUSES, &[]).await?;
    let fuses = rows.iter().map(|row| Fuse {
        name: row.get("name"),
        enabled: row.get("enabled"),
        reason: row.get("reason"),
        until: moment::optional(row, "until"),
    });
    Ok(fuses.collect())
}

/// Whether a fuse of this name can stop something: whether [`fuse_names`] has it.
pub async fn knows_fuse(source: &Client, name: &str) -> Result<bool, Error> {
    let of_a_loop = !name.contains(':') && names_a_fuse(name);
    Ok(of_a_loop || source.query_one(sql::KNOWS_FUSE, &[&name]).await?.get("knows"))
}

/// The names of all fuses that can stop something: those of the loops, and of the known tenants,
/// destinations, webhooks and mappings.
pub async fn fuse_names(source: &Client) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = fuses(source).await?.into_iter().map(|fuse| fuse.name).collect();
    for destination in named_destinations(source, None, None).await? {
        names.push(format!("tenant:{}", destination.tenant));
        names.push(format!("destination:{}/{}", destination.tenant, destination.name));
        names.extend(destination.mappings.iter().map(|mapping| format!("mapping:{mapping}")));
    }
    for webhook in named_webhooks(source, None, None).await? {
        names.push(format!("tenant:{}", webhook.tenant));
        names.push(format!("webhook:{}/{}", webhook.tenant, webhook.name));
        names.extend(webhook.mappings.iter().map(|mapping| format!("mapping:{mapping}")));
    }
    names.sort();
    names.dedup();
    Ok(names)
}
