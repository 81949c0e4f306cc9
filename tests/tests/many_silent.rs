//! Invariant 6 beyond the limits of dials and connections: more destinations are silent than may be
//! dialled or connected at a time. Destinations that answer do not wait for the silent ones'
//! timeouts.

#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::time::Duration;

use offtake_tests::proxy::{Mode, Proxy};
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::json;

const DOCUMENTS: &str = "
source: { table: public.document, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, body from public.document
target: { table: documents }
";

/// One in 13 destinations answers. The other 120 are more than the limits of 64 dials and 100
/// connections.
const ONE_IN: usize = 13;
const ALL: usize = 130;

/// The timeout until the daemon knows which destinations are silent. It is longer than a failure
/// that still counts as quick (`requests/src/slow_failures.rs`).
const CONNECT_TIMEOUT: &str = "2s";

/// The timeout afterwards: a destination that waits for a silent one waits longer than the test
/// does.
const LONG_CONNECT_TIMEOUT: &str = "60s";

const FOUND_OUT_WITHIN: Duration = Duration::from_secs(90);

const ROUNDS: usize = 6;

/// Silent and healthy destinations share one address.
#[tokio::test]
async fn more_silent_destinations_than_turns_delay_nobody_else() {
    check(&[Ipv4Addr::LOCALHOST]).await;
}

/// At no address are there more silent destinations than may be dialled there.
#[tokio::test]
async fn more_silent_destinations_than_turns_at_several_addresses_delay_nobody_else() {
    let hosts: Vec<_> = (2..14).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
    check(&hosts).await;
}

/// 130 destinations of one tenant, in schemas of one database. 120 of them are reached through
/// proxies at these addresses, which swallow everything. The test fails without the limit of
/// `requests/src/slow_failures.rs`: a change waited for the silent destinations' timeouts.
async fn check(hosts: &[Ipv4Addr]) {
    let plan = World::with_tenants(["acme"]).mappings(&[("documents", DOCUMENTS)]).without_init();
    let mut world = plan.setting("/sync/retry", json!({ "initial": "100ms", "max": "1s" })).await;
    world.allow("destination_failed");
    let (tenant, url) = (world.id("acme").to_owned(), world.tenant("acme").destination.url());
    let proxies: Vec<_> = hosts.iter().map(|host| Proxy::before_at(&url, *host)).collect();
    let all = (0..ALL).map(|n| {
        let url = if n % ONE_IN == 0 { url.clone() } else { proxies[n % proxies.len()].url(&url) };
        json!({ "tenant": tenant, "name": format!("d{n}"), "schema": format!("s{n}"), "url": url })
    });
    let all: Vec<_> = all.collect();
    world.configure(|c| c["destinations"]["static"] = all.into());
    world
        .source
        .execute(
            "create table document (tenant text, id integer, body text, primary key (tenant, id))",
        )
        .await;
    assert!(world.offtake(&["init"]).await.status.success());
    world.source.execute(&format!("insert into document values ('{tenant}', 1, 'first')")).await;
    for proxy in &proxies {
        proxy.set(Mode::Blackhole);
    }

    world.configure(|c| c["sync"]["connect_timeout"] = CONNECT_TIMEOUT.into());
    let daemon = world.daemon().await;
    wait_arrived(&world, "first", ONE_IN, FOUND_OUT_WITHIN).await;
    until("all silent destinations are known as silent", FOUND_OUT_WITHIN, async || {
        let failing = world
            .source
            .query_text("select count(*) from offtake.outgoing_request where failures > 0")
            .await;
        if failing == (ALL - ALL / ONE_IN).to_string() { Ok(()) } else { Err(failing) }
    })
    .await;
    daemon.stop().await;
    world.configure(|c| c["sync"]["connect_timeout"] = LONG_CONNECT_TIMEOUT.into());
    let daemon = world.daemon().await;
    for round in 0..ROUNDS {
        // The silent destinations keep their connections; in every second round they need new ones.
        if round % 2 == 1 {
            wait_nothing_owed(&world).await;
            let ours = "where application_name = 'offtake' and datname = current_database()";
            world
                .tenant("acme")
                .destination
                .execute(&format!("select pg_terminate_backend(pid) from pg_stat_activity {ours}"))
                .await;
            wait_no_connection(&daemon).await;
        }
        let body = format!("round {round}");
        world.source.execute(&format!("update document set body = '{body}'")).await;
        wait_arrived(&world, &body, ONE_IN, PATIENCE).await;
    }

    for proxy in &proxies {
        proxy.set(Mode::Pass);
    }
    wait_arrived(&world, &format!("round {}", ROUNDS - 1), 1, PATIENCE * 2).await;
    daemon.stop().await;
}

/// Waits until nothing is owed to healthy destinations. A connection that was lost in the middle of
/// a turn may make one of them look silent for a while.
async fn wait_nothing_owed(world: &World) {
    until("every turn of those that answer is over", PATIENCE, async || {
        let owed = world
            .source
            .query_text("select count(*) from offtake.outgoing_request where failures = 0")
            .await;
        if owed == "0" { Ok(()) } else { Err(owed) }
    })
    .await;
}

/// Waits until the daemon has noticed that none of its kept connections is left.
async fn wait_no_connection(daemon: &Daemon) {
    until("no connection is kept", PATIENCE, async || {
        let (_, metrics) = daemon.get("/metrics").await;
        let kept = metrics
            .lines()
            .find_map(|line| line.strip_prefix("offtake_destination_connections{state=\"idle\"} "));
        if kept == Some("0") { Ok(()) } else { Err(format!("{kept:?}")) }
    })
    .await;
}

/// Waits until every `one_in`-th destination has this value.
async fn wait_arrived(world: &World, body: &str, one_in: usize, within: Duration) {
    let destination = &world.tenant("acme").destination;
    let these: Vec<_> = (0..ALL).step_by(one_in).collect();
    until(&format!("{} destinations have {body}", these.len()), within, async || {
        let tables = format!("select count(to_regclass('s' || n || '.documents')) from generate_series(0, {}, {one_in}) n", ALL - 1);
        let tables = destination.query_text(&tables).await;
        if tables != these.len().to_string() {
            return Err(format!("{tables} tables"));
        }
        let one = |n: &usize| format!("select body from s{n}.documents where body = '{body}'");
        let all: Vec<_> = these.iter().map(one).collect();
        let found = destination.query_text(&format!("select count(*) from ({}) q", all.join(" union all "))).await;
        if found == these.len().to_string() { Ok(()) } else { Err(format!("{found} have it")) }
    })
    .await;
}

/// Twenty destinations fail promptly and are due again at once, more than are claimed at a time. The
/// one that falls silent is tried again and again all the same. The test fails where both kinds
/// share one limit in `Engine::claim` (crates/sync/src/engine.rs): the silent one was tried once.
#[tokio::test]
async fn many_that_fail_promptly_leave_a_claim_to_one_that_fails_slowly() {
    let plan = World::with_tenants(["acme"]).mappings(&[("documents", DOCUMENTS)]).without_init();
    let plan = plan.setting("/sync/retry", json!({ "initial": "10ms", "max": "20ms" }));
    let mut world = plan.setting("/poller/claim_limit", 4).await;
    world.allow("destination_failed");
    let (tenant, url) = (world.id("acme").to_owned(), world.tenant("acme").destination.url());
    let silent = Proxy::before(&url);
    let name = world.tenant("acme").destination.name().to_owned();
    let mut all: Vec<_> = (0..20)
        .map(|n| {
            let url = url.replace(&name, &format!("{name}_{n}"));
            json!({ "tenant": tenant, "name": format!("d{n}"), "url": url })
        })
        .collect();
    all.push(json!({ "tenant": tenant, "name": "silent", "url": silent.url(&url) }));
    world.configure(|c| c["destinations"]["static"] = all.into());
    let table =
        "create table document (tenant text, id integer, body text, primary key (tenant, id))";
    world.source.execute(table).await;
    assert!(world.offtake(&["init"]).await.status.success());
    silent.set(Mode::Blackhole);
    world.configure(|c| c["sync"]["connect_timeout"] = CONNECT_TIMEOUT.into());
    let daemon = world.daemon().await;
    let tried = "select consecutive_failures > 3 from offtake.destination where name = 'silent'";
    world.source.wait_text(tried, "t").await;
    let promptly = "select min(consecutive_failures) > 3 from offtake.destination";
    world.source.wait_text(promptly, "t").await;
    daemon.stop().await;
}
