//! Statements that touch several outgoing requests lock them in the order of their destinations,
//! and owe nothing to a destination that nothing names. Those that write destinations lock these
//! first, in the order of their ids.
//!
//! The poller writes the requests of a page in that order, hundreds of times a second, while every
//! daemon extends its leases and operators ask for syncs; and a daemon's start registers destinations
//! while others mirror what they wrote to them. In any other order two such statements deadlock:
//! the server ends one of them after a second, and every change waits for that long.

use std::path::Path;

use offtake_tests::{Database, PATIENCE, Source, World, until};
use tokio_postgres::Client;

/// Statement files with their parameters, which name the second destination first.
const STATEMENTS: [(&str, &str); 6] = [
    ("requests/sql/extend_leases.sql", "'{2,1}', '{0,0}', 60000"),
    ("requests/sql/owe_registered.sql", "'{2,1}'"),
    ("requests/sql/owe_on_command.sql", "'{2,1}'"),
    ("requests/sql/request_resync.sql", "'{2,1}', null"),
    ("requests/sql/retry_quarantined.sql", "null, null, null"),
    ("requests/sql/deactivate_destinations.sql", "'{2,1}', '{}', '{}'"),
];

/// The second destination's quarantined row comes first, and so does its row in the registry.
const SETUP: &str = "
insert into offtake.destination (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables)
select 't' || n, 'main', 'public', 'h', 5432, 'd', 'u', '{users}', '{public.project_user}' from generate_series(1, 2) n;
insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id, leased_until)
select 'sync', n, 0, now() + interval '1 h' from generate_series(1, 2) n;
update offtake.destination set updated_at = now() where destination_id = 1;
insert into offtake.quarantined_row (destination_id, mapping, row_key, sqlstate, error, retry_at)
select n, 'users', '{}', '23505', 'e', now() from unnest(array[2, 1]) n";

#[tokio::test]
async fn requests_are_locked_in_the_order_of_their_destinations() {
    let source = Source::prepared().await;
    source.execute(SETUP).await;
    let poller = source.connect().await;
    let lock = async |destination: i64| {
        let request = "select from offtake.outgoing_request where destination_id = $1 for update";
        poller.execute(request, &[&destination]).await
    };
    for (file, parameters) in STATEMENTS {
        poller.batch_execute("begin; set local lock_timeout = '500ms'").await.expect("begin");
        lock(1).await.expect("the first request is free");
        let other = source.connect().await;
        let running = tokio::spawn(run(other, file, parameters));
        wait_lock(&source, file).await;
        lock(2).await.unwrap_or_else(|error| panic!("{file} holds the second request: {error:?}"));
        poller.batch_execute("commit").await.expect("commit");
        running.await.expect("no panic");
    }
}

/// Statements that write destinations, with their parameters, which name the second one first.
const OF_DESTINATIONS: [(&str, &str); 11] = [
    ("requests/sql/fail_request.sql", "1, 0, 1000, 'e', 'blocked', 'r'"),
    ("requests/sql/fail_requests.sql", "'{2,1}', '{0,0}', 1000, null, 'e', 'r'"),
    ("requests/sql/begin_forgetting.sql", "'{2,1}'"),
    ("sync/sql/hold_destinations.sql", "'{2,1}'"),
    ("sync/sql/fail_mapping.sql", "1, 0, 'users', null, 'e', 1000, 1000"),
    (
        "sync/sql/mirror_destination.sql",
        "1, 0, '{users}', '{5}', '{t}', '{0}', '{null}', 'in_sync', null, '{}', '{null}', '{v}'",
    ),
    (
        "sync/sql/mirror_group.sql",
        "'{2,1}', '{0,0}', '{5,5}', '{users}', '{null,null}', null, '{v}'",
    ),
    ("admin/sql/pause_destinations.sql", "'{2,1}', 'r', null"),
    ("admin/sql/resume_destinations.sql", "'{2,1}'"),
    ("admin/sql/adopt_destinations.sql", "'{2,1}'"),
    ("offtake/sql/let_mappings_go.sql", "'{other}'"),
];

