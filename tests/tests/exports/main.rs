//! `offtake export`: a tenant's rows as files, by the real binary, read by other programs.

#![allow(clippy::unwrap_used)]

mod buckets;
mod callbacks;
mod daemons;
mod dashboard;
mod formats;
mod handoff;
mod http;
mod interrupted;
mod object_stores;
mod readers;
mod settling;
mod surface;

use std::path::{Path, PathBuf};
use std::process::Command;

use offtake_tests::World;
use offtake_tests::tools::succeed;
use serde_json::Value;

/// The folder that an export of the world goes to.
fn folder(world: &World, name: &str) -> PathBuf {
    world.folder().join(name)
}

/// Runs `offtake export create` for the tenant acme into a folder of that name. Returns what
/// `--json` says of the export in the end.
async fn create(world: &World, format: &str, name: &str, more: &[&str]) -> Value {
    let to = folder(world, name);
    let mut arguments = vec!["export", "create", "--tenant", world.id("acme"), "--format", format];
    arguments.extend(["--json", "--to", to.to_str().unwrap()]);
    arguments.extend(more);
    let told = world.succeed(&arguments).await;
    serde_json::from_str(told.lines().last().unwrap()).unwrap()
}

/// What `gzip` makes of a file: every member of it.
fn unzipped(file: &Path) -> String {
    succeed(Command::new("gzip").arg("-dc").arg(file)).0
}

/// Runs psql with this input at a database, which ends with the first error.
fn psql(url: &str, input: &[&str]) -> String {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", url]);
    input.iter().for_each(|part| {
        command.arg(if Path::new(part).is_file() { "-f" } else { "-c" }).arg(part);
    });
    succeed(&mut command).0
}
