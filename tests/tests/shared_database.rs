//! Many tenants in one shared database: their first copies end, a restart leaves nothing owed, and
//! each destination is taken up about once.
//!
//! A naive engine fails from about 100 tenants on. Every take-up waits for one lock of the
//! database. A turn ends by its time before it has applied anything, its connection is closed for
//! the next tenant, and what it had found is forgotten: nothing ever arrives, and no error says so.

use std::time::Duration;

use offtake_tests::proxy::{Mode, Proxy};
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::json;

const NOTES: &str = "
source: { table: public.note, tenant: tenant }
query: select tenant as tenant_id, id, body from public.note
target: { table: notes, keep_tenant: true }
";

/// A world of so many tenants with one row each, all of them in the database of the tenant `first`.
async fn world(tenants: usize, way: impl Fn(&str) -> String) -> World {
    let plan = World::with_tenants(["first"]).mappings(&[("notes", NOTES)]).without_init();
    let mut world = plan.await;
    let url = way(&world.tenant("first").destination.url());
    let all: Vec<_> = (0..tenants)
        .map(|n| json!({ "tenant": format!("t{n}"), "url": url, "shared": true }))
        .collect();
    world.configure(|c| c["destinations"]["static"] = all.into());
    let table = "create table note (tenant text, id integer, body text, primary key (tenant, id))";
    world.source.execute(table).await;
    let rows = format!(
        "insert into note select 't' || n, 1, 'first' from generate_series(0, {}) n",
        tenants - 1
    );
    world.source.execute(&rows).await;
    assert!(world.offtake(&["init"]).await.status.success());
    world
}

async fn wait_arrived(world: &World, body: &str, tenants: usize, within: Duration) {
    let count = format!("select count(*) from notes where body = '{body}'");
    until(&format!("the row of each tenant says {body}"), within, async || {
        let there = world.tenant("first").destination.try_query_text(&count).await?;
        if there == tenants.to_string() { Ok(()) } else { Err(format!("{there} rows")) }
    })
    .await;
}

async fn wait_nothing_owed(world: &World, within: Duration) {
    until("nothing is owed", within, async || {
        let owed = "select count(*) from offtake.outgoing_request";
        let owed = world.source.query_text(owed).await;
        if owed == "0" { Ok(()) } else { Err(format!("{owed} requests")) }
    })
    .await;
}

async fn take_ups(daemon: &Daemon) -> usize {
    let (_, metrics) = daemon.get("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("offtake_take_ups_total "));
    line.and_then(|value| value.trim().parse::<f64>().ok()).expect("a number") as usize
}

/// First copies, then a restart, then a change of every tenant.
async fn copy_restart_and_change(tenants: usize, within: Duration) {
    let world = world(tenants, str::to_owned).await;
    let daemon = world.daemon().await;
    wait_arrived(&world, "first", tenants, within).await;
    wait_nothing_owed(&world, within).await;
    let taken_up = take_ups(&daemon).await;
    assert!(taken_up <= tenants + tenants / 5, "{taken_up} take-ups of {tenants} destinations");
    daemon.stop().await;

    let daemon = world.daemon().await;
    wait_nothing_owed(&world, within).await;
    world.source.execute("update note set body = 'second'").await;
    wait_arrived(&world, "second", tenants, within).await;
    wait_nothing_owed(&world, within).await;
    let taken_up = take_ups(&daemon).await;
    assert!(taken_up <= tenants + tenants / 5, "{taken_up} take-ups of {tenants} destinations");
    daemon.stop().await;
}

#[tokio::test]
async fn a_hundred_and_thirty_tenants_of_one_database_are_copied_and_stay_in_step() {
    copy_restart_and_change(130, PATIENCE).await;
}

#[tokio::test]
async fn four_hundred_tenants_of_one_database_are_copied_and_stay_in_step() {
    copy_restart_and_change(400, PATIENCE * 2).await;
}

/// Each step takes longer than a minute where other tests have the cores, so `make soak` runs it.
#[tokio::test]
async fn a_thousand_tenants_of_one_database_are_copied_and_stay_in_step() {
    if std::env::var_os("OFFTAKE_SOAK").is_none() {
        eprintln!(
            "skipped: a thousand tenants need the machine for themselves; `make soak` runs it"
        );
        return;
    }
    copy_restart_and_change(1000, PATIENCE * 2).await;
}

/// Taking a destination up alone takes longer than a turn then.
#[tokio::test]
async fn tenants_of_one_database_far_away_are_copied() {
    let (proxies, tenants) = (std::cell::RefCell::new(Vec::new()), 130);
    let far = |url: &str| {
        let proxy = Proxy::before(url);
        let url = proxy.url(url);
        proxies.borrow_mut().push(proxy);
        url
    };
    let world = world(tenants, far).await;
    proxies.borrow().iter().for_each(|proxy| proxy.set(Mode::Delay(Duration::from_millis(10))));
    let daemon = world.daemon().await;
    wait_arrived(&world, "first", tenants, PATIENCE * 2).await;
    wait_nothing_owed(&world, PATIENCE * 2).await;
    let taken_up = take_ups(&daemon).await;
    assert!(taken_up <= tenants + tenants / 5, "{taken_up} take-ups of {tenants} destinations");
    daemon.stop().await;
}

#[tokio::test]
async fn two_daemons_share_the_tenants_of_one_database() {
    let tenants = 150;
    let world = world(tenants, str::to_owned).await;
    let (one, other) = (world.daemon().await, world.daemon().await);
    wait_arrived(&world, "first", tenants, PATIENCE).await;
    world.source.execute("update note set body = 'second'").await;
    wait_arrived(&world, "second", tenants, PATIENCE).await;
    wait_nothing_owed(&world, PATIENCE).await;
    one.stop().await;
    other.stop().await;
}
