//! Invariants 5, 6 and 8: what is owed to a destination that cannot take it stays owed, is told, and arrives without anything
//! else happening; and it is nobody else's trouble.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use offtake_tests::proxy::Mode;
use offtake_tests::{Daemon, Database, PATIENCE, Plan, Source, World, oracle, until};
use serde_json::{Value, json};

/// A destination that answers so slowly never answers in time.
const SLOW: Mode = Mode::Drip(20);

const RETRY_INITIAL_MS: u64 = 100;
const RETRY_MAX_MS: u64 = 800;

fn plan(names: &[&str]) -> Plan {
    let settings = [("/poller/lease", "3s"), ("/sync/connect_timeout", "1s"), ("/sync/statement_timeout", "1s")];
    let plan = settings.into_iter().fold(World::with_tenants(names.iter().copied()), |plan, (pointer, value)| plan.setting(pointer, value));
    let retry = json!({ "initial": format!("{RETRY_INITIAL_MS}ms"), "max": format!("{RETRY_MAX_MS}ms") });
    names.iter().fold(plan.setting("/sync/retry", retry), |plan, name| plan.proxied(name))
}

async fn destination(daemon: &Daemon, world: &World, tenant: &str) -> Value {
    let status = daemon.status().await;
    let all = status["destinations"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|d| d["tenant"] == world.id(tenant)).unwrap_or_default()
}

