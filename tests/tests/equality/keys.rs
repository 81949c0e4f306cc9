//! Keys of types whose equality is not that of their text, or whose operators are in a schema of
//! their own.

use offtake_tests::{PATIENCE, World, oracle, until};

use crate::{equal, world};

/// A type of keys, three keys, and another spelling of the first one or another key.
const KEYS: [(&str, [&str; 3], &str); 18] = [
    ("text collate any_case", ["abc", "Def", "ghi"], "ABC"),
    ("ext.citext", ["abc", "Def", "ghi"], "ABC"),
    ("email", ["abc", "Def", "ghi"], "ABC"),
    ("ext.citext[]", ["{abc}", "{Def,x}", "{}"], "{ABC}"),
    ("text[] collate any_case", ["{abc}", "{Def,x}", "{}"], "{ABC}"),
    ("names", ["[a,c]", "[d,e]", "empty"], "[A,C]"),
    ("ext.ltree", ["a.b", "a", "a.b.c"], "a.B"),
    ("ext.hstore", ["a=>1", "b=>2", ""], "a=>2"),
    ("mood", ["fine", "bad", "so so"], "Fine"),
    ("feeling", ["fine", "bad", "so so"], "Fine"),
    ("place", ["(a,1)", "(b,2)", "(,)"], "(A,1)"),
    ("priced", ["(1.0)", "(2)", "(-3)"], "(1.00)"),
    ("numeric", ["1.0", "2", "-3"], "1.00"),
    ("double precision", ["0", "2", "-3"], "-0"),
    ("interval", ["1 mon", "2 days", "-3 h"], "30 days"),
    ("jsonb", ["1.0", "{\"a\": 1}", "[]"], "1.00"),
    ("char(4)", ["ab", "b", "c"], "AB"),
    ("small", ["1", "2", "3"], "4"),
];

const KEY_TYPES: &str = "create schema ext; create extension citext schema ext;
    create extension ltree schema ext; create extension hstore schema ext;
    create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create domain email as ext.citext;
    create type names as range (subtype = text, collation = any_case);
    create type mood as enum ('bad', 'so so', 'fine', 'Fine');
    create domain feeling as mood;
    create type place as (street text, no int);
    create type priced as (amount numeric);
    create domain small as int check (value > 0);";

/// Keys of every class are found again by the initial copy (with two keys per page), by live
/// changes and by `verify`. A key that changes only in its spelling leaves nothing behind.
#[tokio::test]
async fn keys_of_every_class_are_the_same_for_copy_changes_and_verify() {
    let mappings: Vec<(String, String)> = (0..KEYS.len())
        .map(|at| {
            let text = format!(
                "source: {{ table: public.k{at}, tenant: tenant, key: {{ k: k }} }}\n\
                 query: select tenant as tenant_id, k, note from k{at}\ntarget: {{ table: k{at} }}\n"
            );
            (format!("k{at}"), text)
        })
        .collect();
    let mappings: Vec<(&str, &str)> =
        mappings.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let world =
        World::with_tenants(["acme"]).mappings(&mappings).without_init().rows_at_once(2).await;
    let tenant = world.id("acme").to_owned();
    let mut setup = KEY_TYPES.to_owned();
    for (at, (sql_type, keys, _)) in KEYS.iter().enumerate() {
        setup.push_str(&format!(
            "create table k{at} (k {sql_type}, tenant text, note text, primary key (k));
             create index on k{at} (tenant, k);
             insert into k{at} values ('{}', '{tenant}', 'one'), ('{}', '{tenant}', 'two');",
            keys[0], keys[1]
        ));
    }
    world.source.execute(&setup).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    let all_equal = async |what: &str| {
        world.wait_in_step().await;
        oracle::assert_equal_after(&world, what).await;
    };
    all_equal("copied").await;
    // Literals, so that the server reads each as the column's type.
    for change in [
        "insert into {t} values ('{2}', '{tenant}', 'three')",
        "update {t} set note = note || '!' where tenant = '{tenant}'",
        // Two changes of one key, in one batch and in two.
        "update {t} set k = '{other}' where note = 'one!'",
        "update {t} set k = '{0}' where note = 'one!'; update {t} set k = '{other}' where note = 'one!'",
        "delete from {t} where note = 'one!'",
        "insert into {t} values ('{0}', '{tenant}', 'again')",
        "delete from {t} where note = 'again'; insert into {t} values ('{other}', '{tenant}', 'other')",
        "update {t} set tenant = 'none' where note = 'other'",
        "delete from {t}",
    ] {
        let mut all = String::new();
        for (at, (_, keys, other)) in KEYS.iter().enumerate() {
            let change = change.replace("{t}", &format!("k{at}")).replace("{tenant}", &tenant);
            let change = change.replace("{0}", keys[0]).replace("{2}", keys[2]);
            all.push_str(&format!("{};", change.replace("{other}", other)));
        }
        world.source.execute(&all).await;
        all_equal(change).await;
    }
    let mut again = String::new();
    for (at, (_, keys, other)) in KEYS.iter().enumerate() {
        again.push_str(&format!(
            "insert into k{at} values ('{other}', '{tenant}', 'one'), ('{}', '{tenant}', 'two');",
            keys[1]
        ));
    }
    world.source.execute(&again).await;
    all_equal("there again").await;
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}

