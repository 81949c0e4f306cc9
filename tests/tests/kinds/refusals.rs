//! Rows that a destination refuses.

use offtake_tests::{CopyKind, PATIENCE, World, oracle, until};

use crate::{world, write};

async fn wait_quarantined(world: &World, wanted: &str) {
    let all = "select string_agg(row_key ->> 'id' || ' ' || sqlstate, ', ' order by row_key ->> 'id') from offtake.quarantined_row";
    world.source.wait_text(all, wanted).await;
}

/// A row whose value another row has is set aside, with the code that Postgres has for it. The
/// others of its batch arrive, and it heals when its value is free.
pub(crate) async fn are_set_aside(kind: CopyKind) {
    let world = world(kind, &["acme", "globex"]).await;
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = world.tenant("acme");
    world.execute_there("acme", "create unique index code_once on items (code)").await;
    write(
        &world,
        "update item set name = name || '!' where {acme}; update item set code = 'c7' where {acme} and id = 9",
    )
    .await;
    wait_quarantined(&world, "9 23505").await;
    let arrived = "select count(*) from items where name like '%!'";
    until("the others arrive", PATIENCE, async || {
        match acme.try_query_there(arrived).await?.as_str() {
            "299" => Ok(()),
            found => Err(found.to_owned()),
        }
    })
    .await;
    assert_eq!(acme.query_there("select code, name from items where id = 9").await, "c9|name 9");
    world.wait_told(&daemon, "acme", "degraded", &["1 quarantined rows"]).await;

    write(&world, "update item set code = 'free' where {acme} and id = 7").await;
    write(&world, "update item set name = name || '?' where {acme} and id = 9").await;
    wait_quarantined(&world, "").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
