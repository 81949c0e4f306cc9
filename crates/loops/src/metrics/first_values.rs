//! What the recorder is told before the first loop starts.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};

use super::{
    BUILD_INFO, CONFIG_RELOAD_SUCCESS, CONNECTION_STATES, D1_BUDGET_REMAINING, D1_LARGEST_BYTES,
    DESTINATION_CERTIFICATE_EXPIRY, DESTINATION_CONNECTIONS, Kind,
    LOOP_LAST_TICK_TIMESTAMP_SECONDS, LOOPS, METRICS, Metric, Of, SOURCE_READ_TIMESTAMP_SECONDS,
    SQLITE_WAL_BYTES, WEBHOOK_CONNECTIONS, unix_seconds_now,
};

/// Gives the installed recorder every metric's help text, and every counter and gauge that this
/// process owns its first value, so that a rate or an alert does not wait for the first event.
pub fn describe() {
    let recorded = |metric: &&Metric| matches!(metric.of, Of::Daemon | Of::Source);
    for metric in METRICS.iter().filter(recorded) {
        match metric.kind {
            Kind::Counter => {
                describe_counter!(metric.name, metric.help);
                begin_at_zero(metric);
            }
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
    for connections in [DESTINATION_CONNECTIONS, WEBHOOK_CONNECTIONS] {
        CONNECTION_STATES.iter().for_each(|state| gauge!(connections, "state" => *state).set(0.0));
    }
    gauge!(DESTINATION_CERTIFICATE_EXPIRY).set(0.0);
    gauge!(D1_BUDGET_REMAINING).set(0.0);
    gauge!(D1_LARGEST_BYTES).set(0.0);
    gauge!(SQLITE_WAL_BYTES).set(0.0);
    gauge!(SOURCE_READ_TIMESTAMP_SECONDS).set(unix_seconds_now());
    gauge!(CONFIG_RELOAD_SUCCESS).set(1.0);
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// The loops begin now. An alert about a loop that never completes a round needs a time to begin at;
/// a loop that is begun again after a failure has the time of its last round.
pub fn begin_loops() {
    for name in LOOPS {
        gauge!(LOOP_LAST_TICK_TIMESTAMP_SECONDS, "loop" => name).set(unix_seconds_now());
    }
}

/// A counter has one label at most.
fn begin_at_zero(metric: &Metric) {
    match metric.labels.first() {
        None => counter!(metric.name).increment(0),
        Some(label) => {
            for value in label.values {
                counter!(metric.name, label.name => *value).increment(0);
            }
        }
    }
}
