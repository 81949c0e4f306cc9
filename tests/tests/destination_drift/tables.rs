//! Tables, columns and rights that are not what the mapping needs any more.

use offtake_tests::printed::{between, command};
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::json;

use crate::{ITEMS, ROWS, assert_others_go_on, wait_blocked, wait_for, wait_healed, world, write};

#[tokio::test]
async fn a_table_that_no_longer_fits_stops_its_mapping_and_heals() {
    let world = world(&[]).await;
    world.allow("table_replaced");
    world.allow("mapping_blocked");
    let foreign = &world.tenant("globex").destination;
    foreign.execute("create table items (id integer primary key, amount text); insert into items values (7, 'mine'), (8, 'too')").await;
    let daemon = world.daemon().await;
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;
    a_foreign_table_blocks(&world, &daemon).await;
    a_lost_primary_key_blocks(&world, &daemon).await;
    another_key_blocks(&world, &daemon).await;
    a_lost_column_comes_back(&world, &daemon).await;
    daemon.stop().await;
}

/// A table of the tenant's own stays untouched and blocks the mapping until it is renamed.
async fn a_foreign_table_blocks(world: &World, daemon: &Daemon) {
    let foreign = &world.tenant("globex").destination;
    wait_blocked(
        daemon,
        world,
        "globex",
        "items",
        &["items", "was there before Offtake and holds rows", "Rename it"],
    )
    .await;
    assert_others_go_on(world, "globex", "beside a foreign table").await;
    assert_eq!(
        foreign.query_text("select string_agg(i::text, ' ' order by id) from items i").await,
        "(7,mine) (8,too)"
    );
    assert_eq!(foreign.query_text("select obj_description('items'::regclass) is null").await, "t");
    foreign.execute("alter table items rename to my_items").await;
    wait_healed(daemon, world, "globex").await;
    assert_eq!(
        foreign.query_text("select string_agg(i::text, ' ' order by id) from my_items i").await,
        "(7,mine) (8,too)"
    );
}

/// A foreign table in the place of a copy blocks the mapping, for which nothing is owed. A turn of the
/// other mappings goes on, and what it keeps does not say which table `items` has. Then the tenant
/// drops the foreign table. The test fails where the next turn with `items` takes over what was kept
/// (`take` in crates/sync/src/turn/mod.rs): the destination was in sync without the table.
#[tokio::test]
async fn a_table_that_goes_away_while_its_mapping_is_blocked_is_made_again() {
    let mut world = world(&[]).await;
    world.allow("table_replaced");
    world.allow("mapping_blocked");
    world.configure(|c| c["sync"]["retry"] = json!({ "initial": "2s", "max": "2s" }));
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    acme.execute("alter table items rename to mine; create table items (mine text); insert into items values ('mine')").await;
    write(&world, "update other set body = 'before' where {acme}").await;
    wait_blocked(&daemon, &world, "acme", "items", &["was there before Offtake"]).await;
    write(&world, "update other set body = 'beside' where {acme}").await;
    wait_for(&world, "acme", "select count(*) from others where body = 'beside'", "10").await;
    acme.execute("drop table items").await;
    wait_healed(&daemon, &world, "acme").await;
    daemon.stop().await;
}

async fn a_lost_primary_key_blocks(world: &World, daemon: &Daemon) {
    let acme = &world.tenant("acme").destination;
    acme.execute("alter table items drop constraint items_pkey").await;
    write(world, "update item set amount = 2 where {acme} and id <= 10").await;
    wait_blocked(
        daemon,
        world,
        "acme",
        "items",
        &["items", "no primary key or unique index on exactly (id)"],
    )
    .await;
    assert_others_go_on(world, "acme", "without the key").await;
    acme.execute("alter table items add primary key (id)").await;
    wait_healed(daemon, world, "acme").await;
}

/// The mapping gets another key, and later its old one again. Each time the reason names the
/// statement that solves it.
async fn another_key_blocks(world: &World, daemon: &Daemon) {
    let acme = &world.tenant("acme").destination;
    world.write_mapping("items", &ITEMS.replace("{ id: id }", "{ id: id, amount: amount }"));
    let says = ["on exactly (amount, id), the mapping's key", "keep it"];
    let error = wait_blocked(daemon, world, "acme", "items", &says).await;
    let index = format!("create unique index{}", between(&error, "`create unique index", "`"));
    world.tenant("globex").destination.execute(&index).await;
    acme.execute(command(&error)).await;
    wait_healed(daemon, world, "acme").await;
    wait_healed(daemon, world, "globex").await;
    world.write_mapping("items", ITEMS);
    // The table that was kept still has the old key.
    let says = ["on exactly (id), the mapping's key"];
    let error = wait_blocked(daemon, world, "acme", "items", &says).await;
    acme.execute(command(&error)).await;
    wait_healed(daemon, world, "acme").await;
    wait_healed(daemon, world, "globex").await;
}

