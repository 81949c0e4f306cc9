//! A worker that goes on late changes nothing.

use offtake_tests::oracle;

/// A worker that has read its batch goes on after another daemon has taken its work over. It finds
/// another write id, and drops the batch: the older row does not come back, also where no cursor
/// has moved.
#[tokio::test]
async fn a_late_worker_finds_another_write_id_and_drops_its_batch() {
    let world = crate::filled(
        crate::plan().setting("/poller/lease", "10m").setting("/poller/claim_limit", 1),
    )
    .await;
    let late = world.daemon().await;
    world.wait_in_step().await;
    late.set_failpoint("sync.after_read", "pause").await;
    crate::write(&world, "update item set name = 'older' where {acme} and id = 1").await;
    late.wait_at_failpoint("sync.after_read", 1).await;
    let end =
        "update offtake.outgoing_request set leased_until = now() where leased_until is not null";
    world.source.execute(end).await;
    let other = world.daemon().await;
    crate::write(&world, "update item set name = 'newer' where {acme} and id = 1").await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    let row = "select name from items where id = 1";
    assert_eq!(file.query_text(row), "newer");
    late.clear_failpoints().await;
    crate::write(&world, "update other set body = body || '+'").await;
    world.wait_in_step().await;
    assert_eq!(file.query_text(row), "newer");
    oracle::assert_equal(&world).await;
    late.stop().await;
    other.stop().await;
}
