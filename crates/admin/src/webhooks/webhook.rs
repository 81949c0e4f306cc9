//! One webhook, read from the registry, the log and the outgoing requests.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::Signature;
use super::judgement::{Facts, judge};
use crate::status::{Long, rounded};
use crate::{Error, moment, sql};

/// In the order in which they are tested, the worst first: the first that holds is the state.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// Nothing is sent until somebody enables it: the receiver said so, or failed for days.
    Disabled,
    /// Stopped by a command, or by a blown fuse.
    Paused,
    /// Nothing can be told, or one mapping fails; the reason says why.
    Blocked,
    /// A resync or a backfill is not told to its end.
    Backfilling,
    /// Events are quarantined; all others are told.
    Degraded,
    /// A committed change that concerns it is not told yet.
    Lagging,
    InSync,
}

impl WebhookState {
    pub const ALL: [WebhookState; 7] = [
        Self::Disabled,
        Self::Paused,
        Self::Blocked,
        Self::Backfilling,
        Self::Degraded,
        Self::Lagging,
        Self::InSync,
    ];

    /// Its name in JSON, metrics and `offtake.webhook.state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Paused => "paused",
            Self::Blocked => "blocked",
            Self::Backfilling => "backfilling",
            Self::Degraded => "degraded",
            Self::Lagging => "lagging",
            Self::InSync => "in_sync",
        }
    }
}

impl fmt::Display for WebhookState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Webhook {
    #[serde(skip)]
    pub(crate) webhook_id: i64,
    pub tenant: String,
    pub name: String,
    pub state: WebhookState,
    /// Why it is not in sync, in one line; null if it is in sync, or if the state is reason enough.
    pub reason: Option<String>,
    /// Of its URL, only these are shown.
    pub host: String,
    pub port: i32,
    /// Changes that concern it and are not told yet, counted once per mapping; also those that are
    /// not sequenced yet.
    pub lag_rows: Long,
    /// Age of the oldest of them; 0 when there is none.
    pub lag_seconds: f64,
    /// Events that were acknowledged since it was registered.
    pub delivered: Long,
    /// Requests that were not.
    pub failed: Long,
    pub last_success_at: Option<Timestamp>,
    /// The status of the last answer.
    pub last_status: Option<i32>,
    pub last_error: Option<String>,
    pub last_error_at: Option<Timestamp>,
    pub failing_since: Option<Timestamp>,
    pub consecutive_failures: i32,
    /// When what is owed is due; null if nothing is owed.
    pub next_attempt_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
    /// An operator paused it. Where a fuse is blown, only `state` is `paused`.
    pub paused: bool,
    pub paused_until: Option<Timestamp>,
    pub quarantined: Long,
    /// The secrets that sign, the newest first; null where this process does not know them.
    pub signatures: Option<Vec<Signature>>,
    pub mappings: Vec<WebhookMapping>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WebhookMapping {
    pub name: String,
    pub source_table: String,
    /// The cursor; null before the first turn.
    #[schemars(with = "Option<Long>")]
    pub sequence_id: Option<String>,
    /// The newest change of its table that concerns this webhook.
    #[schemars(with = "Option<Long>")]
    pub latest_sequence_id: Option<String>,
    /// Changes beyond the cursor, counted up to 100 001.
    #[schemars(with = "Long")]
    pub backlog: String,
    #[serde(rename(deserialize = "backfilled"), serialize_with = "as_backfill")]
    /// `done` or `running`.
    #[schemars(with = "String", extend("enum" = ["done", "running"]))]
    pub backfill: bool,
    /// A resync is to be told first, for this reason.
    pub resync_reason: Option<String>,
    /// Rows that the latest backfill has told.
    #[schemars(with = "Long")]
    pub rows_done: String,
    #[schemars(with = "Long")]
    pub quarantined: String,
    pub error: Option<String>,
    /// When the mapping is tried again after an error of its own.
    #[serde(deserialize_with = "moment::in_json")]
    pub retry_at: Option<Timestamp>,
}

/// `done` or `running`.
fn as_backfill<S: serde::Serializer>(backfilled: &bool, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(if *backfilled { "done" } else { "running" })
}

/// Which webhooks are read. Each None matches all.
#[derive(Default, Clone, Copy)]
struct Which<'a> {
    tenant: Option<&'a str>,
    name: Option<&'a str>,
    after: Option<(&'a str, &'a str)>,
    limit: Option<usize>,
    ids: Option<&'a [i64]>,
}

