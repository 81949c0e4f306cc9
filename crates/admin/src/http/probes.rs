//! What machines ask: alive, ready, and the numbers. Open, because they say nothing of any tenant.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Shared;
use crate::readiness::LoopStatus;

/// Longer than a healthy source ever takes, shorter than the probe timeouts of kubelets and load
/// balancers that are set with any patience.
const SOURCE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Text exposition format 0.0.4, which every Prometheus reads.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Serialize)]
struct Ready {
    ready: bool,
    source: bool,
    loops: Vec<LoopStatus>,
}

/// The process answers; nothing else is asked, so that a source outage does not have it restarted.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// The source answers, and every loop has ticked within its time.
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
