//! Every metric Offtake exports, by name: the one place that knows one.
//!
//! It lives below the loops, because they count. It opens no port and keeps no registry; the admin
//! crate does. A metric has no tenant in its labels, so that the number of series does not grow
//! with the number of customers; the allowed label values are the constants here.

use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// Source commit → visible in the destination, per applied change.
pub const SYNC_LATENCY_SECONDS: &str = "offtake_sync_latency_seconds";
/// Time in one stage; label `stage`, one of [`STAGES`].
pub const STAGE_LATENCY_SECONDS: &str = "offtake_stage_latency_seconds";
pub const CHANGES_CAPTURED_PENDING: &str = "offtake_changes_captured_pending";
pub const CHANGES_SEQUENCED_TOTAL: &str = "offtake_changes_sequenced_total";
/// Label `kind`, one of [`REQUEST_KINDS`].
pub const REQUESTS_OWED: &str = "offtake_requests_owed";
pub const OLDEST_OWED_AGE_SECONDS: &str = "offtake_oldest_owed_age_seconds";
/// Label `operation`, one of [`OPERATIONS`].
pub const ROWS_APPLIED_TOTAL: &str = "offtake_rows_applied_total";
/// Label `result`, one of [`RESULTS`].
pub const BATCHES_TOTAL: &str = "offtake_batches_total";
/// How often a destination was looked at as a whole: its cursors, tables and rivals.
pub const TAKE_UPS_TOTAL: &str = "offtake_take_ups_total";
/// Label `state`: the states of a destination.
pub const DESTINATIONS: &str = "offtake_destinations";
/// Label `class`, one of [`ERROR_CLASSES`].
pub const DESTINATION_ERRORS_TOTAL: &str = "offtake_destination_errors_total";
/// Label `state`, one of [`CONNECTION_STATES`].
pub const DESTINATION_CONNECTIONS: &str = "offtake_destination_connections";
pub const BACKFILL_ROWS_TOTAL: &str = "offtake_backfill_rows_total";
/// Rows that the audit found to differ from their query, quarantined ones left out.
pub const AUDIT_DIFFERENCES_TOTAL: &str = "offtake_audit_differences_total";
pub const QUARANTINED_ROWS: &str = "offtake_quarantined_rows";
/// Label `fuse`: the name of a loop, or the kind alone (`tenant`, `destination`, `webhook`,
/// `mapping`), because names are tenants'.
pub const FUSE_BLOWN: &str = "offtake_fuse_blown";
pub const TOMBSTONES: &str = "offtake_tombstones";
pub const CONFIG_RELOAD_SUCCESS: &str = "offtake_config_reload_success";
/// Label `loop`, one of [`LOOPS`].
pub const LOOP_LAST_TICK_TIMESTAMP_SECONDS: &str = "offtake_loop_last_tick_timestamp_seconds";

/// Source commit → 2xx, per page of events.
pub const WEBHOOK_LATENCY_SECONDS: &str = "offtake_webhook_latency_seconds";
/// One request, from the dial or the open connection to the answer.
pub const WEBHOOK_ATTEMPT_SECONDS: &str = "offtake_webhook_attempt_seconds";
/// Label `result`, one of [`ATTEMPT_RESULTS`].
pub const WEBHOOK_ATTEMPTS_TOTAL: &str = "offtake_webhook_attempts_total";
/// Label `kind`, one of [`EVENT_KINDS`].
pub const WEBHOOK_EVENTS_TOTAL: &str = "offtake_webhook_events_total";
/// Label `state`: the states of a webhook.
pub const WEBHOOKS: &str = "offtake_webhooks";
/// Label `state`, one of [`CONNECTION_STATES`].
pub const WEBHOOK_CONNECTIONS: &str = "offtake_webhook_connections";
pub const QUARANTINED_EVENTS: &str = "offtake_quarantined_events";

/// Names without the prefix, as every Prometheus client library exports them for its process. Read
/// from the system when scraped, so the admin crate writes them itself.
pub const PROCESS_RESIDENT_MEMORY_BYTES: &str = "process_resident_memory_bytes";
pub const PROCESS_CPU_SECONDS_TOTAL: &str = "process_cpu_seconds_total";
pub const PROCESS_OPEN_FDS: &str = "process_open_fds";
pub const PROCESS_START_TIME_SECONDS: &str = "process_start_time_seconds";

/// Values of the label `stage`.
pub const STAGES: [&str; 5] = ["sequence", "enqueue", "claim", "fetch", "apply"];
/// Values of the label `operation`.
pub const OPERATIONS: [&str; 2] = ["upsert", "delete"];
/// Values of the label `result`: `dropped` is a late worker's batch, refused by the destination's
/// state row.
pub const RESULTS: [&str; 3] = ["applied", "failed", "dropped"];
/// Values of the label `class`; see [`Fault`](offtake_postgres::Fault).
pub const ERROR_CLASSES: [&str; 8] =
    ["transient", "unreachable", "credentials", "schema", "row", "read_only", "full", "fatal"];
/// Values of the label `state` of connections.
pub const CONNECTION_STATES: [&str; 2] = ["busy", "idle"];
/// Values of the label `kind` of requests.
pub const REQUEST_KINDS: [&str; 2] = ["sync", "webhook"];
/// Values of the label `result` of webhooks' requests. `unwell` blames the endpoint, `refused` the
/// event, `address` the address policy.
pub const ATTEMPT_RESULTS: [&str; 5] = ["delivered", "refused", "unwell", "timeout", "address"];
/// Values of the label `kind` of events.
pub const EVENT_KINDS: [&str; 5] = ["upserted", "deleted", "resync", "backfilled", "test"];
/// Values of the label `loop`.
pub const LOOPS: [&str; 5] = ["sequencer", "poller", "sync", "audit", "webhooks"];
/// Values of the label `fuse`.
pub const FUSES: [&str; 8] =
    ["sequencer", "poller", "sync", "webhooks", "tenant", "destination", "webhook", "mapping"];

