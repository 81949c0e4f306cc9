//! The requests that were sent to a webhook, as the attempts log has them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::Client;

use crate::status::Long;
use crate::{Error, moment, sql};

/// One request. Never a row's values, and of the answer only what repeats nothing of the request.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Attempt {
    /// Marks where a page of the list ended.
    pub attempt_id: Long,
    pub started_at: Timestamp,
    pub mapping: Option<String>,
    /// The key of the event; null for a batch and for an event without a key.
    pub key: Option<String>,
    /// How many events it had.
    pub events: i32,
    /// `webhook-id`.
    pub event_id: String,
    pub sequence_id: Option<Long>,
    /// `offtake-attempt`.
    pub attempt: Long,
    pub duration_ms: i32,
    /// Null: there was no answer.
    pub status: Option<i32>,
    /// `delivered`, `refused`, `unwell`, `timeout` or `address`.
    pub class: String,
    pub error: Option<String>,
    pub response: Option<String>,
}

/// The newest requests first, at most `limit`, those before `before`. `status`: only those of this
/// class, or with this status.
pub async fn attempts(
    source: &Client,
    webhook_id: i64,
    status: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Attempt>, Error> {
    let rows =
        source.query(sql::LIST_WEBHOOK_ATTEMPTS, &[&webhook_id, &status, &before, &limit]).await?;
    let attempts = rows.iter().map(|row| Attempt {
        attempt_id: Long(row.get("attempt_id")),
        started_at: moment::required(row, "started_at"),
        mapping: row.get("mapping"),
        key: row.get("row_key"),
        events: row.get("events"),
        event_id: row.get("event_id"),
        sequence_id: row.get::<_, Option<i64>>("sequence_id").map(Long),
        attempt: Long(row.get("attempt")),
        duration_ms: row.get("duration_ms"),
        status: row.get("status"),
        class: row.get("class"),
        error: row.get("error"),
        response: row.get("response"),
    });
    Ok(attempts.collect())
}
