//! The rule under `source.tenant`: it must name the tenant that the query names, by the row's own
//! columns.

use offtake_tests::{World, oracle};
use serde_json::Value;

use crate::{remedy, told, write};

const TASKS: &str = "source: { table: public.task, tenant: maker_org }\n\
                     query: select owner_org as tenant_id, id, v from task\n\
                     target: { table: tasks }\n";

/// A table whose rows may name two tenants; tenants are those of the world.
async fn tasks(mapping: &str) -> World {
    let world = World::with_tenants(["acme", "globex"])
        .without_init()
        .mappings(&[("tasks", mapping)])
        .await;
    let (acme, globex) = (world.id("acme"), world.id("globex"));
    world
        .source
        .execute(&format!(
            "create table task (id int primary key, owner_org text, maker_org text, v int);
             insert into task values (1, '{acme}', '{acme}', 1), (2, '{acme}', '{globex}', 1), \
                                     (3, '{globex}', '{acme}', 1)"
        ))
        .await;
    world
}

#[tokio::test]
async fn a_rule_that_names_another_tenant_than_the_query_is_refused() {
    let world = tasks(TASKS).await;
    let (acme, globex) = (world.id("acme").to_owned(), world.id("globex").to_owned());
    for command in [&["check", "--connect"][..], &["init"]] {
        let (code, _, stderr) = told(&world, &world.offtake(command).await);
        assert_eq!(code, 78, "{command:?} {stderr}");
        for expect in [
            "mappings/tasks.yaml:1:39: the rule under source.tenant (maker_org) and the query's \
             tenant_id (owner_org) disagree on 2 of 3 row(s): for id = ",
            "remedy: write `tenant: owner_org`, or expose maker_org as tenant_id in the query",
        ] {
            assert!(stderr.contains(expect), "{expect}: {stderr}");
        }
        let says = |rule: &str, query: &str| {
            stderr.contains(&format!("maker_org is {rule} and owner_org is {query}"))
        };
        assert!(says(&globex, &acme) || says(&acme, &globex), "{stderr}");
    }
    assert_eq!(world.source.query_text("select to_regnamespace('offtake') is null").await, "t");
    // Both remedies mend it.
    let (_, _, stderr) = told(&world, &world.offtake(&["init"]).await);
    assert!(remedy(&stderr).starts_with("write `tenant: owner_org`"), "{stderr}");
    write(&world, "tasks.yaml", &TASKS.replace("select owner_org", "select maker_org"));
    world.succeed(&["check", "--connect"]).await;
    write(&world, "tasks.yaml", &TASKS.replace("tenant: maker_org", "tenant: owner_org"));
    let stdout = world.succeed(&["check", "--connect"]).await;
    assert!(stdout.contains("tenants agree on 3 row(s) compared"), "{stdout}");
    world.succeed(&["init"]).await;
    let _daemon = world.daemon().await;
    world.wait_in_step().await;
    world
        .source
        .execute(&format!(
            "update task set v = 2; update task set owner_org = '{globex}' where id = 2"
        ))
        .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
}

#[tokio::test]
async fn rows_that_came_to_disagree_later_are_told_by_verify() {
    let rule = "'coalesce(owner_org, maker_org)'";
    let world = tasks(&TASKS.replace("maker_org", rule)).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let stdout = world.succeed(&["verify"]).await;
    assert!(!stdout.contains("another tenant"), "{stdout}");
    // An edit of the query alone: the rows are equal, and the next change would be missed.
    daemon.stop().await;
    let acme = world.id("acme");
    write(
        &world,
        "tasks.yaml",
        &TASKS.replace("maker_org", rule).replace("select owner_org", "select maker_org"),
    );
    let (code, stdout, _) =
        told(&world, &world.offtake(&["verify", "--tenant", acme, "--json"]).await);
    let compared: Value = serde_json::from_str(&stdout).expect("JSON");
    let report = &compared[0]["report"];
    assert_eq!((code, &report["disagreements"]), (3, &1.into()), "{compared:#}");
    assert_eq!(report["disagreement"]["id"], "3");
    let (_, stdout, _) = told(&world, &world.offtake(&["verify", "--tenant", acme]).await);
    assert!(stdout.contains("1 row(s) have another tenant by source.tenant than"), "{stdout}");
    let (code, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert!(code == 78 && stderr.contains("(coalesce(owner_org, maker_org))"), "{stderr}");
    assert!(stderr.contains("remedy: write `tenant: maker_org`"), "{stderr}");
}

/// A rule by a look-up, a key that is not the tenant's, and rows of a tenant without a destination.
#[tokio::test]
async fn look_ups_are_compared_too_and_rows_without_a_tenant_are_told() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    let acme = world.id("acme").to_owned();
    world
        .source
        .execute(&format!(
            "create table bill (id int primary key, org text, payer text);
             create table line (id int primary key, bill_id int, v int);
             create index on line (bill_id);
             insert into bill values (1, '{acme}', 'elsewhere');
             insert into line values (1, 1, 1)"
        ))
        .await;
    let lines = "source: { table: public.line, tenant: { table: public.bill, column: payer, match: { id: bill_id } } }\n\
                 query: select b.org as tenant_id, l.id, l.v from line l join bill b on b.id = l.bill_id\n\
                 target: { table: lines }\n";
    write(&world, "lines.yaml", lines);
    let (code, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    let expect = format!("for id = 1, public.bill.payer is elsewhere and b.org is {acme}");
    assert!(code == 78 && stderr.contains(&expect), "{stderr}");
    write(&world, "lines.yaml", &lines.replace("column: payer", "column: org"));
    world.succeed(&["check", "--connect"]).await;
    // A row without a tenant by the rule is captured for no tenant.
    world.source.execute("create table memo (id int primary key, org text)").await;
    world.source.execute("insert into memo values (7, null)").await;
    write(
        &world,
        "memos.yaml",
        "source: { table: public.memo, tenant: org }\n\
         query: select coalesce(org, 'house') as tenant_id, id from memo\n\
         target: { table: memos }\n",
    );
    let (code, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert!(code == 78 && stderr.contains("for id = 7, org is null and"), "{stderr}");
}
