//! The sequencer against a database: numbering, tenants that are looked up, dependants, and the
//! lock.

use offtake_postgres::{ConnectionString, PooledConnection, SourcePool};
use offtake_sequencer::{Numbering, Tick, tick};
use offtake_tests::{Database, PATIENCE, Source};

const ROWS: i64 = 10_000;

async fn pooled(source: &Database) -> PooledConnection {
    let url = ConnectionString::source(&source.url()).expect("the harness gives a usable URL");
    SourcePool::new(url, PATIENCE, 1).get().await.expect("the source answers")
}

/// Ticks until no captured change is left. Returns how many changes all ticks appended.
async fn drain(source: &Database, connection: &mut PooledConnection) -> i64 {
    let mappings = Source::default_mapping_set(source).await;
    let mut appended = 0;
    loop {
        let done = tick(connection, &mappings, &Numbering::default(), ROWS, 0)
            .await
            .expect("the tick runs");
        appended += done.appended;
        if done.taken == 0 {
            return appended;
        }
    }
}

/// The needs of the daemon that numbered last, and the overlooked mappings.
async fn numbering(source: &Database) -> String {
    source
        .query_text(
            "select cardinality(needs), (select coalesce(string_agg(mapping, ' '), '') from offtake.overlooked_mapping) from offtake.numbering",
        )
        .await
}

/// The test fails without `Numbering::note` in the tick. Its part about a tick in progress fails
/// without `last_of_old`.
#[tokio::test]
async fn mappings_that_the_last_numberer_did_not_know_are_overlooked() {
    let source = Source::prepared().await;
    let mut connection = pooled(&source).await;
    source
        .execute(
            "insert into offtake.destination (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables)
             values ('t', 'main', 'public', 'h', 1, 'd', 'u', '{}', '{}');
             insert into offtake.destination_mapping (destination_id, mapping, sequence_id, backfilled)
             select destination_id, m, 0, true from offtake.destination, unnest('{invitations,users}'::text[]) m",
        )
        .await;
    let new = Source::default_mapping_set(&source).await;
    let known = |name: &str| !["invitations", "users", "teams"].contains(&name);
    let fewer =
        Source::default_mappings().into_iter().filter(|mapping| known(&mapping.name)).collect();
    let old = Source::mapping_set(&source, fewer).await;
    let (ours, theirs) = (Numbering::default(), Numbering::default());
    ours.claim(&mut connection, &old).await.expect("the lock is free");
    ours.claim(&mut connection, &new).await.expect("the lock is free");
    assert_eq!(numbering(&source).await, "7|");
    // The tick that was in progress when the files were read.
    tick(&mut connection, &old, &ours, ROWS, 0).await.expect("the tick runs");
    assert_eq!(
        numbering(&source).await,
        "7|",
        "otherwise another daemon could go on with the old set unnoticed"
    );
    tick(&mut connection, &new, &ours, ROWS, 0).await.expect("the tick runs");
    assert_eq!(numbering(&source).await, "7|", "a daemon with edited files is no other daemon");
    tick(&mut connection, &old, &theirs, ROWS, 0).await.expect("the tick runs");
    assert_eq!(numbering(&source).await, "4|", "it knows nothing that we do not");
    tick(&mut connection, &old, &ours, ROWS, 0).await.expect("the tick runs");
    tick(&mut connection, &new, &ours, ROWS, 0).await.expect("the tick runs");
    assert_eq!(numbering(&source).await, "7|invitations users", "the mappings that have copies");
    drop(ours);
    // A daemon is restarted with the same files.
    source.execute("delete from offtake.overlooked_mapping").await;
    Numbering::default().claim(&mut connection, &new).await.expect("the lock is free");
    assert_eq!(numbering(&source).await, "7|");
}

const ONE_TEAM: &str = "
  insert into tenancy (id, project_id, branch_id, display_name) values ('00000000-0000-0000-0000-00000000000a', 'p', 'main', 'A');
  insert into team (tenancy_id, team_id, display_name) values
    ('00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-0000000000aa', 'red');
  insert into invitation (id, project_id, branch_id, data, expires_at) select
    ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'p', 'main',
    '{\"team_id\": \"00000000-0000-0000-0000-0000000000aa\", \"recipient\": \"x@example.com\"}', now() from generate_series(1, 3) n";

#[tokio::test]
async fn a_looked_up_tenant_is_found_after_commit_and_after_its_row_is_gone() {
    let source = Source::prepared().await;
    let mut connection = pooled(&source).await;
    source.execute(ONE_TEAM).await;
    drain(&source, &mut connection).await;
    let tenants = source.query_text("select distinct tenant_id from offtake.change_log where source_table = 'public.invitation'").await;
    assert_eq!(tenants, "00000000-0000-0000-0000-00000000000a");

    source.execute("truncate offtake.change_log; delete from tenancy").await;
    drain(&source, &mut connection).await;
    let log =
        source.query_text("select distinct tenant_id, deleted from offtake.change_log where source_table = 'public.invitation'").await;
    assert_eq!(log, "00000000-0000-0000-0000-00000000000a|t");
}

