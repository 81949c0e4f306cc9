//! Every way of writing rows is captured, with the old and the new key.

use crate::{Captured, mapping, tells_whole};

const ITEM: &str = "create table public.item (tenant text not null, id int, name text, primary key (tenant, id) deferrable)";

async fn item() -> Captured {
    Captured::new(ITEM, &[&mapping("items", "public.item", "tenant", "")]).await
}

fn changed(tenant: &str, id: i32) -> String {
    format!("public.item c {tenant} {{\"id\": \"{id}\"}} -")
}

fn deleted(tenant: &str, id: i32) -> String {
    format!("public.item d {tenant} {{\"id\": \"{id}\"}} -")
}

#[tokio::test]
async fn inserts_of_every_kind_are_captured() {
    let item = item().await;
    assert_eq!(item.after("insert into item values ('a', 1)").await, [changed("a", 1)]);
    assert_eq!(
        item.after("insert into item values ('a', 2), ('b', 2)").await,
        [changed("a", 2), changed("b", 2)]
    );
    assert_eq!(
        item.after("with w as (insert into item values ('c', 3) returning *) select from w").await,
        [changed("c", 3)]
    );
    assert_eq!(
        item.after("copy item from program 'printf \"d\\t4\\tx\\ne\\t5\\ty\\n\"'").await,
        [changed("d", 4), changed("e", 5)]
    );
    assert_eq!(
        item.after("begin; insert into item values ('f', 6); rollback").await,
        [] as [String; 0]
    );
    assert_eq!(
        item.after("begin; savepoint s; insert into item values ('f', 6); rollback to s; insert into item values ('f', 7); commit").await,
        [changed("f", 7)]
    );
}

#[tokio::test]
async fn upserts_and_merges_are_captured() {
    let items = Captured::new(
        "create table public.item (tenant text not null, id int primary key, name text)",
        &[&mapping("items", "public.item", "tenant", "")],
    )
    .await;
    items.after("insert into item values ('a', 1), ('a', 2)").await;
    assert_eq!(
        items.after("insert into item values ('a', 1, 'x'), ('a', 3, 'y') on conflict (id) do update set name = excluded.name").await,
        [changed("a", 1), changed("a", 3)]
    );
    assert_eq!(
        items.after("insert into item values ('a', 1, 'x') on conflict do nothing").await,
        [] as [String; 0]
    );
    if items.server_version().await >= 150_000 {
        let merge = "merge into item t using (values (1), (2), (9)) s (id) on t.id = s.id
                     when matched and s.id = 1 then delete when matched then update set name = 'm'
                     when not matched then insert values ('a', s.id)";
        assert_eq!(items.after(merge).await, [changed("a", 2), changed("a", 9), deleted("a", 1)]);
    }
}

#[tokio::test]
async fn updates_tell_where_a_row_was() {
    let item = item().await;
    item.after("insert into item values ('a', 1), ('a', 2), ('b', 3)").await;
    assert_eq!(item.after("update item set name = 'x' where id = 1").await, [changed("a", 1)]);
    assert_eq!(item.after("update item set name = 'x' where false").await, [] as [String; 0]);
    // A key change, then a tenant move.
    assert_eq!(
        item.after("update item set id = 7 where id = 1").await,
        [changed("a", 7), deleted("a", 1)]
    );
    assert_eq!(
        item.after("update item set tenant = 'c' where id = 3").await,
        [changed("c", 3), deleted("b", 3)]
    );
    // Two rows swap their keys in one statement, so both keys exist before and after.
    assert_eq!(
        item.after("update item set id = 9 - id where tenant = 'a'").await,
        [changed("a", 2), changed("a", 7)]
    );
    // The same in two statements, under a deferred constraint.
    let swap = "begin; set constraints all deferred; update item set id = 7 where name is null and tenant = 'a';
                update item set id = 2 where name = 'x'; commit";
    let mut expected = vec![changed("a", 2), changed("a", 2), changed("a", 7), changed("a", 7)];
    let swapped = item.after(swap).await;
    expected.retain(|line| !swapped.contains(line));
    assert!(expected.is_empty(), "{swapped:?}");
}

