//! The requests of webhooks: what owes them events, what claims them, and how a turn fails.
//!
//! Completing, releasing and extending are common to all kinds: see [`crate::complete_with`].

use std::time::Duration;

use offtake_postgres::{Error, PooledConnection, SourcePool};
use serde_json::Value;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::claim::claim_rows;
use crate::lease::{Lease, milliseconds};
use crate::{Due, sql};

/// One request of a webhook that is ours until its lease ends, with what its worker must know.
#[derive(Debug, Clone)]
pub struct WebhookClaim {
    pub lease: Lease,
    pub webhook_id: i64,
    pub wanted_sequence_id: i64,
    /// Failed attempts in a row before this one.
    pub failures: i32,
    /// Part of every event's id.
    pub generation: i64,
    pub cursors: Vec<WebhookCursor>,
    pub replays: Vec<WebhookReplay>,
    /// How many of its events are in quarantine.
    pub quarantined: i64,
    /// How long the request had been due.
    pub waited: Duration,
}

/// A row of `webhook_mapping`, as it was when the request was claimed. Only the worker that holds
/// the request moves it; an operator's command takes the request away first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookCursor {
    pub mapping: String,
    pub sequence_id: i64,
    pub epoch: Option<String>,
    pub version: Option<String>,
    pub need: Option<String>,
    pub resync_reason: Option<String>,
    pub resync_sequence_id: Option<i64>,
    pub backfilled: bool,
    pub backfill_key: Option<Vec<String>>,
    /// Its query failed, and it waits for its own retry, this long.
    pub deferred_for: Option<Duration>,
}

/// A stretch of the log that is told once more, beside the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookReplay {
    pub replay_id: i64,
    pub mapping: String,
    /// Changes behind this one…
    pub after: i64,
    /// …up to this one.
    pub up_to: i64,
    pub generation: i64,
}

impl WebhookClaim {
    fn from_row(row: &Row) -> Self {
        let (cursors, replays): (Value, Value) = (row.get("cursors"), row.get("replays"));
        Self {
            lease: Lease { request_id: row.get("request_id"), attempt: row.get("attempt") },
            webhook_id: row.get("webhook_id"),
            wanted_sequence_id: row.get("wanted_sequence_id"),
            failures: row.get("failures"),
            generation: row.get("generation"),
            cursors: list(&cursors).map(WebhookCursor::of).collect(),
            replays: list(&replays).map(WebhookReplay::of).collect(),
            quarantined: row.get("quarantined"),
            waited: Duration::from_secs_f64(row.get("waited_seconds")),
        }
    }
}

impl WebhookCursor {
    fn of(object: &Value) -> Self {
        let text = |name: &str| object[name].as_str().map(str::to_owned);
        let key = object["backfill_key"].as_array();
        let deferred = object["deferred"].as_bool().unwrap_or(false);
        Self {
            mapping: text("mapping").unwrap_or_default(),
            sequence_id: number(object, "sequence_id").unwrap_or(0),
            epoch: text("epoch"),
            version: text("version"),
            need: text("need"),
            resync_reason: text("resync_reason"),
            resync_sequence_id: number(object, "resync_sequence_id"),
            backfilled: object["backfilled"].as_bool().unwrap_or(true),
            backfill_key: key.map(|parts| {
                parts.iter().map(|part| part.as_str().unwrap_or_default().to_owned()).collect()
            }),
            deferred_for: deferred
                .then(|| Duration::from_millis(object["deferred_ms"].as_u64().unwrap_or_default())),
        }
    }
}

impl WebhookReplay {
    fn of(object: &Value) -> Self {
        Self {
            replay_id: number(object, "replay_id").unwrap_or(0),
            mapping: object["mapping"].as_str().unwrap_or_default().to_owned(),
            after: number(object, "after").unwrap_or(0),
            up_to: number(object, "up_to").unwrap_or(0),
            generation: number(object, "generation").unwrap_or(0),
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A 64-bit number, which the statement gives as text.
fn number(object: &Value, name: &str) -> Option<i64> {
    object[name].as_str()?.parse().ok()
}

/// Claims due requests of webhooks for the time of `lease`. `process` names the claiming process in
/// `leased_by`.
pub async fn claim_webhooks(
    pool: &SourcePool,
    due: Due<'_>,
    lease: Duration,
    process: &str,
) -> Result<Vec<WebhookClaim>, Error> {
    let rows = claim_rows(pool, (sql::CLAIM_WEBHOOKS, "webhook_id"), due, lease, process).await?;
    Ok(rows.iter().map(WebhookClaim::from_row).collect())
}

/// Why a turn of a webhook failed, and what follows.
#[derive(Debug, Clone, Copy)]
pub struct WebhookFailure<'a> {
    /// The next attempt is due after this.
    pub delay: Duration,
    pub error: &'a str,
    /// What the status shows; it may be the same.
    pub reason: &'a str,
    /// The answer's status, if there was an answer.
    pub status: Option<u16>,
    /// Something was dialled; otherwise it is no failure of the endpoint's.
    pub counts: bool,
    /// Something was acknowledged before it failed: the failures in a row begin with this one.
    pub acknowledged: bool,
    /// The webhook is disabled when nothing was acknowledged for so long.
    pub disable_after: Option<Duration>,
}

/// What was recorded of a failed turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookFailed {
    pub consecutive_failures: i32,
    pub disabled: bool,
}

/// Gives a request back after the webhook failed. The status is `blocked` from now on. None: another
/// worker has the request.
pub async fn fail_webhook(
    pool: &SourcePool,
    lease: Lease,
    failure: WebhookFailure<'_>,
) -> Result<Option<WebhookFailed>, Error> {
    let connection = pool.get().await?;
    let (error, reason) = (pool.storable(failure.error), pool.storable(failure.reason));
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &lease.request_id,
        &lease.attempt,
        &milliseconds(failure.delay),
        &error,
        &reason,
        &failure.status.map(i32::from),
        &failure.disable_after.map(milliseconds),
        &failure.counts,
        &failure.acknowledged,
    ];
    let row = connection.query_opt(sql::FAIL_WEBHOOK, &parameters).await?;
    Ok(row.map(|row| WebhookFailed {
        consecutive_failures: row.get("consecutive_failures"),
        disabled: row.get("disabled"),
    }))
}

