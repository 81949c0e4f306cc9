//! What the commands say and refuse.

use offtake_tests::samples::OTHERS;
use offtake_tests::{World, items};
use serde_json::Value;

use crate::{create, folder};

async fn world() -> World {
    items::filled(items::with_items(World::with_tenants(["acme", "globex"]))).await
}

/// Runs a command that must end with this code. Returns what it complained.
async fn refused(world: &World, code: i32, arguments: &[&str]) -> String {
    let output = world.offtake(arguments).await;
    let complained = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {complained}");
    complained
}

#[tokio::test]
async fn what_cannot_be_exported_is_refused_before_anything_is_written() {
    let world = world().await;
    assert!(OTHERS.contains("others"));
    let acme = world.id("acme").to_owned();
    let to = folder(&world, "files");
    let to = to.to_str().unwrap();
    let base = ["export", "create", "--format", "csv", "--to", to, "--tenant"];
    let with = |more: &[&str]| -> Vec<String> {
        base.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    for (more, code, says) in [
        (vec!["nobody"], 1, "no mapping has a row of the tenant nobody"),
        (vec![acme.as_str(), "--mapping", "itemz"], 1, "did you mean items?"),
        (vec![acme.as_str(), "--compression", "lzma"], 2, "possible values: gzip, zstd, none"),
    ] {
        let arguments = with(&more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = world.offtake(&arguments).await;
        let complained = String::from_utf8(output.stderr).unwrap();
        assert!(complained.contains(says), "{complained}");
        assert_ne!(output.status.code(), Some(0), "{code}");
    }
    assert!(!folder(&world, "files").exists());
    assert_eq!(world.source.query_text("select count(*) from offtake.job").await, "0");
    for id in ["x", "../exp_20261128-031300_k7f3a2", "exp_20261128-031300_k7f3a2;"] {
        let complained = refused(&world, 2, &["export", "status", id]).await;
        assert!(complained.contains("is not the id of an export"), "{complained}");
    }
    let unknown = ["export", "status", "exp_20261128-031300_k7f3a2"];
    assert!(refused(&world, 1, &unknown).await.contains("offtake export list"));
}

#[tokio::test]
async fn verify_finds_a_byte_that_was_changed() {
    let world = world().await;
    let told = create(&world, "csv", "files", &[]).await;
    let id = told["id"].as_str().unwrap();
    let here = folder(&world, "files");
    let here = here.to_str().unwrap();
    let told = world.succeed(&["export", "verify", id, "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["equal"], &told["rows"]), (&true.into(), &310.into()), "{told}");
    world.succeed(&["export", "verify", "--in", here]).await;

    let file = folder(&world, "files").join("items.csv.gz");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let output = world.offtake(&["export", "verify", "--in", here]).await;
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("items.csv.gz: its SHA-256 is another one"), "{told}");
    bytes.truncate(middle);
    std::fs::write(&file, &bytes).unwrap();
    let output = world.offtake(&["export", "verify", id]).await;
    assert_eq!(output.status.code(), Some(3));

    let manifest = folder(&world, "files").join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen("\"rows\":300", "\"rows\":301", 1)).unwrap();
    let output = world.offtake(&["export", "verify", "--in", here]).await;
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("the manifest cannot be used"), "{told}");
}

#[tokio::test]
async fn an_export_is_listed_shown_and_deleted() {
    let world = world().await;
    let told = create(&world, "csv", "files", &[]).await;
    let id = told["id"].as_str().unwrap();
    let listed = world.succeed(&["export", "list", "--tenant", world.id("acme")]).await;
    assert!(listed.contains(id) && listed.contains("completed"), "{listed}");
    let shown = world.succeed(&["export", "status", id]).await;
    assert!(shown.contains("items.csv.gz") && shown.contains("snapshot, at"), "{shown}");
    assert!(refused(&world, 1, &["export", "cancel", id]).await.contains("is completed already"));
    assert!(refused(&world, 1, &["export", "resume", id]).await.contains("is completed already"));
    assert!(refused(&world, 2, &["export", "delete", id]).await.contains("add --yes"));
    let told = world.succeed(&["export", "delete", id, "--yes", "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, serde_json::json!({ "id": id, "deleted": true }));
    assert_eq!(world.source.query_text("select count(*) from offtake.job_chunk").await, "0");
    assert!(folder(&world, "files").join("items.csv.gz").exists(), "the files are the operator's");
    let listed = world.succeed(&["export", "list"]).await;
    assert!(listed.contains("there are no exports"), "{listed}");
    let again = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--to"];
    let here = folder(&world, "files");
    let again: Vec<&str> = again.into_iter().chain([here.to_str().unwrap()]).collect();
    assert!(refused(&world, 2, &again).await.contains("holds an export already"));
}

/// Runs the command that a message prints behind `run `, in quotes.
fn command_in(complained: &str) -> Vec<String> {
    let command = complained.split("run `offtake ").nth(1).unwrap().split('`').next().unwrap();
    command.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_an_export_is_refused_for_is_mended_as_the_message_says() {
    let mut world = world().await;
    let acme = world.id("acme").to_owned();
    let create = ["export", "create", "--tenant", &acme, "--format"];
    let with = |more: &[&str]| -> Vec<String> {
        create.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let run = async |world: &World, arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = world.offtake(&arguments).await;
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    // It is said where the files go.
    let (_, complained) = run(&world, &with(&["csv"])).await;
    assert!(complained.contains("name a folder with --to, or set `exports.store`"), "{complained}");
    let (_, complained) = run(&world, &with(&["csv", "--store", "disc"])).await;
    assert!(complained.contains("there is no store named disc"), "{complained}");
    world.configure(|c| {
        c["stores"] = serde_json::json!({ "disk": { "kind": "disk", "path": "files" } });
        c["exports"] = serde_json::json!({ "store": "disk" });
    });
    let (_, complained) = run(&world, &with(&["csv", "--store", "disc"])).await;
    assert!(complained.contains("did you mean disk?"), "{complained}");
    let (_, complained) = run(&world, &with(&["csv", "--state"])).await;
    assert!(complained.contains("write --format sql, or leave --state out"), "{complained}");
    let (done, complained) = run(&world, &with(&["sql", "--state"])).await;
    assert!(done, "{complained}");

    // The tenant's other export: the command that the message prints ends it.
    let (_, complained) = run(&world, &with(&["csv"])).await;
    assert!(complained.contains("has an export that goes on"), "{complained}");
    let cancel = complained.split("or `offtake ").nth(1).unwrap().split('`').next().unwrap();
    let id = cancel.split_whitespace().last().unwrap().to_owned();
    let download = ["export", "download", &id, "--to", "fetched"].map(str::to_owned);
    let (_, complained) = run(&world, &download).await;
    assert!(complained.contains("once it is completed"), "{complained}");
    // One that is worked on is cancelled before it is deleted.
    let lease = "update offtake.job set leased_until = now() + interval '1 hour', attempt = 1";
    world.source.execute(lease).await;
    let delete = ["export", "delete", &id, "--yes"].map(str::to_owned);
    let (_, complained) = run(&world, &delete).await;
    let (done, complained) = run(&world, &command_in(&complained)).await;
    assert!(done, "{complained}");
    world.source.execute("update offtake.job set leased_until = now()").await;
    let (done, complained) = run(&world, &delete).await;
    assert!(done, "{complained}");

    // A mapping of an interrupted one is gone: the command that the message prints makes room.
    let to = world.folder().join("gone").to_str().unwrap().to_owned();
    let interrupted = world.start(
        ("FAILPOINTS", "export.after_read=error"),
        &[&create[..], &["csv", "--to", &to]].concat(),
    );
    assert_eq!(interrupted.wait_with_output().await.unwrap().status.code(), Some(1));
    let id = "select public_id from offtake.job where state = 'paused'";
    let id = world.source.query_text(id).await;
    let (mapping, aside) =
        (world.mappings_folder().join("others.yaml"), world.folder().join("others.yaml"));
    std::fs::rename(&mapping, &aside).unwrap();
    let (_, complained) = run(&world, &["export", "resume", &id].map(str::to_owned)).await;
    assert!(complained.contains("the mapping others of the export is not there"), "{complained}");
    let (done, complained) = run(&world, &command_in(&complained)).await;
    assert!(done, "{complained}");
    let state = format!("select state from offtake.job where public_id = '{id}'");
    assert_eq!(world.source.query_text(&state).await, "cancelled");
    std::fs::rename(&aside, &mapping).unwrap();

    // A folder that holds an export; another one takes the next.
    for (folder, succeeds) in [("one", true), ("one", false), ("two", true)] {
        let to = world.folder().join(folder);
        let (done, complained) = run(&world, &with(&["csv", "--to", to.to_str().unwrap()])).await;
        assert_eq!(done, succeeds, "{complained}");
        assert!(done || complained.contains("name another folder with --to"), "{complained}");
    }
}
