//! Remedies of commands and of the daemon that are no statements: each is followed, and then the
//! command that was refused ends well.

use offtake_tests::printed::{between, remedy};
use offtake_tests::samples::TEAMS;
use offtake_tests::{PATIENCE, World, until};
use serde_json::json;

/// Exit code, and standard error.
async fn offtake(world: &World, arguments: &[&str]) -> (i32, String) {
    super::told(&world.offtake(arguments).await)
}

#[tokio::test]
async fn a_command_that_needs_a_daemon_says_so_and_works_once_one_runs() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let id = world.id("acme");
    let (code, told) = offtake(&world, &["sync", "--tenant", id]).await;
    assert!(code == 2 && remedy(&told).contains("start `offtake run`"), "{told}");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.succeed(&["sync", "--tenant", id]).await;
    daemon.stop().await;
    world.fill(5).await;
    // The changes have no number yet, and a re-copy is not begun.
    for command in ["sync", "resync"] {
        let (code, told) = offtake(&world, &[command, "--tenant", id, "--wait", "200ms"]).await;
        assert!([1, 4].contains(&code), "{command}: {told}");
        assert!(remedy(&told).starts_with("see that `offtake run` is running"), "{told}");
    }
    let daemon = world.daemon().await;
    world.succeed(&["sync", "--tenant", id, "--wait", "30s"]).await;
    world.succeed(&["resync", "--tenant", id, "--wait", "30s"]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_replaced_by_another() {
    let mut world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let mut first = world.daemon().await;
    let taken = format!("127.0.0.1:{}", first.port());
    for setting in ["listen", "probes"] {
        world.configure(|c| c["http"][setting] = taken.clone().into());
        let (code, told) = offtake(&world, &["run"]).await;
        assert!(code == 1 && told.contains(&format!("cannot listen on {taken}")), "{told}");
        let named = between(remedy(&told), "choose another ", ",").to_owned();
        assert_eq!(named, format!("http.{setting}"));
        world.configure(|c| c["http"][setting] = "127.0.0.1:0".into());
        let ready = world.spawn_daemon(&[]);
        ready.wait_logged("ready").await;
        drop(ready);
    }
    // Or what listens there is stopped.
    world.configure(|c| c["http"] = json!({ "listen": taken }));
    let (_, told) = offtake(&world, &["run"]).await;
    assert!(remedy(&told).contains("or stop what listens there"), "{told}");
    first.terminate();
    // It keeps the port from other tests until it is dropped.
    assert!(first.wait_exit(PATIENCE).await.success());
    let second = world.spawn_daemon(&[]);
    second.wait_logged("ready").await;
}

#[tokio::test]
async fn a_query_of_destinations_is_written_as_its_message_says() {
    let mut world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let (id, url) = (world.id("acme").to_owned(), world.tenant("acme").destination.url());
    world.configure(|c| c["destinations"] = json!({ "query": "delete from tenancy" }));
    let (code, told) = offtake(&world, &["verify"]).await;
    assert!(code == 78 && told.contains("destinations.query cannot be used"), "{told}");
    let columns = between(remedy(&told), "it must be one SELECT that returns ", "\n");
    assert_eq!(columns, "tenant_id, name and url");
    let query = format!("select '{id}' as tenant_id, 'main' as name, '{url}' as url");
    world.configure(|c| c["destinations"] = json!({ "query": query }));
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_name_that_is_suggested_is_one_that_is_known() {
    let mut world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let id = world.id("acme").to_owned();
    let nearly = format!("{}0", &id[..id.len() - 1]);
    for (command, wrong) in [
        (&["status", "--tenant"][..], nearly.as_str()),
        (&["preview", "--changed", "--tenant"], nearly.as_str()),
        (&["verify", "--mapping"], "team"),
        (&["preview", "--tenant", &id, "--mapping"], "team"),
        (&["resync", "--tenant", &id, "--mapping"], "team"),
        (&["sync", "--tenant", &id, "--destination"], "mian"),
        (&["fuse", "on"], "sequencr"),
        (&["fuse", "on"], "mapping:team"),
    ] {
        let (code, told) = offtake(&world, &[command, &[wrong]].concat()).await;
        assert_eq!(code, 2, "{command:?}: {told}");
        let meant = between(remedy(&told), "did you mean ", "?").to_owned();
        world.succeed(&[command, &[meant.as_str()]].concat()).await;
    }
    // A tenant that its type does not read is given as the status names it.
    let preview = ["preview", "--mapping", "teams", "--tenant"];
    let (code, told) = offtake(&world, &[&preview[..], &["acme"]].concat()).await;
    assert!(code == 2 && remedy(&told).contains("as `offtake status`"), "{told}");
    let status = world.succeed(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let named = status["destinations"][0]["tenant"].as_str().unwrap();
    world.succeed(&[&preview[..], &[named]].concat()).await;
    // `static` has a mapping that is not there.
    world.configure(|c| c["destinations"]["static"][0]["mappings"] = json!(["team"]));
    let (code, told) = offtake(&world, &["check"]).await;
    assert_eq!(code, 78, "{told}");
    let known = between(remedy(&told), "the mappings are ", "\n").to_owned();
    world.configure(|c| c["destinations"]["static"][0]["mappings"] = json!([known]));
    world.succeed(&["check"]).await;
    daemon.stop().await;
}

/// The source is not there, its user may not log in, or the database has another name: what the
/// message points at is put right.
#[tokio::test]
async fn a_source_that_cannot_be_used_is_found_where_the_message_points() {
    let mut world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let right = world.source.url();
    let name = world.source.name().to_owned();
    let port = right.rsplit_once(&format!("/{name}")).unwrap().0.rsplit_once(':').unwrap().1;
    for (wrong, code, says) in [
        (right.replace(&format!(":{port}/"), ":1/"), 69, "check source.url"),
        (right.replace(&name, "nowhere"), 1, "check the database's name at the end of source.url"),
        (
            right.replace("postgres://postgres", "postgres://nobody_there"),
            1,
            "check user and password",
        ),
    ] {
        world.configure(|c| c["source"]["url"] = wrong.clone().into());
        let (found, told) = offtake(&world, &["status"]).await;
        assert_eq!(found, code, "{wrong}: {told}");
        assert!(remedy(&told).starts_with(says), "{wrong}: {told}");
        world.configure(|c| c["source"]["url"] = right.clone().into());
        world.succeed(&["status"]).await;
    }
    let daemon = world.daemon().await;
    until("the daemon works", PATIENCE, async || {
        let told = world.told(&daemon, "acme").await;
        if told["state"] == "in_sync" { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    daemon.stop().await;
}