#[tokio::test]
async fn a_renamed_team_wakes_exactly_its_invitations_once_per_tick() {
    let source = Source::prepared().await;
    let mut connection = pooled(&source).await;
    source.execute(ONE_TEAM).await;
    source.execute("insert into team (tenancy_id, display_name) values ('00000000-0000-0000-0000-00000000000a', 'blue')").await;
    drain(&source, &mut connection).await;
    source.execute("truncate offtake.change_log").await;
    for n in 0..5 {
        source.execute(&format!("update team set display_name = 'red {n}' where team_id = '00000000-0000-0000-0000-0000000000aa'")).await;
    }
    drain(&source, &mut connection).await;
    let woken = source
        .query_text("select count(*), count(distinct row_key) from offtake.change_log where source_table = 'public.invitation'")
        .await;
    assert_eq!(woken, "3|3");
}

#[tokio::test]
async fn sequence_ids_are_dense_per_tick_in_capture_order_and_never_reused() {
    let source = Source::prepared().await;
    let mut connection = pooled(&source).await;
    let mappings = Source::default_mapping_set(&source).await;
    source
        .execute("insert into tenancy (project_id, branch_id, display_name) select n::text, 'b', n::text from generate_series(1, 25) n")
        .await;
    let first = tick(&mut connection, &mappings, &Numbering::default(), 10, 0)
        .await
        .expect("the tick runs");
    assert_eq!((first.taken, first.appended), (10, 10));
    // Numbers of a tick that did not commit are a gap; they are never given again.
    let before: i64 = source
        .query_text("select last_value from offtake.global_sequence")
        .await
        .parse()
        .expect("a number");
    source.execute("begin; select setval('offtake.global_sequence', (select last_value + 5 from offtake.global_sequence)); rollback").await;
    drain(&source, &mut connection).await;
    let log = source
        .query_text("select count(*), min(sequence_id), max(sequence_id) from offtake.change_log")
        .await;
    assert_eq!(log, format!("25|{}|{}", before - 9, before + 5 + 15));
    let unordered = source.query_text("select count(*) from (select lag(captured_at) over (order by sequence_id) > captured_at as w from offtake.change_log) x where w").await;
    assert_eq!(unordered, "0");
}

/// The table of permissions is captured in lists of keys where a statement changes many rows.
const MANY_PERMISSIONS: &str = "
  insert into tenancy (id, project_id, branch_id, display_name)
  select ('00000000-0000-0000-0000-00000000000' || n)::uuid, n::text, 'main', n::text from generate_series(0, 1) n;
  delete from offtake.captured_change;
  insert into permission (tenancy_id, id, permission_id)
  select ('00000000-0000-0000-0000-00000000000' || n % 2)::uuid, n, 'p' from generate_series(1, 5256) n";