/// A change of a parent reaches all its children, page by page, where the children's key is of a
/// type whose operators are on no search path.
#[tokio::test]
async fn children_with_a_key_of_an_extension_are_expanded_in_pages() {
    let text = "source: { table: public.child, tenant: org }\n\
        depends_on: [{ table: public.parent, match: { parent: id } }]\n\
        query: select c.org as tenant_id, c.k, p.name from child c join parent p on p.id = c.parent\n\
        target: { table: child }\n";
    let mappings = [("child".to_owned(), text.to_owned())];
    let world = world(&mappings, &[("child".to_owned(), "acme".to_owned())]).await;
    let setup = "create schema ext; create extension citext schema ext;
        create table parent (id int primary key, name text);
        create table child (k ext.citext primary key, parent int not null, org text);
        create index on child (parent); create index on child (org, (k::text));
        insert into parent values (1, 'before');
        insert into child select 'k' || n, 1, 'acme' from generate_series(1, 10100) n;";
    world.source.execute(setup).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    equal(&world, 0, "child", "acme", "copied").await;
    world.source.execute("update parent set name = 'after'").await;
    equal(&world, 0, "child", "acme", "changed").await;
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}

/// What cannot be compared is refused as a key, with a column that can; a `match` of a type whose
/// operator is on no search path is refused with the place.
#[tokio::test]
async fn keys_that_cannot_be_compared_are_refused_with_what_to_do() {
    let of = |key: &str| {
        format!(
            "source: {{ table: public.doc, tenant: org, key: {{ {key}: {key} }} }}\n\
             query: select org as tenant_id, {key}, note from doc\ntarget: {{ table: doc }}\n"
        )
    };
    let matched = "source: { table: public.node, tenant: org }\n\
        depends_on: [{ table: public.path, match: { path: path } }]\n\
        query: select org as tenant_id, id, note from node\ntarget: { table: node }\n";
    let mappings = [("doc".to_owned(), of("body")), ("node".to_owned(), matched.to_owned())];
    let world = world(&mappings, &[("doc".to_owned(), "acme".to_owned())]).await;
    let setup = "create table doc (body json not null, org text, note text);
        create schema ext; create extension ltree schema ext;
        create table node (id int primary key, org text, path ext.ltree, note text);
        create table path (path ext.ltree primary key);
        insert into doc values ('{\"a\": 1}', 'acme', 'one');";
    world.source.execute(setup).await;
    let refused = world.offtake(&["init"]).await;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(told.contains("the key column `body` is json"), "{told}");
    assert!(told.contains("the source refuses the condition on public.path"), "{told}");
    let from = told.find("alter table").expect("a statement");
    let to = from + told[from..].find(';').expect("its end");
    world.source.execute(&told[from..to]).await;
    world.write_mapping("doc", &of("body_text"));
    let by_operator = "where: 'source.path operator(ext.=) changed.path'";
    world.write_mapping("node", &matched.replace("match: { path: path }", by_operator));
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    equal(&world, 0, "doc", "acme", "copied").await;
    world.source.execute("update doc set body = '{\"a\": 2}'").await;
    equal(&world, 0, "doc", "acme", "changed").await;
    daemon.stop().await;
}

/// A table of `schema_sql` tells the same keys apart as the source, or its mapping says why not.
#[tokio::test]
async fn the_key_of_a_table_from_schema_sql_is_as_fine_as_the_sources() {
    let of = |table: &str, held: &str| {
        let text = format!(
            "source: {{ table: public.{table}, tenant: org }}\n\
             query: select org as tenant_id, k, note from {table}\n\
             target:\n  table: {table}\n  schema_sql: |\n    create table if not exists {table} (k {held}, note text, primary key (k))\n"
        );
        (table.to_owned(), text)
    };
    let mappings =
        [of("fine", "public.citext"), of("coarse", "text"), of("alike", "public.citext")];
    let to_acme = |table: &str| (table.to_owned(), "acme".to_owned());
    let world = world(&mappings, &["fine", "coarse", "alike"].map(to_acme)).await;
    let setup = "create extension citext;
        create table fine (k text primary key, org text, note text);
        create table coarse (k numeric primary key, org text, note text);
        create table alike (k citext primary key, org text, note text);
        insert into fine values ('a', 'acme', 'one'), ('A', 'acme', 'two');
        insert into coarse values (1.0, 'acme', 'one'); insert into alike values ('a', 'acme', 'one');";
    world.source.execute(setup).await;
    for tenant in world.tenants() {
        tenant.destination.execute("create extension citext").await;
    }
    world.succeed(&["init"]).await;
    world.allow("mapping_blocked");
    let daemon = world.daemon().await;
    for why in ["takes different texts as equal", "of which equal values may print differently"] {
        until("the status tells it", PATIENCE, async || {
            // It fails until the daemon has registered the destination.
            let output = world.offtake(&["status", "--tenant", "acme", "--json"]).await;
            let status = String::from_utf8_lossy(&output.stdout).into_owned();
            if status.contains(why) { Ok(()) } else { Err(status) }
        })
        .await;
    }
    equal(&world, 2, "alike", "acme", "copied").await;
    world.source.execute("update alike set k = 'A'").await;
    equal(&world, 2, "alike", "acme", "respelt").await;
    daemon.stop().await;
}
