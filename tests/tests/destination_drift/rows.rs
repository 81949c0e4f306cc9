//! Rows that a destination refuses because of what a tenant has changed.

use offtake_tests::{PATIENCE, until};

use crate::{ROWS, STRICT, assert_others_go_on, wait_blocked, wait_for, wait_healed, world, write};

/// The destination refuses the rows one by one, or all of them together. In both cases the reason
/// names the column.
#[tokio::test]
async fn a_column_that_wants_a_value_is_named_and_heals() {
    let world = world(&[]).await;
    world.allow("mapping_blocked");
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    acme.execute(
        "alter table items add column approved boolean not null default true; alter table items alter column approved drop default",
    )
    .await;
    write(&world, "update item set amount = 2 where {acme} and id <= 10").await;
    until("ten rows are quarantined", PATIENCE, async || {
        let named = "select count(*) from offtake.quarantined_row where mapping = 'items' and error like '%column \"approved\"%'";
        let found = world.source.query_text(named).await;
        if found == "10" { Ok(()) } else { Err(found) }
    })
    .await;
    write(&world, "update item set amount = 2 where {acme}").await;
    wait_blocked(&daemon, &world, "acme", "items", &["column", "approved", "items"]).await;
    assert_others_go_on(&world, "acme", "without approval").await;
    acme.execute("alter table items alter column approved drop not null").await;
    wait_healed(&daemon, &world, "acme").await;
    daemon.stop().await;
}

#[tokio::test]
async fn too_many_refused_rows_or_one_that_must_halt_block_the_mapping() {
    let world = world(&[("strict", STRICT)]).await;
    world.allow("mapping_blocked");
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    // 150 rows of one batch are refused.
    acme.execute("alter table items add constraint positive check (amount > 0)").await;
    write(&world, "update item set amount = case when id <= 150 then -1 else 2 end where {acme}")
        .await;
    wait_blocked(
        &daemon,
        &world,
        "acme",
        "items",
        &["refuses more than 100 rows of one batch", "positive"],
    )
    .await;
    wait_for(&world, "acme", "select count(*) from items where amount = 1", &ROWS.to_string())
        .await;
    wait_for(&world, "acme", "select count(*) from strict where amount = -1", "150").await;
    assert_others_go_on(&world, "acme", "beside 150 bad rows").await;
    write(&world, "update item set amount = 3 where {acme} and id <= 150").await;
    wait_healed(&daemon, &world, "acme").await;
    // One row is refused, and the mapping says that no row may be left out.
    acme.execute("alter table items drop constraint positive; alter table strict add constraint positive check (amount > 0)").await;
    write(&world, "update item set amount = case when id = 77 then -1 else 4 end where {acme}")
        .await;
    wait_blocked(&daemon, &world, "acme", "strict", &["refuses the row with key (77)", "positive"])
        .await;
    wait_for(&world, "acme", "select count(*) from strict where amount in (4, -1)", "0").await;
    assert_others_go_on(&world, "acme", "beside a halt").await;
    assert_eq!(world.source.query_text("select count(*) from offtake.quarantined_row").await, "0");
    acme.execute("alter table strict drop constraint positive").await;
    wait_healed(&daemon, &world, "acme").await;
    daemon.stop().await;
}

/// The tenant adds a unique constraint that the source does not have. Also: Offtake grants no
/// rights on a copy to anybody.
#[tokio::test]
async fn a_unique_constraint_that_was_added_sets_rows_aside_and_heals() {
    let world = world(&[]).await;
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    let granted = "select count(*) from pg_class where relnamespace = 'public'::regnamespace and relacl is not null";
    assert_eq!(acme.query_text(granted).await, "0", "tables whose rights somebody changed");
    acme.execute("alter table names add constraint names_once unique (name)").await;
    write(&world, "update item set name = 'name 1' where {acme} and id in (2, 3); update other set body = 'beside'").await;
    until("two rows are quarantined", PATIENCE, async || {
        let named = "select string_agg(row_key ->> 'id' || ' ' || sqlstate, ', ' order by row_key ->> 'id') from offtake.quarantined_row
                      where mapping = 'names' and error like '%names_once%'";
        let found = world.source.query_text(named).await;
        if found == "2 23505, 3 23505" { Ok(()) } else { Err(found) }
    })
    .await;
    wait_for(&world, "acme", "select count(*) from others where body = 'beside'", "10").await;
    wait_for(&world, "acme", "select count(*) from names where name = 'name 1'", "1").await;
    acme.execute("alter table names drop constraint names_once").await;
    world.source.execute("update offtake.quarantined_row set retry_at = now()").await;
    wait_healed(&daemon, &world, "acme").await;
    daemon.stop().await;
}
