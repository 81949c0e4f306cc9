//! `deploy/docker-compose.yml`, what it mounts, and `tests/compose/run`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use offtake_tests::Source;
use serde_json::Value;

use crate::{command, configuration, read, root, texts, yaml};
use offtake_tests::tools::{on_path, python, said, succeed};

const FILE: &str = "deploy/docker-compose.yml";

fn composition() -> Value {
    yaml(&read(FILE)).remove(0)
}

/// The text with each `${NAME:-default}` replaced by its default.
fn with_defaults(text: &str) -> String {
    let mut parts = text.split("${");
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (reference, rest) = part.split_once('}').expect("it is closed");
        let (_, default) = reference.split_once(":-").expect("every variable has a default");
        replaced = replaced + default + rest;
    }
    replaced
}

/// Alerts and dashboard come with their page; before that, the Compose file is not complete.
fn alerts_are_here() -> bool {
    let here = root().join("docs/alerts.md").is_file();
    if !here {
        eprintln!("skipped: there are no alerts yet, nor their page docs/alerts.md");
    }
    here
}

fn variables(service: &Value) -> BTreeMap<String, String> {
    let environment = service["environment"].as_object().expect("names and values");
    let value = |value: &Value| with_defaults(value.as_str().expect("a text"));
    environment.iter().map(|(name, text)| (name.clone(), value(text))).collect()
}

#[test]
fn the_compose_file_fits_the_schema_of_compose() {
    let Some(mut check) = python("check_jsonschema") else { return };
    check.args(["--builtin-schema", "vendor.compose-spec"]).arg(root().join(FILE));
    succeed(&mut check);
    // The check can fail.
    let broken = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    std::fs::write(broken.path(), read(FILE).replace("restart: unless-stopped", "restart: [1]"))
        .unwrap();
    let mut check = python("check_jsonschema").unwrap();
    check.args(["--builtin-schema", "vendor.compose-spec"]).arg(broken.path());
    assert!(!check.output().unwrap().status.success());
}

#[test]
fn what_the_compose_file_says_of_the_daemon_is_true() {
    let composition = composition();
    let daemon = &composition["services"]["offtake"];
    let found = configuration("deploy/compose/offtake.yaml", &variables(daemon));
    // The port for operators is published on loopback only; Prometheus scrapes the port for probes.
    let ports = texts(&daemon["ports"]);
    assert_eq!(found.http.listen.port(), 8080);
    assert!(ports[0].starts_with("127.0.0.1:") && ports[0].ends_with(":8080"), "{ports:?}");
    let probes = found.http.probes.expect("the file has them").port();
    let prometheus = &yaml(&read("deploy/prometheus/prometheus.yml"))[0];
    let target = &prometheus["scrape_configs"][0]["dns_sd_configs"][0];
    assert_eq!(
        (target["port"].as_u64(), texts(&target["names"])),
        (Some(probes.into()), vec!["offtake"])
    );
    // The customers' network may be dialled.
    let network = &composition["networks"]["default"]["ipam"]["config"][0]["subnet"];
    let allowed: Vec<String> =
        found.security.allow_destinations.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, [network.as_str().unwrap()]);
    assert_eq!(daemon["deploy"]["replicas"], 2);
    assert_eq!(daemon["read_only"], true);
    // What is typed at containers.
    command(&texts(&composition["services"]["init"]["command"]));
    let check = texts(&daemon["healthcheck"]["test"]);
    assert_eq!(check[..2], ["CMD", "/usr/bin/offtake"]);
    command(&check[2..]);
    // A stop waits for the daemon's own grace.
    let grace = daemon["stop_grace_period"].as_str().unwrap().trim_end_matches('s');
    assert!(grace.parse::<u64>().unwrap() > offtake::daemon::GRACE.as_secs() + 5);
}

/// What is mounted is in the repository; a folder that docker makes instead would be empty.
#[test]
fn every_file_that_the_compose_file_mounts_exists() {
    let composition = composition();
    let (named, mut mounted) = (composition["volumes"].as_object().unwrap(), BTreeSet::new());
    for (service, settings) in composition["services"].as_object().unwrap() {
        let Some(volumes) = settings["volumes"].as_array() else { continue };
        for volume in volumes {
            let (from, _) = volume.as_str().unwrap().split_once(':').unwrap();
            let exists = named.contains_key(from) || root().join("deploy").join(from).exists();
            let of_alerts = from.ends_with("rules.yml") || from.ends_with("offtake.json");
            assert!(exists || of_alerts && !alerts_are_here(), "{service}: {from}");
            mounted.insert(from.to_owned());
        }
    }
    assert!(mounted.len() > 10, "{mounted:?}");
}

/// Nothing is published to other machines, and every image can be another one.
#[test]
fn the_compose_file_publishes_to_this_machine_only_and_names_images_by_variables() {
    for (service, settings) in composition()["services"].as_object().unwrap() {
        let image = settings["image"].as_str().unwrap();
        assert!(image.starts_with("${") && image.contains("_IMAGE:-"), "{service}: {image}");
        for port in settings["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{service}: {port}");
        }
    }
}

/// The trial's own SQL, on a real server: its tenants are those of the configuration, and its writer
/// can write again and again.
#[tokio::test]
async fn the_sql_of_the_compose_file_runs() {
    let source = Source::application().await;
    source.execute(&read("deploy/compose/tenants.sql")).await;
    let daemon = &composition()["services"]["offtake"];
    let found = configuration("deploy/compose/offtake.yaml", &variables(daemon));
    let mut named: Vec<String> =
        found.destinations.static_.iter().map(|d| d.tenant.clone()).collect();
    named.sort();
    let there = "select string_agg(id::text, ',' order by id::text) from tenancy";
    assert_eq!(source.query_text(there).await, named.join(","));
    let text = read("deploy/compose/write.sql");
    let (statement, interval) = text.split_once("\\watch").expect("psql repeats it");
    assert!(interval.trim().parse::<f64>().unwrap() > 0.0);
    let users = "select count(*) from project_user";
    let before = source.query_text(users).await;
    let versions =
        "select string_agg(md5(u::text), '' order by project_user_id) from project_user u";
    let was = source.query_text(versions).await;
    for _ in 0..50 {
        source.execute(statement).await;
    }
    assert_ne!(source.query_text(versions).await, was);
    // As many leave as sign up.
    let (before, after): (i64, i64) =
        (before.parse().unwrap(), source.query_text(users).await.parse().unwrap());
    assert!((before - after).abs() <= 5, "{before}, then {after}");
}

#[test]
fn the_end_to_end_script_says_where_no_engine_is() {
    let mut run = Command::new(root().join("tests/compose/run"));
    run.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = run.output().unwrap();
    let (told, complained) = said(&output);
    assert_eq!(output.status.code(), Some(77), "{told}{complained}");
    assert!(complained.starts_with("skipped: ") && complained.lines().count() == 1, "{complained}");
}

#[test]
fn alertmanager_accepts_its_configuration() {
    let Some(mut amtool) = on_path("amtool") else { return };
    amtool.arg("check-config").arg(root().join("deploy/prometheus/alertmanager.yml"));
    succeed(&mut amtool);
}

#[test]
fn prometheus_accepts_its_configuration() {
    let Some(mut promtool) = on_path("promtool") else { return };
    if !alerts_are_here() {
        return;
    }
    promtool.args(["check", "config"]).arg(root().join("deploy/prometheus/prometheus.yml"));
    succeed(&mut promtool);
}
