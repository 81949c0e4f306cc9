//! Fields of the status that other programs rely on: each is present and has its type, and 64-bit
//! numbers are strings.

use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::Value;

/// A path and its type; `?` after the type: or null.
const STATUS: [(&str, &str); 26] = [
    ("/version", "text"),
    ("/epoch", "text"),
    ("/config/loaded_at", "time"),
    ("/config/error", "text?"),
    ("/fuses/0/name", "text"),
    ("/fuses/0/enabled", "boolean"),
    ("/sequencer/pending_changes", "long"),
    ("/sequencer/oldest_pending_seconds", "number?"),
    ("/sequencer/last_sequence_id", "long"),
    ("/sequencer/rows_per_second", "number?"),
    ("/poller/owed", "number"),
    ("/poller/in_flight", "number"),
    ("/poller/expired_leases", "number"),
    ("/poller/oldest_owed_seconds", "number?"),
    ("/sync/destinations/in_sync", "number"),
    ("/sync/destinations/backfilling", "number"),
    ("/sync/rows_applied_total", "long"),
    ("/sync/rows_per_second", "number?"),
    ("/mappings/0/name", "text"),
    ("/mappings/0/source_table", "text"),
    ("/mappings/0/max_sequence_id", "long?"),
    ("/mappings/0/destinations_behind", "number"),
    ("/deleted_rows/total", "long"),
    ("/deleted_rows/by_table/public.project_user", "long"),
    ("/quarantined_rows", "long"),
    ("/destinations/0/tenant", "text"),
];

const DESTINATION: [(&str, &str); 27] = [
    ("/tenant", "text"),
    ("/name", "text"),
    ("/state", "text"),
    ("/reason", "text?"),
    ("/lag_rows", "long"),
    ("/lag_seconds", "number"),
    ("/last_success_at", "time?"),
    ("/last_error", "text?"),
    ("/consecutive_failures", "number"),
    ("/next_attempt_at", "time?"),
    ("/paused", "boolean"),
    ("/paused_until", "time?"),
    ("/host", "text"),
    ("/port", "number"),
    ("/database", "text"),
    ("/user", "text"),
    ("/schema", "text"),
    ("/mappings/0/name", "text"),
    ("/mappings/0/sequence_id", "long"),
    ("/mappings/0/backlog", "long"),
    ("/mappings/0/backfill/state", "text"),
    ("/mappings/0/backfill/rows_done", "long"),
    ("/mappings/0/backfill/rows_total", "long?"),
    ("/mappings/0/backfill/percent", "number?"),
    ("/mappings/0/backfill/eta_seconds", "number?"),
    ("/mappings/0/quarantined", "long"),
    ("/mappings/0/resync_requested_at", "time?"),
];

fn assert_typed(told: &Value, fields: &[(&str, &str)]) {
    for (path, kind) in fields {
        let value = told.pointer(path).unwrap_or_else(|| panic!("{path} is not there: {told:#}"));
        if value.is_null() && kind.ends_with('?') {
            continue;
        }
        let text = value.as_str();
        let fits = match kind.trim_end_matches('?') {
            "long" => text.is_some_and(|text| text.parse::<i64>().is_ok()),
            "time" => text.is_some_and(|text| text.contains('T') && text.ends_with('Z')),
            "text" => text.is_some(),
            "boolean" => value.is_boolean(),
            _ => value.is_number(),
        };
        assert!(fits, "{path} is no {kind}: {value}");
    }
}

async fn of_acme(world: &World, daemon: &Daemon) -> Value {
    let (code, body) = daemon.get(&format!("/api/v1/destinations/{}/main", world.id("acme"))).await;
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).expect("a destination is JSON")
}

#[tokio::test]
async fn every_field_that_is_promised_is_there_with_its_type() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(10).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world
        .source
        .execute("delete from project_user where ctid in (select ctid from project_user limit 1)")
        .await;
    world.wait_in_step().await;
    let status = daemon.status().await;
    assert_typed(&status, &STATUS);
    assert_typed(&status["destinations"][0], &DESTINATION);
    assert_typed(&of_acme(&world, &daemon).await, &DESTINATION);
    let (_, body) = daemon.get("/api/v1/destinations").await;
    let page: Value = serde_json::from_str(&body).expect("a page is JSON");
    assert_typed(&page["items"][0], &DESTINATION);
    assert!(page["next"].is_null(), "{page:#}");
    daemon.stop().await;
}

/// An operator who asks for a re-copy doubts the copy. Until the re-copy is done, the status does
/// not say in sync.
#[tokio::test]
async fn a_resync_that_waits_is_told() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(10).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    // Without a daemon the request waits.
    daemon.stop().await;
    let asked =
        world.offtake(&["resync", "--tenant", world.id("acme"), "--mapping", "users"]).await;
    assert!(asked.status.success(), "{asked:?}");
    let status: Value = serde_json::from_slice(&world.offtake(&["status", "--json"]).await.stdout)
        .expect("status is JSON");
    let told = &status["destinations"][0];
    assert_eq!(
        (&told["state"], &told["reason"]),
        (&"backfilling".into(), &"mapping users waits to be copied again".into())
    );
    let waiting: Vec<_> = told["mappings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|m| m["resync_requested_at"].is_string())
        .collect();
    assert!(waiting.len() == 1 && waiting[0]["name"] == "users", "{told:#}");
    let printed = world.offtake(&["status"]).await;
    assert!(
        String::from_utf8_lossy(&printed.stdout).contains("waits to be copied again"),
        "{printed:?}"
    );
    let daemon = world.daemon().await;
    until("the copy was made", PATIENCE, async || {
        let told = of_acme(&world, &daemon).await;
        if told["state"] == "in_sync" { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    daemon.stop().await;
}

/// A new partition of the log skips millions of sequence ids.
#[tokio::test]
async fn a_rate_counts_rows_and_no_skipped_sequence_ids() {
    let world = World::with_tenants(["acme"]).await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.status().await;
    let skip = "select setval('offtake.global_sequence', last_value + 5000000) from offtake.global_sequence";
    world.source.execute(skip).await;
    world.source.execute("update project_user set display_name = 'counted'").await;
    until("the rate is told", PATIENCE, async || {
        let rate = daemon.status().await["sequencer"]["rows_per_second"].as_f64();
        match rate {
            Some(rate) if rate > 0.0 => {
                assert!(rate < 1000.0, "{rate} rows per second");
                Ok(())
            }
            rate => Err(format!("{rate:?}")),
        }
    })
    .await;
    daemon.stop().await;
}
