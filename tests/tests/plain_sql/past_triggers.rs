//! Ways past a trigger (H12): found within a minute, and reconciled.

use std::time::{Duration, Instant};

use offtake_tests::{Daemon, World, oracle, until};

use crate::start;

/// The promise of design §5. The daemon looks every 30 seconds.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

/// (table, what is done to it); `{t}` is the tenant. Every table has three partitions with two rows in each.
const WAYS: [(&str, &str); 10] = [
    ("disabled", "alter table disabled_1 disable trigger all; update disabled_1 set name = 'unseen'; delete from disabled_1 where id = 1"),
    // What psql users do around a bulk load; enabling puts back the ordinary state, which replicas' sessions slip past.
    (
        "enabled_again",
        "alter table enabled_again disable trigger user; insert into enabled_again values ('{t}', 1, 9, 'unseen'); alter table enabled_again enable trigger user",
    ),
    (
        "replica",
        "alter table replica_1 enable trigger offtake_capture_update; set session_replication_role = replica; update replica_1 set name = 'unseen'; reset session_replication_role",
    ),
    ("dropped", "drop trigger offtake_capture_delete on dropped_2; delete from dropped_2 where id = 1"),
    (
        "renamed",
        "create table renamed_new (like renamed including all); insert into renamed_new select tenant, part, id, 'from the new table' from renamed where id = 1;
         alter table renamed rename to renamed_old; alter table renamed_new rename to renamed",
    ),
    // Each has the other's triggers then.
    ("swapped_a", "alter table swapped_a rename to swapped_c; alter table swapped_b rename to swapped_a; alter table swapped_c rename to swapped_b"),
    ("swapped_b", "update swapped_b set name = 'after the swap' where id = 1"),
    ("attached", "create table attached_4 (like attached); insert into attached_4 values ('{t}', 4, 1, 'came along'); alter table attached attach partition attached_4 for values in (4)"),
    ("added", "create table added_4 partition of added for values in (4); insert into added_4 values ('{t}', 4, 1, 'into the leaf'); insert into added values ('{t}', 4, 2, 'by the root')"),
    (
        "exchanged",
        "create table exchanged_new (like exchanged including all); insert into exchanged_new values ('{t}', 2, 5, 'exchanged');
         alter table exchanged detach partition exchanged_2; alter table exchanged attach partition exchanged_new for values in (2)",
    ),
];

/// A partition leaves, or is away for a while: (table, what is done, what is done once the copy has seen that).
const PARTITIONS_LEAVING: [(&str, &str, &str); 3] = [
    ("detached", "alter table detached detach partition detached_2", "select"),
    ("dropped_partition", "drop table dropped_partition_2", "select"),
    (
        "reattached",
        "alter table reattached detach partition reattached_2; update reattached_2 set name = 'while detached' where id = 1",
        "alter table reattached attach partition reattached_2 for values in (2)",
    ),
];

fn mapping(table: &str) -> String {
    format!(
        "source: {{ table: public.{table}, tenant: tenant }}\nquery: select tenant as tenant_id, part, id, name from {table}\ntarget: {{ table: {table} }}"
    )
}

fn create(table: &str, tenant: &str) -> String {
    let partitions: String = (1..=3).map(|n| format!("create table {table}_{n} partition of {table} for values in ({n});")).collect();
    format!(
        "create table {table} (tenant text not null, part int not null, id int not null, name text, primary key (tenant, part, id)) partition by list (part);
         {partitions} insert into {table} select '{tenant}', p, n, 'first' from generate_series(1, 3) p, generate_series(1, 2) n;"
    )
}

async fn world_of(tables: &[&str]) -> (World, Daemon) {
    let mappings: Vec<_> = tables.iter().map(|table| (*table, mapping(table))).collect();
    let mappings: Vec<(&str, &str)> = mappings.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let world = World::with_tenants(["acme"]).mappings(&mappings).without_init().await;
    world.allow("capture_drifted");
    world.allow("capture_gap_noted");
    let daemon = start(&world, &tables.iter().map(|table| create(table, world.id("acme"))).collect::<String>()).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    (world, daemon)
}

async fn wait_reconciled(world: &World) {
    let began = Instant::now();
    until("every copy equals its query again", FOUND_WITHIN, async || {
        let differences = oracle::differences(world, world.tenants()).await;
        if differences.is_empty() { Ok(()) } else { Err(oracle::show(&differences)) }
    })
    .await;
    println!("reconciled after {:?}", began.elapsed());
}

/// Capture is whole, for every way of writing.
async fn assert_captured(world: &World, tables: &[&str]) {
    for table in tables {
        let write = format!(
            "set session_replication_role = replica; update {table} set name = 'captured again'; reset session_replication_role;
             insert into {table} values ('{}', 1, 77, 'captured again')",
            world.id("acme")
        );
        world.source.execute(&write).await;
    }
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
}

/// All ways at one moment in one world, because each waits for the daemon's next look, up to half a minute. `drift` finds
/// what is missing, and `note_gap` has the copy made anew; without either it stays wrong for ever, as the ancestor's did.
#[tokio::test]
async fn what_goes_past_the_triggers_is_found_within_a_minute_and_reconciled() {
    let tables = WAYS.map(|(table, _)| table);
    let (world, daemon) = world_of(&tables).await;
    for (_, way) in WAYS {
        world.source.execute(&way.replace("{t}", world.id("acme"))).await;
    }
    wait_reconciled(&world).await;
    assert_captured(&world, &tables).await;
    daemon.stop().await;
}

/// A partition that goes takes rows along and fires nothing; one that comes back still has its triggers.
#[tokio::test]
async fn a_partition_that_leaves_takes_its_rows_out_of_the_copy() {
    let tables = PARTITIONS_LEAVING.map(|(table, ..)| table);
    let (world, daemon) = world_of(&tables).await;
    for (_, leaving, _) in PARTITIONS_LEAVING {
        world.source.execute(leaving).await;
    }
    wait_reconciled(&world).await;
    for (_, _, coming) in PARTITIONS_LEAVING {
        world.source.execute(coming).await;
    }
    wait_reconciled(&world).await;
    assert_captured(&world, &tables).await;
    daemon.stop().await;
}
