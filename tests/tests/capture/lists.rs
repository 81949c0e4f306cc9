//! Statements over many rows are captured in lists of keys, and say what rows of their own would.

use crate::{Captured, mapping, tells_whole};

/// Every captured key, sorted, against what the test's own SQL expects: lines of `c` or `d`, tenant
/// and key.
async fn expect(captured: &Captured, statement: &str, expected: &str) {
    let told = captured.after(statement).await;
    let expected = captured
        .database
        .query_text(&format!("select line from ({expected}) e (line) order by line collate \"C\""))
        .await;
    let expected: Vec<&str> = expected.lines().collect();
    assert_eq!(told.len(), expected.len(), "{statement}");
    assert!(told == expected, "{statement}: {:?} and not {:?}", &told[..5], &expected[..5]);
}

/// The shape of what is captured and not taken yet: rows of their own, lists, whether every list
/// is one tenant's and as long as it says, and whether the first ones are full.
async fn shape(captured: &Captured) -> String {
    captured
        .database
        .query_text(
            "select count(*) filter (where keys is null), count(keys),
                    bool_and(operation = 't' and row_key is null and matched is null and tenant_id is not null
                             and key_count = cardinality(keys) and key_count <= 1000) filter (where keys is not null)
               from offtake.captured_change",
        )
        .await
}

const ITEM: &str =
    "create table public.item (tenant text, id int, name text, primary key (id) deferrable);
    create table public.other (like public.item)";

async fn item() -> Captured {
    Captured::new(ITEM, &[&mapping("items", "public.item", "tenant", "")]).await
}

fn line(operation: char, tenant: &str, id: &str) -> String {
    format!(
        "format('public.item {operation} %s %s -', {tenant}, jsonb_build_object('id', ({id})::text))"
    )
}

/// Fails if lists are not appended at all, from another row on, or twice.
#[tokio::test]
async fn around_the_first_rows_no_row_is_lost_or_told_twice() {
    let item = item().await;
    for rows in [1, 255, 256, 257, 1255, 1256, 1257, 2500] {
        let (came, left) = (line('c', "'a'", "n"), line('d', "'a'", "n"));
        let all = format!("from generate_series(1, {rows}) n");
        expect(
            &item,
            &format!("insert into item select 'a', n {all}"),
            &format!("select {came} {all}"),
        )
        .await;
        expect(&item, "update item set name = 'x'", &format!("select {came} {all}")).await;
        expect(&item, "delete from item", &format!("select {left} {all}")).await;
    }
}

#[tokio::test]
async fn many_rows_of_several_tenants_are_captured_in_lists_of_one_tenant() {
    let item = item().await;
    let rows =
        "select case n % 3 when 0 then 'a' when 1 then 'b' end, n from generate_series(1, 6000) n";
    item.database.execute(&format!("insert into item {rows}")).await;
    // 256 rows; then pages of 1000 rows with two tenants each, the rest has none.
    assert_eq!(shape(&item).await, "256|12|t");
    item.take().await;
    item.database.execute("update item set name = 'x'").await;
    assert_eq!(shape(&item).await, "256|12|t");
    let told = item.take().await;
    assert_eq!(told.iter().filter(|line| line.starts_with("public.item c a")).count(), 2000);
    assert_eq!(told.iter().filter(|line| line.starts_with("public.item c b")).count(), 2000);
    assert!(!told.iter().any(|line| line.starts_with("public.item d")), "nothing was left behind");
    item.database.execute("copy item from program 'seq -f \"c\t%.0f\tz\" 10001 15000'").await;
    assert_eq!(shape(&item).await, "256|5|t");
    assert_eq!(item.take().await.len(), 5000);
    let upsert = "insert into item select 'c', n from generate_series(14001, 16000) n
                  on conflict (id) do update set name = 'again'";
    // ON CONFLICT needs a key that is not deferred.
    item.database.execute("alter table item drop constraint item_pkey, add primary key (id)").await;
    expect(
        &item,
        upsert,
        &format!("select {} from generate_series(14001, 16000) n", line('c', "'c'", "n")),
    )
    .await;
}

/// Fails without `left_behind_in_lists`, and if it compared only rows that are told in lists.
#[tokio::test]
async fn keys_and_tenants_that_change_among_many_rows_are_left_behind() {
    keys_and_tenants_change("case when n % 2 = 0 then 'a' else 'b' end").await;
}

/// Fails if the old and the new list of rows of one tenant are not compared.
#[tokio::test]
async fn keys_and_tenants_that_change_among_many_rows_of_one_tenant_are_left_behind() {
    keys_and_tenants_change("'a'").await;
}

/// Fails if the first rows alone decide whether all rows are of one tenant.
#[tokio::test]
async fn keys_and_tenants_that_change_behind_many_rows_of_one_tenant_are_left_behind() {
    keys_and_tenants_change("case when n <= 2500 then 'a' else 'b' end").await;
    keys_and_tenants_change("case when n <> 2900 then 'a' else 'b' end").await;
}

