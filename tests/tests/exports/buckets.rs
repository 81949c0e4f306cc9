//! Exports and snapshots whose store is a bucket.

use offtake_tests::object_store::{ACCESS_KEY_ID, Fault, ObjectStore, SECRET, Seen};
use offtake_tests::tools::{on_path, succeed};
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};

use crate::daemons::{ITEMS, assert_whole, end_lease, go_on, wait_parts, wait_state};
use crate::readers::frames;

/// What a frame of zstd begins with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

async fn world(server: &ObjectStore) -> World {
    let world = World::with_tenants(["acme"])
        .without_init()
        .mappings(&[("items", ITEMS)])
        .setting(
            "/stores",
            json!({ "r2": server.settings(), "disk": { "kind": "disk", "path": "files" } }),
        )
        .setting("/exports", json!({ "chunk_rows": 100, "pause": "1ms", "store": "r2" }))
        .setting("/snapshots", json!({ "store": "r2" }))
        .await;
    let fill =
        "insert into item select '{tenant}', n, 'name ' || n from generate_series(1, 2000) n";
    world.with_items("name text", fill).await;
    world
}

/// Killed daemons, an outage of the store, and no object too many at the end.
#[tokio::test]
async fn exports_and_snapshots_are_kept_in_a_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = ObjectStore::start(folder.path()).await else { return };
    let world = world(&server).await;
    let checked = world.succeed(&["check", "--connect"]).await;
    assert!(checked.contains("1 of 1 object store(s) can be written"), "{checked}");
    assert_eq!(server.keys(), Vec::<String>::new());
    late_worker(&world, &server).await;
    server.take_seen();

    let create = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--json"];
    let told: Value = serde_json::from_str(&world.succeed(&create).await).unwrap();
    let id = told["id"].as_str().unwrap().to_owned();
    for (failpoint, parts) in [("export.before_put", 2), ("export.after_put", 4)] {
        let actions = "2*off->pause";
        let mut daemon = world.spawn_daemon_with_failpoints(&[(failpoint, actions)]);
        daemon.wait_ready().await;
        wait_parts(&world, &parts.to_string()).await;
        daemon.wait_at_failpoint(failpoint, 1).await;
        daemon.kill();
        end_lease(&world).await;
    }
    // The store is away for a while: the export pauses, says why, and goes on.
    server.always("PUT", Fault::Answer(500, "retry-after: 600\r\n", "InternalError"));
    let daemon = world.daemon().await;
    daemon.allow("export_paused");
    let paused = wait_state(&world, &id, "paused").await;
    assert!(paused["reason"].as_str().unwrap().contains("store unreachable"), "{paused}");
    // It counts the error and tells of it after it has recorded the pause.
    daemon.wait_logged("export_paused").await;
    server.mend();
    let done = wait_state(&world, &id, "completed").await;
    assert_eq!(done["progress"]["rows_done"], 2000, "{done}");
    // It deletes what the killed daemons have left after it has recorded the end.
    daemon.wait_logged("export_completed").await;
    let errors = daemon.metric("offtake_store_errors_total{class=\"unreachable\"}").await;
    assert!(errors >= 1.0, "{errors}");
    world.succeed(&["export", "verify", &id]).await;
    let to = world.folder().join("fetched");
    world.succeed(&["export", "download", &id, "--to", to.to_str().unwrap()]).await;
    assert_whole(&world, "fetched");
    // The names of each attempt are its own: no export depends on a condition, which some stores
    // do not look at.
    let conditional = |seen: &Seen| seen.head.contains("if-none-match");
    assert!(!server.take_seen().iter().any(conditional), "an export depends on it");
    // 20 parts, the head of the file, and the manifest.
    let keys = server.keys();
    assert_eq!(keys.len(), 22, "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with(&format!("offtake/files/{id}/"))), "{keys:?}");
    world.succeed(&["export", "delete", &id, "--yes"]).await;
    assert_eq!(server.keys(), Vec::<String>::new());
    zstd(&world, &server).await;
    snapshot(&world, &server, &daemon).await;
    daemon.stop().await;
    away_when_files_expire(&world, &server).await;
    wrong_key(world).await;
}

/// A worker that wakes after its lease writes a part of an export that was deleted meanwhile. It finds
/// that out, and deletes the part.
async fn late_worker(world: &World, server: &ObjectStore) {
    let mut daemon = world.spawn_daemon_with_failpoints(&[("export.before_put", "2*off->pause")]);
    daemon.wait_ready().await;
    let create = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--json"];
    let told: Value = serde_json::from_str(&world.succeed(&create).await).unwrap();
    let id = told["id"].as_str().unwrap();
    daemon.wait_at_failpoint("export.before_put", 1).await;
    end_lease(world).await;
    world.succeed(&["export", "delete", id, "--yes"]).await;
    server.take_seen();
    go_on(&daemon).await;
    let put = |seen: &Seen| seen.asked.starts_with("PUT") && seen.asked.contains(id);
    assert!(server.take_seen().iter().any(put), "the worker was not late");
    assert_eq!(server.keys(), Vec::<String>::new());
    daemon.stop().await;
}

