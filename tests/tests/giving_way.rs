//! Invariant 7: if Offtake and the application take the same locks in opposite orders, Offtake
//! gives way.

use offtake_tests::workload::Workload;
use offtake_tests::{Daemon, World, oracle};
use tokio_postgres::Client;

async fn world() -> (World, Daemon, Client) {
    let workload = Workload::new(1);
    let world = Workload::plan(["acme"]).await;
    workload.prepare(&world).await;
    // The session whose deadlock timeout ends first becomes the victim. Here that is the
    // application, long before the daemon, but long after the daemon has given way. The daemon
    // gives way in less than the server's default of one second, so that it never comes to choosing
    // a victim.
    world
        .source
        .execute(&format!("alter database {} set deadlock_timeout = '50s'", world.source.name()))
        .await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.allow("source_failed");
    let application = world.source.connect().await;
    application.batch_execute("set deadlock_timeout = '20s'").await.expect("a superuser's setting");
    (world, daemon, application)
}

#[tokio::test]
async fn a_batch_is_no_deadlock_for_a_truncate() {
    let (world, daemon, application) = world().await;
    daemon.set_failpoint("sync.after_claim", "pause").await;
    world
        .source
        .execute("update work.child set body = 'second'; update work.note set body = 'second'")
        .await;
    daemon.wait_at_failpoint("sync.after_claim", 1).await;
    application.batch_execute("begin; lock table work.note").await.expect("the table is free");
    daemon.clear_failpoint("sync.after_claim").await;
    waits_for_a_lock(&world).await;
    application.batch_execute("truncate work.child; commit").await.expect("the batch gives way");
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Waits until one of the daemon's sessions waits for the application's lock.
async fn waits_for_a_lock(world: &World) {
    offtake_tests::until("the daemon waits for a lock", offtake_tests::PATIENCE, async || {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        let count = world.source.query_text(waiting).await;
        if count == "0" { Err("no session waits".to_owned()) } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn a_tick_is_no_deadlock_for_a_truncate() {
    let (world, daemon, application) = world().await;
    daemon.set_failpoint("sequencer.after_lock", "pause").await;
    // The tick looks up the tenants of items in work.owner, and then reads work.child for the
    // changed parents.
    world
        .source
        .execute("update work.item set body = 'second'; update work.parent set body = 'second'")
        .await;
    daemon.wait_at_failpoint("sequencer.after_lock", 1).await;
    application.batch_execute("begin; lock table work.child").await.expect("the table is free");
    daemon.clear_failpoint("sequencer.after_lock").await;
    waits_for_a_lock(&world).await;
    application.batch_execute("truncate work.owner; commit").await.expect("the tick gives way");
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_table_that_the_application_holds_delays_nothing_that_does_not_need_it() {
    let (world, daemon, application) = world().await;
    let copies = "select count(*) from offtake.change_log where row_key is null";
    let before = world.source.query_text(copies).await;
    application.batch_execute("begin; lock table work.child").await.expect("the table is free");
    // The rows that depend on the parents cannot be read now.
    world.source.execute("update work.parent set body = 'second'").await;
    world.source.execute("update work.item set body = 'second'").await;
    offtake_tests::until("other changes are sequenced", offtake_tests::PATIENCE, async || {
        let sequenced = world
            .source
            .query_text("select count(*) from offtake.change_log where source_table = 'work.item'")
            .await;
        if sequenced.parse::<i32>().is_ok_and(|count| count >= 150) {
            Ok(())
        } else {
            Err(sequenced)
        }
    })
    .await;
    application.batch_execute("commit").await.expect("nothing is in its way");
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(world.source.query_text(copies).await, before, "no table is re-copied");
    daemon.stop().await;
}

#[tokio::test]
async fn a_mapping_whose_table_is_locked_delays_no_other_of_its_destination() {
    let (world, daemon, application) = world().await;
    let destination = &world.tenant("acme").destination;
    daemon.set_failpoint("sync.after_claim", "pause").await;
    world
        .source
        .execute("update work.child set body = 'second'; update work.item set body = 'second'")
        .await;
    daemon.wait_at_failpoint("sync.after_claim", 1).await;
    application.batch_execute("begin; lock table work.child").await.expect("the table is free");
    daemon.clear_failpoint("sync.after_claim").await;
    offtake_tests::until(
        "the other mapping's rows arrive while the table is locked",
        offtake_tests::PATIENCE,
        async || {
            let behind = destination
                .query_text("select count(*) from items where body is distinct from 'second'")
                .await;
            if behind == "0" { Ok(()) } else { Err(behind) }
        },
    )
    .await;
    assert_ne!(
        destination
            .query_text("select count(*) from children where body is distinct from 'second'")
            .await,
        "0"
    );
    application.batch_execute("commit").await.expect("nothing is in its way");
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// ANALYZE and VACUUM of the log hold such a lock while they run. The test fails if numbering waits
/// for the next partition to be created.
#[tokio::test]
async fn who_has_the_log_locked_against_a_partition_does_not_hold_up_the_numbering() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(5).await;
    let holder = world.source.connect().await;
    holder
        .batch_execute("begin; lock table offtake.change_log in share update exclusive mode")
        .await
        .expect("the table is free");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let next = "select to_regclass('offtake.change_log_1') is not null";
    assert_eq!(world.source.query_text(next).await, "f", "the lock delays the next partition");
    holder.batch_execute("commit").await.expect("nothing is in its way");
    daemon.stop().await;
    let daemon = world.daemon().await;
    offtake_tests::until(
        "the next partition is made",
        offtake_tests::PATIENCE,
        async || match world.source.query_text(next).await.as_str() {
            "t" => Ok(()),
            found => Err(found.to_owned()),
        },
    )
    .await;
    daemon.stop().await;
}
