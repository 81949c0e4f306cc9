//! A file with state, loaded into an empty database, is a destination that live sync goes on with.

use offtake_tests::{World, items};

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
