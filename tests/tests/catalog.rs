//! Mappings against a real catalog: what resolves, and what is told about what does not.

use std::path::Path;

use offtake_mapping::{Identifier, KeyOrder, Mapping, MappingSet};
use offtake_postgres::catalog::{Problem, resolve};
use offtake_tests::Database;
use offtake_tests::clusters::Clusters;

const TABLES: &str = "
    create type public.mood as enum ('good', 'bad');
    create domain public.price as numeric(10, 2);
    create domain public.net_price as public.price;
    create extension if not exists citext;
    create table public.item (
      tenant uuid not null, id uuid not null, name varchar(20), mood mood, moods mood[], price net_price, prices price[], bits bit varying,
      three bit(3), at timestamptz(3), code citext, primary key (tenant, id));
    create table public.account (id uuid primary key);
    create table public.visit (tenant text, mood mood, day date, primary key (mood, day, tenant));
    create table public.loose (tenant text, x int);
    create view public.seen as select * from public.loose";

async fn database() -> Database {
    let database = Database::create(&Clusters::shared().await.source, "catalog", None).await;
    database.execute(TABLES).await;
    database
}

fn parse(file: &str, text: &str) -> Mapping {
    offtake_mapping::parse(Path::new(file), text).unwrap_or_else(|error| panic!("{error}"))
}

async fn try_resolve(database: &Database, texts: &[&str]) -> Result<MappingSet, Vec<Problem>> {
    let mappings = texts.iter().enumerate().map(|(at, text)| parse(&format!("m{at}.yaml"), text)).collect();
    let session = database.connect().await;
    let result = resolve(&session, mappings).await;
    // The session is not left inside the transaction.
    let row = session.query_one("select current_setting('transaction_read_only')", &[]).await.expect("the session is usable");
    assert_eq!(row.get::<_, &str>(0), "off");
    result
}

fn mapping(name: &str, source: &str, query: &str) -> String {
    format!("name: {name}\nsource: {{ {source} }}\nquery: |\n  {query}\ntarget: {{ table: {name} }}\n")
}

#[tokio::test]
async fn types_travel_or_become_text() {
    let database = database().await;
    let query = "select tenant as tenant_id, id, name, mood, moods, price, prices, bits, three, at, code, b'1'::\"bit\" as bit, \
                 'item'::regclass as class, row(1) as row, int4range(1, 2) as range, array[1.5::numeric(4,1)] as list from item -- all";
    let set = try_resolve(&database, &[&mapping("items", "table: item, tenant: tenant", query)]).await.expect("it resolves");
    let columns: Vec<String> =
        set.mappings()[0].columns.iter().map(|c| format!("{}: {} -> {}", c.name, c.source_type, c.target_type)).collect();
    let expected = [
        "id: uuid -> uuid",
        "name: character varying(20) -> character varying(20)",
        "mood: public.mood -> text",
        "moods: public.mood[] -> text",
        "price: numeric(10,2) -> numeric(10,2)",
        "prices: public.price[] -> text",
        "bits: bit varying -> bit varying",
        "three: bit(3) -> bit(3)",
        "at: timestamp(3) with time zone -> timestamp(3) with time zone",
        "code: public.citext -> text",
        "bit: \"bit\" -> bit varying",
        "class: regclass -> text",
        "row: record -> text",
        "range: int4range -> int4range",
        "list: numeric(4,1)[] -> numeric(4,1)[]",
    ];
    assert_eq!(columns, expected);
}

#[tokio::test]
async fn the_key_is_the_primary_key_less_the_tenant() {
    let database = database().await;
    let visits = mapping("visits", "table: visit, tenant: tenant", "select tenant as tenant_id, day, mood from visit");
    let accounts = mapping("accounts", "table: account, tenant: id", "select id as tenant_id, id from account");
    let set = try_resolve(&database, &[&visits, &accounts]).await.expect("they resolve");
    let key = |name: &str| -> Vec<(String, KeyOrder)> {
        set.get(name).expect("the mapping").key.iter().map(|k| (k.query_column.to_string(), k.order)).collect()
    };
    assert_eq!(key("visits"), [("mood".to_owned(), KeyOrder::Text), ("day".to_owned(), KeyOrder::Native)]);
    assert_eq!(key("accounts"), [("id".to_owned(), KeyOrder::Native)]);
    assert_eq!(set.mappings().iter().map(|m| m.name()).collect::<Vec<_>>(), ["accounts", "visits"]);
}

