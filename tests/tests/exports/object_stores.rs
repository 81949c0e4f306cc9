//! Stores that are buckets: what a store promises, what networks and busy stores do, and exports and
//! snapshots in one.

use std::time::{Duration, Instant};

use bytes::Bytes;
use offtake_jobs::stores::{BucketPlace, Endpoint, Existing, Key, Place, Trouble};
use offtake_jobs::{Store, StoreSpec};
use offtake_tests::object_store::{ACCESS_KEY_ID, BUCKET, Fault, ObjectStore, SECRET, Seen};
use offtake_tests::tools::{on_path, succeed};
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};

use crate::daemons::{ITEMS, assert_whole, end_lease, go_on, wait_parts, wait_state};
use crate::readers::frames;

/// What the uploads of large objects have in each part but the last.
const PART_BYTES: usize = 16 << 20;

/// What a frame begins with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

fn place(of: &ObjectStore) -> BucketPlace {
    BucketPlace {
        endpoint: Endpoint::parse(&of.endpoint()).unwrap(),
        bucket: BUCKET.to_owned(),
        prefix: Key::new("offtake/files"),
        region: "us-east-1".to_owned(),
        access_key_id: ACCESS_KEY_ID.to_owned(),
        secret_access_key: SECRET.to_owned(),
        ca_file: None,
    }
}

