//! Tables and rows that a D1 database does not take, and what becomes of those that tenants change.

use offtake_tests::d1::Fault;
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};

use crate::{ITEMS, world, write};

async fn wait_quarantined(world: &World, wanted: &str) {
    let all = "select string_agg(row_key ->> 'id' || ' ' || sqlstate, ', ' order by row_key ->> 'id') from offtake.quarantined_row";
    until(&format!("({wanted}) is quarantined"), PATIENCE, async || {
        let found = world.source.query_text(all).await;
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

async fn wait_blocked(daemon: &Daemon, world: &World, words: &str) {
    until(&format!("items is blocked: {words}"), PATIENCE, async || {
        let told = world.told(daemon, "acme").await.to_string();
        if told.contains(words) { Ok(()) } else { Err(told) }
    })
    .await;
}

/// Of a batch with rows that the database refuses, the others arrive; the refused ones are in
/// quarantine with their reasons and keep their old versions. Rows that exchange a value are no
/// refused ones, also beside such. They heal when their value is free.
#[tokio::test]
async fn refused_rows_are_set_aside_and_exchanged_values_arrive() {
    let Some(world) = world().await else { return };
    set_aside_and_exchanged(world).await;
}

/// A request that is sent again arrives twice. From the first table to the last row that is set
/// aside, all of them may.
#[tokio::test]
async fn the_same_holds_where_every_request_arrives_twice() {
    let Some(world) = world().await else { return };
    world.d1().always("", Fault::Twice);
    set_aside_and_exchanged(world).await;
}

async fn set_aside_and_exchanged(world: World) {
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    world.d1().execute(0, &["create unique index code_once on items (code)"]).await;
    let exchange = "update item set code = case id when 1 then 'c2' when 2 then 'c1' when 3 then 'c4' when 4 then 'c5' when 5 then 'c3' end \
                     where {acme} and id <= 5";
    write(&world, exchange).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(world.source.query_text("select count(*) from offtake.quarantined_row").await, "0");

    write(
        &world,
        "begin; update item set name = name || '!' where {acme}; \
         update item set code = case id when 6 then 'c7' when 7 then 'c6' when 9 then 'c20' when 10 then 'c20' else code end \
          where {acme} and id in (6, 7, 9, 10); commit",
    )
    .await;
    wait_quarantined(&world, "10 23505, 9 23505").await;
    let arrived = "select count(*) from items where name like '%!'";
    until("the others arrive", PATIENCE, async || match file.try_query_text(arrived)?.as_str() {
        "298" => Ok(()),
        found => Err(found.to_owned()),
    })
    .await;
    assert_eq!(file.query_text("select code, name from items where id = 9"), "c9|name 9");
    // A note is deleted once its row is in quarantine.
    until("the notes are gone", PATIENCE, async || {
        let found = file.try_query_text("select count(*) from _offtake_refused")?;
        if found == "0" { Ok(()) } else { Err(found) }
    })
    .await;
    let error = world.source.query_text("select distinct error from offtake.quarantined_row").await;
    assert!(error.contains("UNIQUE constraint failed: items.code"), "{error}");

    write(&world, "update item set code = 'free' || id where {acme} and id in (9, 10)").await;
    wait_quarantined(&world, "").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A daemon that dies between the commit that leaves a row out and the quarantine has left a note.
/// The next daemon copies the mapping again, and sets the row aside then.
#[tokio::test]
async fn a_refused_row_is_not_forgotten_when_the_daemon_dies_right_after_the_commit() {
    let Some(world) = crate::filled(crate::plan().setting("/poller/lease", "1s")).await else {
        return;
    };
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    world.d1().execute(0, &["create unique index code_once on items (code)"]).await;
    write(&world, "update item set code = 'c7' where {acme} and id = 9").await;
    let mut killed = world.spawn_daemon_with_failpoints(&[("sync.after_commit", "abort")]);
    killed.wait_exit(PATIENCE).await;
    let file = world.tenant("acme").file();
    assert_eq!(file.query_text("select count(*) from _offtake_refused"), "1");
    let daemon = world.daemon().await;
    wait_quarantined(&world, "9 23505").await;
    until("the note is gone", PATIENCE, async || {
        let found = file.try_query_text("select count(*) from _offtake_refused")?;
        if found == "0" { Ok(()) } else { Err(found) }
    })
    .await;
    daemon.stop().await;
}

/// Rows near the limit of two million bytes: one below arrives, one above is set aside.
#[tokio::test]
async fn a_row_of_nearly_two_million_bytes_arrives_and_a_larger_one_is_set_aside() {
    let Some(world) = world().await else { return };
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    write(
        &world,
        "update item set name = repeat('x', 1990000) where {acme} and id = 1; \
         update item set name = repeat(E'\\n\"', 800000) where {acme} and id = 2; \
         update item set name = repeat('y', 2010000) where {acme} and id = 3",
    )
    .await;
    wait_quarantined(&world, "3 22001").await;
    let file = world.tenant("acme").file();
    until("the others arrive", PATIENCE, async || {
        let found = file.try_query_text("select group_concat(length(name)) from (select name from items where id <= 3 order by id)")?;
        if found == "1990000,1600000,6" { Ok(()) } else { Err(found) }
    })
    .await;
    write(&world, "update item set name = 'small' where {acme} and id = 3").await;
    wait_quarantined(&world, "").await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A table that was there, a trigger, a column that would change values, a foreign key, and too many
/// columns stop the mapping with the reason; the other mapping goes on. The daemon copies again what
/// was dropped.
#[tokio::test]
async fn what_stands_in_the_way_in_a_d1_database_is_said_and_mended() {
    let Some(world) = world().await else { return };
    for event in ["mapping_blocked", "table_replaced", "destination_failed", "rows_quarantined"] {
        world.allow(event);
    }
    let d1 = world.d1();
    d1.execute(0, &["create table Items (mine text)"]).await;
    let daemon = world.daemon().await;
    wait_blocked(&daemon, &world, "was there before Offtake").await;
    let file = world.tenant("acme").file();
    until("the other mapping goes on", PATIENCE, async || {
        let found = file.try_query_text("select count(*) from others")?;
        if found == "10" { Ok(()) } else { Err(found) }
    })
    .await;
    let touch = "update other set body = body || '.' where {acme} and id = 1";
    let healed = async || {
        write(&world, touch).await;
        world.wait_told(&daemon, "acme", "in_sync", &[]).await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
    };
    d1.execute(0, &["drop table Items"]).await;
    healed().await;

    d1.execute(0, &["create trigger quiet before update on items begin select raise(ignore); end"])
        .await;
    write(&world, "update item set name = 'new' where {acme}").await;
    wait_blocked(&daemon, &world, "has the trigger quiet").await;
    d1.execute(0, &["drop trigger quiet"]).await;
    healed().await;

    d1.execute(0, &["drop table items"]).await;
    healed().await;
    assert_eq!(file.query_text("select count(*) from items"), "300");

    d1.execute(0, &["alter table items drop column code"]).await;
    write(&world, "update item set name = 'newer' where {acme}").await;
    until("the column is back", PATIENCE, async || {
        let found = file.try_query_text("select count(*) from items where code is not null")?;
        if found == "300" { Ok(()) } else { Err(found) }
    })
    .await;
    healed().await;

    d1.execute(0, &["create table pins (item integer references items (id))"]).await;
    world.succeed(&["resync", "--tenant", world.id("acme"), "--mapping", "items", "--yes"]).await;
    wait_blocked(&daemon, &world, "a foreign key of pins refers to items").await;
    d1.execute(0, &["drop table pins"]).await;
    healed().await;

    let columns: Vec<String> = (0..97).map(|n| format!("{n} as c{n}")).collect();
    let wide = ITEMS.replace("i.name from", &format!("i.name, {} from", columns.join(", ")));
    world.write_mapping("items", &wide);
    world.wait_in_step().await;
    until("a hundred columns arrive", PATIENCE, async || {
        let found = file.try_query_text("select count(*) from items where c96 = 96")?;
        if found == "300" { Ok(()) } else { Err(found) }
    })
    .await;
    // The other tenant's copy is made with the edited file too.
    world.wait_in_step().await;
    world.succeed(&["verify"]).await;
    d1.execute(0, &["create unique index code_once on items (code)"]).await;
    write(&world, "update item set code = 'c7' where {acme} and id = 9").await;
    wait_quarantined(&world, "9 23505").await;
    world.write_mapping("items", &wide.replace("i.name, ", "i.name, 1 as one, "));
    wait_blocked(&daemon, &world, "D1 takes tables of 100 columns, and the query has 101").await;
    daemon.stop().await;
}

/// A database that Time Travel has set back has old rows with old cursors, which fit each other. The
/// source knows newer cursors, and so it is copied again.
#[tokio::test]
async fn a_database_that_was_set_back_is_copied_again() {
    let Some(world) = world().await else { return };
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let kept = ["items", "others", "_offtake_state"];
    let keep = kept.map(|table| format!("create table kept_{table} as select * from {table}"));
    world.d1().execute(0, &keep.each_ref().map(String::as_str)).await;
    write(&world, "update item set name = 'newer' where id % 2 = 0; delete from item where id = 7")
        .await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    let count = "select count(*) from items where name = 'newer'";
    assert_eq!(file.query_text(count), "150");
    let back = kept.map(|table| {
        [format!("delete from {table}"), format!("insert into {table} select * from kept_{table}")]
    });
    let back: Vec<&str> = back.iter().flatten().map(String::as_str).collect();
    world.d1().execute(0, &back).await;
    assert_eq!(file.query_text(count), "0");
    // Nothing of items changes: a visit alone shows it.
    write(&world, "update other set body = 'visit' where {acme} and id = 1").await;
    until("the newer rows are back", PATIENCE, async || {
        let found = file.try_query_text(count)?;
        if found == "150" { Ok(()) } else { Err(found) }
    })
    .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// What the tenant drops or edits is noticed at the next visit, and comes back in place.
#[tokio::test]
async fn what_was_dropped_or_edited_in_a_d1_database_is_copied_again() {
    let Some(world) = world().await else { return };
    for event in ["table_replaced", "mapping_blocked", "destination_failed"] {
        world.allow(event);
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    for edit in [
        &[
            "delete from items",
            "update _offtake_state set sequence_id = sequence_id + 1000000 where mapping = 'items'",
            "update _offtake_state set write_id = 'other'",
        ][..],
        &["delete from items", "delete from _offtake_state"],
        &[
            "delete from items",
            "update _offtake_state set epoch = 'another', write_id = 'x' where mapping = 'items'",
        ],
        &["delete from items", "drop table _offtake_state"],
        &["delete from items", "alter table _offtake_state drop column write_id"],
        &["drop table _offtake_guard", "drop table items"],
        &["drop table _offtake_refused", "drop table items"],
    ] {
        println!("{edit:?}");
        world.d1().execute(0, edit).await;
        write(&world, "update item set name = name || '.' where {acme} and id = 1").await;
        until("the rows are back", PATIENCE, async || {
            let found = file.try_query_text("select count(*) from items where code is not null")?;
            if found == "300" { Ok(()) } else { Err(found) }
        })
        .await;
        world.wait_in_step().await;
        oracle::assert_equal_after(&world, &format!("{edit:?}")).await;
    }
    daemon.stop().await;
}
