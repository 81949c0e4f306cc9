//! Fields of the status that other programs rely on: each is present and has its type, 64-bit
//! numbers are strings, and a number counts what its name says.

use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use serde_json::Value;

/// A path and its type; `?` after the type: or null.
const STATUS: [(&str, &str); 37] = [
    ("/version", "text"),
    ("/epoch", "text"),
    ("/config/loaded_at", "time"),
    ("/daemons/0/process", "text"),
    ("/daemons/0/version", "text"),
    ("/daemons/0/listen", "text"),
    ("/daemons/0/seen_at", "time"),
    ("/daemons/0/running", "boolean"),
    ("/daemons/0/this", "boolean"),
    ("/config/error", "text?"),
    ("/fuses/0/name", "text"),
    ("/fuses/0/enabled", "boolean"),
    ("/sequencer/pending_changes", "long"),
    ("/sequencer/oldest_pending_seconds", "number?"),
    ("/sequencer/last_sequence_id", "long"),
    ("/sequencer/rows_per_second", "number?"),
    ("/poller/pending_changes", "long"),
    ("/poller/oldest_pending_seconds", "number?"),
    ("/poller/owed", "number"),
    ("/poller/owed_webhooks", "number"),
    ("/poller/due", "number"),
    ("/poller/failing", "number"),
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

/// The numbers of a status and of the metrics, by path or by metric with its labels.
async fn until_numbers(what: &str, daemon: &Daemon, wanted: &[(&str, u64)]) {
    until(what, PATIENCE, async || {
        let (status, (_, metrics)) = (daemon.status().await, daemon.get("/metrics").await);
        let of_metric = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map(str::to_owned)
        };
        let of_path = |path: &str| {
            let value = status.pointer(path)?;
            value.as_str().map(str::to_owned).or_else(|| Some(value.to_string()))
        };
        for (name, wanted) in wanted {
            let found = of_path(name).or_else(|| of_metric(name)).unwrap_or_default();
            if found.parse() != Ok(*wanted) {
                return Err(format!("{name} is {found:?}, not {wanted}: {status:#}"));
            }
        }
        Ok(())
    })
    .await;
}

async fn two_tenants_in_step() -> (World, Daemon) {
    let mappings = [("users", USERS), ("teams", TEAMS)];
    let world = World::with_tenants(["acme", "globex"]).mappings(&mappings).await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    (world, daemon)
}

/// Rows of both tables, in all copies.
async fn rows_there(world: &World) -> u64 {
    let mut rows = 0;
    for tenant in world.tenants() {
        let count = "select (select count(*) from users) + (select count(*) from teams)";
        rows += tenant.destination.query_text(count).await.parse::<u64>().expect("a number");
    }
    rows
}

/// A statement for so many users of the tenant.
async fn for_some(world: &World, what: &str, tenant: &str, users: u32) {
    let of = "project_user_id in (select project_user_id from project_user where tenancy_id = '{id}' order by 1 limit {n})";
    let of = of.replace("{id}", world.id(tenant)).replace("{n}", &users.to_string());
    world.source.execute(&format!("{what} where {of}")).await;
}

