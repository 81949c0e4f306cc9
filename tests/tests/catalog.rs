//! Mappings against a real catalog: which mappings resolve, and which errors the others give.

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
    let mappings =
        texts.iter().enumerate().map(|(at, text)| parse(&format!("m{at}.yaml"), text)).collect();
    let session = database.connect().await;
    let result = resolve(&session, mappings).await;
    // Resolving must not leave the session inside a transaction.
    let row = session
        .query_one("select current_setting('transaction_read_only')", &[])
        .await
        .expect("the session is usable");
    assert_eq!(row.get::<_, &str>(0), "off");
    result
}

fn mapping(name: &str, source: &str, query: &str) -> String {
    format!(
        "name: {name}\nsource: {{ {source} }}\nquery: |\n  {query}\ntarget: {{ table: {name} }}\n"
    )
}

#[tokio::test]
async fn types_travel_or_become_text() {
    let database = database().await;
    let query = "select tenant as tenant_id, id, name, mood, moods, price, prices, bits, three, at, code, b'1'::\"bit\" as bit, \
                 'item'::regclass as class, row(1) as row, int4range(1, 2) as range, array[1.5::numeric(4,1)] as list from item -- all";
    let set = try_resolve(&database, &[&mapping("items", "table: item, tenant: tenant", query)])
        .await
        .expect("it resolves");
    let columns: Vec<String> = set.mappings()[0]
        .columns
        .iter()
        .map(|c| format!("{}: {} -> {}", c.name, c.source_type, c.target_type))
        .collect();
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
    let visits = mapping(
        "visits",
        "table: visit, tenant: tenant",
        "select tenant as tenant_id, day, mood from visit",
    );
    let accounts = mapping(
        "accounts",
        "table: account, tenant: id",
        "select id as tenant_id, id from account",
    );
    let set = try_resolve(&database, &[&visits, &accounts]).await.expect("they resolve");
    let key = |name: &str| -> Vec<(String, KeyOrder)> {
        set.get(name)
            .expect("the mapping")
            .key
            .iter()
            .map(|k| (k.query_column.to_string(), k.order))
            .collect()
    };
    assert_eq!(
        key("visits"),
        [("mood".to_owned(), KeyOrder::Text), ("day".to_owned(), KeyOrder::Native)]
    );
    assert_eq!(key("accounts"), [("id".to_owned(), KeyOrder::Native)]);
    assert_eq!(set.mappings().iter().map(|m| m.name()).collect::<Vec<_>>(), ["accounts", "visits"]);
}

#[tokio::test]
async fn keep_tenant_puts_the_tenant_first() {
    let database = database().await;
    let kept =
        mapping("items", "table: item, tenant: tenant", "select id, tenant as tenant_id from item")
            .replace("{ table: items }", "{ table: items, keep_tenant: true }");
    let set = try_resolve(&database, &[&kept]).await.expect("it resolves");
    let mapping = &set.mappings()[0];
    assert_eq!(
        mapping.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
        ["tenant_id", "id"]
    );
    assert_eq!(
        mapping.target_key().iter().map(Identifier::as_str).collect::<Vec<_>>(),
        ["tenant_id", "id"]
    );
    assert_eq!(mapping.tenant_type, "uuid");
}

const ITEM: &str = "table: item, tenant: tenant";

/// The problems of one mapping: (line, column) and message of each.
type Expected = &'static [((usize, usize), &'static str)];

