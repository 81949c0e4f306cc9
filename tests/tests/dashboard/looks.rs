//! Every view with tenants in every state: on a phone nothing is beside the screen, in both schemes
//! every text is legible, and the keyboard suffices.

use std::path::Path;

use offtake_tests::browser::Browser;
use offtake_tests::proxy::Mode;
use offtake_tests::receiver::{Play, Receiver};
use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{Daemon, PATIENCE, World};
use serde_json::json;

use super::{ILLEGIBLE, assert_no_complaints, card, go, go_to_tenant};

/// What is beside the screen, or can be scrolled sideways.
const BESIDE: &str = "(() => {
  const wide = document.documentElement.clientWidth;
  const found = document.documentElement.scrollWidth > wide ? ['the page'] : [];
  for (const e of document.querySelectorAll('body *')) {
    if (!e.checkVisibility() || e.closest('.unseen, thead, #skip, svg')) continue;
    const { left, right, width } = e.getBoundingClientRect();
    const scrolls = e.scrollWidth > e.clientWidth + 1 && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX);
    if (width > 0 && (right > wide + 1 || left < -1) || scrolls) found.push(`${e.tagName} ${e.id} ${e.className} ${Math.round(right)}`);
  }
  return found;
})()";

/// A tenant in sync, one whose first copy goes on, one that fails, one that is paused, one that
/// refuses rows; a webhook in sync and one that is disabled.
async fn every_state() -> (World, [Receiver; 2], Daemon) {
    let tenants = ["acme", "globex", "hooli", "initech", "umbrella"];
    let mut world = World::with_tenants(tenants)
        .mappings(&[("users", USERS), ("teams", TEAMS)])
        .proxied("hooli")
        .await;
    for event in ["destination_failed", "rows_quarantined", "webhook_disabled"] {
        world.allow(event);
    }
    world.fill(25).await;
    let nobody = |url: &str| url.replace("postgres://postgres", "postgres://nobody_there");
    world.reach_by("initech", nobody);
    let refusing = "create table users (id uuid primary key, display_name text check (display_name not like '%1%')); \
                    comment on table users is 'offtake:users'";
    world.tenant("globex").destination.execute(refusing).await;
    world.tenant("hooli").proxy().set(Mode::Blackhole);
    let receivers = [Receiver::start().await, Receiver::start().await];
    world.add_webhook("acme", &receivers[0], json!({ "mappings": ["users"] }));
    world.add_webhook("umbrella", &receivers[1], json!({ "mappings": ["users"] }));
    receivers[1].play(|_| Play::Status(410));
    let files = world.folder().join("files");
    world.configure(|c| c["stores"] = json!({ "disk": { "kind": "disk", "path": files } }));
    world.succeed(&["snapshot", "create", "--tenant", world.id("acme")]).await;
    // One that a daemon could not begin waits for its next attempt.
    let waits = format!(
        "insert into offtake.job (public_id, kind, tenant_id, store, state, reason, not_before)
         values ('snap_20261128-031300_k7f3a2', 'snapshot', '{}', 'disk', 'paused', 'the store is full', 'infinity')",
        world.id("globex")
    );
    world.source.execute(&waits).await;
    let daemon = world.daemon().await;
    world.wait_tenants_in_step(&["acme", "globex", "umbrella"], PATIENCE).await;
    let pause =
        ["pause", "--tenant", world.id("umbrella"), "--reason", "their migration", "--for", "2h"];
    world.succeed(&pause).await;
    // The copy that does not come through has begun a while ago.
    let copying = format!(
        "insert into offtake.destination_mapping (destination_id, mapping, sequence_id, backfilled, rows_done, rows_total, backfill_started_at)
         select destination_id, 'users', 0, false, 41200, 96000, now() - interval '95 s' from offtake.destination where tenant_id = '{}'
         on conflict (destination_id, mapping) do update set backfilled = false, rows_done = 41200, rows_total = 96000,
            backfill_started_at = excluded.backfill_started_at",
        world.id("hooli")
    );
    world.source.execute(&copying).await;
    let insert = "insert into project_user (tenancy_id, project_user_id, display_name)
                  select id, gen_random_uuid(), 'Zoe' from tenancy";
    world.source.execute(insert).await;
    receivers[0].wait_requests(1).await;
    let disabled = "select count(*) from offtake.webhook where disabled_at is not null";
    world.source.wait_text(disabled, "1").await;
    (world, receivers, daemon)
}

/// The views, with what shows that one is complete.
fn views(world: &World) -> Vec<(String, String, String)> {
    let tenant = |name: &str, done: &str| {
        (name.to_owned(), format!("#/tenant/{}", world.id(name)), done.to_owned())
    };
    let view = |name: &str, done: &str| (name.to_owned(), format!("#/{name}"), done.to_owned());
    let cards = "document.querySelectorAll('#tenant-items section.card').length";
    vec![
        view("tenants", "document.querySelectorAll('#destinations-rows tr').length === 5"),
        view("webhooks", "document.querySelectorAll('#webhooks-rows tr').length === 2"),
        view("exports", "document.querySelectorAll('#exports-rows td').length === 1"),
        view("snapshots", "document.querySelectorAll('#snapshots-rows tr').length === 2"),
        view(
            "platform",
            "document.querySelectorAll('#throughput path').length === 3 && document.querySelectorAll('#worst tr').length > 2",
        ),
        view("system", "document.querySelectorAll('#settings tr').length > 10"),
        tenant("acme", &format!("{cards} === 2")),
        tenant("globex", "document.querySelectorAll('.refused li').length > 3"),
        tenant("hooli", "Boolean(document.querySelector('#tenant-items progress'))"),
        tenant("initech", &format!("{cards} === 1 && document.body.innerText.includes('failure')")),
        tenant(
            "umbrella",
            &format!("{cards} === 2 && document.body.innerText.includes('their migration')"),
        ),
    ]
}

