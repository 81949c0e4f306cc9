//! Changes that fire no trigger (H12): found within a minute, and reconciled.

use std::time::{Duration, Instant};

use offtake_tests::{Daemon, World, oracle, until};

use crate::start;

/// The promise of design §5. The daemon looks every 30 seconds.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

/// (table, SQL that changes it without a trigger); `{t}` is the tenant. Every table has three
/// partitions with two rows in each.
const WAYS: [(&str, &str); 16] = [
    ("disabled", "alter table disabled_1 disable trigger all; update disabled_1 set name = 'unseen'; delete from disabled_1 where id = 1"),
    // As psql users do around a bulk load. Enabling the triggers again makes them ordinary ones,
    // which do not fire in sessions with session_replication_role = replica.
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
        "create table renamed_new (like renamed including all); insert into renamed_new (tenant, part, id, name) select tenant, part, id, 'from the new table' from renamed where id = 1;
         alter table renamed rename to renamed_old; alter table renamed_new rename to renamed",
    ),
    // After the swap each table has the other's triggers.
    ("swapped_a", "alter table swapped_a rename to swapped_c; alter table swapped_b rename to swapped_a; alter table swapped_c rename to swapped_b"),
    ("swapped_b", "update swapped_b set name = 'after the swap' where id = 1"),
    ("attached", "create table attached_4 (like attached); insert into attached_4 values ('{t}', 4, 1, 'came along'); alter table attached attach partition attached_4 for values in (4)"),
    ("added", "create table added_4 partition of added for values in (4); insert into added_4 values ('{t}', 4, 1, 'into the leaf'); insert into added values ('{t}', 4, 2, 'by the root')"),
    (
        "exchanged",
        "create table exchanged_new (like exchanged including all); insert into exchanged_new values ('{t}', 2, 5, 'exchanged');
         alter table exchanged detach partition exchanged_2; alter table exchanged attach partition exchanged_new for values in (2)",
    ),
    // Everything is as before when the daemon looks.
    (
        "put_back",
        "alter table put_back_1 disable trigger all; update put_back_1 set name = 'unseen';
         alter table put_back_1 enable always trigger offtake_capture_insert, enable always trigger offtake_capture_update,
                                enable always trigger offtake_capture_delete, enable always trigger offtake_capture_truncate",
    ),
    (
        "recreated",
        "do $$
         declare definition text := (select pg_get_triggerdef(oid) from pg_trigger where tgrelid = 'recreated_2'::regclass and tgname = 'offtake_capture_delete');
         begin
           drop trigger offtake_capture_delete on recreated_2; delete from recreated_2 where id = 1;
           execute definition; alter table recreated_2 enable always trigger offtake_capture_delete;
         end $$",
    ),
    // No row is updated, and afterwards the mapping's columns are the same.
    ("retyped", "alter table retyped alter column name type text using upper(name)"),
    ("readded", "alter table readded drop column name; alter table readded add column name text default 'of ' || clock_timestamp()"),
    // Not even the table's file changes.
    ("readded_alike", "alter table readded_alike drop column name; alter table readded_alike add column name text default 'alike'"),
    (
        "columns_swapped",
        "alter table columns_swapped rename name to aside; alter table columns_swapped rename remark to name;
         alter table columns_swapped rename aside to remark",
    ),
];

/// Operations that change no row's values, each between two looks.
const HARMLESS: [&str; 10] = [
    "select",
    "vacuum full kept_1",
    "cluster kept_2 using kept_2_pkey",
    "reindex table kept",
    "vacuum (freeze, analyze) kept; vacuum (full, freeze) pg_trigger; vacuum (full, freeze) pg_attribute; vacuum full pg_class",
    "alter table kept alter column name set statistics 50",
    "create index on kept (name); alter table kept add column note text default 'none'",
    "alter table kept add column spare text; alter table kept add column number int default 3",
    "alter table kept drop column spare; alter table kept rename number to amount",
    "alter table kept_3 rename to kept_0; alter table kept_0 set (fillfactor = 90)",
];

/// A partition is detached or dropped, or is detached for a while: (table, first SQL, SQL after the
/// copy has seen that).
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
        "source: {{ table: public.{table}, tenant: tenant }}\nquery: select tenant as tenant_id, part, id, name, remark from {table}\ntarget: {{ table: {table} }}"
    )
}