/// (source, query, problems) of mappings that do not resolve.
const PROBLEMS: [(&str, &str, Expected); 12] = [
    (
        "table: public.nothing, tenant: t",
        "select 1 as tenant_id",
        &[((2, 18), "the source has no table public.nothing")],
    ),
    (
        "table: seen, tenant: tenant, key: { x: x }",
        "select tenant as tenant_id, x from seen",
        &[((2, 18), "public.seen is a view")],
    ),
    (
        "table: offtake.fuse, tenant: name",
        "select 1 as tenant_id",
        &[((2, 18), "offtake.fuse is not a table of the application")],
    ),
    (
        "table: loose, tenant: tenant",
        "select tenant as tenant_id, x from loose",
        &[((2, 18), "table public.loose has no primary key, so its rows cannot be told apart")],
    ),
    (
        ITEM,
        "select id,\n    nothing\n  from item",
        &[((5, 5), "the source refuses the query: column \"nothing\" does not exist")],
    ),
    (
        ITEM,
        "select id from item\n  where",
        &[((5, 7), "the source refuses the query: syntax error at the end of the query")],
    ),
    (
        ITEM,
        "select id from item, public.nowhere",
        &[((4, 24), "the source refuses the query: relation \"public.nowhere\" does not exist")],
    ),
    (
        ITEM,
        "select tenant as tenant_id, id, 1/0 as x from item",
        &[((4, 3), "the source refuses the query: division by zero")],
    ),
    (
        ITEM,
        "select tenant as tenant_id, id, id from item",
        &[((4, 3), "the query has two columns named `id`")],
    ),
    (
        ITEM,
        "select name as idd from item",
        &[
            (
                (4, 3),
                "the query has no column `id`, which is in the key (did you mean `idd`?); it has: idd",
            ),
            (
                (4, 3),
                "the query has no column `tenant_id`, which says whose row it is; it has: idd",
            ),
        ],
    ),
    (
        "table: item, tenant: tenan, key: { id: identity }",
        "select tenant as tenant_id, id from item",
        &[
            ((2, 32), "table public.item has no column `tenan`"),
            ((2, 50), "table public.item has no column `identity`"),
        ],
    ),
    (
        "table: item, tenant: 'whose(id)'",
        "select tenant as tenant_id, id from item",
        &[
            (
                (2, 33),
                "the source refuses the tenant's expression: function whose(uuid) does not exist",
            ),
            (
                (4, 3),
                "the query has no column `tenant`, which is in the key (did you mean `tenant_id`?); it has: tenant_id, id",
            ),
        ],
    ),
];

#[tokio::test]
async fn every_problem_is_told_with_its_place() {
    let database = database().await;
    let check = async |source: &str, query: &str, expect: &[((usize, usize), &str)]| {
        let problems = try_resolve(&database, &[&mapping("m", source, query)])
            .await
            .expect_err("it has problems");
        let place = |p: &Problem| p.diagnostic.position.map_or((0, 0), |at| (at.line, at.column));
        let found: Vec<_> =
            problems.iter().map(|p| (place(p), p.diagnostic.message.as_str())).collect();
        assert_eq!(found, expect);
        assert!(
            problems.iter().all(|p| p.mapping == "m"
                && !p.diagnostic.remedy.is_empty()
                && !p.source_unavailable)
        );
    };
    for (source, query, expect) in PROBLEMS {
        check(source, query, expect).await;
    }
}

#[tokio::test]
async fn other_types_and_volatile_functions_are_refused() {
    let database = database().await;
    database
        .execute(
            "create function public.label(uuid) returns text language sql as 'select $1::text';
             create function public.label(int) returns text language sql as 'select $1::text';
             create function public.tag(uuid) returns text language sql stable as 'select $1::text';
             create domain public.item_id as uuid;
             create table public.part (tenant uuid, id public.item_id primary key, name varchar(9));",
        )
        .await;
    let check = async |source: &str, query: &str, expect: &[(usize, &str, &str)]| {
        let problems =
            try_resolve(&database, &[&mapping("m", source, query)]).await.err().unwrap_or_default();
        assert_eq!(problems.len(), expect.len(), "{problems:?}");
        for (found, (column, message, remedy)) in problems.iter().zip(expect) {
            assert_eq!(
                (found.diagnostic.position.map(|p| p.column), found.diagnostic.message.as_str()),
                (Some(*column), *message)
            );
            assert!(found.diagnostic.remedy.contains(remedy), "{found}");
        }
    };
    let item = "table: item, tenant: tenant";
    check(
        item,
        "select tenant as tenant_id, id::text as id from item",
        &[(
            43,
            "`id` is text in the query, and public.item.id, which it comes from, is uuid",
            "without a cast",
        )],
    )
    .await;
    check(
        item,
        "select tenant::text as tenant_id, id from item",
        &[(26, "`tenant_id` is text in the query, and public.item.tenant, which it comes from, is uuid", "without a cast")],
    )
    .await;
    check(
        item,
        "select tenant as tenant_id, id, random() as r, public.label(id) as l, now() as n, public.tag(id) as t from item",
        &[
            (35, "`random` is volatile: it may give another value each time, and no copy can equal that", "take it out"),
            (
                50,
                "`label` is volatile: it may give another value each time, and no copy can equal that",
                "alter function label(integer) stable;",
            ),
        ],
    )
    .await;
    // A domain counts as its base type, and all text types count as text.
    check(
        "table: part, tenant: tenant",
        "select tenant as tenant_id, id::uuid as id, tag(id) as nextval from part",
        &[],
    )
    .await;
    check(
        "table: part, tenant: tenant, key: { name: name }",
        "select tenant as tenant_id, name::text as name from part",
        &[],
    )
    .await;
}

