//! The dashboard as an operator uses it, in a real browser: it is live and truthful, and only the
//! admin token can change anything.
//!
//! Without an installed chromium the tests are skipped with a message. OFFTAKE_PICTURES=folder
//! stores pictures of the pages.

use std::path::Path;
use std::time::Duration;

use offtake_tests::browser::Browser;
use offtake_tests::samples::{OTHERS, USERS};
use offtake_tests::{Daemon, PATIENCE, World, beside, oracle, until};

const ADMIN: &str = "an-admin-token-of-some-length-0000000000000";
const READER: &str = "a-read-token-of-some-length-000000000000000";

/// A world with a destination in every state that needs an operator.
async fn a_bad_night() -> (World, Daemon) {
    let mut world = World::with_tenants(["acme", "globex", "initech"])
        .mappings(&[("users", USERS)])
        .setting("/http/admin_token", ADMIN)
        .setting("/http/read_token", READER)
        .await;
    world.allow("destination_failed");
    world.allow("rows_quarantined");
    world.fill(25).await;
    world.reach_by("initech", |url| url.replace("postgres://postgres", "postgres://nobody_there"));
    world
        .tenant("globex")
        .destination
        .execute("create table users (id uuid primary key, display_name text check (display_name not like '%1%')); comment on table users is 'offtake:users'")
        .await;
    let daemon = world.daemon().await;
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;
    (world, daemon)
}

fn picture(page: &mut Browser, name: &str) {
    let Some(folder) = std::env::var_os("OFFTAKE_PICTURES") else { return };
    for scheme in ["light", "dark"] {
        page.prefer(scheme);
        page.photograph(&Path::new(&folder).join(format!("{name}-{scheme}.png")));
    }
}

async fn show_token(page: &mut Browser, token: &str) {
    page.wait_for("!document.getElementById('token-form').hidden").await;
    page.evaluate(&format!("document.getElementById('token').value = '{token}'"));
    page.evaluate("document.querySelector('#token-form button').click()");
}

/// The tenant's row in the table; its details are in the next row.
fn row(world: &World, tenant: &str) -> String {
    format!(
        "[...document.querySelectorAll('#destinations tr')].find(r => r.innerText.includes('{}'))",
        world.id(tenant)
    )
}

fn button(world: &World, tenant: &str, label: &str) -> String {
    format!(
        "[...{}.nextElementSibling.querySelectorAll('button.action')].find(b => b.innerText.startsWith('{label}'))",
        row(world, tenant)
    )
}

fn outcome(world: &World, tenant: &str) -> String {
    format!("{}.nextElementSibling.querySelector('output').innerText", row(world, tenant))
}

/// Clicks on the tenant's row, which opens or closes its details.
async fn fold(page: &mut Browser, world: &World, tenant: &str) {
    page.click(&format!("{}.querySelector('button')", row(world, tenant))).await;
}

fn assert_no_complaints(page: &mut Browser) {
    // The console also reports that a request was refused.
    let complaints: Vec<String> =
        page.complaints().iter().filter(|c| !c.contains("status of 40")).cloned().collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let kept =
        page.evaluate("sessionStorage.length + localStorage.length + document.cookie.length");
    assert_eq!(kept, 0, "the token stays in memory");
}

#[tokio::test]
async fn what_is_wrong_is_seen_live_and_the_read_token_changes_nothing() {
    let Some(mut page) = Browser::start() else { return };
    let (world, daemon) = a_bad_night().await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    show_token(&mut page, "wrong").await;
    page.wait_for("document.getElementById('summary').innerText === 'that token is not accepted'")
        .await;
    show_token(&mut page, READER).await;
    for (tenant, state) in [("acme", "in sync"), ("globex", "degraded"), ("initech", "blocked")] {
        page.wait_for(&format!("{}?.innerText.includes('{state}')", row(&world, tenant))).await;
    }
    fold(&mut page, &world, "globex").await;
    page.wait_for("document.querySelectorAll('.refused li').length > 3").await;
    picture(&mut page, "states");

    // Changes appear without a reload, in the element that already exists; and names are shown as
    // text.
    page.evaluate(&format!("window.kept = {}", row(&world, "acme")));
    let id = world.id("acme");
    world.offtake(&["pause", "--tenant", id, "--reason", "<b>their</b> migration"]).await;
    page.wait_for(
        "window.kept.isConnected && window.kept.innerText.includes('<b>their</b> migration')",
    )
    .await;
    world.offtake(&["resume", "--tenant", id]).await;
    page.wait_for("window.kept.innerText.includes('in sync')").await;

    fold(&mut page, &world, "acme").await;
    page.wait_for(&format!("Boolean({})", button(&world, "acme", "Sync now"))).await;
    page.click(&button(&world, "acme", "Sync now")).await;
    page.wait_for(&format!("{}.includes('needs the admin token')", outcome(&world, "acme"))).await;
    assert_no_complaints(&mut page);

    // The daemon ends: the page says that its data is old.
    daemon.stop().await;
    page.wait_for("document.body.className === 'stale'").await;
    picture(&mut page, "gone");
}

