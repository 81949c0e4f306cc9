//! Something at the destination that changes or drops what is written, and rows that are in the way
//! of a first copy.

use offtake_tests::oracle;

use crate::{verify, wait_there, world, write};

const ITEMS: &str = "
source: { table: public.item, tenant: org }
query: select org as tenant_id, id, label from public.item
target: { table: items }
";

const SETUP: &str = "create table item (org text, id int, label text, primary key (org, id));
     insert into item select '{acme}', n, 'label ' || n from generate_series(1, 300) n";

/// Each meddles with row 7 alone, also among hundreds that one batch writes: with what is counted
/// and, the first, without changing the count.
const MEDDLERS: [(&str, &str); 3] = [
    (
        "create function meddle() returns trigger language plpgsql as
           $$begin if new.id = 7 then new.label := 'meddled'; end if; return new; end$$;
         create trigger meddle before insert or update on items for each row execute function meddle()",
        "drop function meddle cascade",
    ),
    (
        "create function meddle() returns trigger language plpgsql as
           $$begin if new.id = 7 then return null; end if; return new; end$$;
         create trigger meddle before insert or update on items for each row execute function meddle()",
        "drop function meddle cascade",
    ),
    (
        "create function meddle() returns trigger language plpgsql as
           $$begin update items set label = 'meddled' where id = 7 and label <> 'meddled'; return null; end$$;
         create trigger meddle after insert or update on items for each statement when (pg_trigger_depth() = 0) execute function meddle()",
        "drop function meddle cascade",
    ),
];

/// Fails when batches of more than a few rows are only counted: the first and the third trigger
/// then make a wrong copy that the status calls in sync.
#[tokio::test]
async fn what_a_trigger_changes_is_told_also_in_a_large_batch() {
    let world = world(&[("items", ITEMS)], SETUP).await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    for (round, (meddler, remedy)) in MEDDLERS.into_iter().enumerate() {
        there.execute(meddler).await;
        write(&world, &format!("update item set label = 'round {round} ' || id")).await;
        let told = ["1 rows are not in", "as they were written", "a trigger"];
        world.wait_told(&daemon, "acme", "blocked", &told).await;
        there.execute(remedy).await;
        world.wait_told(&daemon, "acme", "in_sync", &[]).await;
        wait_there(&world, "select label from items where id = 7", &format!("round {round} 7"))
            .await;
        oracle::assert_equal(&world).await;
    }
    daemon.stop().await;
}

/// The session has written one row before, so the next one is sent behind the lock that tells of the
/// trigger. Fails where that row stays.
#[tokio::test]
async fn what_a_new_trigger_changes_is_told_in_a_batch_of_one_row() {
    let world = world(&[("items", ITEMS)], SETUP).await;
    world.allow("mapping_blocked");
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    for (round, (meddler, remedy)) in MEDDLERS.into_iter().enumerate() {
        for n in 0..3 {
            write(&world, &format!("update item set label = 'warm {round} {n}' where id = 7"))
                .await;
            world.wait_in_step().await;
        }
        there.execute(meddler).await;
        write(&world, &format!("update item set label = 'round {round}' where id = 7")).await;
        let told = ["1 rows are not in", "as they were written", "a trigger"];
        world.wait_told(&daemon, "acme", "blocked", &told).await;
        there.execute(remedy).await;
        world.wait_told(&daemon, "acme", "in_sync", &[]).await;
        wait_there(&world, "select label from items where id = 7", &format!("round {round}")).await;
        oracle::assert_equal(&world).await;
    }
    daemon.stop().await;
}

/// A trigger may throw away what the session has prepared. Fails, by a logged failure of the
/// destination, where the frame's statements stay prepared beside a trigger.
#[tokio::test]
async fn a_trigger_that_deallocates_statements_breaks_no_batch() {
    let world = world(&[("items", ITEMS)], SETUP).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    for round in 0..3 {
        if round == 1 {
            there
                .execute(
                    "create function deallocate() returns trigger language plpgsql as
                       $$begin execute 'deallocate all'; return new; end$$;
                     create trigger deallocate before insert or update on items for each row execute function deallocate()",
                )
                .await;
        }
        if round == 2 {
            there.execute("drop function deallocate cascade").await;
        }
        for n in 1..=3 {
            write(&world, &format!("update item set label = 'round {round} {n}' where id = {n}"))
                .await;
            world.wait_in_step().await;
        }
    }
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A first copy goes into the table itself where its range is empty. A table that is not: its rows
/// are replaced, and those that the source does not have go. And a row that is refused in an empty
/// range is found among the others.
#[tokio::test]
async fn a_copy_into_a_range_that_is_not_empty_replaces_what_is_there() {
    let world = world(&[("items", ITEMS)], SETUP).await;
    for event in ["rows_quarantined", "mapping_blocked", "table_replaced"] {
        world.allow(event);
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    write(&world, "delete from item where id = 30").await;
    world.wait_in_step().await;
    // Rows that only the copy has, before, among and behind the source's: beside rows that are in
    // the way of a plain COPY, and without any that is.
    for before in ["update items set label = 'other' where id = 9", "delete from items"] {
        there
            .execute(&format!(
                "{before}; insert into items select n, 'surplus' from unnest('{{-5, 30, 1000}}'::int[]) n"
            ))
            .await;
        world.succeed(&["resync", "--tenant", world.id("acme")]).await;
        let left =
            "select count(*), count(*) filter (where label in ('surplus', 'other')) from items";
        wait_there(&world, left, "299|0").await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
        assert_eq!(verify(&world).await.0, Some(0));
    }
    // Now the range is empty, and one row of it is refused.
    there.execute("truncate items; alter table items add check (id <> 40)").await;
    world.succeed(&["resync", "--tenant", world.id("acme")]).await;
    wait_there(&world, "select count(*) from items", "298").await;
    crate::wait_quarantined(&world, "40 23514").await;
    there.execute("alter table items drop constraint items_id_check").await;
    world.succeed(&["quarantine", "retry", "--tenant", world.id("acme")]).await;
    wait_there(&world, "select count(*) from items", "299").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