fn store(place: BucketPlace) -> Store {
    Store::open(&StoreSpec { name: "r2".to_owned(), place: Place::S3(place) })
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// Bytes that no two places have in common.
fn large(bytes: usize) -> Bytes {
    let numbers = 0..u32::try_from(bytes / 4).unwrap();
    numbers.flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<u8>>().into()
}

async fn read(store: &Store, name: &str, from: u64, length: Option<u64>) -> Vec<u8> {
    let mut reader = store.read(&key(name), from, length).await.unwrap();
    let (left, mut all) = (reader.left(), Vec::new());
    while let Some(piece) = reader.next().await.unwrap() {
        all.extend_from_slice(&piece);
    }
    assert_eq!(left, all.len() as u64);
    all
}

async fn write(store: &Store, name: &str, content: &Bytes, existing: Existing) -> Option<Trouble> {
    let mut writer = store.writer(&key(name)).await.unwrap();
    for at in (0..content.len()).step_by(3 << 20) {
        let piece = content.slice(at..content.len().min(at + (3 << 20)));
        if let Err(error) = writer.write(piece).await {
            return Some(error.trouble);
        }
    }
    writer.finish(existing).await.err().map(|error| error.trouble)
}

async fn put(store: &Store, name: &str, content: &str, existing: Existing) -> Option<Trouble> {
    let content = Bytes::copy_from_slice(content.as_bytes());
    store.put(&key(name), content, existing).await.err().map(|error| error.trouble)
}

/// Everything that `Store` says of itself, of any store.
async fn assert_keeps_promises(store: &Store) {
    assert_eq!(store.size(&key("a/b")).await.unwrap(), None);
    assert!(store.list_all().await.unwrap().is_empty());
    assert_eq!(put(store, "a/b", "0123456789", Existing::Keep).await, None);
    assert_eq!(put(store, "a/b", "other", Existing::Keep).await, Some(Trouble::Exists));
    assert_eq!(put(store, "a/c", "", Existing::Replace).await, None);
    assert_eq!(put(store, "ab", "beside", Existing::Replace).await, None);
    assert_eq!(read(store, "a/b", 0, None).await, b"0123456789");
    assert_eq!(read(store, "a/b", 3, Some(4)).await, b"3456");
    assert_eq!(read(store, "a/b", 8, Some(9)).await, b"89");
    for (name, from) in [("a/b", 10), ("a/b", 99), ("a/c", 0)] {
        assert!(read(store, name, from, None).await.is_empty());
    }
    assert_eq!(store.get(&key("a/b"), 10).await.unwrap(), "0123456789");
    assert_eq!(store.get(&key("a/b"), 9).await.unwrap_err().trouble, Trouble::Denied);
    assert_eq!(store.get(&key("a/x"), 9).await.unwrap_err().trouble, Trouble::Missing);
    let names = |listed: Vec<offtake_jobs::stores::Object>| {
        let mut names: Vec<_> = listed.iter().map(|o| format!("{}:{}", o.key, o.size)).collect();
        names.sort_unstable();
        names.join(" ")
    };
    assert_eq!(names(store.list(&key("a")).await.unwrap()), "a/b:10 a/c:0");
    assert_eq!(names(store.list_all().await.unwrap()), "a/b:10 a/c:0 ab:6");
    store.delete(&key("a/c")).await.unwrap();
    store.delete(&key("a/c")).await.unwrap();
    store.delete_all(&key("a")).await.unwrap();
    assert_eq!(names(store.list_all().await.unwrap()), "ab:6");
    store.rename(&key("ab"), &key("c/d")).await.unwrap();
    store.rename(&key("ab"), &key("c/e")).await.unwrap();
    assert_eq!(names(store.list_all().await.unwrap()), "c/d:6");
    assert_eq!(put(store, "ab", "other", Existing::Keep).await, None);
    let taken = store.rename(&key("ab"), &key("c/d")).await.unwrap_err();
    assert_eq!(taken.trouble, Trouble::Exists);
    store.delete(&key("ab")).await.unwrap();
    store.delete(&key("c/d")).await.unwrap();

    let twice = large(2 * PART_BYTES);
    let whole = twice.slice(..PART_BYTES + 1000);
    assert_eq!(write(store, "big", &whole, Existing::Keep).await, None);
    assert!(read(store, "big", 0, None).await == whole, "it is another one");
    assert!(read(store, "big", 16_777_000, Some(999)).await == whole[16_777_000..16_777_999]);
    assert_eq!(write(store, "big", &whole, Existing::Keep).await, Some(Trouble::Exists));
    // One that has exactly the size of its parts.
    assert_eq!(write(store, "big", &twice, Existing::Replace).await, None);
    assert_eq!(store.size(&key("big")).await.unwrap(), Some(twice.len() as u64));
    // Small ones through a writer.
    assert_eq!(write(store, "big", &whole.slice(..5), Existing::Replace).await, None);
    assert_eq!(store.size(&key("big")).await.unwrap(), Some(5));
    store.delete(&key("big")).await.unwrap();
    assert!(store.try_out().await.unwrap().is_empty(), "it can be used without a warning");
    assert!(store.list_all().await.unwrap().is_empty());
}

/// Every part of an upload but its last has one size: R2 refuses others, at the very end.
fn assert_parts_of_one_size(seen: &[Seen]) {
    let parts: Vec<_> = seen.iter().filter(|seen| seen.asked.contains("partNumber=")).collect();
    assert!(parts.len() >= 6, "{parts:?}");
    for pair in parts.windows(2) {
        let follows = !pair[1].asked.contains("partNumber=1&");
        assert!(!follows || pair[0].size == PART_BYTES, "{pair:?}");
    }
}

async fn wait_unfinished(server: &ObjectStore, expect: usize) {
    until("no upload is left", PATIENCE, async || match server.unfinished() {
        left if left.len() == expect => Ok(()),
        left => Err(format!("{left:?}")),
    })
    .await;
}

#[tokio::test]
async fn a_bucket_keeps_what_stores_promise_and_gives_links() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = ObjectStore::start(folder.path()).await else { return };
    let store = store(place(&server));
    assert_keeps_promises(&store).await;
    assert_parts_of_one_size(&server.take_seen());
    // A writer that is dropped ends its upload.
    let whole = large(PART_BYTES + 4);
    let mut writer = store.writer(&key("big")).await.unwrap();
    writer.write(whole.clone()).await.unwrap();
    assert!(!server.unfinished().is_empty(), "there is an upload");
    assert_eq!(store.size(&key("big")).await.unwrap(), None, "it is visible unfinished");
    drop(writer);
    wait_unfinished(&server, 0).await;
    assert_eq!(server.keys(), Vec::<String>::new());

    // Anybody may read by a link, until it expires, and only what it is for.
    put(&store, "a/b", "for a customer", Existing::Keep).await;
    let link = store.link(&key("a/b"), Duration::from_secs(60), Some(&key("users.csv"))).unwrap();
    let (status, head, body) = curl(&link).await;
    assert_eq!((status.as_str(), body.as_str()), ("200", "for a customer"));
    assert!(head.contains("attachment; filename=\"users.csv\""), "{head}");
    for other in [link.replace("/a/b?", "/a/c?"), link.replace("Expires=60", "Expires=61")] {
        assert_eq!(curl(&other).await.0, "403", "{other}");
    }
    assert!(!link.contains(SECRET));
}

