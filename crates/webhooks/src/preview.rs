//! One event, made when a person asks for it: exactly what would be sent of a key now.

use std::time::Duration;

use bytes::Bytes;
use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::{EventShape, KeyRange, copy_chunk, select_events};
use offtake_postgres::TEXT_FORMAT;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use crate::{
    EVENT_BYTES_MAX, Event, EventKind, Payload, Sender, SourceClock, WebhookSpec, sql, test_event,
};

/// An event, and the clock by which it is to be signed.
#[derive(Debug, Clone)]
pub struct Previewed {
    /// `webhook-id`.
    pub id: String,
    pub body: Bytes,
    pub clock: SourceClock,
    /// Why the webhook would not be told of it, although it can be shown.
    pub unwanted: Option<&'static str>,
}

/// Why no event can be made.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The key is none of this mapping; the text says what one looks like.
    #[error("{0}")]
    Key(String),
    #[error("cannot read the row")]
    Source(#[from] tokio_postgres::Error),
}

/// The event that says nothing, for a test.
pub async fn preview_test(
    source: &Client,
    spec: &WebhookSpec,
) -> Result<Previewed, tokio_postgres::Error> {
    let asked = Instant::now();
    let row = facts(source, spec, None).await?;
    let (id, body) = test_event(&spec.tenant_id, &spec.name, row.get("now_text"));
    Ok(Previewed { id, body, clock: clock(&row, asked), unwanted: None })
}

/// The event of one key: its row as it is now. `key`: a JSON object of the key's columns, or the
/// value alone where the key has one column. `source` must not be in a transaction.
pub async fn preview_event(
    source: &Client,
    spec: &WebhookSpec,
    mapping: &ResolvedMapping,
    key: &Value,
    statement_timeout: Duration,
) -> Result<Previewed, PreviewError> {
    let key = row_key(mapping, key).map_err(PreviewError::Key)?;
    let begin = format!(
        "begin isolation level repeatable read, read only; set local row_security = off; \
         set local statement_timeout = {}; {TEXT_FORMAT}",
        statement_timeout.as_millis()
    );
    source.batch_execute(&begin).await?;
    let made = in_snapshot(source, spec, mapping, &key).await;
    source.batch_execute("rollback").await?;
    made
}

async fn in_snapshot(
    source: &Client,
    spec: &WebhookSpec,
    mapping: &ResolvedMapping,
    key: &Map<String, Value>,
) -> Result<Previewed, PreviewError> {
    let asked = Instant::now();
    let keys = json!([{ "k": key, "s": "0", "c": "" }]).to_string();
    let with_data = spec.payload == Payload::Full;
    let shape = EventShape { accepted: &spec.accepted, with_data, data_bytes_max: EVENT_BYTES_MAX };
    let statement = select_events(mapping, &spec.tenant_at_source, &keys, shape);
    let rows = source.simple_query(&statement).await?;
    let line = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let Some(line) = line else {
        return Err(PreviewError::Key(format!("this is no key of mapping {}", mapping.name())));
    };
    // Its columns: see `copy_events`. The key is the one that the source prints.
    let row_key: Option<Value> = line.get(3).and_then(|json| serde_json::from_str(json).ok());
    let found = facts(source, spec, row_key.as_ref().map(|key| (mapping, key))).await?;
    let state = line.get(4).unwrap_or("d");
    let now_text: &str = found.get("now_text");
    let captured_at: Option<&str> = found.get("captured_at");
    let head: i64 = found.get("head");
    let event = Event {
        kind: if state == "d" { EventKind::Deleted } else { EventKind::Upserted },
        timestamp: captured_at.unwrap_or(now_text),
        tenant: &spec.tenant_id,
        mapping: mapping.name(),
        sequence_id: found.get::<_, Option<i64>>("sequence_id").unwrap_or(head),
        as_of: head,
        epoch: found.get("epoch"),
        key: line.get(2),
        data: line.get(5),
        backfill: false,
        too_large: state == "l",
    };
    let sender =
        Sender { webhook_id: found.get("webhook_id"), generation: found.get("generation") };
    let unwanted = match event.kind {
        EventKind::Upserted if !spec.upserted => Some("its events are deleted only"),
        EventKind::Deleted if !spec.deleted => Some("its events are upserted only"),
        _ => None,
    };
    let id = event.id(sender);
    let body = event.body(spec.payload);
    Ok(Previewed { id, body, clock: clock(&found, asked), unwanted })
}

