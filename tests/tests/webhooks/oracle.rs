//! A receiver that applies what it is told to a map, the greatest `as_of` winning, equals the
//! mappings' queries afterwards, whatever went wrong on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use offtake_tests::receiver::{Play, Receiver, Request};
use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{PATIENCE, World, beside};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::told::daemon_with_webhooks;

/// Two tenants under the random workload, each with a webhook, `options` for acme's.
async fn prepared(workload: &Workload, options: Value) -> (World, Receiver, Receiver) {
    let mut world = Workload::plan(["acme", "globex"]).await;
    workload.prepare(&world).await;
    let (acme, globex) = (Receiver::start().await, Receiver::start().await);
    let mut all = json!({ "backfill": true, "timeout": "1s" });
    for (name, value) in options.as_object().unwrap() {
        all[name] = value.clone();
    }
    let timeout = all["timeout"].clone();
    world.add_webhook("acme", &acme, all);
    world.add_webhook("globex", &globex, json!({ "backfill": true, "timeout": timeout }));
    world.configure(|configuration| {
        let events = json!(["200ms", "400ms", "1s", "1s", "1s", "1s", "1s", "1s", "1s"]);
        configuration["webhooks"]["retry"]["events"] = events;
    });
    (world, acme, globex)
}

async fn equal(world: &World, acme: &Receiver, globex: &Receiver) {
    world.wait_webhooks_told(PATIENCE * 2).await;
    acme.wait_equal(world, "acme").await;
    globex.wait_equal(world, "globex").await;
}

/// Every answer arrives: nothing is told twice with another content, and nothing goes back.
#[tokio::test]
async fn what_a_receiver_knows_equals_the_queries() {
    for (seed, mut options) in [
        (1, json!({})),
        (2, json!({ "batch": { "events": 20 }, "concurrency": 2 })),
        (3, json!({ "concurrency": 16 })),
    ] {
        // Every answer arrives, also from a machine that stands still for a while.
        options["timeout"] = "30s".into();
        let workload = Workload::new(seed);
        let (world, acme, globex) = prepared(&workload, options).await;
        let daemon = daemon_with_webhooks(&world).await;
        workload.run(&world, Extent::Steps(25)).await;
        equal(&world, &acme, &globex).await;
        acme.assert_content();
        globex.assert_content();
        daemon.stop().await;
    }
}

/// The receivers answer as badly as receivers do: refusals, errors, throttling, no answer at all,
/// and answers that are lost after the receiver committed.
#[tokio::test]
async fn what_a_receiver_knows_equals_the_queries_however_it_answers() {
    for batch in [1, 8] {
        let workload = Workload::new(4);
        let (world, acme, globex) =
            prepared(&workload, json!({ "batch": { "events": batch } })).await;
        world.allow("webhook_unwell");
        world.allow("event_quarantined");
        for receiver in [&acme, &globex] {
            badly(receiver, workload.seed());
        }
        let daemon = daemon_with_webhooks(&world).await;
        workload.run(&world, Extent::Steps(40)).await;
        // On a busy machine the writers may end before anything was told: the receivers answer
        // badly, and there is something to tell, until bad answers have had their consequences.
        let told_again = async {
            tokio::join!(wait_repeats(&acme), wait_repeats(&globex));
        };
        let write = async || {
            workload.run(&world, Extent::Steps(5)).await;
        };
        beside(told_again, write).await;
        for receiver in [&acme, &globex] {
            receiver.play(|_| Play::OK);
        }
        // What is in quarantine comes by itself, by its schedule.
        world.source.wait_text("select count(*) from offtake.quarantined_event", "0").await;
        equal(&world, &acme, &globex).await;
        acme.assert_content();
        globex.assert_content();
        daemon.stop().await;
    }
}

/// Waits until the receiver has had some requests again that it answered badly.
async fn wait_repeats(receiver: &Receiver) {
    let again = |requests: &[Request]| requests.iter().filter(|one| one.time > 1).count() >= 3;
    receiver.wait_for("3 requests again", again).await;
}

fn badly(receiver: &Receiver, seed: u64) {
    let number = Arc::new(AtomicU64::new(0));
    receiver.play(move |request| {
        if request.kind().ends_with(".resync") || request.kind().ends_with(".backfilled") {
            return Play::OK;
        }
        let number = number.fetch_add(1, Ordering::Relaxed);
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(10_000).wrapping_add(number));
        match random.random_range(0..100) {
            0..4 => Play::Lost,
            4..7 => Play::Reset,
            7..10 => Play::Status(500),
            10..12 => Play::Status(503),
            12 => Play::Answer(429, "Retry-After: 1", ""),
            13..16 => Play::Status(422),
            16..30 => Play::OK.after(Duration::from_millis(random.random_range(1..40))),
            _ => Play::OK,
        }
    });
}

