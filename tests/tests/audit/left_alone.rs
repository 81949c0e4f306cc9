//! What is not audited, and by whom.

use std::path::PathBuf;
use std::time::Duration;

use offtake_tests::{Daemon, PATIENCE, until};
use serde_json::{Value, json};

use super::{destination, plan, slow_world, until_audited, until_told, world};

const AUDITED: &str = "select coalesce(sum(attempt), 0) from offtake.audit";

#[tokio::test]
async fn an_audit_that_is_off_does_nothing_until_it_is_on() {
    let world = world(plan(&["acme"]).setting("/audit", json!({ "period": "off" })), 20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    acme.execute("delete from items where id = 1").await;
    world.source.execute("update item set body = 'x' where id = 2").await;
    world.wait_in_step().await;
    daemon.wait_round("sequencer").await;
    let told = destination(&daemon, &world, "acme").await;
    assert!(told["verified_at"].is_null() && told["differences"].is_null(), "{told:#}");
    assert_eq!(
        (&told["state"], world.source.query_text(AUDITED).await),
        (&json!("in_sync"), "0".to_owned())
    );

    // The setting takes effect without a restart.
    world.allow("audit_differs");
    let listens = format!("127.0.0.1:{}", daemon.port());
    let read = |file: &PathBuf| -> Option<Value> {
        let configuration: Value =
            serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
        (configuration["http"]["listen"] == listens.as_str()).then_some(configuration)
    };
    let files = std::fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().path());
    let own = files.filter_map(|file| Some((read(&file)?, file))).next();
    let (mut configuration, file) = own.unwrap();
    configuration["audit"] = json!({ "period": "1s", "budget": "50%" });
    // It is never half-written, because the daemon may read it at any moment.
    let beside = file.with_extension("new");
    std::fs::write(&beside, configuration.to_string()).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    until_told(&daemon, &world, "acme", ("the row is missed", |d| d["differences"] == "1")).await;
    assert!(daemon.status().await["config"]["error"].is_null());
    daemon.stop().await;
}

