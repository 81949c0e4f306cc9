use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::super::{Existing, Key, Store, Trouble};
use super::*;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::disk("disk", &folder.path().join("made/files"));
    (folder, store)
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn an_object_is_there_as_a_whole_and_for_nobody_else() {
    let (folder, store) = store();
    let whole = Bytes::from_static(b"0123456789");
    assert_eq!(store.size(&key("a/b/c")).await.unwrap(), None);
    assert!(store.list(&key("a")).await.unwrap().is_empty());
    let mut writer = store.writer(&key("a/b/c")).await.unwrap();
    writer.write(whole.slice(..4)).await.unwrap();
    assert_eq!(store.size(&key("a/b/c")).await.unwrap(), None, "it is visible unfinished");
    assert!(store.list(&key("a")).await.unwrap().is_empty(), "it is listed unfinished");
    writer.write(whole.slice(4..)).await.unwrap();
    writer.finish(Existing::Keep).await.unwrap();

    assert_eq!(store.size(&key("a/b/c")).await.unwrap(), Some(10));
    assert_eq!(store.get(&key("a/b/c"), 10).await.unwrap(), whole);
    assert!(store.get(&key("a/b/c"), 9).await.is_err());
    let mut reader = store.read(&key("a/b/c"), 3, Some(4)).await.unwrap();
    assert_eq!(reader.left(), 4);
    assert_eq!(reader.next().await.unwrap(), Some(whole.slice(3..7)));
    assert_eq!(reader.next().await.unwrap(), None);
    let listed = store.list(&key("a")).await.unwrap();
    assert_eq!(listed, [Object { key: key("a/b/c"), size: 10 }]);
    assert_eq!(store.list_all().await.unwrap(), listed);

    let root = folder.path().join("made/files");
    for (path, expect) in [("", 0o700), ("a", 0o700), ("a/b", 0o700), ("a/b/c", 0o600)] {
        assert_eq!(mode(&root.join(path)), expect, "{path}");
    }
    assert!(store.free().await.unwrap().unwrap() > 0);
}

#[tokio::test]
async fn an_object_is_replaced_only_where_that_is_asked_for() {
    let (_folder, store) = store();
    let key = key("a/manifest.json");
    store.put(&key, Bytes::from_static(b"one"), Existing::Keep).await.unwrap();
    let refused = store.put(&key, Bytes::from_static(b"two"), Existing::Keep).await.unwrap_err();
    assert_eq!(refused.trouble, Trouble::Exists, "{refused}");
    assert_eq!(store.get(&key, 9).await.unwrap(), "one");
    store.put(&key, Bytes::from_static(b"two"), Existing::Replace).await.unwrap();
    assert_eq!(store.get(&key, 9).await.unwrap(), "two");
    store.delete(&key).await.unwrap();
    store.delete(&key).await.unwrap();
    assert_eq!(store.size(&key).await.unwrap(), None);
}

#[tokio::test]
async fn nothing_is_left_of_a_writer_that_was_dropped_or_of_a_deleted_prefix() {
    let (folder, store) = store();
    let root = folder.path().join("made/files");
    let mut writer = store.writer(&key("a/b")).await.unwrap();
    writer.write(Bytes::from_static(b"x")).await.unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(root.join("a")).unwrap().count(), 0);

    store.put(&key("a/b/c"), Bytes::new(), Existing::Keep).await.unwrap();
    store.put(&key("other"), Bytes::new(), Existing::Keep).await.unwrap();
    std::fs::write(root.join("a/b/.c.0.part"), "left by a process that died").unwrap();
    symlink(root.join("other"), root.join("a/link")).unwrap();
    store.delete_all(&key("a")).await.unwrap();
    store.delete_all(&key("a")).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["other"]);
}

#[tokio::test]
async fn no_link_is_followed() {
    let (folder, store) = store();
    let root = folder.path().join("made/files");
    store.put(&key("real/object"), Bytes::from_static(b"x"), Existing::Keep).await.unwrap();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "s").unwrap();
    symlink(&outside, root.join("folder")).unwrap();
    symlink(outside.join("secret"), root.join("real/link")).unwrap();

    for linked in ["folder/secret", "real/link"] {
        let read = store.read(&key(linked), 0, None).await.unwrap_err();
        assert_eq!(read.trouble, Trouble::Denied, "{read}");
    }
    let write = store.put(&key("folder/new"), Bytes::new(), Existing::Replace).await.unwrap_err();
    assert_eq!(write.trouble, Trouble::Denied, "{write}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    let listed = store.list_all().await.unwrap();
    assert_eq!(listed, [Object { key: key("real/object"), size: 1 }]);
    // In place of a link, the object itself appears.
    store.put(&key("real/link"), Bytes::from_static(b"y"), Existing::Replace).await.unwrap();
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "s");
}

#[tokio::test]
async fn what_was_not_ended_is_removed_by_name_owner_and_age() {
    let (folder, store) = store();
    let below = folder.path().join("made/files/snapshots");
    store.put(&key("snapshots/whole"), Bytes::from_static(b"1"), Existing::Keep).await.unwrap();
    let begin = async || {
        let mut writer = store.writer(&key("snapshots/cut")).await.unwrap();
        writer.write(Bytes::from_static(b"1")).await.unwrap();
        // Its process dies.
        std::mem::forget(writer);
    };
    begin().await;
    std::fs::write(below.join(".other"), "").unwrap();
    std::fs::create_dir(below.join(".a.part")).unwrap();
    for entry in std::fs::read_dir(&below).unwrap() {
        let old = std::time::SystemTime::now() - Duration::from_secs(7200);
        let file = File::open(entry.unwrap().path()).unwrap();
        file.set_times(std::fs::FileTimes::new().set_modified(old)).unwrap();
    }
    begin().await;
    let unfinished = || {
        let names = std::fs::read_dir(&below).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with(".cut.")).count()
    };
    assert_eq!(unfinished(), 2);
    store.remove_unfinished(&key("snapshots"), Duration::from_secs(3600)).await.unwrap();
    assert_eq!(unfinished(), 1, "the young one stays");
    assert_eq!(std::fs::read_dir(&below).unwrap().count(), 4);
    store.remove_unfinished(&key("nothing"), Duration::ZERO).await.unwrap();
}
