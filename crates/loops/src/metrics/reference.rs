//! The page about the metrics, `docs/metrics.md`, made from the list.

use super::{METRICS, Metric, Of};

/// Whose values a section has, its heading, and what holds for all of them.
const SECTIONS: [(Of, &str, &str); 4] = [
    (
        Of::Daemon,
        "What a daemon counts",
        "Each daemon counts its own work since its start. With several daemons, add the counters up:\n\
         `sum by (job, namespace) (rate(offtake_rows_applied_total[5m]))`.\n",
    ),
    (
        Of::Source,
        "What the source holds",
        "Read from the source when a scraper asks, at most once a second. Every daemon exports the same\n\
         values, so take the greatest: `max by (job, namespace) (offtake_oldest_due_age_seconds)`. While\n\
         the source does not answer, the values stay what they were, and\n\
         `offtake_source_read_timestamp_seconds` says since when.\n",
    ),
    (
        Of::Destination,
        "The worst destinations",
        "Only with [`metrics.tenants`](configuration.md#metrics), such as `worst-20`: of that many\n\
         destinations, those that lag longest first. A destination that is in sync has no series. Tenants'\n\
         ids are told only to a scraper that shows `http.read_token` or `http.admin_token`, or, without\n\
         tokens, to one that asks for a loopback name. `http.probes` never tells them.\n",
    ),
    (
        Of::Process,
        "What the system says of the process",
        "On Linux, under the names that all Prometheus clients use.\n",
    ),
];

/// `docs/metrics.md`.
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         <!-- Made from crates/loops/src/metrics/catalogue.rs by a test; see CONTRIBUTING.md. -->\n\n\
         `GET /metrics` at `http.listen`, and at `http.probes` where that is set, answers in the\n\
         Prometheus text format. [alerts.md](alerts.md) has the alerts that are made of these metrics,\n\
         and `deploy/grafana/offtake.json` is a dashboard of them.\n\n\
         ```yaml\n\
         scrape_configs:\n\
         \x20 - job_name: offtake            # one job for each source database; its name must contain offtake\n\
         \x20   static_configs: [{ targets: [\"offtake-0:8080\", \"offtake-1:8080\"] }]\n\
         rule_files: [rules.yml]          # what `offtake alerts` prints\n\
         ```\n\n\
         Names follow the rules of Prometheus and OpenMetrics: base units, the unit last, `_total` for\n\
         counters. Every counter is exported from the start, as 0.\n\n",
    );
    text.push_str(&cardinality());
    for (of, heading, about) in SECTIONS {
        text.push_str(&format!("\n## {heading}\n\n{about}\n"));
        text.push_str(
            "| metric | type | unit | labels | series | meaning |\n|---|---|---|---|---|---|\n",
        );
        let rows = METRICS.iter().filter(|metric| metric.of == of).map(row);
        rows.for_each(|row| text.push_str(&row));
    }
    text
}

/// What the number of series grows with.
fn cardinality() -> String {
    let series = |of: Of| -> usize {
        METRICS.iter().filter(|metric| metric.of == of).map(Metric::series).sum()
    };
    let fixed: usize = [Of::Daemon, Of::Source, Of::Process].into_iter().map(series).sum();
    format!(
        "## How many series there are\n\n\
         A daemon exports {fixed} series, and the number of tenants, destinations, tables and mappings\n\
         does not change that: labels only have the values below. Two daemons export twice as many.\n\
         With `metrics.tenants: worst-N` there are at most N times {} more at one time. A\n\
         destination has series only while it is one of the N worst.\n",
        series(Of::Destination)
    )
}

fn row(metric: &Metric) -> String {
    let Metric { name, kind, unit, help, .. } = metric;
    let labels: Vec<String> = metric
        .labels
        .iter()
        .map(|label| match label.values {
            [] => format!("`{}`", label.name),
            values => format!("`{}`: {}", label.name, values.join(", ")),
        })
        .collect();
    let (kind, series) = (kind.as_str(), metric.series());
    format!("| `{name}` | {kind} | {unit} | {} | {series} | {help} |\n", labels.join("; "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::metrics::Kind;

    /// `OFFTAKE_WRITE_DOCS=1` writes the page.
    #[test]
    fn the_page_about_the_metrics_is_made_from_the_list() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        if std::env::var_os("OFFTAKE_WRITE_DOCS").is_some() {
            std::fs::write(&file, reference()).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == reference(),
            "docs/metrics.md is not what the list makes it\n  remedy: OFFTAKE_WRITE_DOCS=1 cargo test -p offtake-loops the_page_about_the_metrics"
        );
    }

    #[test]
    fn every_metric_is_named_once_and_by_the_rules() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let Metric { name, kind, unit, help, .. } = *metric;
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            for (of, ending) in
                [("seconds", "seconds"), ("bytes", "bytes"), ("Unix time", "seconds")]
            {
                let name = name.trim_end_matches("_total");
                assert!(unit != of || name.ends_with(ending), "{name} is in {unit}");
            }
            assert!(help.ends_with('.') && help.matches(". ").count() == 0, "{help}");
            let values = metric.labels.iter().flat_map(|label| label.values);
            assert_eq!(values.clone().collect::<BTreeSet<_>>().len(), values.count(), "{name}");
        }
    }
}
