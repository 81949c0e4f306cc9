//! Rows that print to more than a gigabyte, which no server can send (H14).
//!
//! They need some gigabytes of memory, so only `make soak` (OFFTAKE_SOAK=1) makes them. The test
//! `a_row_too_large_to_print_is_set_aside_and_the_others_arrive` has a function that says what the
//! server says of them.

use std::time::{Duration, Instant};

use offtake_tests::{World, oracle, until};

const DOCS: &str = "
source: { table: public.doc, tenant: org, key: { id: id } }
query: select org as tenant_id, id, body, more, data from public.doc
target: { table: docs }
";

const NOTES: &str = "
source: { table: public.note, tenant: org, key: { id: id } }
query: select org as tenant_id, id, body from public.note
target: { table: notes }
";

/// The server takes a second for each look at such a row, and reading a batch apart takes some.
const WITHIN: Duration = Duration::from_secs(600);

/// A value of 600 MB. As text, two of them do not fit into one row (54000).
const LONG: &str = "repeat('x', 600000000)";

/// Both columns of a row, one after the other: a row that is written at once must fit into a
/// gigabyte too.
fn fill_both(id: u32) -> String {
    format!(
        "update doc set body = {LONG} where id = {id}; update doc set more = {LONG} where id = {id}"
    )
}

/// A value of 600 MB, which prints to 1.2 GB (XX000).
const BYTES: &str = "convert_to(repeat('x', 600000000), 'UTF8')";

async fn wait(world: &World, what: &str, sql: &str, wanted: &str) {
    let began = Instant::now();
    until(what, WITHIN, async || {
        let found = match what {
            "quarantine" => world.source.try_query_text(sql).await?,
            _ => world.tenant("acme").destination.try_query_text(sql).await?,
        };
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
    eprintln!("{wanted:?} of {what} after {:.1} s", began.elapsed().as_secs_f64());
}

async fn wait_quarantined(world: &World, wanted: &str) {
    let sql = "select string_agg((row_key ->> 'id') || ' ' || sqlstate, ', ' order by (row_key ->> 'id')::int) from offtake.quarantined_row";
    wait(world, "quarantine", sql, wanted).await;
}

async fn write(world: &World, sql: &str) {
    world.source.execute(&sql.replace("{acme}", world.id("acme"))).await;
}

/// Peak memory of the daemon, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1024
}

/// One row of each kind in the initial copy, and then one among live changes. The others arrive
/// meanwhile, and so does a row of 200 MB, which can be printed. Each row leaves quarantine when it
/// was made smaller, or deleted.
#[tokio::test]
async fn a_row_of_more_than_a_gigabyte_is_set_aside_and_leaves_quarantine_when_it_shrinks() {
    if std::env::var_os("OFFTAKE_SOAK").is_none() {
        eprintln!("skipped: rows of a gigabyte take some gigabytes of memory; `make soak` runs it");
        return;
    }
    let plan = World::with_tenants(["acme"]).mappings(&[("docs", DOCS), ("notes", NOTES)]);
    // Printing such a row takes a second, and much longer where other programs have the cores.
    let world = plan.without_init().setting("/sync/statement_timeout", "10m").await;
    world.allow("rows_quarantined");
    let tables = "
        create table doc (org text, id int, body text, more text, data bytea, primary key (org, id));
        create table note (org text, id int, body text, primary key (org, id));
        insert into note select '{acme}', n, 'x' from generate_series(1, 100) n;
        insert into doc select '{acme}', n, 'x' from generate_series(1, 100) n;";
    write(&world, tables).await;
    write(&world, &fill_both(30)).await;
    write(&world, &format!("update doc set data = {BYTES} where id = 70")).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    wait(&world, "notes", "select count(*) from notes", "100").await;
    wait(&world, "docs", "select count(*) from docs", "98").await;
    wait_quarantined(&world, "30 54000, 70 XX000").await;

    write(&world, &format!("insert into doc values ('{{acme}}', 101); {}", fill_both(101))).await;
    write(&world, &format!("insert into doc values ('{{acme}}', 102, 'x', 'x', {BYTES})")).await;
    write(&world, "insert into doc values ('{acme}', 103, repeat('y', 200000000))").await;
    write(&world, "update doc set body = 'y' where id <= 10; update note set body = 'y'").await;
    wait(&world, "notes", "select count(*) from notes where body = 'y'", "100").await;
    wait(&world, "docs", "select count(*) from docs where body = 'y'", "10").await;
    wait(&world, "docs", "select octet_length(body) from docs where id = 103", "200000000").await;
    wait_quarantined(&world, "30 54000, 70 XX000, 101 54000, 102 XX000").await;
    world.wait_told(&daemon, "acme", "degraded", &["4 quarantined rows"]).await;

    write(&world, "update doc set body = 'small', more = 'small' where id in (30, 101)").await;
    write(&world, "update doc set data = 'small' where id = 70; delete from doc where id = 102")
        .await;
    wait_quarantined(&world, "").await;
    wait(&world, "docs", "select count(*), max(octet_length(body)) from docs", "102|200000000")
        .await;
    write(&world, "update doc set body = 'small' where id = 103").await;
    world.wait_in_step_within(WITHIN).await;
    oracle::assert_equal(&world).await;
    eprintln!("the daemon's peak memory: {} MiB", peak_mib(daemon.pid()));
    daemon.stop().await;
}

/// Under the default timeouts, in the initial copy and among live changes: a batch has a second
/// more for each MiB.
#[tokio::test]
async fn rows_of_600_mb_arrive_under_the_default_timeouts() {
    if std::env::var_os("OFFTAKE_SOAK").is_none() {
        eprintln!("skipped: rows of 600 MB take some gigabytes of memory; `make soak` runs it");
        return;
    }
    let world = World::with_tenants(["acme"]).mappings(&[("notes", NOTES)]).without_init().await;
    let table = "create table note (org text, id int, body text, primary key (org, id));";
    write(&world, table).await;
    write(
        &world,
        &format!("insert into note select '{{acme}}', n, {LONG} from generate_series(1, 2) n"),
    )
    .await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    let two = "select count(*) from notes where octet_length(body) = 600000000";
    wait(&world, "notes", two, "2").await;
    write(&world, &format!("insert into note values ('{{acme}}', 3, {LONG})")).await;
    wait(&world, "notes", two, "3").await;
    world.wait_in_step_within(WITHIN).await;
    eprintln!("the daemon's peak memory: {} MiB", peak_mib(daemon.pid()));
    daemon.stop().await;
}
