//! Which webhooks there are: those of the configuration file and those of the webhooks query.
//!
//! A row of the query that cannot be used blocks only the webhook that it names. A query that fails
//! is an error; the daemon then keeps the webhooks that it had.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::compose::Accepted;
use offtake_mapping::{Identifier, foreign_within};
use offtake_postgres::SourcePool;
use offtake_webhooks::{
    Endpoint, Headers, OnEventError, Payload, Secrets, TIMEOUT_MAX, Url, WebhookSpec,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::destination_list::{Error, statement};
use crate::configuration::{
    BATCH_EVENTS_MAX, CONCURRENCY_MAX, Webhooks, defaults, unusable_name, unusable_tenant,
};

/// Of an id that is too long, so much is kept to recognise it by.
const SHOWN_CHARS_MAX: usize = 64;

/// A filter has at most so many columns and texts: it goes into every statement.
const FILTER_COLUMNS_MAX: usize = 20;
const FILTER_TEXTS_MAX: usize = 1000;

/// The webhooks that configuration file and webhooks query name at one moment.
#[derive(Debug, Default)]
pub struct WebhookList {
    pub usable: Vec<WebhookSpec>,
    pub refused: Vec<RefusedWebhook>,
    /// Tenant and name of those that the query names and the file too. They are taken from the
    /// file.
    pub of_both: Vec<(String, String)>,
    /// How many rows of the query have no tenant. They are ignored.
    pub without_tenant: usize,
}

/// A webhook that the query names in a way that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedWebhook {
    pub tenant_id: String,
    pub name: String,
    pub why: String,
}

/// Lists the webhooks of the file and of the query. The query runs in a READ ONLY transaction under
/// `statement_timeout`.
pub async fn list(
    webhooks: &Webhooks,
    pool: &SourcePool,
    statement_timeout: Duration,
) -> Result<WebhookList, Error> {
    let usable = webhooks.static_.iter().map(|webhook| (*webhook.spec).clone()).collect();
    let mut list = WebhookList { usable, ..WebhookList::default() };
    let Some(query) = &webhooks.query else { return Ok(list) };
    let mut connection = pool.get().await?;
    let transaction = connection.build_transaction().read_only(true).start().await?;
    transaction
        .batch_execute(&format!("set local statement_timeout = {}", statement_timeout.as_millis()))
        .await?;
    let rows = transaction.query(&statement(query), &[]).await?;
    drop(transaction);
    list.add_rows(rows.iter().map(|row| row.get(0)), webhooks.per_tenant as usize);
    Ok(list)
}

