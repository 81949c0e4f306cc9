//! Tenants whose ids can be spelled in several ways.

use offtake_tests::{PATIENCE, until};
use serde_json::json;

use crate::{equal, mapping, world};

/// A type of tenants, the id that the configuration has, and what the column prints.
const SPELT: [(&str, &str, &str); 14] = [
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("int", "007", "7"),
    ("bigint", " +12", "12"),
    ("boolean", "t", "true"),
    ("inet", "10.1.0.0", "10.1.0.0/32"),
    ("char(6)", "acme  ", "acme"),
    ("varchar(20)", "Acme", "Acme"),
    ("numeric(8,2)", "7", "7.00"),
    ("date", "2026-1-5", "2026-01-05"),
    ("timestamptz", "2026-01-05 10:00+02", "2026-01-05 08:00:00+00"),
    ("bytea", "\\xAB", "\\xab"),
    ("account", "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("plan", "free", "free"),
    ("offered", "free", "free"),
];

/// The case `tenant-spelled-otherwise`: whatever spelling of a tenant's id the type reads, the
/// destination gets that tenant's rows and their changes.
#[tokio::test]
async fn a_tenant_may_be_spelled_in_any_way_that_its_type_reads() {
    let tables: Vec<String> = (0..SPELT.len()).map(|at| format!("t{at}")).collect();
    let mappings: Vec<_> = tables.iter().map(|table| (table.clone(), mapping(table))).collect();
    let destinations: Vec<_> = tables
        .iter()
        .zip(SPELT)
        .map(|(table, (_, configured, _))| (table.clone(), configured.to_owned()))
        .collect();
    let world = world(&mappings, &destinations).await;
    let mut setup = String::from(
        "create domain account as uuid; create type plan as enum ('free', 'paid'); create domain offered as plan;",
    );
    for (table, (sql_type, _, printed)) in tables.iter().zip(SPELT) {
        setup.push_str(&format!(
            "create table {table} (id int primary key, org {sql_type}, note text); create index on {table} (org);
             insert into {table} values (1, '{printed}', 'one'), (2, null, 'no one''s');"
        ));
    }
    world.source.execute(&setup).await;
    world.succeed(&["check", "--connect"]).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    let all_equal = async |what: &str| {
        for (at, (table, (.., printed))) in tables.iter().zip(SPELT).enumerate() {
            equal(&world, at, table, printed, what).await;
        }
    };
    all_equal("copied").await;
    for change in [
        "insert into {t} values (3, '{p}', 'three')",
        "update {t} set note = 'changed' where id = 1",
        "update {t} set org = '{p}' where id = 2",
        "update {t} set org = null where id = 3",
        "delete from {t} where id = 1",
    ] {
        for (table, (.., printed)) in tables.iter().zip(SPELT) {
            world.source.execute(&change.replace("{t}", table).replace("{p}", printed)).await;
        }
        all_equal(change).await;
    }
    let status = world.succeed(&["status", "--tenant", SPELT[0].1, "--json"]).await;
    assert!(status.contains(SPELT[0].1), "{status}");
    world.succeed(&["verify"]).await;
    world.succeed(&["verify", "--tenant", "007"]).await;
    daemon.stop().await;
}

/// A type of tenants whose equal values print differently: its declaration, three spellings of one
/// tenant, the expression that the refusal says to write, and what that prints for them.
const COARSE: [(&str, [&str; 3], &str, &str); 9] = [
    ("citext", ["Acme", "acme", "ACME"], "lower(org::text)", "acme"),
    ("text collate any_case", ["Acme", "acme", "ACME"], "lower(org) collate \"C\"", "acme"),
    ("numeric", ["1.0", "1", "1.00"], "trim_scale(org)::text", "1"),
    ("double precision", ["0", "-0", "0.0"], "(org + 0)::text", "0"),
    ("interval", ["1 mon", "30 days", "720:00"], "extract(epoch from org)::text", "2592000.000000"),
    ("jsonb", ["{\"a\": 1}", "{\"a\":1}", "{ \"a\": 1 }"], "org::text", "{\"a\": 1}"),
    ("ext.ltree", ["a.b", "a.b", "a.b"], "org::text", "a.b"),
    ("int[]", ["{1,2}", "{1, 2}", "{01,2}"], "org::text", "{1,2}"),
    ("place", ["(a,1)", "(a,01)", "(\"a\",1)"], "org::text", "(a,1)"),
];

const COARSE_TYPES: &str =
    "create extension citext; create schema ext; create extension ltree schema ext;
    create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create type place as (street text, no int);";

fn with_expression(table: &str, expression: &str) -> String {
    format!(
        "source: {{ table: public.{table}, tenant: '{expression}' }}\n\
         query: select {expression} as tenant_id, id, note from {table}\n\
         target: {{ table: {table} }}\n"
    )
}

/// Refused by `check` and `init`, each with an expression. With that expression the mapping runs,
/// and all spellings are one tenant, in the copy and in the changes.
#[tokio::test]
async fn a_tenant_whose_equal_values_print_differently_is_refused_with_what_to_write() {
    let tables: Vec<String> = (0..COARSE.len()).map(|at| format!("t{at}")).collect();
    let mappings: Vec<_> = tables.iter().map(|table| (table.clone(), mapping(table))).collect();
    let destinations: Vec<_> = tables
        .iter()
        .zip(COARSE)
        .map(|(table, (.., printed))| (table.clone(), printed.to_owned()))
        .collect();
    let world = world(&mappings, &destinations).await;
    let mut setup = COARSE_TYPES.to_owned();
    for (table, (sql_type, spellings, ..)) in tables.iter().zip(COARSE) {
        setup.push_str(&format!(
            "create table {table} (id int primary key, org {sql_type}, note text);
             insert into {table} values (1, '{}', 'one'), (2, '{}', 'two');",
            spellings[0], spellings[1]
        ));
    }
    world.source.execute(&setup).await;
    for command in [&["init"][..], &["check", "--connect"]] {
        let refused = world.offtake(command).await;
        assert_eq!(refused.status.code(), Some(78));
        let told = String::from_utf8_lossy(&refused.stderr);
        for (table, (_, _, expression, _)) in tables.iter().zip(COARSE) {
            let remedy = format!("write `tenant: {expression}`");
            assert!(told.contains(&remedy), "{remedy}\n{told}");
            assert!(told.contains(&format!("{table}.yaml:1:")), "{table}\n{told}");
        }
        assert!(told.contains("equal values may print differently"), "{told}");
    }
    for (table, (_, _, expression, _)) in tables.iter().zip(COARSE) {
        world.write_mapping(table, &with_expression(table, expression));
    }
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    let all_equal = async |what: &str| {
        for (at, (table, (.., printed))) in tables.iter().zip(COARSE).enumerate() {
            equal(&world, at, table, printed, what).await;
        }
    };
    all_equal("copied").await;
    for change in [
        "insert into {t} values (3, '{s}', 'three')",
        "update {t} set note = note || '!'",
        "update {t} set org = '{s}' where id = 1",
        "delete from {t} where id = 2",
    ] {
        for (table, (_, spellings, ..)) in tables.iter().zip(COARSE) {
            world.source.execute(&change.replace("{t}", table).replace("{s}", spellings[2])).await;
        }
        all_equal(change).await;
    }
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}

/// A tenant that is looked up in a citext column gets a column of its own to look up.
#[tokio::test]
async fn a_looked_up_tenant_is_refused_with_a_column_to_add() {
    let of = |column: &str| {
        format!(
            "source:\n  table: public.item\n  tenant: {{ table: public.shop, column: {column}, match: {{ id: shop }} }}\n\
             query: select s.{column} as tenant_id, i.id, i.note from item i join shop s on s.id = i.shop\n\
             target: {{ table: item }}\n"
        )
    };
    let mappings = [("item".to_owned(), of("org"))];
    let world = world(&mappings, &[("item".to_owned(), "acme".to_owned())]).await;
    let setup = "create extension citext;
        create table shop (id int primary key, org citext not null);
        create table item (id int primary key, shop int not null, note text); create index on item (shop);
        insert into shop values (1, 'Acme'), (2, 'ACME');
        insert into item values (1, 1, 'one'), (2, 2, 'two');";
    world.source.execute(setup).await;
    let refused = world.offtake(&["init"]).await;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{told}");
    let from = told.find("alter table").expect("a statement");
    let to = from + told[from..].find(';').expect("its end");
    world.source.execute(&told[from..to]).await;
    world.write_mapping("item", &of("tenant_text"));
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    equal(&world, 0, "item", "acme", "copied").await;
    for change in [
        "insert into item values (3, 2, 'three')",
        "update shop set org = 'aCME' where id = 1",
        "update item set note = 'changed'",
        "update shop set org = 'other' where id = 1",
    ] {
        world.source.execute(change).await;
        equal(&world, 0, "item", "acme", change).await;
    }
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}

/// An id that no row can have is told; the destinations beside it go on. A `varchar(4)` would cut
/// the id, and the destination would get the rows of another tenant.
#[tokio::test]
async fn an_id_that_the_type_does_not_read_is_told() {
    let mappings: Vec<_> = ["visit", "memo", "sum"].map(|t| (t.to_owned(), mapping(t))).into();
    let good = ("visit".to_owned(), "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11".to_owned());
    let mut world = world(&mappings, &[good, ("memo".to_owned(), "acme".to_owned())]).await;
    let setup = "create table visit (id int primary key, org uuid, note text);
        create table memo (id int primary key, org varchar(4), note text);
        create table sum (id int primary key, org int, note text);
        insert into visit values (1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'one');
        insert into memo values (1, 'acme', 'one'); insert into sum values (1, 7, 'one');";
    world.source.execute(setup).await;
    let bad = [
        ("acme", json!(["visit"]), "cannot be a tenant of mapping visit"),
        ("acme-inc", json!(["memo"]), "no value of that type is spelled so"),
        ("007", json!(["memo", "sum"]), "mapping memo prints this tenant as `007`"),
    ];
    for (tenant, of, why) in &bad {
        world.configure(|c| {
            let list = c["destinations"]["static"].as_array_mut().expect("a list");
            let url = list[1]["url"].clone();
            list.push(json!({ "tenant": tenant, "name": "bad", "url": url, "schema": "bad", "mappings": of }));
        });
        for command in [&["init"][..], &["check", "--connect"]] {
            let refused = world.offtake(command).await;
            let told = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(78), "{told}");
            assert!(told.contains(why) && told.contains(&format!("{tenant}/bad")), "{told}");
        }
        world.configure(|c| {
            c["destinations"]["static"].as_array_mut().expect("a list").pop();
        });
    }
    world.succeed(&["init"]).await;
    let rows = bad.each_ref().map(|(tenant, of, _)| {
        let of: Vec<_> = of.as_array().into_iter().flatten().filter_map(|m| m.as_str()).collect();
        let url = world.tenant("d1").destination.url();
        format!("('{tenant}', 'bad', '{url}', 'bad_{}', '{{{}}}'::text[])", of[0], of.join(","))
    });
    world.configure(|c| {
        c["destinations"]["query"] = format!(
            "select * from (values {}) d (tenant_id, name, url, schema, mappings)",
            rows.join(", ")
        )
        .into();
    });
    world.allow("destination_refused");
    let daemon = world.daemon().await;
    equal(&world, 0, "visit", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "copied").await;
    equal(&world, 1, "memo", "acme", "copied").await;
    for (tenant, _, why) in &bad {
        until("the status tells it", PATIENCE, async || {
            let status = world.succeed(&["status", "--tenant", tenant]).await;
            if status.contains(why) { Ok(()) } else { Err(status) }
        })
        .await;
    }
    daemon.stop().await;
}

