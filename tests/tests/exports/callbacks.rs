//! Callbacks: the end of an export is told, whatever happens to the daemon, and once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use offtake_tests::receiver::{Play, Receiver, Request, SECRET, installed, verify_with};
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.name from public.item i
target: { table: items }
";

const ADMIN: &str = "the admin token of these tests";
/// Under which the receivers are told to reach the daemon.
const PUBLIC: &str = "https://offtake.example.com/below";

async fn world() -> World {
    world_with((ADMIN, ""), json!(["1s", "1s"])).await
}

/// With these tokens, and these pauses between attempts.
async fn world_with((admin, read): (&str, &str), pauses: Value) -> World {
    let world = World::with_tenants(["acme"])
        .without_init()
        .mappings(&[("items", ITEMS)])
        .setting("/stores", json!({ "disk": { "kind": "disk", "path": "files" } }))
        .setting("/exports", json!({ "store": "disk", "callback_secret": SECRET }))
        .setting("/webhooks/retry/events", pauses)
        .setting("/http/admin_token", admin)
        .setting("/http/read_token", read)
        .setting("/http/public_url", PUBLIC)
        .await;
    world.with_items("name text", "insert into item values ('{tenant}', 1, 'one')").await;
    world
}

/// Asks for an export whose end the receiver is told.
async fn create(world: &World, receiver: &Receiver, more: &[&str]) -> String {
    let url = receiver.url();
    let asked = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--json"];
    let asked = [&asked[..], &["--callback", &url], more].concat();
    let told: Value = serde_json::from_str(&world.succeed(&asked).await).unwrap();
    told["id"].as_str().unwrap().to_owned()
}

/// The export, once its callback is in such a state.
async fn told(world: &World, id: &str, is: impl Fn(&Value) -> bool) -> Value {
    until("the export shows how its callback went", PATIENCE, async || {
        let told = world.succeed(&["export", "status", id, "--json"]).await;
        let told: Value = serde_json::from_str(&told).unwrap();
        if is(&told["callback"]) { Ok(told) } else { Err(told.to_string()) }
    })
    .await
}

fn assert_verified(requests: &[Request]) {
    for language in installed() {
        for said in verify_with(language, requests, Some(SECRET), None) {
            assert_eq!(said.v1, "verified", "{language:?}");
        }
    }
}

