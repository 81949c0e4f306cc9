//! Capture row by row, of tables that are written through others; and the names of the triggers
//! where several captured tables cover one relation.

use offtake_capture::Options;

use crate::{Captured, mapping, resolve};

const TREE: &str = "
    create table public.above (tenant text, id int, name text);
    create table public.item (list int, primary key (id)) inherits (above);
    create table public.list (id int primary key, name text)";

/// What [`crate::captured`] shows of statement-level triggers. The second column that is lost
/// stands for a whole transaction.
#[tokio::test]
async fn a_write_goes_on_when_a_column_that_is_captured_by_rows_is_lost() {
    let depends = "depends_on:\n  - table: public.list\n    match: { list: id }\n";
    let item = Captured::new(TREE, &[&mapping("items", "public.item", "tenant", depends)]).await;
    item.after("insert into item select 'a', n from generate_series(1, 5) n").await;
    let whole = ["public.item t - - -".to_owned()];
    item.database.execute("alter table above rename id to number").await;
    for write in [
        "update above set name = 'y'",
        "insert into item values ('a', 13), ('a', 14)",
        "delete from above where number = 1",
        "begin; update above set name = 'z'; savepoint s; update above set name = 'zz'; rollback to s; delete from item where number = 2; commit",
    ] {
        assert_eq!(item.after(write).await, whole, "{write}");
    }
    // A lost record must not be taken for one that stands.
    let rolled_back = "begin; savepoint s; update above set name = 'a'; rollback to s; update above set name = 'b'; commit";
    assert_eq!(item.after(rolled_back).await, whole);
    item.database.execute("alter table above rename number to id").await;
    assert_eq!(
        item.after("update above set name = 'back' where id = 3").await,
        [r#"public.item c a {"id": "3"} -"#]
    );
    item.database.execute("alter table above drop column tenant").await;
    assert_eq!(item.after("update above set name = 'z'").await, whole);
}

/// Such an expression is evaluated for the row, and its failure concerns that row only.
#[tokio::test]
async fn an_expression_that_fails_for_a_row_concerns_every_tenant() {
    let item = Captured::new(
        TREE,
        &[&mapping("items", "public.item", "\"(10 / source.list)::text\"", "")],
    )
    .await;
    let captured = item.after("insert into item values ('a', 1, 'x', 5), ('a', 2, 'x', 0)").await;
    assert_eq!(captured, [r#"public.item c - {"id": "2"} -"#, r#"public.item c 2 {"id": "1"} -"#]);
    assert_eq!(
        item.after("update above set id = id + 10").await,
        [
            r#"public.item c - {"id": "12"} -"#,
            r#"public.item c - {"id": "2"} -"#,
            r#"public.item c 2 {"id": "11"} -"#,
            r#"public.item d 2 {"id": "1"} -"#,
        ]
    );
    assert_eq!(
        item.after("delete from above").await,
        [r#"public.item d - {"id": "12"} -"#, r#"public.item d 2 {"id": "11"} -"#]
    );
}

/// The triggers of a partition have plain names until it gets a mapping of its own, which takes
/// them over. Nothing is missed for the table that it belongs to, and nothing is copied again.
#[tokio::test]
async fn triggers_get_other_names_without_a_gap() {
    let tables = "create table public.item (tenant text not null, id int, primary key (tenant, id)) partition by list (tenant);
        create table public.item_a partition of item for values in ('a')";
    let root = mapping("items", "public.item", "tenant", "");
    let leaf = mapping("leaves", "public.item_a", "tenant", "");
    let mut item = Captured::new(tables, &[&root]).await;
    const NAMES: &str = "select string_agg(tgname || ':' || (tgfoid::regproc::text like '%item\\_a%'), ' ' order by tgname) from pg_trigger where tgrelid = 'item_a'::regclass";
    let before = item.database.query_text(NAMES).await;
    assert_eq!(
        before,
        "offtake_capture_delete:false offtake_capture_insert:false offtake_capture_truncate:false offtake_capture_update:false"
    );
    let options = Options { note_gap: true, ..Options::default() };
    item.set = resolve(&item.session, &[&root, &leaf]).await;
    let report = item.install(&options).await;
    assert_eq!(report.gaps, ["public.item_a"], "only the new one");
    item.take().await;
    assert!(item.drift().await.is_empty());
    let of_both = [r#"public.item c a {"id": "1"} -"#, r#"public.item_a c a {"id": "1"} -"#];
    assert_eq!(item.after("insert into item_a values ('a', 1)").await, of_both);
    assert_eq!(
        item.after("truncate item_a").await,
        ["public.item t - - -", "public.item_a t - - -"]
    );
    item.install(&options).await;
    assert!(item.install(&options).await.unchanged());
    item.set = resolve(&item.session, &[&root]).await;
    let report = item.install(&options).await;
    assert!(report.gaps.is_empty(), "{report:?}");
    assert!(item.drift().await.is_empty());
    assert_eq!(item.database.query_text(NAMES).await, before);
    assert_eq!(item.after("insert into item_a values ('a', 1)").await, of_both[..1]);
}
