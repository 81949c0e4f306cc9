//! What is told, in which order, and what crashes and outages do to it.

use std::time::Duration;

use offtake_tests::{PATIENCE, until};
use serde_json::json;

use super::receiver::Answer;
use super::*;

#[tokio::test]
async fn rows_that_change_are_told_and_what_was_before_is_not() {
    let (world, receivers) = world(&["acme", "globex"], json!({})).await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 2).await;
    world.source.execute("delete from contact_channel").await;
    let acme = world.id("acme").to_owned();
    // Every user changes; two leave.
    world
        .source
        .execute(&format!(
            "update project_user set display_name = display_name || '!';
             delete from project_user where project_user_id in
               (select project_user_id from project_user where tenancy_id = '{acme}' and not is_anonymous limit 2)"
        ))
        .await;
    for (tenant, receiver) in ["acme", "globex"].iter().zip(&receivers) {
        wait_equal(&world, tenant, receiver).await;
        for request in receiver.requests() {
            assert_eq!(request.body["tenant"], world.id(tenant));
        }
    }
    // Who has left was never known, so the receiver's picture does not tell whether that was told.
    world.wait_webhooks_told(PATIENCE).await;
    assert!(receivers[0].types().contains(&"users.deleted".to_owned()));
    daemon.stop().await;
}

#[tokio::test]
async fn while_a_receiver_is_unwell_nothing_is_lost_and_others_are_not_delayed() {
    let (world, receivers) = world(&["acme", "globex"], json!({})).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 2).await;
    receivers[0].answer(|_| Answer::of(503));
    for number in 0..20 {
        add_user(&world, "acme", &format!("a{number}")).await;
        add_user(&world, "globex", &format!("g{number}")).await;
    }
    wait_equal(&world, "globex", &receivers[1]).await;
    until("the receiver was asked again", PATIENCE, async || match receivers[0].requests().len() {
        0..12 => Err("not yet".to_owned()),
        _ => Ok(()),
    })
    .await;
    let quarantined =
        world.source.query_text("select count(*)::text from offtake.quarantined_event").await;
    assert_eq!(quarantined, "0");
    receivers[0].answer(|_| Answer::of(200));
    wait_equal(&world, "acme", &receivers[0]).await;
    daemon.stop().await;
}

/// Invariant 5: a change is owed until it is acknowledged.
#[tokio::test]
async fn a_daemon_killed_at_any_point_tells_everything() {
    let points = [
        "after_claim",
        "after_read",
        "before_send",
        "after_send",
        "before_save",
        "before_complete",
    ];
    let (world, receivers) = world(&["acme"], json!({})).await;
    world.allow("*");
    for (round, point) in points.iter().enumerate() {
        let daemon =
            world.spawn_daemon_with_failpoints(&[(&format!("webhooks.{point}"), "1*abort")]);
        wait_registered(&world, 1).await;
        for number in 0..5 {
            add_user(&world, "acme", &format!("{round}-{number}")).await;
        }
        until(point, PATIENCE, async || match daemon.runs() {
            true => Err("it still runs".to_owned()),
            false => Ok(()),
        })
        .await;
        drop(daemon);
        let daemon = world.daemon().await;
        wait_equal(&world, "acme", &receivers[0]).await;
        daemon.stop().await;
    }
    // What was sent twice has one id for one content.
    let mut by_id = std::collections::HashMap::new();
    for request in receivers[0].requests() {
        let mut body = request.body.clone();
        body["as_of"] = Value::Null;
        assert_eq!(*by_id.entry(request.id).or_insert(body.clone()), body);
    }
}

