//! Values arrive as the source prints them, also through libraries that parse JSON.

use offtake_tests::receiver::{Receiver, SECRET, installed, verify_with};
use offtake_tests::{PATIENCE, World};
use serde_json::json;

use super::told::daemon_with_webhooks;

const THINGS: &str = "
source: { table: public.thing, tenant: tenant, key: { id: id } }
query: |
  select t.tenant as tenant_id, t.id, t.big, t.exact, t.float, t.doc, t.text, t.bytes, t.at, t.list
    from public.thing t
target: { table: things }
";

const TABLE: &str = "create table public.thing (tenant text, id bigint, big bigint, exact numeric, float float8, doc jsonb, \
    text text, bytes bytea, at timestamptz, list bigint[], primary key (tenant, id))";

/// 2^53 + 1: the first whole number that JavaScript cannot hold.
const BEYOND_DOUBLES: &str = "9007199254740993";
const FORTY_DIGITS: &str = "1234567890123456789012345678901234567.891";

async fn things_world() -> (World, Receiver) {
    let mut world =
        World::with_tenants(["acme"]).mappings(&[("things", THINGS)]).without_init().await;
    world.source.execute(TABLE).await;
    world.succeed(&["init"]).await;
    let receiver = Receiver::start().await;
    world.add_webhook("acme", &receiver, json!({}));
    (world, receiver)
}

#[tokio::test]
async fn numbers_texts_and_documents_arrive_as_the_source_prints_them() {
    let (world, receiver) = things_world().await;
    let daemon = daemon_with_webhooks(&world).await;
    let insert = format!(
        "insert into thing values ('{}', {BEYOND_DOUBLES}, -9223372036854775808, {FORTY_DIGITS}, 'NaN', \
         '{{\"n\": {FORTY_DIGITS}, \"deep\": [1, {{\"a\": null}}]}}', E'\u{1f600} \"quoted\" \\\\ \\n\\u2028 end', \
         '\\x00ff', '2026-11-28 03:13:00.123456+02', array[{BEYOND_DOUBLES}]::bigint[])",
        world.id("acme")
    );
    world.source.execute(&insert).await;
    let requests = receiver.wait_requests(1).await;
    let body = String::from_utf8(requests[0].body.clone()).unwrap();
    // As text, because the official JavaScript library would round a number.
    assert!(
        body.contains(&format!(r#""big":"-9223372036854775808","exact":"{FORTY_DIGITS}""#)),
        "{body}"
    );
    assert!(body.contains(&format!(r#""key":{{"id":"{BEYOND_DOUBLES}"}}"#)), "{body}");
    assert!(body.contains(r#""float":"NaN""#), "{body}");
    // A document is embedded as it is: its numbers are the application's own choice.
    assert!(body.contains(&format!(r#""n": {FORTY_DIGITS}"#)), "{body}");
    assert!(body.contains(r#""bytes":"\\x00ff""#), "{body}");
    let wanted = [
        ("id", json!(BEYOND_DOUBLES)),
        ("big", json!("-9223372036854775808")),
        ("exact", json!(FORTY_DIGITS)),
        ("float", json!("NaN")),
        ("text", json!("\u{1f600} \"quoted\" \\ \n\u{2028} end")),
        ("bytes", json!("\\x00ff")),
    ];
    for language in installed() {
        let said = &verify_with(language, &requests, Some(SECRET), None)[0];
        assert_eq!(said.v1, "verified", "{language:?}");
        for (column, value) in &wanted {
            assert_eq!(said.parsed["data"][column], *value, "{language:?} {column}");
        }
        assert_eq!(said.parsed["data"]["doc"]["deep"], json!([1, { "a": null }]), "{language:?}");
        assert_eq!(said.parsed["sequence_id"], requests[0].event["sequence_id"], "{language:?}");
    }
    let at = requests[0].event["data"]["at"].as_str().unwrap();
    assert_eq!(at, "2026-11-28T01:13:00.123456+00:00");
    receiver.assert_equal(&world, "acme", &[]).await;
    daemon.stop().await;
}

/// A row that would make an event of more than 256 KiB is told with its key, and the event says so.
#[tokio::test]
async fn a_row_that_is_too_large_is_told_by_its_key() {
    let (world, receiver) = things_world().await;
    let daemon = daemon_with_webhooks(&world).await;
    let insert = |id: i32, kib: i32| {
        format!(
            "insert into thing (tenant, id, text) values ('{}', {id}, repeat('x', {kib} * 1024))",
            world.id("acme")
        )
    };
    world.source.execute(&insert(1, 300)).await;
    let requests = receiver.wait_requests(1).await;
    let event = &requests[0].event;
    assert_eq!((&event["key"], &event["data"]), (&json!({ "id": "1" }), &json!(null)));
    assert_eq!((&event["type"], &event["too_large"]), (&json!("things.upserted"), &json!(true)));
    world.source.execute(&insert(2, 200)).await;
    let requests = receiver.wait_requests(2).await;
    assert!(requests[1].event.get("too_large").is_none());
    assert_eq!(requests[1].event["data"]["text"].as_str().unwrap().len(), 200 * 1024);
    // Small again, so its values are told again.
    world.source.execute("update thing set text = 'small' where id = 1").await;
    let requests = receiver.wait_requests(3).await;
    assert_eq!(requests[2].event["data"]["text"], "small");
    world.wait_webhooks_told(PATIENCE).await;
    receiver.assert_equal(&world, "acme", &[]).await;
    daemon.stop().await;
}
