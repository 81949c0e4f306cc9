//! Copies into Cloudflare D1: its own engine, behind a door that loses requests and answers.

use offtake_tests::d1::{self, D1, TOKEN};
use offtake_tests::{PATIENCE, until};

use crate::{Copying, Ended, Kind, orders};

const ROWS: usize = 60_000;

/// What is there so far, as the database's file says.
fn done(d1: &D1) -> u64 {
    const DONE: &str = "select coalesce(sum(records_processed), 0) from migration_checkpoints";
    let told = d1.file(0).try_query_text(DONE);
    told.ok().and_then(|text| text.parse().ok()).unwrap_or(0)
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
    if !d1::installed() {
        return;
    }
    let columns: Vec<_> = (0..101).map(|at| format!("c{at} int")).collect();
    let table = format!("create table wide ({}, primary key (c0))", columns.join(", "));
    let mut copying = Copying::new(Kind::File, &table).await;
    let d1 = D1::start(1, &copying.path("d1")).await;
    copying.to = Some(d1.url(0));
    let endpoint = d1.settings()["endpoint"].as_str().unwrap().to_owned();
    let mut command = copying.command(&format!("--table wide --d1-endpoint {endpoint}"));
    let told = Ended::of(command.env("CLOUDFLARE_API_TOKEN", TOKEN).spawn().unwrap()).await;
    assert_eq!(told.code, 78);
    assert!(told.complained.contains("has 101 columns") && told.complained.contains("at most 100"));
}