async fn facts(
    source: &Client,
    spec: &WebhookSpec,
    of: Option<(&ResolvedMapping, &Value)>,
) -> Result<Row, tokio_postgres::Error> {
    let table = of.map(|(mapping, _)| mapping.source_table());
    let key = of.map(|(_, key)| key);
    source
        .query_one(
            sql::READ_PREVIEW_FACTS,
            &[&spec.tenant_id, &spec.name, &spec.tenant_at_source, &table, &key],
        )
        .await
}

fn clock(row: &Row, asked: Instant) -> SourceClock {
    SourceClock::new(Duration::from_secs_f64(row.get::<_, f64>("now").max(0.0)), asked)
}

/// The key as `row_key` has it, with the source's column names. Those of the query are taken too,
/// because events have them.
fn row_key(mapping: &ResolvedMapping, key: &Value) -> Result<Map<String, Value>, String> {
    let names: Vec<&str> = mapping.key.iter().map(|k| k.query_column.as_str()).collect();
    let expected = || {
        let example: Vec<String> = names.iter().map(|name| format!("\"{name}\": \"…\"")).collect();
        format!(
            "a key of mapping {} is a JSON object of {}: {{{}}}",
            mapping.name(),
            names.join(", "),
            example.join(", ")
        )
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(Value::String(text.clone())),
        Value::Number(_) | Value::Bool(_) => Some(Value::String(value.to_string())),
        _ => None,
    };
    let given = match (key, mapping.key.as_slice()) {
        (Value::Object(given), _) => given.clone(),
        (value, [only]) => Map::from_iter([(only.query_column.to_string(), value.clone())]),
        _ => return Err(expected()),
    };
    if given.len() != mapping.key.len() {
        return Err(expected());
    }
    let columns = mapping.key.iter().map(|k| {
        let value = given.get(k.query_column.as_str());
        let value = value.or_else(|| given.get(k.source_column.as_str()));
        Some((k.source_column.as_str().to_owned(), text(value?)?))
    });
    columns.collect::<Option<Map<String, Value>>>().ok_or_else(expected)
}

/// The counting of rows ends here.
pub const ROWS_COUNTED_MAX: i64 = 100_000;

/// How many rows a backfill of the mapping would read, counted up to [`ROWS_COUNTED_MAX`]. `source`
/// must not be in a transaction.
pub async fn count_rows(
    source: &Client,
    spec: &WebhookSpec,
    mapping: &ResolvedMapping,
    statement_timeout: Duration,
) -> Result<i64, tokio_postgres::Error> {
    let limit = usize::try_from(ROWS_COUNTED_MAX).unwrap_or(usize::MAX);
    let copy = copy_chunk(mapping, &spec.tenant_at_source, KeyRange::ALL, limit);
    let query =
        copy.strip_prefix("copy (").and_then(|rest| rest.trim_end().strip_suffix(") to stdout"));
    let begin = format!(
        "begin transaction read only; set local row_security = off; \
         set local statement_timeout = {}; {TEXT_FORMAT}",
        statement_timeout.as_millis()
    );
    source.batch_execute(&begin).await?;
    let count = format!("select count(*) from ({}) q", query.unwrap_or_default());
    let counted = source.query_one(&count, &[]).await;
    source.batch_execute("rollback").await?;
    Ok(counted?.get(0))
}
