//! What operators ask of a webhook. Commands and HTTP call the same functions.

use std::time::Duration;

use jiff::Timestamp;
use offtake_postgres::change_log::PARTITION_ROWS;
use offtake_requests::{self as requests, ReplayWanted};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::{Error, moment, sql};

/// A webhook as the registry names it.
#[derive(Debug, Clone)]
pub struct NamedWebhook {
    pub webhook_id: i64,
    pub tenant: String,
    /// The tenant as the source prints it.
    pub tenant_at_source: String,
    pub name: String,
    /// Why no daemon sends anything to it; None: they do.
    pub refused: Option<String>,
    pub mappings: Vec<String>,
}

/// What a replay would tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayCount {
    /// Changes behind this sequence id…
    pub after: i64,
    /// …up to this one; None: to the cursor.
    pub up_to: Option<i64>,
    /// Keys that changed in between: as many events, at most.
    pub keys: i64,
    /// There are more changes than were counted.
    pub more: bool,
    /// The log goes back so far: no replay can begin after a lower sequence id.
    pub lowest: i64,
}

/// Where the counting ends.
const COUNTED_MAX: i64 = 100_000;

/// The active webhooks with this tenant and this name. None matches all.
pub async fn named_webhooks(
    source: &Client,
    tenant: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<NamedWebhook>, Error> {
    let rows = source.query(sql::LIST_NAMED_WEBHOOKS, &[&tenant, &name]).await?;
    let named = rows.iter().map(|row| NamedWebhook {
        webhook_id: row.get("webhook_id"),
        tenant: row.get("tenant_id"),
        tenant_at_source: row.get("tenant_at_source"),
        name: row.get("name"),
        refused: row.get("refused"),
        mappings: row.get("mappings"),
    });
    Ok(named.collect())
}

/// Pauses a webhook, for a time or until resumed. Returns when the pause ends by itself.
pub async fn pause(
    source: &Client,
    webhook_id: i64,
    reason: &str,
    lasts: Option<Duration>,
) -> Result<Option<Timestamp>, Error> {
    let seconds = lasts.map(|lasts| lasts.as_secs_f64());
    let row = source.query_opt(sql::PAUSE_WEBHOOK, &[&webhook_id, &reason, &seconds]).await?;
    Ok(row.and_then(|row| moment::optional(&row, "paused_until")))
}

/// Resumes a webhook. Returns whether it was paused.
pub async fn resume(source: &Client, webhook_id: i64) -> Result<bool, Error> {
    Ok(source.execute(sql::RESUME_WEBHOOK, &[&webhook_id]).await? > 0)
}

/// A disabled or failing webhook goes on at its cursor, at once.
pub async fn enable(source: &Client, webhook_id: i64) -> Result<(), Error> {
    Ok(requests::enable_webhook(source, webhook_id).await?)
}

/// Nothing more is sent to it until it is enabled. Returns whether it was enabled.
pub async fn disable(source: &Client, webhook_id: i64, reason: &str) -> Result<bool, Error> {
    Ok(requests::disable_webhook(source, webhook_id, reason).await?)
}

/// Has a mapping (None: all) told a resync. Returns the mappings.
pub async fn resync(
    source: &Client,
    webhook_id: i64,
    mapping: Option<&str>,
) -> Result<Vec<String>, Error> {
    Ok(requests::request_webhook_resync(source, webhook_id, mapping).await?)
}

/// Counts what a replay would tell of a mapping (None: of all): behind a sequence id, or since a
/// time; and until a time.
pub async fn count_replayed(
    source: &Client,
    webhook_id: i64,
    mapping: Option<&str>,
    (from, since): (Option<i64>, Option<Timestamp>),
    until: Option<Timestamp>,
) -> Result<ReplayCount, Error> {
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&webhook_id, &mapping, &from, &since, &until, &PARTITION_ROWS];
    let row = source.query_one(sql::COUNT_REPLAYED, &parameters).await?;
    Ok(ReplayCount {
        after: row.get("after"),
        up_to: row.get("up_to"),
        keys: row.get("keys"),
        more: row.get::<_, i64>("changes") > COUNTED_MAX,
        lowest: row.get("lowest"),
    })
}

/// Tells the webhook again what was counted. Returns the mappings.
pub async fn replay(
    source: &Client,
    webhook_id: i64,
    mapping: Option<&str>,
    counted: ReplayCount,
    new_ids: bool,
) -> Result<Vec<String>, Error> {
    let ReplayCount { after, up_to, .. } = counted;
    let wanted = ReplayWanted { mapping, after, up_to, new_ids };
    Ok(requests::replay_webhook(source, webhook_id, wanted).await?)
}
