//! H14, H28, H30, H32: a destination that is full, read-only, slow or deadlocked, or gets values
//! that are too large. The fault is reported, the destination is retried with growing pauses, and
//! it recovers by itself. Other destinations are not affected.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use offtake_tests::proxy::Mode;
use offtake_tests::samples::USERS;
use offtake_tests::{Daemon, PATIENCE, Plan, World, oracle, until};
use serde_json::{Value, json};

const RETRY_INITIAL_MS: u64 = 50;
const RETRY_MAX_MS: u64 = 400;

fn plan() -> Plan {
    let retry =
        json!({ "initial": format!("{RETRY_INITIAL_MS}ms"), "max": format!("{RETRY_MAX_MS}ms") });
    World::with_tenants(["acme", "globex"])
        .mappings(&[("users", USERS)])
        .setting("/sync/retry", retry)
}

async fn in_step() -> (World, Daemon) {
    let world = plan().await;
    world.fill(20).await;
    world.allow("destination_failed");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    (world, daemon)
}

/// The failures of the tenant's destination that the daemon has logged so far: class, how many in a
/// row, and the wait in milliseconds that follows.
fn failures(daemon: &Daemon, world: &World, tenant: &str) -> Vec<(String, u64, u64)> {
    let lines = daemon.log().into_iter().filter(|line| line.event == "destination_failed");
    let lines = lines.map(|line| serde_json::from_str::<Value>(&line.text).unwrap());
    let of_tenant = lines.filter(|line| {
        line["destination"].as_str().is_some_and(|label| label.starts_with(world.id(tenant)))
    });
    of_tenant
        .map(|line| {
            (
                line["class"].as_str().unwrap().to_owned(),
                line["failures"].as_u64().unwrap(),
                line["retry_ms"].as_u64().unwrap(),
            )
        })
        .collect()
}

async fn rename(world: &World, to: &str) {
    world.source.execute(&format!("update project_user set display_name = '{to}'")).await;
}

/// The test raises the server's error codes. For Offtake it makes no difference which part of the
/// server raises them.
#[tokio::test]
async fn a_destination_that_is_full_or_read_only_is_told_and_waited_for() {
    let (world, daemon) = in_step().await;
    let acme = &world.tenant("acme").destination;
    let full = "create function full_disk() returns trigger language plpgsql as
                  $$ begin raise exception sqlstate '53100' using message = 'could not extend file: No space left on device'; end $$;
                create trigger full_disk before insert or update on users for each statement execute function full_disk()";
    let name = acme.name();
    let read_only = format!("alter database {name} set default_transaction_read_only = on");
    let writable = format!(
        "set default_transaction_read_only = off; alter database {name} reset default_transaction_read_only"
    );
    for (class, reason, breaks, mends) in [
        ("full", "disk full: could not extend", full, "drop function full_disk() cascade"),
        ("read_only", "read-only: ", &read_only, &writable),
    ] {
        let before = failures(&daemon, &world, "acme").len();
        acme.execute(breaks).await;
        // Open sessions keep the old setting, so the test ends them.
        acme.query_text(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
                           where datname = current_database() and application_name like 'offtake%'",
        )
        .await;
        rename(&world, class).await;
        let of_class = until(&format!("acme is {class}, again and again"), PATIENCE, async || {
            let all = failures(&daemon, &world, "acme").split_off(before);
            let of_class: Vec<_> =
                all.iter().filter(|(found, ..)| found == class).cloned().collect();
            if of_class.len() >= 6 { Ok(of_class) } else { Err(format!("{all:?}")) }
        })
        .await;
        let told = world.wait_told(&daemon, "acme", "blocked", &[reason]).await;
        assert!(told["next_attempt_at"].is_string(), "{told}");
        // The other destination has the change, and gets further ones.
        world.wait_tenants_in_step(&["globex"], PATIENCE).await;
        oracle::assert_tenants_equal(&world, &["globex"]).await;
        for (_, failures, wait) in of_class {
            let longest = RETRY_MAX_MS.min(RETRY_INITIAL_MS << (failures - 1).min(10));
            assert!((longest / 2..=longest).contains(&wait), "{wait} ms after {failures} failures");
        }
        acme.execute(mends).await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
        world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    }
    daemon.stop().await;
}

