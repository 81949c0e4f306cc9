//! Relations that triggers cannot capture: refused by name, with the reason, wherever a mapping
//! names them.

use offtake_tests::World;

/// (name, what is said of it)
const REFUSED: [(&str, &str); 12] = [
    ("public.a_view", "public.a_view is a view"),
    ("public.a_matview", "public.a_matview is a materialized view"),
    ("public.a_foreign", "public.a_foreign is a foreign table"),
    ("public.parted", "public.parted has the foreign partition public.parted_far"),
    ("public.parent", "public.parent has the foreign child public.child_far"),
    ("public.metrics", "public.metrics is a hypertable of TimescaleDB"),
    ("public.spread", "public.spread is a table of Citus"),
    ("public.a_sequence", "public.a_sequence is not a table"),
    ("pg_catalog.pg_class", "pg_catalog.pg_class is not a table of the application"),
    ("pg_toast.pg_toast_1255", "pg_toast.pg_toast_1255 is not a table of the application"),
    ("offtake.change_log", "offtake.change_log is not a table of the application"),
    ("information_schema.tables", "information_schema.tables is not a table of the application"),
];

/// The extensions' catalogs, as far as Offtake reads them.
const TABLES: &str = "
    create table plain (id int primary key, org text, ref int);
    create view a_view as select * from plain; create materialized view a_matview as select * from plain;
    create sequence a_sequence;
    create foreign data wrapper far; create server far foreign data wrapper far;
    create foreign table a_foreign (id int, org text, ref int) server far;
    create table parted (id int, org text, ref int) partition by list (org);
    create foreign table parted_far partition of parted for values in ('far') server far;
    create table parent (id int, org text, ref int); create foreign table child_far () inherits (parent) server far;
    create table metrics (id int, org text, ref int); create table spread (id int, org text, ref int);
    create schema _timescaledb_catalog;
    create table _timescaledb_catalog.hypertable (id int, schema_name name, table_name name);
    insert into _timescaledb_catalog.hypertable values (1, 'public', 'metrics'), (2, 'other', 'plain');
    create table pg_dist_partition (logicalrelid regclass, partmethod \"char\");
    insert into pg_dist_partition values ('spread', 'h')";

/// The same table as the source of a mapping, as one that rows depend on, and for looking up their
/// tenant.
fn mappings(table: &str) -> [String; 3] {
    [
        format!(
            "source: {{ table: {table}, tenant: org, key: {{ id: id }} }}\nquery: select org as tenant_id, id from public.plain\n"
        ),
        format!(
            "source: {{ table: public.plain, tenant: org }}\ndepends_on: [{{ table: {table}, match: {{ ref: id }} }}]\n\
             query: select org as tenant_id, id from public.plain\n"
        ),
        format!(
            "source:\n  table: public.plain\n  tenant: {{ table: {table}, column: org, match: {{ id: ref }} }}\n\
             query: select org as tenant_id, id from public.plain\n"
        ),
    ]
}

#[tokio::test]
async fn what_triggers_cannot_capture_is_refused_by_name() {
    let world = World::with_tenants(["acme"]).mappings(&[]).without_init().await;
    world.source.execute(TABLES).await;
    let mut expected = Vec::new();
    for (at, (table, says)) in REFUSED.iter().enumerate() {
        for (text, place) in mappings(table).iter().zip(["1:18", "2:23", "3:20"]) {
            let name = format!("m{at}_{}", place.replace(':', "_"));
            world.write_mapping(&name, &format!("{text}target: {{ table: {name} }}\n"));
            expected.push(format!("{name}.yaml:{place}: {says}"));
        }
    }
    for arguments in [&["check", "--connect"][..], &["init"], &["run", "--once"]] {
        let output = world.offtake(arguments).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        for expect in &expected {
            let line = stderr.lines().find(|line| line.contains(expect.as_str()));
            assert!(line.is_some() || arguments[0] == "run", "{expect}\n{stderr}");
        }
        let code = output.status.code();
        assert!(code == Some(78) || arguments[0] == "run" && code != Some(0), "{code:?} {stderr}");
    }
    assert_eq!(world.source.query_text("select to_regnamespace('offtake') is null").await, "t");
}
