//! Places that break: one failure for all of their tenants, who say why.

use offtake_tests::proxy::Mode;
use offtake_tests::{Daemon, PATIENCE, Source, World, until};
use serde_json::json;

use super::{logged, made, plan, together, wait_equal, wait_together, write_together};

async fn proxied(tenants: usize) -> (World, Daemon) {
    made(plan().proxied("first"), tenants).await
}

/// A place that does not answer is one failure, told once, and its tenants say why. When it answers
/// again, all of them are served. Ten thousand of them with `OFFTAKE_SOAK=1`.
#[tokio::test]
async fn a_place_that_is_down_is_told_once_for_all_of_its_tenants() {
    let tenants = if std::env::var_os("OFFTAKE_SOAK").is_some() { 10_000 } else { 60 };
    let (world, daemon) = proxied(tenants).await;
    daemon.allow("place_failed");
    // A tenant that is due alone is dialled for alone.
    daemon.allow("destination_failed");
    world.tenant("first").proxy().set(Mode::Refuse);
    let before = failed(&daemon).await;
    world.source.execute("update note set body = 'second'").await;
    let failing = "select count(*) from offtake.destination where state = 'blocked' and consecutive_failures >= 2 and reason like 'unreachable%'";
    world.source.wait_text(failing, &tenants.to_string()).await;
    let attempts = failed(&daemon).await - before;
    eprintln!("{tenants} tenants, {attempts} attempts until each has failed twice");
    world.tenant("first").proxy().set(Mode::Pass);
    wait_equal(&world).await;
    let told = |event: &str| daemon.log().iter().filter(|line| line.event == event).count();
    assert_eq!(told("place_failed"), 1);
    assert!(told("destination_failed") < 10, "{} lines", told("destination_failed"));
    let settled = "select count(*) from offtake.destination where state = 'in_sync' and consecutive_failures = 0";
    assert_eq!(world.source.query_text(settled).await, tenants.to_string());
    daemon.stop().await;
}

/// How many attempts failed.
async fn failed(daemon: &Daemon) -> u64 {
    let (_, metrics) = daemon.get("/metrics").await;
    let name = "offtake_batches_total{result=\"failed\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().expect("a number"))
}

