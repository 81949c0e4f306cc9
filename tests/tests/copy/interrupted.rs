//! A copy that is killed, cut off or overtaken goes on where it was: no row is lost, none is there
//! twice, and no page costs more than the first one.

use std::time::Duration;

use offtake_tests::clusters::Clusters;
use offtake_tests::proxy::{Cut, Proxy};
use offtake_tests::{PATIENCE, until};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Copying, Ended, KINDS, Kind, orders};

/// The checkpoint's rows that are done so far; nothing while there is no such table.
async fn done(copying: &Copying) -> u64 {
    const DONE: &str = "select coalesce(sum(records_processed), 0) from migration_checkpoints";
    let told = match &copying.database {
        Some(database) => database.try_query_text(DONE).await,
        None => copying.file.try_query_text(DONE),
    };
    told.ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Runs the copy until more rows are done than before, and kills it there.
async fn killed(copying: &Copying, arguments: &str, more: u64) {
    let before = done(copying).await;
    let mut child = copying.spawn(arguments);
    until("rows are copied", PATIENCE, async || match done(copying).await {
        now if now >= before + more => Ok(()),
        now => Err(format!("{now} rows are done")),
    })
    .await;
    child.kill().await.unwrap();
    assert!(done(copying).await < 200_000, "it was killed before its end");
}

/// Breaks a connection after every few batches, each time at another message: more than a twentieth
/// of the calls fail.
async fn break_now_and_then(copying: &Copying, source: &Proxy, destination: Option<&Proxy>) {
    let mut faults =
        vec![(source, Cut::after_statement("copy (")), (source, Cut::before_statement("copy ("))];
    let of_destination =
        [Cut::before_reply("COMMIT"), Cut::before_statement("last_key"), Cut::after_reply("COPY")];
    if let Some(proxy) = destination {
        faults.extend(of_destination.map(|cut| (proxy, cut)));
    }
    for (proxy, cut) in faults.iter().cycle() {
        let before = done(copying).await;
        until("it goes on", PATIENCE, async || match done(copying).await {
            now if now > before + 8_000 => Ok(()),
            now => Err(format!("{now} rows are done")),
        })
        .await;
        proxy.arm(cut.clone()).wait().await;
    }
}

async fn is_exact_after_kills_and_faults(kind: Kind) {
    let mut copying = Copying::new(kind, &orders(200_000)).await;
    let source = Proxy::before(&copying.source.url());
    copying.from = Some(source.url(&copying.source.url()));
    let destination = copying.database.as_ref().map(|database| {
        let proxy = Proxy::before(&database.url());
        (proxy.url(&database.url()), proxy)
    });
    copying.to = destination.as_ref().map(|(url, _)| url.clone());
    // So slow that the run goes on for seconds after the test has seen how far it is.
    let arguments = "--table orders --batch-rows 4000 --rate 6/s --attempts 20";
    for _ in 0..3 {
        killed(&copying, arguments, 20_000).await;
    }
    let proxy = destination.as_ref().map(|(_, proxy)| proxy);
    let faults = break_now_and_then(&copying, &source, proxy);
    let ended = tokio::select! {
        ended = copying.ends(0, arguments) => ended,
        () = faults => unreachable!("they go on for ever"),
    };
    let table = ended.table();
    assert!(table["retries"].as_u64().unwrap() > 0, "no fault was met: {table}");
    assert!(table["copied"].as_u64().unwrap() < 180_000, "it went on where it was: {table}");
    assert_eq!(table["compared"]["equal"], true, "{table}");
    copying.assert_same("select count(*), count(distinct id), min(id), max(id) from orders").await;
    // Every row once: no checkpoint counts a batch twice, whatever was killed.
    assert_eq!(done(&copying).await, 200_000);
    let open = "select count(*) from migration_checkpoints where status <> 'completed' or lease_until is not null";
    assert_eq!(copying.there(open).await, "0");
    copying
        .assert_same("select id, customer, price from orders where id % 997 = 0 order by id")
        .await;
}

#[tokio::test]
async fn a_copy_killed_again_and_again_under_faults_is_exact_in_postgres() {
    is_exact_after_kills_and_faults(Kind::Postgres).await;
}

#[tokio::test]
async fn a_copy_killed_again_and_again_under_faults_is_exact_in_a_file() {
    is_exact_after_kills_and_faults(Kind::File).await;
}

/// Tables of the other shape: a composite key with a text in it.
#[tokio::test]
async fn a_table_of_six_columns_with_a_key_of_two_goes_on_after_a_kill() {
    for kind in KINDS {
        let table =
            "create table parts (team text, number int, name text, weight float8, raw bytea, \
                     seen timestamptz, primary key (team, number));
                     insert into parts select 'Team ' || n % 300, n, 'part ' || n, n / 3.0, \
                     decode(lpad(to_hex(n), 8, '0'), 'hex'), now() from generate_series(1, 60000) n;
                     create index on parts ((team::text) collate \"C\", number); analyze parts";
        let copying = Copying::new(kind, table).await;
        let arguments = "--table parts --batch-rows 1000 --chunk-rows 7000";
        killed(&copying, arguments, 5_000).await;
        let ended = copying.ends(0, arguments).await;
        assert_eq!(ended.table()["compared"]["rows"], 60_000);
        copying.assert_same("select count(*), count(distinct number) from parts").await;
        assert_eq!(done(&copying).await, 60_000);
    }
}

/// Each page is found by its key: what the source reads is what it gives, and no page is sought by
/// counting rows.
#[tokio::test]
async fn the_last_page_costs_what_the_first_one_costs() {
    let copying = Copying::new(Kind::File, &orders(50_000)).await;
    let read = "select coalesce(seq_scan, 0), coalesce(idx_tup_fetch, 0) from pg_stat_user_tables where relname = 'orders'";
    let keys =
        "select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes where relname = 'orders'";
    // Keys alone are then read from the index.
    copying.source.execute("vacuum orders").await;
    let before = copying.source.query_text(read).await;
    let (scans, _) = before.split_once('|').unwrap();
    copying.ends(0, "--table orders --batch-rows 500 --chunk-rows 5000 --no-verify").await;
    // A server tells its statistics when a session ends, or a moment later.
    until("the statistics have arrived", PATIENCE, async || {
        let told = copying.source.query_text(read).await;
        let (now, fetched) = told.split_once('|').unwrap();
        let fetched: u64 = fetched.parse().unwrap();
        assert_eq!(now, scans, "the table was scanned");
        // Every row once, and one more for each page's end.
        assert!(fetched <= 51_000, "{fetched} rows were read");
        if fetched >= 50_000 { Ok(()) } else { Err(told) }
    })
    .await;
    // The keys of rows, and of chunks once more to find their ends.
    let keys: u64 = copying.source.query_text(keys).await.parse().unwrap();
    assert!(keys <= 110_000, "{keys} keys were read for 50 000 rows");
}

/// Two batches are in memory at a time, and no table.
#[tokio::test]
async fn a_table_larger_than_the_memory_it_may_take_is_copied() {
    let table = "create table letters (id int primary key, body text);
                 alter table letters alter column body set storage plain;
                 insert into letters select n, repeat(md5(n::text), 60) from generate_series(1, 70000) n";
    for kind in KINDS {
        let copying = Copying::new(kind, table).await;
        let child = copying.spawn("--table letters --no-verify");
        let status = format!("/proc/{}/status", child.id().unwrap());
        let most = tokio::spawn(async move {
            let mut most = 0;
            // Until the process is gone.
            while let Ok(text) = std::fs::read_to_string(&status) {
                let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let Some(kilobytes) = line.and_then(|line| line.split_whitespace().next()) else {
                    break;
                };
                most = kilobytes.parse::<u64>().unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            most
        });
        let ended = Ended::of(child).await;
        assert_eq!(ended.code, 0, "{}{}", ended.told, ended.complained);
        copying.assert_same("select count(*), sum(length(body)) from letters").await;
        let most = most.await.unwrap();
        assert!((1..100_000).contains(&most), "{kind:?}: {most} kB for 134 MB of rows");
    }
}

/// One runner per table: a second one says who the first is, and ends.
#[tokio::test]
async fn a_second_runner_says_who_the_first_one_is() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(5_000)).await;
        let mut first = copying.spawn("--table orders --batch-rows 10 --rate 4/s");
        until("the first one works", PATIENCE, async || match done(&copying).await {
            0 => Err("no row is done".to_owned()),
            _ => Ok(()),
        })
        .await;
        let held = copying.ends(1, "--table orders").await.complained;
        let process = first.id().unwrap().to_string();
        assert!(held.contains("another runner copies this") && held.contains(&process), "{held}");
        first.kill().await.unwrap();
        // A dead one is taken over without a command.
        copying.ends(0, "--table orders").await;
    }
}

