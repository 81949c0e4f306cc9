//! The webhooks of the dashboard, in a real browser.

use offtake_tests::World;
use offtake_tests::browser::Browser;
use offtake_tests::receiver::Play;
use serde_json::json;

use super::{ADMIN, insert_user, told};

fn row(world: &World) -> String {
    let id = world.id("acme");
    format!(
        "[...document.querySelectorAll('#webhooks tr')].find(r => r.innerText.includes('{id}'))"
    )
}

fn button(world: &World, label: &str) -> String {
    format!(
        "[...{}.nextElementSibling.querySelectorAll('button.action')].find(b => b.innerText.startsWith('{label}'))",
        row(world)
    )
}

fn outcome(world: &World) -> String {
    format!("{}.nextElementSibling.querySelector('output').innerText", row(world))
}

#[tokio::test]
async fn an_operator_tests_enables_and_replays_a_webhook() {
    let Some(mut page) = Browser::start() else { return };
    let (world, receiver, daemon) = told(json!({})).await;
    world.allow("webhook_disabled");
    insert_user(&world, "Ann").await;
    receiver.wait_requests(1).await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    page.wait_for("!document.getElementById('token-form').hidden").await;
    page.evaluate(&format!("document.getElementById('token').value = '{ADMIN}'"));
    page.evaluate("document.querySelector('#token-form button').click()");
    page.wait_for(&format!("{}?.innerText.includes('in sync')", row(&world))).await;
    page.wait_for(&format!("{}.innerText.includes('hmac 2dd745ff')", row(&world))).await;
    page.click(&format!("{}.querySelector('button')", row(&world))).await;

    page.wait_for(&format!("Boolean({})", button(&world, "Test"))).await;
    page.click(&button(&world, "Test")).await;
    page.wait_for(&format!("{}.includes('answered 200')", outcome(&world))).await;

    page.click(&button(&world, "Replay")).await;
    page.wait_for("document.getElementById('question').open").await;
    page.evaluate("document.getElementById('since').value = '2020-01-01T00:00:00Z'");
    page.click("document.getElementById('question-yes')").await;
    page.wait_for(&format!("{}.includes('told again')", outcome(&world))).await;
    receiver.wait_requests(3).await;

    receiver.play(|_| Play::Status(410));
    insert_user(&world, "Ben").await;
    page.wait_for(&format!("{}.innerText.includes('disabled')", row(&world))).await;
    receiver.play(|_| Play::OK);
    page.wait_for(&format!("Boolean({})", button(&world, "Enable"))).await;
    page.click(&button(&world, "Enable")).await;
    page.wait_for(&format!("{}.innerText.includes('in sync')", row(&world))).await;
    if let Some(folder) = std::env::var_os("OFFTAKE_PICTURES") {
        page.photograph(&std::path::Path::new(&folder).join("webhooks.png"));
    }
    let complaints = page.complaints();
    assert!(complaints.iter().all(|text| text.contains("status of 40")), "{complaints:#?}");
    daemon.stop().await;
}