/// The database takes no more logins, or no more writes. Each attempt is a failure of all tenants that
/// are claimed together, with one time of the next, and it is told once: also by a daemon that begins
/// meanwhile. Each tenant says why. When the database works again, they are written for together.
///
/// Without `Fault::ReadOnly` in `Left::after` (crates/sync/src/turn/group.rs), or without
/// `retried_at` in `simple` (group_queue.rs), each tenant failed by itself, with a line of its own.
/// Where each group tried for itself (`Outages::enter`, outages.rs), two or three members failed each
/// time, and in the end one.
#[tokio::test]
async fn a_place_that_refuses_everybody_is_one_failure() {
    // Of two hundred, four groups are claimed one after the other.
    let plan = plan().setting("/poller/lease", "5s").setting("/poller/claim_limit", 60);
    let (world, mut daemon) = made(plan, 200).await;
    world.allow("place_failed");
    // One that is due alone is tried alone.
    world.allow("destination_failed");
    let there = &world.tenant("first").destination;
    // The database cannot be told so by a session of its own.
    let outside = Source::destination().await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'offtake%'";
    for (number, (breaks, mends, says)) in [
        ("allow_connections false", "allow_connections true", "not currently accepting"),
        (
            "set default_transaction_read_only = on",
            "reset default_transaction_read_only",
            "read-only",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let alter = |what: &str| format!("alter database {} {what}", there.name());
        let mut before = (failed(&daemon).await, logged(&daemon, "place_failed"));
        outside.execute(&alter(breaks)).await;
        there.query_text(end).await;
        there.wait_left().await;
        world.source.execute(&format!("update note set body = 'change {number}'")).await;
        for again in ["", ", and a daemon begins"] {
            if !again.is_empty() {
                daemon.stop().await;
                daemon = world.daemon().await;
                before = (0, 0);
            }
            let failures = async |what: &str| -> u64 {
                let of =
                    format!("select coalesce({what}(failures), 0) from offtake.outgoing_request");
                world.source.query_text(&of).await.parse().expect("a number")
            };
            let (highest, all) = (failures("max").await, failures("sum").await);
            let failing = format!(
                "select count(*), count(distinct d.reason), bool_and(r.failures > {highest} + 2)
                   from offtake.destination d join offtake.outgoing_request r using (destination_id) where d.state = 'blocked'"
            );
            world.source.wait_text(&failing, "200|1|t").await;
            // Each attempt was a failure of many.
            let all = failures("sum").await - all;
            let attempts = failed(&daemon).await - before.0;
            assert!(attempts * 20 < all, "{breaks}{again}: {attempts} attempts, {all} failures");
            assert_eq!(logged(&daemon, "place_failed"), before.1 + 1, "{breaks}{again}");
            let alone = logged(&daemon, "destination_failed");
            assert!(alone < 10, "{breaks}{again}: {alone} tenants failed alone");
        }
        let reason =
            world.source.query_text("select distinct reason from offtake.destination").await;
        assert!(reason.contains(says), "{breaks}: {reason}");
        let (_, one) = daemon.get("/api/v1/destinations/t150/main").await;
        assert!(one.contains(says) && one.contains("blocked"), "{one}");

        let before = together(&daemon);
        outside.execute(&alter(mends)).await;
        // Sessions that began before do not know.
        there.query_text(end).await;
        wait_equal(&world).await;
        // A group that was being tried when the place was mended may have gone on in parts.
        wait_together(&daemon, before, 100).await;
        let settled = "select count(*) from offtake.destination where state = 'in_sync' and consecutive_failures = 0 and reason is null";
        world.source.wait_text(settled, "200").await;
        // One that a claim leaves over is written for alone.
        write_together(&world, &daemon, "update note set body = 'again'", 180).await;
    }
    daemon.stop().await;
}

/// The next attempt at a place that was down is hours away. The place works again, and an operator asks
/// for a sync of one tenant: it is tried, and then all others are. The test fails where `enter`
/// (crates/sync/src/turn/outages.rs) does not see that it was asked for, and without
/// resume_place.sql, with which the others come at once.
#[tokio::test]
async fn a_sync_that_is_asked_for_is_tried_and_ends_the_outage_for_all() {
    let hours = json!({ "initial": "6h", "max": "6h" });
    let plan = plan().setting("/sync/retry", hours).setting("/poller/lease", "5s");
    let (world, daemon) = made(plan.proxied("first"), 12).await;
    world.allow("place_failed");
    // One that is asked for is tried alone.
    world.allow("destination_failed");
    let down = "select count(*), count(distinct r.not_before) from offtake.outgoing_request r join offtake.destination d using (destination_id)
        where d.state = 'blocked' and r.leased_until is null and r.not_before > now() + interval '1 hour'";
    for number in 0..2 {
        world.tenant("first").proxy().set(Mode::Refuse);
        let change = format!("update note set body = 'change {number}'");
        world.source.execute(&change).await;
        world.source.wait_text(down, "12|1").await;
        // Also one whose first change comes meanwhile waits for that time.
        world.source.execute("update mark set value = value + 1 where tenant = 't5'").await;
        // It is tried in vain, and waits for the others' time from then on.
        let tried = logged(&daemon, "destination_failed");
        world.succeed(&["sync", "--tenant", "t3"]).await;
        until("the tenant that is asked for is tried", PATIENCE, async || {
            let now = logged(&daemon, "destination_failed");
            if now > tried { Ok(()) } else { Err(format!("{now} lines")) }
        })
        .await;
        world.source.wait_text(down, "12|1").await;
        world.tenant("first").proxy().set(Mode::Pass);
        world.succeed(&["sync", "--tenant", "t4"]).await;
        wait_equal(&world).await;
    }
    daemon.stop().await;
}

/// The place falls silent under an open session. A new one tells that it is the place, and not one
/// of the tenants: one failure, with one time of the next attempt. Without `Error::Deadline` in
/// `Left::after` (crates/sync/src/turn/group.rs), each of them dialled, and failed by itself from
/// then on; where it is no reason to try all of them once more, each half failed.
#[tokio::test]
async fn a_place_that_falls_silent_is_one_failure() {
    let plan = plan().setting("/poller/lease", "5s").setting("/sync/statement_timeout", "500ms");
    let (mut world, daemon) = made(plan.proxied("first"), 40).await;
    daemon.stop().await;
    // `init` does not try again.
    world.configure(|c| c["sync"]["connect_timeout"] = "1s".into());
    world.allow("place_failed");
    world.allow("destination_failed");
    let daemon = world.daemon().await;
    for body in ["warm", "warmer"] {
        world.source.execute(&format!("update note set body = '{body}'")).await;
        wait_equal(&world).await;
    }
    let before = together(&daemon);
    // A machine that stands still for a second is told like a silent place.
    let told = ["place_failed", "destination_failed"].map(|event| logged(&daemon, event));
    world.tenant("first").proxy().set(Mode::Blackhole);
    world.source.execute("update note set body = 'second'").await;
    let failing = "select count(*), count(distinct reason), count(distinct not_before) from offtake.destination d join offtake.outgoing_request r using (destination_id)
        where state = 'blocked' and reason like 'unreachable%'";
    world.source.wait_text(failing, "40|1|1").await;
    until("the place is told", PATIENCE, async || match logged(&daemon, "place_failed") {
        now if now > told[0] => Ok(()),
        now => Err(format!("{now} lines")),
    })
    .await;
    assert_eq!(logged(&daemon, "place_failed"), told[0] + 1);
    let alone = logged(&daemon, "destination_failed") - told[1];
    assert!(alone < 5, "{alone} tenants failed alone");
    world.tenant("first").proxy().set(Mode::Pass);
    wait_equal(&world).await;
    wait_together(&daemon, before, 30).await;
    daemon.stop().await;
}

/// Each change is one tenant's, so there is no group. The tenant's turn takes a session that another
/// one's has left, and dials none.
#[tokio::test]
async fn a_tenant_that_is_due_alone_takes_a_session_of_its_place() {
    let (world, daemon) = proxied(12).await;
    let accepted = || world.tenant("first").proxy().accepted();
    let before = accepted();
    for n in 0..12 {
        let change = format!("update note set body = 'alone' where tenant = 't{n}'");
        world.source.execute(&change).await;
        wait_equal(&world).await;
    }
    let dialled = accepted() - before;
    assert!(dialled <= 1, "{dialled} dials for twelve turns");
    daemon.stop().await;
}