/// No transaction of a runner is open there.
async fn idle(copying: &Copying) -> bool {
    const BUSY: &str = "select count(*) from pg_stat_activity where datname = current_database() \
                        and application_name = 'offtake copy' and state <> 'idle'";
    match &copying.database {
        Some(database) => database.query_text(BUSY).await == "0",
        None => {
            let file = copying.file.connect();
            file.busy_timeout(Duration::ZERO).unwrap();
            file.execute_batch("begin immediate; rollback").is_ok()
        }
    }
}

/// A runner that goes on late writes nothing that it had read before another one took over.
#[tokio::test]
async fn a_runner_that_was_overtaken_writes_nothing_it_had_read() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(20_000)).await;
        let late = copying.spawn("--table orders --batch-rows 1000 --rate 8/s");
        until("it works", PATIENCE, async || match done(&copying).await {
            rows if rows < 2_000 => Err(format!("{rows} rows are done")),
            _ => Ok(()),
        })
        .await;
        let pid = Pid::from_raw(late.id().unwrap().try_into().unwrap()).unwrap();
        until("it stands between two batches", PATIENCE, async || {
            kill_process(pid, Signal::STOP).unwrap();
            if idle(&copying).await {
                return Ok(());
            }
            kill_process(pid, Signal::CONT).unwrap();
            Err("it is in the middle of one".to_owned())
        })
        .await;
        // What it has read ahead is old from now on.
        copying.source.execute("update orders set customer = 'new ' || id").await;
        copying.ends(0, "--reset-stuck").await;
        copying.ends(0, "--table orders").await;
        kill_process(pid, Signal::CONT).unwrap();
        let late = Ended::of(late).await;
        assert_eq!(late.code, 0, "{}{}", late.told, late.complained);
        assert!(
            late.events("range_copied_again").is_empty(),
            "an old row was written: {}",
            late.told
        );
        copying.assert_same("select count(*) from orders where customer = 'new ' || id").await;
    }
}

