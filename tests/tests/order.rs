//! Invariants 1 and 5, as to order: a cursor never passes a committed change without applying it,
//! nothing uncommitted is ever seen, and a long transaction delays only itself.

use std::time::Duration;

use offtake_tests::{PATIENCE, Source, World, history, oracle, until};
use tokio_postgres::Client;

const SEQUENCE_CHANGES: &str = include_str!("../../crates/sequencer/sql/sequence_changes.sql");

fn tenancy(name: &str) -> String {
    format!(
        "insert into tenancy (project_id, branch_id, display_name) values ('{name}', 'order', '{name}')"
    )
}

/// The previous system's method: number captured changes, and skip those that another session has
/// locked.
async fn stamp_without_the_lock(client: &Client) {
    let skipping = SEQUENCE_CHANGES.replace("limit $1)", "limit $1 for update skip locked)");
    assert_ne!(skipping, SEQUENCE_CHANGES);
    // What the statement does without the lock, it does here as if it had it.
    client.batch_execute("set offtake.lock = 'held'").await.expect("set");
    client.query(&skipping, &[&1000_i64, &Vec::<String>::new(), &0_i64]).await.expect("numbered");
}

/// Like every reader of the log, it remembers the highest number that it has seen.
async fn read_beyond(client: &Client, cursor: &mut i64) -> usize {
    let rows = client
        .query("select sequence_id from offtake.change_log where sequence_id > $1", &[&*cursor])
        .await
        .expect("read");
    *cursor = rows.iter().map(|row| row.get(0)).max().unwrap_or(*cursor);
    rows.len()
}

/// Why only one session may number at a time: two that skip each other's rows hide a committed
/// change from every reader.
#[tokio::test]
async fn two_stampers_without_the_lock_lose_a_change_for_ever() {
    let source = Source::prepared().await;
    let (first, second, reader) =
        (source.connect().await, source.connect().await, source.connect().await);
    let mut cursor = 0;
    source.execute(&tenancy("one")).await;
    first.batch_execute("begin").await.expect("begun");
    stamp_without_the_lock(&first).await;
    source.execute(&tenancy("two")).await;
    stamp_without_the_lock(&second).await;
    let early = read_beyond(&reader, &mut cursor).await;
    first.batch_execute("commit").await.expect("committed");
    let late = read_beyond(&reader, &mut cursor).await;
    assert_eq!(
        (early, late),
        (1, 0),
        "both changes are committed and in the log, and the reader has seen one of them"
    );
    assert_eq!(source.query_text("select count(*) from offtake.change_log").await, "2");
}

/// With the lock, the second daemon's tick is skipped. The test forces the same overlap in the real
/// binary.
#[tokio::test]
async fn overlapping_ticks_of_two_daemons_lose_nothing() {
    let world = World::with_tenants(["acme", "globex"]).await;
    world.allow("source_failed");
    world.fill(20).await;
    history::install(&world).await;
    let first = world.daemon().await;
    let second = world.daemon().await;
    world.wait_in_step().await;
    for point in ["sequencer.after_lock", "sequencer.after_stamp", "sequencer.before_commit"] {
        let before = first.failpoint_count(point);
        first.set_failpoint(point, "pause").await;
        // Waits until the first daemon holds the lock, in the middle of its tick.
        until("the first daemon's tick is held", PATIENCE, async || {
            world.source.execute("update project_user set display_name = display_name || '.' where random() < 0.1").await;
            if first.failpoint_count(point) > before { Ok(()) } else { Err("its ticks found the lock taken".to_owned()) }
        })
        .await;
        world.source.execute("update team set display_name = display_name || ' while held'").await;
        let held = world.source.query_text("select count(*) from offtake.captured_change").await;
        assert_ne!(held, "0", "the second daemon numbered during the first daemon's tick");
        first.clear_failpoints().await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
    }
    history::assert_sound(&world).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_long_transaction_delays_only_its_own_rows() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    let destination = &world.tenant("acme").destination;
    world.wait_in_step().await;
    let long = world.source.connect().await;
    long.batch_execute("begin; update team set display_name = 'long'").await.expect("written");
    let started = std::time::Instant::now();
    // A minute in `make soak`.
    let open_for = if std::env::var_os("OFFTAKE_SOAK").is_some() {
        Duration::from_secs(60)
    } else {
        Duration::from_secs(3)
    };
    let mut round = 0;
    while started.elapsed() < open_for {
        round += 1;
        world
            .source
            .execute(&format!(
                "insert into project_user (tenancy_id, display_name)
                   select '{}', 'round {round} ' || n from generate_series(1, 200) n",
                world.id("acme")
            ))
            .await;
        let arrived =
            format!("select count(*) from users where display_name like 'round {round} %'");
        until("what others commit arrives beside the long transaction", PATIENCE, async || {
            let count = destination.query_text(&arrived).await;
            if count == "200" { Ok(()) } else { Err(count) }
        })
        .await;
        assert_eq!(
            destination.query_text("select count(*) from teams where display_name = 'long'").await,
            "0",
            "an uncommitted row was seen"
        );
    }
    long.batch_execute("commit").await.expect("committed");
    world.wait_in_step().await;
    assert_ne!(
        destination.query_text("select count(*) from teams where display_name = 'long'").await,
        "0"
    );
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn rolled_back_and_prepared_work_is_seen_when_it_is_committed_and_not_before() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    let destination = &world.tenant("acme").destination;
    let id = world.id("acme");
    let user = |name: &str| {
        format!("insert into project_user (tenancy_id, display_name) values ('{id}', '{name}')")
    };
    world.source.execute(&format!("begin; {}; rollback", user("rolled back"))).await;
    world
        .source
        .execute(&format!(
            "begin; {}; savepoint s; {}; rollback to s; {}; commit",
            user("kept 1"),
            user("back to savepoint"),
            user("kept 2")
        ))
        .await;
    world
        .source
        .execute(&format!(
            "begin; {}; prepare transaction 'offtake_order_{}'",
            user("prepared"),
            world.source.name()
        ))
        .await;
    world.source.execute(&user("beside the prepared one")).await;
    world.wait_in_step().await;
    let seen = "select string_agg(display_name, ',' order by display_name) from users where display_name ~ 'rolled|kept|savepoint|prepared'";
    assert_eq!(destination.query_text(seen).await, "beside the prepared one,kept 1,kept 2");
    world.source.execute(&format!("commit prepared 'offtake_order_{}'", world.source.name())).await;
    world.wait_in_step().await;
    assert_eq!(
        destination.query_text(seen).await,
        "beside the prepared one,kept 1,kept 2,prepared"
    );
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
