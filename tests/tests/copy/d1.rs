//! Copies into Cloudflare D1: its own engine, behind a door that loses requests and answers.

use offtake_tests::d1::{self, D1, Fault, TOKEN};
use offtake_tests::{PATIENCE, until};

use crate::{Copying, Ended, Kind, orders};

const ROWS: usize = 60_000;

/// What is there so far, as the database's file says.
fn done(d1: &D1) -> u64 {
    const DONE: &str = "select coalesce(sum(records_processed), 0) from migration_checkpoints";
    let told = d1.file(0).try_query_text(DONE);
    told.ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A source with these tables, and an empty database. None: there is no engine.
async fn prepared(tables: &str) -> Option<(Copying, D1)> {
    if !d1::installed() {
        return None;
    }
    let mut copying = Copying::new(Kind::File, tables).await;
    let d1 = D1::start(1, &copying.path("d1")).await;
    copying.to = Some(d1.url(0));
    Some((copying, d1))
}

/// The run must end with this code.
async fn ends(code: i32, (copying, d1): &(Copying, D1), arguments: &str) -> Ended {
    let endpoint = d1.settings()["endpoint"].as_str().unwrap().to_owned();
    let arguments = format!("{arguments} --d1-endpoint {endpoint}");
    let mut command = copying.command(&arguments);
    let ended = Ended::of(command.env("CLOUDFLARE_API_TOKEN", TOKEN).spawn().unwrap()).await;
    assert_eq!(ended.code, code, "{arguments}: {}{}", ended.told, ended.complained);
    assert!(!ended.told.contains(TOKEN) && !ended.complained.contains(TOKEN));
    ended
}

/// What Cloudflare bills is told with each batch and at the end, and what is left of the budget.
#[tokio::test]
async fn requests_and_rows_that_are_billed_are_told() {
    let Some(it) = prepared(&orders(2_000)).await else { return };
    let budget = "Ratelimit: \"default\";r=1100;t=300\r\n".to_owned();
    it.1.always("", Fault::Head(budget));
    let ended = ends(0, &it, "--table orders --batch-rows 500").await;
    let batches = ended.events("batch");
    let of = |name: &str| -> Vec<u64> {
        batches.iter().map(|batch| batch[name].as_u64().unwrap()).collect()
    };
    let (requests, written) = (of("requests"), of("rows_written"));
    assert!(requests.is_sorted() && written.is_sorted(), "{requests:?} {written:?}");
    // Each row, and the index of the table or its entries besides.
    assert!(*written.last().unwrap() >= 2_000, "{written:?}");
    assert!(of("requests_left").iter().all(|left| *left == 1100), "{}", ended.told);
    let table = ended.table();
    let all = it.1.seen().len() as u64;
    let told = table["requests"].as_u64().unwrap();
    // What was looked at before the table began is not the table's.
    assert!(told > *requests.last().unwrap() && told < all, "{told} of {all}: {table}");
    assert!(table["rows_read"].as_u64().unwrap() >= 2_000, "the comparison reads: {table}");
}

/// A row that is larger than D1 takes is found before the first one is copied.
#[tokio::test]
async fn validate_measures_rows_against_the_limit_of_d1() {
    let tables = "create table page (id int primary key, body text, raw bytea);
                  insert into page select n, repeat('x', 1000), '\\x00' from generate_series(1, 50) n";
    let Some(it) = prepared(tables).await else { return };
    let ended = ends(0, &it, "--table page --validate").await;
    assert!(ended.told.contains("the largest of 50 rows"), "{}", ended.told);
    for (large, small) in [
        ("body = repeat('x', 2000100)", "body = ''"),
        ("raw = decode(repeat('00', 1000100), 'hex')", "raw = ''"),
    ] {
        it.0.source.execute(&format!("update page set {large} where id = 7")).await;
        let ended = ends(78, &it, "--table page --validate").await;
        assert!(ended.told.contains("at most 2000000"), "{}", ended.told);
        ends(0, &it, "--table page --validate --on-row-error skip").await;
        // It is as it was told.
        ends(4, &it, "--table page --no-verify").await;
        it.0.source.execute(&format!("update page set {small} where id = 7")).await;
    }
    ends(0, &it, "--table page").await;
}

/// A token that is not valid, one that may not, and a database that is not there are told apart, and
/// so is an API that does not answer.
#[tokio::test]
async fn what_the_api_of_d1_refuses_is_told_apart() {
    let Some(it) = prepared(&orders(10)).await else { return };
    let problem = |code: u32, message: &str| {
        format!(
            r#"{{"success":false,"errors":[{{"code":{code},"message":"{message}"}}],"result":null}}"#
        )
    };
    for (status, body, code, says) in [
        (401, problem(10000, "Authentication error"), 78, "Authentication error"),
        (403, problem(10000, "no permission for D1"), 78, "no permission for D1"),
        (404, problem(7404, "The database does not exist"), 78, "does not exist"),
        (503, problem(0, "away"), 69, "away"),
    ] {
        it.1.always("", Fault::Answer(status, String::new(), body));
        for arguments in ["--table orders --attempts 1", "--table orders --attempts 1 --validate"] {
            let ended = ends(code, &it, arguments).await;
            let told = format!("{}{}", ended.told, ended.complained);
            assert!(told.contains(says), "{status} {arguments}: {told}");
        }
    }
    it.1.mend();
    ends(0, &it, "--table orders").await;
}

/// A token that Cloudflare refuses for a while is left alone until then, in the midst of a copy and
/// before it. That is no failed attempt; but the time of the run may be over first.
#[tokio::test]
async fn a_wait_that_cloudflare_asks_for_is_obeyed_and_not_counted() {
    let Some(it) = prepared(&orders(2_000)).await else { return };
    let limited = |seconds: u32| {
        let body =
            r#"{"success":false,"errors":[{"code":971,"message":"slow down"}],"result":null}"#;
        Fault::Answer(429, format!("Retry-After: {seconds}\r\n"), body.to_owned())
    };
    // A wait of less than ten seconds is no retry: the request itself is late.
    it.1.next("insert into \\\"orders\\\"", limited(15));
    let ended = ends(0, &it, "--table orders --batch-rows 500 --attempts 1").await;
    let retries = ended.events("retry");
    let waits: Vec<f64> =
        retries.iter().map(|retry| retry["wait_seconds"].as_f64().unwrap()).collect();
    assert!(matches!(waits[..], [wait] if (10.0..=15.0).contains(&wait)), "{}", ended.told);
    assert_eq!(ended.table()["compared"]["equal"], true);

    it.1.always("", limited(300));
    let ended = ends(75, &it, "--table orders --fresh --for 3s").await;
    assert!(ended.told.contains("limit of requests"), "{}", ended.told);
}

/// `--validate` finds a token that may not write, and an endpoint that runs statements one by one. It
/// leaves nothing there.
#[tokio::test]
async fn validate_tries_to_write_into_d1_and_leaves_nothing() {
    let Some(it) = prepared(&orders(10)).await else { return };
    let made = "select count(*) from sqlite_schema where name not like '_cf%'";
    ends(0, &it, "--table orders --validate").await;
    assert_eq!(it.1.file(0).query_text(made), "0");
    let body =
        r#"{"success":false,"errors":[{"code":10000,"message":"may only read"}],"result":null}"#;
    it.1.next("create table", Fault::Answer(403, String::new(), body.to_owned()));
    let ended = ends(78, &it, "--table orders --validate").await;
    assert!(ended.told.contains("may only read"), "{}", ended.told);
    it.1.always("", Fault::Apart);
    let ended = ends(78, &it, "--table orders --validate").await;
    assert!(ended.told.contains("does not run a batch as one transaction"), "{}", ended.told);
    assert_eq!(it.1.file(0).query_text(made), "0");
}

/// A request whose answer is lost is sent again, and does what it did before: its rows count once, and
/// it adds no second chunk.
#[tokio::test]
async fn requests_that_arrive_twice_count_once() {
    let Some(it) = prepared(&orders(2_000)).await else { return };
    for text in ["insert into \\\"orders\\\"", "'pending'", "set status = 'completed'"] {
        it.1.next(text, Fault::LoseAnswer);
        it.1.next(text, Fault::LoseAnswer);
    }
    let ended = ends(0, &it, "--table orders --batch-rows 250 --chunk-rows 500").await;
    assert_eq!(it.1.pending(), 0, "every answer was lost");
    assert_eq!(ended.table()["compared"]["equal"], true, "{}", ended.told);
    assert_eq!(done(&it.1), 2_000);
    let chunks =
        "select count(*), count(distinct coalesce(start_key, '')) from migration_checkpoints";
    let chunks = it.1.file(0).query_text(chunks);
    let (all, distinct) = chunks.split_once('|').unwrap();
    assert_eq!(all, distinct);

    // The same for whatever else is asked, from the first table to the last index.
    let Some(it) = prepared(&orders(2_000)).await else { return };
    it.1.always("", Fault::Twice);
    let ended = ends(0, &it, "--table orders --batch-rows 250 --chunk-rows 500").await;
    assert_eq!(ended.table()["compared"]["equal"], true, "{}", ended.told);
    assert_eq!(done(&it.1), 2_000);
    let indexes = "select count(*) from sqlite_schema where name = 'orders_customer'";
    assert_eq!(it.1.file(0).query_text(indexes), "1");
    it.0.source.execute("update orders set customer = 'another' where id % 3 = 0").await;
    let ended = ends(0, &it, "--table orders --fresh").await;
    assert_eq!(ended.table()["compared"]["equal"], true, "{}", ended.told);
    assert_eq!(done(&it.1), 2_000);
}

/// Killed three times, with a twentieth of all requests lost, half of them after they arrived: every
/// row is there once, and no output has the token.
#[tokio::test]
async fn a_copy_killed_again_and_again_under_faults_is_exact_in_d1() {
    if !d1::installed() {
        return;
    }
    let mut copying = Copying::new(Kind::File, &orders(ROWS)).await;
    let d1 = D1::start(1, &copying.path("d1")).await;
    copying.to = Some(d1.url(0));
    let endpoint = d1.settings()["endpoint"].as_str().unwrap().to_owned();
    let spawn = |arguments: &str| {
        let arguments = format!("--table orders --d1-endpoint {endpoint} {arguments}");
        copying.command(&arguments).env("CLOUDFLARE_API_TOKEN", TOKEN).spawn().unwrap()
    };
    d1.lose(0.05);
    for _ in 0..3 {
        let before = done(&d1);
        let mut child = spawn("--batch-rows 2000 --attempts 20");
        until("rows are copied", PATIENCE, async || match done(&d1) {
            now if now >= before + 4_000 => Ok(()),
            now => Err(format!("{now} rows are done")),
        })
        .await;
        child.kill().await.unwrap();
    }
    assert!(done(&d1) < ROWS as u64);
    let ended = Ended::of(spawn("--attempts 20")).await;
    assert_eq!(ended.code, 0, "{}{}", ended.told, ended.complained);
    assert!(!ended.told.contains(TOKEN) && !ended.complained.contains(TOKEN));
    assert_eq!(ended.table()["compared"]["equal"], true, "{}", ended.told);
    assert_eq!(done(&d1), ROWS as u64);
    let there = "select count(*), count(distinct id), min(id), max(id) from orders";
    assert_eq!(d1.file(0).query_text(there), copying.source.query_text(there).await);

    // Without the token nothing is asked.
    let arguments = format!("--table orders --d1-endpoint {endpoint}");
    let mut command = copying.command(&arguments);
    command.env_remove("CLOUDFLARE_API_TOKEN");
    let told = Ended::of(command.spawn().unwrap()).await;
    assert_eq!(told.code, 2);
    assert!(told.complained.contains("CLOUDFLARE_API_TOKEN"), "{}", told.complained);
}

/// A table that is too wide for D1 is told with the limit.
#[tokio::test]
async fn a_table_of_more_columns_than_d1_takes_is_refused() {
    let columns: Vec<_> = (0..101).map(|at| format!("c{at} int")).collect();
    let table = format!("create table wide ({}, primary key (c0))", columns.join(", "));
    let Some(it) = prepared(&table).await else { return };
    let told = ends(78, &it, "--table wide").await.complained;
    assert!(told.contains("has 101 columns") && told.contains("at most 100"), "{told}");
}