#[tokio::test]
async fn the_end_of_an_export_is_told_until_the_receiver_has_it() {
    let world = world().await;
    world.allow("callback_failed");
    let receiver = Receiver::start().await;
    let refused = AtomicUsize::new(0);
    receiver.play(move |_| match refused.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Play::Status(500),
        _ => Play::OK,
    });
    // The process dies right behind the transaction that completes the export.
    let mut first = world.spawn_daemon_with_failpoints(&[("export.after_end", "abort")]);
    first.wait_ready().await;
    let id = create(&world, &receiver, &[]).await;
    first.wait_exit(PATIENCE).await;
    let daemon = world.daemon().await;
    let done = told(&world, &id, |callback| callback["delivered"] == true).await;
    let callback = &done["callback"];
    assert_eq!((&callback["status"], &callback["attempts"]), (&json!(200), &json!(3)), "{done}");
    assert_eq!(done["state"], "completed");
    // Path and query may be secret.
    assert_eq!(done["callback"]["url"], format!("http://127.0.0.1:{}", receiver.port()));

    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.id() == requests[0].id()));
    assert_eq!(requests[0].kind(), "offtake.export.completed");
    let mut data = requests[0].event["data"].clone();
    assert!(requests.iter().all(|request| request.event == requests[0].event));
    // Each file is opened by its address, and by no token.
    for file in data["files"].as_array_mut().unwrap() {
        let url = file.as_object_mut().unwrap().remove("download_url").unwrap();
        let path = url.as_str().unwrap().strip_prefix(PUBLIC).unwrap().to_owned();
        assert_eq!(daemon.request("HEAD", &path, &[], "").await.0, 200, "{path}");
        assert_eq!(daemon.request("HEAD", &path[..path.len() - 3], &[], "").await.0, 403);
    }
    assert_eq!((&data["id"], &data["files"]), (&json!(id), &done["files"]), "{data}");
    assert_verified(&requests);
    world
        .source
        .wait_text("select count(*) from offtake.outgoing_request where kind = 'callback'", "0")
        .await;

    // What fails and what is cancelled is told, too; after the last retry it is over.
    receiver.play(|_| Play::Status(404));
    daemon.stop().await;
    let id = create(&world, &receiver, &[]).await;
    world.succeed(&["export", "cancel", &id]).await;
    let daemon = world.daemon().await;
    let over = told(&world, &id, |callback| callback["gave_up"] == true).await;
    assert_eq!(
        (&over["state"], &over["callback"]["attempts"]),
        (&json!("cancelled"), &json!(3)),
        "{over}"
    );
    assert_eq!(receiver.requests().last().unwrap().kind(), "offtake.export.cancelled");
    assert!(world.succeed(&["export", "list", "--json"]).await.contains("cancelled"));
    // The guard of webhooks is that of callbacks.
    let inside = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--json"];
    let inside = [&inside[..], &["--callback", "https://10.1.2.3/hook"]].concat();
    let inside: Value = serde_json::from_str(&world.succeed(&inside).await).unwrap();
    let id = inside["id"].as_str().unwrap();
    let refused = told(&world, id, |callback| callback["error"].is_string()).await;
    assert_eq!(refused["state"], "completed", "{refused}");
    let error = refused["callback"]["error"].as_str().unwrap();
    assert!(error.contains("security.allow_destinations"), "{error}");
    daemon.stop().await;
}

/// An export that failed, was told, is resumed and completes: each end is told, and what is shown of
/// one is not taken for the other's. An end that nothing was sent of is not told once the export goes
/// on again, or is deleted. The read token signs no links, so none are told.
#[tokio::test]
async fn each_end_of_an_export_is_told_by_itself() {
    let world = world_with(("", "the read token"), json!(["1s", "1s"])).await;
    world.allow("export_failed");
    let receiver = Receiver::start().await;
    let id = create(&world, &receiver, &[]).await;
    let mapping_version = async |version: &str| {
        let edited = format!(
            "update offtake.job set options = jsonb_set(options, '{{mappings,0,version}}', '{version}')"
        );
        world.source.execute(&edited).await;
    };
    let asked = "select (options #> '{mappings,0,version}')::text from offtake.job";
    let asked = world.source.query_text(asked).await;
    mapping_version("\"of another day\"").await;
    let daemon = world.daemon().await;
    let failed = told(&world, &id, |callback| callback["delivered"] == true).await;
    assert_eq!(failed["state"], "failed", "{failed}");
    daemon.stop().await;

    mapping_version(&asked).await;
    world.succeed(&["export", "resume", &id]).await;
    world.succeed(&["export", "cancel", &id]).await;
    let other = create(&world, &receiver, &[]).await;
    world.succeed(&["export", "cancel", &other]).await;
    world.succeed(&["export", "delete", &other, "--yes"]).await;
    let owed = "select count(*) from offtake.outgoing_request where kind = 'callback'";
    assert_eq!(world.source.query_text(owed).await, "1");
    world.succeed(&["export", "resume", &id]).await;
    let resumed = told(&world, &id, |_| true).await;
    assert_eq!(resumed["state"], "accepted", "{resumed}");
    let callback = &resumed["callback"];
    assert_eq!((&callback["delivered"], &callback["attempts"]), (&json!(false), &json!(0)));

    let daemon = world.daemon().await;
    let done = told(&world, &id, |callback| callback["delivered"] == true).await;
    assert_eq!(done["state"], "completed", "{done}");
    let requests = receiver.requests();
    let kinds: Vec<_> = requests.iter().map(Request::kind).collect();
    assert_eq!(kinds, ["offtake.export.failed", "offtake.export.completed"]);
    assert!(requests[0].event["data"]["reason"].as_str().unwrap().contains("was edited"));
    assert_ne!(requests[0].id(), requests[1].id());
    let files = requests[1].event["data"]["files"].as_array().unwrap();
    assert!(!files.is_empty() && files.iter().all(|file| file.get("download_url").is_none()));
    daemon.stop().await;
}