/// All 400 rows at once take longer than the server's statement timeout; for more than 60 rows the
/// server reports the timeout at once, and fewer rows take no time. The test fails without the
/// halving in `within_deadline` (crates/sync/src/turn.rs): no row ever arrived.
#[tokio::test]
async fn a_batch_that_takes_too_long_is_halved_until_it_fits() {
    let world = plan().setting("/sync/statement_timeout", "5s").rows_at_once(400).await;
    world.fill(400).await;
    world.allow("destination_failed");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    acme.execute(
        "create function slow() returns trigger language plpgsql as
           $$ begin
                if (select count(*) from fresh) = 400 then perform pg_sleep(3600); end if;
                if (select count(*) from fresh) > 60 then raise exception sqlstate '57014' using message = 'as after a timeout'; end if;
                return null;
              end $$;
         create trigger slow after update on users referencing new table as fresh for each statement execute function slow();
         create table written (rows bigint);
         create function note() returns trigger language plpgsql as
           $$ begin insert into public.written select count(*) from fresh; return null; end $$;
         create trigger note after update on users referencing new table as fresh for each statement execute function note()",
    )
    .await;
    rename(&world, "slowly").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    let largest: u64 = acme.query_text("select max(rows) from written").await.parse().unwrap();
    assert!((20..=60).contains(&largest), "{largest} rows at once");
    let failed = failures(&daemon, &world, "acme");
    // The batch is halved from 400 rows to what fits, and a few times more after it has grown too
    // large again.
    assert!(
        failed.iter().all(|(class, ..)| class == "transient") && (2..=12).contains(&failed.len()),
        "{failed:?}"
    );
    assert_eq!(failures(&daemon, &world, "globex"), []);
    daemon.stop().await;
}

