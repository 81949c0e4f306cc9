//! Unknown names: exit code 2, and the nearest known name as a suggestion.

use offtake_tests::World;

use super::{done, offtake};

#[tokio::test]
async fn unknown_names_are_answered_with_the_nearest() {
    let world = World::with_tenants(["acme"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let id = world.id("acme");
    let nearly = format!("{}0", &id[..id.len() - 1]);
    let check = async |arguments: &[&str], expect: &str| {
        let (code, told, complained) = offtake(&world, arguments).await;
        assert!(
            code == 2 && complained.contains(expect),
            "{arguments:?}: {code} {told}{complained}"
        );
    };
    let meant = format!("did you mean {id}?");
    for command in [
        &["pause", "--reason", "r"][..],
        &["resume"],
        &["resync"],
        &["resync", "--drop"],
        &["sync"],
        &["status"],
        &["verify"],
    ] {
        check(&[command, &["--tenant", &nearly]].concat(), &meant).await;
    }
    check(&["resync", "--tenant", id, "--mapping", "user"], "did you mean users?").await;
    check(&["verify", "--mapping", "user"], "did you mean users?").await;
    check(&["quarantine", "list", "--mapping", "user"], "did you mean users?").await;
    check(
        &["pause", "--tenant", id, "--destination", "mian", "--reason", "r"],
        "did you mean main?",
    )
    .await;
    check(&["fuse", "off", "sequencr", "--reason", "r"], "did you mean sequencer?").await;
    check(&["fuse", "off", "mapping:user", "--reason", "r"], "did you mean mapping:users?").await;
    check(&["fuse", "on", "nothing:at:all"], "fuses are sequencer").await;
    check(&["pause", "--tenant", id], "--reason").await;
    check(&["pause", "--tenant", id, "--reason", " "], "one line").await;
    check(&["fuse", "off", "sync", "--reason", "r", "--for", "30"], "unit").await;
    assert!(done(&world, &["status", "--tenant", id]).await.contains("in sync"));
    daemon.stop().await;
}
