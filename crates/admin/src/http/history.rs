//! `GET /api/v1/history`: what this daemon did in the last quarter of an hour.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::api::parse_time;
use super::described::Asked;
use super::problem::Problem;
use crate::history::{EVERY, Sample};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// Only what is newer than this `at`.
    #[serde(default)]
    #[schemars(with = "Timestamp")]
    after: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "History")]
pub(super) struct Told {
    interval_seconds: u64,
    now: Timestamp,
    /// The oldest first.
    items: Vec<Sample>,
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<HistoryQuery>,
) -> Result<Json<Told>, Problem> {
    let after = query.after.as_deref().map(parse_time).transpose()?;
    let items = shared.history.after(after);
    Ok(Json(Told { interval_seconds: EVERY.as_secs(), now: Timestamp::now(), items }))
}