#[tokio::test]
async fn with_one_request_in_flight_the_order_is_that_of_the_sequence_ids() {
    let (world, receivers) = world(&["acme"], json!({ "concurrency": 1, "timeout": "20s" })).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    for number in 0..60 {
        add_user(&world, "acme", &format!("{number}")).await;
    }
    wait_equal(&world, "acme", &receivers[0]).await;
    let ids: Vec<i64> = receivers[0]
        .requests()
        .iter()
        .map(|request| request.body["sequence_id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(receivers[0].at_work_max(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn a_batch_has_many_events_and_never_a_key_twice() {
    let settings = json!({ "batch": { "events": 50 } });
    let (world, receivers) = world(&["acme"], settings).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 1).await;
    world.fill(200).await;
    world.source.execute("update project_user set display_name = 'x'").await;
    wait_equal(&world, "acme", &receivers[0]).await;
    let mut largest = 0;
    for request in receivers[0].requests() {
        assert_eq!(request.body["type"], "offtake.batch");
        let events = request.events();
        largest = largest.max(events.len());
        let keys: std::collections::BTreeSet<String> =
            events.iter().map(|event| event["key"].to_string()).collect();
        assert_eq!(keys.len(), events.len());
    }
    assert!((10..=50).contains(&largest), "{largest}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_receiver_that_never_answers_delays_nobody_else() {
    let (world, receivers) = world(&["acme", "globex"], json!({})).await;
    let daemon = world.daemon().await;
    wait_registered(&world, 2).await;
    receivers[0].answer(|_| Answer { wait: Duration::from_secs(60), ..Answer::of(200) });
    for number in 0..10 {
        add_user(&world, "acme", &format!("a{number}")).await;
        add_user(&world, "globex", &format!("g{number}")).await;
        wait_equal(&world, "globex", &receivers[1]).await;
    }
    assert!(receivers[0].requests().len() < 20);
    daemon.stop().await;
}

#[tokio::test]
async fn the_query_s_webhooks_are_told_what_their_filter_accepts() {
    let (mut world, receivers) = world(&["acme"], json!({})).await;
    let id = world.id("acme").to_owned();
    let url = receivers[0].url();
    world
        .source
        .execute(&format!(
            "create table hook (tenant_id text, name text, url text, secret text, filter jsonb);
             insert into hook values ('{id}', 'main', '{url}', '{SECRET}', '{{\"display_name\": [\"in\"]}}'),
                                     ('{id}', 'bad', 'ftp://x', '{SECRET}', null)"
        ))
        .await;
    world.configure(|configuration| {
        configuration["webhooks"]["static"] = json!([]);
        configuration["webhooks"]["query"] =
            "select tenant_id, name, url, secret, filter, array['users'] as mappings from hook"
                .into();
    });
    world.allow("webhook_refused");
    let daemon = world.daemon().await;
    world.source.wait_text("select count(*)::text from offtake.webhook", "2").await;
    let refused = world.source.query_text("select refused from offtake.webhook where name = 'bad'");
    assert!(refused.await.contains("https"), "it says what is wrong");
    add_user(&world, "acme", "in").await;
    add_user(&world, "acme", "out").await;
    let names = async || {
        let rows = receivers[0].rows("users");
        rows.values()
            .map(|row| row["display_name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    until("the accepted row is told", PATIENCE, async || match names().await {
        names if names == ["in"] => Ok(()),
        names => Err(format!("{names:?}")),
    })
    .await;
    // A row that leaves the filter is deleted, one that enters it is told.
    world
        .source
        .execute(
            "update project_user set display_name = case display_name when 'in' then 'out' else 'in' end",
        )
        .await;
    let out = world.source.query_text("select md5('out')::uuid::text").await;
    until("the other row is told", PATIENCE, async || {
        let rows = receivers[0].rows("users");
        match rows.len() == 1 && rows.keys().all(|key| key.contains(&out)) {
            true => Ok(()),
            false => Err(format!("{rows:?}")),
        }
    })
    .await;
    daemon.stop().await;
}

/// A page of a webhook ends within a list of keys: each is told, once for each change, with its own
/// sequence id.
#[tokio::test]
async fn a_webhook_is_told_of_each_key_of_a_list() {
    const ROWS: usize = 1500;
    let settings = json!({ "mappings": ["permissions"], "batch": { "events": 70 } });
    let (world, receivers) = world(&["acme", "globex"], settings).await;
    let mut daemon = world.daemon().await;
    wait_registered(&world, 2).await;
    let insert = format!(
        "insert into permission (tenancy_id, id, permission_id) select id, n, 'read' from tenancy, generate_series(1, {ROWS}) n"
    );
    world.source.execute(&insert).await;
    let told = async |rows: usize| {
        until("the receivers know all rows", PATIENCE, async || {
            let known: Vec<usize> = receivers.iter().map(|r| r.rows("permissions").len()).collect();
            if known == [rows, rows] { Ok(()) } else { Err(format!("{known:?}, not {rows}")) }
        })
        .await;
    };
    told(ROWS).await;
    daemon.kill();
    world.source.execute("delete from permission where id % 3 <> 0").await;
    let daemon = world.daemon().await;
    told(ROWS / 3).await;
    let lists = "select count(*) from offtake.change_log where key_count > 50";
    assert_ne!(world.source.query_text(lists).await, "0");
    let ids = |receiver: &Receiver| {
        let events = receiver.requests().into_iter().flat_map(|request| request.events());
        let ids: Vec<String> =
            events.map(|event| event["sequence_id"].as_str().unwrap().to_owned()).collect();
        ids
    };
    for receiver in &receivers {
        let ids = ids(receiver);
        let different: std::collections::BTreeSet<&String> = ids.iter().collect();
        // A page may be told again after the kill.
        assert_eq!(different.len(), ROWS + ROWS * 2 / 3);
    }
    daemon.stop().await;
}
