//! Work that Offtake avoids: writing rows that are already right, changing schemas, opening
//! connections, touching the application's tables.

use offtake_tests::{PATIENCE, World, history, oracle, until};

#[tokio::test]
async fn many_updates_of_one_row_before_a_tick_are_written_once() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(20).await;
    history::install(&world).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let destination = &world.tenant("acme").destination;
    let before = destination.query_text("select max(id) from history.change").await;
    // The sequencer is held, so that one tick takes all of these changes.
    daemon.set_failpoint("sequencer.after_lock", "pause").await;
    let updates: String = (0..100)
        .map(|n| format!("update team set display_name = 'version {n}' where team_id = (select min(team_id::text)::uuid from team);"))
        .collect();
    world.source.execute(&updates).await;
    world
        .source
        .execute(&format!(
            "insert into team (tenancy_id, team_id, display_name) values ('{0}', md5('brief')::uuid, 'brief')",
            world.id("acme")
        ))
        .await;
    world.source.execute("delete from team where team_id = md5('brief')::uuid").await;
    daemon.clear_failpoints().await;
    world.wait_in_step().await;
    let writes = format!(
        "select count(*), min(new ->> 'display_name') from history.change where table_name = 'teams' and id > {before}"
    );
    assert_eq!(destination.query_text(&writes).await, "1|version 99");
    oracle::assert_equal(&world).await;
    history::assert_sound(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn unchanged_content_is_not_rewritten_and_nothing_is_created_after_the_first_sync() {
    let world = World::with_tenants(["acme"]).proxied("acme").await;
    world.fill(50).await;
    history::install(&world).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let destination = &world.tenant("acme").destination;
    let rows = destination
        .query_text("select count(*) from history.change where table_name <> '_offtake_state'")
        .await;
    assert_ne!(rows, "0", "the history records");
    let made =
        destination.query_text("select count(*) from history.ddl where tag not like '%TEMP%' and identity not like 'pg_temp%'").await;
    // Updates every row of the source without changing a value that a mapping shows.
    world.source.execute("update project_user set display_name = display_name; update team set display_name = display_name; update invitation set method = method").await;
    world.wait_in_step().await;
    assert_eq!(
        destination
            .query_text("select count(*) from history.change where table_name <> '_offtake_state'")
            .await,
        rows
    );
    let connections = world.tenant("acme").proxy().accepted();
    for n in 0..40 {
        world
            .source
            .execute(&format!("update team set display_name = 'round {n}' where team_id = (select min(team_id::text)::uuid from team)"))
            .await;
        world.wait_in_step().await;
    }
    let made_later = "select count(*) from history.ddl where tag not like '%TEMP%' and identity not like 'pg_temp%'";
    assert_eq!(destination.query_text(made_later).await, made, "DDL after the first sync");
    let opened = world.tenant("acme").proxy().accepted() - connections;
    assert!(opened <= 5, "40 changes opened {opened} connections");
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_change_costs_the_source_two_narrow_appends_and_nothing_on_the_applications_table() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(10).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let shape =
        "select count(*) from pg_attribute where attrelid = 'public.team'::regclass and attnum > 0";
    let written =
        "select n_tup_ins, n_tup_upd, n_tup_del from pg_stat_xact_user_tables where relid = ";
    let client = world.source.connect().await;
    let columns = world.source.query_text(shape).await;
    // Inside the application's own transaction there are exactly two writes: one row of its table
    // and one captured change.
    client
        .batch_execute("begin; update team set display_name = 'counted' where team_id = (select min(team_id::text)::uuid from team)")
        .await
        .expect("written");
    let counted = async |table: &str| {
        let row = client
            .query_one(&format!("{written} '{table}'::regclass"), &[])
            .await
            .expect("counted");
        (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2))
    };
    assert_eq!(counted("public.team").await, (0, 1, 0));
    assert_eq!(counted("offtake.captured_change").await, (1, 0, 0));
    client.batch_execute("commit").await.expect("committed");
    world.wait_in_step().await;
    assert_eq!(
        world.source.query_text(shape).await,
        columns,
        "no column is added to the application's table"
    );
    let width = "select max(pg_column_size(l.*)) from offtake.change_log l";
    let width: i64 = world.source.query_text(width).await.parse().expect("a number");
    assert!(width < 300, "a logged change is {width} bytes wide");
    daemon.stop().await;
}

