//! Copies and cursors that were wiped, edited or replaced.

use crate::{assert_noticed, world};

#[tokio::test]
async fn a_destination_that_was_wiped_or_edited_is_copied_again_in_place() {
    let world = world(&[]).await;
    world.allow("table_replaced");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    let place = "select 'items'::regclass::oid, 'names'::regclass::oid";
    let before = acme.query_text(place).await;
    for edit in [
        "truncate items",
        "delete from items; update _offtake_state set sequence_id = sequence_id + 1000000 where mapping = 'items'",
        "delete from names; delete from _offtake_state",
        "delete from names; update _offtake_state set epoch = gen_random_uuid() where mapping = 'names'",
        "delete from items; update _offtake_state set version = 'of someone else' where mapping = 'items'",
    ] {
        acme.execute(edit).await;
        assert_noticed(&world, &daemon, edit).await;
        assert_eq!(acme.query_text(place).await, before, "in place");
    }
    // Every write needs the state table, so without it the whole destination fails.
    world.allow("destination_failed");
    for edit in [
        "delete from names; drop table _offtake_state",
        "drop table items",
        "drop schema public cascade",
    ] {
        acme.execute(edit).await;
        assert_noticed(&world, &daemon, edit).await;
    }
    daemon.stop().await;
}

/// The test fails without `readable` (crates/sync/src/prepare.rs): the mapping stayed blocked by
/// the source's error. Without the coalesces in crates/sync/sql/lock_states.sql, every turn
/// panicked.
#[tokio::test]
async fn a_hostile_cursor_is_no_more_than_a_copy_again() {
    let world = world(&[]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = &world.tenant("acme").destination;
    for set in [
        "sequence_id = -1",
        "sequence_id = -9223372036854775808",
        "sequence_id = 9223372036854775807",
        "version = E'\\u0001''; drop table items; --'",
        "backfilled = false, backfill_key = '{\"id\": 1}'",
        "backfilled = false, backfill_key = '\"text\"'",
        "backfilled = false, backfill_key = '[1, null]'",
        "backfilled = false, backfill_key = 'null'",
        "backfilled = false, backfill_key = '[]'",
        "backfilled = false, backfill_key = '[\"1\", \"2\"]'",
        "backfilled = false, backfill_key = '[\"no number\"]'",
        "backfilled = false, backfill_key = '[\"1'') or true; --\"]'",
    ] {
        acme.execute(&format!(
            "delete from items; update _offtake_state set {set} where mapping = 'items'"
        ))
        .await;
        assert_noticed(&world, &daemon, set).await;
    }
    // The tenant may also alter the state table itself.
    for alter in [
        "alter sequence_id drop not null",
        "alter epoch drop not null, alter version drop not null",
        "alter sequence_id type text",
    ] {
        acme.execute(&format!("alter table _offtake_state {alter}")).await;
        acme.execute("delete from items; update _offtake_state set backfilled = false where mapping = 'items'").await;
        if let Some(column) =
            alter.strip_suffix(" drop not null").and_then(|rest| rest.rsplit(' ').next())
        {
            acme.execute(&format!("update _offtake_state set {column} = null")).await;
        }
        assert_noticed(&world, &daemon, alter).await;
    }
    daemon.stop().await;
}
