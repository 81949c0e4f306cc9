//! The probes and the metrics. They need no token, because they name no tenant to anyone without.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Serialize;

use super::Shared;
use super::described::{Routes, Told};
use super::guard::may_know_tenants;
use crate::readiness::LoopStatus;

/// How long `/readyz` waits for the source: longer than a healthy source takes, shorter than the
/// usual probe timeouts of kubelets and load balancers.
const SOURCE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// An answer of the source that is younger serves for the next probe too.
const ANSWER_FRESH: Duration = Duration::from_millis(250);

/// The Prometheus text format 0.0.4, which every Prometheus reads.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Serialize, JsonSchema)]
struct Ready {
    ready: bool,
    source: bool,
    loops: Vec<LoopStatus>,
}

/// The probes of the main listener.
pub(super) fn routes(routes: Routes<'_>) -> Routes<'_> {
    routes
        .get_other("/livez", live, Told::new("livez", "Whether the process works"), |operation| {
            operation.text(StatusCode::OK, "text/plain", "It does.");
            operation.text(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                "A loop hangs, which only another start mends.",
            );
        })
        .get_other(
            "/readyz",
            ready,
            Told::new("readyz", "Whether every loop makes progress"),
            |operation| {
                operation
                    .answer::<Ready>(StatusCode::OK, "Every loop does, and the source answers.");
                operation.answer::<Ready>(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "One does not, or the source does not answer.",
                );
            },
        )
        .get_other("/metrics", metrics_of_tenants, METRICS, |operation| {
            operation.text(StatusCode::OK, "text/plain", "The text format of Prometheus.");
        })
}

const METRICS: Told =
    Told::new("metrics", "For Prometheus. A token is needed only to be told of tenants").or(&[
        (401, "A wrong token, where `metrics.tenants` is set."),
        (429, "Too many wrong tokens, where `metrics.tenants` is set."),
    ]);

/// The probes of the second listener.
pub(super) fn router_without_tenants() -> Router<Arc<Shared>> {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// Answers 200 unless a loop hangs, which only another start of the process mends. It does not ask
/// the source: otherwise an outage of the source would have every daemon restarted.
pub(super) async fn live(State(shared): State<Arc<Shared>>) -> Response {
    match shared.state.readiness.hung() {
        None => "ok\n".into_response(),
        Some(hung) => (StatusCode::SERVICE_UNAVAILABLE, format!("{hung}\n")).into_response(),
    }
}

/// Answers 200 if the source answers and every loop makes progress, else 503 with the loops.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let source = shared.source_answers().await;
    let loops = shared.state.readiness.loops();
    let ready = source && loops.iter().all(|l| l.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, source, loops })).into_response()
}

/// Whether the source answered, and when.
pub(super) struct SourceAnswer {
    at: Instant,
    answered: bool,
}

impl Shared {
    /// Whether the source answers. Any number of probes at one time ask it once: they need no
    /// token, and must not take the connections of the loops.
    async fn source_answers(&self) -> bool {
        let mut last = self.source_answers.lock().await;
        if let Some(fresh) = last.as_ref().filter(|answer| answer.at.elapsed() < ANSWER_FRESH) {
            return fresh.answered;
        }
        let answer = async {
            let connection = self.state.source.get().await.ok()?;
            connection.simple_query("select 1").await.ok()
        };
        let answer = tokio::time::timeout(SOURCE_ANSWERS_WITHIN, answer).await;
        let answered = answer.is_ok_and(|answer| answer.is_some());
        *last = Some(SourceAnswer { at: Instant::now(), answered });
        answered
    }
}

/// Without a tenant in them.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    render(&shared, false).await
}

/// With the worst destinations, where the operator wants them and the scraper may know them.
pub(super) async fn metrics_of_tenants(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Response {
    match may_know_tenants(&shared, &request) {
        Ok(tenants) => render(&shared, tenants).await,
        Err(problem) => problem.into_response(),
    }
}

async fn render(shared: &Shared, tenants: bool) -> Response {
    let text = shared.scrapes.render(&shared.state.source, tenants).await;
    ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response()
}