/// The frames of a file's parts are joined when it is fetched.
async fn zstd(world: &World, server: &ObjectStore) {
    let create = ["export", "create", "--tenant", world.id("acme"), "--format", "ndjson", "--json"];
    let told = world.succeed(&[&create[..], &["--compression", "zstd", "--wait"]].concat()).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let id = told["id"].as_str().unwrap();
    world.succeed(&["export", "verify", id]).await;
    let to = world.folder().join("joined");
    let to = to.to_str().unwrap();
    world.succeed(&["export", "download", id, "--to", to]).await;
    world.succeed(&["export", "verify", "--in", to]).await;
    let file = world.folder().join("joined/items.ndjson.zst");
    if on_path("zstd").is_some() {
        assert_eq!(frames(&file), 1);
        let (text, _) = succeed(std::process::Command::new("zstd").arg("-dc").arg(&file));
        assert_eq!(text.lines().count(), 2000);
    }
    world.succeed(&["export", "delete", id, "--yes"]).await;
    assert_eq!(server.keys(), Vec::<String>::new());
}

async fn snapshot(world: &World, server: &ObjectStore, daemon: &Daemon) {
    let create = ["snapshot", "create", "--tenant", world.id("acme"), "--store", "r2", "--json"];
    let made: Value = serde_json::from_str(&world.succeed(&create).await).unwrap();
    let id = made["id"].as_str().unwrap();
    world.succeed(&["snapshot", "validate", id]).await;
    // The bucket opens its file by itself.
    let links = format!("/api/v1/snapshots/{id}/links");
    let (code, told) = daemon.request("POST", &links, &[], "{}").await;
    assert_eq!(code, 200, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let to = world.folder().join("linked.tar.zst");
    let url = told["items"][0]["url"].as_str().unwrap();
    assert!(url.starts_with(&server.endpoint()), "{url}");
    let arguments = ["-s", "-f", "-o", to.to_str().unwrap(), url];
    let fetched = tokio::process::Command::new("curl").args(arguments).output().await.unwrap();
    assert!(fetched.status.success(), "{fetched:?}");
    assert!(std::fs::read(&to).unwrap().starts_with(&ZSTD_MAGIC));
    let listed = world.succeed(&["snapshot", "list", "--json"]).await;
    assert!(listed.contains(id), "{listed}");
    let restore = ["snapshot", "restore", id, "--tenant", world.id("acme"), "--schema", "back"];
    world.succeed(&[&restore[..], &["--destination", "main", "--yes"]].concat()).await;
    let count = "select count(*) from back.items";
    assert_eq!(world.tenant("acme").destination.query_text(count).await, "2000");
    world.succeed(&["snapshot", "delete", id, "--yes"]).await;
    assert_eq!(server.keys(), Vec::<String>::new());
}

/// A store that does not answer when files are to be deleted keeps no export of another store waiting.
async fn away_when_files_expire(world: &World, server: &ObjectStore) {
    let create = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--json"];
    let told: Value = serde_json::from_str(&world.succeed(&create).await).unwrap();
    let daemon = world.daemon().await;
    let id = told["id"].as_str().unwrap();
    wait_state(world, id, "completed").await;
    daemon.stop().await;
    world.source.execute("update offtake.job set expires_at = now()").await;
    // It is asked again for more than a minute.
    server.always("GET", Fault::Answer(503, "retry-after: 15\r\n", "SlowDown"));
    server.take_seen();
    let daemon = world.daemon().await;
    until("the files are to be deleted", PATIENCE, async || match server.take_seen().is_empty() {
        true => Err("the store was not asked".to_owned()),
        false => Ok(()),
    })
    .await;
    let told = world.succeed(&[&create[..], &["--store", "disk", "--wait"]].concat()).await;
    assert!(told.contains("\"state\":\"completed\""), "{told}");
    let over = daemon.log().iter().any(|line| line.event == "store_failed");
    assert!(!over, "it waited until the files were no longer to be deleted");
    daemon.stop().await;
    server.mend();
    world.succeed(&["export", "delete", id, "--yes"]).await;
    assert_eq!(server.keys(), Vec::<String>::new());
}

/// Commands tell what is wrong with the store, and no command shows the key.
async fn wrong_key(mut world: World) {
    world.configure(|c| c["stores"]["r2"]["secret_access_key"] = "canary-wrong".into());
    for (command, code) in
        [(vec!["check", "--connect"], 1), (vec!["snapshot", "list"], 1), (vec!["config"], 0)]
    {
        let output = world.offtake(&command).await;
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(code == 0 || told.contains("not the one of this access_key_id"), "{told}");
        assert!(code == 0 || told.contains("or the store's access key"), "{told}");
        assert!(!told.contains("canary") && !told.contains(ACCESS_KEY_ID), "{told}");
    }
    world.configure(|c| c["stores"]["r2"]["secret_access_key"] = SECRET.into());
    world.succeed(&["snapshot", "list"]).await;
}