const ACCOUNT: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

fn keeping_tenant(table: &str) -> (String, String) {
    let target = format!("target: {{ table: {table}, keep_tenant: true }}");
    (table.to_owned(), mapping(table).replace(&format!("target: {{ table: {table} }}"), &target))
}

/// In a shared schema, too, a tenant may be spelled in any way; but only one of its spellings.
#[tokio::test]
async fn two_spellings_of_one_tenant_do_not_share_a_schema() {
    let mappings = [keeping_tenant("visit"), keeping_tenant("offer")];
    let of = |table: &str, tenant: &str| (table.to_owned(), tenant.to_owned());
    let upper = ACCOUNT.to_uppercase();
    let other = "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let destinations = [of("visit", &upper), of("visit", other), of("offer", "free")];
    let mut world = world(&mappings, &destinations).await;
    let setup = format!(
        "create type plan as enum ('free', 'paid');
         create table visit (id int primary key, org uuid, note text);
         create table offer (id int primary key, org plan, note text);
         insert into visit values (1, '{ACCOUNT}', 'one'), (2, '{other}', 'two');
         insert into offer values (1, 'free', 'one'), (2, 'paid', 'two');"
    );
    world.source.execute(&setup).await;
    world.configure(|c| {
        let list = c["destinations"]["static"].as_array_mut().expect("a list");
        list[1]["url"] = list[0]["url"].clone();
        list.iter_mut().for_each(|destination| destination["shared"] = true.into());
    });
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    let found = async |expected: &str| {
        let destination = &world.tenant("d0").destination;
        until("both tenants' rows are there", PATIENCE, async || {
            let rows = "select string_agg(id || ' ' || note, ', ' order by id) from visit";
            let rows = destination.try_query_text(rows).await?;
            if rows == expected { Ok(()) } else { Err(rows) }
        })
        .await;
    };
    found("1 one, 2 two").await;
    world.source.execute("update visit set note = note || '!'").await;
    found("1 one!, 2 two!").await;
    world.source.execute(&format!("update visit set org = '{ACCOUNT}' where id = 2")).await;
    world.source.execute("delete from visit where id = 1").await;
    found("2 two!").await;
    equal(&world, 2, "offer", "free", "copied").await;
    world.source.execute("update offer set org = 'free', note = 'moved' where id = 2").await;
    world.source.execute("delete from offer where id = 1").await;
    equal(&world, 2, "offer", "free", "changed").await;
    world.succeed(&["verify"]).await;
    daemon.stop().await;
    world.configure(|c| c["destinations"]["static"][1]["tenant"] = ACCOUNT.into());
    world.allow("destination_refused");
    let daemon = world.daemon().await;
    until("both are blocked", PATIENCE, async || {
        let status = world.succeed(&["status", "--tenant", ACCOUNT]).await;
        if status.contains("one destination per tenant") { Ok(()) } else { Err(status) }
    })
    .await;
    daemon.stop().await;
}

