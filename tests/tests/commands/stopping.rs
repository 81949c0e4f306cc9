//! Pauses and fuses: they take effect, survive restarts, are shown, and end by command or by
//! themselves.

use std::time::Duration;

use offtake_tests::{Daemon, PATIENCE, World, oracle, until};

use super::done;

async fn state_of(daemon: &Daemon, tenant_id: &str) -> (String, String) {
    let status = daemon.status().await;
    let destination = status["destinations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["tenant"] == tenant_id)
        .cloned()
        .unwrap();
    let text = |key: &str| destination[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

async fn name_everyone(world: &World, name: &str) {
    world.source.execute(&format!("update project_user set display_name = '{name}'")).await;
}

async fn named(world: &World, tenant: &str, name: &str) -> bool {
    world
        .tenant(tenant)
        .destination
        .query_text(&format!("select bool_and(display_name = '{name}') from users"))
        .await
        == "t"
}

#[tokio::test]
async fn a_paused_tenant_stands_still_over_a_restart_until_it_is_resumed() {
    let world = World::with_tenants(["acme", "globex"]).await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    done(&world, &["pause", "--tenant", world.id("acme"), "--reason", "their migration"]).await;
    // Requests for changes made from here on are not even claimed.
    name_everyone(&world, "paused").await;
    world.wait_tenants_in_step(&["globex"], PATIENCE).await;
    assert!(named(&world, "globex", "paused").await && !named(&world, "acme", "paused").await);
    assert_eq!(
        state_of(&daemon, world.id("acme")).await,
        ("paused".to_owned(), "their migration".to_owned())
    );
    daemon.stop().await;

    let daemon = world.daemon().await;
    name_everyone(&world, "restarted").await;
    world.wait_tenants_in_step(&["globex"], PATIENCE).await;
    assert!(!named(&world, "acme", "restarted").await);
    let told = done(&world, &["status", "--tenant", world.id("acme")]).await;
    assert!(told.contains("paused") && told.contains("their migration"), "{told}");

    let told = done(
        &world,
        &[
            "resume",
            "--tenant",
            world.id("acme"),
            "--destination",
            "main",
            "--reason",
            "it is over",
        ],
    )
    .await;
    assert!(told.starts_with("1 of 1") && told.contains("(it is over)"), "{told}");
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_pause_with_an_end_ends_by_itself() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let told = done(
        &world,
        &["pause", "--tenant", world.id("acme"), "--reason", "a while", "--for", "1h"],
    )
    .await;
    assert!(told.contains("until 20"), "{told}");
    name_everyone(&world, "later").await;
    let told = done(&world, &["status"]).await;
    assert!(told.contains("a while, until"), "{told}");
    // Makes it look as if the hour had passed.
    world.source.execute("update offtake.destination set paused_until = now()").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(state_of(&daemon, world.id("acme")).await.0, "in_sync");
    daemon.stop().await;
}

fn every_kind_of_fuse(tenant: &str) -> [String; 6] {
    [
        "sequencer".to_owned(),
        "poller".to_owned(),
        "sync".to_owned(),
        format!("tenant:{tenant}"),
        format!("destination:{tenant}/main"),
        "mapping:users".to_owned(),
    ]
}

/// Switches the fuse off, and waits until the daemon has stopped what it names.
async fn blow(world: &World, daemon: &Daemon, fuse: &str) {
    done(world, &["fuse", "off", fuse, "--reason", "a test"]).await;
    daemon.wait_fuse(fuse, true).await;
    if let "sequencer" | "poller" | "sync" = fuse {
        daemon.wait_round(fuse).await;
    }
}

/// What must not move while this fuse is blown, as one text: the log's end and what waits before
/// it, the poller's position and what is owed, how often requests were claimed, and the rows and
/// cursors in the destinations concerned, with the transactions that wrote them.
async fn standing(world: &World, fuse: &str) -> String {
    let at_source = match fuse {
        "sequencer" => {
            "select (select sequence_id from offtake.log_head),
                    (select count(*) from offtake.captured_change)"
        }
        "poller" => {
            "select (select string_agg(p::text, ' ') from offtake.poller_position p),
                    (select count(*) from offtake.outgoing_request)"
        }
        "sync" => {
            "select coalesce(sum(attempt), 0), count(leased_until) from offtake.outgoing_request"
        }
        // Requests of other destinations are claimed, and a request is claimed for other mappings.
        _ => "select",
    };
    let mut standing = world.source.query_text(at_source).await;
    // The sync engine goes on, and a visit writes the state rows, but not their cursors.
    let applied = "select (select string_agg(mapping || ' ' || sequence_id, ' ' order by mapping) from _offtake_state),
        (select md5(string_agg(u.xmin || ' ' || u::text, ' ' order by id)) from users u),
        (select md5(string_agg(t.xmin || ' ' || t::text, ' ' order by id)) from teams t)";
    let of_mapping = "select (select sequence_id from _offtake_state where mapping = 'users'),
        (select md5(string_agg(u.xmin || ' ' || u::text, ' ' order by id)) from users u)";
    let whole = "select (select string_agg(mapping || ' ' || s.xmin || ' ' || sequence_id, ', ' order by mapping) from _offtake_state s),
        (select md5(string_agg(u.xmin || ' ' || u::text, ' ' order by id)) from users u),
        (select md5(string_agg(t.xmin || ' ' || t::text, ' ' order by id)) from teams t)";
    let (query, only) = match fuse {
        "sequencer" | "poller" => (applied, None),
        "sync" => (whole, None),
        "mapping:users" => (of_mapping, None),
        _ => (whole, Some("acme")),
    };
    for tenant in world.tenants().iter().filter(|t| only.is_none_or(|only| t.name == only)) {
        let there = tenant.destination.query_text(query).await;
        standing.push_str(&format!("\n{}: {there}", tenant.name));
    }
    standing
}

/// Two daemons start while the fuse is blown, one after the other. Every daemon takes up all
/// destinations at its start, and must not do there what an operator stopped.
#[tokio::test]
async fn every_kind_of_fuse_outlasts_a_restart_and_a_second_daemon() {
    let world = World::with_tenants(["acme", "globex"]).await;
    world.fill(10).await;
    let mut daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = world.id("acme");
    for fuse in &every_kind_of_fuse(acme) {
        blow(&world, &daemon, fuse).await;
        name_everyone(&world, fuse).await;
        world.source.execute(&format!("update team set display_name = '{fuse}'")).await;
        daemon.stop().await;
        let stopped = standing(&world, fuse).await;
        daemon = world.daemon().await;
        wait_until_started(&world, &daemon, fuse).await;
        assert_eq!(standing(&world, fuse).await, stopped, "{fuse}: after a restart");
        let second = world.daemon().await;
        wait_until_started(&world, &second, fuse).await;
        assert_eq!(standing(&world, fuse).await, stopped, "{fuse}: with a second daemon");
        assert!(!named(&world, "acme", fuse).await, "{fuse}");
        second.stop().await;
        done(&world, &["fuse", "on", fuse, "--reason", "it is over"]).await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
    }
    daemon.stop().await;
}

/// Waits until the daemon has done everything that it does at its start under this fuse.
async fn wait_until_started(world: &World, daemon: &Daemon, fuse: &str) {
    daemon.wait_fuse(fuse, true).await;
    let taught = async |tenant: &str| {
        let arrived = format!("select bool_and(display_name = '{fuse}') from teams");
        until(&format!("teams arrive in spite of {fuse}"), PATIENCE, async || {
            match world.tenant(tenant).destination.try_query_text(&arrived).await?.as_str() {
                "t" => Ok(()),
                found => Err(found.to_owned()),
            }
        })
        .await;
    };
    match fuse {
        // Each daemon leaves this mark for the sweep when it has taken up the destinations.
        "poller" => {
            let marked =
                "select count(*) > 0 from offtake.destination_mapping where retry_at is not null";
            until("the daemon has taken up its destinations", PATIENCE, async || {
                let owed = "select count(*) from offtake.outgoing_request";
                assert_eq!(world.source.query_text(owed).await, "0", "nothing is enqueued");
                match world.source.query_text(marked).await.as_str() {
                    "t" => Ok(()),
                    found => Err(found.to_owned()),
                }
            })
            .await;
            world.source.execute("update offtake.destination_mapping set retry_at = null").await;
        }
        "mapping:users" => taught("acme").await,
        "sequencer" | "sync" => {}
        _ => taught("globex").await,
    }
    wait_rounds(daemon).await;
}

/// Waits until each loop has begun and ended rounds of its own since the call.
async fn wait_rounds(daemon: &Daemon) {
    let [sequencer, poller, sync] =
        ["sequencer", "poller", "sync"].map(|name| daemon.wait_round(name));
    tokio::join!(sequencer, poller, sync);
    daemon.wait_round("sync").await;
}

#[tokio::test]
async fn every_kind_of_fuse_stops_what_it_names_and_heals() {
    let world = World::with_tenants(["acme", "globex"]).await;
    world.fill(10).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = world.id("acme");
    for fuse in &every_kind_of_fuse(acme) {
        blow(&world, &daemon, fuse).await;
        name_everyone(&world, fuse).await;
        if fuse.contains(acme) {
            world.wait_tenants_in_step(&["globex"], PATIENCE).await;
        } else {
            // Many times as long as a change takes when nothing stops it.
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!named(&world, "globex", fuse).await, "{fuse} stops everyone");
        }
        assert!(!named(&world, "acme", fuse).await, "{fuse}");
        let listed = done(&world, &["fuse", "list"]).await;
        let line = listed
            .lines()
            .find(|line| line.split(' ').next() == Some(fuse))
            .unwrap_or_else(|| panic!("{listed}"));
        assert!(line.contains("OFF until switched on") && line.ends_with("a test"), "{line}");
        assert!(done(&world, &["status"]).await.contains("a test"));
        assert_ne!(state_of(&daemon, acme).await.0, "in_sync", "{fuse}");
        let told = done(&world, &["fuse", "on", fuse, "--reason", "the test goes on"]).await;
        assert!(told.contains("is on (the test goes on)"), "{told}");
        until(&format!("{fuse} is on"), PATIENCE, async || {
            if named(&world, "acme", fuse).await { Ok(()) } else { Err("not there".to_owned()) }
        })
        .await;
        world.wait_in_step().await;
    }
    done(&world, &["fuse", "off", "sync", "--reason", "a moment", "--for", "1h"]).await;
    daemon.wait_fuse("sync", true).await;
    daemon.wait_round("sync").await;
    name_everyone(&world, "healed").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!named(&world, "acme", "healed").await);
    // Makes it look as if the hour had passed.
    world.source.execute("update offtake.fuse set until = now() where name = 'sync'").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