/// With the first destination held by another session, a statement waits for it and holds neither
/// the second one, nor a request, nor what is known of a mapping.
#[tokio::test]
async fn destinations_are_locked_before_anything_else_in_the_order_of_their_ids() {
    let source = Source::prepared().await;
    source.execute(SETUP).await;
    let more = "update offtake.destination set paused_at = now() where destination_id in (1, 2);
        insert into offtake.destination_mapping (destination_id, mapping, sequence_id, backfilled)
        select n, 'users', 1, true from generate_series(1, 2) n";
    source.execute(more).await;
    let worker = source.connect().await;
    for (file, parameters) in OF_DESTINATIONS {
        worker.batch_execute("begin; set local lock_timeout = '500ms'").await.expect("begin");
        let hold = async |what: &str| worker.query(&format!("{what} for no key update"), &[]).await;
        let destination = "select from offtake.destination where destination_id =";
        hold(&format!("{destination} 1")).await.expect("the first destination is free");
        let other = source.connect().await;
        let running = tokio::spawn(run(other, file, parameters));
        wait_lock(&source, file).await;
        let rest = [
            &format!("{destination} 2"),
            "select from offtake.outgoing_request",
            "select from offtake.destination_mapping",
        ];
        for what in rest {
            let held = hold(what).await;
            held.unwrap_or_else(|error| {
                panic!("{file} holds more than it should: {what}: {error:?}")
            });
        }
        worker.batch_execute("commit").await.expect("commit");
        running.await.expect("no panic");
    }
}

/// A claim holds requests when it tells that a destination's workers die. It tells it of those that
/// nobody writes to.
#[tokio::test]
async fn a_claim_waits_for_no_destination() {
    let source = Source::prepared().await;
    source.execute(SETUP).await;
    let died = "update offtake.outgoing_request set failures = 5, leased_until = now() - interval '1 s', not_before = now()";
    source.execute(died).await;
    let worker = source.connect().await;
    let hold = "begin; select from offtake.destination where destination_id = 1 for no key update";
    worker.batch_execute(hold).await.expect("the destination is free");
    let other = source.connect().await;
    other.batch_execute("set lock_timeout = '500ms'").await.expect("set");
    let claim = statement("requests/sql/claim_requests.sql");
    let claimed = other
        .query(&claim, &[&16_i64, &60_000_i64, &"me", &Vec::<i64>::new()])
        .await
        .expect("claimed");
    assert_eq!(claimed.len(), 2);
    let told = "select string_agg(consecutive_failures::text, ' ' order by destination_id) from offtake.destination";
    assert_eq!(source.query_text(told).await, "0 6");
    worker.batch_execute("rollback").await.expect("rollback");
}

/// All that a daemon's start registers is as it was, and workers of another daemon write to it. The
/// test fails where the registration locks what it does not change.
#[tokio::test]
async fn a_start_waits_for_no_destination_that_has_not_changed() {
    let world = World::with_tenants(["acme", "globex"]).await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let worker = world.source.connect().await;
    let hold = "begin; select from offtake.destination for no key update";
    worker.batch_execute(hold).await.expect("the destinations are free");
    let daemon = world.daemon().await;
    // Each has a database of its own, which a start visits.
    world.source.wait_text("select count(*) from offtake.outgoing_request", "2").await;
    worker.batch_execute("rollback").await.expect("rollback");
    daemon.stop().await;
}

async fn wait_lock(source: &Database, file: &str) {
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    until(&format!("{file} waits"), PATIENCE, async || {
        let sessions = source.query_text(waiting).await;
        if sessions == "1" { Ok(()) } else { Err(format!("{sessions} sessions wait")) }
    })
    .await;
}

/// Runs the statement and undoes it. The plan is the one of large tables, which follows the order
/// of the parameters.
async fn run(client: Client, file: &str, parameters: &str) {
    let script = format!(
        "set enable_hashjoin = off; set enable_mergejoin = off; set enable_seqscan = off;
         prepare s as {}; begin; execute s({parameters}); rollback",
        statement(file)
    );
    client.batch_execute(&script).await.unwrap_or_else(|error| panic!("{file}: {error:?}"));
}

fn statement(file: &str) -> String {
    let sql = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(file);
    let text = std::fs::read_to_string(sql).expect("a readable file");
    // Of a claim: any request.
    text.replace("{of_these}", "r.destination_id <> all($4::bigint[])")
}

/// No worker would claim such a request, and `offtake forget` has just deleted it. The test fails
/// where the statement does not look at `active`.
#[tokio::test]
async fn an_operator_s_wish_owes_nothing_to_a_destination_that_nothing_names() {
    let source = Source::prepared().await;
    source.execute(SETUP).await;
    let left = "update offtake.destination set active = false where destination_id = 2;
        delete from offtake.outgoing_request";
    source.execute(left).await;
    let client = source.connect().await;
    for (file, parameters) in STATEMENTS.into_iter().skip(2).take(3) {
        let asked = format!("begin; prepare s as {}; execute s({parameters})", statement(file));
        client.batch_execute(&asked).await.unwrap_or_else(|error| panic!("{file}: {error:?}"));
        let owed = "select coalesce(string_agg(destination_id::text, ' '), '') from offtake.outgoing_request";
        let owed: String = client.query_one(owed, &[]).await.expect("the requests").get(0);
        assert_eq!(owed, "1", "{file}");
        client.batch_execute("rollback; deallocate s").await.expect("rollback");
    }
}