#[tokio::test]
async fn deletes_cascade_over_two_levels() {
    let tables = "create table public.project (id int primary key, tenant text not null);
        create table public.item (id int primary key, tenant text not null, project int references project on delete cascade);
        create table public.note (id int primary key, tenant text not null, item int references item on delete cascade on update cascade)";
    let mappings = ["project", "item", "note"].map(|table| mapping(table, table, "tenant", ""));
    let captured = Captured::new(tables, &mappings.each_ref().map(String::as_str)).await;
    captured
        .after("insert into project values (1, 'a'); insert into item values (2, 'a', 1); insert into note values (3, 'a', 2), (4, 'a', 2)")
        .await;
    let delete = |table: &str, id: i32| format!("public.{table} d a {{\"id\": \"{id}\"}} -");
    assert_eq!(
        captured.after("delete from project").await,
        [delete("item", 2), delete("note", 3), delete("note", 4), delete("project", 1)]
    );
}

#[tokio::test]
async fn truncates_are_captured_unless_they_are_rolled_back() {
    let item = item().await;
    assert_eq!(item.after("begin; truncate item; rollback").await, [] as [String; 0]);
    assert_eq!(item.after("truncate item").await, ["public.item t - - -"]);
}

#[tokio::test]
async fn replication_roles_do_not_slip_past() {
    let item = item().await;
    let replica = |sql: &str| {
        format!("set session_replication_role = replica; {sql}; reset session_replication_role")
    };
    assert_eq!(item.after(&replica("insert into item values ('a', 1)")).await, [changed("a", 1)]);
    assert_eq!(item.after(&replica("delete from item")).await, [deleted("a", 1)]);
}

#[tokio::test]
async fn a_bulk_update_after_a_small_one_is_not_quadratic() {
    let item = item().await;
    item.database.execute("insert into item select 'a', n from generate_series(1, 100000) n; delete from offtake.captured_change").await;
    // In the same session, so that the plan of the small statement is kept. With a nested loop, the
    // bulk update would take 10 000 000 000 steps.
    item.database
        .execute(
            "update item set name = 'x' where id = 1; update item set id = 0 where id = 1;
             update item set id = 1 where id = 0; delete from offtake.captured_change; set statement_timeout = '60s'",
        )
        .await;
    item.database.execute("update item set name = 'y'").await;
    item.database.execute("update item set id = id + 100000").await;
    let counts = item
        .database
        .query_text(
            "select operation = 'd' or keys_deleted is true, sum(coalesce(key_count, 1))
               from offtake.captured_change group by 1 order by 1",
        )
        .await;
    assert_eq!(counts, "f|200000\nt|100000");
}

#[tokio::test]
async fn dependants_get_the_columns_they_match_on() {
    let tables = "create table public.item (tenant text not null, id int primary key, list int);
        create table public.list (id int primary key, name text)";
    let depends = "depends_on:\n  - table: public.list\n    match: { list: id }\n";
    let captured =
        Captured::new(tables, &[&mapping("items", "public.item", "tenant", depends)]).await;
    let list =
        |operation: char, id: i32| format!("public.list {operation} - - {{\"id\": \"{id}\"}}");
    assert_eq!(
        captured.after("insert into list values (1, 'x'), (2, 'y')").await,
        [list('c', 1), list('c', 2)]
    );
    assert_eq!(captured.after("update list set name = 'z' where id = 1").await, [list('c', 1)]);
    assert_eq!(
        captured.after("update list set id = 5 where id = 1").await,
        [list('c', 5), list('d', 1)]
    );
    assert_eq!(captured.after("delete from list").await, [list('d', 2), list('d', 5)]);
    assert_eq!(captured.after("truncate list").await, ["public.list t - - -"]);
}

#[tokio::test]
async fn a_table_with_mapping_and_dependants_tells_old_and_new_matches() {
    let tables = "create table public.item (tenant text, id int primary key, list int)";
    let depends = "depends_on:\n  - table: public.item\n    match: { list: list }\n";
    let captured =
        Captured::new(tables, &[&mapping("items", "public.item", "tenant", depends)]).await;
    let item = |operation: char, list: i32| {
        format!("public.item {operation} a {{\"id\": \"1\"}} {{\"list\": \"{list}\"}}")
    };
    assert_eq!(captured.after("insert into item values ('a', 1, 10)").await, [item('c', 10)]);
    assert_eq!(captured.after("update item set id = id").await, [item('c', 10)]);
    assert_eq!(captured.after("update item set list = 11").await, [item('c', 10), item('c', 11)]);
    assert_eq!(captured.after("delete from item").await, [item('d', 11)]);
    // A row without a tenant, on which rows of other tables may still depend.
    assert_eq!(
        captured.after("insert into item values (null, 1, 12)").await,
        ["public.item c - - {\"list\": \"12\"}"]
    );
}

