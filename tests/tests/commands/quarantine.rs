//! Refused rows: listed by key, retried by command, and discarded only by command.

use offtake_tests::{PATIENCE, World, oracle, until};
use serde_json::Value;

use super::{done, offtake};

async fn listed(world: &World) -> Vec<Value> {
    serde_json::from_str(
        &done(world, &["quarantine", "list", "--mapping", "users", "--json"]).await,
    )
    .unwrap()
}

async fn until_listed(world: &World, rows: usize) -> Vec<Value> {
    until("the quarantine holds what it should", PATIENCE, async || {
        let found = listed(world).await;
        if found.len() == rows { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await
}

#[tokio::test]
async fn refused_rows_are_listed_tried_again_and_discarded() {
    let world = World::with_tenants(["acme"]).await;
    world.allow("rows_quarantined");
    world.fill(10).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    assert!(done(&world, &["quarantine", "list"]).await.contains("nothing is quarantined"));
    let destination = &world.tenant("acme").destination;
    destination
        .execute("alter table users add constraint no_bad check (display_name <> 'bad')")
        .await;
    // Anonymous users are in no copy.
    let one = "project_user_id = (select min(project_user_id::text)::uuid from project_user where not is_anonymous)";
    world
        .source
        .execute(&format!("update project_user set display_name = 'bad' where {one}"))
        .await;
    let row = &until_listed(&world, 1).await[0];
    assert_eq!(
        (&row["tenant"], &row["destination"], &row["sqlstate"]),
        (&world.id("acme").into(), &"main".into(), &"23514".into())
    );
    assert!(row["key"].is_object() && !row.to_string().contains("'bad'"), "{row}");
    assert!(done(&world, &["status"]).await.contains("offtake quarantine list"));

    // The row is still refused, so it comes back with one attempt more.
    done(&world, &["quarantine", "retry", "--tenant", world.id("acme")]).await;
    until("the row was retried", PATIENCE, async || {
        let rows = listed(&world).await;
        if rows.iter().any(|row| row["attempts"].as_i64() > Some(1)) {
            Ok(())
        } else {
            Err(format!("{rows:?}"))
        }
    })
    .await;
    destination.execute("alter table users drop constraint no_bad").await;
    done(&world, &["quarantine", "retry", "--tenant", world.id("acme"), "--mapping", "users"])
        .await;
    until_listed(&world, 0).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;

    destination
        .execute("alter table users add constraint no_worse check (display_name <> 'worse')")
        .await;
    world
        .source
        .execute(&format!("update project_user set display_name = 'worse' where {one}"))
        .await;
    until_listed(&world, 1).await;
    let (code, _, complained) =
        offtake(&world, &["quarantine", "discard", "--tenant", world.id("acme")]).await;
    assert!(code == 2 && complained.contains("--yes"), "{code}: {complained}");
    assert_eq!(listed(&world).await.len(), 1);
    assert!(done(&world, &["quarantine", "discard", "--yes"]).await.starts_with("1 row(s)"));
    assert_eq!(listed(&world).await.len(), 0);
    daemon.stop().await;
}