/// So many webhooks are read at a time, at least and at most, where only those in sync are wanted.
const PAGE: RangeInclusive<usize> = 100..=1000;

/// The active webhooks with this `tenant` and this `name`, sorted by both. None matches all.
pub async fn webhooks(
    source: &Client,
    tenant: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Webhook>, Error> {
    list(source, Which { tenant, name, ..Which::default() }).await
}

/// At most `limit` of them behind a tenant and a name.
pub async fn webhooks_after(
    source: &Client,
    tenant: Option<&str>,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<Webhook>, Error> {
    list(source, Which { tenant, after, limit: Some(limit), ..Which::default() }).await
}

/// At most `limit` active webhooks of which the tenant, the name or the host contains `text`,
/// whatever its case, behind a tenant and a name.
pub async fn webhooks_containing(
    source: &Client,
    text: &str,
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<Webhook>, Error> {
    let (after_tenant, after_name) = after.unzip();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let text = text.to_lowercase();
    let parameters: [&(dyn ToSql + Sync); 4] = [&text, &after_tenant, &after_name, &limit];
    let rows = source.query(&*sql::SEARCHED_WEBHOOKS, &parameters).await?;
    rows.iter().map(read).collect()
}

/// Which webhooks a list has. Each None matches all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sought<'a> {
    pub tenant: Option<&'a str>,
    pub state: Option<WebhookState>,
    /// In lower case.
    pub text: Option<&'a str>,
}

impl Sought<'_> {
    /// Whether a webhook of the tenant that is sought, or of any, is one of them.
    pub(crate) fn includes(&self, webhook: &Webhook) -> bool {
        let told = [&webhook.tenant, &webhook.name, &webhook.host];
        let contains = |text| told.iter().any(|told| told.to_lowercase().contains(text));
        self.state.is_none_or(|state| webhook.state == state) && self.text.is_none_or(contains)
    }
}

/// At most `limit` of them that are sought, the worst states first, then by tenant and name; those
/// behind `after`. Those that are in sync are read only as far as there is room for them, page by
/// page.
pub async fn worst_webhooks(
    source: &Client,
    sought: Sought<'_>,
    after: Option<&(WebhookState, String, String)>,
    limit: usize,
) -> Result<Vec<Webhook>, Error> {
    let Sought { tenant, state, text } = sought;
    let is_wanted = |of: WebhookState| state.is_none_or(|state| of == state);
    let place = |one: &Webhook| (one.state, one.tenant.clone(), one.name.clone());
    let mut found = match state {
        Some(WebhookState::InSync) => Vec::new(),
        _ => unsettled(source, tenant).await?.0,
    };
    let known: HashSet<i64> = found.iter().map(|one| one.webhook_id).collect();
    found.retain(|one| {
        one.state != WebhookState::InSync
            && sought.includes(one)
            && after.is_none_or(|after| place(one) > *after)
    });
    found.sort_by_cached_key(place);
    found.truncate(limit);
    add_mappings(source, &mut found).await?;
    let mut behind = after
        .filter(|(state, ..)| *state == WebhookState::InSync)
        .map(|(_, tenant, name)| (tenant.clone(), name.clone()));
    while is_wanted(WebhookState::InSync) && found.len() < limit {
        let asked = (limit - found.len()).clamp(*PAGE.start(), *PAGE.end());
        let from = behind.as_ref().map(|(tenant, name)| (tenant.as_str(), name.as_str()));
        let page = match text {
            Some(text) if tenant.is_none() => {
                webhooks_containing(source, text, from, asked).await?
            }
            _ => webhooks_after(source, tenant, from, asked).await?,
        };
        let ended = page.len() < asked;
        behind = page.last().map(|last| (last.tenant.clone(), last.name.clone()));
        // One that was in sync a moment ago and lags by now belongs into the list still.
        let in_sync = |one: &Webhook| {
            one.state == WebhookState::InSync || state.is_none() && !known.contains(&one.webhook_id)
        };
        found.extend(page.into_iter().filter(|one| in_sync(one) && sought.includes(one)));
        if ended {
            break;
        }
    }
    found.sort_by_cached_key(place);
    found.truncate(limit);
    Ok(found)
}

/// At most `limit` of those in a state, by tenant and name, behind `after`. Those in another state
/// than `in_sync` are found without a look at the others.
pub async fn webhooks_in_state(
    source: &Client,
    (tenant, state): (Option<&str>, WebhookState),
    after: Option<(&str, &str)>,
    limit: usize,
) -> Result<Vec<Webhook>, Error> {
    if state == WebhookState::InSync {
        // In this order, and in this state, they are the last of the worst.
        let after = after.map(|(tenant, name)| (state, tenant.to_owned(), name.to_owned()));
        let sought = Sought { tenant, state: Some(state), text: None };
        return worst_webhooks(source, sought, after.as_ref(), limit).await;
    }
    let (mut found, _) = unsettled(source, tenant).await?;
    let behind = |one: &Webhook| after.is_none_or(|after| (&*one.tenant, &*one.name) > after);
    found.retain(|one| one.state == state && behind(one));
    found.sort_by(|a, b| (&a.tenant, &a.name).cmp(&(&b.tenant, &b.name)));
    found.truncate(limit);
    add_mappings(source, &mut found).await?;
    Ok(found)
}

/// [`unsettled`] reads webhooks without their mappings.
async fn add_mappings(source: &Client, found: &mut [Webhook]) -> Result<(), Error> {
    if found.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = found.iter().map(|one| one.webhook_id).collect();
    let read = list(source, Which { ids: Some(&ids), ..Which::default() }).await?;
    let mut mappings: HashMap<i64, Vec<WebhookMapping>> =
        read.into_iter().map(|one| (one.webhook_id, one.mappings)).collect();
    for one in found {
        one.mappings = mappings.remove(&one.webhook_id).unwrap_or_default();
    }
    Ok(())
}

/// How many are in each state; every state is listed. Those of which nothing speaks against
/// `in_sync` are only counted.
pub async fn count_states(
    source: &Client,
    tenant: Option<&str>,
) -> Result<BTreeMap<&'static str, usize>, Error> {
    let mut counts: BTreeMap<_, _> =
        WebhookState::ALL.iter().map(|state| (state.as_str(), 0)).collect();
    let (found, others) = unsettled(source, tenant).await?;
    for one in found {
        *counts.entry(one.state.as_str()).or_default() += 1;
    }
    *counts.entry(WebhookState::InSync.as_str()).or_default() += others;
    Ok(counts)
}

