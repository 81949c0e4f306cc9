//! A file with state, loaded into an empty database, is a destination that live sync goes on with.

use offtake_tests::{World, items};
use serde_json::{Value, json};

use crate::{create, folder, psql, unzipped};

#[tokio::test]
async fn live_sync_goes_on_where_a_file_with_state_ends() {
    let world = items::filled(items::with_items(World::with_tenants(["acme"]))).await;
    let told = create(&world, "sql", "files", &["--state"]).await;
    let file = folder(&world, "files").join("export.sql");
    std::fs::write(&file, unzipped(&folder(&world, "files").join("export.sql.gz"))).unwrap();
    // Between the export and its loading, the application goes on.
    items::write(&world, "update item set name = 'new name' where {acme} and id in (7, 8)").await;
    items::write(&world, "delete from item where {acme} and id = 9").await;
    let there = &world.tenant("acme").destination;
    psql(&there.url(), &[file.to_str().unwrap()]);
    let loaded = there.query_text("select distinct xmin from items").await;
    assert!(!loaded.is_empty() && !loaded.contains('\n'), "one transaction loads all: {loaded}");

    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let id = told["id"].as_str().unwrap();
    let same = format!("select count(*) from items where xmin = '{loaded}'");
    assert_eq!(there.query_text(&same).await, "297", "rows of {id} were copied again");
    assert_eq!(there.query_text("select count(*) from items where name = 'new name'").await, "2");
    let verified = world.succeed(&["verify"]).await;
    assert!(verified.contains("2 of 2 copies equal their query"), "{verified}");
    daemon.stop().await;
}

/// A change that has no number keeps the export from settling: nothing numbers changes meanwhile. The
/// export fails where that was asked for, and else completes with parts of several moments. Live sync
/// that goes on at the first of them makes the copy exact.
#[tokio::test]
async fn a_file_of_several_moments_becomes_exact_where_live_sync_goes_on() {
    let plan = items::with_items(World::with_tenants(["acme"]));
    let short = json!({ "chunk_rows": 50, "work": "1ms", "pause": "1ms", "settle": "1s" });
    let world = items::filled(plan.setting("/exports", short)).await;
    items::write(&world, "update item set name = 'numbered' where {acme} and id = 7").await;
    let to = folder(&world, "files");
    let create = ["export", "create", "--tenant", world.id("acme"), "--format", "sql", "--state"];
    let create = [&create[..], &["--require-consistent", "--to", to.to_str().unwrap()]].concat();
    let killed = world.start(("FAILPOINTS", "export.before_manifest=abort"), &create).wait().await;
    assert!(!killed.unwrap().success());
    world.succeed(&["fuse", "off", "sequencer", "--reason", "nothing is numbered"]).await;
    items::write(&world, "update item set name = 'not numbered' where {acme} and id = 107").await;
    items::write(&world, "delete from item where {acme} and id = 9").await;
    let id = world.source.query_text("select public_id from offtake.job").await;
    let resume = ["export", "resume", &id, "--json"];
    let end_lease = "update offtake.job set leased_until = now()";
    world.source.execute(end_lease).await;
    let failed = world.offtake(&resume).await;
    let complained = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{complained}");
    assert!(complained.contains("changed faster than they could be read"), "{complained}");

    let allow = "update offtake.job set options = options || '{\"require_consistent\": false}'";
    world.source.execute(allow).await;
    let told = world.succeed(&resume).await;
    let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!((&told["state"], &told["consistency"]), (&json!("completed"), &json!("none")));
    assert!(told["reason"].as_str().unwrap().contains("not of one moment"), "{told}");
    let moment = |of: &str| told[of].as_str().unwrap().parse::<i64>().unwrap();
    assert!(moment("from_sequence_id") < moment("sequence_id"), "{told}");

    let there = &world.tenant("acme").destination;
    let file = to.join("export.sql");
    std::fs::write(&file, unzipped(&to.join("export.sql.gz"))).unwrap();
    psql(&there.url(), &[file.to_str().unwrap()]);
    let loaded = there.query_text("select distinct xmin from items").await;
    world.succeed(&["fuse", "on", "sequencer"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let same = format!("select count(*) from items where xmin = '{loaded}'");
    let same: usize = there.query_text(&same).await.parse().unwrap();
    assert!(same >= 297, "rows were copied again: {same}");
    let verified = world.succeed(&["verify"]).await;
    assert!(verified.contains("2 of 2 copies equal their query"), "{verified}");
    daemon.stop().await;
}
