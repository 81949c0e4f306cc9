//! A tenant's page, in a real browser.

use std::path::Path;

use offtake_tests::browser::Browser;

use super::two_tenants;

fn picture(page: &mut Browser, name: &str) {
    let Some(folder) = std::env::var_os("OFFTAKE_PICTURES") else { return };
    for scheme in ["light", "dark"] {
        page.prefer(scheme);
        page.photograph(&Path::new(&folder).join(format!("{name}-{scheme}.png")));
    }
}

#[tokio::test]
async fn a_tenant_reads_its_page_by_its_link() {
    let Some(mut page) = Browser::start() else { return };
    let (world, _receiver, daemon) = two_tenants().await;
    let token = world.succeed(&["status-token", "--tenant", world.id("acme")]).await;
    let token = token.trim();
    let address = format!("http://127.0.0.1:{}/tenant", daemon.port());
    page.open(&format!("{address}#{token}"));
    let shown = "document.body.innerText";
    page.wait_for(&format!("{shown}.includes('some rows missing')")).await;
    page.wait_for(&format!("{shown}.includes('This database refuses 1 row')")).await;
    page.wait_for(&format!("{shown}.includes('Not everything is up to date.')")).await;
    let wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(page.evaluate(wide), false);
    picture(&mut page, "tenant");
    let kept = "sessionStorage.length + localStorage.length + document.cookie.length";
    assert_eq!(page.evaluate(kept), 0, "the token is in the address only");
    let loaded = "performance.getEntriesByType('resource').every(r => r.name.startsWith(location.origin + '/tenant/') && !r.name.includes('offtake-status'))";
    assert_eq!(page.evaluate(loaded), true, "the token is sent in no address");

    // Once the row is taken, the page says so by itself.
    world
        .tenant("acme")
        .destination
        .execute("alter table users drop constraint users_display_name_check")
        .await;
    world.succeed(&["quarantine", "retry", "--tenant", world.id("acme")]).await;
    world.wait_in_step().await;
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
    page.wait_for(&format!("{shown}.includes('Everything is up to date.')")).await;
    picture(&mut page, "tenant-up-to-date");

    // A revoked link shows nothing any more.
    world.succeed(&["status-token", "--tenant", world.id("acme"), "--revoke"]).await;
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
    page.wait_for(&format!("{shown}.includes('not valid')")).await;
    assert_eq!(page.evaluate(&format!("{shown}.includes('{}')", world.id("acme"))), false);
    page.open(&address);
    page.wait_for(&format!("{shown}.includes('not complete')")).await;
    let complaints: Vec<String> =
        page.complaints().iter().filter(|c| !c.contains("status of 40")).cloned().collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    daemon.stop().await;
}
