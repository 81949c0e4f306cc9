//! The official libraries accept what is sent, and refuse what was touched.

use std::path::Path;

use offtake_tests::receiver::{
    Language, LibraryReceiver, Receiver, Request, SECRET, Said, installed, verify_with,
};
use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{PATIENCE, World, beside};
use serde_json::json;

use super::told::{daemon_with_webhooks, insert_user, users_world};

/// Another secret that Standard Webhooks accepts.
const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr";

/// Every request of a random run, with the library of each language.
#[tokio::test]
async fn every_request_of_a_random_run_verifies_in_every_language() {
    let workload = Workload::new(12);
    let mut world = Workload::plan(["acme", "globex"]).await;
    workload.prepare(&world).await;
    let (acme, globex) = (Receiver::start().await, Receiver::start().await);
    world.add_webhook("acme", &acme, json!({}));
    world.add_webhook("globex", &globex, json!({ "batch": { "events": 10 } }));
    let daemon = daemon_with_webhooks(&world).await;
    workload.run(&world, Extent::Steps(40)).await;
    // On a busy machine the writers may end before anything was told, and then many changes of a key
    // are one event.
    beside(acme.wait_requests(51), async || {
        workload.run(&world, Extent::Steps(5)).await;
    })
    .await;
    world.wait_webhooks_told(PATIENCE).await;
    acme.assert_content();
    globex.assert_content();
    let requests = [acme.requests(), globex.requests()].concat();
    assert!(requests.len() > 50, "{}", requests.len());
    for language in installed() {
        for (request, said) in requests.iter().zip(said(language, &requests)) {
            assert_eq!(said.v1, "verified", "{language:?} refuses {}", request.id());
            assert_eq!(said.parsed["type"], request.event["type"]);
        }
    }
    daemon.stop().await;
}

fn said(language: Language, requests: &[Request]) -> Vec<Said> {
    verify_with(language, requests, Some(SECRET), None)
}

/// A body, an id or a time that somebody changed, another secret, a clock that is six minutes off.
#[tokio::test]
async fn what_was_touched_is_refused_in_every_language() {
    let (world, receiver) = users_world(json!({})).await;
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    let request = receiver.wait_requests(1).await.remove(0);
    let with = |change: &dyn Fn(&mut Request)| {
        let mut touched = request.clone();
        change(&mut touched);
        touched
    };
    let at: i64 = request.header("webhook-timestamp").parse().unwrap();
    let header = |request: &mut Request, name: &str, value: &str| {
        request.headers.insert(name.to_owned(), value.to_owned());
    };
    let touched = [
        with(&|request| *request.body.last_mut().unwrap() = b' '),
        with(&|request| header(request, "webhook-id", "evt_other")),
        with(&|request| header(request, "webhook-timestamp", &(at + 1).to_string())),
        with(&|request| header(request, "webhook-timestamp", &(at - 360).to_string())),
        with(&|request| header(request, "webhook-timestamp", &(at + 360).to_string())),
        with(&|request| header(request, "webhook-signature", "v1,AAAA")),
    ];
    for language in installed() {
        assert_eq!(
            said(language, std::slice::from_ref(&request))[0].v1,
            "verified",
            "{language:?}"
        );
        for said in said(language, &touched) {
            assert_ne!(said.v1, "verified", "{language:?}");
        }
        let other = verify_with(language, std::slice::from_ref(&request), Some(OTHER), None);
        assert_ne!(other[0].v1, "verified", "{language:?}");
    }
    daemon.stop().await;
}

