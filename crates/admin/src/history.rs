//! The last quarter of an hour of this daemon, for the charts of a dashboard that was opened now.
//!
//! Read from the process's own recorder, so it costs the source nothing, and says what this daemon
//! did: other daemons keep their own.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use offtake_loops::metrics as names;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::metrics::total;
use crate::status::{Long, rounded};

/// Between two samples: as many as a chart of 900 pixels can show.
pub(crate) const EVERY: Duration = Duration::from_secs(5);
/// A quarter of an hour of samples, of some 100 bytes each.
const KEPT: usize = 180;

/// The samples, the newest last. Cheap to ask; bounded by [`KEPT`].
#[derive(Default)]
pub(crate) struct History {
    samples: Mutex<VecDeque<Sample>>,
}

/// What happened in the time before `at`. Rates and counts are those of this process.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Sample {
    /// By the daemon's clock.
    pub at: Timestamp,
    pub seconds: f64,
    pub changes_numbered_per_second: f64,
    pub rows_applied_per_second: f64,
    pub events_acknowledged_per_second: f64,
    /// From a change's commit until it was visible in a destination; null where none arrived.
    pub latency: Option<Latency>,
}

/// Quantiles, in seconds. They are read from the buckets of a histogram, so they are off by a part of
/// a bucket's width.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Latency {
    /// How many batches arrived.
    pub(crate) batches: Long,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// The counters at one moment.
struct Counters {
    at: Instant,
    numbered: i64,
    applied: i64,
    acknowledged: i64,
    /// Cumulative, as the text format has them, up to each upper bound, and all.
    latencies: Vec<(f64, u64)>,
}

impl History {
    /// Samples the recorder until `shutdown`.
    pub(crate) async fn keep(&self, recorder: PrometheusHandle, shutdown: CancellationToken) {
        let mut interval = tokio::time::interval(EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<Counters> = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = interval.tick() => {}
            }
            let now = Counters::read(&recorder.render());
            if let Some(last) = last {
                self.push(now.since(&last));
            }
            last = Some(now);
        }
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The samples after this time (None: all), the newest last.
    pub(crate) fn after(&self, after: Option<Timestamp>) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = |sample: &&Sample| after.is_none_or(|after| sample.at > after);
        samples.iter().filter(newer).cloned().collect()
    }
}

impl Counters {
    fn read(exposition: &str) -> Self {
        Self {
            at: Instant::now(),
            numbered: total(exposition, names::CHANGES_SEQUENCED_TOTAL),
            applied: total(exposition, names::ROWS_APPLIED_TOTAL),
            acknowledged: total(exposition, names::WEBHOOK_EVENTS_TOTAL),
            latencies: buckets(exposition, names::SYNC_LATENCY_SECONDS),
        }
    }

    fn since(&self, before: &Self) -> Sample {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = |now: i64, before: i64| rounded((now - before).max(0) as f64 / seconds);
        Sample {
            at: Timestamp::now(),
            seconds: rounded(seconds),
            changes_numbered_per_second: rate(self.numbered, before.numbered),
            rows_applied_per_second: rate(self.applied, before.applied),
            events_acknowledged_per_second: rate(self.acknowledged, before.acknowledged),
            latency: Latency::of(&arrived(&before.latencies, &self.latencies)),
        }
    }
}

impl Latency {
    /// Of cumulative counts up to each upper bound.
    fn of(cumulative: &[(f64, u64)]) -> Option<Self> {
        let batches = cumulative.last().map_or(0, |(_, count)| *count);
        if batches == 0 {
            return None;
        }
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| quantile(cumulative, share));
        let batches = Long(i64::try_from(batches).unwrap_or(i64::MAX));
        Some(Self { batches, p50, p95, p99 })
    }
}

/// Where in its bucket a quantile is, is taken from the share of the bucket's count, as Prometheus
/// does. What is beyond the last bound counts as the last bound.
fn quantile(cumulative: &[(f64, u64)], share: f64) -> f64 {
    let wanted = share * cumulative.last().map_or(0, |(_, count)| *count) as f64;
    let (mut bound_below, mut below) = (0.0, 0);
    for &(bound, count) in cumulative {
        if count as f64 >= wanted && count > below {
            if bound.is_infinite() {
                break;
            }
            let within = (wanted - below as f64) / (count - below) as f64;
            return (bound - bound_below).mul_add(within, bound_below);
        }
        if bound.is_finite() {
            (bound_below, below) = (bound, count);
        }
    }
    bound_below
}

/// What was added to a histogram between two readings.
fn arrived(before: &[(f64, u64)], now: &[(f64, u64)]) -> Vec<(f64, u64)> {
    let earlier = |at: usize| before.get(at).map_or(0, |(_, count)| *count);
    now.iter()
        .enumerate()
        .map(|(at, &(bound, count))| (bound, count.saturating_sub(earlier(at))))
        .collect()
}

/// The buckets of a histogram without labels, read from the rendered text.
fn buckets(exposition: &str, name: &str) -> Vec<(f64, u64)> {
    let read = |line: &str| {
        let rest = line.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?;
        let (bound, count) = rest.split_once("\"} ")?;
        // Rust reads "+Inf" as infinity, too.
        Some((bound.parse().ok()?, count.parse().ok()?))
    };
    exposition.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# TYPE a_seconds histogram\na_seconds_bucket{le=\"0.01\"} 5\na_seconds_bucket{le=\"0.1\"} 5\n\
                          a_seconds_bucket{le=\"+Inf\"} 5\na_seconds_sum 0.01\na_seconds_count 5\n";
    const NOW: &str = "a_seconds_bucket{le=\"0.01\"} 55\na_seconds_bucket{le=\"0.1\"} 103\na_seconds_bucket{le=\"+Inf\"} 105\n";

    #[test]
    fn quantiles_are_those_of_what_arrived_since() {
        let [before, now] = [BEFORE, NOW].map(|text| buckets(text, "a_seconds"));
        assert_eq!(now.last(), Some(&(f64::INFINITY, 105)));
        let latency = Latency::of(&arrived(&before, &now)).unwrap();
        assert_eq!(latency.batches, Long(100));
        assert!((latency.p50 - 0.01).abs() < 1e-9, "{latency:?}");
        // 95 of 100: 45 of the 48 in the bucket from 10 to 100 ms.
        assert!((latency.p95 - (0.01 + 0.09 * 45.0 / 48.0)).abs() < 1e-9, "{latency:?}");
        // Beyond the last bound.
        assert!((latency.p99 - 0.1).abs() < 1e-9, "{latency:?}");
        assert_eq!(Latency::of(&arrived(&now, &now)), None, "nothing arrived");
    }

    #[test]
    fn no_more_than_a_quarter_of_an_hour_is_kept() {
        let history = History::default();
        let sample = |second: i64| Sample {
            at: Timestamp::from_second(second).unwrap(),
            seconds: 5.0,
            changes_numbered_per_second: 0.0,
            rows_applied_per_second: 0.0,
            events_acknowledged_per_second: 0.0,
            latency: None,
        };
        (0..1000).for_each(|second| history.push(sample(second)));
        let kept = history.after(None);
        assert_eq!((kept.len(), kept.last()), (KEPT, Some(&sample(999))));
        assert_eq!(history.after(Some(Timestamp::from_second(997).unwrap())).len(), 2);
        assert_eq!(KEPT as u64 * EVERY.as_secs(), 900);
    }
}