async fn keys_and_tenants_change(tenant: &str) {
    let item = item().await;
    item.after(&format!("insert into item select {tenant}, n from generate_series(1, 3000) n"))
        .await;
    let all = "from generate_series(1, 3000) n";
    // A key among the first rows, one among the last, and one in between.
    for id in [7, 2999, 1500] {
        let moved = format!("case when n = {id} then -n else n end");
        expect(
            &item,
            &format!("update item set id = case when id = {id} then -id else id end"),
            &format!(
                "select {} {all} union all select {} {all} where n = {id}",
                line('c', tenant, &moved),
                line('d', tenant, "n")
            ),
        )
        .await;
        item.after(&format!("update item set id = {id} where id = -{id}")).await;
    }
    // Every key.
    expect(
        &item,
        "update item set id = id + 100000",
        &format!(
            "select {} {all} union all select {} {all}",
            line('c', tenant, "n + 100000"),
            line('d', tenant, "n")
        ),
    )
    .await;
    item.after("update item set id = id - 100000").await;
    // The tenant of one row, to and fro.
    expect(
        &item,
        "update item set tenant = case when id = 2000 then 'c' else tenant end",
        &format!(
            "select {} {all} union all select {} {all} where n = 2000",
            line('c', &format!("case when n = 2000 then 'c' else {tenant} end"), "n"),
            line('d', tenant, "n")
        ),
    )
    .await;
    expect(
        &item,
        &format!(
            "update item set tenant = case when id = 2000 then (select {tenant} from (values (2000)) v (n)) else tenant end"
        ),
        &format!(
            "select {} {all} union all select {}",
            line('c', tenant, "n"),
            line('d', "'c'", "2000")
        ),
    )
    .await;
    // Tenants that go: nothing is told of the rows but that they left.
    for (rows, count) in [("id = 1900", 1), ("id > 1000", 1999)] {
        let told = item
            .after(&format!("update item set tenant = case when {rows} then null else tenant end"))
            .await;
        assert_eq!(told.iter().filter(|line| line.starts_with("public.item d")).count(), count);
    }
}

/// The lists of old and new keys differ, and nothing was left behind.
#[tokio::test]
async fn keys_that_swap_among_many_rows_leave_nothing_behind() {
    let item = item().await;
    item.after("insert into item select 'a', n from generate_series(1, 3000) n").await;
    expect(
        &item,
        "begin; set constraints all deferred; update item set id = 3001 - id; commit",
        &format!("select {} from generate_series(1, 3000) n", line('c', "'a'", "n")),
    )
    .await;
}

/// A destination keeps the text of a key, so `a` and `A` are two keys there.
#[tokio::test]
async fn keys_that_change_into_equal_ones_are_left_behind() {
    let tables = "create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        create table public.item (tenant text, id text collate any_case primary key)";
    let item = Captured::new(tables, &[&mapping("items", "public.item", "tenant", "")]).await;
    item.after("insert into item select 'a', 'k' || n from generate_series(1, 2000) n").await;
    let all = "from generate_series(1, 2000) n";
    expect(
        &item,
        "update item set id = case when id = 'k1700' then upper(id) else id end",
        &format!(
            "select {} {all} union all select {} {all} where n = 1700",
            line('c', "'a'", "case when n = 1700 then 'K' else 'k' end || n"),
            line('d', "'a'", "'k' || n")
        ),
    )
    .await;
}

#[tokio::test]
async fn keys_of_several_columns_and_of_every_text_read_back_from_lists() {
    let tables = "create table public.item (tenant uuid not null, a text, b int, c timestamptz, primary key (tenant, a, b, c))";
    let mapping = "name: items\nsource:\n  table: public.item\n  tenant: tenant\n  key: { a: a, b: b, c: c }\n\
         query: select tenant as tenant_id, a, b, c from public.item\ntarget: { table: items }\n";
    let item = Captured::new(tables, &[mapping]).await;
    let awkward = "(array['', '{}', 'NULL', 'a,b', '\"', '\\', e'\\n', 'null', '{\"a\":1}', 'ü'])[1 + n % 10] || n / 10";
    let key = |b: &str| {
        format!(
            "jsonb_build_object('a', {awkward}, 'b', ({b})::text, 'c', (timestamptz '2026-01-01 00:00Z' + n * interval '1 microsecond')::text)"
        )
    };
    let tenant = "md5((n % 2)::text)::uuid";
    let all = "from generate_series(1, 3000) n";
    let line = |operation: char, b: &str| {
        format!("format('public.item {operation} %s %s -', {tenant}, {})", key(b))
    };
    expect(
        &item,
        &format!(
            "set timezone = 'Asia/Tokyo'; insert into item select {tenant}, {awkward}, n, timestamptz '2026-01-01 00:00Z' + n * interval '1 microsecond' {all}; set timezone = 'UTC'"
        ),
        &format!("select {} {all}", line('c', "n")),
    )
    .await;
    expect(
        &item,
        "update item set b = case when b = 1234 then 0 else b end",
        &format!(
            "select {} {all} union all select {} {all} where n = 1234",
            line('c', "case when n = 1234 then 0 else n end"),
            line('d', "n")
        ),
    )
    .await;
}