/// The engine's, where the receiver says so, and an operator's: nothing more is sent to a webhook
/// until it is enabled. False: it was disabled already.
pub async fn disable_webhook(
    client: &Client,
    webhook_id: i64,
    reason: &str,
) -> Result<bool, tokio_postgres::Error> {
    let row = client.query_one(sql::DISABLE_WEBHOOK, &[&webhook_id, &reason]).await?;
    Ok(row.get("disabled"))
}

/// An operator's: a disabled or failing webhook goes on at its cursor, at once.
pub async fn enable_webhook(client: &Client, webhook_id: i64) -> Result<(), tokio_postgres::Error> {
    client.query_one(sql::ENABLE_WEBHOOK, &[&webhook_id]).await.map(drop)
}

/// The registry's and an operator's: owes these webhooks events up to the newest change, due now.
/// Returns that change's sequence id.
pub async fn owe_webhooks(client: &Client, webhooks: &[i64]) -> Result<i64, tokio_postgres::Error> {
    Ok(client.query_one(sql::OWE_WEBHOOKS, &[&webhooks]).await?.get("head"))
}

/// The poller's: owes events to every webhook that has something due, and to those after `after`
/// that are behind and are owed nothing, of the next `slice` at least. Returns how many, and after
/// which webhook to go on; None at the end. To be called under the poller's lock.
pub async fn sweep_webhooks(
    session: &PooledConnection,
    after: i64,
    slice: i64,
) -> Result<(i64, Option<i64>), tokio_postgres::Error> {
    let statement = session.prepare_cached(sql::SWEEP_WEBHOOKS).await?;
    let row = session.query_one(&statement, &[&after, &slice]).await?;
    Ok((row.get("owed"), row.get("next")))
}

/// The registry's: locks the requests of these webhooks, in the order in which workers lock a
/// request and its webhook. To be called before they are written, in the same transaction.
pub async fn hold_webhook_requests(
    client: &Client,
    webhooks: &[i64],
) -> Result<(), tokio_postgres::Error> {
    client.query(sql::HOLD_WEBHOOK_REQUESTS, &[&webhooks]).await?;
    Ok(())
}

/// The registry's: deactivates all webhooks but these and the `unusable` ones (tenants and names),
/// and deletes what was owed to them. To be called in the transaction that registers the others.
pub async fn deactivate_webhooks(
    client: &Client,
    named: &[i64],
    unusable: (Vec<String>, Vec<String>),
) -> Result<(), tokio_postgres::Error> {
    client.execute(sql::DEACTIVATE_WEBHOOKS, &[&named, &unusable.0, &unusable.1]).await?;
    Ok(())
}

/// The daemon's: registers a webhook that the webhooks query names in a way that cannot be used,
/// with the reason that status shows, and deletes what was owed to it. False: it was refused for
/// that already.
pub async fn refuse_webhook(
    client: &Client,
    tenant_id: &str,
    name: &str,
    why: &str,
) -> Result<bool, tokio_postgres::Error> {
    let row = client.query_one(sql::REFUSE_WEBHOOK, &[&tenant_id, &name, &why]).await?;
    Ok(row.get("refused"))
}

/// An operator's: a resync of a mapping (None: of all) is told before anything else of it. Returns
/// the mappings.
pub async fn request_webhook_resync(
    client: &Client,
    webhook_id: i64,
    mapping: Option<&str>,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = client.query(sql::REQUEST_WEBHOOK_RESYNC, &[&webhook_id, &mapping]).await?;
    Ok(rows.iter().map(|row| row.get("mapping")).collect())
}

/// What an operator wants to be told again.
#[derive(Debug, Clone, Copy)]
pub struct ReplayWanted<'a> {
    /// None: all mappings.
    pub mapping: Option<&'a str>,
    /// Changes behind this sequence id.
    pub after: i64,
    /// None: the cursors go back. Otherwise the stretch up to here is told beside them.
    pub up_to: Option<i64>,
    /// The events have new ids, so that a receiver that knows the old ones takes them.
    pub new_ids: bool,
}

/// An operator's: tells a webhook again what changed behind a sequence id, to which the log must go
/// back. Returns the mappings.
pub async fn replay_webhook(
    client: &Client,
    webhook_id: i64,
    wanted: ReplayWanted<'_>,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let ReplayWanted { mapping, after, up_to, new_ids } = wanted;
    let parameters: [&(dyn ToSql + Sync); 5] = [&webhook_id, &mapping, &after, &up_to, &new_ids];
    let rows = client.query(sql::REPLAY_WEBHOOK, &parameters).await?;
    Ok(rows.iter().map(|row| row.get("mapping")).collect())
}

/// An operator's: makes quarantined events due now, of one tenant, webhook name and mapping (None:
/// of any). Returns how many.
pub async fn retry_quarantined_events(
    client: &Client,
    tenant: Option<&str>,
    webhook: Option<&str>,
    mapping: Option<&str>,
) -> Result<i64, tokio_postgres::Error> {
    let row =
        client.query_one(sql::RETRY_QUARANTINED_EVENTS, &[&tenant, &webhook, &mapping]).await?;
    Ok(row.get("events"))
}
