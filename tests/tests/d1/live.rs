//! The whole way: the real binary, the real engine, and another SQLite that reads what it keeps.

use offtake_tests::d1::{self, D1};
use offtake_tests::{PATIENCE, World, oracle, until};
use serde_json::json;

/// Rows arrive by the first copy, change and leave, and `verify` finds one value that the tenant has
/// changed. The token is in no output.
#[tokio::test]
async fn a_d1_database_is_kept_equal_and_verify_finds_one_changed_value() {
    if !d1::installed() {
        return;
    }
    let world = World::with_tenants(["acme", "globex"]).in_d1().await;
    world.fill(50).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world
        .source
        .execute(
            "update project_user set display_name = display_name || '!'; \
             delete from team where ctid in (select ctid from team limit 2)",
        )
        .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world.succeed(&["verify"]).await;
    let state = world
        .source
        .query_text("select distinct kind, state, host, schema_name from offtake.destination")
        .await;
    assert_eq!(state, "d1|in_sync|127.0.0.1|main");
    let change =
        "update users set display_name = 'changed here' where id = (select min(id) from users)";
    world.d1().execute(0, &[change]).await;
    let output = world.offtake(&["verify", "--json"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("\"different\":1") || told.contains("\"different\": 1"), "{told}");
    daemon.stop().await;
}

/// `check --connect` says what a copy would run into and makes nothing; `preview --changed` compares
/// a changed mapping; the audit finds and mends what the tenant changed, and tells it there; a tenant
/// that leaves is purged.
#[tokio::test]
async fn commands_and_the_audit_look_into_a_d1_database() {
    let audit = json!({ "period": "1s", "budget": "100%", "repair": true });
    let Some(mut world) = crate::filled(crate::plan().setting("/audit", audit)).await else {
        return;
    };
    world.allow("*");
    world.succeed(&["check", "--connect"]).await;
    let file = world.tenant("acme").file().clone();
    assert_eq!(
        file.query_text("select count(*) from sqlite_schema where name not like '_cf%'"),
        "0"
    );
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let told = world.succeed(&["check", "--connect", "--verbose"]).await;
    assert!(!told.contains("differs"), "{told}");
    let verified = "select count(*) from _offtake_state where verified_at is not null";
    until("every copy is told to be equal", PATIENCE, async || {
        let found = file.try_query_text(verified)?;
        if found == "2" { Ok(()) } else { Err(found) }
    })
    .await;
    let change =
        ["update items set name = 'by hand' where id = 7", "delete from items where id = 8"];
    world.d1().execute(0, &change).await;
    until("both rows are back", PATIENCE, async || {
        let found =
            file.try_query_text("select group_concat(name) from items where id in (7, 8)")?;
        if found == "name 7,name 8" { Ok(()) } else { Err(found) }
    })
    .await;
    let metrics = daemon.get("/metrics").await.1;
    assert!(metrics.contains("offtake_d1_requests_total{result=\"ok\"}"), "{metrics}");
    daemon.stop().await;
    let other = crate::ITEMS.replace("i.name from", "upper(i.name) as name from");
    world.write_mapping("items", &other);
    let told = world.succeed(&["preview", "--changed"]).await;
    assert!(told.contains("300"), "{told}");

    let acme = world.id("acme").to_owned();
    world.configure(|configuration| {
        let all = configuration["destinations"]["static"].as_array_mut().expect("a list");
        all.retain(|destination| destination["tenant"] != acme.as_str());
    });
    let forget = ["forget", "--tenant", &acme, "--purge", "--yes"];
    let output = world.offtake(&forget).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("CLOUDFLARE_API_TOKEN"), "{told}");
    world.set_variable("CLOUDFLARE_API_TOKEN", d1::TOKEN);
    world.succeed(&forget).await;
    assert_eq!(file.query_text("select count(*) from items"), "0");
    assert_eq!(file.query_text("select count(*) from _offtake_state"), "0");
}

/// Two tenants in one database, each with its own rows, and one of them re-copied in place.
#[tokio::test]
async fn tenants_share_a_d1_database() {
    let Some(mut world) = crate::world().await else { return };
    world.configure(|configuration| {
        let all = configuration["destinations"]["static"].as_array_mut().expect("a list");
        let url = all[0]["url"].clone();
        all.iter_mut().for_each(|destination| {
            destination["url"] = url.clone();
            destination["shared"] = true.into();
        });
    });
    let daemon = world.daemon().await;
    let file = world.tenant("acme").file().clone();
    let counts = "select group_concat(n) from (select count(*) n from items group by tenant_id)";
    until("both are there", PATIENCE, async || {
        let found = file.try_query_text(counts)?;
        if found == "300,300" { Ok(()) } else { Err(found) }
    })
    .await;
    world.d1().execute(0, &["delete from items where id % 3 = 0"]).await;
    world.succeed(&["resync", "--tenant", world.id("acme"), "--mapping", "items", "--yes"]).await;
    until("acme's are back, globex's are not", PATIENCE, async || {
        let found = file.try_query_text(
            "select group_concat(n) from (select count(*) n from items group by tenant_id order by n)",
        )?;
        if found == "200,300" { Ok(()) } else { Err(found) }
    })
    .await;
    daemon.stop().await;
}

/// The Worker of `deploy/d1-worker` opens what is bound to it, to those who have its token.
#[tokio::test]
async fn the_worker_answers_only_with_its_token_and_only_for_what_is_bound() {
    if !d1::installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let d1 = D1::start(1, folder.path()).await;
    let path = |id: &str| format!("/client/v4/accounts/x/d1/database/{id}/query");
    let good = format!("authorization: Bearer {}", d1::TOKEN);
    let bound = path(d1.id(0));
    let unbound = path("8f0c1f5e-0b1c-4d2e-8f3a-4b5c6d7e8f90");
    let raw = bound.replace("/query", "/raw");
    for (path, line, wanted) in [
        (&bound, good.as_str(), "200"),
        (&bound, "x-none: 1", "403"),
        (&bound, "authorization: Bearer other", "403"),
        (&bound, &good.replace("Bearer ", ""), "403"),
        (&unbound, &good, "404"),
        (&raw, &good, "404"),
    ] {
        let answer = d1.knock(path, line).await;
        assert_eq!(answer.split(' ').nth(1), Some(wanted), "{path} {line}: {answer}");
        assert!(!answer.contains(d1::TOKEN), "{answer}");
    }
}