#[tokio::test]
async fn an_operator_verifies_resyncs_pauses_and_resumes_with_the_admin_token() {
    let Some(mut page) = Browser::start() else { return };
    let (world, daemon) = a_bad_night().await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    show_token(&mut page, ADMIN).await;
    page.wait_for(&format!("{}?.innerText.includes('in sync')", row(&world, "acme"))).await;
    fold(&mut page, &world, "acme").await;
    page.wait_for(&format!("Boolean({})", button(&world, "acme", "Sync now"))).await;

    // A click that takes longer than the time between two events still works. Changes go on, so
    // that each event changes a number on the page.
    let watch = "window.events = 0; new MutationObserver(() => window.events++).observe(document.getElementById('loops'), \
                 { subtree: true, characterData: true, childList: true })";
    page.evaluate(watch);
    let sync_now = button(&world, "acme", "Sync now");
    beside(page.click_until(&sync_now, "window.events > 1"), async || {
        world.source.execute("update project_user set display_name = display_name").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    })
    .await;
    page.wait_for(&format!("{} === 'a sync is owed'", outcome(&world, "acme"))).await;

    // Otherwise a change that is still being applied would repair the copy before `verify` looks.
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;
    let there = &world.tenant("acme").destination;
    there.execute("update users set display_name = 'wrong' where id = (select min(id::text)::uuid from users)").await;
    page.click(&button(&world, "acme", "Verify")).await;
    page.wait_for(&format!("{}.includes('1 different')", outcome(&world, "acme"))).await;
    picture(&mut page, "verified");
    page.click(&button(&world, "acme", "Resync")).await;
    page.wait_for("document.getElementById('question').open").await;
    picture(&mut page, "question");
    page.click("document.getElementById('question-yes')").await;
    page.wait_for(&format!("{}.includes('1 mapping will be re-copied')", outcome(&world, "acme")))
        .await;
    until("the copy is equal", PATIENCE, async || {
        let found =
            oracle::compare(&world.source, world.id("acme"), &world.mappings()[0], there, "public")
                .await;
        if found.missing.is_empty() && found.surplus.is_empty() {
            Ok(())
        } else {
            Err(found.to_string())
        }
    })
    .await;

    page.click(&button(&world, "acme", "Pause")).await;
    page.wait_for("document.getElementById('question').open").await;
    page.evaluate("document.getElementById('reason').value = 'by hand'; document.getElementById('for').value = '2h'");
    page.click("document.getElementById('question-yes')").await;
    page.wait_for(&format!("{}.innerText.includes('by hand')", row(&world, "acme"))).await;
    picture(&mut page, "paused");
    page.click(&button(&world, "acme", "Resume")).await;
    page.wait_for(&format!("{}.innerText.includes('in sync')", row(&world, "acme"))).await;
    assert_no_complaints(&mut page);
    daemon.stop().await;
}

/// The values are printed by a function that fails for one of them.
const PRINTED: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, printed(body) as body from public.item
target: { table: items }
";

/// When each copy was proved, what differs, and why a copy was not proved.
#[tokio::test]
async fn what_the_audit_found_is_seen_until_it_is_over() {
    let Some(mut page) = Browser::start() else { return };
    let plan = World::with_tenants(["acme", "globex"])
        .mappings(&[("items", PRINTED), ("others", OTHERS)])
        .without_init()
        .setting("/http/admin_token", ADMIN)
        .setting("/audit", serde_json::json!({ "period": "1s", "budget": "100%" }));
    let world = plan.await;
    let function = "create function printed(text) returns text immutable language plpgsql as $$
          begin
            if $1 = 'huge' then raise 'invalid memory alloc request size 1120000003' using errcode = 'XX000'; end if;
            return $1;
          end $$";
    world.source.execute(function).await;
    let fill = "insert into item select '{tenant}', n, 'body' from generate_series(1, 30) n";
    world.with_items("body text", fill).await;
    for event in ["rows_quarantined", "audit_differs"] {
        world.allow(event);
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    show_token(&mut page, ADMIN).await;
    let proved =
        |tenant: &str| format!("Boolean({}?.querySelector('time[title]'))", row(&world, tenant));
    page.wait_for(&proved("acme")).await;
    page.wait_for(&proved("globex")).await;

    world.tenant("acme").destination.execute("delete from items where id = 3").await;
    let item = |tenant| {
        format!("update item set body = 'huge' where id = 7 and tenant = '{}'", world.id(tenant))
    };
    world.source.execute(&item("globex")).await;
    let says =
        |tenant: &str, text: &str| format!("{}?.innerText.includes('{text}')", row(&world, tenant));
    page.wait_for(&says("acme", "1 row differs")).await;
    page.wait_for(&says("globex", "degraded")).await;
    for tenant in ["acme", "globex"] {
        fold(&mut page, &world, tenant).await;
    }
    let details = |tenant: &str, text: &str| {
        format!("{}.nextElementSibling.innerText.includes('{text}')", row(&world, tenant))
    };
    page.wait_for(&details("acme", "1 row differs")).await;
    page.wait_for(&details("globex", "1 row(s) cannot be compared")).await;
    page.click(&button(&world, "globex", "Verify")).await;
    let said = "items: 29 rows are equal, 1 cannot be compared";
    page.wait_for(&format!("{}.includes('{said}')", outcome(&world, "globex"))).await;
    picture(&mut page, "audit");

    world.source.execute("update item set body = body where id = 3").await;
    world.source.execute("update item set body = 'small' where id = 7").await;
    page.wait_for(&format!("!({})", says("acme", "differs"))).await;
    page.wait_for(&format!("!({})", details("globex", "1 row(s) cannot be compared"))).await;
    assert_no_complaints(&mut page);
    daemon.stop().await;
}
