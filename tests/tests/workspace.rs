//! The shape of the workspace: `{mapping, egress} ← postgres ← loops ← {sequencer, poller, sync,
//! admin} ← offtake`. `capture` is no loop and stands on `postgres`; `private_server` stands alone.
//!
//! The loops hand over to each other through committed rows only; a dependency between two of their
//! crates would be the first step to a call. The same list is in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Crate → the crates of this workspace that it may use.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("offtake-mapping", &[]),
    ("offtake-egress", &[]),
    ("offtake-postgres", &["offtake-mapping", "offtake-egress"]),
    ("offtake-loops", &["offtake-postgres"]),
    ("offtake-capture", &["offtake-mapping", "offtake-postgres"]),
    ("offtake-sequencer", BELOW_A_LOOP),
    ("offtake-poller", BELOW_A_LOOP),
    ("offtake-sync", BELOW_A_LOOP),
    ("offtake-admin", BELOW_A_LOOP),
    ("offtake-private-server", &[]),
    ("offtake", EVERY_CRATE),
    ("offtake-tests", EVERY_CRATE),
];

const BELOW_A_LOOP: &[&str] = &["offtake-mapping", "offtake-postgres", "offtake-loops"];

const EVERY_CRATE: &[&str] = &[
    "offtake-mapping",
    "offtake-egress",
    "offtake-postgres",
    "offtake-loops",
    "offtake-capture",
    "offtake-sequencer",
    "offtake-poller",
    "offtake-sync",
    "offtake-admin",
    "offtake-private-server",
    "offtake",
];

/// `offtake-mapping` is pure: with none of these it cannot wait for anything.
const NO_IO: [&str; 4] = ["tokio", "tokio-postgres", "tokio-util", "axum"];

/// `offtake-egress` dials for all of them.
const PROTOCOLS: [&str; 5] =
    ["tokio-postgres", "tokio-postgres-rustls", "hyper", "hyper-util", "reqwest"];

#[test]
fn crates_depend_on_each_other_only_as_designed() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into();
    let packages = packages();
    let names: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        allowed.keys().copied().collect(),
        "a crate was added or removed: say in design, ARCHITECTURE.md and here what it may use"
    );

    let mut refused = Vec::new();
    for (name, dependencies) in &packages {
        for dependency in dependencies.iter().filter(|d| names.contains(d.as_str())) {
            if !allowed[name.as_str()].contains(&dependency.as_str()) {
                refused.push(format!("{name} -> {dependency}"));
            }
        }
    }
    assert!(refused.is_empty(), "edges that the design does not have: {refused:?}");
}

#[test]
fn the_mapping_crate_has_no_runtime() {
    let found = dependencies_among("offtake-mapping", &NO_IO);
    assert!(found.is_empty(), "offtake-mapping is pure, yet it depends on {found:?}");
}

#[test]
fn the_egress_crate_knows_no_protocol() {
    let found = dependencies_among("offtake-egress", &PROTOCOLS);
    assert!(found.is_empty(), "offtake-egress is for every protocol, yet it depends on {found:?}");
}

fn dependencies_among(package: &str, names: &[&str]) -> Vec<String> {
    let found = |dependency: &&String| names.contains(&dependency.as_str());
    packages()[package].iter().filter(found).cloned().collect()
}

/// The documents name tests as what holds a promise; a name that is no test holds nothing. Names of
/// four words or more are taken for tests: nothing else in these documents has such a name.
#[test]
fn every_test_that_the_documents_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository");
    let mut tests = BTreeSet::new();
    for folder in ["crates", "tests"] {
        collect_tests(&root.join(folder), &mut tests);
    }
    let (mut named, mut missing) = (0, Vec::new());
    for document in ["docs/safety.md", "ARCHITECTURE.md"] {
        let text = std::fs::read_to_string(root.join(document)).expect("the document is there");
        for name in text.split('`').skip(1).step_by(2).filter(|name| could_be_a_test(name)) {
            named += 1;
            let exists = match name.strip_suffix('*') {
                Some(beginning) => tests.iter().any(|test| test.starts_with(beginning)),
                None => tests.contains(name),
            };
            if !exists {
                missing.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(named > 200, "only {named} names were found");
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}

fn could_be_a_test(name: &str) -> bool {
    name.matches('_').count() >= 3
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_*".contains(c))
}

/// The functions below a folder that are marked as tests.
fn collect_tests(folder: &Path, tests: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect_tests(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            for marked in text.split("#[test]").skip(1).chain(text.split("#[tokio::test").skip(1)) {
                let name = marked.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
                tests.extend(name.map(|(name, _)| name.to_owned()));
            }
        }
    }
}

/// Every package of the workspace with the names of all it depends on, for whatever purpose.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            (
                text(&package["name"]),
                list(&package["dependencies"]).iter().map(|d| text(&d["name"])).collect(),
            )
        })
        .collect()
}
