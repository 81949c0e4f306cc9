//! A new entry of the destinations query never stops a destination that is served.

use std::time::Instant;

use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};

const ITEMS: &str = "
source: { table: public.item, tenant: tenant }
query: select tenant as tenant_id, id from item
target: { table: items, keep_tenant: true }
";

/// One tenant `acme`, which the query names, served and in sync.
async fn served(shared: bool) -> (World, Daemon) {
    let mut world =
        World::with_tenants(["acme"]).mappings(&[("items", ITEMS)]).without_init().await;
    world.allow("destination_refused");
    world
        .source
        .execute(
            "create table item (tenant text, id int, primary key (tenant, id));
             create table customer (tenant_id text, name text, url text, shared bool);
             insert into item values ('acme', 1), ('evil', 1), ('also', 1)",
        )
        .await;
    add(&world, "acme", "main", &world.tenant("acme").destination.url(), shared).await;
    world.configure(|c| {
        c["destinations"] = json!({
            "query": "select * from customer order by tenant_id desc", "refresh": "1s"
        });
    });
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    wait(&daemon, "acme", "in_sync", "").await;
    (world, daemon)
}

async fn add(world: &World, tenant: &str, name: &str, url: &str, shared: bool) {
    let row = format!("insert into customer values ('{tenant}', '{name}', '{url}', {shared})");
    world.source.execute(&row).await;
}

async fn told(daemon: &Daemon, tenant: &str, name: &str) -> Value {
    let (code, body) = daemon.get(&format!("/api/v1/destinations/{tenant}/{name}")).await;
    if code == 200 { serde_json::from_str(&body).unwrap() } else { Value::Null }
}

async fn wait(daemon: &Daemon, tenant: &str, state: &str, says: &str) {
    wait_named(daemon, tenant, "main", state, says).await;
}

async fn wait_named(daemon: &Daemon, tenant: &str, name: &str, state: &str, says: &str) {
    until(&format!("{tenant}/{name} is {state} {says}"), PATIENCE, async || {
        let told = told(daemon, tenant, name).await;
        let reason = told["reason"].as_str().unwrap_or_default();
        if told["state"] == state && reason.contains(says) { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
}

/// A change of `acme` still arrives.
async fn assert_served(world: &World, daemon: &Daemon) {
    world.source.execute("insert into item select 'acme', max(id) + 1 from item").await;
    let wanted = world.source.query_text("select count(*) from item where tenant = 'acme'").await;
    until("the change arrives", PATIENCE, async || {
        let query = "select count(*) from items where tenant_id = 'acme'";
        let found = world.tenant("acme").destination.try_query_text(query).await?;
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
    wait(daemon, "acme", "in_sync", "").await;
}

/// The same database as another user, with a wrong password.
fn as_stranger(url: &str) -> String {
    let (_, place) = url.split_once('@').unwrap();
    format!("postgres://nobody:wrong@{place}")
}

#[tokio::test]
async fn who_is_served_stays_served_when_a_newcomer_names_its_database() {
    let (world, daemon) = served(false).await;
    let url = world.tenant("acme").destination.url();
    for (tenant, name, url, shared) in [
        ("evil", "main", as_stranger(&url), false),
        ("also", "main", url.clone(), true),
        ("zoe", "main", url.clone(), false),
        ("acme", "second", url.clone(), false),
    ] {
        add(&world, tenant, name, &url, shared).await;
        wait_named(&daemon, tenant, name, "blocked", "acme/main").await;
        assert_served(&world, &daemon).await;
    }
    // Also after a restart, and for a second daemon.
    daemon.stop().await;
    let daemon = world.daemon().await;
    wait(&daemon, "evil", "blocked", "acme/main").await;
    assert_served(&world, &daemon).await;
    // When the one that was served is gone, one of the others takes its place.
    world.source.execute("delete from customer where tenant_id = 'acme' or tenant_id = 'evil' or tenant_id = 'also'").await;
    wait(&daemon, "zoe", "in_sync", "").await;
    daemon.stop().await;
}

/// A second row of the same tenant and name with another URL is a newcomer too. Fails where the two
/// are taken for one entry that contradicts itself: then `acme` was blocked.
#[tokio::test]
async fn who_is_served_stays_served_when_the_query_names_it_twice() {
    let (world, daemon) = served(false).await;
    world.allow("destination_contested");
    let url = world.tenant("acme").destination.url();
    let stranger = as_stranger(&url);
    add(&world, "acme", "main", &stranger, false).await;
    let contested = async |daemon: &Daemon| {
        until("the status tells the second row", PATIENCE, async || {
            let status = daemon.status().await;
            let told = status["config"]["error"].as_str().unwrap_or_default().to_owned();
            let says = told.contains("names acme/main twice, differently")
                && told.contains("take one of them out of the query");
            if says { Ok(()) } else { Err(format!("{status:#}")) }
        })
        .await;
    };
    contested(&daemon).await;
    assert_served(&world, &daemon).await;
    // Also one that differs in `shared` only, after a restart, and whatever the order of the rows.
    world.source.execute("update customer set shared = true where url like '%nobody%'").await;
    daemon.stop().await;
    let daemon = world.daemon().await;
    contested(&daemon).await;
    assert_served(&world, &daemon).await;
    // The remedy: one of them is taken out, and the message is gone.
    world.source.execute("delete from customer where url like '%nobody%'").await;
    until("the status is silent", PATIENCE, async || {
        let status = daemon.status().await;
        if status["config"]["error"].is_null() { Ok(()) } else { Err(format!("{status:#}")) }
    })
    .await;
    assert_served(&world, &daemon).await;
    // Two rows of a newcomer: nothing tells which of them is meant.
    add(&world, "zoe", "main", &stranger, false).await;
    add(&world, "zoe", "main", &format!("{stranger}x"), false).await;
    wait(&daemon, "zoe", "blocked", "names it twice, differently").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_newcomer_that_does_not_say_shared_does_not_stop_those_that_share() {
    let (world, daemon) = served(true).await;
    let url = world.tenant("acme").destination.url();
    add(&world, "also", "main", &url, true).await;
    wait(&daemon, "also", "in_sync", "").await;
    add(&world, "evil", "main", &url, false).await;
    wait(&daemon, "evil", "blocked", "shared").await;
    add(&world, "acme", "second", &url, true).await;
    wait_named(&daemon, "acme", "second", "blocked", "acme/main").await;
    assert_served(&world, &daemon).await;
    wait(&daemon, "also", "in_sync", "").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_thousand_newcomers_cost_little_and_say_little() {
    let (world, daemon) = served(false).await;
    let url = world.tenant("acme").destination.url();
    let began = Instant::now();
    world
        .source
        .execute(&format!(
            "insert into customer select 'evil' || n, 'main', '{url}', false from generate_series(1, 1000) n"
        ))
        .await;
    wait(&daemon, "evil7", "blocked", "acme/main").await;
    let reason = told(&daemon, "evil7", "main").await["reason"].to_string();
    assert!(reason.len() < 600, "{reason}");
    assert_served(&world, &daemon).await;
    eprintln!("{:?}", began.elapsed());
    daemon.stop().await;
}