/// Keys of types whose length has a bound; rows of one tenant are packed together.
#[tokio::test]
async fn keys_of_several_short_columns_read_back_from_lists_of_one_tenant() {
    let tables = "create table public.item (tenant text, a uuid, b int, c date, d boolean, primary key (a, b))";
    let mapping = "name: items\nsource:\n  table: public.item\n  tenant: tenant\n  key: { a: a, b: b, c: c, d: d }\n\
         query: select tenant as tenant_id, a, b, c, d from public.item\ntarget: { table: items }\n";
    let item = Captured::new(tables, &[mapping]).await;
    let all = "from generate_series(1, 3000) n";
    let (a, c) = ("md5((n % 7)::text)::uuid", "(date '2026-01-01' + n)");
    let line = |operation: char, b: &str| {
        format!(
            "format('public.item {operation} t %s -', jsonb_build_object('a', ({a})::text, 'b', ({b})::text, 'c', ({c})::text, 'd', (n % 2 = 0)::text))"
        )
    };
    expect(
        &item,
        &format!("set datestyle = 'German'; insert into item select 't', {a}, n, {c}, n % 2 = 0 {all}; reset datestyle"),
        &format!("select {} {all}", line('c', "n")),
    )
    .await;
    expect(
        &item,
        "update item set b = case when b > 2998 then -b else b end",
        &format!(
            "select {} {all} union all select {} {all} where n > 2998",
            line('c', "case when n > 2998 then -n else n end"),
            line('d', "n")
        ),
    )
    .await;
    expect(
        &item,
        "delete from item",
        &format!("select {} {all}", line('d', "case when n > 2998 then -n else n end")),
    )
    .await;
}

/// Fails if only as many rows are captured as are packed together.
#[tokio::test]
async fn more_rows_than_are_packed_together_are_captured() {
    let item = item().await;
    let numbers = "select (select sum(coalesce(key_count, 1)) from offtake.captured_change), count(distinct key.id)
                     from offtake.captured_change
                    cross join lateral unnest(coalesce(keys, array[row_key->>'id'])) key (id)";
    for rows in [249_999, 250_000, 250_001] {
        let captured = async |statement: &str| {
            item.database.execute(statement).await;
            let told = item.database.query_text(numbers).await;
            assert_eq!(told, format!("{rows}|{rows}"), "{statement}");
            item.database.execute("truncate offtake.captured_change").await;
        };
        captured(&format!("insert into item select 'a', n from generate_series(1, {rows}) n"))
            .await;
        captured("update item set name = 'x'").await;
        captured("delete from item").await;
    }
}

/// Fails if a list ends only after 1000 keys: 1000 keys of a megabyte would be a row that Postgres
/// cannot hold, and the application's statement would fail.
#[tokio::test]
async fn long_keys_make_short_lists() {
    let tables = "create table public.item (tenant text, id text)";
    let item = Captured::new(tables, &[&mapping("items", "public.item", "tenant", "")]).await;
    item.database
        .execute("insert into item select 'a', rpad(n::text, 20000, 'x') from generate_series(1, 1500) n")
        .await;
    let lists = "select count(keys) > 80, max(pg_column_size(keys)) < 300000, sum(key_count) from offtake.captured_change";
    assert_eq!(item.database.query_text(lists).await, "t|t|1244");
    assert_eq!(item.take().await.len(), 1500);
}

#[tokio::test]
async fn a_write_of_many_rows_goes_on_when_a_captured_column_is_lost() {
    for column in ["id", "tenant"] {
        let item = item().await;
        item.after("insert into item select 'a', n from generate_series(1, 3000) n").await;
        let lose = format!("alter table item rename {column} to gone");
        let captured = item.after(&format!("{lose}; update item set name = 'x'")).await;
        assert!(tells_whole(&captured), "{column}");
        let captured = item.after("delete from item").await;
        assert!(tells_whole(&captured), "{column}");
    }
}

#[tokio::test]
async fn an_expression_names_the_tenants_of_many_rows_or_of_none() {
    let tables = "create table public.item (id int primary key, data text)";
    let mapping = mapping("items", "public.item", "(data::jsonb)->>'tenant'", "");
    let captured = Captured::new(tables, &[&mapping]).await;
    let all = "from generate_series(1, 2000) n";
    let tenant = "('t' || n % 2)";
    expect(
        &captured,
        &format!("insert into item select n, jsonb_build_object('tenant', {tenant}) {all}"),
        &format!("select {} {all}", line('c', tenant, "n")),
    )
    .await;
    expect(
        &captured,
        "update item set data = case when id = 1999 then '{\"tenant\": \"x\"}' else data end",
        &format!(
            "select {} {all} union all select {} {all} where n = 1999",
            line('c', &format!("case when n = 1999 then 'x' else {tenant} end"), "n"),
            line('d', tenant, "n")
        ),
    )
    .await;
    // One row's expression fails: then every tenant looks at all of them.
    expect(
        &captured,
        "update item set data = case when id = 1999 then 'no json' else data end",
        &format!("select {} {all}", line('c', "'-'", "n")),
    )
    .await;
}