/// A column that was renamed or dropped is added again and filled. The mapping may not even be
/// blocked for that.
async fn a_lost_column_comes_back(world: &World, daemon: &Daemon) {
    let acme = &world.tenant("acme").destination;
    for edit in
        ["alter table items rename column label to tag", "alter table items drop column label"]
    {
        acme.execute(edit).await;
        write(world, "update item set amount = amount + 1 where {acme} and id <= 10").await;
        wait_for(
            world,
            "acme",
            "select count(*) from items where label = 'label'",
            &ROWS.to_string(),
        )
        .await;
        wait_healed(daemon, world, "acme").await;
    }
}

/// The state table exists, but the role may no longer create a table or add a column to one.
#[tokio::test]
async fn a_right_that_was_taken_away_is_told_with_its_grant() {
    let mut world = world(&[]).await;
    world.allow("table_replaced");
    world.allow("mapping_blocked");
    let role = format!("narrow_{}", std::process::id());
    let acme = &world.tenant("acme").destination;
    acme.execute(&format!(
        "create role {role} login; grant usage, create on schema public to {role}"
    ))
    .await;
    let id = world.id("acme").to_owned();
    world.configure(|c| {
        for destination in c["destinations"]["static"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .filter(|d| d["tenant"] == *id)
        {
            destination["url"] = destination["url"]
                .as_str()
                .unwrap()
                .replace("postgres://postgres", &format!("postgres://{role}"))
                .into();
        }
    });
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    acme.execute(&format!("drop table items; revoke create on schema public from {role}")).await;
    write(&world, "update item set amount = 2 where {acme}").await;
    let says = ["missing rights: permission denied"];
    let error = wait_blocked(&daemon, &world, "acme", "items", &says).await;
    assert_others_go_on(&world, "acme", "without the right").await;
    acme.execute(between(&error, "run there: ", "\n")).await;
    wait_healed(&daemon, &world, "acme").await;
    acme.execute(&format!("alter table items owner to postgres; grant all on items to {role}; alter table items drop column label")).await;
    write(&world, "update item set amount = 3 where {acme}").await;
    let says = ["missing rights: must be owner"];
    let error = wait_blocked(&daemon, &world, "acme", "items", &says).await;
    acme.execute(between(&error, "run there: ", "\n")).await;
    wait_healed(&daemon, &world, "acme").await;
    daemon.stop().await;
    world
        .tenant("acme")
        .destination
        .execute(&format!("drop owned by {role}; drop role {role}"))
        .await;
}

#[tokio::test]
async fn a_source_column_that_is_gone_stops_only_the_mapping_that_reads_it() {
    let world = world(&[]).await;
    for event in ["mapping_blocked", "mappings_drifted", "mappings_refused"] {
        world.allow(event);
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    for (gone, back) in [
        (
            "alter table item rename column label to tag",
            "alter table item rename column tag to label",
        ),
        ("alter table item drop column label", "alter table item add column label text"),
    ] {
        write(&world, gone).await;
        write(&world, "update item set amount = amount + 1 where id <= 10").await;
        for tenant in ["acme", "globex"] {
            wait_blocked(
                &daemon,
                &world,
                tenant,
                "items",
                &["the query failed at the source", "label"],
            )
            .await;
            assert_others_go_on(&world, tenant, gone).await;
        }
        // A reload neither uses a mapping set that contradicts the source, nor stops the set that
        // is in use.
        daemon.request("POST", "/api/v1/reload", &[], "").await;
        until("the status says so", PATIENCE, async || {
            let config = daemon.status().await["config"].to_string();
            if config.contains("label") { Ok(()) } else { Err(config) }
        })
        .await;
        assert_others_go_on(&world, "acme", back).await;
        write(&world, "delete from item where id = 1; insert into item (tenant, id) select distinct tenant, 1 from other").await;
        write(&world, back).await;
        daemon.request("POST", "/api/v1/reload", &[], "").await;
        for tenant in ["acme", "globex"] {
            wait_healed(&daemon, &world, tenant).await;
        }
    }
    daemon.stop().await;
}