#[tokio::test]
async fn keys_read_back_whatever_the_session_has_set() {
    let tables = "create table public.visit (tenant text not null, day date, at timestamptz, took interval, data bytea, part float8,
                                             primary key (day, at, took, data, part))";
    let visits = "source: { table: public.visit, tenant: tenant }\nquery: select tenant as tenant_id, day, at, took, data, part from visit\n\
                  target: { table: visits }\nname: visits\n";
    let captured = Captured::new(tables, &[visits]).await;
    let key = "{\"at\": \"2026-02-01 00:00:00+00\", \"day\": \"2026-02-01\", \"data\": \"\\\\x00ff\", \"part\": \"0.1\", \"took\": \"1 day 02:00:00\"}";
    let insert = "set datestyle = 'German'; set timezone = 'Asia/Tokyo'; set intervalstyle = 'iso_8601'; set bytea_output = 'escape';
        set extra_float_digits = -3; insert into visit values ('a', '2026-02-01', '2026-02-01 09:00+09', 'P1DT2H', '\\x00ff', 0.1); reset all";
    assert_eq!(captured.after(insert).await, [format!("public.visit c a {key} -")]);
}

#[tokio::test]
async fn odd_names_are_quoted() {
    let tables = r#"create schema "Odd "" S"; create table "Odd "" S"."Ta'b le\" ("te'n" text, "K ey""\" int primary key, "new" int, "V" int)"#;
    let odd = r#"
name: odd
source: { table: '"Odd "" S"."Ta''b le\"', tenant: '"te''n"' }
depends_on:
  - table: '"Odd "" S"."Ta''b le\"'
    match: { '"V"': '"new"' }
query: select "te'n" as tenant_id, "K ey""\" from "Odd "" S"."Ta'b le\"
target: { table: odd }
"#;
    let captured = Captured::new(tables, &[odd]).await;
    let insert = r#"insert into "Odd "" S"."Ta'b le\" values ('a', 1, 2, 0)"#;
    assert_eq!(
        captured.after(insert).await,
        [r#"Odd " S.Ta'b le\ c a {"K ey\"\\": "1"} {"new": "2"}"#]
    );
    let update = r#"update "Odd "" S"."Ta'b le\" set "K ey""\" = 3"#;
    assert_eq!(captured.after(update).await.len(), 2);
}

#[tokio::test]
async fn a_write_goes_on_when_a_captured_column_is_lost() {
    let item = item().await;
    item.after("insert into item values ('a', 1), ('a', 2)").await;
    item.database.execute("update item set name = 'x'; delete from offtake.captured_change; alter table item rename id to number").await;
    for write in [
        "update item set name = 'y'",
        "insert into item values ('a', 3)",
        "delete from item where number = 1",
    ] {
        let captured = item.after(write).await;
        assert!(tells_whole(&captured), "{write}: {captured:?}");
    }
    item.database
        .execute(
            "alter table item rename number to id; alter table item drop column tenant cascade",
        )
        .await;
    let captured = item.after("update item set name = 'z'").await;
    assert!(tells_whole(&captured), "{captured:?}");
}

/// An update of one row does not join its images, and an insert and a delete ask nothing beside
/// their rows. Each must tell the loss all the same: of a key, of a tenant, of a second tenant, and
/// of a column that other tables match on.
#[tokio::test]
async fn a_column_that_is_lost_is_told_by_a_statement_over_one_row() {
    let depends = "depends_on:\n  - table: public.item\n    match: { list: list }\n";
    let [one, other] =
        ["tenant", "second"].map(|tenant| mapping(tenant, "public.item", tenant, ""));
    let dependent = mapping("items", "public.item", "tenant", depends);
    for (column, mappings) in [
        ("id", &[one.as_str()][..]),
        ("tenant", &[&one]),
        ("second", &[&one, &other]),
        ("list", &[&dependent]),
    ] {
        let tables = "create table public.item (tenant text, second text, id int primary key, list int, name text);
            insert into item values ('a', 'b', 1, 2)";
        let item = Captured::new(tables, mappings).await;
        item.database.execute(&format!("alter table item rename {column} to gone")).await;
        for write in [
            "update item set name = 'x'",
            "insert into item values ('a', 'b', 3, 4)",
            "delete from item where name = 'x'",
        ] {
            let captured = item.after(write).await;
            assert!(tells_whole(&captured), "{column}, {write}: {captured:?}");
        }
        assert!(item.after("delete from item where name = 'none'").await.is_empty());
    }
}

/// The same of a table that only other tables depend on.
#[tokio::test]
async fn a_column_that_is_lost_is_told_by_a_table_that_others_depend_on() {
    let tables = "create table public.list (tenant text, id int primary key, item int);
        create table public.item (id int primary key, kind int, name text);
        insert into item values (1, 5), (2, 6), (3, 6)";
    let depends = "depends_on:\n  - table: public.item\n    match: { item: id, id: kind }\n";
    let item = Captured::new(tables, &[&mapping("lists", "public.list", "tenant", depends)]).await;
    for (from, to) in [("kind", "gone"), ("id", "number")] {
        item.database.execute(&format!("alter table item rename {from} to {to}")).await;
        for write in [
            "update item set name = 'x'",
            "insert into item select 4, 7",
            "delete from item where name is null",
        ] {
            let captured = item.after(write).await;
            assert!(tells_whole(&captured), "{from}, {write}: {captured:?}");
        }
        assert!(item.after("delete from item where name = 'none'").await.is_empty());
    }
}

/// Rows without a tenant say nothing to the sequencer. They are appended so that the rows of a
/// statement can be counted.
#[tokio::test]
async fn rows_without_a_tenant_are_told_of_no_tenant() {
    let tables = "create table public.item (tenant text, id int primary key)";
    let item = Captured::new(tables, &[&mapping("items", "public.item", "tenant", "")]).await;
    let (left, came) = ("public.item d - - -", "public.item c - - -");
    assert_eq!(
        item.after("insert into item values ('a', 1), (null, 2)").await,
        [came.to_owned(), changed("a", 1)]
    );
    assert_eq!(
        item.after("update item set id = id + 10").await,
        [came.to_owned(), changed("a", 11), left.to_owned(), deleted("a", 1)]
    );
    assert_eq!(
        item.after("update item set tenant = 'b' where id = 12").await,
        [left.to_owned(), changed("b", 12)].into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(
        item.after("update item set tenant = null where id = 12").await,
        [came.to_owned(), deleted("b", 12)]
    );
    assert_eq!(item.after("delete from item").await, [left.to_owned(), deleted("a", 11)]);
}

/// A capture function has rights that the session has not, so it must run nothing of the session's.
#[tokio::test]
async fn nothing_that_a_session_puts_before_the_catalog_is_run() {
    let depends = "depends_on:\n  - table: public.item\n    match: { list: list }\n";
    let tables = "create table public.item (tenant text, id int primary key, list int);
        insert into item values ('a', 1, 1), ('a', 2, 2); create schema decoy; grant usage on schema decoy to public;
        create function decoy.run(int, int) returns boolean language plpgsql as $$ begin raise exception 'run'; end $$;
        create function decoy.run(text, text) returns boolean language plpgsql as $$ begin raise exception 'run'; end $$;
        create function decoy.run(bigint, int) returns boolean language plpgsql as $$ begin raise exception 'run'; end $$;
        create function decoy.run(jsonb, jsonb) returns boolean language plpgsql as $$ begin raise exception 'run'; end $$;
        create function decoy.pg_typeof(int) returns int language plpgsql as $$ begin raise exception 'run'; end $$;
        create function decoy.jsonb_object(text[]) returns int language plpgsql as $$ begin raise exception 'run'; end $$;
        create operator decoy.= (function = decoy.run, leftarg = int, rightarg = int);
        create operator decoy.= (function = decoy.run, leftarg = text, rightarg = text);
        create operator decoy.= (function = decoy.run, leftarg = jsonb, rightarg = jsonb);
        create operator decoy.<> (function = decoy.run, leftarg = jsonb, rightarg = jsonb);
        create operator decoy.> (function = decoy.run, leftarg = bigint, rightarg = int);
        create domain decoy.text as int; create domain decoy.jsonb as int; create domain decoy.oid as int";
    for more in ["", depends] {
        let item = Captured::new(tables, &[&mapping("items", "public.item", "tenant", more)]).await;
        let path = "set search_path = decoy, pg_catalog, public";
        let writes = "update public.item set list = 3; update public.item set id = 7 where list operator(pg_catalog.=) 3 and id operator(pg_catalog.=) 1;
            insert into public.item values ('b', 9, 9); delete from public.item where id operator(pg_catalog.=) 9";
        let captured = item.after(&format!("{path}; {writes}; reset search_path")).await;
        assert!(captured.len() >= 6, "{captured:?}");
    }
}