fn create(table: &str, tenant: &str) -> String {
    let partitions: String = (1..=3)
        .map(|n| format!("create table {table}_{n} partition of {table} for values in ({n});"))
        .collect();
    format!(
        "create table {table} (tenant text not null, part int not null, id int not null, name text, remark text default 'no remark',
            primary key (tenant, part, id)) partition by list (part);
         {partitions} insert into {table} (tenant, part, id, name) select '{tenant}', p, n, 'first' from generate_series(1, 3) p, generate_series(1, 2) n;"
    )
}

async fn world_of(tables: &[&str]) -> (World, Daemon) {
    let mappings = tables.iter().map(|table| ((*table).to_owned(), mapping(table)));
    let world = World::with_tenants(["acme"]).computed_mappings(mappings).without_init().await;
    world.allow("capture_drifted");
    world.allow("capture_gap_noted");
    let daemon = start(
        &world,
        &tables.iter().map(|table| create(table, world.id("acme"))).collect::<String>(),
    )
    .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    (world, daemon)
}

async fn wait_reconciled(world: &World) {
    let began = Instant::now();
    oracle::wait_equal(world, FOUND_WITHIN).await;
    // Waits until no worker is at these copies any more: the next change of the schema would
    // interrupt it.
    world.wait_in_step().await;
    println!("reconciled after {:?}", began.elapsed());
}

/// Checks that every way of writing to the tables is captured.
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

/// All ways at the same time in one world, because each has to wait for the daemon's next look, up
/// to 30 seconds. `drift` finds the gap, and `note_gap` causes the re-copy. Without either, the
/// copy stays wrong for ever, as it did in the previous system.
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

/// A false alarm would re-copy every copy of a table. `offtake init` looks in the same way as the
/// daemon.
#[tokio::test]
async fn what_leaves_the_rows_as_they_are_is_no_gap() {
    let (world, daemon) = world_of(&["kept"]).await;
    // After Offtake itself has created triggers again, it does not take that for a foreign change.
    world.source.execute("alter table kept_1 disable trigger offtake_capture_insert; drop trigger offtake_capture_update on kept_2").await;
    assert!(world.offtake(&["init"]).await.status.success());
    world.wait_in_step().await;
    let noted = "select count(*) from offtake.change_log where row_key is null";
    let before = world.source.query_text(noted).await;
    for harmless in HARMLESS {
        for statement in harmless.split(';') {
            world.source.execute(statement).await;
        }
        let init = world.offtake(&["init"]).await;
        let told = String::from_utf8_lossy(&init.stdout);
        assert!(init.status.success() && !told.contains("noted as changed"), "{harmless}\n{told}");
    }
    world
        .source
        .execute(&format!(
            "insert into kept values ('{}', 1, 9, 'sequenced behind all that')",
            world.id("acme")
        ))
        .await;
    world.wait_in_step().await;
    assert_eq!(world.source.query_text(noted).await, before);
    // TRUNCATE is captured like any other change, and counts as no gap.
    world.source.execute("truncate kept_1").await;
    world.wait_in_step().await;
    let init = world.offtake(&["init"]).await;
    assert!(!String::from_utf8_lossy(&init.stdout).contains("noted as changed"));
    assert_captured(&world, &["kept"]).await;
    daemon.stop().await;
}

/// Changes of columns that write no row: SQL for the joined table, and whether the mapping can be
/// read afterwards. The daemon looks between any two of them.
const COLUMNS_CHANGING: [(&str, bool); 6] = [
    (
        "alter table town drop column name; alter table town add column name text default 'renewed'",
        true,
    ),
    (
        "alter table town rename name to aside; alter table town rename region to name; alter table town rename aside to region",
        true,
    ),
    ("alter table town drop column region", false),
    ("alter table town add column region text", true),
    ("alter table town rename name to old_name", false),
    ("alter table town rename region to name; alter table town rename old_name to region", true),
];

