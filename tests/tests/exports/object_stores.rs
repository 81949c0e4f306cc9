//! Stores that are buckets: what a store promises, and what networks and busy stores do.

use std::time::Duration;

use bytes::Bytes;
use offtake_jobs::stores::{BucketPlace, Endpoint, Existing, Key, Place, Trouble};
use offtake_jobs::{Store, StoreSpec};
use offtake_tests::object_store::{ACCESS_KEY_ID, BUCKET, Fault, ObjectStore, SECRET, Seen};
use offtake_tests::{PATIENCE, until};

/// What the uploads of large objects have in each part but the last.
const PART_BYTES: usize = 16 << 20;

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
    // One that does not look at a condition replaces what came behind the look: `check` tells that.
    server.always("if-none-match", Fault::Unconditional);
    assert!(store.try_out().await.unwrap()[0].contains("If-None-Match"));
    assert_eq!(put(&store, "c", "first", Existing::Keep).await, None);
    assert_eq!(put(&store, "c", "second", Existing::Keep).await, Some(Trouble::Exists));
    assert_eq!(store.get(&key("c"), 5).await.unwrap(), "first");
    store.delete(&key("c")).await.unwrap();
    server.mend();
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
    let told = [("POST /dumps/offtake/files/up-2?uploadId", refused), ("HEAD", slow.clone())];
    // It happened, and the answer tells an error.
    let happened = Fault::AnswerAnyway(200, "InternalError");
    let wrong = [("POST /dumps/offtake/files/up-3?uploadId", happened), ("HEAD", slow)];
    for (at, faults) in [cut, lost, told, wrong].into_iter().enumerate() {
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
