//! Webhooks that are due together: their pages are read, and their ends recorded, for several at
//! once, and each is told as if it were alone.

use offtake_tests::Daemon;
use serde_json::json;

use super::*;

const DEBUG: &str = "warn,offtake=info,offtake_webhooks::turn=debug";

/// The most turns that were worked for at once.
fn together(daemon: &Daemon, event: &str) -> u64 {
    let lines = daemon.log().into_iter().filter(|line| line.event == event);
    let turns = lines.map(|line| {
        let line: Value = serde_json::from_str(&line.text).unwrap();
        line["turns"].as_u64().unwrap_or_default()
    });
    turns.max().unwrap_or_default()
}

/// A world in which a user of the name `poison` cannot be read.
async fn twelve(settings: Value) -> (World, Vec<Receiver>, Daemon) {
    let names: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut world, receivers) = world(&names, settings).await;
    world.set_variable("RUST_LOG", DEBUG);
    let file = world.mappings_folder().join("users.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let poisoned = "u.display_name || substr('', 1 / (case u.display_name when 'poison' then 0 else 1 end)) as display_name,";
    assert!(text.contains("u.display_name,"), "{text}");
    world.write_mapping("users", &text.replacen("u.display_name,", poisoned, 1));
    let daemon = world.daemon().await;
    wait_registered(&world, names.len()).await;
    (world, receivers, daemon)
}

async fn all_equal(world: &World, receivers: &[Receiver]) {
    for (tenant, receiver) in world.tenants().iter().zip(receivers) {
        wait_equal(world, &tenant.name, receiver).await;
    }
}

const ONE_EACH: &str = "insert into project_user (tenancy_id, project_user_id, display_name)
    select id, md5(id::text || 'a')::uuid, 'a' from tenancy";

#[tokio::test]
async fn webhooks_that_are_due_together_are_told_as_if_each_were_alone() {
    let (world, receivers, daemon) = twelve(json!({})).await;
    for statement in [
        ONE_EACH,
        "insert into project_user (tenancy_id, project_user_id, display_name)
         select id, md5(id::text || n)::uuid, n::text from tenancy cross join generate_series(1, 5) n",
        // A text that is escaped on its way, and none.
        "update project_user set display_name = case display_name when 'a' then E'a\\tb\\\\c\\nd\"\u{fc}' when '1' then null else display_name || '!' end",
        // Rows go from tenant to tenant.
        "update project_user u set tenancy_id = (select t.id from tenancy t where t.display_name = 't' || ((substr(o.display_name, 2)::int + 1) % 12))
           from tenancy o where o.id = u.tenancy_id and u.display_name = '2!'",
        "delete from project_user where display_name = '3!'",
        // More of one tenant than is read together.
        "insert into project_user (tenancy_id, display_name) select md5('t3')::uuid, 'x' || n from generate_series(1, 80) n;
         update project_user set display_name = 'last' where display_name = '4!'",
    ] {
        world.source.execute(statement).await;
        all_equal(&world, &receivers).await;
    }
    world
        .source
        .wait_text("select string_agg(distinct state, ' ') from offtake.webhook", "in_sync")
        .await;
    let behind = "select count(*)::text from offtake.webhook w join offtake.webhook_mapping m using (webhook_id)
        where w.sequence_id <> m.sequence_id or delivered = 0 or last_status is null or last_success_at is null";
    assert_eq!(world.source.query_text(behind).await, "0");
    assert!(together(&daemon, "webhooks_read_together") > 1, "each read alone");
    assert!(together(&daemon, "webhooks_saved_together") > 1, "each was saved alone");
    daemon.stop().await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_no_other_webhook_waiting() {
    let (world, receivers, daemon) = twelve(json!({})).await;
    let poison = format!(
        "update project_user set display_name = case tenancy_id when '{}' then 'poison' else 'b' end",
        world.id("t5")
    );
    world.source.execute(&format!("{ONE_EACH}; {poison}")).await;
    world.source.wait_text("select count(*)::text from offtake.quarantined_event", "1").await;
    for (at, tenant) in world.tenants().iter().enumerate().filter(|(at, _)| *at != 5) {
        until(&format!("{} is told", tenant.name), PATIENCE, async || {
            let rows = receivers[at].rows("users");
            match rows.values().any(|row| row["display_name"] == "b") {
                true => Ok(()),
                false => Err(format!("{rows:?}")),
            }
        })
        .await;
    }
    world
        .source
        .execute("update project_user set display_name = 'c' where display_name = 'poison'")
        .await;
    all_equal(&world, &receivers).await;
    daemon.stop().await;
}

/// A worker that is late says nothing about another one's claim, also where it records for others
/// whose requests are theirs.
#[tokio::test]
async fn a_late_end_among_several_records_nothing() {
    let (world, _receivers, daemon) = twelve(json!({})).await;
    daemon.stop().await;
    let owe = "delete from offtake.outgoing_request;
        insert into offtake.outgoing_request (kind, webhook_id, wanted_sequence_id, attempt)
        select 'webhook', webhook_id, 7, 3 from offtake.webhook";
    world.source.execute(owe).await;
    let told = "select string_agg(concat_ws('/', m.sequence_id, w.sequence_id, delivered, last_status), ' ' order by webhook_id)
        from offtake.webhook w join offtake.webhook_mapping m using (webhook_id)";
    let before = world.source.query_text(told).await;
    let client = world.source.connect().await;
    let rows = client
        .query("select request_id from offtake.outgoing_request order by webhook_id", &[])
        .await
        .unwrap();
    let requests: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let attempts: Vec<i64> = (0..12).map(|at| if at == 0 { 2 } else { 3 }).collect();
    let (mappings, numbers) = (vec![json!(["users"]); 12], vec![7_i64; 12]);
    let statuses: Vec<Option<i32>> = (0..12).map(|at| (at > 1).then_some(204)).collect();
    let save = include_str!("../../../crates/webhooks/sql/save_group.sql");
    let rows = client
        .query(save, &[&requests, &attempts, &mappings, &numbers, &numbers, &statuses])
        .await
        .unwrap();
    let mut saved: Vec<i64> = rows.iter().map(|row| row.get("request_id")).collect();
    saved.sort_unstable();
    let mut wanted = requests[1..].to_vec();
    wanted.sort_unstable();
    assert_eq!(saved, wanted);
    let late = before.split(' ').next().unwrap();
    let ours = ["7/7/7/204"; 10].join(" ");
    assert_eq!(world.source.query_text(told).await, format!("{late} 7/7/7 {ours}"));
}
