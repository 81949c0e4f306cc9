//! Tables in a destination that do not fit: what the mapping's error tells to do is done, word for
//! word where it is SQL.

use offtake_tests::printed::{between, command};
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use serde_json::json;

const RETRY: &str = "/sync/retry";

/// The mapping's error in the status of the only tenant, once it has that part.
async fn error_of(world: &World, daemon: &Daemon, mapping: &str, part: &str) -> String {
    until(&format!("{mapping} says {part}"), PATIENCE, async || {
        let told = world.told(daemon, "acme").await;
        let all = told["mappings"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|found| found["name"] == mapping);
        let error = found.and_then(|found| found["error"].as_str()).unwrap_or_default();
        if error.contains(part) { Ok(error.to_owned()) } else { Err(told.to_string()) }
    })
    .await
}

fn mapping(table: &str, columns: &str) -> String {
    format!(
        "source: {{ table: public.item, tenant: tenant }}\n\
         query: select i.tenant as tenant_id, i.id, {columns} from public.item i\n\
         target: {{ table: {table} }}\n"
    )
}

/// A table that was there, a part of what is said of it, and how it is followed.
const TABLES: [(&str, &str, &str); 8] = [
    ("t0 (id int primary key, name text, extra text not null)", "NOT NULL", "drop the constraint"),
    ("t1 (id int primary key, name text, extra text not null)", "NOT NULL", "give it a default"),
    ("t2 (id int primary key, name text, extra text not null)", "NOT NULL", "add it to the query"),
    ("t3 (id int, name text)", "no primary key or unique index", "`create unique index"),
    ("t4 (id int, name text)", "no primary key or unique index", "rename it there"),
    ("t5 (id int primary key, name text)", "holds rows", "Rename it"),
    ("t6 (id int primary key, name text)", "holds rows", "set another target.table"),
    ("t7 (id int primary key, name text)", "is not a table", "rename it"),
];

#[tokio::test]
async fn a_table_that_was_there_is_made_to_fit_as_its_error_says() {
    let names: Vec<String> = (0..TABLES.len()).map(|at| format!("t{at}")).collect();
    let mappings = names.iter().map(|name| (name.clone(), mapping(name, "i.name")));
    let plan = World::with_tenants(["acme"]).computed_mappings(mappings).without_init();
    let world = plan.setting(RETRY, json!({ "initial": "50ms", "max": "300ms" })).await;
    let fill = "insert into item select '{tenant}', n, 'name' from generate_series(1, 10) n";
    world.with_items("name text", fill).await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    let there = &world.tenant("acme").destination;
    for (table, ..) in TABLES {
        there.execute(&format!("create table {table}")).await;
    }
    let rows = "insert into t5 values (1, 'mine'); insert into t6 values (1, 'mine');
        alter table t7 rename to base; create view t7 as select * from base";
    there.execute(rows).await;
    let daemon = world.daemon().await;
    for (name, (_, says, follow)) in names.iter().zip(TABLES) {
        let error = error_of(&world, &daemon, name, says).await;
        assert!(error.contains(follow), "{follow}: {error}");
        match name.as_str() {
            "t0" => there.execute("alter table t0 alter extra drop not null").await,
            "t1" => there.execute("alter table t1 alter extra set default ''").await,
            "t2" => world.write_mapping(name, &mapping(name, "i.name, 'x' as extra")),
            "t3" => {
                let index = between(&error, "`create unique index", "`");
                there.execute(&format!("create unique index{index}")).await;
            }
            "t4" | "t5" => there.execute(&format!("alter table {name} rename to {name}_old")).await,
            "t6" => world.write_mapping(name, &mapping("t6_copy", "i.name")),
            _ => there.execute("alter view t7 rename to t7_old").await,
        }
    }
    world.succeed(&["sync", "--tenant", world.id("acme")]).await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    // What was the tenant's own is still there.
    let mine = "select (select name from t5_old) || ' ' || (select name from t6) || ' ' || \
                       (select count(*) from t7_old)";
    assert_eq!(there.query_text(mine).await, "mine mine 0");
    daemon.stop().await;
}