/// A value larger than a batch is sent alone. A value that is too large for the tenant's own index
/// is quarantined.
#[tokio::test]
async fn values_over_a_cap_arrive_alone_or_are_set_aside() {
    let world = plan().setting("/sync/batch_bytes", "1MiB").await;
    world.allow("rows_quarantined");
    world.fill(120).await;
    let large = "update project_user set display_name = (select string_agg(md5(n::text), '') from generate_series(1, {n}) n)
                  where project_user_id in (select project_user_id from project_user order by md5(project_user_id::text) limit 3)";
    // A value of 3 MiB in the initial copy; then one of 6 MiB, together with changes of all other
    // rows.
    world.source.execute(&large.replace("{n}", "98304")).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world
        .source
        .execute(&format!(
            "update project_user set display_name = 'small'; {}",
            large.replace("{n}", "196608")
        ))
        .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    rename(&world, "small again").await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    // An ordinary index would also have to contain old row versions that some snapshot may still
    // see, with their large values.
    acme.execute("create index concurrently their_own on users (display_name)").await;
    let one = format!(
        "where tenancy_id = '{}' and project_user_id = (select min(project_user_id::text)::uuid from project_user where tenancy_id = '{0}')",
        world.id("acme")
    );
    let grow = format!(
        "update project_user set display_name = (select string_agg(md5(n::text), '') from generate_series(1, 1000) n) {one}"
    );
    world.source.execute(&grow).await;
    until("the row is set aside", PATIENCE, async || {
        let found =
            world.source.query_text("select sqlstate, error from offtake.quarantined_row").await;
        if found.starts_with("54000|index row requires") { Ok(()) } else { Err(found) }
    })
    .await;
    world
        .source
        .execute(&format!(
            "update project_user set display_name = 'beside' where not exists (select {one})"
        ))
        .await;
    acme.execute("drop index their_own").await;
    world.source.execute("update offtake.quarantined_row set retry_at = now()").await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// The tenant locks two of its rows in the opposite order. The batch arrives, no matter which
/// session the server chooses as the victim.
#[tokio::test]
async fn a_deadlock_with_the_tenants_own_queries_passes() {
    let world = plan().await;
    world.fill(20).await;
    world.allow("destination_failed");
    let acme = &world.tenant("acme").destination;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let (tenant, third) = (acme.connect().await, acme.connect().await);
    let touch = |which: &str| {
        format!(
            "update users set display_name = 'theirs' where id = (select {which}(id::text)::uuid from users)"
        )
    };
    // The tenant's deadlock timeout is long, so the server chooses Offtake's session.
    tenant
        .batch_execute(&format!("set deadlock_timeout = '60s'; begin; {}", touch("max")))
        .await
        .unwrap();
    // A session looks for a deadlock once, when its deadlock timeout ends. So Offtake's session is
    // delayed before its wait completes the deadlock.
    third
        .batch_execute("begin; select from users order by id::text offset 10 limit 1 for update")
        .await
        .unwrap();
    rename(&world, "ours").await;
    let wait_waiting = async |sessions: &str| {
        until(&format!("{sessions} wait"), PATIENCE, async || {
            let sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
            let waiting = acme.query_text(sql).await;
            if waiting == sessions { Ok(()) } else { Err(waiting) }
        })
        .await;
    };
    wait_waiting("1").await;
    let close = async {
        wait_waiting("2").await;
        third.batch_execute("commit").await.unwrap();
    };
    let touch_min = touch("min");
    let (touched, ()) = tokio::join!(tenant.batch_execute(&touch_min), close);
    touched.unwrap();
    // Rows that were sent together with the lock of the cursors are written once more at once, and
    // wait for the tenant; otherwise the batch has failed.
    let failed = until("the batch has failed or waits again", PATIENCE, async || {
        let failed = failures(&daemon, &world, "acme");
        let sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        match (failed.len(), acme.query_text(sql).await.as_str()) {
            (0, "0") => Err("neither".to_owned()),
            _ => Ok(failed),
        }
    })
    .await;
    if let Some((class, ..)) = failed.first() {
        assert_eq!(class, "transient", "{failed:?}");
        let told = world.told(&daemon, "acme").await;
        assert!(
            told["last_error"].as_str().is_some_and(|error| error.contains("deadlock detected")),
            "{told}"
        );
    }
    tenant.batch_execute("commit").await.unwrap();
    // Rows that the tenant wrote stay as they are until they change at the source. Offtake's own
    // rows arrive.
    world.wait_in_step().await;
    assert_eq!(
        acme.query_text("select count(*) from users where display_name = 'ours'").await,
        "20"
    );
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// What the slow batches of these tests are of.
const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, body from public.item
target: { table: items }
";

/// A tenant with so many rows, whose statements may take a second.
async fn hurried(rows: u32, body: &str, mapping: &str, function: &str) -> World {
    let retry = json!({ "initial": "50ms", "max": "400ms" });
    let plan = World::with_tenants(["acme"]).mappings(&[("items", mapping)]).without_init();
    let plan = plan.setting("/sync/retry", retry).setting("/sync/statement_timeout", "1s");
    let world = plan.rows_at_once(200).proxied("acme").await;
    world.allow("destination_failed");
    world.source.execute(function).await;
    let fill = format!(
        "insert into item select '{{tenant}}', n, {body} from generate_series(1, {rows}) n"
    );
    world.with_items("body text", &fill).await;
    world
}

/// A table that the mapping has made, with a trigger of the tenant's.
async fn with_trigger(world: &World, trigger: &str) {
    let table = "create table items (id int primary key, body text);
                 comment on table items is 'offtake:items';";
    world.tenant("acme").destination.execute(&format!("{table} {trigger}")).await;
}

/// Each statement keeps to its time, or its limit is taken away as here, and all of them together
/// take longer than a batch may: a tenth of a second for each row. The test fails without `halve`
/// in `gone_beyond` (crates/sync/src/turn/limits.rs): no row ever arrived.
#[tokio::test]
async fn a_batch_that_ends_by_the_deadline_is_halved_until_it_fits() {
    let world = hurried(200, "'x'", ITEMS, "select").await;
    with_trigger(
        &world,
        "create function unlimited() returns trigger language plpgsql as
           $$ begin perform set_config('statement_timeout', '0', true); return null; end $$;
         create trigger unlimited before delete on items for each statement execute function unlimited();
         create function slow() returns trigger language plpgsql as
           $$ begin perform pg_sleep(0.1 * (select count(*) from fresh)); return null; end $$;
         create trigger slow after insert on items referencing new table as fresh for each statement execute function slow()",
    )
    .await;
    let daemon = world.daemon().await;
    world.wait_in_step_within(Duration::from_secs(150)).await;
    oracle::assert_equal(&world).await;
    let failed = failures(&daemon, &world, "acme");
    assert!(failed.iter().any(|(class, ..)| class == "unreachable"), "{failed:?}");
    daemon.stop().await;
}

/// A row of six megabytes takes two seconds on its way. The test fails without `of_a_batch`
/// (crates/sync/src/turn/limits.rs): neither row ever arrived.
#[tokio::test]
async fn a_row_that_is_too_large_for_a_statement_s_time_has_more() {
    let world = hurried(2, "repeat('x', 6000000)", ITEMS, "select").await;
    world.tenant("acme").proxy().set(Mode::Drip(3_000_000));
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    let rows = "select count(*), min(octet_length(body)) from items";
    assert_eq!(there.query_text(rows).await, "2|6000000");
    world.source.execute("update item set body = body || 'y'").await;
    world.wait_in_step().await;
    assert_eq!(there.query_text(rows).await, "2|6000001");
    daemon.stop().await;
}

/// A single row for which the destination takes too long, whatever it is given.
#[tokio::test]
async fn a_row_that_takes_too_long_at_the_destination_is_told_with_its_key() {
    let world = hurried(20, "'x'", ITEMS, "select").await;
    with_trigger(
        &world,
        "create function slow() returns trigger language plpgsql as
           $$ begin if new.id = 7 then perform pg_sleep(3600); end if; return new; end $$;
         create trigger slow before insert on items for each row execute function slow()",
    )
    .await;
    let daemon = world.daemon().await;
    let says = ["57014", "the batch is one row of mapping items, with the key (7)"];
    world.wait_told(&daemon, "acme", "blocked", &says).await;
    let logged = failures(&daemon, &world, "acme").len();
    assert!(logged > 2 && !daemon.log_text().contains("(7)"), "{}", daemon.log_text());
    world.tenant("acme").destination.execute("drop function slow() cascade").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// The source takes 20 ms for a row, and for one row longer than any statement may. The test fails
/// without `TooSlow` in crates/reading/src/error.rs: no row ever arrived, and nothing was told.
#[tokio::test]
async fn a_read_that_takes_too_long_is_halved_down_to_the_row_that_is_told() {
    let slow = ITEMS.replace("id, body", "id, slow(body) as body");
    let function = "create function slow(text) returns text stable language plpgsql as
        $$ begin perform pg_sleep(case $1 when 'never' then 3600 else 0.02 end); return $1; end $$";
    let body = "case n when 77 then 'never' else 'x' end";
    let world = hurried(120, body, &slow, function).await;
    world.allow("mapping_blocked");
    let daemon = world.daemon().await;
    let says = ["items: the query takes too long at the source", "57014", r#""id": "77""#];
    world.wait_told(&daemon, "acme", "blocked", &says).await;
    let there = &world.tenant("acme").destination;
    there.wait_text("select count(*), max(id) from items", "76|76").await;
    world.source.execute("update item set body = 'y' where id = 77").await;
    world.wait_in_step().await;
    assert_eq!(there.query_text("select count(*) from items").await, "120");
    daemon.stop().await;
}
