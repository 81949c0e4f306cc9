//! What a tenant's URL may not reach, and what no answer shows.

use offtake_tests::receiver::{HIDDEN_PATH, HIDDEN_QUERY, Play, Receiver, SECRET};
use offtake_tests::{PATIENCE, World, until};
use serde_json::json;

use super::told::{daemon_with_webhooks, insert_user, users_world};

/// A listener on loopback counts no connection, however the address is written.
#[tokio::test]
async fn an_address_that_is_not_listed_is_not_dialled() {
    let receiver = Receiver::start().await;
    let port = receiver.port();
    let hosts =
        ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"];
    for scheme in ["http", "https"] {
        let mut world = World::with_tenants(["acme"]).await;
        for (number, host) in hosts.iter().enumerate() {
            let url = format!("{scheme}://{host}:{port}/hook");
            let name = if number == 0 { "main".to_owned() } else { format!("number{number}") };
            world.add_webhook_at("acme", &url, json!({ "name": name, "mappings": ["users"] }));
        }
        // Destinations are on loopback as well.
        world.configure(|configuration| {
            configuration["security"]["allow_destinations"] = json!([]);
            configuration["destinations"]["static"] = json!([]);
        });
        world.allow("webhook_unwell");
        let daemon = daemon_with_webhooks(&world).await;
        insert_user(&world, "Ann").await;
        until("every one is blocked", PATIENCE, async || {
            let states = world
                .source
                .query_text("select string_agg(distinct state, ' ') from offtake.webhook")
                .await;
            if states == "blocked" { Ok(()) } else { Err(states) }
        })
        .await;
        let webhook = world.webhook(&daemon, "acme").await;
        assert!(webhook["reason"].as_str().unwrap().contains("allow_destinations"), "{webhook}");
        // No attempt at the receiver is counted.
        assert_eq!(world.source.query_text("select sum(failed) from offtake.webhook").await, "0");
        daemon.stop().await;
    }
    assert_eq!(receiver.connections(), 0);
}

/// Path, query, secret and header values are in no output, no log, no metric and no table.
#[tokio::test]
async fn no_secret_leaves() {
    let token = "a-token-that-is-secret";
    let options =
        json!({ "headers": { "Authorization": format!("Bearer {token}") }, "timeout": "5s" });
    let (world, receiver) = users_world(options).await;
    world.allow("*");
    let daemon = daemon_with_webhooks(&world).await;
    let plays = [
        Play::OK,
        Play::Status(503),
        Play::Answer(302, "Location: /elsewhere?token=query-that-is-secret", ""),
        Play::Reset,
        Play::Status(400),
        Play::Silent,
    ];
    for (number, play) in plays.into_iter().enumerate() {
        receiver.play(move |request| if request.time == 1 { play.clone() } else { Play::OK });
        insert_user(&world, &format!("user {number}")).await;
        receiver.wait_requests(number + 1).await;
        world.wait_webhooks_told(PATIENCE).await;
    }
    assert_eq!(receiver.requests()[0].header("authorization"), format!("Bearer {token}"));
    receiver.play(|_| Play::OK);
    let tenant = world.id("acme");
    let mut outputs = vec![
        daemon.get("/metrics").await.1,
        daemon.get("/api/v1/status").await.1,
        daemon.get("/api/v1/webhooks").await.1,
        daemon.get(&format!("/api/v1/webhooks/{tenant}/main/attempts")).await.1,
        world.succeed(&["status"]).await,
        world.succeed(&["webhook", "list"]).await,
        world.succeed(&["webhook", "list", "--json"]).await,
        world.succeed(&["webhook", "show", "--tenant", tenant]).await,
        world.succeed(&["webhook", "attempts", "--tenant", tenant]).await,
        world.succeed(&["webhook", "test", "--tenant", tenant]).await,
        world.succeed(&["config"]).await,
    ];
    for table in
        ["webhook", "webhook_mapping", "webhook_attempt", "quarantined_event", "outgoing_request"]
    {
        let all = format!("select coalesce(string_agg(t::text, ' '), '') from offtake.{table} t");
        outputs.push(world.source.query_text(&all).await);
    }
    outputs.push(daemon.log_text());
    let secret = SECRET.trim_start_matches("whsec_");
    for output in &outputs {
        for hidden in [HIDDEN_PATH, HIDDEN_QUERY, secret, token] {
            assert!(!output.contains(hidden), "{hidden} is in:\n{output}");
        }
    }
    daemon.stop().await;
}

/// Without a network a preview says exactly what would be sent, apart from the signature.
#[tokio::test]
async fn a_preview_sends_nothing_and_a_test_sends_one() {
    let (world, receiver) = users_world(json!({})).await;
    let daemon = daemon_with_webhooks(&world).await;
    let tenant = world.id("acme");
    let key = world.source.query_text("select min(id::text) from (select project_user_id as id from project_user where not is_anonymous) u").await;
    let of = ["--tenant", tenant, "--mapping", "users", "--key", &key];
    let preview = world.succeed(&[&["webhook", "preview"], &of[..]].concat()).await;
    assert!(preview.contains("\"type\":\"users.upserted\"") && preview.contains(&key), "{preview}");
    assert!(!preview.contains(HIDDEN_PATH) && !preview.contains(HIDDEN_QUERY), "{preview}");
    assert_eq!(receiver.connections(), 0);
    let printed = world.succeed(&["webhook", "test", "--tenant", tenant]).await;
    assert!(printed.contains("200") && printed.contains("127.0.0.1"), "{printed}");
    assert_eq!(receiver.kinds(), ["offtake.test"]);
    world.succeed(&[&["webhook", "test"], &of[..]].concat()).await;
    assert_eq!(receiver.kinds(), ["offtake.test", "users.upserted"]);
    receiver.play(|_| Play::Status(500));
    assert_eq!(
        world.offtake(&["webhook", "test", "--tenant", tenant]).await.status.code(),
        Some(1)
    );
    receiver.assert_content();
    drop(receiver);
    assert_eq!(
        world.offtake(&["webhook", "test", "--tenant", tenant]).await.status.code(),
        Some(69)
    );
    daemon.stop().await;
}
