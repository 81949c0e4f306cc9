//! What each answer of a receiver means: the table of docs/webhooks.md, line by line.

use std::time::Duration;

use offtake_private_server::ReservedPort;
use offtake_tests::receiver::{Play, Receiver, Request};
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::json;

use super::told::{daemon_with_webhooks, insert_user, users_world};

/// Keys in quarantine.
pub(crate) async fn quarantined(world: &World) -> usize {
    world.source.query_text("select count(*) from offtake.quarantined_event").await.parse().unwrap()
}

/// The user of a request.
pub(crate) fn user(request: &Request) -> String {
    request.event["data"]["display_name"].as_str().unwrap_or_default().to_owned()
}

async fn world_with_daemon(options: serde_json::Value) -> (World, Receiver, Daemon) {
    let (world, receiver) = users_world(options).await;
    let daemon = daemon_with_webhooks(&world).await;
    world.allow("webhook_unwell");
    (world, receiver, daemon)
}

/// The endpoint is unwell: the event waits, nothing is quarantined, and the same id comes again.
#[tokio::test]
async fn an_endpoint_that_is_unwell_is_asked_again_with_the_same_id() {
    let (world, receiver, daemon) = world_with_daemon(json!({ "timeout": "1s" })).await;
    let plays = [
        Play::Status(429),
        Play::Status(408),
        Play::Status(425),
        Play::Status(502),
        Play::Status(503),
        Play::Status(504),
        Play::Reset,
        Play::Silent,
    ];
    for (number, play) in plays.into_iter().enumerate() {
        receiver.forget_requests();
        receiver.play(move |request| if request.time == 1 { play.clone() } else { Play::OK });
        let name = format!("user {number}");
        insert_user(&world, &name).await;
        let requests = receiver.wait_requests(2).await;
        assert_eq!(requests[0].id(), requests[1].id(), "{name}");
        let attempts: Vec<_> = requests.iter().map(|r| r.header("offtake-attempt")).collect();
        // A kept connection that breaks is no failure yet: the same attempt goes over a new one.
        let broken = requests[0].connection != requests[1].connection && attempts[1] == "1";
        assert!(attempts == ["1", "2"] || broken, "{name}: {attempts:?}");
        world.wait_webhooks_told(PATIENCE).await;
        assert_eq!(quarantined(&world).await, 0, "{name}");
    }
    world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
    receiver.assert_content();
    daemon.stop().await;
}

/// Nobody listens, no such name, no TLS where TLS is asked for: told as what they are.
#[tokio::test]
async fn an_endpoint_that_is_not_there_is_unwell_and_says_why() {
    let receiver = Receiver::start().await;
    let closed = ReservedPort::any().unwrap();
    let cases = [
        (format!("http://127.0.0.1:{}/hook", closed.number()), "refused"),
        ("https://receiver.invalid/hook".to_owned(), "receiver.invalid"),
        (format!("https://127.0.0.1:{}/hook", receiver.port()), "reset"),
    ];
    for (url, says) in cases {
        let mut world = World::with_tenants(["acme"]).await;
        world.allow("webhook_unwell");
        world.add_webhook_at("acme", &url, json!({ "mappings": ["users"] }));
        let daemon = daemon_with_webhooks(&world).await;
        insert_user(&world, "Ann").await;
        until(says, PATIENCE, async || {
            let webhook = world.webhook(&daemon, "acme").await;
            let error = webhook["last_error"].as_str().unwrap_or_default().to_owned();
            if error.contains(says) { Ok(()) } else { Err(webhook.to_string()) }
        })
        .await;
        assert_eq!(quarantined(&world).await, 0);
        daemon.stop().await;
    }
    assert!(receiver.requests().is_empty());
}

/// Seconds and dates count, what is neither does not, and nobody can ask for more than an hour.
#[tokio::test]
async fn retry_after_is_waited_for_and_no_longer_than_an_hour() {
    let (world, receiver, daemon) = world_with_daemon(json!({})).await;
    let pause = async |lines: &'static str| {
        receiver.forget_requests();
        receiver.play(move |request| match request.time {
            1 => Play::Answer(503, lines, ""),
            _ => Play::OK,
        });
        insert_user(&world, &format!("told {lines}")).await;
        let requests = receiver.wait_requests(2).await;
        requests[1].at - requests[0].at
    };
    assert!(pause("Retry-After: 2").await >= Duration::from_secs(2));
    // Neither a number nor a date, so the usual backoff holds; PATIENCE is its bound.
    pause("Retry-After: soon").await;
    pause("Retry-After: -5").await;
    pause("Retry-After: Thu, 01 Jan 1970 00:00:00 GMT").await;

    receiver.play(|_| Play::Answer(429, "Retry-After: 864000", ""));
    insert_user(&world, "patient").await;
    world
        .source
        .wait_text(
            "select bool_and(not_before - now() between interval '55 minutes' and interval '75 minutes') \
               from offtake.outgoing_request where kind = 'webhook' and failures > 0",
            "t",
        )
        .await;
    daemon.stop().await;
}