#[tokio::test]
async fn keep_tenant_puts_the_tenant_first() {
    let database = database().await;
    let kept = mapping("items", "table: item, tenant: tenant", "select id, tenant as tenant_id from item")
        .replace("{ table: items }", "{ table: items, keep_tenant: true }");
    let set = try_resolve(&database, &[&kept]).await.expect("it resolves");
    let mapping = &set.mappings()[0];
    assert_eq!(mapping.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["tenant_id", "id"]);
    assert_eq!(mapping.target_key().iter().map(Identifier::as_str).collect::<Vec<_>>(), ["tenant_id", "id"]);
    assert_eq!(mapping.tenant_type, "uuid");
}

#[tokio::test]
async fn every_problem_is_told_with_its_place() {
    let database = database().await;
    let check = async |source: &str, query: &str, expect: &[(Option<usize>, &str)]| {
        let problems = try_resolve(&database, &[&mapping("m", source, query)]).await.expect_err("it has problems");
        let found: Vec<_> = problems.iter().map(|p| (p.line, p.message.as_str())).collect();
        assert_eq!(found, expect);
        assert!(problems.iter().all(|p| p.mapping == "m" && !p.remedy.is_empty() && !p.source_unavailable));
    };
    let item = "table: item, tenant: tenant";
    check("table: public.nothing, tenant: t", "select 1 as tenant_id", &[(None, "the source has no table public.nothing")]).await;
    check("table: seen, tenant: tenant, key: { x: x }", "select tenant as tenant_id, x from seen", &[(None, "public.seen is a view")])
        .await;
    check("table: offtake.fuse, tenant: name", "select 1 as tenant_id", &[(None, "offtake.fuse is not a table of the application")]).await;
    check(
        "table: loose, tenant: tenant",
        "select tenant as tenant_id, x from loose",
        &[(None, "table public.loose has no primary key, so its rows cannot be told apart")],
    )
    .await;
    check(item, "select id,\n    nothing\n  from item", &[(Some(5), "the source refuses the query: column \"nothing\" does not exist")])
        .await;
    check(item, "select id from item\n  where", &[(Some(5), "the source refuses the query: syntax error at or near \")\"")]).await;
    check(item, "select tenant as tenant_id, id from item where name = $1", &[(Some(4), "the query has a parameter ($1)")]).await;
    check(item, "select $1 as tenant_id, id from item", &[(Some(4), "the query has a parameter ($1)")]).await;
    check(item, "select tenant as tenant_id, id, id from item", &[(Some(4), "the query has two columns named `id`")]).await;
    check(
        item,
        "select name from item",
        &[
            (Some(4), "the query has no column `id`, which is in the key; it has: name"),
            (Some(4), "the query has no column `tenant_id`, which says whose row it is; it has: name"),
        ],
    )
    .await;
    check(
        "table: item, tenant: 'whose(id)', key: { id: identity }",
        "select tenant as tenant_id, id from item",
        &[(None, "table public.item has no column `identity`")],
    )
    .await;
    check(
        "table: item, tenant: 'whose(id)'",
        "select tenant as tenant_id, id from item",
        &[
            (None, "the source refuses the tenant's expression: function whose(uuid) does not exist"),
            (Some(4), "the query has no column `tenant`, which is in the key; it has: tenant_id, id"),
        ],
    )
    .await;
}

#[tokio::test]
async fn conditions_and_conflicts_are_checked() {
    let database = database().await;
    let good = mapping("items", "table: item, tenant: tenant", "select tenant as tenant_id, id from item");
    let bad = good.replace("query:", "depends_on: [{ table: loose, where: source.id = changed.x }]\nquery:");
    let problems = try_resolve(&database, &[&good, &bad]).await.expect_err("they have problems");
    let messages: Vec<_> = problems.iter().map(|p| p.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the mapping `items` is also defined in m0.yaml",
            "the mapping `items` (m0.yaml) also writes to the table `items`",
            "the source refuses the condition on public.loose: operator does not exist: uuid = integer",
        ]
    );
    assert!(problems[0].to_string().starts_with("m1.yaml: the mapping `items`"), "{}", problems[0]);
}

#[tokio::test]
async fn a_source_that_cannot_answer_is_not_the_mappings_fault() {
    let database = database().await;
    let holder = database.connect().await;
    holder.batch_execute("begin; lock table item in access exclusive mode").await.expect("the table is free");
    let session = database.connect().await;
    let mapping = mapping("items", "table: item, tenant: tenant", "select tenant as tenant_id, id from item");
    let problems = resolve(&session, vec![parse("m.yaml", &mapping)]).await.expect_err("the table is locked");
    assert!(problems.len() == 1 && problems[0].source_unavailable, "{problems:?}");
}
