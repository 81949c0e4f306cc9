//! Sends traces to a collector by OTLP, where `telemetry.otlp_endpoint` names one.
//!
//! What is told is in [`offtake_loops::traces`]. Spans wait in a queue of [`QUEUE_SPANS`] and are
//! sent together. Where the collector is slow or away, spans are dropped: a trace is never worth a
//! delay of a turn, or memory without bound.

mod collector;

use std::time::Duration;

use offtake_loops::traces;
use opentelemetry::KeyValue;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};

use self::collector::Collector;
use crate::configuration::CollectorUrl;
use crate::outcome::{Exit, Failure};

/// Two thousand turns with their stages, in some megabytes.
const QUEUE_SPANS: usize = 10_000;

/// One request has at most so many: about 200 KB.
const SPANS_AT_ONCE: usize = 1000;

/// Spans are sent when there are enough for a request, and this often.
const SEND_EVERY: Duration = Duration::from_secs(2);

/// What is left when the daemon ends may take this long.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The exporter of this process; ends with [`Traces::end`].
pub(super) struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to tell turns to the collector. Called inside the runtime, which sends the requests.
    pub(super) fn start(to: &CollectorUrl) -> Result<Self, Failure> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(to, tokio::runtime::Handle::current()))
            .with_endpoint(to.traces())
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|error| {
                Failure::new(Exit::Failed, "cannot send traces").because(error.to_string())
            })?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_SPANS)
            .with_max_export_batch_size(SPANS_AT_ONCE)
            .with_scheduled_delay(SEND_EVERY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource =
            Resource::builder().with_service_name("offtake").with_attribute(version).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            .build();
        traces::start(BoxedTracer::new(Box::new(provider.tracer("offtake"))));
        tracing::info!(event = "traces_sent", to = %to, "turns are told to the collector");
        Ok(Self(provider))
    }

    /// Sends what is left, within [`END_WITHIN`].
    pub(super) async fn end(self) {
        // It blocks its thread, and needs this runtime for the requests meanwhile.
        let ended =
            tokio::task::spawn_blocking(move || drop(self.0.shutdown_with_timeout(END_WITHIN)));
        let _ = ended.await;
    }
}
