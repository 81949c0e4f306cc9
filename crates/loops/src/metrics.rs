//! Every metric Offtake exports: the one place that names one.
//!
//! It lives below the loops, because they count. It opens no port and keeps no registry; the admin
//! crate does. [`METRICS`] says of each what it means and which series it has; `docs/metrics.md` is
//! made from that list. A metric has no tenant in its labels, so that the number of series does not
//! grow with the number of customers. The exception are the worst destinations
//! ([`Of::Destination`]), which an operator must ask for.

mod catalogue;
mod first_values;
mod reference;

use std::time::{SystemTime, UNIX_EPOCH};

pub use catalogue::{Kind, Label, METRICS, Metric, Of};
pub use first_values::{begin_loops, describe};
pub use reference::reference;

pub const SYNC_LATENCY_SECONDS: &str = "offtake_sync_latency_seconds";
/// Label `stage`, one of [`STAGES`].
pub const STAGE_LATENCY_SECONDS: &str = "offtake_stage_latency_seconds";
pub const CHANGES_CAPTURED_PENDING: &str = "offtake_changes_captured_pending";
pub const OLDEST_PENDING_AGE_SECONDS: &str = "offtake_oldest_pending_age_seconds";
pub const CHANGES_SEQUENCED_TOTAL: &str = "offtake_changes_sequenced_total";
/// Label `kind`, one of [`REQUEST_KINDS`].
pub const REQUESTS_OWED: &str = "offtake_requests_owed";
pub const OLDEST_OWED_AGE_SECONDS: &str = "offtake_oldest_owed_age_seconds";
pub const OLDEST_DUE_AGE_SECONDS: &str = "offtake_oldest_due_age_seconds";
/// Label `operation`, one of [`OPERATIONS`].
pub const ROWS_APPLIED_TOTAL: &str = "offtake_rows_applied_total";
/// Label `result`, one of [`RESULTS`].
pub const BATCHES_TOTAL: &str = "offtake_batches_total";
pub const TAKE_UPS_TOTAL: &str = "offtake_take_ups_total";
/// Label `state`, one of [`DESTINATION_STATES`].
pub const DESTINATIONS: &str = "offtake_destinations";
/// Label `class`, one of [`ERROR_CLASSES`].
pub const DESTINATION_ERRORS_TOTAL: &str = "offtake_destination_errors_total";
/// Label `state`, one of [`CONNECTION_STATES`].
pub const DESTINATION_CONNECTIONS: &str = "offtake_destination_connections";
pub const DESTINATION_CERTIFICATE_EXPIRY: &str =
    "offtake_destination_certificate_expiry_timestamp_seconds";
/// Label `result`, one of [`D1_RESULTS`].
pub const D1_REQUESTS_TOTAL: &str = "offtake_d1_requests_total";
pub const D1_BUDGET_REMAINING: &str = "offtake_d1_budget_remaining";
pub const D1_LARGEST_BYTES: &str = "offtake_d1_largest_bytes";
pub const SQLITE_WAL_BYTES: &str = "offtake_sqlite_wal_bytes";
pub const BACKFILL_ROWS_TOTAL: &str = "offtake_backfill_rows_total";
pub const AUDIT_DIFFERENCES_TOTAL: &str = "offtake_audit_differences_total";
pub const QUARANTINED_ROWS: &str = "offtake_quarantined_rows";
/// Label `fuse`, one of [`FUSES`].
pub const FUSE_BLOWN: &str = "offtake_fuse_blown";
pub const TOMBSTONES: &str = "offtake_tombstones";
pub const LOG_BYTES: &str = "offtake_log_bytes";
pub const LOG_OLDEST_CHANGE_AGE_SECONDS: &str = "offtake_log_oldest_change_age_seconds";
pub const LOG_RETENTION_SECONDS: &str = "offtake_log_retention_seconds";
pub const SOURCE_READ_TIMESTAMP_SECONDS: &str = "offtake_source_read_timestamp_seconds";
pub const CONFIG_RELOAD_SUCCESS: &str = "offtake_config_reload_success";
pub const BUILD_INFO: &str = "offtake_build_info";
/// Label `loop`, one of [`LOOPS`].
pub const LOOP_LAST_TICK_TIMESTAMP_SECONDS: &str = "offtake_loop_last_tick_timestamp_seconds";