/// Until the status says why the destination gets nothing.
async fn wait_blocked(daemon: &Daemon, world: &World, tenant: &str, reason: &str) {
    until(&format!("{tenant} is blocked"), PATIENCE, async || {
        let told = destination(daemon, world, tenant).await;
        let says = told["reason"].as_str().is_some_and(|said| said.starts_with(reason));
        if told["state"] == "blocked" && says && told["consecutive_failures"].as_i64() > Some(1) { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
}

/// A destination whose server asks for the password of a role of its own.
async fn ask_for_a_password(world: &mut World, tenant: &str) {
    let own = &world.tenant(tenant).destination;
    own.execute("create role tenant_role login superuser password 'right'").await;
    let file = own.query_text("show hba_file").await;
    let rules = format!("host all tenant_role 127.0.0.1/32 scram-sha-256\n{}", std::fs::read_to_string(&file).unwrap());
    std::fs::write(&file, rules).unwrap();
    own.query_text("select pg_reload_conf()").await;
    let id = world.id(tenant).to_owned();
    world.configure(|c| {
        for destination in c["destinations"]["static"].as_array_mut().unwrap() {
            if destination["tenant"] == id.as_str() {
                let url = destination["url"].as_str().unwrap();
                let (_, place) = url.split_once('@').unwrap_or_else(|| url.split_once("//").unwrap());
                destination["url"] = format!("postgresql://tenant_role:right@{place}").into();
            }
        }
    });
}

async fn set_password(world: &World, tenant: &str, password: &str) {
    let own = &world.tenant(tenant).destination;
    own.execute(&format!("alter role tenant_role password '{password}'")).await;
    // Who is logged in stays so.
    own.query_text("select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'tenant_role'").await;
}

const FAULTS: [(&str, &str); 4] =
    [("refused", "unreachable"), ("silent", "unreachable"), ("slow", "unreachable"), ("password", "refused credentials")];

async fn breaks(world: &World) {
    world.tenant("refused").proxy().set(Mode::Refuse);
    world.tenant("silent").proxy().set(Mode::Blackhole);
    world.tenant("slow").proxy().set(SLOW);
    set_password(world, "password", "changed").await;
}

async fn mends(world: &World) {
    for name in ["refused", "silent", "slow"] {
        world.tenant(name).proxy().set(Mode::Pass);
    }
    set_password(world, "password", "right").await;
}

/// One change while they are down, then silence, with nobody to remind: first the initial copy itself, then a change for
/// destinations that are known. Shown to fail with `requests::complete` in place of `requests::fail` in the engine's `fail`
/// (crates/sync/src/engine.rs), up to the sweep.
#[tokio::test]
async fn one_change_then_silence_arrives_when_the_destination_is_back() {
    let names = FAULTS.map(|(name, _)| name);
    let mut world = plan(&names).private_destination("password").await;
    world.allow("destination_failed");
    ask_for_a_password(&mut world, "password").await;
    world.fill(3).await;
    breaks(&world).await;
    let daemon = world.daemon().await;
    for change in ["the first sync ever", "one change"] {
        world.source.execute(&format!("update project_user set display_name = '{change}'")).await;
        join_all(FAULTS.map(|(name, reason)| wait_blocked(&daemon, &world, name, reason))).await;
        mends(&world).await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
        for name in names {
            let rows = "select count(*) from users where display_name = '{}'".replace("{}", change);
            assert_eq!(world.tenant(name).destination.query_text(&rows).await, "3", "{name}");
            let told = destination(&daemon, &world, name).await;
            assert_eq!(
                (&told["state"], &told["consecutive_failures"], &told["last_error"]),
                (&json!("in_sync"), &json!(0), &Value::Null),
                "{told}"
            );
        }
        if change == "the first sync ever" {
            breaks(&world).await;
        }
    }
    daemon.stop().await;
}

/// The wait after a failure doubles up to the maximum, and no two destinations wait in step.
#[tokio::test]
async fn attempts_are_backed_off_with_jitter() {
    let names = ["a", "b", "c"];
    let world = plan(&names).await;
    world.allow("destination_failed");
    for name in names {
        world.tenant(name).proxy().set(Mode::Refuse);
    }
    let daemon = world.daemon().await;
    const ATTEMPTS: usize = 6;
    let waits = until("every destination has failed often", PATIENCE, async || {
        let lines = daemon.log().into_iter().filter(|line| line.event == "destination_failed");
        let waits: Vec<_> = lines
            .map(|line| {
                let line: Value = serde_json::from_str(&line.text).unwrap();
                let number = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("{line}"));
                (line["destination"].as_str().unwrap().to_owned(), number("failures"), number("retry_ms"))
            })
            .collect();
        let often = |name: &&str| waits.iter().filter(|(label, ..)| label.starts_with(world.id(name))).count() >= ATTEMPTS;
        if names.iter().all(often) { Ok(waits) } else { Err(format!("{} failures", waits.len())) }
    })
    .await;
    let mut shares = BTreeSet::new();
    for (label, failures, wait) in &waits {
        let longest = RETRY_MAX_MS.min(RETRY_INITIAL_MS << (failures - 1));
        assert!((longest / 2..=longest).contains(wait), "{label} waits {wait} ms after {failures} failures");
        shares.insert(wait * 100 / longest);
    }
    assert!(shares.len() > waits.len() / 3, "{waits:?}");
    // They are visited as often as they were told to be, and by nobody else.
    let dials = names.map(|name| world.tenant(name).proxy().accepted());
    assert_eq!(dials, [0; 3], "nobody listens");
    daemon.stop().await;
}

/// 25 of 30 destinations swallow everything. The others' latency from commit to visible, as medians, stays within twice that of
/// a quiet time (and 20 ms, for what the machine itself does to a millisecond). One of the 25 is the first destination of
/// a tenant whose second is healthy.
#[tokio::test]
async fn a_blackholed_destination_delays_nobody_else() {
    const HEALTHY: usize = 5;
    let names: Vec<String> = (0..30).map(|n| format!("t{n:02}")).collect();
    let dark = &names[HEALTHY..];
    let plan = names.iter().fold(World::with_tenants(names.clone()), |plan, name| plan.proxied(name));
    let mut world =
        plan.setting("/sync/connect_timeout", "2s").setting("/sync/statement_timeout", "1s").setting("/sync/retry/max", "2s").await;
    world.allow("destination_failed");
    let second = Source::destination().await;
    let of_dark = json!({ "tenant": world.id(&dark[0]), "name": "second", "url": second.url() });
    world.configure(|c| c["destinations"]["static"].as_array_mut().unwrap().push(of_dark));
    world.fill(2).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    wait_visible(&second, "select count(*) from users", "2").await;
    let healthy: Vec<_> = names[..HEALTHY].iter().map(|name| (name.as_str(), &world.tenant(name).destination)).collect();
    let beside_dark = (dark[0].as_str(), &second);

    let quiet = latency(&world, &healthy, "quiet").await;
    let quiet_beside = latency(&world, &[beside_dark], "quiet").await;
    for name in dark {
        world.tenant(name).proxy().set(Mode::Blackhole);
    }
    world.source.execute("update project_user set display_name = 'owed to all'").await;
    // The silence of an open connection has to be found out first; then they fail to connect, again and again.
    let during = latency(&world, &healthy, "first").await;
    until("all of them have failed", PATIENCE, async || {
        let failing = world.source.query_text("select count(*) from offtake.outgoing_request where failures > 0").await;
        if failing == dark.len().to_string() { Ok(()) } else { Err(failing) }
    })
    .await;
    let later = latency(&world, &healthy, "later").await;
    let beside = latency(&world, &[beside_dark], "later").await;
    eprintln!(
        "medians: quiet {quiet:?}, while silent {during:?}, while unreachable {later:?}; second destination: {quiet_beside:?}, {beside:?}"
    );
    let bound = |quiet: Duration| quiet * 2 + Duration::from_millis(20);
    assert!(during <= bound(quiet), "{during:?} instead of {quiet:?}");
    assert!(later <= bound(quiet), "{later:?} instead of {quiet:?}");
    assert!(beside <= bound(quiet_beside), "{beside:?} instead of {quiet_beside:?}");
    for name in dark {
        world.tenant(name).proxy().set(Mode::Pass);
    }
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// The median time from a commit at the source until the row is visible in the destination.
async fn latency(world: &World, of: &[(&str, &Database)], name: &str) -> Duration {
    const SAMPLES: usize = 25;
    let mut times = Vec::new();
    for sample in 0..SAMPLES {
        let (tenant, destination) = of[sample % of.len()];
        let wanted = format!("{name} {sample}");
        world.source.execute(&format!("update project_user set display_name = '{wanted}' where tenancy_id = '{}'", world.id(tenant))).await;
        let committed = Instant::now();
        wait_visible(destination, &format!("select count(*) from users where display_name = '{wanted}'"), "2").await;
        times.push(committed.elapsed());
    }
    times.sort();
    times[SAMPLES / 2]
}

/// Looks more often than `until`.
async fn wait_visible(destination: &Database, query: &str, wanted: &str) {
    let began = Instant::now();
    loop {
        let found = destination.try_query_text(query).await;
        if found.as_deref() == Ok(wanted) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{query}: {found:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