/// Killed every second: nothing is missing, and every repeat has a known id or a greater `as_of`.
#[tokio::test]
async fn kill_9_loses_nothing_and_repeats_only_known_ids() {
    let workload = Workload::new(5);
    let (world, acme, globex) = prepared(&workload, json!({})).await;
    world.allow("*");
    for receiver in [&acme, &globex] {
        receiver.play(|_| Play::OK.after(Duration::from_millis(2)));
    }
    let rounds = if std::env::var_os("OFFTAKE_SOAK").is_some() { 60 } else { 4 };
    let kills = async {
        for _ in 0..rounds {
            let mut daemon = world.daemon().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            daemon.kill();
        }
    };
    let write = async || {
        workload.run(&world, Extent::Steps(5)).await;
    };
    beside(kills, write).await;
    let daemon = world.daemon().await;
    equal(&world, &acme, &globex).await;
    // No worker was frozen, so not even `as_of` fell.
    acme.assert_content();
    globex.assert_content();
    daemon.stop().await;
}

/// Killed at each step of a turn.
#[tokio::test]
async fn a_crash_at_any_step_of_a_turn_loses_nothing() {
    let workload = Workload::new(6);
    let (world, acme, globex) = prepared(&workload, json!({})).await;
    world.allow("*");
    for point in offtake_loops::FAILPOINTS.into_iter().filter(|name| name.starts_with("webhooks."))
    {
        workload.run_until_killed(&world, point, async |_| ()).await;
        // The next daemon does not wait for the dead one's leases. A server process may still run what
        // the daemon sent last, and that may be a claim or a heartbeat.
        world.source.wait_left().await;
        let free = "update offtake.outgoing_request set leased_until = null, failures = 0, not_before = now()";
        world.source.execute(free).await;
    }
    let daemon = world.daemon().await;
    equal(&world, &acme, &globex).await;
    acme.assert_content();
    globex.assert_content();
    daemon.stop().await;
}

/// Two daemons, one of which stands still for longer than its leases: the receiver ends with the
/// right state, because it keeps the greatest `as_of`, although a late request may come.
#[tokio::test]
async fn a_daemon_that_stands_still_leaves_no_old_state() {
    let workload = Workload::new(7);
    let (world, acme, globex) = prepared(&workload, json!({})).await;
    world.allow("*");
    let (one, other) = (world.daemon().await, world.daemon().await);
    let freezes = async {
        for number in 0..2 {
            let daemon = if number % 2 == 0 { &one } else { &other };
            daemon.freeze();
            tokio::time::sleep(Duration::from_secs(4)).await;
            daemon.thaw();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let write = async || {
        workload.run(&world, Extent::Steps(5)).await;
    };
    beside(freezes, write).await;
    equal(&world, &acme, &globex).await;
    for receiver in [&acme, &globex] {
        // What a frozen daemon sends late may be older; everything else holds.
        let others: Vec<_> = receiver
            .complaints()
            .into_iter()
            .filter(|text| !text.contains(" fell from "))
            .collect();
        assert!(others.is_empty(), "{others:?}");
    }
    one.stop().await;
    other.stop().await;
}

/// A worker that is frozen before it looks at its lease sends nothing when it goes on. The other
/// daemon may send the new state twice: once for the request that the frozen one had, and, where
/// that one was frozen before it numbered the second change, once for the second.
#[tokio::test]
async fn a_worker_whose_lease_has_ended_sends_nothing() {
    let workload = Workload::new(8);
    let (world, acme, globex) = prepared(&workload, json!({})).await;
    world.allow("*");
    let late = daemon_with_webhooks(&world).await;
    world.wait_webhooks_told(PATIENCE).await;
    let tenant = world.id("acme");
    let set = |body: &str| {
        format!(
            "insert into work.note (scope, name, body) values ('t/{tenant}', 'late', '{body}') \
             on conflict do nothing; \
             update work.note set body = '{body}' where scope = 't/{tenant}' and name = 'late'"
        )
    };
    late.set_failpoint("webhooks.before_send", "1*pause").await;
    world.source.execute(&set("old")).await;
    late.wait_at_failpoint("webhooks.before_send", 1).await;
    late.freeze();
    world.source.execute(&set("new")).await;
    let other = world.daemon().await;
    world.wait_webhooks_told(PATIENCE).await;
    late.thaw();
    late.clear_failpoint("webhooks.before_send").await;
    late.wait_round("webhooks").await;
    equal(&world, &acme, &globex).await;
    let bodies = acme.requests().into_iter().filter(|r| r.event["key"]["name"] == "late");
    let bodies: Vec<_> = bodies.map(|request| request.event["data"]["body"].clone()).collect();
    assert!(bodies.iter().any(|body| body == "new"), "{bodies:?}");
    assert!(
        bodies.iter().all(|body| body == "new"),
        "the frozen worker sent its request: {bodies:?}"
    );
    acme.assert_content();
    late.stop().await;
    other.stop().await;
}
