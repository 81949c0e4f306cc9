//! Remedies that Offtake prints, put to use: the trouble is made, the text is taken from what was
//! printed, and afterwards the trouble is gone. `docs/remedies.md` lists these tests and the others.

#![allow(clippy::unwrap_used)]

mod commands;
mod configuration;
mod connection_urls;
mod destinations;
mod first_run;
mod mapping_files;
mod mistakes;
mod places;
mod running;
mod sources;
mod webhooks;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use offtake_tests::binary;

/// Runs `offtake` in that folder, whose `offtake.yaml` it reads.
fn offtake_in(folder: &Path, variables: &BTreeMap<String, String>, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("offtake"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OFFTAKE_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).envs(variables).args(arguments);
    command.output().expect("offtake starts")
}

/// Exit code, and standard error.
fn told(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}
