//! Statements that touch several outgoing requests lock them in the order of their destinations,
//! and owe nothing to a destination that nothing names.
//!
//! The poller writes the requests of a page in that order, hundreds of times a second, while every
//! daemon extends its leases and operators ask for syncs. In any other order two such statements
//! deadlock: the server ends one of them after a second, and every change waits for that long.

use std::path::Path;

use offtake_tests::{PATIENCE, Source, until};
use tokio_postgres::Client;

/// Statement files with their parameters, which name the second destination first.
const STATEMENTS: [(&str, &str); 5] = [
    ("extend_leases.sql", "'{2,1}', '{0,0}', 60000"),
    ("owe_registered.sql", "'{2,1}'"),
    ("owe_on_command.sql", "'{2,1}'"),
    ("request_resync.sql", "'{2,1}', null"),
    ("retry_quarantined.sql", "null, null, null"),
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
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        until(&format!("{file} waits for the first request"), PATIENCE, async || {
            let sessions = source.query_text(waiting).await;
            if sessions == "1" { Ok(()) } else { Err(format!("{sessions} sessions wait")) }
        })
        .await;
        lock(2).await.unwrap_or_else(|error| panic!("{file} holds the second request: {error:?}"));
        poller.batch_execute("commit").await.expect("commit");
        running.await.expect("no panic");
    }
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
    let sql = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/requests/sql").join(file);
    std::fs::read_to_string(sql).expect("a readable file")
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
    for (file, parameters) in STATEMENTS.into_iter().skip(2) {
        let asked = format!("begin; prepare s as {}; execute s({parameters})", statement(file));
        client.batch_execute(&asked).await.unwrap_or_else(|error| panic!("{file}: {error:?}"));
        let owed = "select coalesce(string_agg(destination_id::text, ' '), '') from offtake.outgoing_request";
        let owed: String = client.query_one(owed, &[]).await.expect("the requests").get(0);
        assert_eq!(owed, "1", "{file}");
        client.batch_execute("rollback; deallocate s").await.expect("rollback");
    }
}