/// The key of a table of `schema_sql` that tells keys apart otherwise than the source gets the type
/// that is printed. A table that is there is dropped, and one that could not be made is not.
#[tokio::test]
async fn a_key_of_another_equality_gets_the_type_that_is_printed() {
    let of = |table: &str, held: &str| {
        format!(
            "source: {{ table: public.{table}, tenant: org }}\n\
             query: select org as tenant_id, k, note from {table}\n\
             target:\n  table: {table}\n  schema_sql: |\n    \
             create table if not exists {table} (k {held}, note text, primary key (k))\n"
        )
    };
    let held = [("fine", "public.citext"), ("coarse", "text")];
    let mappings = held.map(|(table, held)| (table.to_owned(), of(table, held)));
    let plan = World::with_tenants(["acme"]).computed_mappings(mappings).without_init();
    let world = plan.setting(RETRY, json!({ "initial": "50ms", "max": "300ms" })).await;
    let acme = world.id("acme");
    let setup = format!(
        "create table fine (k text primary key, org text, note text);
         create table coarse (k numeric primary key, org text, note text);
         insert into fine values ('a', '{acme}', 'one');
         insert into coarse values (1.0, '{acme}', 'one')"
    );
    world.source.execute(&setup).await;
    let there = &world.tenant("acme").destination;
    there.execute("create extension citext").await;
    world.succeed(&["init"]).await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    let says = ["takes different texts as equal", "of which equal values may print differently"];
    for ((table, _), says) in held.into_iter().zip(says) {
        let error = error_of(&world, &daemon, table, says).await;
        assert!(!error.contains("drop table"), "there is none: {error}");
        let (_, fits) = error.split_once("give it the type ").unwrap();
        world.write_mapping(table, &of(table, between(fits, "", " in schema_sql")));
    }
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    // The tenant gives the keys other types.
    for (table, held) in held {
        there.execute(&format!("alter table {table} alter k type {held}")).await;
    }
    world.source.execute("update fine set note = 'two'; update coarse set note = 'two'").await;
    for ((table, _), says) in held.into_iter().zip(says) {
        there.execute(command(&error_of(&world, &daemon, table, says).await)).await;
    }
    world.succeed(&["sync", "--tenant", acme]).await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world
        .source
        .execute("update coarse set k = 1.00; insert into fine values ('A', 'x', 'x')")
        .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// What `schema_sql` makes cannot be used in this destination. No statement of the message is about
/// the table, which was never there.
#[tokio::test]
async fn a_table_that_schema_sql_could_not_make_is_made_as_its_error_says() {
    let of = |columns: &str| {
        format!(
            "source: {{ table: public.item, tenant: tenant }}\n\
             query: select i.tenant as tenant_id, i.id, i.name from public.item i\n\
             target:\n  table: items\n  schema_sql: |\n    {columns}\n"
        )
    };
    // The check at the source cannot try a statement that names a schema.
    let right = "create table public.items (id int primary key, name text)";
    let plan = World::with_tenants(["acme"]).computed_mappings([("items".to_owned(), of(right))]);
    let plan = plan.without_init();
    let world = plan.setting(RETRY, json!({ "initial": "50ms", "max": "300ms" })).await;
    let fill = "insert into item select '{tenant}', n, 'name' from generate_series(1, 10) n";
    world.with_items("name text", fill).await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    let there = &world.tenant("acme").destination;
    for (wrong, says) in [
        (
            "create unlogged table public.items (id int primary key, name text)",
            "leave the word out",
        ),
        (
            "create table public.items (id int primary key, name text generated always as ('x') stored)",
            "make name an ordinary column in schema_sql",
        ),
        (
            "create table public.items (id int primary key, name text, extra int not null)",
            "or give it a default in schema_sql",
        ),
        ("create table public.items (id int, name text)", "write `primary key (id)` in schema_sql"),
    ] {
        world.write_mapping("items", &of(wrong));
        let daemon = world.daemon().await;
        let error = error_of(&world, &daemon, "items", says).await;
        assert!(!error.contains(" there, ") && !error.contains("alter table"), "{error}");
        world.write_mapping("items", &of(right));
        world.wait_told(&daemon, "acme", "in_sync", &[]).await;
        oracle::assert_equal(&world).await;
        daemon.stop().await;
        there.execute("drop table items; drop table _offtake_state").await;
    }
}