/// Status, head and body of an answer.
async fn curl(url: &str) -> (String, String, String) {
    let output = tokio::process::Command::new("curl").args(["-s", "-i", url]).output().await;
    let told = String::from_utf8(output.unwrap().stdout).unwrap();
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), head.to_owned(), body.to_owned())
}

/// A second store, which also lists uploads that were begun and not ended.
#[tokio::test]
async fn another_store_agrees_and_its_uploads_are_ended() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = ObjectStore::start_moto(folder.path()).await else { return };
    let store = store(place(&server));
    assert_keeps_promises(&store).await;
    let whole = large(PART_BYTES + 4);
    for name in ["a/big", "b/big"] {
        let mut writer = store.writer(&key(name)).await.unwrap();
        writer.write(whole.clone()).await.unwrap();
        // As one whose process was killed.
        std::mem::forget(writer);
    }
    let ended = || {
        let seen = server.take_seen().into_iter();
        seen.filter(|seen| seen.asked.starts_with("DELETE") && seen.asked.contains("uploadId="))
            .map(|seen| seen.asked.split('?').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    ended();
    store.delete_all(&key("a")).await.unwrap();
    assert_eq!(ended(), ["DELETE /dumps/offtake/files/a/big"]);
    store.remove_unfinished(&key("c"), Duration::ZERO).await.unwrap();
    assert_eq!(ended(), [""; 0]);
    for left in [vec!["DELETE /dumps/offtake/files/b/big"], vec![]] {
        store.remove_unfinished(&key("b"), Duration::ZERO).await.unwrap();
        assert_eq!(ended(), left);
    }
}

#[tokio::test]
async fn what_passes_is_ridden_out_and_a_lost_answer_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = ObjectStore::start(folder.path()).await else { return };
    let store = store(place(&server));
    let slow = Fault::Answer(503, "retry-after: 1\r\n", "SlowDown");
    for (at, fault) in [
        Fault::Answer(500, "", "InternalError"),
        slow.clone(),
        Fault::CutRequest,
        Fault::LoseAnswer,
    ]
    .into_iter()
    .enumerate()
    {
        for existing in [Existing::Replace, Existing::Keep] {
            let name = format!("put-{at}-{existing:?}");
            server.next("PUT", fault.clone());
            assert_eq!(put(&store, &name, "x", existing).await, None, "{fault:?}");
            assert_eq!(put(&store, &name, "y", Existing::Keep).await, Some(Trouble::Exists));
            assert_eq!(store.get(&key(&name), 1).await.unwrap(), "x");
        }
    }
    server.mend();
    // An upload, at each of its steps.
    let whole = large(PART_BYTES + 4000);
    let cut = [("partNumber=1", Fault::CutRequest), ("partNumber=2", Fault::LoseAnswer)];
    let begun = Fault::Answer(500, "", "InternalError");
    let lost =
        [("uploads=", begun), ("POST /dumps/offtake/files/up-1?uploadId", Fault::LoseAnswer)];
    let refused = Fault::Answer(200, "", "InternalError");
    let told = [("POST /dumps/offtake/files/up-2?uploadId", refused), ("HEAD", slow)];
    for (at, faults) in [cut, lost, told].into_iter().enumerate() {
        faults.iter().for_each(|(text, fault)| server.next(text, fault.clone()));
        let name = format!("up-{at}");
        assert_eq!(write(&store, &name, &whole, Existing::Keep).await, None, "{faults:?}");
        server.mend();
        assert!(read(&store, &name, 0, None).await == whole, "{faults:?}");
    }
    // An answer that breaks off is read on; not where the object was replaced meanwhile.
    server.next("GET", Fault::CutAnswer);
    server.next("GET", Fault::CutAnswer);
    assert!(read(&store, "up-0", 7, None).await == whole[7..]);
    server.next("GET", Fault::CutAnswer);
    let mut reader = store.read(&key("up-0"), 0, None).await.unwrap();
    reader.next().await.unwrap();
    assert_eq!(put(&store, "up-0", "replaced", Existing::Replace).await, None);
    let error = loop {
        match reader.next().await {
            Ok(piece) => assert!(piece.is_some(), "it reads two objects as one"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("replaced while it was read"), "{error}");
    server.mend();
    // A store that does not know the condition; it is told by `check`.
    server.always("if-none-match", Fault::Answer(501, "", "NotImplemented"));
    assert_eq!(put(&store, "unconditional", "x", Existing::Keep).await, None);
    assert_eq!(write(&store, "unconditional-too", &whole, Existing::Keep).await, None);
    assert_eq!(put(&store, "put-0-Keep", "y", Existing::Keep).await, Some(Trouble::Exists));
    assert!(store.try_out().await.unwrap()[0].contains("If-None-Match"));
    server.mend();
    store.delete_all(&key("put-0-Keep")).await.unwrap();
    assert!(server.unfinished().is_empty(), "{:?}", server.unfinished());
}

#[tokio::test]
async fn what_does_not_pass_has_a_class_and_clear_words() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = ObjectStore::start(folder.path()).await else { return };
    let told = async |place: BucketPlace| {
        let put = store(place).put(&key("a"), Bytes::from_static(b"x"), Existing::Replace).await;
        let error = put.unwrap_err();
        let text = error.to_string();
        assert!(!text.contains("canary"), "{text}");
        (error.trouble, text)
    };
    let good = place(&server);
    for (place, trouble, words) in [
        (
            BucketPlace { secret_access_key: "canary-wrong".to_owned(), ..good.clone() },
            Trouble::Denied,
            "the secret_access_key is not the one of this access_key_id",
        ),
        (
            BucketPlace { access_key_id: "AKIAOTHER".to_owned(), ..good.clone() },
            Trouble::Denied,
            "403",
        ),
        (
            BucketPlace {
                endpoint: Endpoint::parse("http://127.0.0.1:1").unwrap(),
                ..good.clone()
            },
            Trouble::Unreachable,
            "store unreachable",
        ),
    ] {
        let (found, text) = told(place).await;
        assert_eq!(found, trouble, "{text}");
        assert!(text.contains(words), "{text}");
    }
    for (status, line, code, trouble, words) in [
        (
            503,
            "retry-after: 600\r\n",
            "SlowDown",
            Trouble::Throttled,
            "fewer requests (503 SlowDown",
        ),
        (500, "retry-after: 600\r\n", "InternalError", Trouble::Unreachable, "store unreachable"),
        (
            403,
            "",
            "AccessDenied",
            Trouble::Denied,
            "may not do that there (403 AccessDenied: told)",
        ),
        (403, "", "RequestTimeTooSkewed", Trouble::Denied, "the clocks of this machine"),
        (
            301,
            "x-amz-bucket-region: eu-west-1\r\n",
            "PermanentRedirect",
            Trouble::Denied,
            "the bucket is in the region eu-west-1",
        ),
        (404, "", "NoSuchBucket", Trouble::NoBucket, "there is no bucket named dumps"),
        (507, "", "StorageFull", Trouble::Full, "the store is full"),
    ] {
        server.always("PUT", Fault::Answer(status, line, code));
        let (found, text) = told(good.clone()).await;
        assert_eq!(found, trouble, "{text}");
        assert!(text.contains(words), "{text}");
    }
}

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
    server.mend();
    let done = wait_state(&world, &id, "completed").await;
    assert_eq!(done["progress"]["rows_done"], 2000, "{done}");
    let errors = daemon.metric("offtake_store_errors_total{class=\"unreachable\"}").await;
    assert!(errors >= 1.0, "{errors}");
    world.succeed(&["export", "verify", &id]).await;
    let to = world.folder().join("fetched");
    world.succeed(&["export", "download", &id, "--to", to.to_str().unwrap()]).await;
    assert_whole(&world, "fetched");
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
    let began = Instant::now();
    let told = world.succeed(&[&create[..], &["--store", "disk", "--wait"]].concat()).await;
    assert!(told.contains("\"state\":\"completed\""), "{told}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
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
