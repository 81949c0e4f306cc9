//! `offtake check --connect` with webhooks: it plans, looks up, and sends nothing.

use offtake_tests::World;
use offtake_tests::receiver::Receiver;
use serde_json::{Value, json};

use super::assert_nothing_secret;

async fn checked(world: &World) -> (i32, String) {
    let output = world.offtake(&["check", "--connect"]).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = text(&output.stdout) + &text(&output.stderr);
    assert_nothing_secret(&told);
    (output.status.code().unwrap(), told)
}

#[tokio::test]
async fn a_check_plans_where_and_looks_up_the_host_and_sends_nothing() {
    let receiver = Receiver::start().await;
    let with = |name: &str, more: Value| {
        let mut all = json!({ "name": name, "mappings": ["users"] });
        for (key, value) in more.as_object().unwrap() {
            all[key] = value.clone();
        }
        all
    };
    let mut world = World::with_tenants(["acme"]).await;
    world.add_webhook("acme", &receiver, with("fine", json!({ "where": "display_name <> ''" })));
    let (code, told) = checked(&world).await;
    assert!(code == 0 && told.contains("1 of 1 webhook(s) can be told"), "{told}");

    world.add_webhook("acme", &receiver, with("column", json!({ "where": "no_such_column" })));
    world.add_webhook("acme", &receiver, with("syntax", json!({ "where": "display_name = " })));
    world.add_webhook_at("acme", "https://10.1.2.3/hook", with("address", json!({})));
    world.add_webhook_at("acme", "https://nowhere.invalid/hook", with("dns", json!({})));
    let (code, told) = checked(&world).await;
    assert_eq!(code, 78, "{told}");
    for (name, why) in [
        ("column", "its `where` cannot run with mapping users: "),
        ("syntax", "its `where` cannot run with mapping users: "),
        ("address", "a private address"),
        ("dns", "cannot resolve"),
    ] {
        let at = told
            .find(&format!("webhook {}/{name}", world.id("acme")))
            .unwrap_or_else(|| panic!("{name}: {told}"));
        assert!(told[at..].lines().nth(1).unwrap().contains(why), "{name}: {told}");
    }
    assert!(told.contains("1 of 5 webhook(s) can be told; nothing was sent"), "{told}");
    assert_eq!(receiver.connections(), 0);
}
