//! Invariants 5, 6 and 8: a row that the destination refuses is quarantined and reported. All other
//! rows arrive, and the refused row recovers by itself.

#![allow(clippy::unwrap_used)]

use offtake_tests::samples::{NAMES, OTHERS};
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use serde_json::{Value, json};

/// One column for every way in which a destination can refuse a row.
const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.amount, i.name, i.code, i.label, i.document from public.item i
target:
  table: items
  schema_sql: |
    create table items (
      id integer primary key,
      amount integer constraint amount_not_negative check (amount >= 0),
      name text not null,
      code text constraint code_once unique,
      label varchar(10),
      document jsonb
    )
";

const ROWS: usize = 5000;

/// Rows that become refused ones: id, the change that does it, and the SQLSTATE of the refusal.
const POISON: [(u32, &str, &str); 5] = [
    (2250, "amount = -1", "23514"),
    (2499, "name = null", "23502"),
    // Row 7 has this code. The row that is written second is refused, and row 7 is there already.
    (2500, "code = 'c7'", "23505"),
    (2501, "label = 'longer than ten'", "22001"),
    (3750, r#"document = '{"nul": "\u0000"}'"#, "22P05"),
];

/// Two tenants with 5 000 rows each in `item`. The source is prepared; no daemon runs.
async fn world() -> World {
    let mappings = [("items", ITEMS), ("names", NAMES), ("others", OTHERS)];
    let world = World::with_tenants(["acme", "globex"]).mappings(&mappings).without_init();
    let world = world
        .rows_at_once(2000)
        .setting("/sync/retry", json!({ "initial": "50ms", "max": "500ms" }))
        .await;
    let fill = format!(
        "insert into item (tenant, id, name, code, label, document)
         select '{{tenant}}', n, 'name ' || n, 'c' || n, 'label', '{{\"n\": 1}}' from generate_series(1, {ROWS}) n"
    );
    world
        .with_items(
            "amount integer not null default 1, name text, code text, label text, document json",
            &fill,
        )
        .await;
    world
}

async fn write(world: &World, statement: &str) {
    world
        .source
        .execute(&statement.replace("{acme}", &format!("tenant = '{}'", world.id("acme"))))
        .await;
}

async fn poison(world: &World) {
    for (id, set, _) in POISON {
        write(world, &format!("update item set {set} where {{acme}} and id = {id}")).await;
    }
}

fn of_mapping<'a>(told: &'a Value, name: &str) -> &'a Value {
    told["mappings"]
        .as_array()
        .and_then(|all| all.iter().find(|m| m["name"] == name))
        .unwrap_or(&Value::Null)
}

/// Checks that all rows except the refused ones have arrived, and that each refused row is reported
/// with its mapping, key and reason.
async fn assert_only_poison_is_missing(world: &World, daemon: &Daemon, stands_at: &str) {
    oracle::assert_tenants_equal(world, &["globex"]).await;
    let acme = world.tenant("acme");
    for mapping in world.mappings() {
        let difference =
            oracle::compare(&world.source, &acme.id, &mapping, &acme.destination, "public").await;
        let keys = |rows: &[String]| {
            rows.iter()
                .map(|row| row.split('\t').next().unwrap().parse().unwrap())
                .collect::<Vec<u32>>()
        };
        let (mut missing, mut surplus) = (keys(&difference.missing), keys(&difference.surplus));
        missing.sort_unstable();
        surplus.sort_unstable();
        let poisoned: Vec<u32> =
            if mapping.name == "items" { POISON.map(|(id, ..)| id).to_vec() } else { Vec::new() };
        assert_eq!(missing, poisoned, "{}", mapping.name);
        // A refused row that existed before stays as it was; one that never existed is missing.
        assert_eq!(
            surplus,
            if stands_at == "the row before" { poisoned } else { Vec::new() },
            "{}",
            mapping.name
        );
    }
    let quarantined = world
        .source
        .query_text("select mapping, row_key ->> 'id', sqlstate, error from offtake.quarantined_row order by (row_key ->> 'id')::int")
        .await;
    let lines: Vec<_> = quarantined.lines().collect();
    assert_eq!(lines.len(), POISON.len(), "{quarantined}");
    for (line, (id, _, sqlstate)) in lines.iter().zip(POISON) {
        assert!(line.starts_with(&format!("items|{id}|{sqlstate}|")), "{line}");
        assert!(
            line.len() > 30 && !line.contains("longer than ten") && !line.contains("c7"),
            "a reason, and no values: {line}"
        );
    }
    let told = world.wait_told(daemon, "acme", "degraded", &[]).await;
    assert_eq!(
        (&of_mapping(&told, "items")["quarantined"], &of_mapping(&told, "names")["quarantined"]),
        (&json!("5"), &json!("0")),
        "{told}"
    );
    assert_eq!(daemon.status().await["quarantined_rows"], json!("5"));
}

