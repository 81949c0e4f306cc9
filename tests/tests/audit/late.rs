//! An audit whose copy, mapping or claim is another one by the time that it has compared.

use std::fs;

use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use serde_json::json;

use super::{OTHERS, destination, plan};

/// A session that reads a row waits for the session that holds the gate.
const GATED: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, gated(body) as body from public.item
target: { table: items }
";

const AUDITED: &str = "select concat_ws(' ', differences, verified_at, audited_at, audit_error)
                         from offtake.destination_mapping where mapping = 'items'";

/// A tenant with 20 rows that were copied, and whose audit waits for the gate from the moment that
/// the test holds it.
async fn gated_world() -> World {
    let plan = plan(&["acme"]).mappings(&[("items", GATED), ("others", OTHERS)]);
    let plan = plan.setting("/audit/period", "off").setting("/poller/lease", "1s");
    let mut world = plan.await;
    let function = "create function gated(text) returns text stable language plpgsql
                    as $$ begin perform pg_advisory_xact_lock_shared(7); return $1; end $$";
    world.source.execute(function).await;
    let fill = "insert into item select '{tenant}', n, 'body ' || n from generate_series(1, 20) n";
    world.with_items("body text", fill).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    world.configure(|c| c["audit"] = json!({ "period": "1h", "budget": "100%" }));
    world
}

/// Starts a daemon whose audit of `items` waits: it has read the destination, and not the source.
async fn waiting_auditor(world: &World) -> Daemon {
    let daemon = world.daemon().await;
    let waits = "select count(*) from pg_stat_activity where datname = current_database()
                   and wait_event_type = 'Lock' and wait_event = 'advisory'";
    world.source.wait_text(waits, "1").await;
    let read = "select count(*) from pg_stat_activity where datname = current_database()
                  and application_name = 'offtake audit' and state = 'idle in transaction'
                  and query like '%md5(%'";
    world.tenant("acme").destination.wait_text(read, "1").await;
    daemon
}

/// A daemon compared a copy and then stood still. Meanwhile the copy was damaged, and another
/// daemon's audit found that. Fails without `attempt = $2` in `note_audit.sql`: the late daemon's
/// "equal" replaced what the other one had found.
#[tokio::test]
async fn a_daemon_that_wakes_late_does_not_overwrite_what_another_one_found() {
    let world = gated_world().await;
    world.allow("*");
    let gate = world.source.connect().await;
    gate.batch_execute("select pg_advisory_lock(7)").await.unwrap();
    let late = waiting_auditor(&world).await;
    late.freeze();
    world.tenant("acme").destination.execute("delete from items where id = 5").await;
    gate.batch_execute("select pg_advisory_unlock(7)").await.unwrap();

    let other = world.daemon().await;
    let found = "select differences from offtake.destination_mapping where mapping = 'items'";
    world.source.wait_text(found, "1").await;
    let ended = "select count(*) from offtake.destination_mapping where audited_at > '-infinity'";
    world.source.wait_text(ended, "2").await;
    let free = "select count(*) from offtake.audit where leased_until is not null";
    world.source.wait_text(free, "0").await;
    other.stop().await;
    let before = world.source.query_text(AUDITED).await;

    late.thaw();
    // It notes what it compared, asks what is next, and looks for another destination.
    for _ in 0..3 {
        late.wait_round("audit").await;
    }
    assert_eq!(world.source.query_text(AUDITED).await, before);
    assert!(!late.log().iter().any(|line| line.event == "audited"), "{}", late.log_text());
    late.stop().await;
}

/// The same of a copy that was made again meanwhile, and no other daemon audits. Fails without
/// `backfill_started_at` in `note_audit.sql`: the new copy was called proved by a comparison that
/// began before it.
#[tokio::test]
async fn a_daemon_that_wakes_late_notes_nothing_of_a_copy_that_was_made_again() {
    let mut world = gated_world().await;
    world.allow("*");
    let gate = world.source.connect().await;
    gate.batch_execute("select pg_advisory_lock(7)").await.unwrap();
    let late = waiting_auditor(&world).await;
    late.freeze();
    gate.batch_execute("select pg_advisory_unlock(7)").await.unwrap();
    world.configure(|c| c["audit"] = json!({ "period": "off" }));
    let other = world.daemon().await;
    world.succeed(&["resync", "--tenant", world.id("acme"), "--wait", "1m"]).await;
    other.stop().await;
    world.source.wait_text(AUDITED, "-infinity").await;

    late.thaw();
    let again = "select verified_at > backfill_started_at from offtake.destination_mapping
                  where mapping = 'items' and audited_at > '-infinity'";
    let told = until("the copy is audited", PATIENCE, async || {
        match world.source.query_text(again).await {
            told if told.is_empty() => Err("not yet".to_owned()),
            told => Ok(told),
        }
    })
    .await;
    assert_eq!(told, "t", "by a comparison that began after the copy");
    late.stop().await;
}

/// A mapping's file goes while its copy is compared. That is no error, and the other mapping's turn
/// comes; the one that comes back is copied and proved again.
#[tokio::test]
async fn a_mapping_that_is_removed_amid_its_audit_ends_it_and_may_come_back() {
    let world = gated_world().await;
    let received = async |wanted: &str| {
        let mappings = "select mappings from offtake.destination";
        world.source.wait_text(mappings, wanted).await;
    };
    let gate = world.source.connect().await;
    gate.batch_execute("select pg_advisory_lock(7)").await.unwrap();
    let daemon = waiting_auditor(&world).await;
    fs::remove_file(world.mappings_folder().join("items.yaml")).unwrap();
    daemon.reload();
    received("{others}").await;
    gate.batch_execute("select pg_advisory_unlock(7)").await.unwrap();
    let proved = "select count(*) from offtake.destination_mapping where mapping = 'others' and verified_at is not null";
    world.source.wait_text(proved, "1").await;
    let free = "select count(*) from offtake.audit where leased_until is not null";
    world.source.wait_text(free, "0").await;
    let told = destination(&daemon, &world, "acme").await;
    let names: Vec<_> = told["mappings"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(json!([names, told["state"]]), json!([["others"], "in_sync"]), "{told:#}");

    world.write_mapping("items", GATED);
    daemon.reload();
    received("{items,others}").await;
    world.wait_in_step().await;
    let again = "select count(*) from offtake.destination_mapping where mapping = 'items'
                    and verified_at > backfill_started_at";
    world.source.wait_text(again, "1").await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