/// The webhooks of which something may speak against `in_sync`, without their mappings, and how many
/// others there are. Of one tenant: all of them.
async fn unsettled(source: &Client, tenant: Option<&str>) -> Result<(Vec<Webhook>, usize), Error> {
    if tenant.is_some() {
        return Ok((list(source, Which { tenant, ..Which::default() }).await?, 0));
    }
    let rows = source.query(&*sql::UNSETTLED_WEBHOOKS, &[]).await?;
    let others: i64 = match rows.first() {
        Some(row) => row.get("others"),
        None => source.query_one(sql::COUNT_WEBHOOKS, &[]).await?.get(0),
    };
    let found: Result<Vec<Webhook>, Error> = rows.iter().map(read).collect();
    Ok((found?, usize::try_from(others).unwrap_or_default()))
}

async fn list(source: &Client, which: Which<'_>) -> Result<Vec<Webhook>, Error> {
    let Which { tenant, name, after, limit, ids } = which;
    let (after_tenant, after_name) = after.unzip();
    let limit = limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&tenant, &name, &after_tenant, &after_name, &limit, &ids];
    let rows = source.query(&*sql::WEBHOOKS_BY_NAME, &parameters).await?;
    rows.iter().map(read).collect()
}

fn facts(row: &Row) -> Facts {
    let named = |name: &str, reason: &str| {
        let name: Option<String> = row.get(name);
        name.map(|name| (name, row.get::<_, Option<String>>(reason)))
    };
    let disabled = moment::optional(row, "disabled_at").map(|_| {
        let reason: Option<String> = row.get("disabled_reason");
        reason.unwrap_or_else(|| "it was disabled".to_owned())
    });
    let failures: i32 = row.get("consecutive_failures");
    let pending: i64 = row.get("pending_rows");
    let wanted: Option<i64> = row.get("wanted_sequence_id");
    let lowest: Option<i64> = row.get("lowest");
    let owed_beyond = wanted.is_some_and(|wanted| lowest.is_none_or(|lowest| lowest < wanted));
    Facts {
        tenant: row.get("tenant_id"),
        name: row.get("name"),
        disabled,
        paused: row.get("paused"),
        pause_reason: row.get("pause_reason"),
        fuse: named("fuse", "fuse_reason"),
        refused: row.get("refused"),
        incomplete: row.get("incomplete"),
        mirrored_state: row.get("state"),
        mirrored_reason: row.get("reason"),
        failures: failures.max(row.get("request_failures")),
        last_error: row.get("last_error"),
        failing: named("failing", "failing_reason"),
        stopped: named("stopped", "stopped_reason"),
        backfilling: row.get("backfilling"),
        quarantined: row.get("quarantined"),
        behind: row.get("behind") || pending > 0 || row.get("pending_uncounted") || owed_beyond,
    }
}

