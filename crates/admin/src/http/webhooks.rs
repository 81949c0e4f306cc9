//! The requests about webhooks.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_postgres::Client;

use super::Shared;
use super::answers::{Disabled, Enabled, Paused, Replayed, Resumed, Retold};
use super::api::{Limit, Page, named_state, parse_after, parse_time, searched};
use super::described::{Accepted, Asked, Routes, Sent, Told};
use super::mutations::{Nothing, Pause, REASON, Resume, Resync, Which, duration, required_reason};
use super::problem::Problem;
use crate::status::Long;
use crate::webhooks::{
    self, Attempt, NamedWebhook, Sought, TestOf, TestRefused, Tested, Webhook, WebhookState,
    named_webhooks,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only this tenant's.
    tenant: Option<String>,
    /// Only those in this state.
    #[schemars(with = "Option<WebhookState>")]
    state: Option<String>,
    /// What the tenant, the name or the host contains.
    #[schemars(length(max = 400))]
    search: Option<String>,
    /// By tenant and name, or the worst states first.
    #[serde(default)]
    sort: Sort,
    /// How many items the page has at most.
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Sort {
    /// By tenant and name.
    #[default]
    Name,
    /// The worst states first.
    State,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttemptsQuery {
    /// Only requests with this answer: a status such as 500, or a class such as `refused`.
    #[schemars(regex(pattern = "^([1-5][0-9][0-9]|delivered|refused|unwell|timeout|address)$"))]
    status: Option<String>,
    /// How many items the page has at most.
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before.
    #[schemars(regex(pattern = "^[0-9]{1,18}$"))]
    after: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Disable {
    /// One line; the status shows it.
    #[schemars(required, length(min = 1, max = 200), regex(pattern = REASON))]
    reason: Option<String>,
}

/// Which row is sent: both fields or neither.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("dependentRequired" = { "mapping": ["key"], "key": ["mapping"] }))]
pub(super) struct Test {
    #[serde(default)]
    #[schemars(with = "String")]
    mapping: Option<String>,
    /// An object of the row's key columns.
    #[serde(default)]
    #[schemars(with = "Map<String, Value>")]
    key: Option<Value>,
}

/// Where a replay begins: `from` or `since`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "oneOf" = [{ "required": ["from"] }, { "required": ["since"] }],
    "dependentRequired" = { "until": ["since"] }
))]
pub(super) struct Replay {
    /// A sequence id: what changed after it is told again. A number is taken too, but JavaScript's
    /// numbers lose digits.
    #[serde(default)]
    #[schemars(schema_with = "sequence_id_schema")]
    from: Option<Value>,
    /// What was captured since then is told again.
    #[serde(default)]
    #[schemars(with = "Timestamp")]
    since: Option<String>,
    /// Only what was captured until then.
    #[serde(default)]
    #[schemars(with = "Timestamp")]
    until: Option<String>,
    /// Only this mapping; absent: all.
    mapping: Option<String>,
    /// With the `webhook-id` of the first time, so that a receiver that has them drops them.
    #[serde(default)]
    same_ids: bool,
}

const NOT_SERVED: &[(u16, &str)] =
    &[(409, "The webhook is not served: the configuration or a query says of it what cannot be.")];

