//! The shape of the workspace: `mapping ← postgres ← {capture, sequencer, poller, sync, admin} ← offtake`.
//!
//! The loops hand over to each other through committed rows only; a dependency between two of their crates would be the
//! first step to a call. The same list is in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Crate → the crates of this workspace that it may use.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("offtake-mapping", &[]),
    ("offtake-postgres", &["offtake-mapping"]),
    ("offtake-capture", ON_TOP_OF_POSTGRES),
    ("offtake-sequencer", ON_TOP_OF_POSTGRES),
    ("offtake-poller", ON_TOP_OF_POSTGRES),
    ("offtake-sync", ON_TOP_OF_POSTGRES),
    ("offtake-admin", ON_TOP_OF_POSTGRES),
    ("offtake", EVERY_CRATE),
    ("offtake-tests", EVERY_CRATE),
];

const ON_TOP_OF_POSTGRES: &[&str] = &["offtake-mapping", "offtake-postgres"];

const EVERY_CRATE: &[&str] = &[
    "offtake-mapping",
    "offtake-postgres",
    "offtake-capture",
    "offtake-sequencer",
    "offtake-poller",
    "offtake-sync",
    "offtake-admin",
    "offtake",
];

/// `offtake-mapping` is pure: with none of these it cannot wait for anything.
const NO_IO: [&str; 4] = ["tokio", "tokio-postgres", "tokio-util", "axum"];

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
    let found: Vec<_> = packages()["offtake-mapping"].iter().filter(|d| NO_IO.contains(&d.as_str())).cloned().collect();
    assert!(found.is_empty(), "offtake-mapping is pure, yet it depends on {found:?}");
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
        .map(|package| (text(&package["name"]), list(&package["dependencies"]).iter().map(|d| text(&d["name"])).collect()))
        .collect()
}