/// Somebody must mend something: the state says what, and a redirect is never followed.
#[tokio::test]
async fn what_must_be_mended_blocks_the_webhook_and_says_so() {
    let (world, receiver, daemon) = world_with_daemon(json!({})).await;
    let elsewhere = Receiver::start().await;
    let location: &'static str = format!(
        "Location: http://127.0.0.1:{}/a-path-that-nobody-may-see?key=hidden",
        elsewhere.port()
    )
    .leak();
    insert_user(&world, "Ann").await;
    receiver.wait_requests(1).await;
    for status in [301, 302, 307, 308, 401, 403, 404, 405, 407] {
        receiver.play(move |_| Play::Answer(status, location, ""));
        insert_user(&world, &format!("user {status}")).await;
        let says = status.to_string();
        let webhook = world.wait_webhook(&daemon, "acme", "blocked", &[&says]).await;
        let text = webhook.to_string();
        assert!(!text.contains("nobody-may-see") && !text.contains("hidden"), "{text}");
        assert_eq!(quarantined(&world).await, 0, "{status}");
        receiver.play(|_| Play::OK);
        world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
    }
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
    receiver.assert_content();
    daemon.stop().await;
}

/// The event is refused: it is set aside and the others go on.
#[tokio::test]
async fn a_refused_event_is_set_aside_and_the_others_go_on() {
    let (world, receiver, daemon) = world_with_daemon(json!({})).await;
    world.allow("event_quarantined");
    for (number, status) in [400, 409, 413, 415, 422, 418].into_iter().enumerate() {
        receiver.play(move |request| match user(request).starts_with("bad") {
            true => Play::Status(status),
            false => Play::OK,
        });
        insert_user(&world, &format!("bad {status}")).await;
        insert_user(&world, &format!("good {status}")).await;
        let name = format!("good {status}");
        receiver.wait_for(&name, |requests| requests.iter().any(|r| user(r) == name)).await;
        until("it is in quarantine", PATIENCE, async || match quarantined(&world).await {
            found if found == number + 1 => Ok(()),
            found => Err(format!("{found}")),
        })
        .await;
    }
    let webhook = world.wait_webhook(&daemon, "acme", "degraded", &[]).await;
    assert_eq!(webhook["quarantined"], "6", "{webhook}");
    // Its values are nowhere at the source.
    let all = world
        .source
        .query_text("select string_agg(e::text, ' ') from offtake.quarantined_event e")
        .await;
    assert!(!all.contains("bad 4"), "{all}");
    daemon.stop().await;
}

