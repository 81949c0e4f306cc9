//! The platform's view: where changes are and what waits, and the last quarter of an hour.

use offtake_tests::browser::Browser;
use offtake_tests::samples::USERS;
use offtake_tests::{Daemon, World};

use super::{assert_no_complaints, picture};

/// What waits before a loop, as the picture has it.
fn waits(id: &str) -> String {
    format!("Number(document.querySelector('#{id} strong')?.innerText.replace(/\\D/g, ''))")
}

fn of_loop(name: &str) -> String {
    format!("document.getElementById('{name}')?.innerText")
}

#[tokio::test]
async fn the_picture_shows_what_waits_before_each_loop_and_the_charts_what_was_done() {
    let Some(mut page) = Browser::start() else { return };
    let world = World::with_tenants(["acme", "globex"]).mappings(&[("users", USERS)]).await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    page.open(&format!("http://127.0.0.1:{}/#/platform", daemon.port()));
    page.wait_for(&format!("{} === 0 && {} === 0", waits("captured"), waits("owed"))).await;
    let change = "update project_user set display_name = display_name || '!'";

    // Each loop that stands still has its work before it, and says why; the next loops have none.
    for (fuse, before) in [("sequencer", "captured"), ("poller", "numbered"), ("sync", "owed")] {
        world.succeed(&["fuse", "off", fuse, "--reason", "<i>a drill</i>"]).await;
        page.wait_for(&format!("{}.includes('<i>a drill</i>')", of_loop(fuse))).await;
        // A change before the fuse acts would not wait.
        daemon.wait_fuse(fuse, true).await;
        daemon.wait_round(fuse).await;
        world.source.execute(change).await;
        page.wait_for(&format!("{} > 0", waits(before))).await;
        page.wait_for(&format!("{}.includes('fuse off')", of_loop(fuse))).await;
        if fuse == "sync" {
            // Two destinations.
            page.wait_for(&format!("{} === 2", waits("owed"))).await;
            picture(&mut page, "fuse");
        }
        world.succeed(&["fuse", "on", fuse]).await;
        page.wait_for(&format!("{} === 0", waits(before))).await;
    }
    world.wait_in_step().await;

    // The daemon keeps samples also while no page is open.
    page.open("about:blank");
    world.source.execute(change).await;
    world.wait_in_step().await;
    let text = async || daemon.get("/api/v1/history").await.1;
    let busy = |text: &str| -> bool {
        let told: serde_json::Value = serde_json::from_str(text).unwrap();
        told["items"].as_array().unwrap().iter().any(|sample| {
            let rows = sample["rows_applied_per_second"].as_f64().unwrap();
            rows > 0.0 && sample["latency"]["p99"].as_f64() >= sample["latency"]["p50"].as_f64()
        })
    };
    offtake_tests::until("a sample has what was done", offtake_tests::PATIENCE, async || {
        let text = text().await;
        if busy(&text) { Ok(()) } else { Err(text) }
    })
    .await;
    page.open(&format!("http://127.0.0.1:{}/#/platform", daemon.port()));
    for chart in ["throughput", "latency"] {
        let drawn = format!(
            "[...document.querySelectorAll('#{chart} path.line.second, #{chart} circle.dot.second')] \
             .some(e => e.getAttribute('d')?.includes('L') || e.getAttribute('cy'))"
        );
        page.wait_for(&drawn).await;
    }
    // By the keyboard, earlier samples are read.
    page.evaluate("document.querySelector('#throughput .drawing').focus()");
    page.press("ArrowLeft");
    let told = "document.querySelector('#throughput output').innerText";
    page.wait_for(&format!("/\\d:\\d\\d[^]*changes numbered[^]*\\/s/.test({told})")).await;
    page.wait_for("Boolean(document.querySelector('#throughput .cross'))").await;
    assert_no_complaints(&mut page);
    daemon.stop().await;
}

/// The setting's value in the view of the daemon.
fn setting(name: &str) -> String {
    format!("document.querySelector('#settings [data-key=\"{name}\"]')?.innerText")
}

#[tokio::test]
async fn fuses_are_switched_and_the_configuration_is_shown_without_secrets() {
    let Some(mut page) = Browser::start() else { return };
    let world = World::with_tenants(["acme"])
        .mappings(&[("users", USERS)])
        .setting("/http/admin_token", super::ADMIN)
        .setting("/retention/changes", "3d")
        .await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    page.open(&format!("http://127.0.0.1:{}/#/system", daemon.port()));
    super::show_token(&mut page, super::ADMIN).await;
    page.wait_for(&format!("{}.includes('3d')", setting("retention.changes"))).await;
    page.wait_for(&format!("{}.includes('***')", setting("http.admin_token"))).await;
    let text = "document.body.innerText";
    assert_eq!(page.evaluate(&format!("{text}.includes('{}')", super::ADMIN)), false);
    assert_eq!(page.evaluate(&format!("{text}.includes('{}')", world.id("acme"))), true);

    let switch = |verb: &str| {
        format!(
            "document.querySelector('#fuses [data-key=\"poller\"] button[data-verb=\"{verb}\"]')"
        )
    };
    let state = "document.querySelector('#fuses [data-key=\"poller\"]').innerText";
    page.click(&switch("off")).await;
    page.wait_for("document.getElementById('question').open").await;
    page.evaluate("document.getElementById('reason').value = 'a drill'");
    page.click("document.getElementById('question-yes')").await;
    page.wait_for(&format!("{state}.includes('a drill')")).await;
    // Fuses that are off come first.
    page.wait_for("document.querySelector('#fuses tr').dataset.key === 'poller'").await;
    world.source.wait_text("select enabled from offtake.fuse where name = 'poller'", "f").await;
    picture(&mut page, "system");
    page.click(&switch("on")).await;
    page.wait_for("document.getElementById('question').open").await;
    page.click("document.getElementById('question-yes')").await;
    page.wait_for(&format!("!{state}.includes('a drill')")).await;
    assert_no_complaints(&mut page);
    daemon.stop().await;
}

#[tokio::test]
async fn the_daemons_on_a_source_are_shown_until_they_end() {
    let Some(mut page) = Browser::start() else { return };
    let world = World::with_tenants(["acme"]).mappings(&[("users", USERS)]).await;
    let daemon = world.daemon().await;
    let mut other = world.daemon().await;
    page.open(&format!("http://127.0.0.1:{}/#/system", daemon.port()));
    let daemons = "document.getElementById('daemons').innerText";
    let shown = |daemon: &Daemon| format!("{daemons}.includes('127.0.0.1:{}')", daemon.port());
    page.wait_for(&format!("{} && {}", shown(&daemon), shown(&other))).await;
    page.wait_for(&format!("{daemons}.split('this one').length === 2")).await;

    // One that was killed says nothing more: after a minute it is called silent.
    other.kill();
    let port = other.port();
    let silent = format!(
        "update offtake.daemon set seen_at = now() - interval '61 s' where listen = '127.0.0.1:{port}'"
    );
    world.source.execute(&silent).await;
    page.wait_for(&format!("{daemons}.includes('silent')")).await;
    picture(&mut page, "daemons");
    // One that ends says so.
    daemon.stop().await;
    let left = "select string_agg(listen, ' ') from offtake.daemon";
    world.source.wait_text(left, &format!("127.0.0.1:{port}")).await;
    assert_no_complaints(&mut page);
}