/// Two daemons; the answer to a callback arrives after its lease, when the callback was sent again:
/// with the same id, and only the answer to the later request counts. Nor does an answer count that
/// arrives while the export ends again, and the two do not deadlock.
#[tokio::test]
async fn an_answer_that_arrives_after_its_lease_settles_nothing() {
    let world = world_with((ADMIN, ""), json!(["1h"])).await;
    world.allow("callback_failed");
    let receiver = Receiver::start().await;
    let count = AtomicUsize::new(0);
    receiver.play(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Play::Status(404).after(Duration::from_secs(10)),
        1 => Play::Status(500),
        _ => Play::OK,
    });
    let (first, second) = (world.daemon().await, world.daemon().await);
    let id = create(&world, &receiver, &[]).await;
    receiver.wait_requests(1).await;
    let over = "update offtake.outgoing_request set leased_until = now(), leased_by = null
                where kind = 'callback'";
    world.source.execute(over).await;
    receiver.wait_requests(2).await;
    until("both answers are noted", PATIENCE, async || {
        let failed = |daemon: &Daemon| {
            daemon.log().iter().filter(|line| line.event == "callback_failed").count()
        };
        let noted = failed(&first) + failed(&second);
        if noted == 2 { Ok(()) } else { Err(noted.to_string()) }
    })
    .await;
    let callback = told(&world, &id, |_| true).await["callback"].clone();
    assert_eq!((&callback["status"], &callback["attempts"]), (&json!(500), &json!(1)));
    let failures = "select failures::text from offtake.outgoing_request where kind = 'callback'";
    assert_eq!(world.source.query_text(failures).await, "1");
    let requests = receiver.requests();
    assert_eq!(requests[0].id(), requests[1].id());

    // As the transaction does that ends the export again: first the export, then its request.
    let holder = world.source.connect().await;
    holder.batch_execute("begin; update offtake.job set not_before = not_before").await.unwrap();
    world.source.execute("update offtake.outgoing_request set not_before = now()").await;
    let waiting = "select count(*) from pg_stat_activity where datname = current_database()
                   and wait_event_type = 'Lock' and query like '%an attempt to tell a callback went%'";
    world.source.wait_text(waiting, "1").await;
    let owed = "update offtake.outgoing_request set attempt = attempt + 1, leased_until = null,
                not_before = 'infinity' where kind = 'callback'; commit";
    holder.batch_execute(owed).await.unwrap();
    first.stop().await;
    second.stop().await;
    let callback = told(&world, &id, |_| true).await["callback"].clone();
    assert_eq!(callback["status"], 500, "{callback}");
    assert_eq!(world.source.query_text(failures).await, "1");
}

#[tokio::test]
async fn a_callback_that_cannot_be_told_is_refused_beforehand() {
    let mut world = world().await;
    let receiver = Receiver::start().await;
    let to = world.folder().join("files");
    let asked = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--to"];
    let asked: Vec<String> = asked
        .iter()
        .map(|word| (*word).to_owned())
        .chain([to.to_str().unwrap().to_owned()])
        .collect();
    let refused = async |world: &World, url: &str| {
        let arguments: Vec<&str> =
            asked.iter().map(String::as_str).chain(["--callback", url]).collect();
        let output = world.offtake(&arguments).await;
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&world, "ftp://example.com").await.contains("https://"));
    world.configure(|file| {
        file["exports"].as_object_mut().unwrap().remove("callback_secret");
    });
    assert!(refused(&world, &receiver.url()).await.contains("exports.callback_secret"));
}