/// A source that is away for a moment is dialled again, and the chunk goes on.
#[tokio::test]
async fn what_does_not_answer_ends_with_69_and_goes_on_later() {
    let mut copying = Copying::new(Kind::File, &orders(3_000)).await;
    copying.ends(75, "--table orders --limit-rows 1000 --batch-rows 500").await;
    let proxy = Proxy::before(&copying.source.url());
    proxy.set(offtake_tests::proxy::Mode::Refuse);
    copying.from = Some(proxy.url(&copying.source.url()));
    let away = copying.ends(69, "--table orders --attempts 2").await.complained;
    assert!(away.contains("source"), "{away}");
    // Also the looks into the catalog, before the first row, are tried again.
    proxy.set(offtake_tests::proxy::Mode::CutAfter(0));
    let before = proxy.accepted();
    let waiting = copying.spawn("--table orders --attempts 60");
    until("it has tried twice", PATIENCE, async || match proxy.accepted() - before {
        tried if tried >= 2 => Ok(()),
        tried => Err(format!("{tried} times")),
    })
    .await;
    proxy.set(offtake_tests::proxy::Mode::Pass);
    let ended = Ended::of(waiting).await;
    assert_eq!(ended.code, 0, "{}{}", ended.told, ended.complained);
    assert!(!ended.events("retry").is_empty(), "{}", ended.told);
    assert_eq!(ended.table()["copied"], 2_000);

    let mut copying = Copying::new(Kind::Postgres, &orders(100)).await;
    let gone = Proxy::before(&Clusters::shared().await.destinations);
    gone.set(offtake_tests::proxy::Mode::Refuse);
    copying.to = Some(gone.url(&copying.database.as_ref().unwrap().url()));
    copying.ends(69, "--table orders --attempts 2").await;
}
