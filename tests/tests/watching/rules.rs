//! The alerts by themselves: promtool runs their tests, and each leads to what must be done.

use std::collections::BTreeSet;

use offtake_loops::metrics::METRICS;
use offtake_tests::prometheus::promtool;
use serde_json::Value;

use super::{metric_of, metrics_named_in, read, repository};

/// `deploy/prometheus/rules.yml`.
pub(crate) fn rules() -> Value {
    serde_yaml::from_str(&read("deploy/prometheus/rules.yml")).expect("the rules are YAML")
}

/// Its alerts.
pub(crate) fn alerts_of(rules: &Value) -> &Vec<Value> {
    rules["groups"][0]["rules"].as_array().expect("a list of alerts")
}

pub(crate) fn text<'a>(rule: &'a Value, key: &str) -> &'a str {
    rule[key].as_str().unwrap_or_else(|| panic!("{rule:#} has no {key}"))
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    let folder = repository("deploy/prometheus");
    for arguments in [["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]] {
        let Some(passed) = promtool(&arguments, &folder, "") else { return };
        passed.unwrap_or_else(|said| panic!("promtool {}:\n{said}", arguments.join(" ")));
    }
}

/// Every alert leads to a heading that says what it means and what to do.
#[test]
fn every_alert_has_a_heading_and_a_test() {
    let (rules, page) = (rules(), read("docs/alerts.md"));
    let tests = read("deploy/prometheus/rules_test.yml");
    let headings: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let names: BTreeSet<&str> = alerts_of(&rules).iter().map(|rule| text(rule, "alert")).collect();
    assert_eq!(names, headings);
    for rule in alerts_of(&rules) {
        let name = text(rule, "alert");
        let annotations = &rule["annotations"];
        let link = format!("docs/alerts.md#{}", name.to_lowercase());
        assert_eq!(text(annotations, "runbook_url"), link);
        assert!(!text(annotations, "summary").is_empty(), "{name}");
        assert!(!text(annotations, "description").is_empty(), "{name}");
        let severity = text(&rule["labels"], "severity");
        assert!(["critical", "warning", "info"].contains(&severity), "{name}");
        let fires = format!("alertname: {name}\n        exp_alerts:");
        assert!(tests.contains(&fires), "rules_test.yml does not make {name} fire");
    }
}

/// An alert about a metric that is not there would never fire.
#[test]
fn alerts_and_dashboard_name_metrics_that_are_there() {
    let files = ["deploy/prometheus/rules.yml", "deploy/grafana/offtake.json", "docs/alerts.md"];
    for file in files {
        let text = read(file);
        let mut named = 0;
        for name in metrics_named_in(&text) {
            named += 1;
            let known = METRICS.iter().any(|metric| metric.name == metric_of(name));
            assert!(known, "{file}: there is no metric {name}");
        }
        assert!(named > 2, "{file}: only {named} metrics were found");
    }
}
