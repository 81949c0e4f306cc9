//! Renders `/metrics`. The names are in [`offtake_loops::metrics`]. Most values come from the
//! recorder; those of the database and of the process are read here, with each scrape.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use offtake_loops::metrics::{self as names, Kind, METRICS};
use offtake_postgres::SourcePool;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::status::{Status, collect_totals};
use crate::worst::Worst;
use crate::{Error, process, sql};

/// Scrapes within this time share one reading, so that they cost the source one status per second.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A reading that took long is repeated only after so many times as long: with very many
/// destinations, frequent scrapes cost the source a tenth of one session's time.
const READ_AGAIN_AFTER_TIMES: u32 = 10;
/// How long a scrape waits for a reading of the source. After that it answers with the process's
/// own values and the database's last ones; if it waited longer, the scraper would give up and get
/// none. The reading goes on, for a later scrape.
const SCRAPE_WITHIN: Duration = Duration::from_secs(2);
/// After this time a reading is given up.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// The shortest time that a rate is computed over; over less it is noise.
const RATE_OVER_MIN: Duration = Duration::from_millis(900);
/// Histograms buffer their samples until they are drained. Without a scraper only this task does
/// it; otherwise memory would grow.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Installs the process's recorder. Called once, inside the runtime, before the first loop starts.
pub fn install() -> Result<PrometheusHandle, Error> {
    let mut histograms = METRICS.iter().filter(|metric| metric.kind == Kind::Histogram);
    let recorder = histograms.try_fold(PrometheusBuilder::new(), |builder, metric| {
        let name = Matcher::Full(metric.name.to_owned());
        builder.set_buckets_for_metric(name, &names::LATENCY_BUCKETS_SECONDS)
    });
    let handle =
        recorder.and_then(PrometheusBuilder::install_recorder).map_err(|_| Error::Recorder)?;
    names::describe();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            interval.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// The recorder, and what scrapes remember: how they read the database, and the last sample that
/// rates are computed from.
pub(crate) struct Scrapes {
    recorder: PrometheusHandle,
    /// Held while a scrape waits for the reading, so that scrapes at the same time share it.
    reading: tokio::sync::Mutex<Reading>,
    worst: Worst,
    last: Mutex<Option<Sample>>,
}

/// The reading of the gauges of the database.
#[derive(Default)]
struct Reading {
    /// The one that is in progress; it ends with how long the next one must wait.
    task: Option<JoinHandle<Duration>>,
    /// When the next one may begin.
    next: Option<Instant>,
}

impl Reading {
    /// Begins a reading if it is time for one, and waits for it, but not for long.
    async fn refresh(&mut self, source: &SourcePool, worst: &Worst) {
        if self.task.is_none() && self.next.is_none_or(|next| next <= Instant::now()) {
            self.task = Some(tokio::spawn(read_gauges(source.clone(), worst.clone())));
        }
        let Some(task) = &mut self.task else { return };
        let Ok(ended) = tokio::time::timeout(SCRAPE_WITHIN, task).await else { return };
        self.task = None;
        self.next = Some(Instant::now() + ended.unwrap_or(READ_AGAIN_AFTER));
    }
}

/// Reads the gauges of the database, and sets them. Returns how long the next reading must wait.
async fn read_gauges(source: SourcePool, worst: Worst) -> Duration {
    let begun = Instant::now();
    let error = match tokio::time::timeout(READ_WITHIN, read(&source, worst.max)).await {
        Ok(Ok((status, beside))) => {
            set_gauges(&status);
            worst.keep(status.destinations);
            beside.set();
            gauge!(names::SOURCE_READ_TIMESTAMP_SECONDS).set(names::unix_seconds_now());
            return READ_AGAIN_AFTER.max(begun.elapsed() * READ_AGAIN_AFTER_TIMES);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    };
    tracing::warn!(
        event = "metrics.source_unreadable",
        error,
        "cannot refresh the source's gauges"
    );
    READ_AGAIN_AFTER
}

/// The counts at one time; a rate is the difference between two of them.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    sequenced_up_to: i64,
    applied: i64,
    acknowledged: i64,
    rates: Rates,
}

/// Changes that were numbered since the last sample, by all daemons.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequenced {
    rows: i64,
    up_to: i64,
    /// Over how long, where only the newest of them were counted.
    seconds: Option<f64>,
}

