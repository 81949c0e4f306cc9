//! Invariant 6, beyond the numbers of turns and places that there are: more destinations are silent than may be dialled or connected
//! at a time, and those that answer do not wait for their deadlines.

#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use offtake_tests::proxy::{Mode, Proxy};
use offtake_tests::{PATIENCE, World, until};
use serde_json::json;

const DOCUMENTS: &str = "
source: { table: public.document, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, body from public.document
target: { table: documents }
";

/// One in so many answers; the others, 120, are more than the 64 dials and 100 connections that there may be.
const ONE_IN: usize = 13;
const ALL: usize = 130;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// `dial/turns.rs`: so many of them are found out at a time when all have one address.
const DIALS_TO_ONE_ADDRESS: usize = 32;

const ROUNDS: usize = 10;

/// The addresses that are silent are those of the healthy ones too.
#[tokio::test]
async fn more_silent_destinations_than_turns_delay_nobody_else() {
    check(&[Ipv4Addr::LOCALHOST]).await;
}

/// No address has more of them than may be dialled there.
#[tokio::test]
async fn more_silent_destinations_than_turns_at_several_addresses_delay_nobody_else() {
    let hosts: Vec<_> = (2..14).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
    check(&hosts).await;
}

/// 130 destinations of one tenant, in schemas of one database; 120 of them by way of proxies at these addresses that swallow
/// everything. Shown to fail without the share of `sync/src/silence.rs` and the limit `CONNECTING_MAX` of
/// `sync/src/destinations/links.rs`: a change waited for one deadline or two of the silent ones, each time.
async fn check(hosts: &[Ipv4Addr]) {
    let plan = World::with_tenants(["acme"]).mappings(&[("documents", DOCUMENTS)]).without_init();
    let timeout = format!("{}s", CONNECT_TIMEOUT.as_secs());
    let mut world = plan.setting("/sync/connect_timeout", timeout).setting("/sync/retry", json!({ "initial": "100ms", "max": "1s" })).await;
    world.allow("destination_failed");
    let (tenant, url) = (world.id("acme").to_owned(), world.tenant("acme").destination.url());
    let proxies: Vec<_> = hosts.iter().map(|host| Proxy::before_at(&url, *host)).collect();
    let all = (0..ALL).map(|n| {
        let url = if n % ONE_IN == 0 { url.clone() } else { proxies[n % proxies.len()].url(&url) };
        json!({ "tenant": tenant, "name": format!("d{n}"), "schema": format!("s{n}"), "url": url })
    });
    let all: Vec<_> = all.collect();
    world.configure(|c| c["destinations"]["static"] = all.into());
    world.source.execute("create table document (tenant text, id integer, body text, primary key (tenant, id))").await;
    assert!(world.offtake(&["init"]).await.status.success());
    world.source.execute(&format!("insert into document values ('{tenant}', 1, 'first')")).await;
    for proxy in &proxies {
        proxy.set(Mode::Blackhole);
    }

    let daemon = world.daemon().await;
    let first = arrives(&world, "first", ONE_IN).await;
    until("all silent ones are found out", PATIENCE, async || {
        let failing = world.source.query_text("select count(*) from offtake.outgoing_request where failures > 0").await;
        if failing == (ALL - ALL / ONE_IN).to_string() { Ok(()) } else { Err(failing) }
    })
    .await;
    let (mut connected, mut dialled) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // They keep their connections, and every other time they need new ones.
        let rounds = if round % 2 == 0 { &mut connected } else { &mut dialled };
        if round % 2 == 1 {
            let ours = "where application_name = 'offtake' and datname = current_database()";
            world.tenant("acme").destination.execute(&format!("select pg_terminate_backend(pid) from pg_stat_activity {ours}")).await;
        }
        let body = format!("round {round}");
        world.source.execute(&format!("update document set body = '{body}'")).await;
        rounds.push(arrives(&world, &body, ONE_IN).await);
    }
    eprintln!("first {first:?}, connected {connected:?}, dialled {dialled:?}");
    // Each is found out once, and whoever is new may have to wait for that.
    assert!(first < CONNECT_TIMEOUT * u32::try_from(ALL / DIALS_TO_ONE_ADDRESS + 2).unwrap(), "{first:?}");
    for mut rounds in [connected, dialled] {
        rounds.sort();
        // Nobody waited for anybody's deadline.
        assert!(rounds[ROUNDS / 4] < CONNECT_TIMEOUT / 2, "{rounds:?}");
    }

    for proxy in &proxies {
        proxy.set(Mode::Pass);
    }
    arrives(&world, &format!("round {}", ROUNDS - 1), 1).await;
    daemon.stop().await;
}

/// How long until every so-many-th destination has this.
async fn arrives(world: &World, body: &str, one_in: usize) -> Duration {
    let destination = &world.tenant("acme").destination;
    let these: Vec<_> = (0..ALL).step_by(one_in).collect();
    let began = Instant::now();
    until(&format!("{} destinations have {body}", these.len()), PATIENCE * 2, async || {
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
    began.elapsed()
}
