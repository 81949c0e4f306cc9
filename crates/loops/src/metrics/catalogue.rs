//! The list of all metrics, with what a reader must know of each.

use super::*;

/// One metric. `docs/metrics.md` is made of these, and the help texts of `/metrics` are theirs.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub of: Of,
    /// What is counted or measured, in the plural: `seconds`, `rows`.
    pub unit: &'static str,
    pub labels: &'static [Label],
    /// What the value means, in one sentence.
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Whose value it is, and so how the values of several daemons go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Counted by one daemon: the sum over all daemons is the whole.
    Daemon,
    /// Read from the source: all daemons export the same value.
    Source,
    /// Read from the source, of the worst destinations; only where `metrics.tenants` asks for it.
    Destination,
    /// What the operating system says of the process.
    Process,
}

/// A label with all its values.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    pub name: &'static str,
    /// Empty: any text; see [`Of::Destination`] and `offtake_build_info`.
    pub values: &'static [&'static str],
}

impl Kind {
    /// Its name in the text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    const fn new(name: &'static str, kind: Kind, unit: &'static str, help: &'static str) -> Self {
        Self { name, kind, of: Of::Daemon, unit, labels: &[], help }
    }

    const fn of(self, of: Of) -> Self {
        Self { of, ..self }
    }

    const fn by(self, labels: &'static [Label]) -> Self {
        Self { labels, ..self }
    }

    /// How many series one daemon exports of it; of [`Of::Destination`], for each destination.
    pub fn series(&self) -> usize {
        let combinations: usize =
            self.labels.iter().map(|label| label.values.len().max(1)).product();
        match self.kind {
            // The buckets, the one without a bound, the sum and the count.
            Kind::Histogram => combinations * (LATENCY_BUCKETS_SECONDS.len() + 3),
            Kind::Counter | Kind::Gauge => combinations,
        }
    }
}

const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric::new(name, Kind::Counter, unit, help)
}

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric::new(name, Kind::Gauge, unit, help)
}

const fn latency(name: &'static str, help: &'static str) -> Metric {
    Metric::new(name, Kind::Histogram, "seconds", help)
}

const STAGE: &[Label] = &[Label { name: "stage", values: &STAGES }];
const OPERATION: &[Label] = &[Label { name: "operation", values: &OPERATIONS }];
const RESULT: &[Label] = &[Label { name: "result", values: &RESULTS }];
const STATE: &[Label] = &[Label { name: "state", values: &DESTINATION_STATES }];
const WEBHOOK_STATE: &[Label] = &[Label { name: "state", values: &WEBHOOK_STATES }];
const D1_RESULT: &[Label] = &[Label { name: "result", values: &D1_RESULTS }];
const CLASS: &[Label] = &[Label { name: "class", values: &ERROR_CLASSES }];
const CONNECTION_STATE: &[Label] = &[Label { name: "state", values: &CONNECTION_STATES }];
const REQUEST_KIND: &[Label] = &[Label { name: "kind", values: &REQUEST_KINDS }];
const ATTEMPT_RESULT: &[Label] = &[Label { name: "result", values: &ATTEMPT_RESULTS }];
const EVENT_KIND: &[Label] = &[Label { name: "kind", values: &EVENT_KINDS }];
const EXPORT_STATE: &[Label] = &[Label { name: "state", values: &EXPORT_STATES }];
const SNAPSHOT_STATE: &[Label] = &[Label { name: "state", values: &SNAPSHOT_STATES }];
const RESTORE_OPERATION: &[Label] = &[Label { name: "operation", values: &RESTORE_OPERATIONS }];
const STORE_ERROR: &[Label] = &[Label { name: "class", values: &STORE_ERRORS }];
const LOOP: &[Label] = &[Label { name: "loop", values: &LOOPS }];
const FUSE: &[Label] = &[Label { name: "fuse", values: &FUSES }];
const VERSION: &[Label] = &[Label { name: "version", values: &[] }];
const OF_DESTINATION: &[Label] =
    &[Label { name: "tenant", values: &[] }, Label { name: "destination", values: &[] }];