fn read(row: &Row) -> Result<Webhook, Error> {
    let mappings: Vec<WebhookMapping> = serde_json::from_value(row.get("mappings"))?;
    let facts = facts(row);
    let (state, reason) = judge(&facts);
    let pending: i64 = row.get("pending_rows");
    let backlog: i64 = row.get("backlog");
    let since = [
        moment::optional(row, "oldest_at"),
        moment::optional(row, "oldest_pending_at"),
        // Rows that an unfinished backfill has not reached have no change in the log.
        moment::optional(row, "backfilling_since"),
        moment::optional(row, "owed_since").filter(|_| facts.behind),
    ];
    let since = since.into_iter().flatten().min();
    let now = moment::required(row, "read_at");
    let age = |since: Timestamp| rounded(now.duration_since(since).as_secs_f64().max(0.0));
    Ok(Webhook {
        webhook_id: row.get("webhook_id"),
        state,
        reason,
        host: row.get("host"),
        port: row.get("port"),
        lag_rows: Long(backlog + pending),
        lag_seconds: since.map_or(0.0, age),
        delivered: Long(row.get("delivered")),
        failed: Long(row.get("failed")),
        last_success_at: moment::optional(row, "last_success_at"),
        last_status: row.get("last_status"),
        last_error: row.get("last_error"),
        last_error_at: moment::optional(row, "last_error_at"),
        failing_since: moment::optional(row, "failing_since"),
        consecutive_failures: row.get("consecutive_failures"),
        next_attempt_at: moment::optional(row, "not_before"),
        disabled_at: moment::optional(row, "disabled_at"),
        paused: facts.paused,
        paused_until: moment::optional(row, "paused_until").filter(|_| facts.paused),
        quarantined: Long(facts.quarantined),
        signatures: None,
        mappings,
        tenant: facts.tenant,
        name: facts.name,
    })
}
