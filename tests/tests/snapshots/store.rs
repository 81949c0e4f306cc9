//! What a store has, and what becomes of it.

use std::os::unix::fs::PermissionsExt as _;

use offtake_tests::binary;
use serde_json::json;

use super::Snapshots;

#[tokio::test]
async fn the_newest_is_listed_first_and_only_this_user_can_read_it() {
    let snapshots = Snapshots::of(&["acme", "globex"]).await;
    let (first, other) = (snapshots.make("acme").await, snapshots.make("globex").await);
    let last = snapshots.make("acme").await;
    let listed = snapshots.run(&["list", "--json"]).await.json();
    let ids: Vec<&str> =
        listed.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&last, &other, &first]);
    let of_acme = ["list", "--tenant", snapshots.world.id("acme")];
    let told = snapshots.run(&of_acme).await;
    told.assert_says(0, &[&last, &first, "210"]);
    assert!(!told.told.contains(&other));
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&snapshots.archive(&first)), 0o600);
    assert_eq!(mode(snapshots.archive(&first).parent().unwrap()), 0o700);
}

/// Cards are read one by one: what cannot be read is no reason to list nothing.
#[tokio::test]
async fn what_is_no_snapshot_is_skipped_and_told_with_all() {
    let snapshots = Snapshots::of(&["acme"]).await;
    let whole = snapshots.make("acme").await;
    let (cut, unread, gone) =
        (snapshots.make("acme").await, snapshots.make("acme").await, snapshots.make("acme").await);
    std::fs::remove_file(snapshots.file(&cut, ".json")).unwrap();
    std::fs::write(snapshots.file(&unread, ".json"), "{").unwrap();
    std::fs::remove_file(snapshots.archive(&gone)).unwrap();
    std::fs::write(snapshots.file("snap_", ".json"), "{}").unwrap();
    std::fs::create_dir(snapshots.file("a-folder", "")).unwrap();
    std::os::unix::fs::symlink(
        "/etc/passwd",
        snapshots.file("snap_20261128-031300_aaaaaa", ".json"),
    )
    .unwrap();
    let listed = snapshots.run(&["list", "--json"]).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["id"], whole);
    let all = snapshots.run(&["list", "--all"]).await;
    all.assert_says(
        0,
        &[&cut, &unread, &gone, "not written to its end", "cannot be read", "is gone"],
    );
    let used = snapshots.run(&["validate", &cut]).await;
    used.assert_says(1, &["no complete snapshot", &format!("offtake snapshot delete {cut}")]);
    snapshots.run(&["delete", &cut, "--yes"]).await.assert_says(0, &["deleted"]);
    assert!(!snapshots.archive(&cut).exists());
    // The next snapshot, of either kind, removes what processes left unfinished that died long ago.
    let parts = [snapshots.unfinished(2), snapshots.unfinished(0)];
    snapshots.make("acme").await;
    assert_eq!(parts.each_ref().map(|part| part.exists()), [false, true]);
    let part = snapshots.unfinished(2);
    snapshots.make_of_source("acme").await;
    assert!(!part.exists());
}

#[tokio::test]
async fn an_unknown_id_is_told_with_the_nearest_and_reaches_no_path() {
    let snapshots = Snapshots::of(&["acme"]).await;
    let none = snapshots.run(&["validate", "snap_20261128-031300_k7f3a2"]).await;
    none.assert_says(1, &["no snapshot", "`offtake snapshot create` makes one"]);
    let id = snapshots.make("acme").await;
    let mistyped = format!("{}a", &id[..id.len() - 1]);
    let mistyped = if mistyped == id { format!("{}b", &id[..id.len() - 1]) } else { mistyped };
    snapshots.run(&["validate", &mistyped]).await.assert_says(1, &[&format!("nearest are {id}")]);
    let up = format!("../snapshots/{id}");
    for text in ["../../etc/passwd", up.as_str(), "", "snap_"] {
        snapshots.run(&["validate", text]).await.assert_says(1, &["no snapshot", &id]);
    }
}

