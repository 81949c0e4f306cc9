//! The dashboard as an operator uses it: it is live and truthful, and only the admin token can change
//! anything.

use std::time::Duration;

use offtake_tests::browser::Browser;
use offtake_tests::samples::{OTHERS, PRINTED, PRINTING, USERS};
use offtake_tests::{Daemon, PATIENCE, World, beside, oracle, until};

use super::{
    ADMIN, READER, assert_no_complaints, button, card, go, go_to_tenant, outcome, picture, row,
    show_token,
};

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

#[tokio::test]
async fn what_is_wrong_is_seen_live_and_the_read_token_changes_nothing() {
    let Some(mut page) = Browser::start() else { return };
    let (world, daemon) = a_bad_night().await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    show_token(&mut page, "wrong").await;
    page.wait_for(
        "document.getElementById('freshness').innerText === 'that token is not accepted'",
    )
    .await;
    show_token(&mut page, READER).await;
    for (tenant, state) in [("acme", "in sync"), ("globex", "degraded"), ("initech", "blocked")] {
        page.wait_for(&format!("{}?.innerText.includes('{state}')", row(&world, tenant))).await;
    }
    picture(&mut page, "states");
    go_to_tenant(&mut page, &world, "globex").await;
    page.wait_for("document.querySelectorAll('.refused li').length > 3").await;
    picture(&mut page, "refused");
    go(&mut page, "#/tenants").await;

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

    go_to_tenant(&mut page, &world, "acme").await;
    page.click(&button("Sync now")).await;
    page.wait_for(&format!("{}.includes('needs the admin token')", outcome())).await;
    assert_no_complaints(&mut page);

    // The daemon ends: the page says that its data is old, and how old, and stays legible.
    daemon.stop().await;
    page.wait_for("document.body.className === 'stale'").await;
    let mark = "document.getElementById('stale').innerText";
    page.wait_for(&format!("{mark}.includes('the daemon does not answer')")).await;
    page.wait_for(&format!("/is \\d+\\ss old/.test({mark})")).await;
    page.evaluate("window.scrollTo(0, 0)");
    assert_eq!(page.evaluate(super::ILLEGIBLE), serde_json::json!([]));
    picture(&mut page, "gone");
}

#[tokio::test]
async fn an_operator_verifies_resyncs_pauses_and_resumes_with_the_admin_token() {
    let Some(mut page) = Browser::start() else { return };
    let (world, daemon) = a_bad_night().await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    show_token(&mut page, ADMIN).await;
    page.wait_for(&format!("{}?.innerText.includes('in sync')", row(&world, "acme"))).await;
    go_to_tenant(&mut page, &world, "acme").await;

    // A click that takes longer than the time between two events still works. Changes go on, so
    // that each event changes a number on the page.
    let watch = "window.events = 0; new MutationObserver(() => window.events++).observe(document.getElementById('tenant-items'), \
                 { subtree: true, characterData: true, childList: true })";
    page.evaluate(watch);
    let sync_now = button("Sync now");
    beside(page.click_until(&sync_now, "window.events > 1"), async || {
        world.source.execute("update project_user set display_name = display_name").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    })
    .await;
    page.wait_for(&format!("{} === 'a sync is owed'", outcome())).await;

    // Otherwise a change that is still being applied would repair the copy before `verify` looks.
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;
    let there = &world.tenant("acme").destination;
    there.execute("update users set display_name = 'wrong' where id = (select min(id::text)::uuid from users)").await;
    page.click(&button("Verify")).await;
    page.wait_for(&format!("{}.includes('1 different')", outcome())).await;
    picture(&mut page, "verified");
    page.click(&button("Resync")).await;
    page.wait_for("document.getElementById('question').open").await;
    picture(&mut page, "question");
    page.click("document.getElementById('question-yes')").await;
    page.wait_for(&format!("{}.includes('1 mapping will be re-copied')", outcome())).await;
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

    page.click(&button("Pause")).await;
    page.wait_for("document.getElementById('question').open").await;
    page.evaluate("document.getElementById('reason').value = 'by hand'; document.getElementById('for').value = '2h'");
    page.click("document.getElementById('question-yes')").await;
    page.wait_for(&format!("{}.innerText.includes('by hand')", card())).await;
    picture(&mut page, "paused");
    page.wait_for(&format!("Boolean({})", button("Resume"))).await;
    page.click(&button("Resume")).await;
    page.wait_for(&format!("{}.innerText.includes('in sync')", card())).await;

    // The customer mends the table, and the refused rows are tried again.
    go_to_tenant(&mut page, &world, "globex").await;
    page.wait_for("document.querySelectorAll('.refused li').length > 3").await;
    let mend = "alter table users drop constraint users_display_name_check";
    world.tenant("globex").destination.execute(mend).await;
    page.click(&button("Retry refused rows")).await;
    page.wait_for(&format!("{}.includes('tried again')", outcome())).await;
    page.wait_for(&format!("{}.innerText.includes('in sync')", card())).await;
    page.wait_for("!document.querySelector('.refused')").await;
    assert_no_complaints(&mut page);
    daemon.stop().await;
}