pub const WEBHOOK_LATENCY_SECONDS: &str = "offtake_webhook_latency_seconds";
pub const WEBHOOK_ATTEMPT_SECONDS: &str = "offtake_webhook_attempt_seconds";
/// Label `result`, one of [`ATTEMPT_RESULTS`].
pub const WEBHOOK_ATTEMPTS_TOTAL: &str = "offtake_webhook_attempts_total";
/// Label `kind`, one of [`EVENT_KINDS`].
pub const WEBHOOK_EVENTS_TOTAL: &str = "offtake_webhook_events_total";
/// Label `state`, one of [`WEBHOOK_STATES`].
pub const WEBHOOKS: &str = "offtake_webhooks";
/// Label `state`, one of [`CONNECTION_STATES`].
pub const WEBHOOK_CONNECTIONS: &str = "offtake_webhook_connections";
pub const QUARANTINED_EVENTS: &str = "offtake_quarantined_events";

/// Label `state`, one of [`EXPORT_STATES`].
pub const EXPORTS: &str = "offtake_exports";
pub const EXPORT_ROWS_TOTAL: &str = "offtake_export_rows_total";
pub const EXPORT_BYTES_TOTAL: &str = "offtake_export_bytes_total";
pub const EXPORT_SNAPSHOT_SECONDS: &str = "offtake_export_snapshot_seconds";
/// Label `state`, one of [`SNAPSHOT_STATES`].
pub const SNAPSHOTS: &str = "offtake_snapshots";
pub const SNAPSHOT_AGE_SECONDS: &str = "offtake_snapshot_age_seconds";
pub const SNAPSHOT_INTERVAL_SECONDS: &str = "offtake_snapshot_interval_seconds";
/// Label `operation`, one of [`RESTORE_OPERATIONS`].
pub const RESTORE_ROWS_TOTAL: &str = "offtake_restore_rows_total";
/// Label `class`, one of [`STORE_ERRORS`].
pub const STORE_ERRORS_TOTAL: &str = "offtake_store_errors_total";

/// Of the worst destinations, where `metrics.tenants` asks for them. The admin crate writes these
/// three itself: a series of the recorder would stay when its destination is no longer among them.
pub const DESTINATION_LAG_SECONDS: &str = "offtake_destination_lag_seconds";
pub const DESTINATION_LAG_CHANGES: &str = "offtake_destination_lag_changes";
pub const DESTINATION_FAILURES: &str = "offtake_destination_failures";

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
/// Values of the label `state` of destinations; a test of the admin crate holds them equal to its
/// states.
pub const DESTINATION_STATES: [&str; 6] =
    ["paused", "blocked", "backfilling", "degraded", "lagging", "in_sync"];
/// Values of the label `state` of webhooks; held equal like the destinations'.
pub const WEBHOOK_STATES: [&str; 7] =
    ["disabled", "paused", "blocked", "backfilling", "degraded", "lagging", "in_sync"];
/// Values of the label `state` of exports; a test of the crate `jobs` holds them equal to its states.
pub const EXPORT_STATES: [&str; 8] =
    ["accepted", "processing", "paused", "settling", "completed", "expired", "failed", "cancelled"];
/// Values of the label `state` of snapshots: the states of jobs that a snapshot can have.
pub const SNAPSHOT_STATES: [&str; 7] =
    ["accepted", "processing", "paused", "completed", "expired", "failed", "cancelled"];
/// Values of the label `operation` of restores, as `offtake.restored_rows` has them.
pub const RESTORE_OPERATIONS: [&str; 3] = ["add", "change", "delete"];
/// Values of the label `class` of stores' errors, that end an attempt.
pub const STORE_ERRORS: [&str; 8] =
    ["missing", "exists", "full", "denied", "no_bucket", "throttled", "unreachable", "unavailable"];
/// Values of the label `class`; see [`Fault`](offtake_postgres::Fault).
/// `ok`; `refused`: the database took none of it; `limited`: too many requests; `lost`: the outcome is
/// not known; `failed`: the token or the database is not there, or nothing was sent.
pub const D1_RESULTS: [&str; 5] = ["ok", "refused", "limited", "lost", "failed"];

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
pub const LOOPS: [&str; 7] =
    ["sequencer", "poller", "sync", "audit", "webhooks", "exports", "snapshots"];
/// Values of the label `fuse`: the name of a loop, or the kind alone (`tenant`, `destination`,
/// `webhook`, `mapping`), because names are tenants'.
pub const FUSES: [&str; 10] = [
    "sequencer",
    "poller",
    "sync",
    "webhooks",
    "exports",
    "snapshots",
    "tenant",
    "destination",
    "webhook",
    "mapping",
];

/// Upper bounds of the latency histograms: 1 ms, where an idle system's stages are, to 60 s, where
/// an outage begins; each about twice its predecessor, so that a quantile read from them is off by
/// at most that.
pub const LATENCY_BUCKETS_SECONDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// A time as metrics want it.
pub fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The wall clock as metrics want it. Only for timestamps that people compare with their own
/// clocks; a stored time comes from the source database.
pub fn unix_seconds_now() -> f64 {
    unix_seconds(SystemTime::now())
}
