//! Partitioned tables: written through the root, an intermediate partition, or a leaf.

use offtake_capture::Options;

use crate::{Captured, mapping};

const TABLES: &str = "
    create table public.item (tenant text not null, id int not null, name text, primary key (tenant, id)) partition by list (tenant);
    create table public.item_a partition of item for values in ('a') partition by range (id);
    create table public.item_a1 partition of item_a for values from (0) to (100);
    create table public.item_a2 partition of item_a for values from (100) to (200);
    create table public.item_b (name text, id int not null, tenant text not null, primary key (tenant, id));
    alter table item attach partition item_b for values in ('b')";

async fn item() -> Captured {
    Captured::new(TABLES, &[&mapping("items", "public.item", "tenant", "")]).await
}

fn captured(operation: char, tenant: &str, id: i32) -> String {
    format!("public.item {operation} {tenant} {{\"id\": \"{id}\"}} -")
}

#[tokio::test]
async fn writes_are_captured_once_wherever_they_go() {
    let item = item().await;
    assert_eq!(
        item.after("insert into item values ('a', 1), ('b', 1)").await,
        [captured('c', "a", 1), captured('c', "b", 1)]
    );
    assert_eq!(item.after("insert into item_a values ('a', 2)").await, [captured('c', "a", 2)]);
    assert_eq!(
        item.after("insert into item_b values ('x', 2, 'b')").await,
        [captured('c', "b", 2)]
    );
    // Across partitions through the root, and from leaf to leaf through their parent.
    assert_eq!(
        item.after("update item set tenant = 'b', id = 3 where tenant = 'a' and id = 1").await,
        [captured('c', "b", 3), captured('d', "a", 1)]
    );
    assert_eq!(
        item.after("update item_a set id = 150 where id = 2").await,
        [captured('c', "a", 150), captured('d', "a", 2)]
    );
    assert_eq!(
        item.after("update item_b set name = 'y' where id = 2").await,
        [captured('c', "b", 2)]
    );
    assert_eq!(item.after("delete from item_a2").await, [captured('d', "a", 150)]);
    assert_eq!(item.after("truncate item_b").await, ["public.item t - - -"]);
    assert!(item.after("truncate item").await.iter().all(|line| line == "public.item t - - -"));
}

#[tokio::test]
async fn a_new_partition_is_noticed_and_covered() {
    let mut item = item().await;
    assert!(item.drift().await.is_empty());
    item.database.execute("create table item_c partition of item for values in ('c')").await;
    let drift = item.drift().await;
    assert_eq!(drift.len(), 5, "{drift:?}");
    assert_eq!(drift[0], "public.item_c has no trigger that captures insert");
    assert_eq!(drift[4], "partitions of public.item were attached, detached or dropped");
    let report = item.install(&Options { note_gap: true, ..Options::default() }).await;
    assert_eq!(
        (report.installed, report.gaps),
        (vec!["public.item_c".to_owned()], vec!["public.item".to_owned()])
    );
    assert_eq!(item.take().await, ["public.item t - - -"]);
    assert_eq!(item.after("insert into item_c values ('c', 1)").await, [captured('c', "c", 1)]);
    assert!(item.drift().await.is_empty());
    // A detached partition belongs to no captured table.
    item.database.execute("alter table item detach partition item_c").await;
    let left = "partitions of public.item were attached, detached or dropped";
    assert_eq!(
        item.drift().await,
        [left, "public.item_c has capture triggers, but no mapping names it"]
    );
    // Attached again before the next look, with its triggers and with all changes made in between.
    item.database.execute("alter table item attach partition item_c for values in ('c')").await;
    assert_eq!(item.drift().await, [left]);
    assert_eq!(
        item.install(&Options { note_gap: true, ..Options::default() }).await.gaps,
        ["public.item"]
    );
    assert_eq!(item.take().await, ["public.item t - - -"]);
    item.database.execute("alter table item detach partition item_c").await;
    assert_eq!(item.install(&Options::default()).await.removed, ["public.item_c"]);
    assert!(item.drift().await.is_empty());
    item.database.execute("drop table item_b").await;
    assert_eq!(item.drift().await, [left]);
    let report = item.install(&Options { note_gap: true, ..Options::default() }).await;
    assert_eq!((report.installed.len(), report.gaps), (0, vec!["public.item".to_owned()]));
    assert!(item.drift().await.is_empty());
    // Neither a partition's new name nor VACUUM counts as a difference.
    item.database.execute("alter table item_a1 rename to item_a0").await;
    item.database.execute("vacuum (full, freeze) pg_inherits").await;
    assert!(item.drift().await.is_empty());
    // A note of an older version has only partitions. It is completed, and nothing is re-copied.
    let note =
        item.database.query_text("select obj_description(oid, 'pg_proc') from pg_proc where proname like 'capture_public_item%'").await;
    let function = item
        .database
        .query_text("select proname from pg_proc where proname like 'capture_public_item%'")
        .await;
    let older = note.split(',').next().expect("the first part");
    item.database.execute(&format!("comment on function offtake.{function}() is '{older}'")).await;
    assert_eq!(item.drift().await, ["what Offtake remembers of public.item is out of date"]);
    assert!(item.install(&Options { note_gap: true, ..Options::default() }).await.gaps.is_empty());
    assert!(item.drift().await.is_empty());
}
