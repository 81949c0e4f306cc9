//! What a webhook is told when rows that it knows may be gone: resync, every row, backfilled.

use offtake_tests::receiver::{Play, Receiver};
use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{PATIENCE, World};
use serde_json::json;

use super::told::{daemon_with_webhooks, insert_user, users_world};

/// The types, with repetitions as one.
fn course(receiver: &Receiver) -> Vec<String> {
    let mut kinds = receiver.kinds();
    kinds.dedup();
    kinds
}

/// Rows of the time before a webhook was registered are told if it wants them, and end with
/// `backfilled`.
#[tokio::test]
async fn a_first_backfill_tells_every_row_and_then_says_so() {
    let (world, receiver) = users_world(json!({ "backfill": true })).await;
    let daemon = daemon_with_webhooks(&world).await;
    receiver.wait_event("users.backfilled").await;
    world.wait_webhooks_told(PATIENCE).await;
    receiver.assert_equal(&world, "acme", &["users"]).await;
    let course = course(&receiver);
    assert_eq!(course.last().unwrap(), "users.backfilled", "{course:?}");
    let rows: Vec<_> =
        receiver.events().into_iter().filter(|(_, e)| e["type"] == "users.upserted").collect();
    assert!(rows.iter().all(|(_, event)| event["backfill"] == true));
    receiver.assert_content();
    daemon.stop().await;
}

/// TRUNCATE names no key, so the receiver learns what is gone from what is not named.
#[tokio::test]
async fn a_truncate_is_told_as_a_resync_with_its_reason() {
    let (world, receiver) = users_world(json!({ "backfill": true, "concurrency": 1 })).await;
    let daemon = daemon_with_webhooks(&world).await;
    world.wait_webhooks_told(PATIENCE).await;
    let ten = receiver.rows("users").len();
    assert!(ten > 3, "{ten}");
    receiver.forget_requests();
    let insert = format!(
        "begin; truncate public.project_user cascade; insert into public.project_user (tenancy_id, project_user_id, display_name) \
         values ('{}', md5('Ann')::uuid, 'Ann'); commit",
        world.id("acme")
    );
    world.source.execute(&insert).await;
    assert_eq!(receiver.wait_event("users.resync").await["reason"], "truncated");
    world.wait_webhooks_told(PATIENCE).await;
    receiver.assert_equal(&world, "acme", &["users"]).await;
    assert_eq!(receiver.rows("users").len(), 1);
    // Nothing overtakes the barrier. The log has the truncation behind the rows of its transaction,
    // so the row may be told before it too.
    let course = course(&receiver);
    let wanted = ["users.resync", "users.upserted", "users.backfilled"];
    assert!(course.ends_with(&wanted.map(str::to_owned)), "{course:?}");
    receiver.assert_content();
    daemon.stop().await;
}

#[tokio::test]
async fn without_backfill_a_resync_is_told_alone() {
    let (world, receiver) = users_world(json!({})).await;
    let daemon = daemon_with_webhooks(&world).await;
    world.source.execute("truncate public.project_user cascade").await;
    let event = receiver.wait_event("users.resync").await;
    assert_eq!(
        (&event["reason"], &event["key"], &event["data"]),
        (&json!("truncated"), &json!(null), &json!(null))
    );
    world.wait_webhooks_told(PATIENCE).await;
    assert_eq!(receiver.kinds(), ["users.resync"]);
    daemon.stop().await;
}

/// An operator may ask for the whole course again: its ids are new, so a receiver does not drop them.
#[tokio::test]
async fn a_resync_that_is_asked_for_tells_every_row_again_also_twice() {
    let (world, receiver) = users_world(json!({ "backfill": true })).await;
    let daemon = daemon_with_webhooks(&world).await;
    world.wait_webhooks_told(PATIENCE).await;
    let mut known: Vec<String> = receiver.events().into_iter().map(|(id, _)| id).collect();
    for _ in 0..2 {
        receiver.forget_requests();
        world.succeed(&["webhook", "resync", "--tenant", world.id("acme"), "--yes"]).await;
        let event = receiver.wait_event("users.resync").await;
        assert_eq!(event["reason"], "asked");
        receiver.wait_event("users.backfilled").await;
        world.wait_webhooks_told(PATIENCE).await;
        let told: Vec<String> = receiver.events().into_iter().map(|(id, _)| id).collect();
        assert!(told.iter().all(|id| !known.contains(id)), "ids of before, which receivers drop");
        known.extend(told);
        receiver.assert_equal(&world, "acme", &["users"]).await;
    }
    receiver.assert_content();
    daemon.stop().await;
}

/// Every row of a mapping that is edited is told again, and so it is where its `where` is another.
#[tokio::test]
async fn an_edited_mapping_and_another_where_are_a_resync() {
    let (mut world, receiver) = users_world(json!({ "backfill": true })).await;
    let daemon = daemon_with_webhooks(&world).await;
    world.wait_webhooks_told(PATIENCE).await;
    receiver.forget_requests();
    daemon.stop().await;
    world.change_webhook(|webhook| webhook["where"] = "display_name <> 'hidden'".into());
    insert_user(&world, "hidden").await;
    insert_user(&world, "seen").await;
    let daemon = world.daemon().await;
    assert_eq!(receiver.wait_event("users.resync").await["reason"], "mapping_changed");
    receiver.wait_event("users.backfilled").await;
    world.wait_webhooks_told(PATIENCE).await;
    let names: Vec<_> =
        receiver.rows("users").iter().map(|row| row["display_name"].clone()).collect();
    assert!(names.contains(&json!("seen")) && !names.contains(&json!("hidden")), "{names:?}");
    receiver.assert_content();
    daemon.stop().await;
}

/// Changes during a backfill, and a crash in the middle of it, lose nothing.
#[tokio::test]
async fn a_backfill_goes_on_after_a_crash_while_rows_change() {
    let workload = Workload::new(9);
    let mut world: World = Workload::plan(["acme"]).await;
    workload.prepare(&world).await;
    world.allow("*");
    let receiver = Receiver::start().await;
    receiver.play(|_| Play::OK.after(std::time::Duration::from_millis(3)));
    // So short that the lease of the daemon that is killed ends long before the test's patience.
    world.add_webhook("acme", &receiver, json!({ "backfill": true, "timeout": "5s" }));
    let mut daemon = daemon_with_webhooks(&world).await;
    receiver.wait_requests(20).await;
    daemon.kill();
    workload.run(&world, Extent::Steps(10)).await;
    let daemon = world.daemon().await;
    workload.run(&world, Extent::Steps(10)).await;
    world.wait_webhooks_told(PATIENCE).await;
    receiver.wait_equal(&world, "acme").await;
    receiver.assert_content();
    daemon.stop().await;
}
