//! `GET /api/v1/history`: what this daemon did in the last quarter of an hour.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::api::{bad_query, parse_time};
use super::problem::Problem;
use crate::history::{EVERY, Sample};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// Only what is newer than this `at`.
    after: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Told {
    interval_seconds: u64,
    now: Timestamp,
    /// The oldest first.
    items: Vec<Sample>,
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<Told>, Problem> {
    let Query(query) = query.map_err(bad_query)?;
    let after = query.after.as_deref().map(parse_time).transpose()?;
    let items = shared.history.after(after);
    Ok(Json(Told { interval_seconds: EVERY.as_secs(), now: Timestamp::now(), items }))
}
