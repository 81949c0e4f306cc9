//! The tenant of a row: a column, an expression over the row, or known only after a look-up.

use crate::{Captured, mapping};

#[tokio::test]
async fn an_expression_names_the_tenant_with_bare_or_qualified_columns() {
    // Columns with the names of plpgsql's own variables.
    let tables = "create table public.item (id int primary key, found text, new text, source text)";
    let expression =
        "\"case when source.new is null then found else lower(source.source) end -- whose\"";
    let captured = Captured::new(tables, &[&mapping("items", "public.item", expression, "")]).await;
    let item = |operation: char, tenant: &str| {
        format!("public.item {operation} {tenant} {{\"id\": \"1\"}} -")
    };
    assert_eq!(
        captured.after("insert into item values (1, 'a', null, 'B')").await,
        [item('c', "a")]
    );
    assert_eq!(captured.after("update item set new = 'x'").await, [item('c', "b"), item('d', "a")]);
    // A row without a tenant is appended without its key, which says nothing to the sequencer. Its
    // departure from its old tenant is captured.
    let of_none = "public.item c - - -".to_owned();
    assert_eq!(captured.after("update item set source = null").await, [of_none, item('d', "b")]);
    assert_eq!(captured.after("delete from item").await, ["public.item d - - -"]);
}

#[tokio::test]
async fn an_expression_that_fails_concerns_every_tenant_and_fails_no_write() {
    let tables = "create table public.item (id int primary key, data text)";
    let captured =
        Captured::new(tables, &[&mapping("items", "public.item", "(data::jsonb)->>'tenant'", "")])
            .await;
    let item = |operation: char, id: i32, tenant: &str| {
        format!("public.item {operation} {tenant} {{\"id\": \"{id}\"}} -")
    };
    assert_eq!(
        captured.after(r#"insert into item values (1, '{"tenant": "a"}')"#).await,
        [item('c', 1, "a")]
    );
    assert_eq!(
        captured.after("insert into item values (2, 'nonsense')").await,
        [item('c', 2, "-")]
    );
    assert_eq!(
        captured.after("update item set id = 3 where id = 2").await,
        [item('c', 2, "-"), item('c', 3, "-")]
    );
    assert_eq!(captured.after("delete from item where id = 3").await, [item('d', 3, "-")]);
}

#[tokio::test]
async fn a_looked_up_tenant_is_left_open() {
    let tables = "create table public.tenancy (id text primary key, project text, branch text);
        create table public.item (id int primary key, project text, branch text)";
    let lookup =
        "{ table: public.tenancy, column: id, match: { project: project, branch: branch } }";
    let captured = Captured::new(tables, &[&mapping("items", "public.item", lookup, "")]).await;
    let item = |operation: char, id: i32, branch: &str| {
        format!(
            "public.item {operation} - {{\"id\": \"{id}\"}} {{\"branch\": \"{branch}\", \"project\": \"p\"}}"
        )
    };
    assert_eq!(captured.after("insert into item values (1, 'p', 'x')").await, [item('c', 1, "x")]);
    assert_eq!(
        captured.after("update item set branch = 'y'").await,
        [item('c', 1, "x"), item('c', 1, "y")]
    );
    assert_eq!(
        captured.after("update item set id = 2").await,
        [item('c', 2, "y"), item('d', 1, "y")]
    );
    assert_eq!(captured.after("delete from item").await, [item('d', 2, "y")]);
    let tenancy = "public.tenancy d - - {\"id\": \"a\", \"branch\": \"x\", \"project\": \"p\"}";
    captured.after("insert into tenancy values ('a', 'p', 'x')").await;
    assert_eq!(captured.after("delete from tenancy").await, [tenancy]);
}

#[tokio::test]
async fn every_tenant_rule_of_a_table_is_captured() {
    let tables = "create table public.item (id int primary key, seller text, buyer text)";
    let (sold, bought) = (
        mapping("sold", "public.item", "seller", ""),
        mapping("bought", "public.item", "buyer", ""),
    );
    let captured = Captured::new(tables, &[&sold, &bought]).await;
    let item = |operation: char, tenant: &str| {
        format!("public.item {operation} {tenant} {{\"id\": \"1\"}} -")
    };
    assert_eq!(
        captured.after("insert into item values (1, 'a', 'b')").await,
        [item('c', "a"), item('c', "b")]
    );
    assert_eq!(
        captured.after("update item set buyer = 'c'").await,
        [item('c', "a"), item('c', "c"), item('d', "b")]
    );
}
