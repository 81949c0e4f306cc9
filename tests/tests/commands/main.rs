//! Commands that operators type, against a running daemon. Both are the real binary.

#![allow(clippy::unwrap_used)]

mod forget;
mod http;
mod mended;
mod names;
mod output;
mod purge;
mod quarantine;
mod repair;
mod resync;
mod status;
mod stopping;

use offtake_tests::World;

/// Exit code, standard output and standard error of `offtake` with these arguments.
async fn offtake(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let output = world.offtake(arguments).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (code, told, complained) =
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr));
    assert!(
        !complained.contains("panicked") && !complained.contains("stack backtrace"),
        "{complained}"
    );
    (code, told, complained)
}

/// The same, but the command must succeed. Returns standard output.
async fn done(world: &World, arguments: &[&str]) -> String {
    let (code, told, complained) = offtake(world, arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {told}{complained}");
    told
}