impl Sequenced {
    /// Counts those with a sequence id greater than `after`; None counts nothing.
    pub(crate) async fn after(source: &Client, after: Option<i64>) -> Result<Self, Error> {
        let row = source.query_one(sql::COUNT_SEQUENCED, &[&after]).await?;
        Ok(Self { rows: row.get("rows"), up_to: row.get("up_to"), seconds: row.get("seconds") })
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    pub(crate) sequenced_per_second: Option<f64>,
    pub(crate) applied_per_second: Option<f64>,
    pub(crate) applied_total: i64,
    pub(crate) events_per_second: Option<f64>,
}

impl Scrapes {
    /// `worst`: how many destinations have series of their own.
    pub(crate) fn new(recorder: PrometheusHandle, worst: usize) -> Self {
        Self {
            recorder,
            reading: tokio::sync::Mutex::default(),
            worst: Worst::new(worst),
            last: Mutex::default(),
        }
    }

    /// All metrics in the Prometheus text format; those of the worst destinations only where the
    /// client may know `tenants`. While the source does not answer, its gauges keep their last
    /// values.
    pub(crate) async fn render(&self, source: &SourcePool, tenants: bool) -> String {
        self.reading.lock().await.refresh(source, &self.worst).await;
        let mut text = self.recorder.render();
        text.push_str(&process::render());
        if tenants {
            text.push_str(&self.worst.render());
        }
        text
    }

    /// Up to which sequence id the last sample counted.
    pub(crate) fn sampled_up_to(&self) -> Option<i64> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|sample| sample.sequenced_up_to)
    }

    /// Rows per second since the last sample, which is at least [`RATE_OVER_MIN`] old. The
    /// sequencer's rate counts the work of all daemons; the engine's rate comes from the counter of
    /// this process.
    pub(crate) fn rates(&self, sequenced: Sequenced) -> Rates {
        let exposition = self.recorder.render();
        let applied = total(&exposition, names::ROWS_APPLIED_TOTAL);
        let acknowledged = total(&exposition, names::WEBHOOK_EVENTS_TOTAL);
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rates = Rates { applied_total: applied, ..Rates::default() };
        if let Some(before) = *last {
            let seconds = now.duration_since(before.at).as_secs_f64();
            if seconds < RATE_OVER_MIN.as_secs_f64() {
                return Rates { applied_total: applied, ..before.rates };
            }
            rates.sequenced_per_second =
                Some(sequenced.rows as f64 / sequenced.seconds.unwrap_or(seconds));
            let per_second = |now: i64, before: i64| Some((now - before).max(0) as f64 / seconds);
            rates.applied_per_second = per_second(applied, before.applied);
            rates.events_per_second = per_second(acknowledged, before.acknowledged);
        }
        *last = Some(Sample {
            at: now,
            sequenced_up_to: sequenced.up_to,
            applied,
            acknowledged,
            rates,
        });
        rates
    }
}

async fn read(source: &SourcePool, worst: usize) -> Result<(Status, Beside), Error> {
    let connection = source.get().await?;
    let status = collect_totals(&connection, worst).await?;
    Ok((status, Beside::read(&connection).await?))
}

/// What only the metrics tell, beside what the status has too.
struct Beside {
    oldest_due_seconds: Option<f64>,
    oldest_change_seconds: Option<f64>,
    log_bytes: i64,
    /// How many there are, by state.
    exports: Value,
    snapshots: Value,
    snapshot_age_seconds: Option<f64>,
    /// Rows by operation.
    restored: Value,
}

