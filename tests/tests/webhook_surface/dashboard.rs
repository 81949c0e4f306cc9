//! The webhooks of the dashboard, in a real browser.

use offtake_tests::browser::Browser;
use offtake_tests::receiver::Play;
use serde_json::json;

use super::{ADMIN, insert_user, told};

const CARD: &str = "document.querySelector('#tenant-items [data-key=\"webhook main\"]')";

fn button(label: &str) -> String {
    let buttons = format!("[...{CARD}.querySelectorAll('button.action')]");
    format!("{buttons}.find(b => b.innerText.startsWith('{label}'))")
}

fn outcome() -> String {
    format!("{CARD}.querySelector('output').innerText")
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
    page.evaluate("location.hash = '#/webhooks'");
    let rows = "document.getElementById('webhooks-rows').innerText";
    page.wait_for(&format!("{rows}.includes('in sync')")).await;
    page.wait_for(&format!("{rows}.includes('hmac 2dd745ff')")).await;
    page.click("document.querySelector('#webhooks-rows a')").await;

    page.wait_for(&format!("Boolean({CARD}) && Boolean({})", button("Test"))).await;
    page.click(&button("Test")).await;
    page.wait_for(&format!("{}.includes('answered 200')", outcome())).await;

    page.click(&button("Replay")).await;
    page.wait_for("document.getElementById('question').open").await;
    page.evaluate("document.getElementById('since').value = '2020-01-01T00:00:00Z'");
    page.click("document.getElementById('question-yes')").await;
    page.wait_for(&format!("{}.includes('told again')", outcome())).await;
    receiver.wait_requests(3).await;

    receiver.play(|_| Play::Status(410));
    insert_user(&world, "Ben").await;
    page.wait_for(&format!("{CARD}.innerText.includes('disabled')")).await;
    receiver.play(|_| Play::OK);
    page.wait_for(&format!("Boolean({})", button("Enable"))).await;
    page.click(&button("Enable")).await;
    page.wait_for(&format!("{CARD}.innerText.includes('in sync')")).await;
    if let Some(folder) = std::env::var_os("OFFTAKE_PICTURES") {
        page.photograph(&std::path::Path::new(&folder).join("webhooks.png"));
    }
    let complaints = page.complaints();
    assert!(complaints.iter().all(|text| text.contains("status of 40")), "{complaints:#?}");
    daemon.stop().await;
}
