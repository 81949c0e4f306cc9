//! `offtake why` and `offtake doctor` on broken situations, made on real servers with the real
//! binary: each names the cause, and what it prints to do about it ends the trouble.

#![allow(clippy::unwrap_used)]

mod dashboard;
mod doctor;
mod surface;
mod why;

use offtake_tests::World;
use serde_json::Value;

/// Exit code and JSON of `offtake` with these arguments and `--json`.
async fn told(world: &World, arguments: &[&str]) -> (i32, Value) {
    let output = world.offtake(&[arguments, &["--json"]].concat()).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, complained) = (text(&output.stdout), text(&output.stderr));
    let json = serde_json::from_str(&printed)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {printed}{complained}"));
    (output.status.code().unwrap(), json)
}

/// Runs the command of Offtake that a remedy ends with.
async fn follow(world: &World, remedy: &str) {
    let (_, command) = remedy.rsplit_once("offtake ").unwrap_or_else(|| panic!("{remedy}"));
    let mut arguments: Vec<&str> = command.split_whitespace().collect();
    if arguments.contains(&"--repair") {
        arguments.push("--yes");
    }
    world.succeed(&arguments).await;
}
