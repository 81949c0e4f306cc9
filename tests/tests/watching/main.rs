//! What a platform engineer watches with: the metrics, the alerts and the dashboard, each tried by
//! the tool that it is for.

mod alerts;
mod dashboard;
mod metrics;
mod rules;
mod runbook;
mod situations;
mod tenants;
mod traces;

use std::path::{Path, PathBuf};

/// A folder or file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of Offtake's metrics in a text, as they stand there.
fn metrics_named_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("offtake_") || word.starts_with("process_"))
}

/// The name of the metric that a series belongs to.
fn metric_of(series: &str) -> &str {
    let of_histogram = |suffix: &&str| series.ends_with(suffix) && !series.ends_with("_total");
    let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|suffix| of_histogram(suffix));
    suffix.and_then(|suffix| series.strip_suffix(suffix)).unwrap_or(series)
}
