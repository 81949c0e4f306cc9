//! Copies of members are compared: by command, and all the time.

use offtake_tests::{PATIENCE, until};
use serde_json::{Value, json};

use super::{made, plan, sum, together, wait_equal};

/// What differs in one member's copy is told of that copy alone, by `verify`, by the audit and in
/// the tenants' own state table, while all of them are written for together; and a repair ends it.
#[tokio::test]
async fn a_difference_is_told_of_the_member_that_has_it() {
    let plan = plan().setting("/audit", json!({ "period": "1s", "budget": "100%" }));
    let (world, daemon) = made(plan.setting("/poller/lease", "5s"), 8).await;
    let there = &world.tenant("first").destination;
    let more = "insert into note select tenant, n, 'more' from mark, generate_series(2, 5) n";
    world.source.execute(more).await;
    wait_equal(&world).await;
    let verify = async || {
        let output = world.offtake(&["verify", "--json"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let reports: Vec<Value> = serde_json::from_slice(&output.stdout).expect(&said);
        let count = |report: &Value, kind: &str| report["report"][kind].as_u64().expect(&said);
        let differing: Vec<String> = reports
            .iter()
            .map(|of| (of, ["missing", "extra", "different"].map(|kind| count(of, kind))))
            .filter(|(_, counts)| *counts != [0, 0, 0])
            .map(|(of, counts)| format!("{} {} {counts:?}", of["destination"], of["mapping"]))
            .collect();
        (output.status.code(), reports.len(), differing)
    };
    assert_eq!(verify().await, (Some(0), 16, Vec::new()));
    world.allow("audit_differs");
    // Rows of strangers are no differences.
    there
        .execute(
            "update notes set body = 'by hand' where tenant_id = 't3' and id = 2;
             delete from notes where tenant_id = 't3' and id = 3;
             insert into notes values ('t3', 99, 'by hand'), ('stranger', 1, 'theirs'), ('stranger', 2, 'theirs')",
        )
        .await;
    let found = vec![r#""t3/main" "notes" [1, 1, 1]"#.to_owned()];
    assert_eq!(verify().await, (Some(3), 16, found));
    let told = "select string_agg(d.tenant_id || ' ' || m.mapping || ' ' || m.differences, ', ') from offtake.destination_mapping m
        join offtake.destination d using (destination_id) where m.differences > 0";
    world.source.wait_text(told, "t3 notes 3").await;
    let state = "select string_agg(tenant_id || ' ' || mapping || ' ' || differences, ', ') from _offtake_state where differences > 0";
    there.wait_text(state, "t3 notes 3").await;
    // All of them are told that they were compared, each alone. In between they go on together.
    let (before, began) =
        (together(&daemon), world.source.query_text("select clock_timestamp()").await);
    let proved = format!(
        "select count(*) from offtake.destination_mapping where verified_at > '{began}' and mapping = 'marks'"
    );
    let mut value = 10;
    until("all are compared, and written for together", PATIENCE, async || {
        value += 1;
        world.source.execute(&format!("update mark set value = {value}")).await;
        there.wait_text(&format!("select count(*) from marks where value = {value}"), "8").await;
        let proved = world.source.query_text(&proved).await;
        let written = together(&daemon) - before;
        if proved == "8" && written >= 16 { Ok(()) } else { Err(format!("{proved}, {written}")) }
    })
    .await;
    assert_eq!(world.source.query_text(told).await, "t3 notes 3");
    world.succeed(&["verify", "--tenant", "t3", "--repair", "--yes"]).await;
    wait_equal(&world).await;
    assert_eq!(verify().await, (Some(0), 16, Vec::new()));
    there.wait_text("select coalesce(sum(differences), 0) from _offtake_state", "0").await;
    let strangers = "select count(*) from notes where tenant_id = 'stranger'";
    assert_eq!(there.query_text(strangers).await, "2");
    assert_eq!(sum(&daemon, "written_together", "left_out"), 0, "the audit moved cursors away");
    daemon.stop().await;
}