#[tokio::test]
async fn missing_rights_name_the_grant() {
    let database = database().await;
    let role = format!("catalog_{}", std::process::id());
    database
        .execute(&format!(
            "create role {role}; create schema hidden; create table hidden.team (id uuid primary key, name text);
             grant select (id, tenant) on item to {role}; create table secret (x int)"
        ))
        .await;
    let session = database.connect().await;
    session.batch_execute(&format!("set role {role}")).await.expect("the superuser may be anyone");
    let with_team = "depends_on: [{ table: hidden.team, match: { id: id } }]\nquery:";
    let item = mapping(
        "m",
        "table: item, tenant: tenant",
        "select tenant as tenant_id, id, (select count(*) from secret) as n from item",
    );
    let problems = resolve(&session, vec![parse("m.yaml", &item.replace("query:", with_team))])
        .await
        .expect_err("no rights");
    let told: String = problems.iter().map(|p| format!("{p}\n")).collect();
    for expect in [
        format!("grant select on \"public\".\"item\" to {role};"),
        format!(
            "grant usage on schema \"hidden\" to {role}; grant select on \"hidden\".\"team\" to {role};"
        ),
        "permission denied for table ".to_owned(),
    ] {
        assert!(told.contains(&expect), "{told}");
    }
    session.batch_execute("reset role").await.expect("a superuser again");
    database.execute(&format!("grant select on item to {role}")).await;
    session.batch_execute(&format!("set role {role}")).await.expect("the superuser may be anyone");
    let problems =
        resolve(&session, vec![parse("m.yaml", &item)]).await.expect_err("no right on secret");
    assert!(
        problems[0].to_string().contains(&format!(
            "remedy: run as its owner: grant select on public.secret to {role};"
        )),
        "{}",
        problems[0]
    );
    session.batch_execute("reset role").await.expect("a superuser again");
    database.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn conditions_and_conflicts_are_checked() {
    let database = database().await;
    let good =
        mapping("items", "table: item, tenant: tenant", "select tenant as tenant_id, id from item");
    let bad = good
        .replace("query:", "depends_on: [{ table: loose, where: source.id = changed.x }]\nquery:");
    let problems = try_resolve(&database, &[&good, &bad]).await.expect_err("they have problems");
    let messages: Vec<_> = problems.iter().map(|p| p.diagnostic.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the mapping `items` is also defined in m0.yaml",
            "the source refuses the condition on public.loose: operator does not exist: uuid = integer",
        ]
    );
    assert!(
        problems[0].to_string().starts_with("m1.yaml:1:7: the mapping `items`"),
        "{}",
        problems[0]
    );
    assert_eq!(problems[1].diagnostic.position.map(|p| (p.line, p.column)), Some((3, 47)));
    let check = async |dependency: &str, expect: Option<&str>| {
        let text = good.replace("query:", &format!("depends_on: [{dependency}]\nquery:"));
        let problems = try_resolve(&database, &[&text]).await.err().unwrap_or_default();
        assert_eq!(problems.first().map(|p| p.diagnostic.message.as_str()), expect, "{dependency}");
    };
    check("{ table: losse, match: { id: x } }", Some("the source has no table public.losse")).await;
    check("{ table: loose, match: { id: xx } }", Some("table public.loose has no column `xx`"))
        .await;
    check(
        "{ table: loose, where: source.name = changed.tennant }",
        Some("table public.loose has no column `tennant`"),
    )
    .await;
    check(
        "{ table: item, match: { tenant: tenant, id: id } }",
        Some("the dependency on public.item leads back to the row that changed, which is looked at anyway"),
    )
    .await;
    // Rows of the same table that depend on the changed row are allowed.
    check("{ table: item, match: { tenant: tenant } }", None).await;
    check("{ table: item, where: source.name = changed.id::text }", None).await;
}

#[tokio::test]
async fn a_source_that_cannot_answer_is_not_the_mappings_fault() {
    let database = database().await;
    let holder = database.connect().await;
    holder
        .batch_execute("begin; lock table item in access exclusive mode")
        .await
        .expect("the table is free");
    let session = database.connect().await;
    let mapping =
        mapping("items", "table: item, tenant: tenant", "select tenant as tenant_id, id from item");
    let problems =
        resolve(&session, vec![parse("m.yaml", &mapping)]).await.expect_err("the table is locked");
    assert!(problems.len() == 1 && problems[0].source_unavailable, "{problems:?}");
}
