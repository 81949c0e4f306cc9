//! The alerts by themselves: promtool runs their tests, and each leads to what must be done.

use std::collections::BTreeSet;
use std::process::Command;

use offtake_loops::metrics::METRICS;
use offtake_tests::binary;
use offtake_tests::prometheus::promtool;
use serde_json::Value;

use super::{metric_of, metrics_named_in, read, repository};

/// `deploy/prometheus/rules.yml`.
pub(crate) fn rules() -> Value {
    serde_yaml::from_str(&read("deploy/prometheus/rules.yml")).expect("the rules are YAML")
}

/// Where `offtake alerts` is told that operators keep `docs/alerts.md`.
pub(crate) const RUNBOOKS: &str = "https://wiki.example.com/offtake?page=alerts";

/// What `offtake alerts` prints, with links to [`RUNBOOKS`].
pub(crate) fn printed() -> Value {
    serde_yaml::from_str(&printed_with(&[])).expect("the rules are YAML")
}

fn printed_with(arguments: &[&str]) -> String {
    let mut command = Command::new(binary("offtake"));
    let output = command.args(["alerts", "--runbooks", RUNBOOKS]).args(arguments).output();
    let output = output.expect("offtake starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints UTF-8")
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

/// The links of the committed rules: to an address that is nobody's.
const NOBODYS: &str = "https://offtake.example/docs/alerts.md";

/// The program prints the committed rules, and only their links differ.
#[test]
fn the_printed_rules_are_the_committed_ones_with_links_of_the_operator_s() {
    let committed = read("deploy/prometheus/rules.yml").replace(NOBODYS, RUNBOOKS);
    let committed: Value = serde_yaml::from_str(&committed).expect("the rules are YAML");
    assert_eq!(printed(), committed);
    assert!(!printed_with(&[]).contains("offtake.example"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("rules.yml"), printed_with(&[])).expect("it is written");
    if let Some(checked) = promtool(&["check", "rules", "rules.yml"], folder.path(), "") {
        checked.unwrap_or_else(|said| panic!("{said}"));
    }
    // The same for the Prometheus operator.
    let rule: Value = serde_yaml::from_str(&printed_with(&["--kubernetes"])).expect("it is YAML");
    assert_eq!(
        (&rule["apiVersion"], &rule["kind"], &rule["spec"]),
        (&"monitoring.coreos.com/v1".into(), &"PrometheusRule".into(), &committed)
    );
    assert_eq!(rule["metadata"]["name"], "offtake");
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
        let link = format!("{NOBODYS}#{}", name.to_lowercase());
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