pub(super) fn routes(routes: Routes<'_>) -> Routes<'_> {
    let told = |id, summary| Told::new(id, summary);
    routes
        .get("/webhooks", list, told("list_webhooks", "Webhooks, page by page"))
        .get("/webhooks/{tenant}/{name}", one, told("webhook", "One webhook"))
        .get(
            "/webhooks/{tenant}/{name}/attempts",
            list_attempts,
            told("list_attempts", "Requests that were sent to it, the newest first"),
        )
        .post(
            "/webhooks/{tenant}/{name}/test",
            test,
            told("test_webhook", "Send one request now, and tell how it ended").or(NOT_SERVED),
        )
        .post("/webhooks/{tenant}/{name}/replay", replay, REPLAY)
        .post(
            "/webhooks/{tenant}/{name}/resync",
            resync,
            told("resync_webhook", "Tell it all rows again").or(NOT_SERVED),
        )
        .post(
            "/webhooks/{tenant}/{name}/enable",
            enable,
            told("enable_webhook", "Go on at its cursor"),
        )
        .post(
            "/webhooks/{tenant}/{name}/disable",
            disable,
            told("disable_webhook", "Send it nothing more"),
        )
        .post(
            "/webhooks/{tenant}/{name}/pause",
            pause,
            told("pause_webhook", "Send it nothing for now"),
        )
        .post("/webhooks/{tenant}/{name}/resume", resume, told("resume_webhook", "End its pause"))
}

const REPLAY: Told = Told::new("replay_webhook", "Tell it again what changed")
    .or(&[(409, "The webhook is not served, or the change log no longer goes back so far.")]);

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Page<Webhook>>, Problem> {
    let state = query
        .state
        .as_deref()
        .map(|name| named_state(&WebhookState::ALL, WebhookState::as_str, name))
        .transpose()?;
    let limit = query.limit.0;
    let search = query.search.as_deref().map(searched).transpose()?.flatten();
    let sought = Sought { tenant: query.tenant.as_deref(), state, text: search.as_deref() };
    let mut items = match query.sort {
        Sort::Name => by_name(&shared, sought, query.after.as_deref(), limit + 1).await?,
        Sort::State => {
            let after = query.after.as_deref().map(parse_after).transpose()?;
            let found = shared.answer(async |source| {
                webhooks::worst_webhooks(source, sought, after.as_ref(), limit + 1).await
            });
            found.await?
        }
    };
    items.retain(|one| state.is_none_or(|state| one.state == state));
    let mut page = Page::of(items, limit, |last| match query.sort {
        Sort::Name => serde_json::to_string(&(&last.tenant, &last.name)).ok(),
        Sort::State => serde_json::to_string(&(last.state, &last.tenant, &last.name)).ok(),
    });
    shared.sign(&mut page.items);
    Ok(Json(page))
}

/// Pages of the registry, until those that are sought are as many as are asked for.
async fn by_name(
    shared: &Shared,
    sought: Sought<'_>,
    after: Option<&str>,
    asked: usize,
) -> Result<Vec<Webhook>, Problem> {
    let mut place: Option<(String, String)> = after.map(parse_after).transpose()?;
    if let (Some(state), None) = (sought.state, sought.text) {
        let from = place.as_ref().map(|(tenant, name)| (tenant.as_str(), name.as_str()));
        let of = (sought.tenant, state);
        let found = shared
            .answer(async |source| webhooks::webhooks_in_state(source, of, from, asked).await);
        return found.await;
    }
    let mut items: Vec<Webhook> = Vec::new();
    loop {
        let from = place.as_ref().map(|(tenant, name)| (tenant.as_str(), name.as_str()));
        let read = async |source: &Client| match sought.text {
            Some(text) if sought.tenant.is_none() => {
                webhooks::webhooks_containing(source, text, from, asked).await
            }
            _ => webhooks::webhooks_after(source, sought.tenant, from, asked).await,
        };
        let some = shared.answer(read).await?;
        let last = some.len() < asked;
        place = some.last().map(|webhook| (webhook.tenant.clone(), webhook.name.clone()));
        items.extend(some.into_iter().filter(|one| sought.includes(one)));
        if last || items.len() >= asked {
            return Ok(items);
        }
    }
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path((tenant, name)): Which,
) -> Result<Json<Webhook>, Problem> {
    let mut found = shared
        .answer(async |source| webhooks::webhooks(source, Some(&tenant), Some(&name)).await)
        .await?;
    shared.sign(&mut found);
    found.into_iter().next().map(Json).ok_or_else(|| missing(&tenant, &name))
}

pub(super) async fn list_attempts(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Asked(query): Asked<AttemptsQuery>,
) -> Result<Json<Page<Attempt>>, Problem> {
    let after: Option<u64> = query.after.as_deref().map(parse_after).transpose()?;
    let after = after.map(|after| i64::try_from(after).unwrap_or(i64::MAX));
    let (limit, asked) = (query.limit.0, query.limit.and_one());
    let status = query.status.as_deref().map(known_answer).transpose()?;
    let id = shared.webhook(&which).await?.webhook_id;
    let items = shared
        .answer(async |source| webhooks::attempts(source, id, status, after, asked).await)
        .await?;
    Ok(Json(Page::of(items, limit, |last| Some(last.attempt_id.0.to_string()))))
}

pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(asked): Sent<Pause>,
) -> Result<Json<Paused>, Problem> {
    let reason = required_reason(asked.reason.as_deref())?;
    let lasts = asked.r#for.as_deref().map(duration).transpose()?;
    let id = shared.webhook(&which).await?.webhook_id;
    let until =
        shared.answer(async |source| webhooks::pause(source, id, reason, lasts).await).await?;
    Ok(Json(Paused { paused: true, paused_until: until }))
}

pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(asked): Sent<Resume>,
) -> Result<Json<Resumed>, Problem> {
    asked.reason.as_deref().map(|reason| required_reason(Some(reason))).transpose()?;
    let id = shared.webhook(&which).await?.webhook_id;
    let resumed = shared.answer(async |source| webhooks::resume(source, id).await).await?;
    Ok(Json(Resumed { paused: false, was_paused: resumed }))
}

pub(super) async fn enable(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Accepted<Enabled>, Problem> {
    let id = shared.webhook(&which).await?.webhook_id;
    shared.answer(async |source| webhooks::enable(source, id).await).await?;
    Ok(Accepted(Enabled { enabled: true }))
}

pub(super) async fn disable(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(asked): Sent<Disable>,
) -> Result<Json<Disabled>, Problem> {
    let reason = required_reason(asked.reason.as_deref())?;
    let id = shared.webhook(&which).await?.webhook_id;
    let was = shared.answer(async |source| webhooks::disable(source, id, reason).await).await?;
    Ok(Json(Disabled { enabled: false, was_enabled: was }))
}

pub(super) async fn resync(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(asked): Sent<Resync>,
) -> Result<Accepted<Retold>, Problem> {
    let webhook = shared.served_webhook(&which).await?;
    let mapping = known_mapping(&webhook, asked.mapping.as_deref())?;
    let id = webhook.webhook_id;
    let mappings =
        shared.answer(async |source| webhooks::resync(source, id, mapping).await).await?;
    Ok(Accepted(Retold { mappings }))
}

pub(super) async fn replay(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(asked): Sent<Replay>,
) -> Result<Accepted<Replayed>, Problem> {
    let from = asked.from.as_ref().map(sequence_id).transpose()?;
    let since = asked.since.as_deref().map(parse_time).transpose()?;
    let until = asked.until.as_deref().map(parse_time).transpose()?;
    if from.is_some() == since.is_some() || until.is_some() && since.is_none() {
        let detail = "say `from`, a sequence id, or `since`, a time; with `since` also `until`";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let webhook = shared.served_webhook(&which).await?;
    let mapping = known_mapping(&webhook, asked.mapping.as_deref())?;
    let id = webhook.webhook_id;
    let begin = (from, since);
    let counted = shared
        .answer(async |source| webhooks::count_replayed(source, id, mapping, begin, until).await)
        .await?;
    if counted.after < counted.lowest {
        let detail = format!(
            "the change log no longer goes back so far: the lowest `from` is {}",
            counted.lowest
        );
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let new_ids = !asked.same_ids;
    let mappings = shared
        .answer(async |source| webhooks::replay(source, id, mapping, counted, new_ids).await)
        .await?;
    let (keys, after) = (Long(counted.keys), Long(counted.after));
    Ok(Accepted(Replayed { mappings, keys, after, up_to: counted.up_to.map(Long) }))
}

pub(super) async fn test(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(asked): Sent<Test>,
) -> Result<Json<Tested>, Problem> {
    let row = match (asked.mapping, asked.key) {
        (None, None) => None,
        (Some(mapping), Some(key)) if key.is_object() => Some((mapping, key)),
        _ => {
            let detail = "say `mapping` and `key`, an object of the row's key columns, or neither";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
    };
    let webhook = shared.served_webhook(&which).await?;
    known_mapping(&webhook, row.as_ref().map(|(mapping, _)| mapping.as_str()))?;
    let unavailable = |detail: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    let access = shared
        .state
        .webhooks
        .get()
        .ok_or_else(|| unavailable("the daemon is still starting".to_owned()))?;
    let of = TestOf { tenant: webhook.tenant, name: webhook.name, row };
    access.test(of).await.map(Json).map_err(|refused| match refused {
        TestRefused::Wrong(detail) => Problem::new(StatusCode::BAD_REQUEST, detail),
        TestRefused::Unavailable(detail) => unavailable(detail),
    })
}

impl Shared {
    /// Adds what only this process knows.
    fn sign(&self, webhooks: &mut [Webhook]) {
        let Some(access) = self.state.webhooks.get() else { return };
        let names: Vec<(&str, &str)> =
            webhooks.iter().map(|one| (one.tenant.as_str(), one.name.as_str())).collect();
        let signatures = access.signatures(&names);
        for (webhook, signatures) in webhooks.iter_mut().zip(signatures) {
            webhook.signatures = signatures;
        }
    }

    /// The named webhook, or 404.
    async fn webhook(&self, (tenant, name): &(String, String)) -> Result<NamedWebhook, Problem> {
        let found = self
            .answer(async |source| named_webhooks(source, Some(tenant), Some(name)).await)
            .await?;
        found.into_iter().next().ok_or_else(|| missing(tenant, name))
    }

    /// The named webhook, or 409 if nothing is sent to it.
    async fn served_webhook(&self, which: &(String, String)) -> Result<NamedWebhook, Problem> {
        let named = self.webhook(which).await?;
        match &named.refused {
            Some(refused) => Err(Problem::new(
                StatusCode::CONFLICT,
                format!("{}/{} is not served: {refused}", which.0, which.1),
            )),
            None => Ok(named),
        }
    }
}

fn missing(tenant: &str, name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("tenant {tenant} has no webhook {name}"))
}

/// The mapping, if the webhook is told of it.
fn known_mapping<'a>(
    webhook: &NamedWebhook,
    mapping: Option<&'a str>,
) -> Result<Option<&'a str>, Problem> {
    match mapping {
        Some(name) if !webhook.mappings.iter().any(|known| known == name) => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("{}/{} is told of no mapping {name}", webhook.tenant, webhook.name),
        )),
        mapping => Ok(mapping),
    }
}

/// A status of HTTP, or a class of answers.
fn known_answer(status: &str) -> Result<&str, Problem> {
    const CLASSES: [&str; 5] = ["delivered", "refused", "unwell", "timeout", "address"];
    let code =
        status.len() == 3 && status.parse().is_ok_and(|code: u16| (100..600).contains(&code));
    if code || CLASSES.contains(&status) {
        return Ok(status);
    }
    let detail = format!("`status` is a status such as 500, or one of {}", CLASSES.join(", "));
    Err(Problem::new(StatusCode::BAD_REQUEST, detail))
}

fn sequence_id_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "integer"], "pattern": "^[0-9]{1,18}$", "minimum": 0,
        "maximum": i64::MAX, "examples": ["184467"],
    })
}

fn sequence_id(value: &Value) -> Result<i64, Problem> {
    let read = match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_i64(),
    };
    read.filter(|id: &i64| *id >= 0).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "`from` is a sequence id, such as \"184467\"")
    })
}
