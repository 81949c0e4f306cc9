//! Mistakes of look-ups, each told with its line and a remedy; and what `check` says of their cost.

use std::process::Output;

use offtake_tests::World;

use crate::LINES;

const TABLES: &str = "
    create table customer (id int primary key, org text);
    create table invoice (id int primary key, customer_id int);
    create table line (id int primary key, invoice_id int, amount int)";

async fn world() -> World {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("lines", LINES)]).await;
    world.source.execute(TABLES).await;
    world
}

fn told(world: &World, output: &Output) -> (i32, String) {
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes).replace(&format!("{}/", world.folder().display()), "")
    };
    let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
    (output.status.code().unwrap_or(-1), all)
}

#[tokio::test]
async fn a_mistake_in_a_step_is_told_with_its_line_and_a_remedy() {
    let world = world().await;
    let mistakes = [
        (
            "match: { id: invoice_id }",
            "match: { id: invoiceid }",
            "mappings/lines.yaml:4:45: table public.line has no column `invoiceid`",
            "did you mean `invoice_id`?",
        ),
        (
            "match: { id: customer_id }",
            "match: { id: customer }",
            "mappings/lines.yaml:5:59: table public.invoice has no column `customer`",
            "did you mean `customer_id`?",
        ),
        (
            "column: org,",
            "column: orgs,",
            "mappings/lines.yaml:5:41: table public.customer has no column `orgs`",
            "did you mean `org`?",
        ),
        (
            "match: { id: customer_id }",
            "match: { org: customer_id }",
            "mappings/lines.yaml:5:53: the source refuses the look-up in public.customer: operator does not exist: text = integer",
            "",
        ),
        (
            "- { table: public.invoice,",
            "- { table: public.bill,",
            "mappings/lines.yaml:4:16: the source has no table public.bill",
            "",
        ),
    ];
    for (from, to, expect, remedy) in mistakes {
        world.write_mapping("lines", &LINES.replace(from, to));
        let (code, all) = told(&world, &world.offtake(&["check", "--connect"]).await);
        assert!(code == 78 && all.contains(expect) && all.contains(remedy), "{to}: {all}");
    }
}

/// Each step needs an index on both of its sides. The test runs what the warnings name.
#[tokio::test]
async fn each_step_without_an_index_is_told_with_the_one_that_helps() {
    let world = world().await;
    let warned = async || {
        let (code, all) = told(&world, &world.offtake(&["check", "--connect"]).await);
        assert_eq!(code, 0, "{all}");
        let lines = all.lines().filter(|line| line.starts_with("warning: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    world.source.execute("alter table customer drop constraint customer_pkey").await;
    let warnings = warned().await;
    let expect = [
        "mappings/lines.yaml:4: no index finds the rows of lines that a change of public.invoice refreshes, \
         so the whole of line is read for each; create index concurrently on \"public\".\"line\" (\"invoice_id\");",
        "mappings/lines.yaml:5: no index finds the rows of lines that a change of public.customer refreshes, \
         so the whole of invoice is read for each; create index concurrently on \"public\".\"invoice\" (\"customer_id\"); \
         create index concurrently on \"public\".\"customer\" (\"id\");",
    ];
    for expect in expect {
        assert!(warnings.iter().any(|line| line.contains(expect)), "{expect}: {warnings:#?}");
    }
    for statement in warnings.iter().flat_map(|line| line.split(";").map(str::trim)) {
        if let Some(at) = statement.find("create index") {
            world.source.execute(&statement[at..]).await;
        }
    }
    let warnings = warned().await;
    assert!(!warnings.iter().any(|line| line.contains("no index finds")), "{warnings:#?}");
    let (_, all) = told(&world, &world.offtake(&["check", "--connect", "--verbose"]).await);
    assert!(all.contains("public.customer: one change refreshes "), "{all}");
}

/// The trigger of a table that is only on the way is watched like any other.
#[tokio::test]
async fn a_change_past_the_triggers_of_a_table_on_the_way_is_reconciled() {
    let world = world().await;
    world.allow("triggers_drifted");
    world.allow("capture_gap_noted");
    world.succeed(&["init"]).await;
    let acme = world.id("acme");
    world
        .source
        .execute(&format!(
            "insert into customer values (1, '{acme}'); insert into invoice values (1, 1); insert into line values (1, 1, 1)"
        ))
        .await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    world
        .source
        .execute("alter table customer disable trigger user; update customer set org = 'elsewhere'")
        .await;
    world.allow("*");
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    offtake_tests::oracle::assert_equal(&world).await;
    let left = world.tenant("acme").destination.query_text("select count(*) from lines").await;
    assert_eq!(left, "0");
    daemon.stop().await;
}
