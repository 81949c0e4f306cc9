//! H3 and H34: what Offtake costs the source's vacuum. Its own tables stay small after a load that
//! somebody's snapshot kept vacuum from, and it holds no snapshot for long itself.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{Database, PATIENCE, World, oracle, until};

/// Each round changes a thousand rows that nobody has a copy of, and one that has to travel.
const ROUNDS: usize = 100;

const PROBE_CHANGES: &str = include_str!("../../crates/sequencer/sql/probe_changes.sql");

/// A probe from the beginning: the way down the index, and nothing that is gone.
const PROBE_PAGES_MAX: i64 = 20;

/// Each table with its indexes, in kB: when vacuum could do nothing, and once it has been there. A
/// captured change has about 200 bytes; of those that are gone vacuum gives the table's pages back,
/// and keeps the index's for those that come.
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

/// The pages that the sequencer's probe touches when it looks from the beginning.
async fn probe_pages(source: &Database) -> i64 {
    let session = source.session().await;
    session
        .batch_execute(&format!("deallocate all; prepare probe (bigint) as {PROBE_CHANGES}"))
        .await
        .unwrap();
    let explained = session
        .query_one("explain (analyze, buffers, timing off, format json) execute probe(0)", &[])
        .await
        .unwrap();
    let plan = &explained.get::<_, serde_json::Value>(0)[0]["Plan"];
    plan["Shared Hit Blocks"].as_i64().unwrap() + plan["Shared Read Blocks"].as_i64().unwrap()
}

/// A report that runs all day. Vacuum is asked for where the server's own would come within its
/// minute: again and again, since it leaves for its next visit what somebody is looking at just
/// then, and the pages before that.
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
    let (held, held_pages) = (sizes(&world.source).await, probe_pages(&world.source).await);
    snapshot.batch_execute("commit").await.unwrap();
    vacuum(&world.source).await;
    // What became free is used again.
    load(&world, ROUNDS / 10, "free").await;
    until("vacuum has given back what is free", PATIENCE, async || {
        vacuum(&world.source).await;
        let (released, pages) = (sizes(&world.source).await, probe_pages(&world.source).await);
        let small = released.iter().zip(BOUNDS_KB).all(|((_, found), (.., max))| *found <= max);
        println!("kB while held {held:?}, after vacuum {released:?}; a probe from the beginning reads {held_pages} pages, then {pages}");
        if small && pages <= PROBE_PAGES_MAX { Ok(()) } else { Err(format!("{released:?} kB, {pages} pages probed")) }
    })
    .await;
    assert!(
        held[0].1 > BOUNDS_KB[0].2 * 2 && held_pages > PROBE_PAGES_MAX * 10,
        "the load was too small to tell: {held:?}, {held_pages}"
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

/// The transactions of ours that are open at the source, each with its process and its beginning.
async fn open_transactions(source: &Database) -> BTreeSet<String> {
    let open = "select pid || ' since ' || xact_start from pg_stat_activity
                 where datname = current_database() and application_name like 'offtake%' and xact_start is not null";
    source.query_text(open).await.lines().map(str::to_owned).collect()
}

/// The destination stands still in the middle of a batch, every few chunks: whatever was open at
/// the source by then ends all the same. A transaction that lasts as long as the copy, or as long
/// as the writing of a batch, would not.
#[tokio::test]
async fn a_long_copy_holds_no_snapshot_of_the_source_for_long() {
    let world = World::with_tenants(["acme"])
        .mappings(&[("users", USERS)])
        .setting("/sync/batch_rows", 100)
        .await;
    let fill = "insert into project_user (tenancy_id, display_name) select '{acme}', n from generate_series(1, 10000) n";
    world.source.execute(&fill.replace("{acme}", world.id("acme"))).await;
    let naive = world.source.connect().await;
    let keep = "set application_name = 'offtake, naively'; begin isolation level repeatable read, read only; select from project_user limit 1";
    naive.batch_execute(keep).await.unwrap();
    assert_eq!(open_transactions(&world.source).await.len(), 1, "one that is kept is seen");
    naive.batch_execute("rollback").await.unwrap();
    let acme = &world.tenant("acme").destination;
    let daemon = world.spawn_daemon_with_failpoints(&[("sync.before_commit", "3*off->pause")]);
    for pause in 1..=5 {
        daemon.wait_at_failpoint("sync.before_commit", pause).await;
        let held = open_transactions(&world.source).await;
        until(
            "what is open at the source ends although the destination does not go on",
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
        // Another text is what lets it go on.
        daemon.set_failpoint("sync.before_commit", &format!("{}*off->pause", 9 + pause)).await;
    }
    daemon.clear_failpoints().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