impl WebhookList {
    /// Adds the rows of the query. A webhook that the file names too is taken from the file.
    fn add_rows(&mut self, rows: impl Iterator<Item = Value>, per_tenant: usize) {
        let of_file = self.usable.iter().map(|spec| (spec.tenant_id.clone(), spec.name.clone()));
        let of_file: HashSet<(String, String)> = of_file.collect();
        let mut named: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
        for row in rows {
            let Some(tenant_id) = text_of(&row, "tenant_id") else {
                self.without_tenant += 1;
                continue;
            };
            let name =
                text_of(&row, "name").unwrap_or_else(|| defaults::DESTINATION_NAME.to_owned());
            let unusable = unusable_name(&name).map(|why| why.replace("destination", "webhook"));
            if let Some(why) = unusable_tenant(&tenant_id).or(unusable) {
                // Under names that the registry can keep and a terminal can show.
                let shown = |text: &str| foreign_within(text, SHOWN_CHARS_MAX).into_owned();
                self.refuse(shown(&tenant_id), shown(&name), why);
                continue;
            }
            let rows = named.entry((tenant_id, name)).or_default();
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        let mut of_tenant: BTreeMap<String, usize> = BTreeMap::new();
        for ((tenant_id, name), mut rows) in named {
            if of_file.contains(&(tenant_id.clone(), name.clone())) {
                self.of_both.push((tenant_id, name));
                continue;
            }
            let count = of_tenant.entry(tenant_id.clone()).or_default();
            *count += 1;
            let read = match (rows.pop(), rows.is_empty(), *count <= per_tenant) {
                (_, _, false) => Err(format!(
                    "the tenant has more webhooks than webhooks.per_tenant allows ({per_tenant}); \
                     the first of them by name are told"
                )),
                (Some(row), true, _) => read(row, (&tenant_id, &name)),
                _ => Err("the webhooks query names it twice, differently".to_owned()),
            };
            match read {
                Ok(spec) => self.usable.push(spec),
                Err(why) => self.refuse(tenant_id, name, why),
            }
        }
        self.refused.dedup_by(|a, b| a.tenant_id == b.tenant_id && a.name == b.name);
    }

    fn refuse(&mut self, tenant_id: String, name: String, why: String) {
        self.refused.push(RefusedWebhook { tenant_id, name, why });
    }
}

/// A column that is a text or a number; None where it is absent, empty or of another type.
fn text_of(row: &Value, column: &str) -> Option<String> {
    match &row[column] {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The columns of a row besides `tenant_id` and `name`, which say which webhook it is.
#[derive(Deserialize)]
struct QueryRow {
    url: Option<String>,
    secret: Option<OneOrMore>,
    mappings: Option<Vec<String>>,
    events: Option<Vec<String>>,
    filter: Option<Map<String, Value>>,
    headers: Option<BTreeMap<String, String>>,
    backfill: Option<bool>,
    payload: Option<String>,
    batch_events: Option<u32>,
    concurrency: Option<u32>,
    timeout_ms: Option<u64>,
    r#where: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

fn read(row: Value, (tenant_id, name): (&str, &str)) -> Result<WebhookSpec, String> {
    // The error of the reader would repeat values.
    let row: QueryRow = serde_json::from_value(row).map_err(|_| {
        "the webhooks query returns a column of another type than url: text, secret: text or \
         text[], mappings and events: text[], filter and headers: jsonb (an object), backfill: \
         boolean, payload: text, batch_events, concurrency and timeout_ms: integer"
            .to_owned()
    })?;
    if row.r#where.is_some_and(|sql| !sql.is_null()) {
        return Err("the webhooks query returns a column named where: SQL is taken from the \
                    configuration file only; return filter instead"
            .to_owned());
    }
    let url = row.url.filter(|url| !url.is_empty());
    let url = Url::parse(&url.ok_or("the webhooks query returns no url for it")?)?;
    let secrets = match row.secret {
        Some(OneOrMore::One(text)) => vec![text],
        Some(OneOrMore::More(texts)) => texts,
        None => return Err("the webhooks query returns no secret for it".to_owned()),
    };
    let headers = row.headers.unwrap_or_default();
    let headers = Headers::parse(headers.iter().map(|(name, value)| (&**name, &**value)))?;
    let timeout = row.timeout_ms.map_or(defaults::WEBHOOK_TIMEOUT, Duration::from_millis);
    if !(Duration::from_secs(1)..=TIMEOUT_MAX).contains(&timeout) {
        return Err("timeout_ms is from 1000 to 30000".to_owned());
    }
    let endpoint = Endpoint::new(url, headers, Secrets::parse(&secrets)?, timeout, None, None);
    let (upserted, deleted) = kinds(row.events.as_deref())?;
    let payload = match row.payload.as_deref() {
        None | Some("full") => Payload::Full,
        Some("key") => Payload::Key,
        Some(_) => return Err("payload is full or key".to_owned()),
    };
    let accepted = Accepted { condition: None, texts: filter(row.filter.unwrap_or_default())? };
    Ok(WebhookSpec {
        tenant_id: tenant_id.to_owned(),
        tenant_at_source: tenant_id.to_owned(),
        name: name.to_owned(),
        endpoint: Arc::new(endpoint),
        mappings: row.mappings,
        upserted,
        deleted,
        accepted: Arc::new(accepted),
        backfill: row.backfill.unwrap_or(false),
        payload,
        batch_events: within("batch_events", row.batch_events, 1, BATCH_EVENTS_MAX)?,
        batch_wait: Duration::ZERO,
        concurrency: within(
            "concurrency",
            row.concurrency,
            defaults::WEBHOOK_CONCURRENCY,
            CONCURRENCY_MAX,
        )?,
        on_event_error: OnEventError::Quarantine,
    })
}

fn within(column: &str, value: Option<u32>, default: u32, most: u32) -> Result<usize, String> {
    let value = value.unwrap_or(default);
    match (1..=most).contains(&value) {
        true => Ok(value as usize),
        false => Err(format!("{column} is from 1 to {most}")),
    }
}

fn kinds(events: Option<&[String]>) -> Result<(bool, bool), String> {
    let Some(events) = events else { return Ok((true, true)) };
    let known = |kind: &String| ["upserted", "deleted"].contains(&kind.as_str());
    if events.is_empty() || !events.iter().all(known) {
        return Err("events are upserted, deleted or both".to_owned());
    }
    let has = |kind: &str| events.iter().any(|name| name == kind);
    Ok((has("upserted"), has("deleted")))
}

/// The columns of a filter, each with the texts that it may have.
fn filter(filter: Map<String, Value>) -> Result<Vec<(Identifier, Vec<String>)>, String> {
    let wrong = |column: &str| {
        let column = foreign_within(column, SHOWN_CHARS_MAX).into_owned();
        format!(
            "filter is an object of columns, each with a list of texts or null; it has something \
             else for {column}"
        )
    };
    let mut columns = Vec::new();
    let mut count = 0;
    for (column, texts) in filter {
        let texts = match texts {
            Value::Null => continue,
            Value::String(text) => vec![text],
            Value::Array(items) => {
                let texts = items.into_iter().map(|item| match item {
                    Value::String(text) => Ok(text),
                    Value::Number(number) => Ok(number.to_string()),
                    _ => Err(wrong(&column)),
                });
                texts.collect::<Result<Vec<String>, String>>()?
            }
            _ => return Err(wrong(&column)),
        };
        count += texts.len();
        let name = Identifier::new(column.clone()).map_err(|error| format!("filter: {error}"))?;
        columns.push((name, texts));
    }
    if columns.len() > FILTER_COLUMNS_MAX || count > FILTER_TEXTS_MAX {
        return Err(format!(
            "filter has more than {FILTER_COLUMNS_MAX} columns or {FILTER_TEXTS_MAX} texts"
        ));
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn listed(rows: &[Value]) -> WebhookList {
        let mut list = WebhookList::default();
        list.add_rows(rows.iter().cloned(), 2);
        list
    }

    fn refused(row: Value, why: &str) {
        let list = listed(&[row]);
        assert!(list.usable.is_empty(), "{:?}", list.usable);
        let [refused] = list.refused.as_slice() else { panic!("{:?}", list.refused) };
        assert!(refused.why.contains(why), "{refused:?}");
        assert!(!refused.why.contains("C2FV") && !refused.why.contains("/hook"), "{refused:?}");
    }

    fn row(more: Value) -> Value {
        let mut row =
            json!({ "tenant_id": "a", "url": "https://x.example.com/hook", "secret": SECRET });
        for (key, value) in more.as_object().unwrap() {
            row[key] = value.clone();
        }
        row
    }

    #[test]
    fn a_row_has_what_the_columns_say() {
        let list = listed(&[row(json!({
            "tenant_id": 7, "name": "crm", "secret": [SECRET, SECRET], "mappings": ["users"],
            "events": ["deleted"], "filter": { "plan": ["pro", 3], "region": null }, "backfill": true,
            "headers": { "Authorization": "Bearer x" }, "payload": "key", "batch_events": 100,
            "concurrency": 1, "timeout_ms": 2000,
        }))]);
        let [spec] = list.usable.as_slice() else { panic!("{:?}", list.refused) };
        assert_eq!(spec.label(), "7/crm");
        assert_eq!((spec.upserted, spec.deleted, spec.backfill), (false, true, true));
        assert_eq!((spec.payload, spec.batch_events, spec.concurrency), (Payload::Key, 100, 1));
        assert_eq!(spec.endpoint.timeout(), Duration::from_secs(2));
        let plan = Identifier::new("plan".to_owned()).unwrap();
        assert_eq!(spec.accepted.texts, [(plan, vec!["pro".to_owned(), "3".to_owned()])]);
    }

    #[test]
    fn a_row_that_cannot_be_used_blocks_its_own_webhook() {
        refused(row(json!({ "url": null })), "no url");
        refused(row(json!({ "secret": null })), "no secret");
        refused(row(json!({ "secret": "hunter2" })), "whsec_");
        refused(row(json!({ "events": ["created"] })), "upserted, deleted");
        refused(row(json!({ "payload": "all" })), "full or key");
        refused(row(json!({ "batch_events": 1001 })), "from 1 to 1000");
        refused(row(json!({ "concurrency": 0 })), "from 1 to 64");
        refused(row(json!({ "timeout_ms": 10 })), "from 1000");
        refused(row(json!({ "filter": { "plan": { "or": "true" } } })), "filter is an object");
        refused(row(json!({ "filter": "plan = 'pro'" })), "another type");
        refused(row(json!({ "where": "true" })), "configuration file only");
        refused(row(json!({ "headers": { "Host": "x" } })), "Host");
        refused(row(json!({ "backfill": "perhaps" })), "another type");
        let good = row(json!({}));
        assert_eq!(listed(&[good.clone(), good.clone()]).usable.len(), 1);
        let twice = listed(&[good, row(json!({ "backfill": true }))]);
        assert!(twice.refused[0].why.contains("twice"), "{:?}", twice.refused);
        assert_eq!(listed(&[json!({ "url": "https://x.example.com" })]).without_tenant, 1);
    }

    #[test]
    fn a_tenant_has_no_more_webhooks_than_allowed() {
        let rows: Vec<Value> =
            ["b", "c", "a"].iter().map(|name| row(json!({ "name": name }))).collect();
        let list = listed(&rows);
        let told: Vec<&str> = list.usable.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(told, ["a", "b"]);
        assert!(list.refused[0].why.contains("per_tenant"), "{:?}", list.refused);
    }
}