#[tokio::test]
async fn a_download_that_was_cut_goes_on_and_is_checked() {
    let snapshots = Snapshots::of(&["acme"]).await;
    let id = snapshots.make("acme").await;
    let content = std::fs::read(snapshots.archive(&id)).unwrap();
    let to = snapshots.world.folder().join("acme.tar.zst");
    let download = ["download", &id, "--to", to.to_str().unwrap()];
    let part = to.with_file_name("acme.tar.zst.part");
    std::fs::write(&part, &content[..100]).unwrap();
    let done = snapshots.run(&download).await;
    done.assert_says(0, &["checked by its SHA-256", "100 B of them were there already"]);
    assert_eq!(std::fs::read(&to).unwrap(), content);
    assert!(!part.exists());
    snapshots.run(&download).await.assert_says(2, &["is there already"]);
    std::fs::remove_file(&to).unwrap();
    std::fs::write(&part, [b'x'; 100]).unwrap();
    snapshots.run(&download).await.assert_says(1, &["not those that were written", "run it again"]);
    assert!(!to.exists() && !part.exists());
    snapshots.run(&download).await.assert_says(0, &["checked"]);
    let nowhere = ["download", &id, "--to", "/nowhere/acme"];
    snapshots.run(&nowhere).await.assert_says(1, &["cannot write /nowhere/acme.part"]);
}

/// Deleting asks; a tenant's newest complete snapshot of each kind is never forgotten.
#[tokio::test]
async fn what_is_not_kept_is_forgotten_but_never_the_last() {
    let mut snapshots = Snapshots::of(&["acme", "globex"]).await;
    let (old, only) = (snapshots.make("acme").await, snapshots.make("globex").await);
    let new = snapshots.make("acme").await;
    let of_source = snapshots.make_of_source("acme").await;
    // Newer than all of them, and not written to its end, so it replaces none.
    let cut = snapshots.make("acme").await;
    std::fs::remove_file(snapshots.file(&cut, ".json")).unwrap();
    let unsaid = snapshots.run(&["forget"]).await;
    unsaid.assert_says(78, &["does not say what is kept", "keep: { last: 7, within: 30d }"]);
    snapshots.world.configure(|configuration| {
        configuration["snapshots"] = json!({ "keep": { "last": 7, "within": "30d" } });
    });
    snapshots.run(&["forget", "--yes"]).await.assert_says(0, &["all 4 snapshots are kept"]);
    snapshots.world.configure(|configuration| {
        configuration["snapshots"] = json!({ "keep": { "last": 0, "within": "0s" } });
    });
    snapshots.run(&["forget", "--dry-run"]).await.assert_says(0, &["would delete", &old]);
    snapshots.run(&["forget"]).await.assert_says(2, &["1 of 4 snapshots", "add --yes"]);
    assert!(snapshots.archive(&old).exists());
    snapshots.run(&["forget", "--yes"]).await.assert_says(0, &["deleted", &old]);
    assert!(!snapshots.archive(&old).exists() && !snapshots.file(&old, ".json").exists());
    for kept in [&new, &of_source, &only] {
        snapshots.run(&["validate", kept]).await.assert_says(0, &["complete and unchanged"]);
    }
    for (id, kind) in [(&only, "rows"), (&of_source, "source")] {
        let last = format!("the only snapshot of this tenant of the kind {kind}");
        snapshots.run(&["delete", id]).await.assert_says(2, &[&last, "add --yes"]);
    }
    snapshots.run(&["delete", &only, "--yes"]).await.assert_says(0, &["deleted"]);
}

/// Which store is meant is said, and a store that cannot be written to is told with its folder.
#[tokio::test]
async fn the_store_is_named_in_the_file_or_by_an_option() {
    let mut snapshots = Snapshots::of(&["acme"]).await;
    let tenant = snapshots.world.id("acme").to_owned();
    let folder = snapshots.world.folder().to_owned();
    let wrong = snapshots.run(&["list", "--store", "dis"]).await;
    wrong.assert_says(2, &["no store named dis", "did you mean disk?"]);
    snapshots.world.configure(|configuration| {
        configuration["stores"] = json!({
            "one": { "kind": "disk", "path": folder.join("one") },
            "two": { "kind": "disk", "path": folder.join("two") },
        });
    });
    let several = snapshots.run(&["create", "--tenant", &tenant]).await;
    several.assert_says(2, &["several stores: one, two", "--store", "snapshots.store"]);
    let named = snapshots.run(&["create", "--tenant", &tenant, "--store", "two"]).await;
    named.assert_says(0, &["210 rows"]);
    snapshots.world.configure(|c| c["snapshots"] = json!({ "store": "two" }));
    let listed = snapshots.run(&["list", "--json"]).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    std::fs::write(folder.join("one"), "a file").unwrap();
    snapshots.world.configure(|c| {
        c["stores"].as_object_mut().unwrap().remove("two");
        c["snapshots"] = json!(null);
    });
    let file = snapshots.run(&["create", "--tenant", &tenant]).await;
    file.assert_says(78, &["stores.one.path", "not a folder"]);
    snapshots.world.configure(|c| c["stores"] = json!(null));
    let none = snapshots.run(&["list"]).await;
    none.assert_says(78, &["no store", "stores: { disk: { kind: disk, path: files } }"]);
}

