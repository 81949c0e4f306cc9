//! The series of the worst destinations, where an operator wants them among the metrics. A
//! destination has series only while it is one of the worst. The recorder never drops a series, so
//! these are rendered here.

use std::sync::{Arc, Mutex, PoisonError};

use offtake_loops::metrics::{self as names, METRICS, Metric, Of};

use crate::Destination;
use crate::exposition::write_metric;

/// The destinations that lag longest, as last read from the source.
#[derive(Clone)]
pub(crate) struct Worst {
    pub(crate) max: usize,
    destinations: Arc<Mutex<Vec<Destination>>>,
}

impl Worst {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, destinations: Arc::default() }
    }

    pub(crate) fn keep(&self, destinations: Vec<Destination>) {
        *self.destinations.lock().unwrap_or_else(PoisonError::into_inner) = destinations;
    }

    /// Their metrics in the Prometheus text format.
    pub(crate) fn render(&self) -> String {
        let destinations = self.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for metric in METRICS.iter().filter(|metric| metric.of == Of::Destination) {
            let of_one = |d| (labels(d), value(metric, d));
            write_metric(&mut text, metric, destinations.iter().map(of_one));
        }
        text
    }
}

/// In the order of the metric's labels.
fn labels(destination: &Destination) -> Vec<&str> {
    vec![destination.tenant.as_str(), destination.name.as_str()]
}

fn value(metric: &Metric, destination: &Destination) -> f64 {
    match metric.name {
        names::DESTINATION_LAG_CHANGES => destination.lag_rows.0 as f64,
        names::DESTINATION_FAILURES => f64::from(destination.consecutive_failures),
        _ => destination.lag_seconds,
    }
}
