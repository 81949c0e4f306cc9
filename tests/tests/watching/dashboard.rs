//! Grafana's dashboard: every query of it is run by a real Prometheus over a daemon at work, and
//! returns numbers. The same daemon is well, so no alert fires.

use std::time::Duration;

use offtake_tests::prometheus::{Job, Prometheus, installed};
use offtake_tests::receiver::Receiver;
use offtake_tests::{World, until};
use serde_json::{Value, json};

use super::alerts::hurried;
use super::read;

const JOB: &str = "offtake-acme";
/// What Grafana would make of `$__rate_interval` for a scrape each second.
const RATE_INTERVAL: &str = "10s";
/// Two scrapes, and what happens between them.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/offtake.json")).expect("the dashboard is JSON")
}

/// Title and query of each target of each panel.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().expect("a list of panels");
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().expect("a panel has a title").to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| {
            (title.clone(), target["expr"].as_str().expect("a query").to_owned())
        })
    };
    panels.iter().flat_map(of_panel).collect()
}

#[test]
fn no_panel_lies_on_another_and_each_has_a_query() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("a list of panels");
    let place = |panel: &Value| {
        let at = |side: &str| panel["gridPos"][side].as_u64().expect("a number");
        (at("x"), at("y"), at("x") + at("w"), at("y") + at("h"))
    };
    for (at, panel) in panels.iter().enumerate() {
        let (left, top, right, bottom) = place(panel);
        assert!(right <= 24, "{} is too wide", panel["title"]);
        for other in &panels[..at] {
            let (l, t, r, b) = place(other);
            let apart = left >= r || l >= right || top >= b || t >= bottom;
            assert!(apart, "{} lies on {}", panel["title"], other["title"]);
        }
        let queries = panel["targets"].as_array().map_or(0, Vec::len);
        assert!(panel["type"] == "row" || queries > 0, "{} shows nothing", panel["title"]);
    }
}

#[tokio::test]
async fn every_query_of_the_dashboard_has_data_and_a_healthy_daemon_raises_no_alert() {
    let Some(_) = installed("prometheus") else { return };
    let mut world = World::with_tenants(["acme"])
        .setting("/audit", json!({ "period": "1s" }))
        .setting("/stores", json!({ "disk": { "kind": "disk", "path": "files" } }))
        .setting("/exports", json!({ "store": "disk" }))
        .await;
    let receiver = Receiver::start().await;
    world.add_webhook("acme", &receiver, json!({}));
    let daemon = world.daemon().await;
    world.fill(10).await;
    let jobs = [Job { name: JOB, ports: vec![daemon.port()], slow: false }];
    let prometheus = Prometheus::start(&jobs, &hurried()).await.expect("it is installed");

    let dashboard = dashboard();
    let job = &dashboard["templating"]["list"][1]["query"]["query"];
    assert_eq!(job, "label_values(offtake_build_info, job)");
    let queries = queries(&dashboard);
    assert!(queries.len() > 40, "only {} queries were found", queries.len());
    until("every query has data", SHOWN_WITHIN, async || {
        world.source.execute("update project_user set display_name = display_name || '!'").await;
        let tenant = world.id("acme");
        world.succeed(&["export", "create", "--tenant", tenant, "--format", "csv", "--wait"]).await;
        let mut without = Vec::new();
        for (title, query) in &queries {
            let query = query.replace("$__rate_interval", RATE_INTERVAL).replace("$job", JOB);
            assert!(!query.contains('$'), "{title}: {query}");
            let shown = prometheus.query(&query).await;
            if !shown.iter().any(|sample| sample.value.is_finite()) {
                without.push(format!("{title}: {query}"));
            }
        }
        if without.is_empty() { Ok(()) } else { Err(without.join("\n")) }
    })
    .await;
    assert_eq!(prometheus.label_values("offtake_build_info", "job").await, [JOB]);
    world.wait_in_step().await;
    // Rates and waits that the load has left behind are over after a moment.
    until("no alert fires", SHOWN_WITHIN, async || match prometheus.firing().await {
        firing if firing.is_empty() => Ok(()),
        firing => Err(format!("{firing:?}")),
    })
    .await;
    daemon.stop().await;
}
