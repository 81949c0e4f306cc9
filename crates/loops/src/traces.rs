//! Traces: one span for each turn, and one inside it for each of its stages.
//!
//! Without [`start`], which a daemon calls where `telemetry.otlp_endpoint` is set, a turn and a stage
//! cost one look at a cell. The exporter is the daemon's; this module only says what there is to
//! tell. A span names the tenant, because the operator asks the traces why one tenant is slow. No
//! span has a value of a row, or a secret.

use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer,
};
use opentelemetry::{Context, KeyValue};

static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

tokio::task_local! {
    /// The span of the turn that this task works on.
    static TURN: Context;
}

/// From now on turns are told to this tracer. A process has one; a second call changes nothing.
pub fn start(tracer: BoxedTracer) {
    let _ = TRACER.set(tracer);
}

/// What a span says beside its name and its times.
pub type Attributes = Vec<(&'static str, String)>;

/// Does a turn's work inside a span of its own. `waited`: how long ago it was due.
pub async fn turn<Work: Future>(
    name: &'static str,
    waited: Duration,
    attributes: impl FnOnce() -> Attributes,
    work: Work,
) -> Work::Output {
    let Some(tracer) = TRACER.get() else { return work.await };
    let claimed = SystemTime::now();
    let due = claimed.checked_sub(waited).unwrap_or(claimed);
    let builder = SpanBuilder::from_name(name)
        .with_kind(SpanKind::Internal)
        .with_start_time(due)
        .with_attributes(shown(attributes()));
    let turn = Context::new().with_span(tracer.build_with_context(builder, &Context::new()));
    if !waited.is_zero() {
        between(tracer, &turn, "claim", (due, claimed), Vec::new());
    }
    // On the heap, so that an untraced turn is no larger for it.
    let output = TURN.scope(turn.clone(), Box::pin(work)).await;
    turn.span().end();
    output
}

/// A stage of the turn ends now, after so long.
pub fn stage(name: &'static str, lasted: Duration, attributes: impl FnOnce() -> Attributes) {
    let Some(tracer) = TRACER.get() else { return };
    let ended = SystemTime::now();
    let began = ended.checked_sub(lasted).unwrap_or(ended);
    // A task that works on no turn has nothing to tell.
    let _ = TURN.try_with(|turn| between(tracer, turn, name, (began, ended), attributes()));
}

/// The turn failed, for this reason.
pub fn failed(why: impl FnOnce() -> String) {
    if TRACER.get().is_some() {
        let _ = TURN.try_with(|turn| turn.span().set_status(Status::error(why())));
    }
}

fn between(
    tracer: &BoxedTracer,
    turn: &Context,
    name: &'static str,
    (began, ended): (SystemTime, SystemTime),
    attributes: Attributes,
) {
    let builder =
        SpanBuilder::from_name(name).with_start_time(began).with_attributes(shown(attributes));
    tracer.build_with_context(builder, turn).end_with_timestamp(ended);
}

fn shown(attributes: Attributes) -> Vec<KeyValue> {
    attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect()
}