/// What stands where the store's folder should be is told with its path, and the remedy helps.
#[tokio::test]
async fn a_store_that_cannot_be_written_to_is_told() {
    let snapshots = Snapshots::of(&["acme"]).await;
    let tenant = snapshots.world.id("acme");
    let folder = snapshots.archive("x").parent().unwrap().to_owned();
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    std::fs::write(&folder, "a file").unwrap();
    let create = ["create", "--tenant", tenant];
    let refused = snapshots.run(&create).await;
    let shown = folder.to_str().unwrap();
    refused.assert_says(1, &["cannot make a snapshot", shown, "let this user read and write"]);
    std::fs::remove_file(&folder).unwrap();
    snapshots.run(&create).await.assert_says(0, &["210 rows"]);
}

/// A store with less room than a snapshot needs is told before anything is written there. One that
/// is full in the middle, or gets full meanwhile, is told too, and nothing stays of the snapshot.
#[tokio::test]
async fn a_store_without_room_is_told() {
    let snapshots = Snapshots::of(&["acme"]).await;
    let files = snapshots.world.folder().join("files");
    let mut create = std::process::Command::new("sh");
    create.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]).arg(binary("offtake"));
    create.arg("--config").arg(snapshots.world.written_configuration());
    create.args(["snapshot", "create", "--tenant", snapshots.world.id("acme")]);
    let output = create.output().unwrap();
    let complained = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complained}");
    let archive = snapshots.archive("snap_");
    let (folder, shown) = (archive.parent().unwrap(), archive.to_str().unwrap());
    for words in ["cannot make a snapshot", shown.strip_suffix(".tar.zst").unwrap(), "too large"] {
        assert!(complained.contains(words), "{complained}");
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    std::fs::remove_dir_all(&files).unwrap();
    std::fs::create_dir(&files).unwrap();
    // Before it begins, and where another program fills the store while it is being made.
    let filled = "(until ls \"$files\"/snapshots/.*.part; do sleep 0.05; done; \
                    head -c 100m /dev/zero > \"$files/other\") >/dev/null 2>&1 &";
    let waits = "create function waits(numeric, int) returns numeric stable language plpgsql as
        $$ begin if $2 = 1 then perform pg_sleep(2); end if; return $1; end $$";
    snapshots.world.source.execute(waits).await;
    for (size, meanwhile) in [("64m", ""), ("320m", filled)] {
        let mount = format!(
            "files=$1; shift; mount -t tmpfs -o size={size} none \"$files\" || exit 77; {meanwhile}
             \"$@\"; ended=$?; find \"$files\" -name '*.part' -o -name '*.tar*' >&2; exit $ended"
        );
        let mut create = std::process::Command::new("unshare");
        create.args(["--mount", "--", "sh", "-c", &mount, "sh"]).arg(&files);
        create.arg(binary("offtake")).arg("--config").arg(snapshots.world.written_configuration());
        create.args(["snapshot", "create", "--tenant", snapshots.world.id("acme")]);
        let output = create.output().unwrap();
        let complained = String::from_utf8(output.stderr).unwrap();
        if complained.contains("unshare failed") || output.status.code() == Some(77) {
            eprintln!(
                "skipped: {complained}; a container with root and mount namespaces can run it"
            );
            return;
        }
        assert_eq!(output.status.code(), Some(1), "{size}: {complained}");
        for words in ["bytes are free in the store", "make room", "offtake snapshot forget"] {
            assert!(complained.contains(words), "{complained}");
        }
        assert!(!complained.contains(".part\n") && !complained.contains(".tar"), "{complained}");
        let slow = super::ITEMS.replace("i.amount from", "waits(i.amount, i.id) as amount from");
        snapshots.world.write_mapping("items", &slow);
    }
}