#[tokio::test]
async fn every_view_fits_a_phone_and_is_legible_in_both_schemes() {
    let Some(mut page) = Browser::start() else { return };
    let (world, receivers, daemon) = every_state().await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    page.wait_for("!document.getElementById('main').hidden").await;
    let folder = std::env::var_os("OFFTAKE_PICTURES");
    for (name, hash, complete) in views(&world) {
        for (screen, width, height) in [("wide", 1280, 900), ("phone", 360, 740)] {
            page.resize(width, height);
            for scheme in ["light", "dark"] {
                page.prefer(scheme);
                go(&mut page, &hash).await;
                page.wait_for(&complete).await;
                let what = format!("{name}, {screen}, {scheme}");
                assert_eq!(page.evaluate(ILLEGIBLE), json!([]), "{what}");
                assert_eq!(page.evaluate(BESIDE), json!([]), "{what}");
                if let Some(folder) = &folder {
                    let file = format!("view-{name}-{screen}-{scheme}.png");
                    page.photograph_page(&Path::new(folder).join(file));
                }
            }
        }
    }
    assert_no_complaints(&mut page);
    world.tenant("hooli").proxy().set(Mode::Refuse);
    daemon.stop().await;
    drop(receivers);
}

/// What has the focus: its id or text, and whether it is seen that it has.
const FOCUSED: &str = "(() => {
  const e = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(e);
  const { width, height, bottom, top } = e.getBoundingClientRect();
  const seen = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && width > 0 && height > 0 && bottom > 0 && top < innerHeight;
  return [e.id || e.innerText.trim(), seen];
})()";

/// Presses Tab until this has the focus. Returns what had it on the way.
fn tab_to(page: &mut Browser, wanted: &str) -> Vec<String> {
    let mut passed = Vec::new();
    for _ in 0..60 {
        page.press("Tab");
        let focused = page.evaluate(FOCUSED);
        let name = focused[0].as_str().unwrap().to_owned();
        assert_eq!(focused[1], true, "it is not seen that {name} has the focus");
        passed.push(name.clone());
        if name.starts_with(wanted) {
            return passed;
        }
    }
    panic!("Tab does not reach {wanted}: {passed:?}");
}

#[tokio::test]
async fn the_keyboard_reaches_everything_and_the_focus_is_seen() {
    let Some(mut page) = Browser::start() else { return };
    let world = World::with_tenants(["acme", "globex"]).mappings(&[("users", USERS)]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    page.open(&format!("http://127.0.0.1:{}/", daemon.port()));
    page.wait_for("document.querySelectorAll('#destinations-rows a').length === 2").await;
    page.wait_for("document.getElementById('summary').innerText === '2 in sync'").await;
    let mut ids = [world.id("acme"), world.id("globex")];
    ids.sort_unstable();
    let passed = tab_to(&mut page, ids[0]);
    let order = [
        "skip",
        "search",
        "Tenants",
        "Exports",
        "Snapshots",
        "Platform",
        "System",
        "2 in sync",
        "all 2",
        "in sync 2",
        "destinations-sort",
        ids[0],
    ];
    assert_eq!(passed, order);

    // A tenant is opened, and the focus goes on from its heading.
    page.press("Enter");
    page.wait_for(&format!("location.hash === '#/tenant/{}'", ids[0])).await;
    page.wait_for("document.activeElement.id === 'tenant-title'").await;
    page.wait_for(&format!("Boolean({})", card())).await;
    tab_to(&mut page, "Pause");
    page.press("Enter");
    page.wait_for("document.getElementById('question').open").await;
    page.wait_for("document.activeElement.id === 'reason'").await;
    page.press("Escape");
    page.wait_for("!document.getElementById('question').open").await;
    let back = "document.activeElement.innerText.startsWith('Pause')";
    page.wait_for(back).await;
    // What is shown anew takes the focus from nothing.
    page.evaluate(
        "window.events = 0; new MutationObserver(() => window.events++).observe(document.getElementById('tenant-items'), \
         { subtree: true, characterData: true, childList: true, attributes: true })",
    );
    world.source.execute("insert into project_user (tenancy_id, project_user_id, display_name) select id, gen_random_uuid(), 'Zoe' from tenancy").await;
    page.wait_for("window.events > 0").await;
    assert_eq!(page.evaluate(back), true);
    page.press("Enter");
    page.wait_for("document.activeElement.id === 'reason'").await;
    page.type_text("by keyboard");
    page.press("Enter");
    page.wait_for(&format!("{}.innerText.includes('by keyboard')", card())).await;

    // A slash begins a search from wherever the focus is.
    page.press("/");
    page.wait_for("document.activeElement.id === 'search'").await;
    page.type_text(&ids[1][..13]);
    page.wait_for("document.querySelectorAll('#destinations-rows a').length === 1").await;
    page.press("Enter");
    page.wait_for(&format!("location.hash === '#/tenant/{}'", ids[1])).await;
    go_to_tenant(&mut page, &world, "acme").await;
    assert_no_complaints(&mut page);
    daemon.stop().await;
}
