//! Invariants 5, 6 and 8: what is owed to an unreachable destination stays owed, is reported, and
//! arrives later without any further change. It delays no other destination.

#![allow(clippy::unwrap_used)]

use futures_util::future::join_all;
use offtake_tests::proxy::Mode;
use offtake_tests::{Daemon, Database, PATIENCE, Plan, Source, World, oracle, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// So slow that a destination never answers in time.
const SLOW: Mode = Mode::Drip(20);

const RETRY_INITIAL_MS: u64 = 100;
const RETRY_MAX_MS: u64 = 800;

fn plan(names: &[&str]) -> Plan {
    let plan = World::with_tenants(names.iter().copied());
    let retry =
        json!({ "initial": format!("{RETRY_INITIAL_MS}ms"), "max": format!("{RETRY_MAX_MS}ms") });
    names.iter().fold(plan.setting("/sync/retry", retry), |plan, name| plan.proxied(name))
}

/// Waits until the status says why the destination gets nothing.
async fn wait_blocked(daemon: &Daemon, world: &World, tenant: &str, reason: &str) {
    until(&format!("{tenant} is blocked"), PATIENCE, async || {
        let told = world.told(daemon, tenant).await;
        let says = told["reason"].as_str().is_some_and(|said| said.starts_with(reason));
        if told["state"] == "blocked" && says && told["consecutive_failures"].as_i64() > Some(1) {
            Ok(())
        } else {
            Err(told.to_string())
        }
    })
    .await;
}

/// Gives the tenant's destination a role of its own, for which its server asks for a password.
async fn ask_for_a_password(world: &mut World, tenant: &str) {
    let own = &world.tenant(tenant).destination;
    own.execute("create role tenant_role login superuser password 'right'").await;
    own.ask_for_password("tenant_role").await;
    world.reach_by(tenant, |url| {
        let (_, place) = url.split_once('@').unwrap_or_else(|| url.split_once("//").unwrap());
        format!("postgresql://tenant_role:right@{place}")
    });
}

async fn set_password(world: &World, tenant: &str, password: &str) {
    let own = &world.tenant(tenant).destination;
    own.execute(&format!("alter role tenant_role password '{password}'")).await;
    // A password rule does not end open sessions, so the test ends them.
    own.query_text("select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'tenant_role'").await;
}

const FAULTS: [(&str, &str); 4] = [
    ("refused", "unreachable"),
    ("silent", "unreachable"),
    ("slow", "unreachable"),
    ("password", "refused credentials"),
];

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

/// One change while the destinations are down, and then no further change that could trigger a
/// sync: first for the initial copy, then for known destinations. With `requests::complete` in
/// place of `requests::fail` in the engine's `fail` (crates/sync/src/engine.rs) the test fails,
/// until the sweep.
#[tokio::test]
async fn one_change_then_silence_arrives_when_the_destination_is_back() {
    let names = FAULTS.map(|(name, _)| name);
    // The timeouts apply to the source too, which is slow only on a slow machine.
    let plan = plan(&names)
        .setting("/sync/connect_timeout", "4s")
        .setting("/sync/statement_timeout", "4s");
    let mut world = plan.private_destination("password").await;
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
            let told = world.told(&daemon, name).await;
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

/// The wait after a failure doubles up to the maximum, with jitter, so that destinations are not
/// retried at the same moments.
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
                (
                    line["destination"].as_str().unwrap().to_owned(),
                    number("failures"),
                    number("retry_ms"),
                )
            })
            .collect();
        let often = |name: &&str| {
            waits.iter().filter(|(label, ..)| label.starts_with(world.id(name))).count() >= ATTEMPTS
        };
        if names.iter().all(often) { Ok(waits) } else { Err(format!("{} failures", waits.len())) }
    })
    .await;
    let mut shares = BTreeSet::new();
    for (label, failures, wait) in &waits {
        let longest = RETRY_MAX_MS.min(RETRY_INITIAL_MS << (failures - 1));
        assert!(
            (longest / 2..=longest).contains(wait),
            "{label} waits {wait} ms after {failures} failures"
        );
        shares.insert(wait * 100 / longest);
    }
    assert!(shares.len() > waits.len() / 3, "{waits:?}");
    // The destinations are dialled only for these attempts.
    let dials = names.map(|name| world.tenant(name).proxy().accepted());
    assert_eq!(dials, [0; 3], "nothing listens, so no dial is accepted");
    daemon.stop().await;
}

