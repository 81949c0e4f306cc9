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
    page.wait_for("!document.querySelector('main').hidden").await;
    let ask = async |page: &mut Browser, tenant: &str, mapping: &str| {
        page.evaluate(&format!("document.getElementById('why-tenant').value = '{tenant}'"));
        page.evaluate(&format!("document.getElementById('why-mapping').value = '{mapping}'"));
        page.click("document.querySelector('#why-form button')").await;
    };
    // By the button beside the destination, and by the form.
    page.click("document.querySelector('#destinations button.fold')").await;
    let button = "[...document.querySelectorAll('#destinations button.action')].find(b => b.innerText === 'Why?')";
    page.click(button).await;
    page.wait_for(&format!("document.getElementById('why-tenant').value === '{id}'")).await;
    ask(&mut page, id, "").await;
    let items = "document.getElementById('why-items').innerText";
    page.wait_for(&format!("{items}.includes('<b>their</b> migration')")).await;
    page.wait_for(&format!("{items}.includes('offtake resume --tenant {id}')")).await;
    if let Some(folder) = std::env::var_os("OFFTAKE_PICTURES") {
        page.photograph(&std::path::Path::new(&folder).join("why.png"));
    }
    // Also a key, and on a narrow page nothing is beside the screen.
    world.succeed(&["resume", "--tenant", id]).await;
    let key = world.source.query_text("select min(project_user_id::text) from project_user").await;
    page.evaluate(&format!("document.getElementById('why-key').value = '{key}'"));
    ask(&mut page, id, "users").await;
    page.wait_for(&format!("{items}.includes('{key}') && {items}.includes('applied')")).await;
    let wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(page.evaluate(wide), false);
    page.evaluate("document.getElementById('why-key').value = ''");
    ask(&mut page, "nobody", "").await;
    page.wait_for("document.getElementById('why-answer').innerText.includes('no destination')")
        .await;
    let complaints: Vec<String> =
        page.complaints().iter().filter(|c| !c.contains("status of 40")).cloned().collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    daemon.stop().await;
}
