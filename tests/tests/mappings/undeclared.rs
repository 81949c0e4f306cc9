//! Tables that a query reads and its file does not declare: refused before anything starts, and
//! told in the status of every copy that can go stale.

use offtake_tests::{PATIENCE, World, oracle};

use crate::{remedy, told, write};

const TABLES: &str = r#"
    create table item (org text, id int primary key, kind int, v int);
    create table kind (id int primary key, label text);
    create table label (id int primary key, label text);
    create view kind_label as select id, label from kind;
    create materialized view kind_count as select kind, count(*) n from item group by kind;
    create function label_of(bigint) returns text stable language sql as 'select label from kind where id = $1';
    create function told_by(k int) returns text stable language plpgsql as $$
    -- the table label is not read
    begin return (select public.label_of(k)); end $$;
    create function "Atomic"(k int) returns text stable language sql begin atomic select label from kind where id = k; end;
    create function composed(k int) returns text stable language plpgsql as $$
    declare found_one text;
    begin execute 'select label from "kind" where id = ' || k into found_one; return found_one; end $$;
    create function kinds(k int) returns setof kind stable language plpgsql as $$
    begin return query table kind; end $$;
    create view told_item as select org, id, told_by(kind) as told from item;
    create index on item (kind)"#;

/// The mapping with these lines before its query, and joined with this relation.
fn items(declared: &str, joined: &str, column: &str) -> String {
    format!(
        "source: {{ table: public.item, tenant: org }}\n{declared}query: |\n  \
         select i.org as tenant_id, i.id, k.{column} as told\n    \
         from item i left join {joined} k on k.id = i.kind\ntarget: {{ table: items }}\n"
    )
}

#[tokio::test]
async fn a_table_that_the_file_does_not_declare_is_refused() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    world.source.execute(TABLES).await;
    let count = "(select kind as id, n from kind_count)";
    let captured = "name it under `depends_on`, or under `unchanging` if its rows never change";
    let cases = [
        ("kind", "label", "public.kind", captured),
        ("kind_label", "label", "public.kind", captured),
        (count, "n", "public.kind_count", "no trigger captures it: read the tables behind it"),
    ];
    for (joined, column, table, says) in cases {
        write(&world, "items.yaml", &items("", joined, column));
        let reason =
            format!("the query of items reads {table}, and a change there would refresh nothing");
        for command in [["check", "--connect"].as_slice(), &["init"]] {
            let (code, stdout, stderr) = told(&world, &world.offtake(command).await);
            assert_eq!(code, 78, "{command:?}: {stdout}{stderr}");
            assert!(stderr.contains(&reason), "{command:?}: {stderr}");
            assert!(remedy(&stderr).starts_with(says), "{stderr}");
        }
        // The remedy: the operator says that its rows never change.
        let declared = format!("unchanging: [{table}]\n");
        write(&world, "items.yaml", &items(&declared, joined, column));
        world.succeed(&["check", "--connect"]).await;
        world.succeed(&["init"]).await;
    }
}

/// What a function reads is not in the plan of the query.
#[tokio::test]
async fn a_table_that_a_function_names_is_refused_unless_the_file_declares_it() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    world.source.execute(TABLES).await;
    let calling = |declared: &str, told: &str, relation: &str| {
        format!(
            "source: {{ table: public.item, tenant: org }}\n{declared}\
             query: select org as tenant_id, id, {told} as told from {relation}\n\
             target: {{ table: items }}\n"
        )
    };
    let cases = [
        ("label_of(kind)", "item", "label_of(bigint)"),
        ("told_by(kind)", "item", "label_of(bigint)"),
        ("\"Atomic\"(kind)", "item", "\"Atomic\"(integer)"),
        ("composed(kind)", "item", "composed(integer)"),
        ("told", "told_item", "label_of(bigint)"),
        ("(select min(k.label) from kinds(kind) k where k.id = kind)", "item", "kinds(integer)"),
        ("coalesce(null, public.told_by(kind))", "item", "label_of(bigint)"),
    ];
    for (told_by, relation, function) in cases {
        write(&world, "items.yaml", &calling("", told_by, relation));
        let (code, stdout, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
        assert_eq!(code, 78, "{told_by}: {stdout}{stderr}");
        let reason = format!(
            "the query of items calls {function}, which names public.kind, and a change there \
             would refresh nothing"
        );
        assert!(stderr.contains(&reason) && !stderr.contains("public.label"), "{stderr}");
        assert!(remedy(&stderr).ends_with("or the function does not read it"), "{stderr}");
        for declared in [
            "unchanging: [public.kind]\n",
            "depends_on: [{ table: public.kind, match: { kind: id } }]\n",
        ] {
            write(&world, "items.yaml", &calling(declared, told_by, relation));
            world.succeed(&["check", "--connect"]).await;
        }
    }
}

#[tokio::test]
async fn what_stands_under_unchanging_must_be_tables_that_nothing_captures() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    let depends_on = "depends_on: [{ table: public.kind, match: { kind: id } }]\n";
    let cases = [
        ("unchanging: public.kind\n", "this is a list", "[schema.table, …]"),
        ("unchanging: [7]\n", "this is not a table's name", "[schema.table, …]"),
        ("unchanging: [a.b.c]\n", "a.b.c", "[schema.table, …]"),
        ("unchanging: [public.item]\n", "public.item stands elsewhere in this file", "take it out"),
        (
            &format!("{depends_on}unchanging: [public.kind]\n"),
            "public.kind stands elsewhere in this file as a table that changes",
            "take it out here",
        ),
    ];
    for (declared, says, remedied) in cases {
        write(&world, "items.yaml", &items(declared, "kind", "label"));
        let (code, stdout, stderr) = told(&world, &world.offtake(&["check"]).await);
        assert_eq!(code, 78, "{declared}: {stdout}{stderr}");
        assert!(stderr.contains(says) && remedy(&stderr).contains(remedied), "{stderr}");
        assert!(stderr.contains("mappings/items.yaml:"), "{stderr}");
    }
}

#[tokio::test]
async fn a_copy_that_can_go_stale_is_not_in_sync_until_the_file_declares_the_table() {
    let world = World::with_tenants(["acme"]).mappings(&[]).await;
    world.source.execute(TABLES).await;
    let acme = world.id("acme");
    world.source.execute("insert into kind values (1, 'one')").await;
    world.source.execute(&format!("insert into item values ('{acme}', 1, 1, 1)")).await;
    let depends_on = "depends_on: [{ table: public.kind, match: { kind: id } }]\n";
    world.write_mapping("items", &items(depends_on, "kind_label", "label"));
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;

    // The file loses the declaration: the copy is kept, and the status says what it misses.
    world.write_mapping("items", &items("", "kind_label", "label"));
    let says = [
        "mapping items waits: ",
        "the query of items reads public.kind, and a change there would refresh nothing; name it \
         under `depends_on`",
    ];
    world.wait_told(&daemon, "acme", "blocked", &says).await;
    world.source.execute(&format!("insert into item values ('{acme}', 2, 1, 1)")).await;
    oracle::wait_equal(&world, PATIENCE).await;

    // The remedy.
    world.write_mapping("items", &items(depends_on, "kind_label", "label"));
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.source.execute("update kind set label = 'first'").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;

    // A view that reads another table from now on. Its mapping's file is as it was.
    world.source.execute("create or replace view kind_label as select id, label from label").await;
    daemon.reload();
    world.wait_told(&daemon, "acme", "blocked", &["the query of items reads public.label"]).await;
    world.write_mapping("items", &items("unchanging: [public.label]\n", "kind_label", "label"));
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
}