impl Beside {
    async fn read(source: &Client) -> Result<Self, Error> {
        let row = source.query_one(sql::READ_GAUGES, &[]).await?;
        Ok(Self {
            oldest_due_seconds: row.get("oldest_due_seconds"),
            oldest_change_seconds: row.get("oldest_change_seconds"),
            log_bytes: row.get("log_bytes"),
            exports: row.get("exports"),
            snapshots: row.get("snapshots"),
            snapshot_age_seconds: row.get("snapshot_age_seconds"),
            restored: row.get("restored"),
        })
    }

    fn set(&self) {
        gauge!(names::OLDEST_DUE_AGE_SECONDS).set(self.oldest_due_seconds.unwrap_or(0.0));
        let oldest_change = self.oldest_change_seconds.unwrap_or(0.0).max(0.0);
        gauge!(names::LOG_OLDEST_CHANGE_AGE_SECONDS).set(oldest_change);
        gauge!(names::LOG_BYTES).set(self.log_bytes as f64);
        for state in names::EXPORT_STATES {
            let count = self.exports[state].as_f64().unwrap_or(0.0);
            gauge!(names::EXPORTS, "state" => state).set(count);
        }
        for state in names::SNAPSHOT_STATES {
            let count = self.snapshots[state].as_f64().unwrap_or(0.0);
            gauge!(names::SNAPSHOTS, "state" => state).set(count);
        }
        let age = self.snapshot_age_seconds.unwrap_or(0.0).max(0.0);
        gauge!(names::SNAPSHOT_AGE_SECONDS).set(age);
        for operation in names::RESTORE_OPERATIONS {
            let rows = self.restored[operation].as_u64().unwrap_or(0);
            counter!(names::RESTORE_ROWS_TOTAL, "operation" => operation).absolute(rows);
        }
    }
}

fn set_gauges(status: &Status) {
    gauge!(names::CHANGES_CAPTURED_PENDING).set(status.sequencer.pending_changes.0 as f64);
    let oldest_pending = status.sequencer.oldest_pending_seconds.unwrap_or(0.0).max(0.0);
    gauge!(names::OLDEST_PENDING_AGE_SECONDS).set(oldest_pending);
    let owed = [status.poller.owed, status.poller.owed_webhooks];
    for (kind, owed) in names::REQUEST_KINDS.into_iter().zip(owed) {
        gauge!(names::REQUESTS_OWED, "kind" => kind).set(owed as f64);
    }
    gauge!(names::OLDEST_OWED_AGE_SECONDS).set(status.poller.oldest_owed_seconds.unwrap_or(0.0));
    gauge!(names::QUARANTINED_ROWS).set(status.quarantined_rows.0 as f64);
    gauge!(names::QUARANTINED_EVENTS).set(status.quarantined_events.0 as f64);
    gauge!(names::TOMBSTONES).set(status.deleted_rows.total.0 as f64);
    for (state, count) in &status.sync.destinations {
        gauge!(names::DESTINATIONS, "state" => *state).set(*count as f64);
    }
    for (state, count) in &status.webhooks.states {
        gauge!(names::WEBHOOKS, "state" => *state).set(*count as f64);
    }
    for fuse in names::FUSES {
        let kind = |name: &str| name.split(':').next() == Some(fuse);
        let blown = status.fuses.iter().filter(|f| !f.enabled && kind(&f.name)).count();
        gauge!(names::FUSE_BLOWN, "fuse" => fuse).set(blown as f64);
    }
}

/// The sum of a counter over all its labels, read from the rendered text.
pub(crate) fn total(exposition: &str, name: &str) -> i64 {
    let of_name =
        |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<i64>().ok());
    exposition.lines().filter(of_name).filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use crate::webhooks::WebhookState;

    #[test]
    fn the_states_are_those_of_the_metrics() {
        assert_eq!(State::ALL.map(State::as_str), names::DESTINATION_STATES);
        assert_eq!(WebhookState::ALL.map(WebhookState::as_str), names::WEBHOOK_STATES);
    }

    #[test]
    fn a_total_sums_over_labels_and_no_other_name() {
        let text = "# TYPE a_total counter\na_total{operation=\"upsert\"} 3\na_total{operation=\"delete\"} 4\na_total_b 9\n";
        assert_eq!(total(text, "a_total"), 7);
    }
}