async fn quarantined(world: &World) -> String {
    world
        .source
        .query_text("select coalesce(string_agg(row_key ->> 'id', ' ' order by row_key ->> 'id'), '') from offtake.quarantined_row")
        .await
}

/// Postpones all retries, so that none happens by itself during the test.
async fn put_off(world: &World) {
    world
        .source
        .execute("update offtake.quarantined_row set retry_at = now() + interval '1 hour'")
        .await;
}

/// Makes all retries due.
async fn make_due(world: &World) {
    world.source.execute("update offtake.quarantined_row set retry_at = now()").await;
}

async fn wait_quarantined(world: &World, wanted: &str) {
    until(&format!("only ({wanted}) is quarantined"), PATIENCE, async || {
        let found = quarantined(world).await;
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Without the `retain` in `Applier::refuse` (crates/sync/src/apply.rs) the copy never went on: one
/// statement cannot put a row into quarantine that is refused twice in one batch. Without a new
/// staging table for the second look (`Turn::apply` in crates/sync/src/turn.rs), widening a column
/// in the destination had no effect.
#[tokio::test]
async fn refused_rows_are_set_aside_in_the_initial_copy_and_heal() {
    let world = world().await;
    world.allow("rows_quarantined");
    let mut daemon = world.spawn_daemon_with_failpoints(&[("sync.after_read", "pause")]);
    daemon.wait_at_failpoint("sync.after_read", 2).await;
    // The copy has begun and has not reached the refused rows: the next batch has each of them
    // twice, as a change and in the chunk.
    poison(&world).await;
    until("the changes are sequenced", PATIENCE, async || {
        let waiting = world.source.query_text("select count(*) from offtake.captured_change").await;
        if waiting == "0" { Ok(()) } else { Err(waiting) }
    })
    .await;
    daemon.clear_failpoints().await;
    daemon.wait_ready().await;
    world.wait_in_step().await;
    assert_only_poison_is_missing(&world, &daemon, "nothing").await;
    // One refused row changes: only this row is retried.
    write(&world, "update item set amount = 2 where {acme} and id = 2250").await;
    // The refused row is deleted.
    write(&world, "delete from item where {acme} and id = 2499").await;
    wait_quarantined(&world, "2500 2501 3750").await;
    // The cause of a refusal is removed at the destination.
    let acme = &world.tenant("acme").destination;
    acme.execute("alter table items drop constraint code_once; alter table items alter column label type varchar(20)").await;
    put_off(&world).await;
    let attempts = "select attempts from offtake.quarantined_row where row_key ->> 'id' = '3750'";
    let before: u32 = world.source.query_text(attempts).await.parse().unwrap();
    make_due(&world).await;
    wait_quarantined(&world, "3750").await;
    // Nothing changed for this row: its next retry is postponed for longer.
    assert_eq!(world.source.query_text(attempts).await.parse(), Ok(before + 1));
    let put_off =
        "select retry_at - last_failed_at > interval '1 minute' from offtake.quarantined_row";
    assert_eq!(world.source.query_text(put_off).await, "t");
    write(&world, "update item set document = '[]' where {acme} and id = 3750").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    assert_eq!(quarantined(&world).await, "");
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// One transaction changes all 5 000 rows, five of them to refused values. The others arrive, and
/// these five stay as they were. The test fails if every refusal counts as the mapping's fault
/// (`row_fault` in crates/postgres/src/sqlstate.rs returning false): the mapping stopped.
#[tokio::test]
async fn refused_rows_are_set_aside_among_live_changes() {
    let world = world().await;
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let sets = POISON
        .map(|(id, set, _)| format!("update item set {set} where {{acme}} and id = {id}"))
        .join(";");
    write(&world, &format!("update item set amount = amount + 1 where {{acme}}; {sets}; update other set body = 'beside'")).await;
    world.wait_in_step().await;
    assert_only_poison_is_missing(&world, &daemon, "the row before").await;
    // The next batch of the table contains none of the refused rows: none is retried before it is
    // due.
    put_off(&world).await;
    let attempts = "select string_agg(attempts::text, ' ') from offtake.quarantined_row";
    let before = world.source.query_text(attempts).await;
    write(&world, "update item set amount = 100 where {acme} and id between 2490 and 2498").await;
    world.wait_in_step().await;
    assert_only_poison_is_missing(&world, &daemon, "the row before").await;
    assert_eq!(world.source.query_text(attempts).await, before);
    write(&world, "update item set amount = 1, name = 'n', code = 'own ' || id, label = '', document = null where {acme} and id between 2250 and 3750").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    assert_eq!(quarantined(&world).await, "");
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A trigger that suppresses an insert or a delete raises no error. The test fails without the
/// comparison of counts in `Applier::stretch` (crates/sync/src/apply.rs): the status was in_sync
/// and rows were missing.
#[tokio::test]
async fn rows_that_vanish_without_an_error_are_noticed() {
    let world = world().await;
    world.allow("mapping_blocked");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    let swallow =
        "create function meddle() returns trigger language plpgsql as $$ begin {body} end $$";
    for (what, body, event) in [
        (
            "swallowed",
            "if new.id % 100 = 0 then return null; end if; return new;",
            "insert or update",
        ),
        ("kept", "return null;", "delete"),
    ] {
        acme.execute(&swallow.replace("{body}", body)).await;
        acme.execute(&format!(
            "create trigger meddle before {event} on items for each row execute function meddle()"
        ))
        .await;
        write(&world, &format!("update item set name = '{what}' where {{acme}} and id <= 300; delete from item where {{acme}} and id = (select max(id) from item where {{acme}})")).await;
        write(&world, &format!("update other set body = '{what}'")).await;
        let told = world.wait_told(&daemon, "acme", "blocked", &[]).await;
        let reason = of_mapping(&told, "items")["error"].as_str().unwrap_or_default();
        assert!(
            reason.contains("items") && reason.contains("a trigger, a rule or a policy"),
            "{what}: {told}"
        );
        until("the other mappings go on", PATIENCE, async || {
            let copies =
                format!("select (select count(*) from others where body = '{what}'), (select count(*) from names where name = '{what}')");
            let found = acme.query_text(&copies).await;
            if found == "10|300" { Ok(()) } else { Err(found) }
        })
        .await;
        acme.execute("drop function meddle() cascade").await;
        world.wait_told(&daemon, "acme", "in_sync", &[]).await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
    }
    daemon.stop().await;
}

/// The daemon's role owns the table, and the table's policy still applies to it.
#[tokio::test]
async fn row_level_security_is_noticed() {
    let mut world = world().await;
    world.allow("mapping_blocked");
    let acme = &world.tenant("acme").destination;
    let role = format!("owner_of_{}", acme.name());
    acme.execute(&format!(
        "create role {role} login password 'x'; grant all on schema public to {role}"
    ))
    .await;
    world.reach_by("acme", |url| {
        format!("postgresql://{role}:x@{}", url.split_once('@').unwrap().1)
    });
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    acme.execute("alter table items enable row level security; alter table items force row level security; create policy half on items using (id > 10)")
        .await;
    write(&world, "update item set name = 'secured' where {acme} and id <= 20; update other set body = 'secured'").await;
    let told = world.wait_told(&daemon, "acme", "blocked", &[]).await;
    let reason = of_mapping(&told, "items")["error"].as_str().unwrap_or_default();
    assert!(reason.contains("row-level security") && reason.contains("items"), "{told}");
    until("the other mappings go on", PATIENCE, async || {
        let found = acme
            .query_text("select (select count(*) from others where body = 'secured'), (select count(*) from names where name = 'secured')")
            .await;
        if found == "10|20" { Ok(()) } else { Err(found) }
    })
    .await;
    acme.execute("alter table items disable row level security").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
    acme.execute(&format!("drop owned by {role}; drop role {role}")).await;
}