/// If a column name now belongs to another column, the query gives other values. This is noticed
/// also where the table is only joined, and also if a look happened while the name did not exist.
/// Without the columns' numbers in the note, the copy keeps the old values for ever.
#[tokio::test]
async fn a_column_that_has_anothers_name_is_copied_again_also_where_it_is_joined() {
    let mapping = "
source: { table: public.person, tenant: tenant }
depends_on: [ { table: public.town, match: { town: id } } ]
query: |
  select p.tenant as tenant_id, p.id, t.name as town, t.region
    from public.person p join public.town t on t.id = p.town
target: { table: persons }
";
    let world =
        World::with_tenants(["acme"]).mappings(&[("persons", mapping)]).without_init().await;
    // Which of the last two tells that the source no longer fits depends on whether a look at the
    // triggers comes before the reload.
    for event in ["capture_drifted", "capture_gap_noted", "mappings_refused", "mappings_drifted"] {
        world.allow(event);
    }
    let tables = format!(
        "create table town (id int primary key, name text, region text);
         create table person (tenant text not null, id int not null, town int, primary key (tenant, id));
         create index on person (town);
         insert into town select n, 'town ' || n, 'region ' || n from generate_series(1, 5) n;
         insert into person select '{}', n, 1 + n % 5 from generate_series(1, 20) n",
        world.id("acme")
    );
    let daemon = start(&world, &tables).await;
    world.wait_in_step().await;
    for (change, readable) in COLUMNS_CHANGING {
        world.source.execute(change).await;
        daemon.reload();
        until(&format!("a look after: {change}"), FOUND_WITHIN, async || {
            let error = daemon.status().await["config"]["error"].clone();
            if error.is_null() == readable { Ok(()) } else { Err(error.to_string()) }
        })
        .await;
        if readable {
            wait_reconciled(&world).await;
        }
    }
    // A note of an older version has no numbers. It is completed, and nothing is re-copied.
    let gaps = "select count(*) from offtake.change_log where row_key is null";
    let before = world.source.query_text(gaps).await;
    let notes = "select count(*) from pg_description where objoid in (select oid from pg_proc where proname like 'capture\\_%') and description ~ 'numbers'";
    assert_eq!(world.source.query_text(notes).await, "2");
    world
        .source
        .execute(
            "do $$ declare f regprocedure; begin
               for f in select oid from pg_proc where proname like 'capture\\_%' loop
                 execute format('comment on function %s is %L', f, regexp_replace(obj_description(f, 'pg_proc'), ', numbers.*', ''));
               end loop;
             end $$",
        )
        .await;
    assert_eq!(world.source.query_text(notes).await, "0");
    daemon.reload();
    until("the notes are complete again", FOUND_WITHIN, async || {
        let complete = world.source.query_text(notes).await;
        if complete == "2" { Ok(()) } else { Err(complete) }
    })
    .await;
    world.source.execute("update town set name = 'captured'").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(world.source.query_text(gaps).await, before);
    daemon.stop().await;
}

/// Another definition of a view, or of a function, gives other rows without a change of any table.
/// Without the definitions in the mapping's version, the copy keeps the old rows, and the status
/// says `in_sync`.
#[tokio::test]
async fn a_view_or_function_that_is_replaced_is_copied_again() {
    let through = |name: &str, query: &str| {
        format!(
            "source: {{ table: public.member, tenant: tenant }}
query: {query}
target: {{ table: {name} }}
"
        )
    };
    let viewed = through("viewed", "select tenant as tenant_id, id, label from public.shown");
    let called =
        through("called", "select tenant as tenant_id, id, label(name) from public.member");
    let plain = through("plain", "select tenant as tenant_id, id, name from public.member");
    let world = World::with_tenants(["acme"])
        .mappings(&[("viewed", &viewed), ("called", &called), ("plain", &plain)])
        .without_init()
        .await;
    let tables = format!(
        "create table member (tenant text not null, id int not null, name text, gone boolean,
           primary key (tenant, id));
         create function label(name text) returns text immutable language sql as 'select upper(name)';
         create view active as select tenant, id, name from member where not gone;
         create view shown as select tenant, id, label(name) as label from active;
         insert into member select '{}', n, 'member ' || n, n = 3 from generate_series(1, 5) n",
        world.id("acme")
    );
    let daemon = start(&world, &tables).await;
    world.wait_in_step().await;
    let versions = "select string_agg(version, ' ' order by mapping) from _offtake_state \
                    where mapping = 'plain'";
    let before = world.tenant("acme").destination.query_text(versions).await;
    for change in [
        "create or replace view active as select tenant, id, name || '!' as name from member",
        "create or replace view active as select tenant, id, name from member where id > 2",
        "create or replace function label(name text) returns text immutable language sql as 'select lower(name)'",
        "alter view shown rename column label to text; alter view shown rename column text to label",
    ] {
        world.source.execute(change).await;
        daemon.reload();
        wait_reconciled(&world).await;
    }
    // A mapping that reads neither is as it was.
    assert_eq!(world.tenant("acme").destination.query_text(versions).await, before);
    daemon.stop().await;
}

/// A partition that is detached or dropped takes its rows along and fires no trigger. A partition
/// that is attached again still has its triggers.
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
