//! The probes and the metrics. They need no token, because they name no tenant.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Shared;
use crate::readiness::LoopStatus;

/// How long `/readyz` waits for the source: longer than a healthy source takes, shorter than the
/// usual probe timeouts of kubelets and load balancers.
const SOURCE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// The Prometheus text format 0.0.4, which every Prometheus reads.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Serialize)]
struct Ready {
    ready: bool,
    source: bool,
    loops: Vec<LoopStatus>,
}

/// Answers whenever the process runs. It does not ask the source: otherwise an outage of the source
/// would have every daemon restarted.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Answers 200 if the source answers and every loop makes progress, else 503 with the loops.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let answer = async {
        let connection = shared.state.source.get().await.ok()?;
        connection.simple_query("select 1").await.ok()
    };
    let source = tokio::time::timeout(SOURCE_ANSWERS_WITHIN, answer)
        .await
        .is_ok_and(|answer| answer.is_some());
    let loops = shared.state.readiness.loops();
    let ready = source && loops.iter().all(|l| l.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, source, loops })).into_response()
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = shared.scrapes.render(&shared.state.source).await;
    ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response()
}
