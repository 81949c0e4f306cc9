//! A change that concerns every destination, and how the poller tells them of it.

use std::time::Duration;

use offtake_poller::FANNED_OUT_WAITING_MAX;
use offtake_postgres::{ConnectionString, PooledConnection, SourcePool};
use offtake_tests::{Database, Source};

async fn pooled(source: &Database) -> PooledConnection {
    let url = ConnectionString::source(&source.url()).expect("the harness gives a usable URL");
    SourcePool::new(url, Duration::from_secs(5), 1).get().await.expect("the source answers")
}

const MANY: u32 = 2_000;

/// A source with many destinations that have the table `public.plan`, and one that has not.
async fn many() -> (Database, PooledConnection) {
    let source = Source::prepared().await;
    source
        .execute(&format!(
            "insert into offtake.destination (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables)
             select 't' || n, 'main', 'public', 'h', 1, 'd', 'u', '{{plans,users}}', '{{public.plan,public.project_user}}' from generate_series(1, {MANY}) n;
             insert into offtake.destination (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables)
             values ('other', 'main', 'public', 'h', 1, 'd', 'u', '{{users}}', '{{public.project_user}}');
             insert into offtake.destination_mapping (destination_id, mapping, sequence_id, backfilled)
             select destination_id, m, 0, true from offtake.destination, unnest(mappings) m;
             update offtake.destination set sequence_id = 0"
        ))
        .await;
    let connection = pooled(&source).await;
    (source, connection)
}

async fn change(source: &Database, tenant: &str) {
    let (tenant, table) = match tenant {
        "" => ("null".to_owned(), "public.plan"),
        tenant => (format!("'{tenant}'"), "public.project_user"),
    };
    source
        .execute(&format!(
            "insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
             values (nextval('offtake.global_sequence'), '{table}', {tenant}, '{{}}', false, now())"
        ))
        .await;
}

async fn count(source: &Database, what: &str) -> u32 {
    source.query_text(&format!("select count(*) from {what}")).await.parse().expect("a count")
}

/// What workers do with everything that is owed: they apply it.
async fn serve(source: &Database) {
    source
        .execute(
            "update offtake.destination d set sequence_id = r.wanted_sequence_id from offtake.outgoing_request r where r.destination_id = d.destination_id;
             delete from offtake.outgoing_request",
        )
        .await;
}

/// The test fails if a poll owes a sync to every destination that a change concerns: the other
/// tenant's request would be behind two thousand.
#[tokio::test]
async fn a_change_for_everyone_delays_no_other_tenant() {
    let (source, mut connection) = many().await;
    change(&source, "").await;
    offtake_poller::poll(&mut connection).await.expect("the poll runs");
    let waiting = count(&source, "offtake.outgoing_request").await;
    assert!((1..=FANNED_OUT_WAITING_MAX).contains(&waiting.into()), "{waiting} requests wait");
    // Nothing was served, so nothing more is told.
    offtake_poller::poll(&mut connection).await.expect("the poll runs");
    assert_eq!(count(&source, "offtake.outgoing_request").await, waiting);
    // The sweep does not tell the others either.
    offtake_poller::Sweep::default().run(&mut connection).await.expect("the sweep runs");
    assert_eq!(count(&source, "offtake.outgoing_request").await, waiting);
    change(&source, "other").await;
    offtake_poller::poll(&mut connection).await.expect("the poll runs");
    let before = "select count(*) from offtake.outgoing_request r, offtake.outgoing_request o join offtake.destination d using (destination_id) where d.tenant_id = 'other' and r.not_before < o.not_before";
    let before: u32 = source.query_text(before).await.parse().expect("a count");
    assert!(
        i64::from(before) <= FANNED_OUT_WAITING_MAX,
        "{before} requests are before the other tenant's"
    );
}

/// A poll sends its statements and the commit before it knows whether it holds the lock. The test
/// fails if owe_page.sql does not ask for the lock: then two polls owe at once.
#[tokio::test]
async fn a_poll_beside_another_skips_and_loses_nothing() {
    let (source, mut connection) = many().await;
    change(&source, "other").await;
    let done = "select (select sequence_id from offtake.poller_position), (select count(*) from offtake.outgoing_request)";
    let before = source.query_text(done).await;
    let holder = source.connect().await;
    let lock = format!("begin; select pg_advisory_xact_lock({})", offtake_poller::LOCK_KEY);
    holder.batch_execute(&lock).await.expect("the lock is free");
    let polled = offtake_poller::poll(&mut connection).await.expect("the poll runs");
    assert!(polled.skipped);
    assert_eq!(source.query_text(done).await, before, "the poll owed without the lock");
    holder.batch_execute("commit").await.expect("the lock is given back");
    let polled = offtake_poller::poll(&mut connection).await.expect("the poll runs");
    assert_eq!((polled.skipped, polled.changes, polled.owed), (false, 1, 1));
}

/// Every destination is told once, however many changes came before and while they were told. The
/// changes that came meanwhile are told in one more pass.
#[tokio::test]
async fn a_burst_of_changes_for_everyone_is_told_once() {
    let (source, mut connection) = many().await;
    source
        .execute("create table told (destination_id bigint, wanted bigint);
            create function note() returns trigger language plpgsql as $$ begin insert into told values (new.destination_id, new.wanted_sequence_id); return null; end $$;
            create trigger note after insert or update of wanted_sequence_id on offtake.outgoing_request for each row execute function note()")
        .await;
    for _ in 0..50 {
        change(&source, "").await;
    }
    let mut polls = 0;
    let told_all = async |connection: &mut PooledConnection, polls: &mut u32, then: &str| {
        loop {
            let polled = offtake_poller::poll(connection).await.expect("the poll runs");
            serve(&source).await;
            *polls += 1;
            if *polls == 3 && !then.is_empty() {
                for _ in 0..50 {
                    change(&source, then.trim()).await;
                }
            }
            assert!(*polls < 100, "it does not end");
            if !polled.fanning_out && count(&source, "offtake.fan_out").await == 0 {
                return;
            }
        }
    };
    told_all(&mut connection, &mut polls, "").await;
    assert_eq!(count(&source, "told").await, MANY);
    assert_eq!(count(&source, "(select distinct destination_id from told) t").await, MANY);
    // Fifty more come while the first of them are told: those are told again, the others once.
    source.execute("truncate told").await;
    change(&source, "").await;
    polls = 0;
    told_all(&mut connection, &mut polls, " ").await;
    let told = count(&source, "told").await;
    assert!((MANY..=MANY + 3 * 256).contains(&told), "{told} were told");
    let behind = "offtake.destination where tenant_id <> 'other' and sequence_id < (select max(sequence_id) from offtake.change_log)";
    assert_eq!(count(&source, behind).await, 0);
    assert_eq!(count(&source, "offtake.fan_out").await, 0);
}
