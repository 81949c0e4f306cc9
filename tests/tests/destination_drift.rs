//! H14, H16, H18, H19 and S12: a stranger changes a destination, or the source's tables that a
//! mapping reads. Offtake notices it, reports it, stops only that mapping, and recovers.

#![allow(clippy::unwrap_used)]

use offtake_tests::printed::{between, command};
use offtake_tests::samples::{NAMES, OTHERS};
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use serde_json::{Value, json};

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.amount, i.label from public.item i
target: { table: items }
";

/// The same rows as `items`, for a destination that wants all of them or none.
const STRICT: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.amount from public.item i
target: { table: strict }
on_row_error: halt
";

const ROWS: usize = 400;

/// Two tenants with rows in both tables. The source is prepared; no daemon runs.
async fn world(more: &[(&str, &str)]) -> World {
    let mappings = [&[("items", ITEMS), ("names", NAMES), ("others", OTHERS)], more].concat();
    let world = World::with_tenants(["acme", "globex"]).mappings(&mappings).without_init();
    let world = world.setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" })).await;
    let fill = format!(
        "insert into item (tenant, id, name, label) select '{{tenant}}', n, 'name ' || n, 'label' from generate_series(1, {ROWS}) n"
    );
    world.with_items("amount integer not null default 1, name text, label text", &fill).await;
    world
}

async fn write(world: &World, statement: &str) {
    world
        .source
        .execute(&statement.replace("{acme}", &format!("tenant = '{}'", world.id("acme"))))
        .await;
}

/// Waits until the destination is blocked, the mapping's error has all these words, and no other
/// mapping has an error. Returns the error.
async fn wait_blocked(
    daemon: &Daemon,
    world: &World,
    tenant: &str,
    mapping: &str,
    words: &[&str],
) -> String {
    until(&format!("{mapping} is blocked with {words:?}"), PATIENCE, async || {
        let told = world.told(daemon, tenant).await;
        let all = told["mappings"].as_array().cloned().unwrap_or_default();
        let fits = |m: &Value| match m["error"].as_str() {
            Some(error) => m["name"] == mapping && words.iter().all(|word| error.contains(word)),
            None => m["name"] != mapping,
        };
        if told["state"] == "blocked" && !all.is_empty() && all.iter().all(fits) {
            let error = all.iter().find_map(|m| m["error"].as_str());
            Ok(error.unwrap_or_default().to_owned())
        } else {
            Err(told.to_string())
        }
    })
    .await
}

/// Waits until the blocked mapping has recovered: no error is reported any more, and every row has
/// arrived.
async fn wait_healed(daemon: &Daemon, world: &World, tenant: &str) {
    world.wait_told(daemon, tenant, "in_sync", &[]).await;
    world.wait_tenants_in_step(&[tenant], PATIENCE).await;
    oracle::assert_tenants_equal(world, &[tenant]).await;
}

async fn wait_for(world: &World, tenant: &str, sql: &str, expect: &str) {
    until(sql, PATIENCE, async || {
        let found = world.tenant(tenant).destination.try_query_text(sql).await?;
        if found == expect { Ok(()) } else { Err(format!("{found}, not {expect}")) }
    })
    .await;
}

/// Changes all rows of both tables. The changes of the mappings `names` and `others` must arrive at
/// the tenant's destination.
async fn assert_others_go_on(world: &World, tenant: &str, what: &str) {
    write(world, &format!("update item set name = '{what}'; update other set body = '{what}'"))
        .await;
    let arrived = format!(
        "select (select count(*) from names where name = '{what}'), (select count(*) from others where body = '{what}')"
    );
    wait_for(world, tenant, &arrived, &format!("{ROWS}|10")).await;
}

/// Changes one row of one table, so that the daemon visits the destination. Then every copy must be
/// right.
async fn assert_noticed(world: &World, daemon: &Daemon, what: &str) {
    println!("{what}");
    write(world, "update other set body = body || '.' where {acme} and id = 1").await;
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
    wait_healed(daemon, world, "acme").await;
}

#[tokio::test]
async fn a_destination_that_was_wiped_or_edited_is_copied_again_in_place() {
    let world = world(&[]).await;
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    let place = "select 'items'::regclass::oid, 'names'::regclass::oid";
    let before = acme.query_text(place).await;
    for edit in [
        "truncate items",
        "delete from items; update _offtake_state set sequence_id = sequence_id + 1000000 where mapping = 'items'",
        "delete from names; delete from _offtake_state",
        "delete from names; update _offtake_state set epoch = gen_random_uuid() where mapping = 'names'",
        "delete from items; update _offtake_state set version = 'of someone else' where mapping = 'items'",
    ] {
        acme.execute(edit).await;
        assert_noticed(&world, &daemon, edit).await;
        assert_eq!(acme.query_text(place).await, before, "in place");
    }
    // Every write needs the state table, so without it the whole destination fails.
    world.allow("destination_failed");
    for edit in [
        "delete from names; drop table _offtake_state",
        "drop table items",
        "drop schema public cascade",
    ] {
        acme.execute(edit).await;
        assert_noticed(&world, &daemon, edit).await;
    }
    daemon.stop().await;
}

/// The test fails without `readable` (crates/sync/src/prepare.rs): the mapping stayed blocked by
/// the source's error. Without the coalesces in crates/sync/sql/lock_states.sql, every turn
/// panicked.
#[tokio::test]
async fn a_hostile_cursor_is_no_more_than_a_copy_again() {
    let world = world(&[]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    for set in [
        "sequence_id = -1",
        "sequence_id = -9223372036854775808",
        "sequence_id = 9223372036854775807",
        "version = E'\\u0001''; drop table items; --'",
        "backfilled = false, backfill_key = '{\"id\": 1}'",
        "backfilled = false, backfill_key = '\"text\"'",
        "backfilled = false, backfill_key = '[1, null]'",
        "backfilled = false, backfill_key = 'null'",
        "backfilled = false, backfill_key = '[]'",
        "backfilled = false, backfill_key = '[\"1\", \"2\"]'",
        "backfilled = false, backfill_key = '[\"no number\"]'",
        "backfilled = false, backfill_key = '[\"1'') or true; --\"]'",
    ] {
        acme.execute(&format!(
            "delete from items; update _offtake_state set {set} where mapping = 'items'"
        ))
        .await;
        assert_noticed(&world, &daemon, set).await;
    }
    // The tenant may also alter the state table itself.
    for alter in [
        "alter sequence_id drop not null",
        "alter epoch drop not null, alter version drop not null",
        "alter sequence_id type text",
    ] {
        acme.execute(&format!("alter table _offtake_state {alter}")).await;
        acme.execute("delete from items; update _offtake_state set backfilled = false where mapping = 'items'").await;
        if let Some(column) =
            alter.strip_suffix(" drop not null").and_then(|rest| rest.rsplit(' ').next())
        {
            acme.execute(&format!("update _offtake_state set {column} = null")).await;
        }
        assert_noticed(&world, &daemon, alter).await;
    }
    daemon.stop().await;
}

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
