//! What a stranger can do: whoever has a tenant's database, its name, a client without a token, or
//! a file where the daemon looks for one. docs/security.md has the table that these tests hold.

#![allow(clippy::unwrap_used)]

mod durations;
mod files;
mod foreign_text;
mod newcomers;
mod probes;
mod requests;
mod secrets;
mod servers;

use offtake_tests::World;

/// Exit code, and everything that `offtake` printed, with these arguments.
async fn offtake(world: &World, arguments: &[&str]) -> (i32, String) {
    let output = world.offtake(arguments).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = text(&output.stdout) + &text(&output.stderr);
    assert!(!told.contains("panicked"), "{arguments:?}: {told}");
    (output.status.code().unwrap(), told)
}