/// Every metric, in the order of `docs/metrics.md`.
pub const METRICS: &[Metric] = &[
    latency(
        SYNC_LATENCY_SECONDS,
        "Time from a change's capture at the source to its commit in the destination.",
    ),
    latency(STAGE_LATENCY_SECONDS, "Time that one batch spent in a stage.").by(STAGE),
    counter(CHANGES_SEQUENCED_TOTAL, "changes", "Changes that this process has numbered."),
    counter(
        ROWS_APPLIED_TOTAL,
        "rows",
        "Rows written to, or deleted from, destinations by this process.",
    )
    .by(OPERATION),
    counter(BATCHES_TOTAL, "batches", "Batches by how they ended.").by(RESULT),
    counter(
        TAKE_UPS_TOTAL,
        "looks",
        "Times that a destination was looked at as a whole: cursors, tables, other tenants.",
    ),
    counter(DESTINATION_ERRORS_TOTAL, "errors", "Errors of destinations by class.").by(CLASS),
    gauge(DESTINATION_CONNECTIONS, "connections", "Open connections to destinations.")
        .by(CONNECTION_STATE),
    gauge(
        DESTINATION_CERTIFICATE_EXPIRY,
        "Unix time",
        "When the first certificate expires that a destination has shown lately; 0 without one.",
    ),
    counter(D1_REQUESTS_TOTAL, "requests", "Requests to D1 databases by what came of them.")
        .by(D1_RESULT),
    gauge(
        D1_BUDGET_REMAINING,
        "requests",
        "Requests that Cloudflare last said a token has left; 0 while it refuses one, or says nothing.",
    ),
    gauge(
        D1_LARGEST_BYTES,
        "bytes",
        "The largest of the D1 databases that answered this process in the last two hours.",
    ),
    gauge(
        SQLITE_WAL_BYTES,
        "bytes",
        "The write-ahead logs beside the SQLite files that this process has open.",
    ),
    counter(BACKFILL_ROWS_TOTAL, "rows", "Rows copied by backfills and resyncs of this process."),
    counter(
        AUDIT_DIFFERENCES_TOTAL,
        "rows",
        "Rows of copies that the audit of this process found to differ from their query.",
    ),
    latency(
        WEBHOOK_LATENCY_SECONDS,
        "Time from a change's capture at the source to the acknowledgement of its event.",
    ),
    latency(WEBHOOK_ATTEMPT_SECONDS, "Time of one request to a webhook, dial included."),
    counter(WEBHOOK_ATTEMPTS_TOTAL, "requests", "Requests to webhooks by how they ended.")
        .by(ATTEMPT_RESULT),
    counter(WEBHOOK_EVENTS_TOTAL, "events", "Events that receivers acknowledged, by kind.")
        .by(EVENT_KIND),
    gauge(WEBHOOK_CONNECTIONS, "connections", "Open connections to webhooks.").by(CONNECTION_STATE),
    counter(EXPORT_ROWS_TOTAL, "rows", "Rows that exports have read, those read again included."),
    counter(EXPORT_BYTES_TOTAL, "bytes", "Bytes that exports have written to stores."),
    latency(
        EXPORT_SNAPSHOT_SECONDS,
        "Time for which an export held a snapshot of the source, and with it vacuum.",
    ),
    counter(
        STORE_ERRORS_TOTAL,
        "errors",
        "Errors of stores that interrupted an export or a snapshot, by class.",
    )
    .by(STORE_ERROR),
    gauge(
        LOOP_LAST_TICK_TIMESTAMP_SECONDS,
        "Unix time",
        "When a loop last completed a round, as Unix time.",
    )
    .by(LOOP),
    gauge(
        CONFIG_RELOAD_SUCCESS,
        "0 or 1",
        "1 if the configuration and the mappings on disk are the ones in use.",
    ),
    gauge(
        LOG_RETENTION_SECONDS,
        "seconds",
        "How long the change log keeps a change at least: retention.changes.",
    ),
    gauge(
        SNAPSHOT_INTERVAL_SECONDS,
        "seconds",
        "How often daemons make a snapshot of each tenant: snapshots.every; 0 where it is not set.",
    ),
    gauge(
        SOURCE_READ_TIMESTAMP_SECONDS,
        "Unix time",
        "When this process last read what the source holds; at first, when it started.",
    ),
    gauge(BUILD_INFO, "1", "The version of this process, as a label.").by(VERSION),
    gauge(DESTINATIONS, "destinations", "Destinations by state, as a reader is told it.")
        .of(Of::Source)
        .by(STATE),
    gauge(WEBHOOKS, "webhooks", "Webhooks by state, as a reader is told it.")
        .of(Of::Source)
        .by(WEBHOOK_STATE),
    gauge(EXPORTS, "exports", "Exports by state; those that ended are forgotten in time.")
        .of(Of::Source)
        .by(EXPORT_STATE),
    gauge(
        SNAPSHOTS,
        "snapshots",
        "Snapshots by state; those that are not kept are forgotten in time.",
    )
    .of(Of::Source)
    .by(SNAPSHOT_STATE),
    gauge(
        SNAPSHOT_AGE_SECONDS,
        "seconds",
        "Age of the oldest tenant's newest snapshot, of those that daemons make; with two kinds, \
         of its newest interval that has both; 0 without one.",
    )
    .of(Of::Source),
    counter(RESTORE_ROWS_TOTAL, "rows", "Rows that restores of snapshots have written.")
        .of(Of::Source)
        .by(RESTORE_OPERATION),
    gauge(
        CHANGES_CAPTURED_PENDING,
        "changes",
        "Captured changes not yet sequenced; counted up to 100001.",
    )
    .of(Of::Source),
    gauge(
        OLDEST_PENDING_AGE_SECONDS,
        "seconds",
        "Age of the oldest captured change that is not sequenced yet; 0 without one.",
    )
    .of(Of::Source),
    gauge(
        REQUESTS_OWED,
        "requests",
        "Destinations that are owed a sync, and webhooks that are owed events.",
    )
    .of(Of::Source)
    .by(REQUEST_KIND),
    gauge(
        OLDEST_OWED_AGE_SECONDS,
        "seconds",
        "Age of the oldest request that is still owed, also where its destination fails or is \
         paused.",
    )
    .of(Of::Source),
    gauge(
        OLDEST_DUE_AGE_SECONDS,
        "seconds",
        "How long the oldest request that is due and does not fail waits for a worker; scale \
         replicas on it.",
    )
    .of(Of::Source),
    gauge(QUARANTINED_ROWS, "rows", "Rows that their destination refuses.").of(Of::Source),
    gauge(QUARANTINED_EVENTS, "events", "Events that their receiver refuses.").of(Of::Source),
    gauge(FUSE_BLOWN, "fuses", "Blown fuses by kind; a loop runs while its fuse is 0.")
        .of(Of::Source)
        .by(FUSE),
    gauge(LOG_BYTES, "bytes", "Size of the change log's partitions with their indexes.")
        .of(Of::Source),
    gauge(
        LOG_OLDEST_CHANGE_AGE_SECONDS,
        "seconds",
        "Age of the oldest change in the change log; 0 if it is empty.",
    )
    .of(Of::Source),
    gauge(
        TOMBSTONES,
        "keys",
        "Deleted keys kept in the change log; counted up to 100001 per table.",
    )
    .of(Of::Source),
    gauge(
        DESTINATION_LAG_SECONDS,
        "seconds",
        "Age of the oldest change that this destination lacks.",
    )
    .of(Of::Destination)
    .by(OF_DESTINATION),
    gauge(
        DESTINATION_LAG_CHANGES,
        "changes",
        "Changes that this destination lacks, counted once per mapping.",
    )
    .of(Of::Destination)
    .by(OF_DESTINATION),
    gauge(
        DESTINATION_FAILURES,
        "failures",
        "Failed syncs of this destination since its last success.",
    )
    .of(Of::Destination)
    .by(OF_DESTINATION),
    counter(
        PROCESS_CPU_SECONDS_TOTAL,
        "seconds",
        "Total user and system CPU time spent in seconds.",
    )
    .of(Of::Process),
    gauge(PROCESS_RESIDENT_MEMORY_BYTES, "bytes", "Resident memory size in bytes.").of(Of::Process),
    gauge(PROCESS_OPEN_FDS, "descriptors", "Number of open file descriptors.").of(Of::Process),
    gauge(
        PROCESS_START_TIME_SECONDS,
        "Unix time",
        "Start time of the process since unix epoch in seconds.",
    )
    .of(Of::Process),
];
