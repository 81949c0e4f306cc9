//! The audit keeps to its share of the source's time.

use offtake_tests::{PATIENCE, until};
use serde_json::json;

use super::slow_world;

#[tokio::test]
async fn after_each_slice_the_audit_pauses_for_as_long_as_its_share_says() {
    let world = slow_world(&["acme"], json!({ "period": "1ms", "budget": "5%" })).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let audited = async |after: String| -> String {
        until("another audit has ended", PATIENCE, async || {
            let at =
                "select coalesce(max(audited_at), '-infinity') from offtake.destination_mapping";
            match world.source.query_text(at).await {
                at if at == after => Err(at),
                at => Ok(at),
            }
        })
        .await
    };
    let first = audited("-infinity".to_owned()).await;
    let third = audited(audited(first.clone()).await).await;
    // Two pauses of at least 19 times 0.2 s lie between them.
    let apart =
        format!("select '{third}'::timestamptz - '{first}'::timestamptz >= interval '7.6 s'");
    assert_eq!(world.source.query_text(&apart).await, "t", "{first} {third}");
    // Meanwhile nothing is open: no transaction, and so no snapshot that would hold back vacuum.
    let open = "select count(*) from pg_stat_activity where datname = current_database()
                 and application_name like 'offtake%' and state like 'idle in transaction%'
                 and state_change < now() - interval '1 s'";
    assert_eq!(world.source.query_text(open).await, "0");
    daemon.stop().await;
}