/// `SLOW_AT_WORK_MAX` of crates/requests/src/slow_failures.rs.
const SILENT_AT_WORK_MAX: usize = 16;

/// Tenants with a destination behind a proxy each; `tenant` has a second destination without one.
/// The timeouts are longer than the test.
async fn world_with_a_second_destination(names: &[String], tenant: &str) -> (World, Database) {
    let plan = names
        .iter()
        .fold(World::with_tenants(names.iter().cloned()), |plan, name| plan.proxied(name));
    let mut world = plan
        .setting("/sync/workers", 4)
        .setting("/sync/connect_timeout", "10m")
        .setting("/sync/statement_timeout", "10m")
        .setting("/sync/retry/max", "500ms")
        .await;
    world.allow("destination_failed");
    let second = Source::destination().await;
    let of_dark = json!({ "tenant": world.id(tenant), "name": "second", "url": second.url() });
    world.configure(|c| c["destinations"]["static"].as_array_mut().unwrap().push(of_dark));
    (world, second)
}

/// Waits until the `dark` destinations are being written to. Returns these attempts. `silent` says
/// what gets no answer: open connections or dials.
async fn wait_stuck(world: &World, dark: &[String], silent: &str) -> String {
    // Of destinations that failed slowly, at most `SILENT_AT_WORK_MAX` are claimed at a time. On a
    // slow machine they do not all start at once.
    let at_least = if silent == "dials" { SILENT_AT_WORK_MAX } else { dark.len() };
    until("the silent destinations are being written to, without success", PATIENCE, async || {
        // Connections are counted before the attempts: a destination with a connection now has
        // a silent one. A destination that was refused before has none, even if its failure is
        // not recorded yet.
        let held: Vec<_> =
            dark.iter().filter(|name| world.tenant(name).proxy().open() > 0).cloned().collect();
        let stuck = attempts(world, &held).await;
        if stuck.lines().count() >= at_least { Ok(stuck) } else { Err(stuck) }
    })
    .await
}

/// Makes open connections of the `dark` destinations break, and after that dials get no answer.
async fn blackhole_dials(world: &World, dark: &[String]) {
    for name in dark {
        let proxy = world.tenant(name).proxy();
        proxy.set(Mode::Refuse);
    }
    until("all silent destinations have failed", PATIENCE, async || {
        let failing = world
            .source
            .query_text("select count(*) from offtake.outgoing_request where failures > 0")
            .await;
        if failing == dark.len().to_string() { Ok(()) } else { Err(failing) }
    })
    .await;
    for name in dark {
        world.tenant(name).proxy().set(Mode::Blackhole);
    }
}

