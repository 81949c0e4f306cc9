//! H3 and H34: Offtake and the source's VACUUM. Offtake's tables become small again after a load
//! during which a long snapshot blocked VACUUM, and Offtake itself holds no snapshot for long.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{Database, PATIENCE, World, oracle, until};

/// Each round changes a thousand rows that no destination copies, and one row that must arrive.
const ROUNDS: usize = 100;

const AWAIT_CHANGES: &str = include_str!("../../crates/sequencer/sql/await_changes.sql");

/// Pages that a look from the beginning may read: the levels of the index, and no deleted rows.
const LOOK_PAGES_MAX: i64 = 20;

/// Size of each table with its indexes in kB, at most: while VACUUM can remove nothing, and after
/// VACUUM. A captured change has about 200 bytes. Of deleted changes VACUUM gives the table's pages
/// back, and keeps the index's pages for later changes.
const BOUNDS_KB: [(&str, i64, i64); 5] = [
    ("captured_change", 30_000, 4000),
    ("outgoing_request", 1000, 500),
    ("destination", 1000, 500),
    ("destination_mapping", 1000, 500),
    ("poller_position", 1000, 500),
];

async fn load(world: &World, rounds: usize, what: &str) {
    for round in 0..rounds {
        let update = "update project_user set display_name = '{name}' where tenancy_id = md5('nobody')::uuid";
        world.source.execute(&update.replace("{name}", &format!("{what} {round}"))).await;
        world.source.execute(&format!("update team set display_name = '{what} {round}'")).await;
    }
    world.wait_in_step_within(PATIENCE * 2).await;
}

async fn vacuum(source: &Database) {
    for (table, ..) in BOUNDS_KB {
        source.execute(&format!("vacuum offtake.{table}")).await;
    }
}

async fn sizes(source: &Database) -> Vec<(&'static str, i64)> {
    let mut sizes = Vec::new();
    for (table, ..) in BOUNDS_KB {
        let size = source
            .query_text(&format!("select pg_total_relation_size('offtake.{table}') / 1024"))
            .await;
        sizes.push((table, size.parse().unwrap()));
    }
    sizes
}

/// The pages that the sequencer reads when it looks from the beginning.
async fn look_pages(source: &Database) -> i64 {
    let session = source.session().await;
    session
        .batch_execute(&format!("deallocate all; prepare look as {AWAIT_CHANGES}"))
        .await
        .unwrap();
    let explained = session
        .query_one("explain (analyze, buffers, timing off, format json) execute look(0, 0, 0.001, 0, 0.05, 20, 0)", &[])
        .await
        .unwrap();
    let plan = &explained.get::<_, serde_json::Value>(0)[0]["Plan"];
    plan["Shared Hit Blocks"].as_i64().unwrap() + plan["Shared Read Blocks"].as_i64().unwrap()
}

/// The snapshot is that of a report that runs all day. The test runs VACUUM itself, where the
/// server's autovacuum would run within a minute. It does so repeatedly, because VACUUM cannot give
/// back pages that a session is using at that moment, nor the pages before them.
#[tokio::test]
async fn our_tables_stay_small_beside_a_snapshot_held_elsewhere() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS), ("users", USERS)]).await;
    world
        .source
        .execute(&format!(
            "insert into team (tenancy_id, display_name) values ('{0}', 'first');
             insert into tenancy (id, project_id, branch_id, display_name) values (md5('nobody')::uuid, 'nobody', 'main', 'nobody');
             insert into project_user (tenancy_id, display_name) select md5('nobody')::uuid, n from generate_series(1, 1000) n",
            world.id("acme")
        ))
        .await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let snapshot = world.source.connect().await;
    snapshot
        .batch_execute(
            "begin isolation level repeatable read; select count(*) from offtake.captured_change",
        )
        .await
        .unwrap();
    load(&world, ROUNDS, "held").await;
    let (held, held_pages) = (sizes(&world.source).await, look_pages(&world.source).await);
    snapshot.batch_execute("commit").await.unwrap();
    vacuum(&world.source).await;
    // Freed space is used again.
    load(&world, ROUNDS / 10, "free").await;
    until("vacuum has given back what is free", PATIENCE, async || {
        vacuum(&world.source).await;
        let (released, pages) = (sizes(&world.source).await, look_pages(&world.source).await);
        let small = released.iter().zip(BOUNDS_KB).all(|((_, found), (.., max))| *found <= max);
        println!("kB while held {held:?}, after vacuum {released:?}; a look from the beginning reads {held_pages} pages, then {pages}");
        if small && pages <= LOOK_PAGES_MAX { Ok(()) } else { Err(format!("{released:?} kB, {pages} pages looked at")) }
    })
    .await;
    assert!(
        held[0].1 > BOUNDS_KB[0].2 * 2 && held_pages > LOOK_PAGES_MAX * 10,
        "the load was too small for this test: {held:?}, {held_pages}"
    );
    for ((table, held_max, _), held) in BOUNDS_KB.into_iter().zip(held) {
        assert!(
            held.1 <= held_max,
            "{table} is {} kB while a snapshot is held, bound {held_max} kB",
            held.1
        );
    }
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Offtake's transactions that are open at the source, each with its process and its start.
async fn open_transactions(source: &Database) -> BTreeSet<String> {
    let open = "select pid || ' since ' || xact_start from pg_stat_activity
                 where datname = current_database() and application_name like 'offtake%' and xact_start is not null";
    source.query_text(open).await.lines().map(str::to_owned).collect()
}

/// The destination is paused in the middle of a batch, every few chunks. Every transaction that is
/// open at the source at that moment must end during the pause. A transaction that lasts as long as
/// the copy, or as the writing of a batch, would not end.
#[tokio::test]
async fn a_long_copy_holds_no_snapshot_of_the_source_for_long() {
    let world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).rows_at_once(100).await;
    let fill = "insert into project_user (tenancy_id, display_name) select '{acme}', n from generate_series(1, 10000) n";
    world.source.execute(&fill.replace("{acme}", world.id("acme"))).await;
    let naive = world.source.connect().await;
    let keep = "set application_name = 'offtake, naively'; begin isolation level repeatable read, read only; select from project_user limit 1";
    naive.batch_execute(keep).await.unwrap();
    assert_eq!(
        open_transactions(&world.source).await.len(),
        1,
        "a transaction that is kept open is found"
    );
    naive.batch_execute("rollback").await.unwrap();
    let acme = &world.tenant("acme").destination;
    let daemon = world.spawn_daemon_with_failpoints(&[("sync.before_commit", "3*off->pause")]);
    for pause in 1..=5 {
        daemon.wait_at_failpoint("sync.before_commit", pause).await;
        let held = open_transactions(&world.source).await;
        until(
            "open transactions at the source end while the destination is paused",
            PATIENCE,
            async || {
                let open = open_transactions(&world.source).await;
                let still: Vec<_> = open.intersection(&held).collect();
                if still.is_empty() { Ok(()) } else { Err(format!("{still:?}")) }
            },
        )
        .await;
        let begun = "select count(*) from _offtake_state where mapping = 'users' and not backfilled and backfill_key is not null";
        assert_eq!(acme.query_text(begun).await, "1", "the copy is in the middle");
        // A failpoint with another text releases the pause.
        daemon.set_failpoint("sync.before_commit", &format!("{}*off->pause", 9 + pause)).await;
    }
    daemon.clear_failpoints().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
