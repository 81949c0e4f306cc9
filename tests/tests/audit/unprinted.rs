//! A row that a server cannot print keeps no other row from being compared.

use offtake_tests::samples::{PRINTED, PRINTING};
use offtake_tests::{PATIENCE, World, until};
use serde_json::{Value, json};

use super::{destination, plan, until_audited, until_told};

/// A world with one row of a hundred that the source cannot print.
async fn printed_world() -> World {
    let plan = plan(&["acme"]).mappings(&[("items", PRINTED)]).setting("/audit/period", "500ms");
    let world = plan.await;
    world.source.execute(PRINTING).await;
    let fill = "insert into item select '{tenant}', n, case n when 25 then 'huge' else 'x' end from generate_series(1, 100) n";
    world.with_items("body text", fill).await;
    world.allow("rows_quarantined");
    world
}

fn mapping(told: &Value) -> &Value {
    &told["mappings"][0]
}

/// Waits for an audit that ended, and began after now.
async fn another_audit(world: &World) {
    let now = world.source.query_text("select clock_timestamp()").await;
    let twice = format!(
        "select count(distinct audited_at) >= 1 from offtake.destination_mapping where audited_at > '{now}'::timestamptz + interval '1 s'"
    );
    world.source.wait_text(&twice, "t").await;
}

#[tokio::test]
async fn a_row_that_cannot_be_printed_is_told_until_it_can_and_every_other_is_compared() {
    let world = printed_world().await;
    let daemon = world.daemon().await;
    let acme = &world.tenant("acme").destination;
    acme.wait_text("select count(*) from items", "99").await;
    let why = "1 row(s) cannot be compared: {\"id\":\"25\"}: the source: invalid memory alloc request size 1120000003 (XX000)";
    let named = |told: &Value| mapping(told)["audit_error"] == why;
    let told = until_told(&daemon, &world, "acme", ("the row is named", named)).await;
    assert_eq!(told["state"], "degraded", "{told:#}");
    assert_eq!(mapping(&told)["differences"], "0", "{told:#}");
    assert!(mapping(&told)["verified_at"].is_null(), "{told:#}");
    let id = world.id("acme");
    let text = world.succeed(&["status", "--tenant", id]).await;
    assert!(text.contains(&format!("items: the audit cannot prove it: {why}")), "{text}");
    daemon.wait_logged("audit_incomplete").await;
    let log = daemon.log();
    let line = log.iter().find(|line| line.event == "audit_incomplete").unwrap();
    let said: Value = serde_json::from_str(&line.text).unwrap();
    // The tenant's id and the time may have the number too.
    let message = said["message"].as_str().unwrap().replace(id, "");
    assert!(!message.contains("25"), "{message}");

    // The command says the same, and that it did not compare everything.
    let output = world.offtake(&["verify", "--tenant", id]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    let line = "acme items: 99 rows are equal, 1 cannot be compared";
    assert!(said.contains("INCOMPLETE") && said.contains("99 rows are equal, 1 cannot"), "{said}");
    assert!(said.contains("not compared {\"id\":\"25\"}: the source: "), "{said} {line}");
    assert_eq!(output.status.code(), Some(4), "{said}");

    // A row before it and a row behind it.
    world.allow("audit_differs");
    acme.execute("delete from items where id = 10; update items set body = 'y' where id = 90")
        .await;
    until_told(&daemon, &world, "acme", ("both are found", |told| told["differences"] == "2"))
        .await;
    another_audit(&world).await;
    // While the next audit is between the two rows, it has found one of them.
    let both = |told: &Value| named(told) && told["differences"] == "2";
    until_told(&daemon, &world, "acme", ("both are found again", both)).await;
    let output = world.offtake(&["verify", "--tenant", id]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("1 missing, 0 extra, 1 different"), "{said}");
    assert!(said.contains("not compared {\"id\":\"25\"}"), "{said}");
    assert_eq!(output.status.code(), Some(3), "{said}");
    let repaired = world.offtake(&["verify", "--tenant", id, "--repair", "--yes"]).await;
    assert_eq!(repaired.status.code(), Some(4), "{repaired:?}");

    // The row becomes one that can be printed.
    world.source.execute("update item set body = 'small' where id = 25").await;
    world.wait_in_step().await;
    let told = until_audited(&daemon, &world, "acme").await;
    assert_eq!((&told["state"], &told["differences"]), (&json!("in_sync"), &json!("0")));
    assert!(mapping(&told)["audit_error"].is_null(), "{told:#}");
    daemon.stop().await;
}

/// What cannot be compared at all is told, and no longer once it can.
#[tokio::test]
async fn why_a_copy_cannot_be_compared_is_told_until_it_can() {
    let world = printed_world().await;
    let daemon = world.daemon().await;
    let acme = &world.tenant("acme").destination;
    acme.wait_text("select count(*) from items", "99").await;
    world.source.execute("update item set body = 'small' where id = 25").await;
    world.wait_in_step().await;
    until_audited(&daemon, &world, "acme").await;
    // Every row fails, and no change says so.
    let failing = "create or replace function printed(text) returns text immutable language plpgsql
                   as $$ begin raise 'out of order' using errcode = '22000'; end $$";
    let keep = "alter function printed(text) rename to kept";
    world.source.execute(&format!("{keep}; {failing}")).await;
    let told = |told: &Value| {
        mapping(told)["audit_error"].as_str().is_some_and(|why| why.contains("out of order"))
    };
    until("it is told", PATIENCE, async || {
        let now = destination(&daemon, &world, "acme").await;
        if told(&now) { Ok(()) } else { Err(format!("{now:#}")) }
    })
    .await;
    let before = destination(&daemon, &world, "acme").await;
    let restore = "drop function printed(text); alter function kept(text) rename to printed";
    world.source.execute(restore).await;
    let now = until_audited(&daemon, &world, "acme").await;
    assert!(mapping(&now)["audit_error"].is_null(), "{now:#}");
    assert_ne!(mapping(&now)["verified_at"], mapping(&before)["verified_at"], "{now:#}");
    daemon.stop().await;
}