/// 25 of 30 destinations swallow everything, and the timeouts are longer than the test, so a silent
/// destination never gives back a place that it holds. The changes of the others can only arrive if
/// none of them waits for any of the 25: first while open connections are silent, then while dials
/// get no answer. One of the 25 is the first destination of a tenant whose second destination is
/// healthy.
#[tokio::test]
async fn a_blackholed_destination_delays_nobody_else() {
    const HEALTHY: usize = 5;
    let names: Vec<String> = (0..30).map(|n| format!("t{n:02}")).collect();
    let dark = &names[HEALTHY..];
    let (world, second) = world_with_a_second_destination(&names, &dark[0]).await;
    world.fill(2).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    second.wait_text("select count(*) from users", "2").await;
    let mut healthy: Vec<_> = names[..HEALTHY]
        .iter()
        .map(|name| (name.as_str(), &world.tenant(name).destination))
        .collect();
    healthy.push((dark[0].as_str(), &second));
    let quiet = median_latency(&world, &healthy, "quiet").await;
    // No attempt may be about to end when the destinations become silent.
    world.wait_in_step().await;

    for name in dark {
        world.tenant(name).proxy().set(Mode::Blackhole);
    }
    for silent in ["connections that were open", "dials"] {
        world
            .source
            .execute(&format!(
                "update project_user set display_name = 'owed to all beside {silent}'"
            ))
            .await;
        let stuck = wait_stuck(&world, dark, silent).await;
        let beside = median_latency(&world, &healthy, silent).await;
        eprintln!(
            "commit to visible, median: {quiet:?} when it is quiet, {beside:?} beside silent {silent}"
        );
        assert!(
            !soak() || beside <= quiet * 2,
            "{quiet:?} when it is quiet, {beside:?} beside silent {silent}"
        );
        let now = attempts(&world, dark).await;
        assert!(
            stuck.lines().all(|attempt| now.lines().any(|line| line == attempt)),
            "the stuck attempts must still be stuck:\n{stuck}\n{now}"
        );
        if silent == "dials" {
            break;
        }
        blackhole_dials(&world, dark).await;
    }
    for name in dark {
        world.tenant(name).proxy().set(Mode::Pass);
    }
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// Changes each of these tenants in turn. Returns the median time from commit until the change is
/// visible.
async fn median_latency(world: &World, healthy: &[(&str, &Database)], label: &str) -> Duration {
    let mut times = Vec::new();
    for round in 0..if soak() { 40 } else { 4 } {
        for (tenant, destination) in healthy {
            let name = format!("{round} {label}");
            let change =
                "update project_user set display_name = '{name}' where tenancy_id = '{tenant}'";
            world
                .source
                .execute(&change.replace("{name}", &name).replace("{tenant}", world.id(tenant)))
                .await;
            let (committed, there) = (
                Instant::now(),
                format!("select count(*) from users where display_name = '{name}'"),
            );
            while destination.query_text(&there).await != "2" {
                assert!(committed.elapsed() < PATIENCE, "{name} does not arrive");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            times.push(committed.elapsed());
        }
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// Whether this is the long run (`make soak`), which also judges times.
fn soak() -> bool {
    std::env::var_os("OFFTAKE_SOAK").is_some()
}

/// The attempts in progress for these tenants' destinations `main`, one per line.
async fn attempts(world: &World, tenants: &[String]) -> String {
    let ids: Vec<_> = tenants.iter().map(|name| format!("'{}'", world.id(name))).collect();
    let leased = "select d.tenant_id, r.attempt from offtake.outgoing_request r join offtake.destination d using (destination_id)
                   where r.leased_until is not null and d.name = 'main' and d.tenant_id = any(array[{}]::text[]) order by 1";
    world.source.query_text(&leased.replace("{}", &ids.join(", "))).await
}

/// What has succeeded is not looked at for a visit before an interval is over; what has not is owed
/// one, and so looked at again an interval later, as is what gets no visits. The poller does both.
#[tokio::test]
async fn a_destination_is_looked_at_for_a_visit_when_one_may_be_due() {
    let source = Source::prepared().await;
    source
        .execute(
            "insert into offtake.destination (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables, active, sequence_id, last_success_at, visit_at)
             select t, 'main', 'public', 'h', 5432, 'd', 'u', '{}', '{}', t <> 'left', 7, now() - idle, now()
               from (values ('busy', interval '1 minute'), ('quiet', '11 minutes'), ('left', '11 minutes')) v (t, idle)",
        )
        .await;
    let client = source.connect().await;
    for file in [
        include_str!("../../crates/requests/sql/sweep_due.sql"),
        include_str!("../../crates/requests/sql/postpone_visits.sql"),
    ] {
        client.execute(file, &[&(10 * 60 * 1000_i64)]).await.unwrap();
    }
    let owed = "select string_agg(tenant_id, ',') from offtake.destination join offtake.outgoing_request using (destination_id)";
    assert_eq!(source.query_text(owed).await, "quiet");
    let minutes = "select string_agg(tenant_id || ' ' || round(extract(epoch from visit_at - now()) / 60), ',' order by tenant_id) from offtake.destination";
    assert_eq!(source.query_text(minutes).await, "busy 9,left 10,quiet 10");
}

/// A success writes a destination's row and its mappings' rows, and no index: otherwise each batch
/// would write into all of their indexes. Where the last success was in one, that was so.
#[tokio::test]
async fn a_success_changes_no_column_of_an_index() {
    let source = Source::prepared().await;
    let changed = "select coalesce(string_agg(indexname, ','), 'none') from pg_indexes
        where schemaname = 'offtake' and tablename in ('destination', 'destination_mapping')
          and indexdef ~ '\\m(sequence_id|last_success_at|updated_at|version|version_at|target_identity|rows_done|rows_total)\\M'";
    assert_eq!(source.query_text(changed).await, "none");
}