/// A 500 is the event's fault if its neighbour is taken, and the endpoint's if it is not.
#[tokio::test]
async fn a_500_is_the_event_s_fault_only_if_its_neighbour_is_taken() {
    let (world, receiver, daemon) = world_with_daemon(json!({})).await;
    world.allow("event_quarantined");
    receiver.play(|_| Play::Status(500));
    for name in ["bad", "good 1", "good 2"] {
        insert_user(&world, name).await;
    }
    // During an outage nothing is blamed, however long it is.
    receiver.wait_requests(12).await;
    assert_eq!(quarantined(&world).await, 0);
    receiver.play(|request| if user(request) == "bad" { Play::Status(500) } else { Play::OK });
    until("the bad one alone is in quarantine", PATIENCE, async || {
        match quarantined(&world).await {
            1 => Ok(()),
            found => Err(format!("{found} are in quarantine")),
        }
    })
    .await;
    world.wait_webhook(&daemon, "acme", "degraded", &[]).await;
    world.wait_webhooks_told(PATIENCE).await;
    let names: Vec<_> =
        receiver.rows("users").iter().map(|row| row["display_name"].clone()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    receiver.assert_content();
    daemon.stop().await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_or_says_disable_is_told_nothing_more() {
    for play in [
        Play::Status(410),
        Play::Answer(200, "webhook-delivery: disable", ""),
        Play::Answer(503, "webhook-delivery: disable", ""),
    ] {
        let (world, receiver, daemon) = world_with_daemon(json!({ "concurrency": 1 })).await;
        world.allow("webhook_disabled");
        let says = play.clone();
        receiver.play(move |_| says.clone());
        insert_user(&world, "Ann").await;
        let webhook = world.wait_webhook(&daemon, "acme", "disabled", &[]).await;
        assert!(webhook["disabled_at"].is_string(), "{webhook}");
        insert_user(&world, "Bob").await;
        daemon.wait_round("poller").await;
        daemon.wait_round("webhooks").await;
        assert_eq!(receiver.requests().len(), 1, "{play:?}");
        // Enabling goes on where it stopped.
        receiver.play(|_| Play::OK);
        world.succeed(&["webhook", "enable", "--tenant", world.id("acme")]).await;
        world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
        let names = |receiver: &Receiver| receiver.rows("users").len();
        assert_eq!(names(&receiver), 2, "{play:?}: {:?}", receiver.rows("users"));
        receiver.assert_content();
        daemon.stop().await;
    }
}

#[tokio::test]
async fn an_event_that_its_receiver_aborts_is_not_tried_again() {
    let (world, receiver, daemon) = world_with_daemon(json!({})).await;
    world.allow("event_quarantined");
    receiver.play(|_| Play::Answer(503, "webhook-delivery: abort-message", ""));
    insert_user(&world, "Ann").await;
    world.wait_webhook(&daemon, "acme", "degraded", &[]).await;
    let exhausted = "select next_attempt_at is null from offtake.quarantined_event";
    world.source.wait_text(exhausted, "t").await;
    // A new state of the key is another event.
    receiver.play(|_| Play::OK);
    world
        .source
        .execute("update project_user set display_name = 'Bea' where display_name = 'Ann'")
        .await;
    world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
    assert_eq!(quarantined(&world).await, 0);
    daemon.stop().await;
}

/// No answer of a receiver costs the daemon more than 64 KiB of body or a bounded head.
#[tokio::test]
async fn an_answer_without_end_is_bounded() {
    let (world, receiver, daemon) = world_with_daemon(json!({ "timeout": "5s" })).await;
    // The whole head came, so it was taken; the gigabyte behind it is not read.
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    receiver.play(|request| match request.time {
        1 => Play::Pour(endless, "x"),
        _ => Play::OK,
    });
    insert_user(&world, "Ann").await;
    world.wait_webhooks_told(PATIENCE).await;
    assert_eq!(receiver.requests().len(), 1, "2xx was told in the head");
    // What fits into the sockets' buffers was sent, and no more was read.
    assert!(receiver.poured() < 16 << 20, "{} bytes", receiver.poured());

    receiver.play(|request| match request.time {
        1 => Play::Pour("HTTP/1.1 200 OK\r\n", "x-more: and more\r\n"),
        2 => Play::Drip("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"),
        _ => Play::OK,
    });
    insert_user(&world, "Bob").await;
    let requests = receiver.wait_requests(4).await;
    world.wait_webhooks_told(PATIENCE).await;
    assert_eq!(requests[1].id(), requests[3].id());
    assert_eq!(quarantined(&world).await, 0);
    assert!(receiver.poured() < 32 << 20, "{} bytes", receiver.poured());
    daemon.stop().await;
}

/// An answer that echoes the request would store values at the source.
#[tokio::test]
async fn what_a_receiver_echoes_is_not_kept() {
    let (world, receiver, daemon) = world_with_daemon(json!({})).await;
    world.allow("event_quarantined");
    let echo = "cannot take {\"display_name\":\"a name that must not settle\"}";
    receiver.play(move |request| match user(request).starts_with("a name") {
        true => Play::Answer(422, "", echo),
        false => Play::Answer(422, "", "no such plan"),
    });
    insert_user(&world, "a name that must not settle").await;
    insert_user(&world, "Bob").await;
    let kept = "select string_agg(coalesce(response, 'nothing'), ' and ' order by attempt_id) from offtake.webhook_attempt";
    until("both attempts are kept", PATIENCE, async || {
        let kept = world.source.query_text(kept).await;
        match kept.contains("no such plan") && kept.contains("nothing") {
            true => Ok(()),
            false => Err(kept),
        }
    })
    .await;
    assert!(!world.source.query_text(kept).await.contains("settle"));
    daemon.stop().await;
}
