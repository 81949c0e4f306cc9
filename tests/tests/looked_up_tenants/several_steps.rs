//! Several look-ups: an order line names its invoice, the invoice its customer, and the customer
//! the tenant.

use std::time::Duration;

use offtake_tests::{PATIENCE, Plan, World, oracle};

use crate::LINES;

const TABLES: &str = "
    create table customer (id int primary key, org text, name text);
    create table invoice (id int primary key, customer_id int, note text);
    create table line (id int primary key, invoice_id int, amount int);
    create index on invoice (customer_id);
    create index on line (invoice_id);";

fn plan() -> Plan {
    World::with_tenants(["acme", "globex"]).without_init().mappings(&[("lines", LINES)])
}

async fn prepare(plan: Plan) -> World {
    let world = plan.await;
    world.source.execute(TABLES).await;
    world.succeed(&["init"]).await;
    world
}

async fn check(world: &World) {
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
}

/// What acme has, as `id amount`, in the order of ids.
async fn acme(world: &World) -> String {
    let lines = "select coalesce(string_agg(id || ' ' || amount, ', ' order by id), '') from lines";
    world.tenant("acme").destination.query_text(lines).await
}

#[tokio::test]
async fn rows_follow_every_row_on_the_way_to_their_tenant() {
    let world = prepare(plan()).await;
    let (acme_id, globex) = (world.id("acme").to_owned(), world.id("globex").to_owned());
    let daemon = world.daemon().await;
    let steps = [
        // The way ends early, and is completed later.
        ("insert into line values (1, 1, 10), (2, 2, 20)".to_owned(), ""),
        ("insert into invoice values (1, 1), (2, 2)".to_owned(), ""),
        (format!("insert into customer values (1, '{acme_id}'), (2, '{globex}')"), "1 10"),
        ("update line set amount = amount + 1".to_owned(), "1 11"),
        ("update invoice set customer_id = 1 where id = 2".to_owned(), "1 11, 2 21"),
        (format!("update customer set org = '{globex}' where id = 1"), ""),
        (format!("update customer set org = '{acme_id}' where id = 1"), "1 11, 2 21"),
        (
            "update line set invoice_id = 2 where id = 1; delete from invoice where id = 1"
                .to_owned(),
            "1 11, 2 21",
        ),
        ("update invoice set id = 3 where id = 2".to_owned(), ""),
        ("update line set invoice_id = 3".to_owned(), "1 11, 2 21"),
        ("delete from customer where id = 1".to_owned(), ""),
        (format!("insert into customer values (1, '{acme_id}')"), "1 11, 2 21"),
        (
            "update customer set id = 7 where id = 1; update invoice set customer_id = 7"
                .to_owned(),
            "1 11, 2 21",
        ),
        ("truncate invoice".to_owned(), ""),
        ("insert into invoice values (3, 7)".to_owned(), "1 11, 2 21"),
        ("truncate customer".to_owned(), ""),
        (format!("insert into customer values (7, '{acme_id}')"), "1 11, 2 21"),
        // The rows on the way are deleted before and after the rows that they lead from.
        ("delete from customer; delete from invoice; delete from line where id = 1".to_owned(), ""),
        (
            format!(
                "insert into customer values (7, '{acme_id}'); insert into invoice values (3, 7)"
            ),
            "2 21",
        ),
        ("delete from line; delete from invoice; delete from customer".to_owned(), ""),
    ];
    for (sql, expect) in steps {
        world.source.execute(&sql).await;
        check(&world).await;
        assert_eq!(acme(&world).await, expect, "{sql}");
    }
    let verified = world.succeed(&["verify"]).await;
    assert!(!verified.contains("another tenant"), "{verified}");
    daemon.stop().await;
}

/// Some hundred ticks of one change each, on a machine with much else to do.
const PATIENCE_FOR_SMALL_BATCHES: Duration = Duration::from_secs(180);

/// What may cut the way of the line with this number. Number 100000 leads to a tenant without a
/// destination: where a way leads to no tenant, every tenant looks, and nothing could be missed.
fn cuts(n: usize, globex: &str) -> [Vec<String>; 3] {
    [
        vec![
            format!("delete from line where id = {n};"),
            format!("update line set invoice_id = 100000 where id = {n};"),
        ],
        vec![
            format!("delete from invoice where id = {n};"),
            format!("update invoice set customer_id = 100000 where id = {n};"),
            format!("update invoice set id = 200000 + {n} where id = {n};"),
        ],
        vec![
            format!("delete from customer where id = {n};"),
            format!("update customer set org = '{globex}' where id = {n};"),
        ],
    ]
}

const ORDERS: [&[usize]; 12] = [
    &[0, 1, 2],
    &[0, 2, 1],
    &[1, 0, 2],
    &[1, 2, 0],
    &[2, 0, 1],
    &[2, 1, 0],
    &[0, 1],
    &[1, 0],
    &[0, 2],
    &[2, 0],
    &[1, 2],
    &[2, 1],
];

