//! A source that was restored: its receivers know rows that it has lost.

use offtake_tests::receiver::Receiver;
use offtake_tests::{PATIENCE, World};
use serde_json::json;

use super::told::{daemon_with_webhooks, insert_user};

/// An older data folder is started as a standby and promoted, as after a restore. The receiver is
/// told that what it knows may be gone, and then every row.
#[tokio::test]
async fn a_restored_source_is_told_as_a_new_epoch_with_every_row() {
    let mut world = World::with_tenants(["acme"]).private_source().await;
    world.fill(10).await;
    // A source that is down or read-only causes many kinds of warnings.
    world.allow("*");
    let receiver = Receiver::start().await;
    world.add_webhook("acme", &receiver, json!({ "mappings": ["users"], "backfill": true }));
    world.configure(|configuration| configuration["destinations"]["static"] = json!([]));
    let daemon = daemon_with_webhooks(&world).await;
    receiver.wait_event("users.backfilled").await;
    world.wait_webhooks_told(PATIENCE).await;
    daemon.stop().await;
    world.back_up_source().await;
    let daemon = world.daemon().await;
    insert_user(&world, "lost").await;
    world.source.execute("update project_user set display_name = display_name || ', lost'").await;
    world.wait_webhooks_told(PATIENCE).await;
    receiver.assert_equal(&world, "acme", &["users"]).await;
    let before = receiver.events().last().unwrap().1["epoch"].clone();
    daemon.stop().await;
    world.restore_source().await;
    // These numbers were given before, to the changes that are lost.
    insert_user(&world, "new").await;
    receiver.forget_requests();
    let daemon = world.daemon().await;
    let event = receiver.wait_event("users.resync").await;
    assert_eq!(event["reason"], "epoch");
    assert_ne!(event["epoch"], before);
    receiver.wait_event("users.backfilled").await;
    world.wait_webhooks_told(PATIENCE).await;
    receiver.assert_equal(&world, "acme", &["users"]).await;
    receiver.assert_content();
    // Changes go on in the new epoch.
    insert_user(&world, "later").await;
    world.wait_webhooks_told(PATIENCE).await;
    receiver.assert_equal(&world, "acme", &["users"]).await;
    daemon.stop().await;
}
