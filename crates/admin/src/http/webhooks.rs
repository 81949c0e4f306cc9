//! The requests about webhooks.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::Shared;
use super::api::{ITEMS, ITEMS_MAX, Page, bad_query, parse_after, parse_time, searched};
use super::mutations::{
    Answer, Nothing, Pause, Resume, Resync, Which, duration, read, required_reason,
};
use super::problem::Problem;
use crate::webhooks::{
    self, Attempt, NamedWebhook, Sought, TestOf, TestRefused, Tested, Webhook, WebhookState,
    named_webhooks,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    tenant: Option<String>,
    state: Option<String>,
    /// What the tenant, the name or the host contains.
    search: Option<String>,
    #[serde(default)]
    sort: Sort,
    limit: Option<usize>,
    /// `next` of the previous page.
    after: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    /// By tenant and name.
    #[default]
    Name,
    /// The worst states first.
    State,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttemptsQuery {
    /// A status such as 500, or a class such as `refused`.
    status: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Disable {
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    mapping: Option<String>,
    key: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    /// Sequence ids are texts, because JavaScript's numbers lose digits; a number is taken too.
    from: Option<Value>,
    since: Option<String>,
    until: Option<String>,
    mapping: Option<String>,
    #[serde(default)]
    same_ids: bool,
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page<Webhook>>, Problem> {
    let Query(query) = query.map_err(bad_query)?;
    let state = query.state.as_deref().map(named_state).transpose()?;
    let limit = query.limit.unwrap_or(ITEMS).clamp(1, ITEMS_MAX);
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
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).and_then(|last| match query.sort {
        Sort::Name => serde_json::to_string(&(&last.tenant, &last.name)).ok(),
        Sort::State => serde_json::to_string(&(last.state, &last.tenant, &last.name)).ok(),
    });
    shared.sign(&mut items);
    Ok(Json(Page { items, next }))
}

/// Pages of the registry, until those that are sought are as many as are asked for.
async fn by_name(
    shared: &Shared,
    sought: Sought<'_>,
    after: Option<&str>,
    asked: usize,
) -> Result<Vec<Webhook>, Problem> {
    let mut place: Option<(String, String)> = after.map(parse_after).transpose()?;
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
    query: Result<Query<AttemptsQuery>, QueryRejection>,
) -> Result<Json<Page<Attempt>>, Problem> {
    let Query(query) = query.map_err(bad_query)?;
    let after: Option<i64> = match query.after.as_deref().map(str::parse) {
        None => None,
        Some(Ok(after)) => Some(after),
        Some(Err(_)) => {
            let detail = "`after` is not the `next` of a page";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
    };
    let limit = query.limit.unwrap_or(ITEMS).clamp(1, ITEMS_MAX);
    let asked = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let id = shared.webhook(&which).await?.webhook_id;
    let status = query.status.as_deref();
    let mut items = shared
        .answer(async |source| webhooks::attempts(source, id, status, after, asked).await)
        .await?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.attempt_id.0.to_string());
    Ok(Json(Page { items, next }))
}

pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let asked: Pause = read(&headers, &body)?;
    let reason = required_reason(asked.reason.as_deref())?;
    let lasts = asked.r#for.as_deref().map(duration).transpose()?;
    let id = shared.webhook(&which).await?.webhook_id;
    let until =
        shared.answer(async |source| webhooks::pause(source, id, reason, lasts).await).await?;
    Ok((StatusCode::OK, Json(json!({ "paused": true, "paused_until": until }))))
}

pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let asked: Resume = read(&headers, &body)?;
    asked.reason.as_deref().map(|reason| required_reason(Some(reason))).transpose()?;
    let id = shared.webhook(&which).await?.webhook_id;
    let resumed = shared.answer(async |source| webhooks::resume(source, id).await).await?;
    Ok((StatusCode::OK, Json(json!({ "paused": false, "was_paused": resumed }))))
}

pub(super) async fn enable(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let Nothing {} = read(&headers, &body)?;
    let id = shared.webhook(&which).await?.webhook_id;
    shared.answer(async |source| webhooks::enable(source, id).await).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "enabled": true }))))
}

pub(super) async fn disable(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let asked: Disable = read(&headers, &body)?;
    let reason = required_reason(asked.reason.as_deref())?;
    let id = shared.webhook(&which).await?.webhook_id;
    let was = shared.answer(async |source| webhooks::disable(source, id, reason).await).await?;
    Ok((StatusCode::OK, Json(json!({ "enabled": false, "was_enabled": was }))))
}

pub(super) async fn resync(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let asked: Resync = read(&headers, &body)?;
    let webhook = shared.served_webhook(&which).await?;
    let mapping = known_mapping(&webhook, asked.mapping.as_deref())?;
    let id = webhook.webhook_id;
    let mappings =
        shared.answer(async |source| webhooks::resync(source, id, mapping).await).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "mappings": mappings }))))
}

pub(super) async fn replay(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let asked: Replay = read(&headers, &body)?;
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
    let answer = json!({
        "mappings": mappings,
        "keys": counted.keys.to_string(),
        "after": counted.after.to_string(),
        "up_to": counted.up_to.map(|up_to| up_to.to_string()),
    });
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

pub(super) async fn test(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Tested>, Problem> {
    let asked: Test = read(&headers, &body)?;
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

fn sequence_id(value: &Value) -> Result<i64, Problem> {
    let read = match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_i64(),
    };
    read.filter(|id: &i64| *id >= 0).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "`from` is a sequence id, such as \"184467\"")
    })
}

fn named_state(name: &str) -> Result<WebhookState, Problem> {
    let known = WebhookState::ALL.map(WebhookState::as_str).join(", ");
    WebhookState::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("no state is called {name}; they are {known}"),
        )
    })
}
