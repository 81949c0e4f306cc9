//! Changes and first copies of many tenants, whatever the daemon dies of meanwhile.

use offtake_tests::PATIENCE;

use super::{assert_told, counted, made, plan, wait_equal, wait_together, world};

/// Each tenant's turn alone was a batch, a read and three transactions.
#[tokio::test]
async fn a_change_of_each_of_many_tenants_is_written_by_a_few_transactions() {
    let (world, daemon) = world(130).await;
    let statements = [
        "update note set body = 'second'",
        "insert into note select tenant, 2, 'new' from note; update mark set value = 1.00",
        "delete from note where id = 2; update note set id = 3 where tenant like '%7'",
        "update note set tenant = 't1' where tenant = 't7'; delete from mark where tenant like '%3'",
    ];
    for statement in statements {
        let before = counted(&daemon).await;
        world.source.execute(statement).await;
        wait_equal(&world).await;
        let (batches, take_ups) = counted(&daemon).await;
        assert!(batches - before.0 < 30.0, "{statement}: {} batches", batches - before.0);
        assert!(take_ups - before.1 < 2.0, "{statement}: {} take-ups", take_ups - before.1);
    }
    assert_told(&world, "after all changes").await;
    daemon.stop().await;
}

/// A daemon that begins tells each destination that it visited, with the rows of the first write:
/// the source knows of that visit, and since when it serves stays as it is.
#[tokio::test]
async fn the_name_of_a_daemon_that_begins_goes_with_the_rows() {
    let (world, daemon) = world(20).await;
    daemon.stop().await;
    let there = &world.tenant("first").destination;
    let served = "select string_agg(concat_ws(' ', tenant_id, mapping, source, served_since), ',' order by tenant_id, mapping) from _offtake_state";
    let told = "select string_agg(concat_ws(' ', source_identity ->> 'destination_id', source_identity ->> 'visit', source_identity ->> 'visit_id'), ',' order by source_identity ->> 'destination_id') from _offtake_state where mapping = 'notes'";
    let daemons =
        "select string_agg(distinct source_identity ->> 'daemon', ',') from _offtake_state";
    let before = (there.query_text(served).await, there.query_text(daemons).await);
    world.source.execute("update note set body = 'second'; update mark set value = 2").await;
    let daemon = world.daemon().await;
    wait_together(&daemon, 0, 20).await;
    wait_equal(&world).await;
    assert_eq!(there.query_text(served).await, before.0);
    let named = there.query_text(daemons).await;
    assert!(named != before.1 && !named.contains(','), "{named}, before {}", before.1);
    let noted = "select string_agg(concat_ws(' ', destination_id, number, visit_id), ',' order by destination_id::text) \
                   from (select distinct on (destination_id) * from offtake.visit order by destination_id, number desc) v";
    assert_eq!(there.query_text(told).await, world.source.query_text(noted).await);
    daemon.stop().await;
}

/// A daemon dies in the middle of a group's work. Whatever it had done, the next one leaves each
/// tenant with all of its rows.
#[tokio::test]
async fn a_daemon_killed_within_a_group_loses_and_repeats_nothing() {
    let (world, mut daemon) = made(plan().setting("/poller/lease", "2s"), 40).await;
    world.allow("*");
    let points =
        ["sync.after_begin", "sync.before_commit", "sync.after_commit", "sync.before_complete"];
    for point in points {
        daemon.set_failpoint(point, "abort").await;
        let change = format!("update note set body = '{point}'; update mark set value = value + 1");
        world.source.execute(&change).await;
        assert!(!daemon.wait_exit(PATIENCE).await.success(), "it dies at {point}");
        daemon = world.daemon().await;
        wait_equal(&world).await;
        // The next one knows all tenants, so that it works for them together.
        world.source.execute("update mark set value = value + 1").await;
        wait_equal(&world).await;
    }
    daemon.stop().await;
}

/// First copies in a place that is not empty: what is there of the tenants goes where the source has
/// no such row, what is there of others stays, and a tenant with more rows than a group copies has
/// all of them. Then a daemon that is started again finds all of them as they are.
#[tokio::test]
async fn first_copies_of_many_are_exact_whatever_is_there() {
    let (world, daemon) = world(30).await;
    daemon.stop().await;
    let there = &world.tenant("first").destination;
    there
        .execute(
            "delete from _offtake_state; update notes set body = 'wrong' where id = 1;
             insert into notes select 't' || n, 77, 'surplus' from generate_series(0, 29) n;
             insert into notes values ('stranger', 1, 'theirs'), ('stranger', 77, 'theirs')",
        )
        .await;
    // As if the source had never served them.
    world
        .source
        .execute("delete from offtake.destination_mapping; delete from offtake.visit")
        .await;
    world.source.execute("insert into note select 't3', n, 'many' from generate_series(100, 2000) n; delete from note where tenant = 't4'").await;
    let owe = "insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id) select 'sync', destination_id, 1 from offtake.destination on conflict do nothing";
    world.source.execute(owe).await;
    let daemon = world.daemon().await;
    wait_equal(&world).await;
    let strangers = "select count(*) from notes where tenant_id = 'stranger' and body = 'theirs'";
    assert_eq!(there.query_text(strangers).await, "2");
    // A batch of the group, a few of t3, and what they owed besides.
    let (batches, _) = counted(&daemon).await;
    assert!(batches < 15.0, "{batches} batches");
    let told = "select count(*), count(*) filter (where source_identity is not null), count(*) filter (where backfilled) from _offtake_state";
    assert_eq!(there.query_text(told).await, "60|60|60");
    let rows = "select sum(rows_done) from offtake.destination_mapping";
    let expect = "select (select count(*) from note) + (select count(*) from mark)";
    assert_eq!(world.source.query_text(rows).await, world.source.query_text(expect).await);
    daemon.stop().await;

    let daemon = world.daemon().await;
    world.source.execute("update note set body = 'again'").await;
    wait_equal(&world).await;
    let (batches, take_ups) = counted(&daemon).await;
    assert!(batches < 15.0 && take_ups < 35.0, "{batches} batches, {take_ups} take-ups");
    assert_eq!(there.query_text(strangers).await, "2");
    daemon.stop().await;
}

/// A daemon dies while it copies many tenants for the first time: after their cursors have begun,
/// before and after the commit of their rows, and before the source is told.
#[tokio::test]
async fn a_daemon_killed_within_first_copies_of_many_loses_nothing() {
    let (world, daemon) = made(plan().setting("/poller/lease", "2s"), 20).await;
    world.allow("*");
    daemon.stop().await;
    let there = &world.tenant("first").destination;
    let points =
        ["sync.after_claim", "sync.after_begin", "sync.after_commit", "sync.before_complete"];
    for point in points {
        there.execute("delete from _offtake_state; update notes set body = 'wrong'; insert into marks values ('t1', 9, 9)").await;
        world
            .source
            .execute("delete from offtake.destination_mapping; delete from offtake.visit")
            .await;
        let owe = "insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id) select 'sync', destination_id, 1 from offtake.destination on conflict do nothing";
        world.source.execute(owe).await;
        let mut killed = world.spawn_daemon_with_failpoints(&[(point, "abort")]);
        assert!(!killed.wait_exit(PATIENCE).await.success(), "it dies at {point}");
        let daemon = world.daemon().await;
        wait_equal(&world).await;
        daemon.stop().await;
    }
}
