//! Rows that the mapping's own query cannot compute, and values that move between rows of one
//! batch: only the faulty row waits (invariants 1, 6 and 8).

use offtake_tests::samples::TEAMS;
use offtake_tests::{PATIENCE, World, oracle, until};

const AGES: &str = r"
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: |
  select u.tenancy_id as tenant_id, u.project_user_id as id, u.display_name, (u.profile ->> 'age')::int as age
    from public.project_user u
target:
  table: ages
  schema_sql: create table ages (id uuid primary key, display_name text unique, age int)
";

async fn user(world: &World, name: &str, profile: &str) {
    let id = world.id("acme");
    let statement = format!(
        "insert into project_user (tenancy_id, project_user_id, display_name, profile)
           values ('{id}', md5('{name}')::uuid, '{name}', '{profile}')"
    );
    world.source.execute(&statement).await;
}

async fn wait_quarantined(world: &World, expected: &str) {
    until("the quarantine holds what is expected", PATIENCE, async || {
        let found =
            world.source.query_text("select sqlstate || ' ' || count(*) from offtake.quarantined_row group by sqlstate order by 1").await;
        if found == expected { Ok(()) } else { Err(found) }
    })
    .await;
}

async fn wait_rows(world: &World, expected: &str) {
    until("the copy holds what is expected", PATIENCE, async || {
        let found = world
            .tenant("acme")
            .destination
            .try_query_text("select count(*), sum(age) from ages")
            .await?;
        if found == expected { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Without `failed_rows::read_apart`, one such row blocks its whole mapping.
#[tokio::test]
async fn a_row_that_the_query_cannot_compute_is_set_aside_and_the_others_arrive() {
    let world = World::with_tenants(["acme"])
        .mappings(&[("ages", AGES), ("teams", TEAMS)])
        .rows_at_once(50)
        .await;
    world.allow("rows_quarantined");
    // Faulty rows in the initial copy, in the middle of a page and at its edges.
    for n in 0..120 {
        let age = if n % 40 == 7 { r#"{"age": "unknown"}"# } else { r#"{"age": 1}"# };
        user(&world, &format!("user {n}"), age).await;
    }
    let daemon = world.daemon().await;
    wait_rows(&world, "117|117").await;
    wait_quarantined(&world, "22P02 3").await;
    // A faulty row among live changes, while another mapping goes on.
    user(&world, "late", r#"{"age": "late"}"#).await;
    user(&world, "good", r#"{"age": 1}"#).await;
    world
        .source
        .execute(&format!(
            "insert into team (tenancy_id, display_name) values ('{}', 'meanwhile')",
            world.id("acme")
        ))
        .await;
    wait_rows(&world, "118|118").await;
    wait_quarantined(&world, "22P02 4").await;
    until("the other mapping goes on", PATIENCE, async || {
        let teams =
            world.tenant("acme").destination.try_query_text("select count(*) from teams").await?;
        if teams == "1" { Ok(()) } else { Err(teams) }
    })
    .await;
    // A row is visible before its commit is recorded at the source.
    world.wait_told(&daemon, "acme", "degraded", &[]).await;
    // Each faulty row recovers when it changes.
    world
        .source
        .execute(r#"update project_user set profile = '{"age": 1}' where profile ->> 'age' <> '1'"#)
        .await;
    wait_rows(&world, "122|122").await;
    wait_quarantined(&world, "").await;
    daemon.stop().await;
}

/// When a unique value moves from one row to another, the first write can collide. Without a retry
/// of collided rows, that row would wait in quarantine for a minute.
#[tokio::test]
async fn a_unique_value_that_moves_within_a_batch_is_no_refusal() {
    let world = World::with_tenants(["acme"]).mappings(&[("ages", AGES)]).await;
    for n in 0..10 {
        user(&world, &format!("user {n}"), r#"{"age": 1}"#).await;
    }
    let daemon = world.daemon().await;
    wait_rows(&world, "10|10").await;
    // In one transaction every row takes the name of the next row, and the last row takes a new
    // name.
    let shift: String = (0..10)
        .rev()
        .map(|n| format!("update project_user set display_name = 'user {}' where project_user_id = md5('user {n}')::uuid;", n + 1))
        .collect();
    world.source.execute(&shift).await;
    world.wait_in_step().await;
    let names = "select string_agg(display_name, ',' order by display_name) from ages";
    let wanted = world
        .source
        .query_text("select string_agg(display_name, ',' order by display_name) from project_user")
        .await;
    assert_eq!(world.tenant("acme").destination.query_text(names).await, wanted);
    assert_eq!(world.source.query_text("select count(*) from offtake.quarantined_row").await, "0");
    daemon.stop().await;
}

const ADDRESSES: &str = "
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
depends_on: [ { table: public.contact_channel, match: { tenancy_id: tenancy_id, project_user_id: project_user_id } } ]
query: |
  select u.tenancy_id as tenant_id, u.project_user_id as id, c.value as address
    from public.project_user u
    join public.contact_channel c on c.tenancy_id = u.tenancy_id and c.project_user_id = u.project_user_id
target: { table: addresses }
";

/// In an empty table the server raises an error; with existing rows only a count is wrong. Both are
/// reported as an error of the query.
#[tokio::test]
async fn a_query_that_gives_a_key_twice_is_told_as_that_and_heals() {
    key_twice(ADDRESSES).await;
}

/// The two rows may be the last of a stretch of the first copy and the first behind it, also where a
/// stretch has one row. Without `whole_keys` the copy silently had one of them.
#[tokio::test]
async fn a_key_that_comes_twice_at_the_end_of_a_stretch_is_told_too() {
    twice_at_the_end("/sync/chunk_rows", "1".into(), 5).await;
}

/// The stretch may end because its rows are large, between the two. Without `whole_keys` the copy
/// silently had one of them.
#[tokio::test]
async fn a_key_that_comes_twice_where_a_stretch_of_large_rows_ends_is_told_too() {
    twice_at_the_end("/sync/batch_bytes", "1MiB".into(), 400_000).await;
}

/// A row, and behind it two of one key, with values of so many bytes.
async fn twice_at_the_end(setting: &str, value: serde_json::Value, bytes: usize) {
    let mappings = [("addresses", ADDRESSES), ("teams", TEAMS)];
    let value = value.as_str().and_then(|v| v.parse::<u64>().ok()).map_or(value, Into::into);
    let mut world = World::with_tenants(["acme"]).mappings(&mappings).setting(setting, value).await;
    world.allow("mapping_blocked");
    let receives = |names: &[&str]| {
        let names = serde_json::json!(names);
        move |c: &mut serde_json::Value| c["destinations"]["static"][0]["mappings"] = names.clone()
    };
    // The rows are numbered before their copy begins; their changes would show the key as well.
    world.configure(receives(&["teams"]));
    let id = world.id("acme");
    // By the md5 of their names, the first sorts before the second.
    for (name, letter) in [("a", "x"), ("twice", "y"), ("twice", "z")] {
        if letter != "z" {
            user(&world, name, "{}").await;
        }
        let insert = format!(
            "insert into contact_channel (tenancy_id, project_user_id, type, value) values ('{id}', md5('{name}')::uuid, 'email', repeat('{letter}', {bytes}))"
        );
        world.source.execute(&insert).await;
    }
    let daemon = world.daemon().await;
    world.source.wait_text("select count(*) from offtake.captured_change", "0").await;
    daemon.stop().await;
    world.configure(receives(&["teams", "addresses"]));
    let daemon = world.daemon().await;
    let says = ["the query gives more than one row for the key ("];
    world.wait_told(&daemon, "acme", "blocked", &says).await;
    daemon.stop().await;
}

/// Where every column is part of the key, one row can stand for both: nothing is wrong with what is
/// written, and only the rows tell.
#[tokio::test]
async fn a_query_that_gives_nothing_but_a_key_twice_is_told_as_that_and_heals() {
    key_twice(&ADDRESSES.replace(", c.value as address", "")).await;
}

async fn key_twice(addresses: &str) {
    let mappings = [("addresses", addresses), ("teams", TEAMS)];
    let world = World::with_tenants(["acme"]).mappings(&mappings).await;
    world.allow("mapping_blocked");
    user(&world, "twice", "{}").await;
    let add = |value: &str| {
        let id = world.id("acme");
        format!(
            "insert into contact_channel (tenancy_id, project_user_id, type, value) values ('{id}', md5('twice')::uuid, 'email', '{value}')"
        )
    };
    let one_leaves = "delete from contact_channel where value = 'second'";
    world.source.execute(&add("first")).await;
    world.source.execute(&add("second")).await;
    let daemon = world.daemon().await;
    let says = ["the query gives more than one row for the key ("];
    world.wait_told(&daemon, "acme", "blocked", &says).await;
    world.source.execute(one_leaves).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world.source.execute(&add("second")).await;
    world.wait_told(&daemon, "acme", "blocked", &says).await;
    world.source.execute(one_leaves).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

const MARKED: &str = "
source: { table: public.team, tenant: tenancy_id, key: { id: team_id } }
query: select t.tenancy_id as tenant_id, t.team_id as id, marked(t.display_name) as name from public.team t
target: { table: marked }
";

/// A function that begins to write stops its own mapping only. The refusal (25006) was taken for a
/// source that had become a standby: every mapping of the destination waited, and nothing said why.
#[tokio::test]
async fn a_query_that_begins_to_write_stops_its_own_mapping_and_heals() {
    let mappings = [("marked", MARKED), ("teams", TEAMS)];
    let world = World::with_tenants(["acme"]).mappings(&mappings).without_init().await;
    world.allow("mapping_blocked");
    let function = |body: &str| {
        format!(
            "create or replace function marked(name text) returns text stable language sql as $$ {body} $$"
        )
    };
    world.source.execute("create sequence numbers").await;
    world.source.execute(&function("select name || '!'")).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    let add = |name: &str| {
        let id = world.id("acme");
        format!("insert into team (tenancy_id, display_name) values ('{id}', '{name}')")
    };
    world.source.execute(&add("first")).await;
    world.wait_in_step().await;
    world.source.execute(&function("select name || nextval('numbers')")).await;
    world.source.execute(&add("second")).await;
    let says = ["marked: the query failed", "cannot execute nextval() in a read-only transaction"];
    world.wait_told(&daemon, "acme", "blocked", &says).await;
    let there = &world.tenant("acme").destination;
    there.wait_text("select count(*) from teams", "2").await;
    world.source.execute(&function("select name || '!'")).await;
    world.source.execute(&add("third")).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
