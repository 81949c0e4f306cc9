//! Relations in a tree: partitions and children of inheritance, mapped by themselves or beside what
//! they belong to, and written through any table above them.

use std::time::Duration;

use offtake_tests::{World, oracle};

use crate::{mapping, start};

/// The daemon looks at the triggers every 30 seconds.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

async fn world_of(tables: &[(&str, &str)]) -> World {
    let mappings =
        tables.iter().map(|(name, columns)| ((*name).to_owned(), mapping(name, columns)));
    World::with_tenants(["acme"]).computed_mappings(mappings).without_init().await
}

/// Runs each statement by itself; afterwards every copy equals its query.
async fn assert_arrive(world: &World, statements: &[&str]) {
    for statement in statements {
        let statement = statement.replace("{t}", world.id("acme"));
        world.source.execute(&statement).await;
        world.wait_in_step().await;
        oracle::assert_equal_after(world, &statement).await;
    }
}

async fn assert_init_changes_nothing(world: &World) {
    let said = world.succeed(&["init"]).await;
    assert!(said.contains("all triggers are in place"), "{said}");
}

const LEAVES: &str = "
    create table pt (org text, id int, v int, note text, primary key (org, id)) partition by list (org);
    create table pt_acme partition of pt for values in ('{t}') partition by range (id);
    create table pt_low (note text, v int, id int not null, org text not null, primary key (org, id));
    alter table pt_acme attach partition pt_low for values from (0) to (100);
    create table pt_high partition of pt_acme for values from (100) to (1000);
    create table pt_rest partition of pt default;
    create table place (id int primary key, org text, name text);
    create table cafe (seats int, primary key (id)) inherits (place);
    create table bar (hours int) inherits (cafe);
    insert into pt select '{t}', n, n from generate_series(1, 5) n;
    insert into cafe select n, '{t}', 'c' || n, n from generate_series(1, 5) n;
    insert into bar select n, '{t}', 'b' || n, n, n from generate_series(11, 15) n";

/// A leaf, a second-level partition, and a child of inheritance with a child of its own; nothing
/// above them is mapped. The test fails with statement-level triggers on the mapped relations: no
/// write through the root or the parent arrived.
#[tokio::test]
async fn writes_through_a_table_above_a_mapped_one_arrive() {
    let world =
        world_of(&[("pt_low", "id, v, note"), ("pt_acme", "id, v"), ("cafe", "id, name, seats")])
            .await;
    let daemon = start(&world, &LEAVES.replace("{t}", world.id("acme"))).await;
    world.wait_in_step().await;
    assert_arrive(
        &world,
        &[
            "insert into pt select '{t}', n, n from generate_series(10, 12) n",
            "update pt set v = 99 where org = '{t}' and id = 1",
            "delete from pt where org = '{t}' and id = 2",
            "insert into pt_acme values ('{t}', 13, 13), ('{t}', 130, 130)",
            "insert into pt_low (org, id, v) values ('{t}', 14, 14)",
            "update pt set id = 15 where id = 1; update pt set id = 140 where id = 15",
            "update pt set org = 'other' where id = 3; update pt set org = '{t}' where id = 3",
            "update pt_acme set id = id + 100 where id in (4, 5)",
            "merge into pt using (values (13)) m (id) on pt.id = m.id when matched then update set v = -1",
            "insert into pt values ('{t}', 13, 7) on conflict (org, id) do update set v = excluded.v",
            "update place set name = name || '!' where id < 3",
            "update place set id = id + 50 where id = 4",
            "delete from place where id = 5 or id = 11",
            "update cafe set seats = 1 where id = 12; update only place set name = 'nobody'",
            "update bar set name = 'direct' where id = 13; delete from only cafe where id = 1",
        ],
    )
    .await;
    assert_init_changes_nothing(&world).await;
    assert_arrive(&world, &["truncate pt, place"]).await;
    daemon.stop().await;
}

/// Every relation is captured for each mapped table that it belongs to. The test fails where the
/// triggers of a relation have one name for all of these: the second `init` wrote them again.
#[tokio::test]
async fn a_relation_of_two_captured_tables_is_captured_for_both() {
    let world = world_of(&[
        ("a", "id, x"),
        ("b", "id, y"),
        ("place", "id, name"),
        ("cafe", "id, name, seats"),
        ("pt", "id, v"),
        ("pt_acme", "id, v"),
        ("pt_low", "id, v, note"),
    ])
    .await;
    let tables = "create table a (id int primary key, org text, x text);
        create table b (id int primary key, org text, y text);
        create table ab (primary key (id)) inherits (a, b);
        insert into ab values (1, '{t}', 'x1', 'y1'), (2, '{t}', 'x2', 'y2');";
    let tables = format!("{tables} {LEAVES}").replace("{t}", world.id("acme"));
    let daemon = start(&world, &tables).await;
    world.wait_in_step().await;
    assert_init_changes_nothing(&world).await;
    assert_arrive(
        &world,
        &[
            "update ab set x = x || '!', y = y || '!'; insert into ab values (3, '{t}', 'x3', 'y3')",
            "update a set x = 'by a' where id = 1; update b set y = 'by b' where id = 2",
            "update a set id = 30 where id = 3; delete from b where id = 1",
            "insert into a values (8, '{t}', 'only in a'); update a set id = 9 where id = 8",
            "update cafe set id = 20 where id = 1; update place set id = 21 where id = 2",
            "insert into place values (90, '{t}', 'no cafe'); delete from place where id in (3, 90)",
            "update pt_low set v = 1000; update pt set v = 2000 where id = 2; delete from pt_acme where id = 3",
            "insert into pt values ('{t}', 200, 1), ('{t}', 22, 1), ('else', 1, 1)",
            "update pt_low set id = 23 where id = 22; update pt set id = 201 where id = 200",
            "truncate pt_low",
            "truncate a, b, place, pt",
        ],
    )
    .await;
    daemon.stop().await;
}

