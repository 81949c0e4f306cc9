//! The tenant's own `_offtake_state` tells what the audit found, where it can.

use offtake_tests::oracle;
use serde_json::json;

use super::{destination, plan, until_audited, world};

const COLUMNS: &str =
    "select count(*) from pg_attribute where attrelid = '_offtake_state'::regclass
                        and attname in ('verified_at', 'differences') and not attisdropped";

#[tokio::test]
async fn a_table_that_an_older_version_made_gets_the_columns_and_one_that_cannot_stops_nothing() {
    let mut world = world(plan(&["acme"]), 20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    let acme = &world.tenant("acme").destination;
    let older = "alter table _offtake_state drop column verified_at, drop column differences";
    acme.execute(older).await;
    let daemon = world.daemon().await;
    acme.wait_text(COLUMNS, "2").await;
    acme.wait_text("select count(*) from _offtake_state where verified_at is not null", "2").await;
    daemon.stop().await;

    // A role that writes rows, and owns nothing.
    acme.execute(older).await;
    let role = format!("writer_{}", acme.name());
    acme.execute(&format!(
        "create role {role} login password 'writer'; grant usage, create on schema public to {role};
         grant select, insert, update, delete on all tables in schema public to {role}"
    ))
    .await;
    world.reach_by("acme", |url| {
        let (_, server) =
            url.rsplit_once('@').unwrap_or(("", url.trim_start_matches("postgres://")));
        format!("postgres://{role}:writer@{server}")
    });
    let acme = &world.tenant("acme").destination;
    let daemon = world.daemon().await;
    world.source.execute("update item set body = 'after' where id = 1").await;
    world.wait_in_step().await;
    let told = until_audited(&daemon, &world, "acme").await;
    assert_eq!(told["state"], json!("in_sync"), "{told:#}");
    assert_eq!(acme.query_text(COLUMNS).await, "0");
    assert_eq!(destination(&daemon, &world, "acme").await["differences"], "0");
    oracle::assert_equal(&world).await;
    daemon.stop().await;
    acme.execute(&format!("drop owned by {role}; drop role {role}")).await;
}