/// The values are printed by a function that fails for one of them.
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
    world.source.execute(PRINTING).await;
    let fill = "insert into item select '{tenant}', n, 'body' from generate_series(1, 30) n";
    world.with_items("body text", fill).await;
    for event in ["rows_quarantined", "audit_differs"] {
        world.allow(event);
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    show_token(&mut page, ADMIN).await;
    let proved = |tenant: &str| {
        let cell = "querySelector('[data-label=\"Proved equal\"] time')";
        format!("Boolean({}?.{cell})", row(&world, tenant))
    };
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
    picture(&mut page, "audit");
    let details = |text: &str| format!("{}.innerText.includes('{text}')", card());
    go_to_tenant(&mut page, &world, "acme").await;
    page.wait_for(&details("1 row differs")).await;
    go_to_tenant(&mut page, &world, "globex").await;
    page.wait_for(&details("1 row(s) cannot be compared")).await;
    page.click(&button("Verify")).await;
    let said = "items: 29 rows are equal, 1 cannot be compared";
    page.wait_for(&format!("{}.includes('{said}')", outcome())).await;
    picture(&mut page, "not-compared");

    world.source.execute("update item set body = body where id = 3").await;
    world.source.execute("update item set body = 'small' where id = 7").await;
    page.wait_for(&format!("!({})", details("1 row(s) cannot be compared"))).await;
    go(&mut page, "#/tenants").await;
    page.wait_for(&format!("!({})", says("acme", "differs"))).await;
    assert_no_complaints(&mut page);
    daemon.stop().await;
}

/// An operator checks a snapshot, learns that its file was damaged, and deletes it.
#[tokio::test]
async fn snapshots_are_checked_and_deleted_in_the_browser() {
    let Some(mut page) = Browser::start() else { return };
    let (mut world, daemon) = a_bad_night().await;
    daemon.stop().await;
    let files = world.folder().join("files");
    world.configure(|c| {
        c["stores"] = serde_json::json!({ "disk": { "kind": "disk", "path": files } });
    });
    world.succeed(&["snapshot", "create", "--tenant", world.id("acme")]).await;
    let id = world.source.query_text("select public_id from offtake.job").await;
    let archive = files.join(format!("snapshots/{id}.tar.zst"));
    let daemon = world.daemon().await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    show_token(&mut page, ADMIN).await;
    page.wait_for("!document.getElementById('main').hidden").await;
    go(&mut page, "#/snapshots").await;
    let row = "document.querySelector('#snapshots-rows tr')";
    page.wait_for(&format!("{row}.innerText.includes('{id}')")).await;
    for words in ["completed", "25 rows", "rows of mappings"] {
        page.wait_for(&format!("{row}.innerText.includes('{words}')")).await;
    }
    let button = |label: &str| {
        format!(
            "[...{row}.querySelectorAll('button')].find(b => b.innerText.startsWith('{label}'))"
        )
    };
    let outcome = format!("{row}.querySelector('output').innerText");
    page.click(&button("Check")).await;
    page.wait_for(&format!("{outcome} === 'complete and unchanged: 25 rows'")).await;
    let whole = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &whole[..whole.len() - 1]).unwrap();
    page.click(&button("Check")).await;
    page.wait_for(&format!("{outcome}.startsWith('validate: ')")).await;
    page.click(&button("Delete")).await;
    page.wait_for("document.getElementById('question').open").await;
    page.click("document.getElementById('question-yes')").await;
    page.wait_for(&format!("{row}.innerText.includes('expired')")).await;
    assert!(!archive.exists());
    assert_no_complaints(&mut page);
    daemon.stop().await;
}
