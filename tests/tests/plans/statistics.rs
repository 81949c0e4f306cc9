//! What the planner knows of the log, and what is left in its indexes, without autovacuum.

use offtake_tests::{PATIENCE, World, until};

/// A partition that VACUUM found empty has statistics that make the planner read all of it, and the
/// daemon's sessions keep such a plan. The sequencer gives a growing partition its statistics, upon
/// which every session plans again. Without it a backlog of 200 000 rows took twice the time.
#[tokio::test]
async fn a_young_partition_of_the_log_gets_its_statistics_without_autovacuum() {
    const PERMISSIONS: &str = include_str!("../../../mappings/permissions.yaml");
    let world = World::with_tenants(["acme"]).mappings(&[("permissions", PERMISSIONS)]).await;
    let source = world.source.connect().await;
    let quiet = "alter table offtake.change_log_0 set (autovacuum_enabled = false)";
    source.batch_execute(quiet).await.unwrap();
    source.batch_execute("vacuum analyze offtake.change_log_0").await.unwrap();
    let rows =
        "select reltuples::bigint::text from pg_class where oid = 'offtake.change_log_0'::regclass";
    assert_eq!(world.source.query_text(rows).await, "0");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    for (from, to) in [(1, 1_500), (1_501, 12_000)] {
        // Statements over more rows leave a few lists in the log.
        let fill = format!(
            "do $$ begin for n in {from}..{to} loop
                insert into permission (tenancy_id, id, permission_id) select id, n, 'read' from tenancy;
             end loop; end $$"
        );
        world.source.execute(&fill).await;
        world.wait_in_step().await;
        until("the partition has statistics", PATIENCE, async || {
            let known: i64 = world.source.query_text(rows).await.parse().unwrap();
            if known > to / 2 { Ok(()) } else { Err(format!("{known} rows of {to}")) }
        })
        .await;
    }
    daemon.stop().await;
}

/// The entries of numbered changes stayed in the index: a look from the beginning passed 300 000 of
/// them after a minute of 5 000 changes a second. The tests' servers have no autovacuum.
#[tokio::test]
async fn what_numbered_changes_leave_is_vacuumed() {
    let world = World::with_tenants(["acme"]).await;
    let daemon = world.daemon().await;
    let many = "insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
                select 'public.nothing', 'c', 'nobody', jsonb_build_object('id', n) from generate_series(1, 25000) n";
    world.source.execute(many).await;
    until("the table is vacuumed", PATIENCE, async || {
        let vacuums =
            "select vacuum_count from pg_stat_user_tables where relname = 'captured_change'";
        let found = world.source.try_query_text(vacuums).await?;
        if found == "0" { Err("no vacuum".to_owned()) } else { Ok(()) }
    })
    .await;
    daemon.stop().await;
}
