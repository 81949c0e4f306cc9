//! The dashboard answers the same question, in a real browser.

use offtake_tests::World;
use offtake_tests::browser::Browser;
use offtake_tests::samples::USERS;

#[tokio::test]
async fn the_dashboard_says_what_a_tenant_waits_for() {
    let Some(mut page) = Browser::start() else { return };
    let world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).await;
    world.fill(3).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let id = world.id("acme");
    world.succeed(&["pause", "--tenant", id, "--reason", "<b>their</b> migration"]).await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    page.wait_for("document.querySelectorAll('#destinations-rows a').length === 1").await;
    page.click("document.querySelector('#destinations-rows a')").await;
    page.wait_for(&format!("document.getElementById('tenant-name').innerText === '{id}'")).await;
    let items = "document.getElementById('tenant-items').innerText";
    page.wait_for(&format!("{items}.includes('<b>their</b> migration')")).await;
    page.wait_for(&format!("{items}.includes('offtake resume --tenant {id}')")).await;
    let verdict = "document.getElementById('tenant-verdict').innerText";
    page.wait_for(&format!("{verdict} === 'not up to date'")).await;
    if let Some(folder) = std::env::var_os("OFFTAKE_PICTURES") {
        page.photograph(&std::path::Path::new(&folder).join("why.png"));
    }
    // Also a key.
    world.succeed(&["resume", "--tenant", id]).await;
    page.wait_for(&format!("{verdict} === 'up to date'")).await;
    let key = world.source.query_text("select min(project_user_id::text) from project_user").await;
    page.evaluate(&format!("document.getElementById('story-key').value = '{key}'"));
    page.click("document.querySelector('#story-form button')").await;
    let story = "document.getElementById('story-items').innerText";
    page.wait_for(&format!("{story}.includes('{key}') && {story}.includes('applied')")).await;
    page.evaluate("location.hash = '#/tenant/nobody'");
    page.wait_for("document.getElementById('tenant-trouble').innerText.includes('no destination')")
        .await;
    let complaints: Vec<String> =
        page.complaints().iter().filter(|c| !c.contains("status of 40")).cloned().collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    daemon.stop().await;
}
