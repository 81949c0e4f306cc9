//! `resync` repairs wrong rows of a destination in place, and meanwhile no reader misses a row.

use std::cell::Cell;
use std::time::Duration;

use offtake_tests::{PATIENCE, Source, World, oracle, until};
use tokio_util::sync::CancellationToken;

use super::{done, offtake};

#[tokio::test]
async fn a_resync_mends_a_copy_without_an_empty_window() {
    let world = World::with_tenants(["acme"]).rows_at_once(100).await;
    // Ten chunks per mapping; more would only take longer.
    world.fill(1000).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let destination = &world.tenant("acme").destination;
    let rows: i64 = destination.query_text("select count(*) from users").await.parse().unwrap();
    destination
        .execute(
            "delete from users where id = (select min(id::text)::uuid from users);
             update users set display_name = 'wrong' where id = (select max(id::text)::uuid from users);
             update teams set display_name = 'wrong'",
        )
        .await;
    let (stop, reads) = (CancellationToken::new(), Cell::new(0));
    let reader = destination.connect().await;
    let read = async {
        let mut fewest = i64::MAX;
        while !stop.is_cancelled() {
            fewest = fewest.min(
                reader.query_one("select count(*) from users", &[]).await.unwrap().get::<_, i64>(0),
            );
            reads.set(reads.get() + 1);
        }
        fewest
    };
    // Between the first chunk and the second, the copy waits for the reader.
    daemon.set_failpoint("backfill.after_chunk", "1*pause").await;
    let in_the_middle = async {
        daemon.wait_at_failpoint("backfill.after_chunk", 1).await;
        let before = reads.get();
        until("a reader reads in the middle", PATIENCE, async || match reads.get() {
            now if now > before + 3 => Ok(()),
            now => Err(format!("{now} reads")),
        })
        .await;
        daemon.clear_failpoints().await;
    };
    let command = ["resync", "--tenant", world.id("acme"), "--mapping", "users", "--wait", "60s"];
    let resync = async {
        let (told, ()) = tokio::join!(done(&world, &command), in_the_middle);
        stop.cancel();
        told
    };
    let (fewest, told) = tokio::join!(read, resync);
    assert!(told.contains("1 copies"), "{told}");
    // One row was missing before the first chunk was written.
    assert!((rows - 1..=rows).contains(&fewest), "a reader saw {fewest} rows of {rows}");
    let id = world.id("acme").to_owned();
    for (name, equal) in [("users", true), ("teams", false)] {
        let mapping = world.mappings().into_iter().find(|m| m.name == name).unwrap();
        let compared = oracle::compare(&world.source, &id, &mapping, destination, "public").await;
        assert_eq!(
            compared.missing.is_empty() && compared.surplus.is_empty(),
            equal,
            "{name}: {compared:?}"
        );
    }
    done(&world, &["resync", "--tenant", world.id("acme"), "--wait", "60s"]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_request_waits_for_a_daemon_and_is_done_once() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(50).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    // The command also counts sessions.
    world.source.wait_left().await;
    world.tenant("acme").destination.execute("delete from users").await;
    done(&world, &["resync", "--tenant", world.id("acme")]).await;
    let (code, _, complained) =
        offtake(&world, &["resync", "--tenant", world.id("acme"), "--wait", "300ms"]).await;
    assert!(
        code == 4 && complained.contains("does not have all of contact_channels, "),
        "{code}: {complained}"
    );
    assert!(
        complained.starts_with("offtake: no daemon is connected to this source"),
        "{complained}"
    );
    let mut once = world.spawn_daemon(&["--once"]);
    assert!(once.wait_exit(Duration::from_secs(60)).await.success());
    oracle::assert_equal(&world).await;
    assert_eq!(world.source.query_text("select count(*) from offtake.resync_request").await, "0");
    let begun =
        "select count(*) from offtake.destination_mapping where backfill_started_at is null";
    assert_eq!(world.source.query_text(begun).await, "0");
}

#[tokio::test]
async fn a_request_outlives_daemons_that_are_killed_at_it() {
    let world = World::with_tenants(["acme"]).rows_at_once(50).setting("/poller/lease", "1s").await;
    world.fill(500).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    drop(daemon);
    for round in 0..6 {
        // While no daemon writes there: one could still be at the copy of the previous round, in
        // another order.
        let there = &world.tenant("acme").destination;
        there.wait_left().await;
        there.execute("delete from users where id::text < '8'; delete from teams").await;
        let mut daemon = world.daemon().await;
        done(&world, &["resync", "--tenant", world.id("acme")]).await;
        tokio::time::sleep(Duration::from_millis(15 * round)).await;
        daemon.kill();
    }
    let daemon = world.daemon().await;
    world.source.wait_text("select count(*) from offtake.resync_request", "0").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn the_table_of_a_mapping_that_is_gone_stays_until_it_is_dropped() {
    let world = World::with_tenants(["acme"]).await;
    world.allow("*");
    world.fill(5).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let destination = &world.tenant("acme").destination;
    let drop = ["resync", "--tenant", world.id("acme"), "--drop", "--yes"];
    assert!(done(&world, &drop).await.contains("no table to drop"));
    let before = destination.query_text("select count(*) from _offtake_state").await;
    let gone = world.mappings().into_iter().find(|m| m.name == "teams").unwrap();
    std::fs::remove_file(&gone.file).unwrap();
    until("the daemon no longer uses the table", PATIENCE, async || {
        let (code, told, complained) = offtake(&world, &drop[..4]).await;
        if code == 2 && complained.contains("--yes") {
            Ok(())
        } else {
            Err(format!("{code}: {told}{complained}"))
        }
    })
    .await;
    assert_eq!(destination.query_text("select to_regclass('teams') is not null").await, "t");
    assert!(done(&world, &drop).await.contains("dropped"));
    assert_eq!(destination.query_text("select to_regclass('teams') is null").await, "t");
    let after = destination.query_text("select count(*) from _offtake_state").await;
    assert_eq!(before.parse::<i32>().unwrap() - 1, after.parse::<i32>().unwrap());
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

const SHARED_USERS: &str = "
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: select u.tenancy_id as tenant_id, u.project_user_id as id, u.display_name from public.project_user u
target: { table: users, keep_tenant: true }
";

/// Invariant 2; and the table of a neighbour in the schema never counts as an orphan.
#[tokio::test]
async fn a_resync_and_a_drop_leave_the_neighbours_of_a_shared_schema_alone() {
    let mut world =
        World::with_tenants(["acme", "globex"]).mappings(&[("users", SHARED_USERS)]).await;
    let shared = Source::destination().await;
    world.configure(|c| {
        for destination in c["destinations"]["static"].as_array_mut().unwrap() {
            destination["url"] = shared.url().into();
            destination["shared"] = true.into();
        }
    });
    world.fill(20).await;
    let daemon = world.daemon().await;
    until("both destinations are registered", PATIENCE, async || {
        let known = world.source.query_text("select count(*) from offtake.destination").await;
        if known == "2" { Ok(()) } else { Err(known) }
    })
    .await;
    done(&world, &["resync", "--tenant", world.id("acme"), "--wait", "30s"]).await;
    done(&world, &["resync", "--tenant", world.id("globex"), "--wait", "30s"]).await;
    let of = |tenant: &str| {
        format!("select count(*) from users where tenant_id = '{}'", world.id(tenant))
    };
    shared.execute("delete from users").await;
    done(&world, &["resync", "--tenant", world.id("acme"), "--wait", "30s"]).await;
    assert_eq!(
        (shared.query_text(&of("acme")).await, shared.query_text(&of("globex")).await),
        ("20".to_owned(), "0".to_owned())
    );
    assert!(
        done(&world, &["resync", "--tenant", world.id("acme"), "--drop", "--yes"])
            .await
            .contains("no table to drop")
    );
    done(&world, &["resync", "--tenant", world.id("globex"), "--wait", "30s"]).await;
    assert_eq!(
        (shared.query_text(&of("acme")).await, shared.query_text(&of("globex")).await),
        ("20".to_owned(), "20".to_owned())
    );
    daemon.stop().await;
}
