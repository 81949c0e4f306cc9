//! `deploy/`: each file is checked by the tool that will read it, and against the binary that it
//! starts. A test whose tool is missing says so; `scripts/ensure-tools` installs them.

#![allow(clippy::unwrap_used)]

mod compose;
mod container;
mod guide;
mod health;
mod kubernetes;
mod notifications;
mod package;
mod previous;
mod systemd;
mod upgrades;

use std::collections::BTreeMap;
use std::path::Path;

use clap::Parser as _;
use offtake::command_line::{Command, CommandLine};
use offtake::configuration::Configuration;
use serde_json::Value;

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document of a YAML text. Anchors and merge keys are resolved.
fn yaml(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    documents
        .map(|document| {
            let mut value: serde_yaml::Value =
                serde::Deserialize::deserialize(document).expect("it is YAML");
            value.apply_merge().expect("its merge keys are mappings");
            serde_json::to_value(value).expect("YAML of text keys is JSON")
        })
        .collect()
}

/// The command that `offtake` reads from these arguments.
fn command(arguments: &[&str]) -> Command {
    let line = ["offtake"].iter().chain(arguments);
    match CommandLine::try_parse_from(line) {
        Ok(read) => read.command,
        Err(error) => panic!("offtake {}: {error}", arguments.join(" ")),
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text")).collect()
}

/// A configuration file as a daemon with these variables reads it.
fn configuration(path: &str, variables: &BTreeMap<String, String>) -> Configuration {
    let file = root().join(path);
    Configuration::parse(&file, &read(path), variables)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}