/// Fails if a tick counts a list as one change, takes a part of it, or numbers a key twice.
#[tokio::test]
async fn a_list_of_keys_is_taken_whole_and_each_key_gets_a_number() {
    let source = Source::prepared().await;
    let mut connection = pooled(&source).await;
    let mappings = Source::default_mapping_set(&source).await;
    source.execute(MANY_PERMISSIONS).await;
    let captured = "select count(*), sum(coalesce(key_count, 1)) from offtake.captured_change";
    assert_eq!(source.query_text(captured).await, "266|5256");
    let numbering = Numbering::default();
    let mut taken = Vec::new();
    while taken.last() != Some(&0) {
        let done = tick(&mut connection, &mappings, &numbering, 1200, 0).await.expect("it runs");
        assert_eq!(done.taken, done.appended);
        taken.push(done.taken);
        let log = "select sum(coalesce(key_count, 1)), max(sequence_id) - min(sequence_id - coalesce(key_count, 1)) from offtake.change_log";
        let numbered: i64 = taken.iter().sum();
        assert_eq!(source.query_text(log).await, format!("{numbered}|{numbered}"));
    }
    // 256 rows and two lists of 500 keys; then three lists at a time.
    assert_eq!(taken, [1256, 1500, 1500, 1000, 0]);
    let keys = "select l.tenant_id, coalesce(k.row_key, l.row_key) as row_key, coalesce(k.sequence_id, l.sequence_id) as sequence_id, l.deleted from offtake.change_log l
                  left join lateral offtake.keys_of(l.sequence_id, l.key_count, l.keys, l.key_column) k on l.key_count is not null";
    let log = format!("select tenant_id, count(*), count(distinct row_key), bool_and(p.tenancy_id::text = tenant_id and not deleted)
                         from ({keys}) l join permission p on p.id::text = l.row_key ->> 'id' group by 1 order by 1");
    let numbers = format!(
        "select count(*) = count(distinct sequence_id) and count(*) = max(sequence_id) - min(sequence_id) + 1 from ({keys}) l"
    );
    assert_eq!(source.query_text(&numbers).await, "t");
    assert_eq!(
        source.query_text(&log).await,
        "00000000-0000-0000-0000-000000000000|2628|2628|t\n00000000-0000-0000-0000-000000000001|2628|2628|t"
    );
    source.execute("delete from permission").await;
    drain(&source, &mut connection).await;
    let deleted = "select count(*), count(distinct row_key) from offtake.deleted_row";
    assert_eq!(source.query_text(deleted).await, "5256|5256");
}

/// How the version before the lists took changes. Its columns are there, and it takes a list for a
/// change of the whole table.
const SEQUENCE_CHANGES_BEFORE: &str = "
  with taken as (
    delete from offtake.captured_change
     where ctid = any(array(select ctid from offtake.captured_change where capture_id > 0 order by capture_id limit 10000))
    returning capture_id, source_table, operation, tenant_id, row_key, matched, resume, captured_at
  )
  select count(*) filter (where operation in ('c', 'd') and row_key is not null), string_agg(distinct source_table, ' ') filter (where operation = 't')
    from taken";

#[tokio::test]
async fn an_earlier_version_that_meets_a_list_copies_the_table_again() {
    let source = Source::prepared().await;
    source.execute(MANY_PERMISSIONS).await;
    assert_eq!(source.query_text(SEQUENCE_CHANGES_BEFORE).await, "256|public.permission");
}

#[tokio::test]
async fn a_tick_beside_another_skips_and_loses_nothing() {
    let source = Source::prepared().await;
    let mut connection = pooled(&source).await;
    let mappings = Source::default_mapping_set(&source).await;
    let other = source.connect().await;
    other
        .batch_execute(&format!(
            "begin; select pg_advisory_xact_lock({})",
            offtake_sequencer::LOCK_KEY
        ))
        .await
        .expect("the lock is free");
    source
        .execute("insert into tenancy (project_id, branch_id, display_name) values ('p', 'b', 'x')")
        .await;
    let drawn_before =
        source.query_text("select last_value, is_called from offtake.global_sequence").await;
    assert_eq!(
        tick(&mut connection, &mappings, &Numbering::default(), ROWS, 0)
            .await
            .expect("the tick runs"),
        Tick { skipped: true, ..Tick::default() }
    );
    // Its statements were sent before it knew that. A number that is drawn is not given back, also
    // where its transaction rolls back.
    let drawn = "select last_value, is_called from offtake.global_sequence";
    assert_eq!(source.query_text(drawn).await, drawn_before, "the tick numbered without the lock");
    other.batch_execute("commit").await.expect("the lock is given back");
    assert_eq!(
        tick(&mut connection, &mappings, &Numbering::default(), ROWS, 0)
            .await
            .expect("the tick runs")
            .taken,
        1
    );
}

#[tokio::test]
async fn a_transaction_that_writes_first_and_commits_last_gets_the_later_number() {
    let source = Source::prepared().await;
    let mut connection = pooled(&source).await;
    let early = source.connect().await;
    early
        .batch_execute("begin; insert into tenancy (project_id, branch_id, display_name) values ('early', 'b', 'x')")
        .await
        .expect("written");
    source
        .execute(
            "insert into tenancy (project_id, branch_id, display_name) values ('late', 'b', 'x')",
        )
        .await;
    assert_eq!(drain(&source, &mut connection).await, 1);
    early.batch_execute("commit").await.expect("committed");
    assert_eq!(drain(&source, &mut connection).await, 1);
    let order = source
        .query_text("select string_agg(t.project_id, ',' order by l.sequence_id) from offtake.change_log l join tenancy t on t.id::text = l.row_key ->> 'id'")
        .await;
    assert_eq!(order, "late,early");
}

#[tokio::test]
async fn a_parent_with_more_dependants_than_a_page_is_expanded_in_pages() {
    let source = Source::prepared().await;
    let mut connection = pooled(&source).await;
    let mappings = Source::default_mapping_set(&source).await;
    source.execute(ONE_TEAM).await;
    source
        .execute(
            "insert into invitation (project_id, branch_id, data, expires_at) select 'p', 'main',
               '{\"team_id\": \"00000000-0000-0000-0000-0000000000aa\"}', now() from generate_series(1, 24997)",
        )
        .await;
    drain(&source, &mut connection).await;
    source.execute("truncate offtake.change_log; update team set display_name = 'green'").await;
    let first = tick(&mut connection, &mappings, &Numbering::default(), ROWS, 0)
        .await
        .expect("the tick runs");
    assert_eq!((first.appended, first.continued), (1 + 10_000, 1));
    drain(&source, &mut connection).await;
    let woken = source
        .query_text("select count(*), count(distinct row_key) from offtake.change_log where source_table = 'public.invitation'")
        .await;
    assert_eq!(woken, "25000|25000");
}

#[tokio::test]
async fn truncate_is_one_change_for_the_whole_table_and_for_every_table_that_depends_on_it() {
    let source = Source::prepared().await;
    let mut connection = pooled(&source).await;
    source.execute(ONE_TEAM).await;
    drain(&source, &mut connection).await;
    source.execute("truncate offtake.change_log").await;
    source.execute("truncate contact_channel").await;
    drain(&source, &mut connection).await;
    let log = source
        .query_text(
            "select distinct source_table, tenant_id, row_key from offtake.change_log order by 1",
        )
        .await;
    assert_eq!(log, "public.contact_channel||\npublic.project_user||");
}