/// Upper bounds of the latency histograms: 1 ms, where an idle system's stages are, to 60 s, where
/// an outage begins; each about twice its predecessor, so that a quantile read from them is off by
/// at most that.
pub const LATENCY_BUCKETS_SECONDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Gives the installed recorder every metric's help text, and every counter and gauge that this
/// process owns its first value, so that a rate or an alert does not wait for the first event.
pub fn describe() {
    describe_histogram!(
        SYNC_LATENCY_SECONDS,
        "Time from a change's capture at the source to its commit in the destination."
    );
    describe_histogram!(STAGE_LATENCY_SECONDS, "Time that one batch spent in a stage.");
    describe_gauge!(
        CHANGES_CAPTURED_PENDING,
        "Captured changes not yet sequenced; counted up to 100001."
    );
    describe_counter!(CHANGES_SEQUENCED_TOTAL, "Changes that this process has numbered.");
    describe_gauge!(
        REQUESTS_OWED,
        "Destinations that are owed a sync, and webhooks that are owed events."
    );
    describe_gauge!(
        OLDEST_OWED_AGE_SECONDS,
        "Age of the oldest request that is still owed; scale replicas on it."
    );
    describe_counter!(
        ROWS_APPLIED_TOTAL,
        "Rows written to, or deleted from, destinations by this process."
    );
    describe_counter!(BATCHES_TOTAL, "Batches by how they ended.");
    describe_counter!(
        TAKE_UPS_TOTAL,
        "Times that a destination was looked at as a whole: cursors, tables, other tenants."
    );
    describe_gauge!(DESTINATIONS, "Destinations by state, as a reader is told it.");
    describe_counter!(DESTINATION_ERRORS_TOTAL, "Errors of destinations by class.");
    describe_gauge!(DESTINATION_CONNECTIONS, "Open connections to destinations.");
    describe_counter!(BACKFILL_ROWS_TOTAL, "Rows copied by backfills and resyncs of this process.");
    describe_counter!(
        AUDIT_DIFFERENCES_TOTAL,
        "Rows of copies that the audit of this process found to differ from their query."
    );
    describe_gauge!(QUARANTINED_ROWS, "Rows that their destination refuses.");
    describe_gauge!(FUSE_BLOWN, "Blown fuses by kind; a loop runs while its fuse is 0.");
    describe_gauge!(
        TOMBSTONES,
        "Deleted keys kept in the change log; counted up to 100001 per table."
    );
    describe_gauge!(
        CONFIG_RELOAD_SUCCESS,
        "1 if the configuration and the mappings on disk are the ones in use."
    );
    describe_gauge!(
        LOOP_LAST_TICK_TIMESTAMP_SECONDS,
        "When a loop last completed a round, as Unix time."
    );

    describe_webhooks();

    counter!(CHANGES_SEQUENCED_TOTAL).increment(0);
    counter!(BACKFILL_ROWS_TOTAL).increment(0);
    counter!(TAKE_UPS_TOTAL).increment(0);
    counter!(AUDIT_DIFFERENCES_TOTAL).increment(0);
    OPERATIONS
        .iter()
        .for_each(|operation| counter!(ROWS_APPLIED_TOTAL, "operation" => *operation).increment(0));
    RESULTS.iter().for_each(|result| counter!(BATCHES_TOTAL, "result" => *result).increment(0));
    ERROR_CLASSES
        .iter()
        .for_each(|class| counter!(DESTINATION_ERRORS_TOTAL, "class" => *class).increment(0));
    CONNECTION_STATES
        .iter()
        .for_each(|state| gauge!(DESTINATION_CONNECTIONS, "state" => *state).set(0.0));
    gauge!(CONFIG_RELOAD_SUCCESS).set(1.0);
}

fn describe_webhooks() {
    describe_histogram!(
        WEBHOOK_LATENCY_SECONDS,
        "Time from a change's capture at the source to the acknowledgement of its event."
    );
    describe_histogram!(
        WEBHOOK_ATTEMPT_SECONDS,
        "Time of one request to a webhook, dial included."
    );
    describe_counter!(WEBHOOK_ATTEMPTS_TOTAL, "Requests to webhooks by how they ended.");
    describe_counter!(WEBHOOK_EVENTS_TOTAL, "Events that receivers acknowledged, by kind.");
    describe_gauge!(WEBHOOKS, "Webhooks by state, as a reader is told it.");
    describe_gauge!(WEBHOOK_CONNECTIONS, "Open connections to webhooks.");
    describe_gauge!(QUARANTINED_EVENTS, "Events that their receiver refuses.");
    ATTEMPT_RESULTS
        .iter()
        .for_each(|result| counter!(WEBHOOK_ATTEMPTS_TOTAL, "result" => *result).increment(0));
    EVENT_KINDS
        .iter()
        .for_each(|kind| counter!(WEBHOOK_EVENTS_TOTAL, "kind" => *kind).increment(0));
    CONNECTION_STATES
        .iter()
        .for_each(|state| gauge!(WEBHOOK_CONNECTIONS, "state" => *state).set(0.0));
}

/// The wall clock as metrics want it. Only for timestamps that people compare with their own
/// clocks; a stored time comes from the source database.
pub fn unix_seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
