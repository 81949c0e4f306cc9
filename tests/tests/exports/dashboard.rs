//! The exports of the dashboard, in a real browser.

use offtake_tests::browser::Browser;
use offtake_tests::{PATIENCE, World, until};
use serde_json::json;

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.name from public.item i
target: { table: items }
";

const ADMIN: &str = "the-admin-token-of-the-tests";

const ROW: &str = "document.querySelector('#exports-rows tr')";

fn button(label: &str) -> String {
    let buttons = format!("[...{ROW}.querySelectorAll('button.action')]");
    format!("{buttons}.find(b => b.innerText.startsWith('{label}'))")
}

#[tokio::test]
async fn an_operator_sees_an_export_cancels_resumes_and_fetches_it() {
    let Some(mut page) = Browser::start() else { return };
    let world = World::with_tenants(["acme"])
        .without_init()
        .mappings(&[("items", ITEMS)])
        .setting("/stores", json!({ "disk": { "kind": "disk", "path": "files" } }))
        .setting("/exports", json!({ "store": "disk", "chunk_rows": 10 }))
        .setting("/http/admin_token", ADMIN)
        .await;
    let fill = "insert into item select '{tenant}', n, 'name' from generate_series(1, 100) n";
    world.with_items("name text", fill).await;
    let mut daemon = world.spawn_daemon_with_failpoints(&[("export.before_put", "3*off->pause")]);
    daemon.wait_ready().await;
    world.succeed(&["export", "create", "--tenant", world.id("acme"), "--format", "csv"]).await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    page.wait_for("!document.getElementById('token-form').hidden").await;
    page.evaluate(&format!("document.getElementById('token').value = '{ADMIN}'"));
    page.evaluate("document.querySelector('#token-form button').click()");
    page.evaluate("location.hash = '#/exports'");
    page.wait_for(&format!("Boolean({ROW}?.querySelector('progress'))")).await;
    page.wait_for(&format!("{ROW}.innerText.includes('30 of about')")).await;

    page.click(&button("Cancel")).await;
    page.wait_for("document.getElementById('question').open").await;
    page.click("document.getElementById('question-yes')").await;
    page.wait_for(&format!("Boolean({ROW}.querySelector('output').innerText)")).await;
    daemon.clear_failpoints().await;
    page.wait_for(&format!("Boolean({})", button("Resume"))).await;
    page.click(&button("Resume")).await;
    page.wait_for(&format!("Boolean({})", button("Download"))).await;
    page.wait_for(&format!("{ROW}.innerText.includes('items.csv.gz')")).await;
    if let Some(folder) = std::env::var_os("OFFTAKE_PICTURES") {
        page.photograph(&std::path::Path::new(&folder).join("exports.png"));
    }
    page.click(&button("Download")).await;
    page.wait_for(&format!("{ROW}.querySelector('output').innerText.includes('1 file is')")).await;
    // The browser may still fetch the file when it is deleted.
    daemon.allow("http.file_failed");
    page.click(&button("Delete")).await;
    page.wait_for("document.getElementById('question').open").await;
    page.click("document.getElementById('question-yes')").await;
    until("the export is deleted", PATIENCE, async || {
        match world.source.query_text("select count(*) from offtake.job").await.as_str() {
            "0" => Ok(()),
            left => Err(left.to_owned()),
        }
    })
    .await;
    page.wait_for(&format!("{ROW}.innerText.includes('no exports yet')")).await;
    let complaints = page.complaints();
    assert!(complaints.iter().all(|text| text.contains("status of 40")), "{complaints:#?}");
    daemon.stop().await;
}
