//! How far the way of a change is open, and what is owed to one destination or webhook.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::Client;

use crate::status::Long;
use crate::{Error, moment, sql};

/// What `read_way.sql` tells.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) read_at: Timestamp,
    pub(super) head: i64,
    pub(super) polled: i64,
    pub(super) polled_at: Timestamp,
    pub(super) numbered_by: Option<String>,
    pub(super) numbering_since: Option<Timestamp>,
    pub(super) oldest_pending_at: Option<Timestamp>,
    pub(super) request: Option<Request>,
}

/// What is owed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Request {
    pub wanted_sequence_id: Long,
    pub owed_since: Timestamp,
    /// When it is due; in the future after a failure.
    pub due_at: Timestamp,
    /// How often it was claimed.
    pub attempt: Long,
    pub failures: i32,
    /// The process that works on it, or that did and ended; null: none does.
    pub claimed_by: Option<String>,
    /// Until when the claim holds.
    pub claimed_until: Option<Timestamp>,
}

impl Way {
    pub(super) async fn read(
        source: &Client,
        destination: Option<i64>,
        webhook: Option<i64>,
    ) -> Result<Self, Error> {
        let row = source.query_one(sql::READ_WAY, &[&destination, &webhook]).await?;
        let wanted: Option<i64> = row.get("wanted_sequence_id");
        let request = wanted.map(|wanted| Request {
            wanted_sequence_id: Long(wanted),
            owed_since: moment::required(&row, "owed_since"),
            due_at: moment::required(&row, "not_before"),
            attempt: Long(row.get("attempt")),
            failures: row.get("failures"),
            claimed_by: row.get("leased_by"),
            claimed_until: moment::optional(&row, "leased_until"),
        });
        Ok(Self {
            read_at: moment::required(&row, "read_at"),
            head: row.get("head"),
            polled: row.get("polled"),
            polled_at: moment::required(&row, "polled_at"),
            numbered_by: row.get("numbered_by"),
            numbering_since: moment::optional(&row, "numbering_since"),
            oldest_pending_at: moment::optional(&row, "oldest_pending_at"),
            request,
        })
    }
}
