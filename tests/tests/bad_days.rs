//! Bad days: a fault outside Offtake is reported in one clear line, with the right state or exit
//! code, and nothing is left half-done.

use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{PATIENCE, World, oracle, until};
use serde_json::Value;

/// The longest pause between retries. It is short, so that a repaired destination is retried soon,
/// no matter how many times it failed before.
const RETRY_MAX: &str = "500ms";

#[tokio::test]
async fn a_source_that_is_down_at_start_is_waited_for() {
    let world = World::with_tenants(["acme"]).private_source().mappings(&[("teams", TEAMS)]).await;
    world.allow("*");
    world.source_server().await.shut_down();
    // A command reports it at once.
    let output = world.offtake(&["status"]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(69), 3), "{stderr}");
    assert!(stderr.contains("remedy: check source.url"), "{stderr}");
    let mut daemon = world.spawn_daemon(&[]);
    until("the daemon says what it waits for", PATIENCE, async || {
        if !daemon.log().iter().any(|line| line.event == "source_unavailable") {
            return Err(daemon.log_text());
        }
        Ok(())
    })
    .await;
    // It is logged first.
    until("the probe says so too", PATIENCE, async || match daemon.get("/readyz").await {
        (503, body) if body.contains("waiting for the source") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(daemon.get("/livez").await.0, 200);
    world.source_server().await.start_again().await.expect("it starts again");
    daemon.wait_ready().await;
    world.wait_in_step().await;
    daemon.stop().await;
}

#[tokio::test]
async fn refused_credentials_and_missing_rights_block_one_destination_until_they_are_mended() {
    let mut world = World::with_tenants(["acme", "globex", "initech", "umbrella"])
        .mappings(&[("teams", TEAMS)])
        .setting("/sync/retry/max", RETRY_MAX)
        .await;
    world.fill(5).await;
    world.allow("destination_failed");
    let role = format!("weak_{}", std::process::id());
    let there = &world.tenant("globex").destination;
    there.execute(&format!("drop role if exists {role}")).await;
    there
        .execute(&format!(
            "create role {role} login; revoke connect on database {} from public",
            there.name()
        ))
        .await;
    world.reach_by("acme", |url| url.replace("postgres://postgres", "postgres://nobody_there"));
    world.reach_by("globex", |url| {
        url.replace("postgres://postgres", &format!("postgres://{role}"))
    });
    world.reach_by("umbrella", |url| url.replace("/destination_", "/nothing_"));
    let daemon = world.daemon().await;
    world.wait_told(&daemon, "acme", "blocked", &["refused credentials", "nobody_there"]).await;
    world.wait_told(&daemon, "umbrella", "blocked", &["no such database", "nothing_"]).await;
    let connect = format!(
        "grant connect on database \"{}\" to \"{role}\"",
        world.tenant("globex").destination.name()
    );
    world
        .wait_told(
            &daemon,
            "globex",
            "blocked",
            &["missing rights", "permission denied for database", &connect],
        )
        .await;
    world.tenant("globex").destination.execute(&connect).await;
    let grant = format!("grant usage, create on schema \"public\" to \"{role}\"");
    world
        .wait_told(&daemon, "globex", "blocked", &["missing rights", "permission denied", &grant])
        .await;
    world.wait_tenants_in_step(&["initech"], PATIENCE).await;
    let there = &world.tenant("globex").destination;
    there.execute(&grant).await;
    world.wait_told(&daemon, "globex", "in_sync", &[]).await;
    // `--once` reports it by its exit code.
    daemon.stop().await;
    let output = world.offtake(&["run", "--once"]).await;
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let there = &world.tenant("globex").destination;
    there.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn a_database_made_read_only_is_left_alone() {
    let world = World::with_tenants(["acme", "globex"])
        .mappings(&[("teams", TEAMS)])
        .setting("/sync/retry/max", RETRY_MAX)
        .await;
    world.fill(5).await;
    world.allow("destination_failed");
    let there = &world.tenant("acme").destination;
    let name = there.name();
    there.execute(&format!("alter database {name} set default_transaction_read_only = on")).await;
    let daemon = world.daemon().await;
    world.wait_told(&daemon, "acme", "blocked", &["read-only"]).await;
    world.wait_tenants_in_step(&["globex"], PATIENCE).await;
    assert_eq!(
        there.query_text("select count(*) from pg_tables where schemaname = 'public'").await,
        "0"
    );
    there.execute(&format!("alter database {name} reset default_transaction_read_only")).await;
    world.wait_in_step().await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_standby_is_read_only_until_it_is_promoted() {
    let world = World::with_tenants(["acme", "globex"])
        .private_destination("acme")
        .mappings(&[("teams", TEAMS)])
        .setting("/sync/retry/max", RETRY_MAX)
        .await;
    world.fill(5).await;
    world.allow("destination_failed");
    {
        let mut server = world.tenant("acme").server().await;
        server.install_file("standby.signal", b"").expect("the data folder can be written");
        server.restart().await.expect("it restarts");
    }
    let daemon = world.daemon().await;
    world.wait_told(&daemon, "acme", "blocked", &["read-only"]).await;
    world.wait_tenants_in_step(&["globex"], PATIENCE).await;
    world.tenant("acme").destination.execute("select pg_promote()").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// In the middle of a failover, the source may be a standby when the daemon starts. An earlier
/// daemon failed this test: it ended, because on a standby it could not record that it numbers.
#[tokio::test]
async fn a_source_that_is_a_standby_is_waited_for_until_it_is_promoted() {
    let world = World::with_tenants(["acme"]).private_source().mappings(&[("teams", TEAMS)]).await;
    world.fill(5).await;
    world.allow("source_unavailable");
    world.allow("epoch_began");
    {
        let mut server = world.source_server().await;
        server.install_file("standby.signal", b"").expect("the data folder can be written");
        server.restart().await.expect("it restarts");
    }
    let mut daemon = world.spawn_daemon(&[]);
    until("the daemon reports what it waits for", PATIENCE, async || {
        match daemon
            .log()
            .iter()
            .any(|line| line.event == "source_unavailable" && line.text.contains("read-only"))
        {
            true => Ok(()),
            false => Err(daemon.log_text()),
        }
    })
    .await;
    world.source.execute("select pg_promote()").await;
    daemon.wait_ready().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_table_that_someone_else_made_stays_untouched() {
    let world = World::with_tenants(["acme", "globex"])
        .mappings(&[("teams", TEAMS), ("users", USERS)])
        .setting("/sync/retry/max", RETRY_MAX)
        .await;
    world.fill(5).await;
    world.allow("mapping_blocked");
    let there = &world.tenant("acme").destination;
    there.execute("create table teams (name text); insert into teams values ('mine')").await;
    let daemon = world.daemon().await;
    let told = world
        .wait_told(
            &daemon,
            "acme",
            "blocked",
            &["\"public\".\"teams\" was there before Offtake", "Rename it"],
        )
        .await;
    assert!(told["reason"].as_str().is_some_and(|reason| !reason.contains('\n')), "{told}");
    assert_eq!(there.query_text("select * from teams").await, "mine");
    // The other mapping arrives.
    until("the users are there", PATIENCE, async || {
        let users = there.try_query_text("select count(*) from users").await?;
        if users == "5" { Ok(()) } else { Err(users) }
    })
    .await;
    there.execute("alter table teams rename to their_teams").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(there.query_text("select * from their_teams").await, "mine");
    let status: Value = daemon.status().await;
    assert_eq!(status["config"]["error"], Value::Null);
    daemon.stop().await;
}
