//! What `offtake status` reports about facts that otherwise only a daemon would know.

use offtake_tests::World;
use offtake_tests::samples::TEAMS;
use serde_json::Value;

use crate::{done, offtake};

#[tokio::test]
async fn files_that_cannot_be_used_are_told_although_a_daemon_keeps_what_it_had() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    world.fill(5).await;
    world.allow("mappings_refused");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let error = async || {
        let shown: Value =
            serde_json::from_str(&done(&world, &["status", "--json"]).await).expect("JSON");
        shown["config"]["error"].clone()
    };
    assert_eq!(error().await, Value::Null);
    // A mapping with an error, a file that cannot be parsed, and a column that was renamed at the
    // source.
    for (text, expect) in [
        (
            TEAMS.replace("t.display_name", "t.display_nam"),
            "teams.yaml:3:54: the source refuses the query: column t.display_nam",
        ),
        (TEAMS.replace("query:", "qery:"), "teams.yaml:2:1: there is no key `qery` here"),
    ] {
        world.write_mapping("teams", &text);
        let told = done(&world, &["status"]).await;
        assert!(
            told.contains(expect) && told.contains("remedy: ") && told.contains("in sync"),
            "{told}"
        );
        assert!(error().await.as_str().is_some_and(|error| error.contains(expect)));
    }
    world.write_mapping("teams", TEAMS);
    assert_eq!(error().await, Value::Null);
    daemon.stop().await;
    world.source.execute("alter table team disable trigger offtake_capture_update").await;
    let told = done(&world, &["status"]).await;
    assert!(told.contains("public.team") && told.contains("run `offtake init`"), "{told}");
}

#[tokio::test]
async fn a_resync_that_waits_and_an_error_are_told_in_full() {
    let world = World::with_tenants(["acme"])
        .mappings(&[("teams", TEAMS)])
        .setting("/sync/retry/max", "500ms")
        .await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    world.fill(5).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    acme.execute("alter table teams alter column display_name type name").await;
    world.source.execute("update team set display_name = 'x'").await;
    world.wait_told(&daemon, "acme", "blocked", &["display_name"]).await;
    let told = done(&world, &["status", "--tenant", world.id("acme")]).await;
    let command = "run `alter table \"public\".\"teams\" alter column \"display_name\" type text using \"display_name\"::text` there, which keeps the values, and Offtake copies";
    assert!(
        told.lines()
            .any(|line| line.starts_with("teams: column display_name") && line.contains(command)),
        "{told}"
    );
    acme.execute("alter table teams alter column display_name type text").await;
    world.wait_in_step().await;
    daemon.stop().await;
    done(&world, &["resync", "--tenant", world.id("acme")]).await;
    let told = done(&world, &["status", "--tenant", world.id("acme")]).await;
    assert!(
        told.contains("mapping teams waits to be copied again")
            && told.contains("done, a resync waits"),
        "{told}"
    );
    done(&world, &["run", "--once"]).await;
    let told = done(&world, &["status", "--tenant", world.id("acme")]).await;
    assert!(told.contains("in sync") && !told.contains("waits"), "{told}");
}

#[tokio::test]
async fn a_tenant_that_cannot_be_one_is_told_as_that() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let (code, _, complained) =
        offtake(&world, &["preview", "--tenant", "acme", "--mapping", "teams"]).await;
    assert!(
        code == 2
            && complained
                .contains("acme cannot be a tenant: public.team names its tenants by uuid"),
        "{code} {complained}"
    );
}

#[tokio::test]
async fn an_uninstall_says_that_a_daemon_is_left_with_nothing() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    world.allow("*");
    let daemon = world.daemon().await;
    let told = done(&world, &["uninstall", "--yes"]).await;
    assert!(told.contains("a daemon is still connected: stop it"), "{told}");
    daemon.stop().await;
    // The command counts sessions of daemons.
    world.source.wait_left().await;
    assert!(!done(&world, &["uninstall", "--yes"]).await.contains("a daemon"));
}