/// Two secrets sign: a receiver that knows either of them verifies. This is how one is changed.
#[tokio::test]
async fn a_secret_is_changed_without_one_refused_request() {
    let (mut world, receiver) = users_world(json!({ "secret": [OTHER, SECRET] })).await;
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    let both = receiver.wait_requests(1).await;
    assert_eq!(both[0].header("webhook-signature").matches("v1,").count(), 2);
    for language in installed() {
        for secret in [OTHER, SECRET] {
            let said = verify_with(language, &both, Some(secret), None);
            assert_eq!(said[0].v1, "verified", "{language:?} {secret}");
        }
    }
    let webhook = world.webhook(&daemon, "acme").await;
    let signatures = webhook["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), 2, "{webhook}");
    for signature in signatures {
        assert_eq!(signature["fingerprint"].as_str().unwrap().len(), 8, "{webhook}");
    }
    assert!(!webhook.to_string().contains("whsec_"), "{webhook}");
    daemon.stop().await;
    // The receiver knows the new one, so the old one can go.
    receiver.know(OTHER);
    world.change_webhook(|webhook| webhook["secret"] = OTHER.into());
    let daemon = world.daemon().await;
    insert_user(&world, "Bob").await;
    receiver.wait_requests(2).await;
    receiver.assert_content();
    daemon.stop().await;
}

/// `v1a` by the crypto of Node and of Python, alone and beside `v1`, which the libraries still take.
#[tokio::test]
async fn an_ed25519_signature_verifies_alone_and_beside_the_other() {
    let (private, public) = ed25519_pair();
    let (world, receiver) = users_world(json!({ "secret": [private, SECRET] })).await;
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    let requests = receiver.wait_requests(1).await;
    let kinds: Vec<&str> = requests[0]
        .header("webhook-signature")
        .split(' ')
        .map(|one| one.split(',').next().unwrap())
        .collect();
    assert_eq!(kinds, ["v1a", "v1"]);
    let mut touched = requests[0].clone();
    touched.body.push(b' ');
    for language in installed() {
        let all = [requests[0].clone(), touched.clone()];
        let said = verify_with(language, &all, Some(SECRET), Some(&public));
        assert_eq!((&said[0].v1, &said[0].v1a), (&json!("verified"), &json!("verified")));
        assert_eq!(said[1].v1a, "refused", "{language:?}");
        let (_, another) = ed25519_pair();
        let said = verify_with(language, &requests, None, Some(&another));
        assert_eq!(said[0].v1a, "refused", "{language:?}");
    }
    receiver.assert_content();
    daemon.stop().await;
}

/// Fresh, from `offtake webhook secret --ed25519`.
fn ed25519_pair() -> (String, String) {
    let mut command = std::process::Command::new(offtake_tests::binary("offtake"));
    let output = command.args(["webhook", "secret", "--ed25519"]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let word = |prefix: &str| {
        let mut words = printed.split_whitespace().map(|word| word.trim_matches(['"', '`', ',']));
        words
            .find(|word| word.starts_with(prefix))
            .unwrap_or_else(|| panic!("{printed}"))
            .to_owned()
    };
    (word("whsk_"), word("whpk_"))
}

/// The receivers of `docs/webhooks.md`, as the page shows them, know what the queries say.
#[tokio::test]
async fn the_receivers_of_the_documentation_know_what_the_queries_say() {
    for language in installed() {
        let mut world = World::with_tenants(["acme"]).await;
        let receiver = LibraryReceiver::of(language);
        world.add_webhook_at("acme", &receiver.url(), json!({ "backfill": true }));
        world.fill(30).await;
        let daemon = daemon_with_webhooks(&world).await;
        receiver.wait_equal(&world, "acme").await;
        insert_user(&world, "Ann").await;
        world
            .source
            .execute("update project_user set display_name = 'Zoë 😀' where display_name <> 'Ann'")
            .await;
        world.source.execute("delete from project_user where display_name = 'Ann'").await;
        world.wait_webhooks_told(PATIENCE).await;
        receiver.wait_equal(&world, "acme").await;
        world.source.execute("truncate public.contact_channel").await;
        receiver.wait_equal(&world, "acme").await;
        daemon.stop().await;
    }
}

/// The page and the programs are the same text.
#[test]
fn the_documentation_shows_the_receivers_that_the_tests_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/webhooks.md")).unwrap();
    for program in
        ["node/receiver.mjs", "node/ed25519.mjs", "python/receiver.py", "python/ed25519.py"]
    {
        let text = std::fs::read_to_string(root.join("tests/receivers").join(program)).unwrap();
        assert!(page.contains(&text), "docs/webhooks.md does not show {program} as it is");
    }
}

/// The vector that Standard Webhooks publishes, so that the receiver of the tests is not wrong in the
/// same way as the sender.
#[test]
fn the_libraries_agree_with_the_published_vector() {
    let webhook = standardwebhooks::Webhook::new(SECRET).unwrap();
    let signed = webhook.sign(
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1_649_367_553,
        br#"{"email":"test@example.com","username":"test_user"}"#,
    );
    assert_eq!(signed.unwrap(), "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
}