/// Before V7 such a destination got no changes, and its cursor passed them all the same.
#[tokio::test]
async fn a_destination_of_an_earlier_version_is_copied_again_under_the_sources_spelling() {
    let mappings = [("visit".to_owned(), mapping("visit"))];
    let world = world(&mappings, &[("visit".to_owned(), ACCOUNT.to_uppercase())]).await;
    let setup = format!(
        "create table visit (id int primary key, org uuid, note text);
         insert into visit values (1, '{ACCOUNT}', 'one'), (2, '{ACCOUNT}', 'two');"
    );
    world.source.execute(&setup).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    equal(&world, 0, "visit", ACCOUNT, "copied").await;
    until("the copy is complete", PATIENCE, async || {
        let known = "select bool_and(backfilled)::text from offtake.destination_mapping";
        let known = world.source.try_query_text(known).await?;
        if known == "true" { Ok(()) } else { Err(known) }
    })
    .await;
    daemon.stop().await;
    world.source.execute("update offtake.destination set source_tenant_id = null").await;
    let missed = "update visit set note = 'old' where id = 1; delete from visit where id = 2";
    world.tenant("d0").destination.execute(missed).await;
    let daemon = world.daemon().await;
    equal(&world, 0, "visit", ACCOUNT, "copied again").await;
    let known = "select tenant_id || ' ' || source_tenant_id from offtake.destination where active";
    let known = world.source.query_text(known).await;
    assert_eq!(known, format!("{} {ACCOUNT}", ACCOUNT.to_uppercase()));
    daemon.stop().await;
}
