//! No duration, and no time in a table of Offtake's, makes administration impossible.

use offtake_tests::{Daemon, PATIENCE, World, until};

use super::offtake;

/// Beyond a year; the second is also beyond the calendar, the last beyond 64 bits.
const TOO_LONG: [&str; 6] =
    ["366d", "100000000d", "8785h", "2147483648s", "4294967295d", "99999999999999999999d"];

#[tokio::test]
async fn a_fuse_or_a_pause_lasts_a_year_at_most() {
    let world = World::with_tenants(["acme"]).await;
    let daemon = world.daemon().await;
    let id = world.id("acme").to_owned();
    world.wait_in_step().await;
    for long in TOO_LONG {
        for command in [
            vec!["fuse", "off", "sync", "--reason", "r", "--for", long],
            vec!["pause", "--tenant", &id, "--reason", "r", "--for", long],
            vec!["sync", "--tenant", &id, "--wait", long],
            vec!["resync", "--tenant", &id, "--wait", long],
        ] {
            let (code, told) = offtake(&world, &command).await;
            assert_eq!(code, 2, "{command:?}: {told}");
        }
        let body = format!(r#"{{"enabled": false, "reason": "r", "for": "{long}"}}"#);
        let (code, told) = daemon.request("PATCH", "/api/v1/fuses/sync", &[], &body).await;
        assert!(code == 400 && told.contains("365d"), "{long}: {code} {told}");
        let body = format!(r#"{{"reason": "r", "for": "{long}"}}"#);
        let path = format!("/api/v1/destinations/{id}/main/pause");
        let (code, told) = daemon.request("POST", &path, &[], &body).await;
        assert!(code == 400 && told.contains("365d"), "{long}: {code} {told}");
    }
    let (code, told) = offtake(&world, &["fuse", "list"]).await;
    assert!(code == 0 && !told.contains("off "), "{told}");
    // A year is fine.
    world.succeed(&["fuse", "off", "poller", "--reason", "r", "--for", "365d"]).await;
    world.succeed(&["fuse", "on", "poller"]).await;
    daemon.stop().await;
}

/// Puts the time into every column of a time that an operator or an administrator could reach.
async fn write_everywhere(world: &World, time: &str) {
    world
        .source
        .execute(&format!(
            "insert into offtake.fuse (name, enabled, reason, until) values ('poller', false, 'r', '{time}')
               on conflict (name) do update set enabled = false, until = '{time}';
             update offtake.destination
                set paused_at = '{time}', paused_until = '{time}', last_success_at = '{time}',
                    last_error_at = '{time}', created_at = '{time}';
             update offtake.destination_mapping
                set backfill_started_at = '{time}', retry_at = '{time}', backfilled = false;
             insert into offtake.resync_request (destination_id, mapping, requested_at)
               select destination_id, 'users', '{time}' from offtake.destination
               on conflict do nothing;
             insert into offtake.quarantined_row
                    (destination_id, mapping, row_key, sqlstate, error, first_failed_at, last_failed_at, retry_at)
               select destination_id, 'users', '{{\"id\": 1}}', '23514', 'e', '{time}', '{time}', '{time}'
                 from offtake.destination on conflict do nothing;
             insert into offtake.outgoing_request (kind, destination_id, wanted_sequence_id, not_before, owed_since)
               select 'sync', destination_id, 1, '{time}', '{time}' from offtake.destination
               on conflict do nothing;"
        ))
        .await;
}

/// Every command and every page that shows times answers.
async fn assert_everything_reads_it(world: &World, daemon: &Daemon, time: &str) {
    for command in [
        vec!["status"],
        vec!["status", "--json"],
        vec!["status", "--tenant", world.id("acme")],
        vec!["fuse", "list"],
        vec!["fuse", "list", "--json"],
        vec!["quarantine", "list"],
        vec!["quarantine", "list", "--json"],
    ] {
        let (code, told) = offtake(world, &command).await;
        assert_eq!(code, 0, "{time} {command:?}: {told}");
    }
    for path in [
        "/api/v1/status",
        "/api/v1/destinations",
        "/api/v1/fuses",
        "/api/v1/quarantine",
        "/metrics",
    ] {
        let (code, told) = daemon.get(path).await;
        assert_eq!(code, 200, "{time} {path}: {told}");
    }
}

#[tokio::test]
async fn every_time_that_postgres_can_hold_is_read() {
    let world = World::with_tenants(["acme"]).await;
    world.allow("*");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let id = world.id("acme").to_owned();
    for time in [
        "infinity",
        "-infinity",
        "275817-01-01",
        "4713-01-01 BC",
        "9999-12-31 23:59:59.999999+00",
        "10000-01-01",
        "294276-12-31",
    ] {
        write_everywhere(&world, time).await;
        assert_everything_reads_it(&world, &daemon, time).await;
        // What would undo it works.
        world.succeed(&["fuse", "on", "poller"]).await;
        world.succeed(&["resume", "--tenant", &id]).await;
        world.succeed(&["quarantine", "discard", "--tenant", &id, "--yes"]).await;
    }
    until("it answers", PATIENCE, async || match daemon.get("/livez").await {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let log = daemon.stop().await;
    assert!(log.iter().all(|line| !line.text.contains("panic")), "{log:?}");
}
