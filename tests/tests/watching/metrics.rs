//! The metrics of a real daemon are what the list says, and what Prometheus's own tool expects.

use std::collections::BTreeMap;

use offtake_loops::metrics::{METRICS, Metric, Of};
use offtake_tests::prometheus::promtool;
use offtake_tests::receiver::Receiver;
use offtake_tests::{PATIENCE, World, until};
use serde_json::json;

use super::{metric_of, repository};

/// Everything that has a label has all of its values, and nothing else is exported: so the number of
/// series is the one that docs/metrics.md states.
#[tokio::test]
async fn a_scrape_has_exactly_the_series_of_the_list() {
    let plan = World::with_tenants(["acme"]).setting("/audit", json!({ "period": "1s" }));
    let mut world = plan.await;
    let receiver = Receiver::start().await;
    world.add_webhook("acme", &receiver, json!({}));
    world.configure(|c| {
        c["stores"] = json!({ "disk": { "kind": "disk", "path": "files" } });
        c["exports"] = json!({ "store": "disk" });
    });
    let daemon = world.daemon().await;
    world.fill(10).await;
    world.wait_in_step().await;
    let export = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--wait"];
    world.succeed(&export).await;
    let exported = |metric: &&Metric| matches!(metric.of, Of::Daemon | Of::Source | Of::Process);
    let wanted: BTreeMap<&str, usize> =
        METRICS.iter().filter(exported).map(|metric| (metric.name, metric.series())).collect();
    let scrape = until("every series of the list is there", PATIENCE, async || {
        // A latency is only measured where there is a change.
        world.source.execute("update project_user set display_name = display_name || '!'").await;
        let (_, text) = daemon.get("/metrics").await;
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            *found.entry(metric_of(name)).or_default() += 1;
        }
        if found == wanted {
            return Ok(text.clone());
        }
        let differ = |(name, count): (&&str, &usize)| {
            let found = found.get(name).copied().unwrap_or_default();
            (found != *count).then(|| format!("{name}: {found} of {count}"))
        };
        let unknown: Vec<_> = found.keys().filter(|name| !wanted.contains_key(*name)).collect();
        Err(format!(
            "{:?}, unknown: {unknown:?}",
            wanted.iter().filter_map(differ).collect::<Vec<_>>()
        ))
    })
    .await;
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let metric = METRICS.iter().find(|metric| metric.name == metric_of(name));
        let metric = metric.expect("it was found above");
        let labels = rest.split_once('}').expect("labels end").0.split(',');
        for label in labels.filter(|label| !label.starts_with("le=")) {
            let (name, value) = label.split_once('=').expect("a label has a value");
            let known = metric.labels.iter().find(|label| label.name == name);
            let known = known.unwrap_or_else(|| panic!("{line}: the list has no such label"));
            let value = value.trim_matches('"');
            assert!(known.values.is_empty() || known.values.contains(&value), "{line}");
        }
    }
    if let Some(checked) = promtool(&["check", "metrics"], &repository("deploy"), &scrape) {
        assert_eq!(checked, Ok(()));
    }
    daemon.stop().await;
}