#[tokio::test]
async fn two_daemons_audit_each_copy_once_in_a_period() {
    let tenants = ["acme", "globex", "initech"];
    let mut world = slow_world(&tenants, json!({ "period": "off" })).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    world.configure(|c| c["audit"] = json!({ "period": "1h", "budget": "100%" }));
    world.set_variable("RUST_LOG", "warn,offtake=info,offtake_sync::audit=debug");
    let daemons = [world.daemon().await, world.daemon().await];
    let proved = "select count(*) from offtake.destination_mapping where verified_at is not null";
    world.source.wait_text(proved, "3").await;
    // Both ask several times more.
    for daemon in &daemons {
        daemon.wait_round("audit").await;
        daemon.wait_round("audit").await;
    }
    let of = |d: &Daemon| d.log().iter().filter(|line| line.event == "audited").count();
    let told = || daemons.iter().map(of).sum::<usize>();
    until("three audits are told", PATIENCE, async || match told() {
        few @ 0..3 => Err(few.to_string()),
        _ => Ok(()),
    })
    .await;
    assert_eq!(told(), 3);
    // Nor has one of them begun what the other one does.
    assert_eq!(world.source.query_text(AUDITED).await, "3");
    let held = "select count(*) from offtake.audit where leased_until is not null";
    world.source.wait_text(held, "0").await;
    for daemon in daemons {
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_daemon_that_dies_amid_an_audit_leaves_it_to_the_next_which_goes_on() {
    let plan = plan(&["acme"])
        .setting("/audit/period", "1h")
        .setting("/audit/budget", "20%")
        .setting("/poller/lease", "1s");
    let mut world = world(plan, 100_000).await;
    let mut daemon = world.daemon().await;
    world.wait_in_step().await;
    let progress = "select audit_progress ->> 'began' from offtake.destination_mapping
                     where mapping = 'items' and audit_progress -> 'next' -> 'after' <> 'null'";
    let began = until("an audit is under way", PATIENCE, async || {
        match world.source.query_text(progress).await {
            began if began.is_empty() => Err("none".to_owned()),
            began => Ok(began),
        }
    })
    .await;
    daemon.kill();
    drop(daemon);
    world.source.wait_left().await;
    // A row that is before the place where the audit goes on.
    let verified = "select verified_at from offtake.destination_mapping where mapping = 'items'";
    assert_eq!(world.source.query_text(verified).await, "");
    world.configure(|c| c["audit"]["budget"] = "100%".into());
    let daemon = world.daemon().await;
    let told =
        until_told(&daemon, &world, "acme", ("it is proved", |d| d["verified_at"].is_string()))
            .await;
    // It did not begin again: this is when the first daemon began.
    let same = format!(
        "select verified_at = '{began}' from offtake.destination_mapping where mapping = 'items'"
    );
    assert_eq!(world.source.query_text(&same).await, "t", "{told:#}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_paused_destination_is_compared_when_it_is_resumed() {
    let world = world(plan(&["acme", "globex"]), 20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    until_audited(&daemon, &world, "acme").await;
    let id = world.id("acme");
    world.succeed(&["pause", "--tenant", id, "--reason", "test"]).await;
    world.allow("audit_differs");
    // What was begun before the pause may end.
    let free =
        "select count(*) from offtake.audit a join offtake.destination d using (destination_id)
                 where d.paused_at is not null and leased_until is not null";
    world.source.wait_text(free, "0").await;
    world.tenant("acme").destination.execute("delete from items where id = 1").await;
    let before = destination(&daemon, &world, "acme").await["verified_at"].clone();
    until_audited(&daemon, &world, "globex").await;
    until_audited(&daemon, &world, "globex").await;
    let told = destination(&daemon, &world, "acme").await;
    assert!(told["state"] == "paused" && told["verified_at"] == before, "{told:#}");
    assert_eq!(daemon.metric("offtake_audit_differences_total").await, 0.0);
    world.succeed(&["resume", "--tenant", id]).await;
    until_told(&daemon, &world, "acme", ("the row is missed", |d| d["differences"] == "1")).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_destination_that_is_down_is_not_called_verified_and_is_compared_later() {
    let world = world(plan(&["acme", "globex"]).proxied("acme"), 20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    until_audited(&daemon, &world, "acme").await;
    world.allow("destination_failed");
    world.allow("audit_differs");
    world.tenant("acme").proxy().set(offtake_tests::proxy::Mode::Refuse);
    // What was compared before that may still be noted.
    let claimed = format!(
        "select count(*) from offtake.audit a join offtake.destination d using (destination_id)
          where d.tenant_id = '{}' and leased_until is not null",
        world.id("acme")
    );
    world.source.wait_text(&claimed, "0").await;
    world.tenant("acme").destination.execute("delete from items where id = 1").await;
    let before = destination(&daemon, &world, "acme").await["verified_at"].clone();
    // Others are audited meanwhile.
    until_audited(&daemon, &world, "globex").await;
    until_audited(&daemon, &world, "globex").await;
    assert_eq!(destination(&daemon, &world, "acme").await["verified_at"], before);
    world.tenant("acme").proxy().set(offtake_tests::proxy::Mode::Pass);
    let missed = |told: &Value| told["differences"] == "1";
    until("the row is missed", PATIENCE + Duration::from_secs(60), async || {
        let told = destination(&daemon, &world, "acme").await;
        if missed(&told) { Ok(()) } else { Err(format!("{told:#}")) }
    })
    .await;
    daemon.stop().await;
}

/// It fails where each look begins at the front: those that left fill it.
#[tokio::test]
async fn copies_of_many_tenants_that_left_keep_no_other_from_being_compared() {
    let world = world(plan(&["acme"]), 20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    until_audited(&daemon, &world, "acme").await;
    let left = "
        insert into offtake.destination (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables, active)
        select 'left ' || n, 'main', 'public', 'h', 5432, 'd', 'u', '{items}', '{public.item}', false from generate_series(1, 3000) n;
        insert into offtake.destination_mapping (destination_id, mapping, sequence_id, backfilled)
        select destination_id, 'items', 0, true from offtake.destination where not active";
    world.source.execute(left).await;
    world.allow("audit_differs");
    world.tenant("acme").destination.execute("delete from items where id = 1").await;
    until_told(&daemon, &world, "acme", ("the row is missed", |d| d["differences"] == "1")).await;
    daemon.stop().await;
}