#[tokio::test]
async fn rows_applied_are_rows_that_were_written_or_deleted() {
    let (world, daemon) = two_tenants_in_step().await;
    let rows = rows_there(&world).await;
    const UPSERTED: &str = r#"offtake_rows_applied_total{operation="upsert"}"#;
    const DELETED: &str = r#"offtake_rows_applied_total{operation="delete"}"#;
    // A change that was captured before the copy is applied beside it, and writes nothing twice.
    let copied = [
        ("/sync/rows_applied_total", rows),
        (UPSERTED, rows),
        (DELETED, 0),
        ("offtake_backfill_rows_total", rows),
        ("/destinations/0/mappings/1/backfill/rows_done", 20),
    ];
    until_numbers("the copies are counted", &daemon, &copied).await;
    for_some(&world, "update project_user set display_name = 'changed'", "acme", 3).await;
    for_some(&world, "delete from project_user", "globex", 2).await;
    world.source.execute("update team set display_name = display_name").await;
    world.wait_in_step().await;
    let changed = [
        ("/sync/rows_applied_total", rows + 5),
        (UPSERTED, rows + 3),
        (DELETED, 2),
        ("offtake_backfill_rows_total", rows),
        ("/deleted_rows/total", 2),
        ("/deleted_rows/by_table/public.project_user", 2),
        ("offtake_tombstones", 2),
    ];
    until_numbers("the changes are counted, and what changed nothing is not", &daemon, &changed)
        .await;
    for_some(&world, "update project_user set display_name = 'a rate'", "acme", 10).await;
    until("the rate is told", PATIENCE, async || {
        match daemon.status().await["sync"]["rows_per_second"].as_f64() {
            Some(rate) if rate > 0.0 => {
                assert!(rate <= 10.0 / 0.9, "{rate} rows per second");
                Ok(())
            }
            rate => Err(format!("{rate:?}")),
        }
    })
    .await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_pending_owed_and_behind_is_counted() {
    let (world, daemon) = two_tenants_in_step().await;
    let fuse = async |fuse: &str, to: &str| {
        world.succeed(&["fuse", to, fuse, "--reason", "a test"]).await;
        daemon.wait_fuse(fuse, to == "off").await;
        daemon.wait_round(fuse).await;
    };
    fuse("sequencer", "off").await;
    for_some(&world, "update project_user set display_name = 'pending'", "acme", 4).await;
    for_some(&world, "update project_user set display_name = 'pending'", "globex", 1).await;
    let (code, acme) = (200, format!("/api/v1/destinations/{}/main", world.id("acme")));
    let lag = async || {
        let (found, body) = daemon.get(&acme).await;
        assert_eq!(found, code, "{body}");
        let told: Value = serde_json::from_str(&body).expect("a destination is JSON");
        told["lag_rows"].as_str().map(str::to_owned)
    };
    let pending = [("/sequencer/pending_changes", 5), ("offtake_changes_captured_pending", 5)];
    until_numbers("changes are pending", &daemon, &pending).await;
    assert_eq!(lag().await.as_deref(), Some("4"), "only its own");
    assert!(daemon.status().await["sequencer"]["oldest_pending_seconds"].as_f64() > Some(0.0));
    fuse("sequencer", "on").await;
    world.wait_in_step().await;
    until_numbers("nothing is pending", &daemon, &[("/sequencer/pending_changes", 0)]).await;

    fuse("sync", "off").await;
    for_some(&world, "update project_user set display_name = 'owed'", "acme", 3).await;
    let newest = "select max(sequence_id) from offtake.change_log where source_table = 'public.project_user'";
    let owed = [
        ("/poller/owed", 1),
        ("/poller/in_flight", 0),
        ("/poller/expired_leases", 0),
        ("offtake_requests_owed{kind=\"sync\"}", 1),
        ("/mappings/1/destinations", 2),
        ("/mappings/1/destinations_behind", 1),
        ("/mappings/0/destinations_behind", 0),
    ];
    until_numbers("one destination is owed a sync", &daemon, &owed).await;
    assert_eq!(lag().await.as_deref(), Some("3"));
    let newest = world.source.query_text(newest).await.parse().expect("a number");
    let of_log = [("/mappings/1/max_sequence_id", newest), ("/sequencer/last_sequence_id", newest)];
    until_numbers("the newest change is told", &daemon, &of_log).await;
    for (until, in_flight, expired) in [("1 hour", 1, 0), ("-1 second", 0, 1)] {
        let lease = format!("update offtake.outgoing_request set leased_until = now() + '{until}'");
        world.source.execute(&lease).await;
        let leases = [("/poller/in_flight", in_flight), ("/poller/expired_leases", expired)];
        until_numbers("leases are counted", &daemon, &leases).await;
    }
    fuse("sync", "on").await;
    world.wait_in_step().await;
    until_numbers("nothing is owed", &daemon, &[("/poller/owed", 0)]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Refused rows of a mapping or a destination that is gone were counted for ever, in the status and
/// in the metric that alerts are made of, and the sweep owed their destination a sync every time.
#[tokio::test]
async fn refused_rows_count_while_their_mapping_and_destination_are_there() {
    let (mut world, daemon) = two_tenants_in_step().await;
    world.allow("rows_quarantined");
    for tenant in world.tenants() {
        let check = "alter table users add constraint no_bad check (display_name <> 'bad')";
        tenant.destination.execute(check).await;
    }
    for_some(&world, "update project_user set display_name = 'bad'", "acme", 2).await;
    for_some(&world, "update project_user set display_name = 'bad'", "globex", 1).await;
    let counted =
        |rows: u64| [("/quarantined_rows", rows), ("offtake_quarantined_rows", rows)].to_vec();
    until_numbers("refused rows are counted", &daemon, &counted(3)).await;
    daemon.stop().await;
    let globex = world.id("globex").to_owned();
    world.configure(|c| {
        let all = c["destinations"]["static"].as_array_mut().expect("a list");
        all.retain(|destination| destination["tenant"] != *globex);
    });
    let daemon = world.daemon().await;
    until_numbers("a destination is gone", &daemon, &counted(2)).await;
    std::fs::remove_file(world.mappings_folder().join("users.yaml")).expect("it was there");
    until_numbers("a mapping is gone", &daemon, &counted(0)).await;
    assert!(world.succeed(&["quarantine", "list"]).await.contains("nothing is quarantined"));
    // They are due, but no worker would retry them.
    world.source.execute("update offtake.quarantined_row set retry_at = now()").await;
    world.succeed(&["quarantine", "retry"]).await;
    daemon.stop().await;
    let due = include_str!("../../crates/requests/sql/sweep_due.sql");
    world.source.execute(&format!("prepare due as {due}; execute due(3600000)")).await;
    let slice = include_str!("../../crates/requests/sql/sweep_slice.sql");
    world.source.execute(&format!("prepare slice as {slice}; execute slice(0, 100)")).await;
    let owed = world.source.query_text("select count(*) from offtake.outgoing_request").await;
    assert_eq!(owed, "0");
}
