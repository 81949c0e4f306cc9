//! How a run ends: each exit code, and what is done when it comes.

use offtake_tests::{PATIENCE, until};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Copying, Ended, KINDS, Kind, orders};

/// A source that is written to while it is copied: what changed behind the copy's back is found and
/// copied again, and rows that are gone are deleted.
#[tokio::test]
async fn what_changed_meanwhile_is_found_and_copied_again() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(5_000)).await;
        copying.ends(75, "--table orders --limit-rows 4000 --batch-rows 1000").await;
        copying
            .source
            .execute(
                "update orders set price = 0 where id = 70; delete from orders where id = 77; \
                 insert into orders (id, customer) values (8, 'late')",
            )
            .await;
        let ended = copying.ends(0, "--table orders").await;
        let compared = &ended.table()["compared"];
        assert_eq!((&compared["equal"], &compared["repaired"]), (&true.into(), &3.into()));
        copying
            .assert_same("select id, customer, price from orders where id < 100 order by id")
            .await;
    }
}

/// A row that never rests cannot be proved equal: 3, with its key and with what to do instead.
#[tokio::test]
async fn a_source_that_never_rests_ends_with_3() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(500)).await;
        copying.ends(0, "--table orders").await;
        let source = copying.source.connect().await;
        let never_rests = async {
            loop {
                source
                    .batch_execute("update orders set price = price + 1 where id = 70")
                    .await
                    .unwrap();
            }
        };
        // A busy machine may let the writer rest for the whole of a comparison.
        let until_it_is_met = async {
            for _ in 0..5 {
                let ended = copying.run("--table orders").await;
                if ended.code != 0 {
                    return ended;
                }
            }
            panic!("five times, nothing was written while both sides were compared")
        };
        let ended = tokio::select! {
            ended = until_it_is_met => ended,
            () = never_rests => unreachable!("it goes on for ever"),
        };
        assert_eq!(ended.code, 3, "{}{}", ended.told, ended.complained);
        let compared = &ended.table()["compared"];
        let counted =
            compared["unsettled"].as_u64().unwrap() + compared["different"].as_u64().unwrap();
        assert_eq!((counted, &compared["equal"]), (1, &false.into()), "{compared}");
        // What it is then is nothing old.
        copying.ends(0, "--table orders").await;
        copying.assert_same("select price from orders where id = 70").await;
    }
}

/// What changes rows behind the copy's back is named.
#[tokio::test]
async fn a_trigger_that_changes_rows_ends_with_4() {
    let copying = Copying::new(Kind::Postgres, &orders(50)).await;
    copying.ends(0, "--table orders").await;
    copying
        .write_there(
            "create function meddle() returns trigger language plpgsql as \
             'begin new.customer := ''meddled''; return new; end';
             create trigger meddle before insert or update on orders for each row \
             execute function meddle(); update orders set price = 1 where id = 70",
        )
        .await;
    let ended = copying.ends(4, "--table orders").await;
    assert!(ended.told.contains("a trigger"), "{}", ended.told);
}

/// A chunk with a row that the destination refuses fails; the others are done, and the next run
/// tries the failed one first.
#[tokio::test]
async fn a_refused_row_fails_its_chunk_only_and_ends_with_4() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(1_000)).await;
        copying.ends(0, "--table orders --setup").await;
        refuse(&copying, kind).await;
        let arguments = "--table orders --chunk-rows 200 --batch-rows 50";
        let ended = copying.ends(4, arguments).await;
        let messages = ended.table()["messages"].to_string();
        assert!(messages.contains("chunk 1 failed") && messages.contains("70"), "{messages}");
        let of_others = "select count(*) from orders where id > 1400";
        copying.assert_same(of_others).await;
        let failed = copying.ends(4, "--failed --json").await.told;
        assert!(failed.contains("70") && failed.contains(r#""table":"orders""#), "{failed}");
        copying.source.execute(MEND).await;
        let ended = copying.ends(0, arguments).await;
        assert_eq!(ended.events("batch")[0]["chunk"], 1, "the failed one is first");
        copying.assert_same("select count(*), min(customer) from orders").await;
        copying.ends(0, "--failed").await;
    }
}

/// What makes the row one that the destination takes, of either kind.
const MEND: &str = "update orders set id = -70 where id = 7; \
                    update orders set customer = 'fine' where id = 70";

/// The destination does not take the row with the key 70.
async fn refuse(copying: &Copying, kind: Kind) {
    match kind {
        Kind::Postgres => {
            let check = "alter table orders add check (customer <> 'customer 10' or id <> 70)";
            copying.write_there(check).await;
        }
        // A constraint that a file can be given later: 7 is there before 70.
        Kind::File => {
            let unique = "create unique index no_second on orders (id > 0) where id in (7, 70)";
            copying.write_there(unique).await;
        }
    }
}

/// With `skip`, the row is left out and listed, and everything else is there and equal.
#[tokio::test]
async fn a_row_that_is_skipped_is_listed_and_arrives_when_it_may() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(1_000)).await;
        copying.ends(0, "--table orders --setup").await;
        refuse(&copying, kind).await;
        let ended = copying.ends(4, "--table orders --on-row-error skip").await;
        let table = ended.table();
        assert_eq!((&table["skipped"], &table["failed_chunks"]), (&1.into(), &0.into()));
        assert_eq!(table["compared"]["equal"], true, "nothing else differs: {table}");
        assert_eq!(
            copying.there("select mapping, row_key from _offtake_skipped").await,
            "orders|[\"70\"]"
        );
        assert_eq!(copying.there("select count(*) from orders").await, "999");
        copying.source.execute(MEND).await;
        let ended = copying.ends(0, "--table orders --on-row-error skip").await;
        assert_eq!(ended.table()["skipped"], 0);
        assert_eq!(copying.there("select count(*) from _offtake_skipped").await, "0");
        copying.assert_same("select count(*), min(id) from orders").await;
    }
}

/// The time is over: 75, and the same command goes on. A signal lets the batch end: 130.
#[tokio::test]
async fn time_and_signals_stop_between_batches() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(20_000)).await;
        let slowly = "--table orders --batch-rows 100 --rate 10/s";
        let ended = copying.ends(75, &format!("{slowly} --for 1s")).await;
        let first = ended.table()["copied"].as_u64().unwrap();
        assert!(first < 20_000, "{first}");
        let child = copying.spawn(slowly);
        let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        until("it goes on", PATIENCE, async || {
            let done =
                copying.there("select sum(records_processed) from migration_checkpoints").await;
            if done.parse::<u64>().unwrap_or(0) > first { Ok(()) } else { Err(done) }
        })
        .await;
        kill_process(pid, Signal::INT).unwrap();
        let ended = Ended::of(child).await;
        assert_eq!(ended.code, 130, "{}{}", ended.told, ended.complained);
        let second = ended.table()["copied"].as_u64().unwrap();
        let held = "select count(*) from migration_checkpoints where lease_until is not null";
        assert_eq!(copying.there(held).await, "0", "the lease is given back");
        let rest = copying.ends(0, "--table orders").await.table();
        assert_eq!(rest["copied"].as_u64().unwrap(), 20_000 - first - second);
    }
}