/// Tenants by expression and by look-up, other tables that depend on a child, a key whose text
/// depends on settings, and a column that the application drops.
#[tokio::test]
async fn what_is_captured_by_rows_is_what_is_captured_by_statements() {
    let expression = "source: { table: public.leaf, tenant: \"source.data->>'org'\", key: { at: at } }\n\
        depends_on: [{ table: public.kind, match: { kind: id } }]\n\
        query: select l.data->>'org' as tenant_id, l.at, l.v, (select k.name from public.kind k where k.id = l.kind) as kind from public.leaf l\n\
        target: { table: leaf }\n";
    let looked_up = "source:\n  table: public.item\n  tenant: { table: public.list, column: org, match: { id: list } }\n\
        query: select l.org as tenant_id, i.id, i.v from public.item i join public.list l on l.id = i.list\n\
        target: { table: item }\n";
    let world = World::with_tenants(["acme", "globex"])
        .mappings(&[("leaf", expression), ("item", looked_up)])
        .without_init()
        .await;
    world.allow("capture_drifted");
    let tables = "create table above (at timestamptz primary key, data jsonb, v int);
        create table leaf (kind int, primary key (at)) inherits (above);
        create table kinds (id int primary key, name text); create table kind (primary key (id)) inherits (kinds);
        create table items (id int primary key, list int, v int); create table item (primary key (id)) inherits (items);
        create table lists (id int primary key, org text); create table list (primary key (id)) inherits (lists);
        create table gap_columns () inherits (item);
        insert into kind values (1, 'one'), (2, 'two'); insert into list values (1, '{t}'), (2, '{t}');
        insert into leaf values ('2026-01-01 12:00+3', '{\"org\": \"{t}\"}', 1, 1); insert into item values (1, 1, 1), (2, 2, 2)";
    let daemon = start(&world, &tables.replace("{t}", world.id("acme"))).await;
    world.wait_in_step().await;
    let other = world.id("globex").to_owned();
    assert_arrive(
        &world,
        &[
            "set timezone = 'Asia/Tokyo'; set datestyle = 'German'; insert into above values (now(), '{\"org\": \"{t}\"}', 7); update above set v = 2; reset timezone",
            "update kinds set name = name || '!'",
            "update kinds set id = id + 10 where id = 1; update leaf set kind = 11",
            "insert into items values (3, 1, 3); insert into item values (3, 2, 4); update items set v = v + 1",
            &format!("update lists set org = '{other}' where id = 2"),
            "update items set list = 2 where id = 1; update items set id = 7 where id = 2",
            &format!("update above set data = '{{\"org\": \"{other}\"}}'"),
            "delete from lists where id = 1; delete from kinds",
            "update above set data = 'null'; update above set data = '{\"org\": \"{t}\"}'",
        ],
    )
    .await;
    daemon.stop().await;
}

/// Tables get something above them while the daemon runs: by ATTACH, by INHERIT, and where a child
/// gets a second parent.
#[tokio::test]
async fn a_table_that_is_attached_later_is_captured_within_a_minute() {
    let world = world_of(&[("leaf", "id, v"), ("child", "id, v"), ("base", "id, v")]).await;
    world.allow("capture_drifted");
    world.allow("capture_gap_noted");
    let tables: String = ["leaf", "child", "base"]
        .iter()
        .map(|t| format!("create table {t} (org text not null, id int not null, v int, primary key (org, id)); insert into {t} values ('{{t}}', 1, 1), ('{{t}}', 2, 2);"))
        .collect();
    let tables = format!(
        "{tables} create table derived (primary key (org, id)) inherits (base); insert into derived values ('{{t}}', 3, 3);
         create table root (like leaf including all) partition by list (org);
         create table parent (like child including all); create table second (like base including all)"
    );
    let daemon = start(&world, &tables.replace("{t}", world.id("acme"))).await;
    world.wait_in_step().await;
    world
        .source
        .execute(
            &"alter table root attach partition leaf for values in ('{t}');
              alter table child inherit parent; alter table derived inherit second;
              update root set v = 10; update parent set v = 20; update second set v = 30;
              delete from root where id = 2; insert into root values ('{t}', 9, 9)"
                .replace("{t}", world.id("acme")),
        )
        .await;
    oracle::wait_equal(&world, FOUND_WITHIN).await;
    world.wait_in_step().await;
    assert_arrive(
        &world,
        &[
            "update root set v = v + 1; update parent set v = v + 1; update second set v = v + 1",
            "delete from parent where id = 1; delete from second where id = 3",
            "update leaf set v = 0; update child set v = 0; update base set v = 0",
        ],
    )
    .await;
    world.succeed(&["init"]).await;
    assert_init_changes_nothing(&world).await;
    assert_arrive(&world, &["update root set v = v + 1; update parent set v = v + 1"]).await;
    daemon.stop().await;
}

/// Temporary children belong to one session, which alone sees their rows.
#[tokio::test]
async fn a_temporary_child_is_left_alone() {
    let world = world_of(&[("place", "id, name")]).await;
    let tables = "create table place (id int primary key, org text, name text);
        insert into place values (1, '{t}', 'one')";
    world.source.execute(&tables.replace("{t}", world.id("acme"))).await;
    let session = world.source.connect().await;
    session
        .batch_execute("create temporary table draft () inherits (place)")
        .await
        .expect("a table may have temporary children");
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    session
        .batch_execute("insert into draft values (2, 'x', 'two'); update place set name = 'all'")
        .await
        .expect("writes go on");
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_init_changes_nothing(&world).await;
    daemon.stop().await;
}