/// Every way of cutting a way at two or three places, in every order: all cuts of a line as one
/// transaction, or each as one.
fn histories(globex: &str) -> Vec<Vec<String>> {
    let mut histories = Vec::new();
    for order in ORDERS {
        let mut choices: Vec<Vec<usize>> = vec![Vec::new()];
        for level in order {
            let kinds = 0..cuts(0, globex)[*level].len();
            let longer = |chosen: &Vec<usize>| {
                kinds.clone().map(|kind| [chosen.as_slice(), &[kind]].concat()).collect::<Vec<_>>()
            };
            choices = choices.iter().flat_map(longer).collect();
        }
        for chosen in choices {
            let n = histories.len();
            let cut = |(level, kind): (&usize, &usize)| cuts(n, globex)[*level][*kind].clone();
            histories.push(order.iter().zip(&chosen).map(cut).collect());
        }
    }
    histories
}

/// Each tenant's destinations have the lines, and then all ways are cut while no daemon runs. With
/// batches of one change, each tick sees the other cuts before they are sequenced; with large ones
/// they are in one batch. All three tests fail if only live rows are looked up. The first fails
/// without `unsequenced`, and without `handed_on` (crates/mapping/src/compose/postgres/look_up.rs).
async fn cut(batch_rows: u32, together: bool) {
    let world = prepare(plan().setting("/sequencer/batch_rows", batch_rows)).await;
    let histories = histories(world.id("globex"));
    world
        .source
        .execute(&format!(
            "insert into customer select n, '{}' from generate_series(0, {count}) n;
             insert into invoice select n, n from generate_series(0, {count}) n;
             insert into line select n, n, n from generate_series(0, {count}) n;
             insert into customer values (100000, 'elsewhere');
             insert into invoice values (100000, 100000)",
            world.id("acme"),
            count = histories.len() - 1
        ))
        .await;
    let daemon = world.daemon().await;
    world.wait_in_step_within(PATIENCE_FOR_SMALL_BATCHES).await;
    daemon.stop().await;
    for history in &histories {
        match together {
            true => world.source.execute(&history.concat()).await,
            false => {
                for statement in history {
                    world.source.execute(statement).await;
                }
            }
        }
    }
    let daemon = world.daemon().await;
    world.wait_in_step_within(PATIENCE_FOR_SMALL_BATCHES).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

#[tokio::test]
async fn ways_cut_at_several_places_leave_the_old_tenant_one_change_a_tick() {
    cut(1, false).await;
}

#[tokio::test]
async fn ways_cut_at_several_places_leave_the_old_tenant_in_one_tick() {
    cut(10_000, true).await;
}

#[tokio::test]
async fn ways_cut_at_several_places_leave_the_old_tenant_with_some_changes_a_tick() {
    cut(4, true).await;
}

/// The customer's change is in a tick, and the rows below it are cut while that tick runs.
#[tokio::test]
async fn ways_cut_while_a_tick_runs_leave_the_old_tenant() {
    let world = prepare(plan()).await;
    let (acme_id, globex) = (world.id("acme").to_owned(), world.id("globex").to_owned());
    world
        .source
        .execute(&format!(
            "insert into customer select n, '{acme_id}' from generate_series(1, 4) n;
             insert into invoice select n, n from generate_series(1, 4) n;
             insert into line select n, n, n from generate_series(1, 4) n"
        ))
        .await;
    let daemon = world.daemon().await;
    check(&world).await;
    let pairs = [
        (
            format!("update customer set org = '{globex}' where id = 1"),
            "update invoice set customer_id = 9 where id = 1",
        ),
        (
            "update invoice set customer_id = 9 where id = 2".to_owned(),
            "delete from line where id = 2",
        ),
        (
            "update invoice set customer_id = 9 where id = 3".to_owned(),
            "delete from customer where id = 3",
        ),
        (
            "delete from customer where id = 4".to_owned(),
            "delete from invoice where id = 4; delete from line where id = 4",
        ),
    ];
    for (first, second) in pairs {
        let before = daemon.failpoint_count("sequencer.after_stamp");
        daemon.set_failpoint("sequencer.after_stamp", "pause").await;
        world.source.execute(&first).await;
        daemon.wait_at_failpoint("sequencer.after_stamp", before + 1).await;
        world.source.execute(second).await;
        daemon.clear_failpoint("sequencer.after_stamp").await;
        check(&world).await;
    }
    assert_eq!(acme(&world).await, "");
    daemon.stop().await;
}

/// More lines than a tick expands a change to, over several invoices: the customer's old tenant
/// loses all of them, also those whose invoice is handed on between two pages.
#[tokio::test]
async fn a_customer_with_more_lines_than_a_page_moves_with_all_of_them() {
    let world = prepare(plan()).await;
    let globex = world.id("globex").to_owned();
    world
        .source
        .execute(&format!(
            "insert into customer values (1, '{}'), (2, 'elsewhere');
             insert into invoice select n, 1 from generate_series(0, 2) n;
             insert into line select n, n % 3, n from generate_series(1, 25000) n",
            world.id("acme")
        ))
        .await;
    let daemon = world.daemon().await;
    check(&world).await;
    daemon.set_failpoint("sequencer.before_commit", "pause").await;
    world.source.execute(&format!("update customer set org = '{globex}' where id = 1")).await;
    daemon.wait_at_failpoint("sequencer.before_commit", 1).await;
    world.source.execute("update invoice set customer_id = 2 where id = 1; delete from line where invoice_id = 2").await;
    daemon.clear_failpoint("sequencer.before_commit").await;
    check(&world).await;
    assert_eq!(acme(&world).await, "");
    let moved = "select count(*) from lines";
    assert_eq!(world.tenant("globex").destination.query_text(moved).await, "8333");
    daemon.stop().await;
}

/// Two mappings of one table find their tenants in different ways. The test fails if the changes
/// of a table are resolved by one look-up only.
#[tokio::test]
async fn two_mappings_of_a_table_look_up_their_tenants_in_different_ways() {
    let by_note = LINES
        .replace("column: org, match: { id: customer_id }", "column: org, match: { name: note }")
        .replace("c.id = i.customer_id", "c.name = i.note")
        .replace("table: lines", "table: noted_lines");
    let world = prepare(plan().mappings(&[("lines", LINES), ("noted_lines", &by_note)])).await;
    let (acme_id, globex) = (world.id("acme").to_owned(), world.id("globex").to_owned());
    let daemon = world.daemon().await;
    let steps = [
        format!(
            "insert into customer values (1, '{acme_id}', 'a'), (2, '{globex}', 'g');
             insert into invoice values (1, 1, 'g'), (2, 2, 'a')"
        ),
        "insert into line values (1, 1, 1), (2, 2, 2)".to_owned(),
        "update line set amount = 5".to_owned(),
        "update line set invoice_id = 1".to_owned(),
        "update invoice set customer_id = 2, note = 'a'".to_owned(),
        "delete from line where id = 1; delete from invoice".to_owned(),
    ];
    for sql in steps {
        world.source.execute(&sql).await;
        check(&world).await;
    }
    daemon.stop().await;
}

/// A second mapping of the table names its tenant by an expression, and the expression fails for a
/// changed row. Then every tenant looks at the row again, and the copy loses it. The test fails
/// where a change without a tenant always waits for the look-up: the copy kept the row.
#[tokio::test]
async fn an_expression_that_fails_beside_a_looked_up_tenant_concerns_every_tenant() {
    const VALUED: &str = "\
source: { table: public.line, tenant: \"case when 100 / source.amount is not null then org end\" }
query: select org as tenant_id, id, amount from public.line where amount <> 0
target: { table: valued_lines }
";
    let world = plan().mappings(&[("lines", LINES), ("valued_lines", VALUED)]).await;
    world.source.execute(&format!("{TABLES} alter table line add org text")).await;
    world.succeed(&["init"]).await;
    let (acme_id, globex) = (world.id("acme").to_owned(), world.id("globex").to_owned());
    let daemon = world.daemon().await;
    for sql in [
        &format!(
            "insert into customer values (1, '{globex}', 'g'); insert into invoice values (1, 1, 'g');
             insert into line select n, 1, 5, '{acme_id}' from generate_series(1, 3) n"
        ),
        "update line set amount = 0 where id = 1",
        "update line set amount = 0 where id > 1",
        "update line set amount = 2",
        "delete from line",
    ] {
        world.source.execute(sql).await;
        check(&world).await;
    }
    daemon.stop().await;
}

/// A daemon dies at each place of a tick, and the next one finds every way that was cut.
#[tokio::test]
async fn a_daemon_that_dies_in_a_tick_loses_no_way() {
    let world = prepare(plan().setting("/poller/lease", "1s")).await;
    world.allow("*");
    let globex = world.id("globex").to_owned();
    world
        .source
        .execute(&format!(
            "insert into customer select n, '{}' from generate_series(1, 20) n;
             insert into invoice select n, n from generate_series(1, 20) n;
             insert into line select n, n, n from generate_series(1, 20) n",
            world.id("acme")
        ))
        .await;
    let daemon = world.daemon().await;
    check(&world).await;
    daemon.stop().await;
    let points = ["sequencer.after_lock", "sequencer.after_stamp", "sequencer.before_commit"];
    for (round, point) in points.into_iter().enumerate() {
        world
            .source
            .execute(&format!(
                "update customer set org = '{globex}' where id % 4 = {round};
                 update invoice set customer_id = 100000 where id % 4 = {round} and id > 10;
                 delete from line where id % 8 = {round}"
            ))
            .await;
        let mut killed = world.spawn_daemon_with_failpoints(&[(point, "abort")]);
        killed.wait_exit(PATIENCE).await;
        let daemon = world.daemon().await;
        check(&world).await;
        daemon.stop().await;
    }
}
