//! Receivers that prove by TLS who they are, and those that cannot.

use offtake_tests::certificates::{Authority, Validity};
use offtake_tests::receiver::Receiver;
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};

use super::answers::quarantined;
use super::told::{daemon_with_webhooks, insert_user};

const NAME: &str = "localhost";

/// Waits until that webhook of acme is in this state, and its last error says this.
async fn wait_state(world: &World, daemon: &Daemon, name: &str, state: &str, says: &str) {
    until(&format!("{name} is {state}: {says}"), PATIENCE, async || {
        let path = format!("/api/v1/webhooks/{}/{name}", world.id("acme"));
        let (_, body) = daemon.get(&path).await;
        let webhook: Value = serde_json::from_str(&body).unwrap();
        let error = webhook["last_error"].as_str().unwrap_or_default();
        if webhook["state"] == state && error.contains(says) { Ok(()) } else { Err(body) }
    })
    .await;
}

/// Adds a webhook of acme at a receiver with TLS, whose certificate is to be of the authority in
/// `ca.pem`.
fn add(world: &mut World, name: &str, receiver: &Receiver, options: Value) {
    let mut all = json!({ "name": name, "mappings": ["users"], "ca_file": "ca.pem" });
    for (option, value) in options.as_object().unwrap() {
        all[option] = value.clone();
    }
    world.add_webhook_at("acme", &receiver.url_at("https", NAME), all);
}

async fn world_with_authority(authority: &Authority) -> World {
    let mut world = World::with_tenants(["acme"]).await;
    authority.write(world.folder(), "ca.pem");
    world.configure(|configuration| {
        configuration["security"]["allow_destinations"] = json!(["127.0.0.0/8", "::1/128"]);
    });
    world.allow("webhook_unwell");
    world
}

/// Each of these could be somebody else in the receiver's place: it gets nothing, not even the
/// request, and the reason says what is wrong.
#[tokio::test]
async fn a_receiver_that_cannot_prove_who_it_is_is_told_nothing() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let mut world = world_with_authority(&ours).await;
    let cases = [
        ("expired", ours.certify(NAME, Validity::Expired), "has expired"),
        ("name", ours.certify("elsewhere.example", Validity::Now), "is for another name"),
        ("authority", theirs.certify(NAME, Validity::Now), "is not from the authorities in"),
    ];
    let good = Receiver::start_with_tls(ours.certify(NAME, Validity::Now).server(None)).await;
    add(&mut world, "main", &good, json!({}));
    let mut bad = Vec::new();
    for (name, certified, _) in &cases {
        let receiver = Receiver::start_with_tls(certified.server(None)).await;
        add(&mut world, name, &receiver, json!({}));
        bad.push(receiver);
    }
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    good.wait_requests(1).await;
    for (name, _, says) in &cases {
        wait_state(&world, &daemon, name, "blocked", says).await;
    }
    wait_state(&world, &daemon, "main", "in_sync", "").await;
    for receiver in &bad {
        assert!(receiver.connections() > 0 && receiver.requests().is_empty());
    }
    assert_eq!(quarantined(&world).await, 0);
    good.assert_content();
    daemon.stop().await;
}

/// A receiver that asks who calls is shown the certificate that the webhook has for it.
#[tokio::test]
async fn a_receiver_that_asks_for_a_certificate_gets_the_one_of_its_webhook() {
    let (ours, clients, others) =
        (Authority::new("ours"), Authority::new("clients"), Authority::new("others"));
    let mut world = world_with_authority(&ours).await;
    let certificate = |of: &Authority, name: &str| {
        let (certificate_file, key_file) =
            of.certify("offtake", Validity::Now).write(world.folder(), name);
        json!({ "client_certificate": { "certificate_file": certificate_file, "key_file": key_file } })
    };
    let (right, wrong) = (certificate(&clients, "right"), certificate(&others, "wrong"));
    let tls = ours.certify(NAME, Validity::Now).server(Some(&clients));
    let cases = [("main", right), ("wrong", wrong), ("none", json!({}))];
    let mut receivers = Vec::new();
    for (name, options) in cases {
        let receiver = Receiver::start_with_tls(tls.clone()).await;
        add(&mut world, name, &receiver, options);
        receivers.push(receiver);
    }
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    receivers[0].wait_requests(1).await;
    wait_state(&world, &daemon, "main", "in_sync", "").await;
    for name in ["wrong", "none"] {
        wait_state(&world, &daemon, name, "blocked", "localhost").await;
    }
    assert!(receivers[1..].iter().all(|receiver| receiver.requests().is_empty()));
    assert_eq!(quarantined(&world).await, 0);
    receivers[0].assert_content();
    daemon.stop().await;
}
