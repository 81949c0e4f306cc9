//! Whose tables are in a file, and what becomes of them.

use offtake_tests::printed::between;
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};

use crate::{touch, world, write};

async fn wait_blocked(daemon: &Daemon, world: &World, words: &str) -> String {
    until(&format!("items is blocked: {words}"), PATIENCE, async || {
        let told = world.told(daemon, "acme").await;
        let all = told["mappings"].as_array().cloned().unwrap_or_default();
        let error = all.iter().find_map(|mapping| mapping["error"].as_str());
        match error.filter(|error| error.contains(words)) {
            Some(error) => Ok(error.to_owned()),
            None => Err(told.to_string()),
        }
    })
    .await
}

async fn wait_healed(daemon: &Daemon, world: &World) {
    touch(world).await;
    world.wait_told(daemon, "acme", "in_sync", &[]).await;
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
}

/// A table that was there stays untouched, also an empty one; a trigger and a column that would
/// change values stop the mapping. Each is mended by what the reason says, and the other mapping
/// goes on meanwhile.
#[tokio::test]
async fn what_stands_in_the_way_in_a_file_is_mended_as_its_reason_says() {
    let world = world().await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    let file = world.tenant("acme").file();
    rusqlite::Connection::open(file.path())
        .unwrap()
        .execute_batch("create table Items (mine text)")
        .unwrap();
    let daemon = world.daemon().await;
    let error = wait_blocked(&daemon, &world, "was there before Offtake").await;
    assert!(error.contains("Rename it"), "{error}");
    until("the other mapping goes on", PATIENCE, async || {
        match file.try_query_text("select count(*) from others")?.as_str() {
            "10" => Ok(()),
            found => Err(found.to_owned()),
        }
    })
    .await;
    assert_eq!(file.query_text("select count(*) from items"), "0");
    file.execute("alter table Items rename to mine");
    wait_healed(&daemon, &world).await;

    file.execute("create trigger quiet before update on items begin select raise(ignore); end");
    write(&world, "update item set name = 'new' where {acme}").await;
    let error = wait_blocked(&daemon, &world, "has the trigger quiet").await;
    file.execute(between(&error, "run there: ", "\n"));
    wait_healed(&daemon, &world).await;

    file.execute("drop table items");
    file.execute(
        "create table items (id INTEGER NOT NULL PRIMARY KEY, code JSON, name TEXT);
         create index \"offtake:items:x1\" on items (id) where 0",
    );
    touch(&world).await;
    let error = wait_blocked(&daemon, &world, "declared JSON").await;
    assert!(error.contains("declare it TEXT"), "{error}");
    file.execute("drop table items");
    wait_healed(&daemon, &world).await;
    daemon.stop().await;
}

/// What the tenant drops or edits is noticed at the next visit, and comes back in place.
#[tokio::test]
async fn what_was_dropped_or_edited_in_a_file_is_copied_again() {
    let world = world().await;
    // A column that is gone is noticed when a row is written.
    for event in ["table_replaced", "mapping_blocked", "destination_failed"] {
        world.allow(event);
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    for edit in [
        "drop table items",
        "delete from items; update _offtake_state set sequence_id = sequence_id + 1000000 where mapping = 'items'",
        "delete from items; delete from _offtake_state",
        "delete from items; update _offtake_state set epoch = 'another' where mapping = 'items'",
        "delete from items; update _offtake_state set version = 'of someone else' where mapping = 'items'",
        "delete from items; drop table _offtake_state",
        "alter table items drop column code",
        "delete from items; alter table _offtake_state drop column write_id",
    ] {
        println!("{edit}");
        file.execute(edit);
        write(&world, "update item set name = name || '.' where {acme} and id = 1").await;
        until("the rows are back", PATIENCE, async || {
            let found = file.try_query_text("select count(*) from items where code is not null")?;
            if found == "300" { Ok(()) } else { Err(found) }
        })
        .await;
        world.wait_in_step().await;
        oracle::assert_equal_after(&world, edit).await;
    }
    daemon.stop().await;
}

/// A column that the query gets is added, and filled by a copy in place.
#[tokio::test]
async fn a_column_that_the_query_gets_is_added_to_a_file() {
    let world = world().await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let wider = crate::ITEMS.replace("i.name from", "i.name, length(i.name) as size from");
    world.write_mapping("items", &wider);
    let file = world.tenant("acme").file();
    until("the column is filled", PATIENCE, async || {
        let found =
            file.try_query_text("select count(*) from items where typeof(size) = 'integer'")?;
        if found == "300" { Ok(()) } else { Err(found) }
    })
    .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A file has one type for all integers, so a column that grows to bigint needs nothing. A column
/// that becomes a number with decimals is told, and is right when its table was dropped.
#[tokio::test]
async fn a_column_whose_type_grows_at_the_source_needs_nothing_or_a_new_table() {
    let world = world().await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    let sized = |size: &str| crate::ITEMS.replace("i.name from", &format!("i.name, {size} from"));
    write(&world, "alter table item add column size integer not null default 7").await;
    world.write_mapping("items", &sized("i.size"));
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    write(
        &world,
        "alter table item alter column size type bigint; \
         update item set size = 5000000000 where {acme} and id = 3",
    )
    .await;
    until("the large number is there", PATIENCE, async || {
        let found = file.try_query_text("select size from items where id = 3")?;
        if found == "5000000000" { Ok(()) } else { Err(found) }
    })
    .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;

    world.write_mapping("items", &sized("i.size::numeric / 4 as size"));
    let error = wait_blocked(&daemon, &world, "the column size of items is declared INTEGER").await;
    assert!(error.contains("or drop the table"), "{error}");
    for tenant in world.tenants() {
        tenant.file().execute("drop table items");
    }
    wait_healed(&daemon, &world).await;
    let held = "select typeof(size), size from items where id = 3";
    assert_eq!(file.query_text(held), "text|1250000000.00000000");
    daemon.stop().await;
}