const APPLIED: &str = "offtake_batches_total{result=\"applied\"}";

/// A worker that has nothing left to do waits for the next change of its tenant for a moment.
#[tokio::test]
async fn changes_that_follow_each_other_soon_are_not_claimed_one_by_one() {
    let world = World::with_tenants(["acme", "globex"]).await;
    world.fill(20).await;
    history::install(&world).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let at_work = async || {
        let batches = daemon.metric(APPLIED).await;
        (batches, daemon.metric("offtake_stage_latency_seconds_count{stage=\"claim\"}").await)
    };
    let changes = format!(
        "do $$ begin for n in 1..200 loop
           update team set display_name = 'step ' || n where team_id =
             (select min(team_id::text)::uuid from team where tenancy_id = '{}');
           commit;
           perform pg_sleep(0.004);
         end loop; end $$",
        world.id("acme")
    );
    // On a machine that is busy with other things, a turn may be over before it could wait.
    until("batches that were not claimed", PATIENCE, async || {
        let (batches_before, claims_before) = at_work().await;
        world.source.execute(&changes).await;
        world.wait_in_step().await;
        let (batches, claims) = at_work().await;
        let (batches, claims) = (batches - batches_before, claims - claims_before);
        let told = format!("{claims} claims for {batches} batches");
        if claims + 10.0 <= batches { Ok(()) } else { Err(told) }
    })
    .await;
    oracle::assert_equal(&world).await;
    history::assert_sound(&world).await;
    daemon.stop().await;
}

/// Numbers that a tick has used up and rolled back are no changes. A worker that waits for the next
/// change reads once for them, and not until its time is over.
#[tokio::test]
async fn numbers_without_a_change_are_looked_for_once() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let at_work = async || {
        let reads = daemon.metric("offtake_stage_latency_seconds_count{stage=\"fetch\"}").await;
        (reads, daemon.metric(APPLIED).await)
    };
    let (reads_before, batches_before) = at_work().await;
    let changes = "do $$ begin for n in 1..50 loop
                     update team set display_name = 'step ' || n;
                     commit;
                     for gap in 1..10 loop
                       perform pg_sleep(0.004);
                       perform nextval('offtake.global_sequence');
                       commit;
                     end loop;
                   end loop; end $$";
    world.source.execute(changes).await;
    world.wait_in_step().await;
    let (reads, batches) = at_work().await;
    let (reads, batches) = (reads - reads_before, batches - batches_before);
    assert!(reads <= 2.0 * batches + 10.0, "{reads} reads for {batches} batches");
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A chunk that goes into the table itself leaves nothing in the staging table. Truncating it before
/// each chunk took a tenth of a first copy.
#[tokio::test]
async fn a_staging_table_is_truncated_by_large_changes_and_no_first_copy() {
    let notes = "source: { table: public.note, tenant: tenant }\n\
                 query: select tenant as tenant_id, id, body from note\n\
                 target: { table: notes }\n";
    let plan = World::with_tenants(["acme"]).mappings(&[("notes", notes)]);
    let world = plan.without_init().rows_at_once(1).await;
    world
        .source
        .execute(&format!(
            "create table note (tenant text, id int, body text, primary key (tenant, id));
             insert into note select '{}', n, repeat('x', 300 * 1024) from generate_series(1, 9) n;",
            world.id("acme")
        ))
        .await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    // A truncated table has another file than the one it was made with.
    let staging = "select count(*), count(*) filter (where pg_relation_filenode(oid) <> oid)
                     from pg_class where relpersistence = 't' and relkind = 'r'";
    let found = world.tenant("acme").destination.query_text(staging).await;
    let (tables, truncated) = found.split_once('|').expect("two numbers");
    assert_ne!(tables, "0", "the session has staging tables");
    assert_eq!(truncated, "0");

    // A large batch of changes leaves nothing there, neither rows nor the space of deleted ones.
    for body in ["y", "z"] {
        let change = format!("update note set body = repeat('{body}', 300 * 1024)");
        world.source.execute(&change).await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
        let left = "select sum(pg_relation_size(oid))
                      from pg_class where relpersistence = 't' and relkind = 'r'";
        assert_eq!(world.tenant("acme").destination.query_text(left).await, "0");
    }
    daemon.stop().await;
}
