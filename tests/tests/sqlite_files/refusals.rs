//! Rows that a file refuses, and rows that exchange a unique value.

use offtake_tests::{PATIENCE, World, oracle, until};

use crate::{world, write};

async fn quarantined(world: &World) -> String {
    let all = "select string_agg(row_key ->> 'id' || ' ' || sqlstate, ', ' order by row_key ->> 'id') from offtake.quarantined_row";
    world.source.query_text(all).await
}

async fn wait_quarantined(world: &World, wanted: &str) {
    until(&format!("({wanted}) is quarantined"), PATIENCE, async || {
        let found = quarantined(world).await;
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

/// A row whose value another row has is set aside, with the code that Postgres has for it. The
/// others of its batch arrive, and it heals when its value is free.
#[tokio::test]
async fn a_row_that_a_file_refuses_is_set_aside_and_heals() {
    let world = world().await;
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    file.execute("create unique index code_once on items (code)");
    write(
        &world,
        "update item set name = name || '!' where {acme}; update item set code = 'c7' where {acme} and id = 9",
    )
    .await;
    wait_quarantined(&world, "9 23505").await;
    let arrived = "select count(*) from items where name like '%!'";
    until("the others arrive", PATIENCE, async || match file.try_query_text(arrived)?.as_str() {
        "299" => Ok(()),
        found => Err(found.to_owned()),
    })
    .await;
    assert_eq!(file.query_text("select code, name from items where id = 9"), "c9|name 9");
    let error = world.source.query_text("select error from offtake.quarantined_row").await;
    assert!(error.contains("UNIQUE constraint failed: items.code"), "{error}");

    write(&world, "update item set code = 'free' where {acme} and id = 7").await;
    write(&world, "update item set name = name || '?' where {acme} and id = 9").await;
    wait_quarantined(&world, "").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Two rows exchange a unique value, and three pass it round, in one batch. SQLite cannot put off
/// the check of a unique index to the end.
#[tokio::test]
async fn rows_that_exchange_a_unique_value_arrive_together() {
    let world = world().await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    file.execute("create unique index code_once on items (code)");
    write(
        &world,
        "update item set code = case id when 1 then 'c2' when 2 then 'c1' when 3 then 'c4' when 4 then 'c5' when 5 then 'c3' end \
          where {acme} and id <= 5",
    )
    .await;
    world.wait_in_step().await;
    assert_eq!(quarantined(&world).await, "");
    oracle::assert_equal(&world).await;
    let codes = file.query_text(
        "select group_concat(code) from (select code from items where id <= 5 order by id)",
    );
    assert_eq!(codes, "c2,c1,c4,c5,c3");
    daemon.stop().await;
}
