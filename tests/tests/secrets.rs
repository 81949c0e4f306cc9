//! Invariant 10: no fault makes Offtake reveal a password, a token or a value of a row.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use offtake_tests::collector::Collector;
use offtake_tests::{Daemon, PATIENCE, Plan, World, until};
use serde_json::json;

/// Part of every password and token. No output may contain it.
const SECRET: &str = "hunter2";
/// Part of every refused row's value. No output may contain it.
const VALUE: &str = "swordfish";

const USERS: &str = "
source: { table: public.project_user, tenant: tenancy_id, key: { id: project_user_id } }
query: select tenancy_id as tenant_id, project_user_id as id, display_name from public.project_user
target:
  table: users
  schema_sql: create table users (id uuid primary key, display_name text check (display_name not like 'sword%'))
";

/// How each tenant's destination fails, and what its reason begins with.
const FAILURES: [(&str, &str); 7] = [
    ("wrong_password", "refused credentials"),
    ("no_such_role", "refused credentials"),
    ("no_such_database", "no such database"),
    ("nobody_listens", "unreachable"),
    ("no_such_host", "unreachable"),
    ("forbidden_address", "unreachable"),
    ("without_tls", "unreachable"),
];

fn plan() -> Plan {
    let names = FAILURES.map(|(name, _)| name).into_iter().chain(["good"]);
    World::with_tenants(names)
        .mappings(&[("users", USERS)])
        .private_destination("wrong_password")
        .setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" }))
        .setting("/metrics/tenants", "worst-20")
        .setting("/http/admin_token", format!("{SECRET}-admin-0123456789abcdef0123456789"))
        .setting("/http/read_token", format!("{SECRET}-read-0123456789abcdef0123456789"))
}

/// Gives each tenant's URL its own password. The source's URL has one too, and a destinations query
/// returns one more.
async fn spread_secrets(world: &mut World) {
    // After `init`, which does not retry.
    world.configure(|c| c["sync"]["connect_timeout"] = "1s".into());
    let own = &world.tenant("wrong_password").destination;
    own.execute(&format!("create role tenant_role login superuser password '{SECRET}-right'"))
        .await;
    own.ask_for_password("tenant_role").await;
    for (number, (name, _)) in FAILURES.into_iter().chain([("good", "")]).enumerate() {
        world.reach_by(name, |url| {
            let (_, place) = url.split_once('@').unwrap_or_else(|| url.split_once("//").unwrap());
            let (server, rest) = place.split_once('/').unwrap();
            let (database, _) = rest.split_once('?').unwrap();
            let password = format!("{SECRET}-%2F{number}");
            match name {
                "wrong_password" => format!("postgres://tenant_role:{password}@{place}"),
                "no_such_role" => format!("postgres://nobody_there:{password}@{place}"),
                "no_such_database" => {
                    format!("postgres://postgres:{password}@{server}/nowhere?sslmode=disable")
                }
                "nobody_listens" => {
                    format!("postgres://postgres:{password}@127.0.0.1:1/{database}?sslmode=disable")
                }
                "no_such_host" => {
                    format!("postgres://postgres:{password}@db.invalid:5432/{database}")
                }
                "forbidden_address" => {
                    format!("postgres://postgres:{password}@10.11.12.13:5432/{database}")
                }
                "without_tls" => format!(
                    "postgres://postgres:{password}@{server}/{database}?sslmode=verify-full"
                ),
                _ => format!("postgres://postgres:{password}@{place}"),
            }
        });
    }
    world
        .source
        .execute("create table public.customer_database (tenant_id text, name text, url text)")
        .await;
    for (name, url) in [
        (
            "refused_options",
            format!("postgres://u:{SECRET}-q1@127.0.0.1/d?options=-c%20x%3D{SECRET}"),
        ),
        ("no_url", format!("{SECRET}-q2")),
        ("unreachable", format!("postgres://u:{SECRET}-q3@127.0.0.1:1/d?sslmode=disable")),
    ] {
        let tenant = world.id("good");
        world
            .source
            .execute(&format!(
                "insert into public.customer_database values ('{tenant}', '{name}', '{url}')"
            ))
            .await;
    }
    let source = world.source.url();
    world.configure(|c| {
        c["source"]["url"] =
            source.replacen("postgres@", &format!("postgres:{SECRET}-source@"), 1).into();
        c["destinations"]["query"] =
            "select tenant_id, name, url from public.customer_database".into();
    });
}

/// Collects everything that the daemon outputs in any way.
async fn all_told(daemon: &Daemon, world: &World, what: &mut String) {
    let token = format!("Bearer {SECRET}-read-0123456789abcdef0123456789");
    let good = format!("/api/v1/destinations/{}/main", world.id("good"));
    let why = FAILURES.map(|(name, _)| format!("/api/v1/why?tenant={}", world.id(name)));
    for path in [
        "/",
        "/assets/dashboard.js",
        "/livez",
        "/readyz",
        "/metrics",
        "/api/v1/status",
        "/api/v1/destinations",
        "/api/v1/fuses",
        "/api/v1/quarantine",
        "/api/v1/config",
        "/api/v1/history",
        "/api/v1/destinations?search=hunter&sort=state",
        &good,
        "/nowhere",
    ]
    .into_iter()
    .chain(why.iter().map(String::as_str))
    {
        for headers in [&[("Authorization", token.as_str())][..], &[]] {
            let (code, body) = daemon.request("GET", path, headers, "").await;
            let _ = writeln!(what, "{path}: {code} {body}");
        }
    }
    for (headers, body) in [
        (&[("Authorization", token.as_str())][..], "{}"),
        (&[("Authorization", "Bearer hunter")][..], "{]"),
    ] {
        let (code, body) = daemon.request("PATCH", "/api/v1/fuses/sync", headers, body).await;
        let _ = writeln!(what, "PATCH: {code} {body}");
    }
    for file in ["cmdline", "comm"] {
        let text = std::fs::read(format!("/proc/{}/{file}", daemon.pid())).unwrap();
        let _ = writeln!(what, "{file}: {}", String::from_utf8_lossy(&text));
    }
    let _ = writeln!(what, "log: {}\nprinted: {}", daemon.log_text(), daemon.printed().join("\n"));
}

/// Collects what is stored at the source, and what the source's log could contain: every table of
/// Offtake, and every statement in progress.
async fn all_stored(world: &World, what: &mut String) {
    let tables = "select string_agg(format('select %L || t::text from offtake.%I t', relname || ': ', relname), ' union all ')
                    from pg_class where relnamespace = 'offtake'::regnamespace and relkind in ('r', 'p')";
    let stored = world.source.query_text(&world.source.query_text(tables).await).await;
    let _ = writeln!(what, "{stored}");
    for database in [&world.source, &world.tenant("good").destination] {
        let sessions = "select application_name, query from pg_stat_activity where application_name like 'offtake%'";
        let _ = writeln!(what, "{}", database.query_text(sessions).await);
    }
    let _ = writeln!(
        what,
        "{}",
        world.tenant("good").destination.query_text("select s::text from _offtake_state s").await
    );
}

async fn all_printed(world: &World, what: &mut String) {
    let good = world.id("good");
    let why = FAILURES.map(|(name, _)| ["why", "--tenant", world.id(name)]);
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["check"],
        &["check", "--connect"],
        &["config"],
        &["verify"],
        &["verify", "--json"],
        &["why", "--tenant", good, "--mapping", "users", "--json"],
        &["doctor", "--connect"],
        &["doctor", "--connect", "--json"],
        &["quarantine", "list"],
        &["fuse", "list"],
        &["preview", "--tenant", good, "--mapping", "nothing"],
        &["sync", "--tenant", good, "--wait", "1s"],
        &["run", "--once"],
        &["init"],
    ]
    .into_iter()
    .chain(why.iter().map(|why| &why[..]))
    {
        let output = world.offtake(arguments).await;
        let text = [output.stdout, output.stderr].concat();
        let _ = writeln!(
            what,
            "offtake {arguments:?}: {} {}",
            output.status,
            String::from_utf8_lossy(&text)
        );
    }
}

fn assert_nothing(of: &str, what: &str) {
    let found: Vec<_> = what
        .lines()
        .filter(|line| line.contains(of))
        .map(|line| line.chars().take(400).collect::<String>())
        .collect();
    assert!(found.is_empty(), "{} lines have {of:?}:\n{}", found.len(), found.join("\n"));
}

/// Waits until every destination has failed in its way, and rows are quarantined.
async fn wait_everything_failed(daemon: &Daemon, world: &World) {
    until("everything has failed", PATIENCE, async || {
        let told = daemon.status_as(&format!("{SECRET}-read-0123456789abcdef0123456789")).await;
        let reason = |tenant: &str| {
            let found = told["destinations"]
                .as_array()
                .unwrap()
                .iter()
                .find(|d| d["tenant"] == world.id(tenant) && d["name"] == "main");
            found
                .and_then(|destination| destination["reason"].as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let reasons = FAILURES.map(|(tenant, expected)| (tenant, expected, reason(tenant)));
        let missing: Vec<_> =
            reasons.iter().filter(|(_, expected, reason)| !reason.starts_with(expected)).collect();
        let failing = "select count(*) from offtake.outgoing_request where failures > 2";
        let failing: usize = world.source.query_text(failing).await.parse().unwrap();
        let quarantined =
            world.source.query_text("select count(*) > 0 from offtake.quarantined_row").await;
        if missing.is_empty() && failing > FAILURES.len() && quarantined == "t" {
            Ok(())
        } else {
            Err(format!("{missing:?} {failing} {quarantined}"))
        }
    })
    .await;
}

/// Collects the output of commands for sources that refuse the connection, and for configuration
/// files that cannot be parsed.
async fn all_of_wrong_configurations(world: &mut World, told: &mut String) {
    let source = world.source.url();
    let place = source.split_once('@').unwrap().1.to_owned();
    for url in [
        format!("postgres://nobody:{SECRET}-s1@{place}"),
        format!("postgres://nobody:{SECRET}-s2@127.0.0.1:1/x?sslmode=disable"),
        format!("postgres://nobody:{SECRET}-s3@127.0.0.1:x/x"),
        format!("postgres://nobody:{SECRET}-s4@/?password={SECRET}"),
        format!("mysql://nobody:{SECRET}-s5@127.0.0.1/x"),
    ] {
        world.configure(|c| c["source"]["url"] = url.into());
        for arguments in [&["status"][..], &["check"], &["init"], &["doctor"]] {
            let output = world.offtake(arguments).await;
            let text = [output.stdout, output.stderr].concat();
            let _ = writeln!(told, "offtake {arguments:?}: {}", String::from_utf8_lossy(&text));
        }
    }
    let broken = world.folder().join("broken.yaml");
    std::fs::write(&broken, format!("source: {{ url: \"postgres://u:{SECRET}-b1@h/d\" }}\nhttp: {{ admin_token: [{SECRET}-b2] }}\nsync: {SECRET}-b3\n{SECRET}: x\n\t- {SECRET}")).unwrap();
    for text in [
        None,
        Some(format!(
            "http: {{ admin_token: [{SECRET}-b2], read_token: {{ a: {SECRET}-b5 }} }}\nsource: {{ url: [\"postgres://u:{SECRET}-b1@h/d\"] }}"
        )),
    ] {
        if let Some(text) = text {
            std::fs::write(&broken, text).unwrap();
        }
        let output = world.offtake(&["check", "--config", broken.to_str().unwrap()]).await;
        let text = [output.stdout, output.stderr].concat();
        let _ = writeln!(told, "broken: {} {}", output.status, String::from_utf8_lossy(&text));
    }
}

#[tokio::test]
async fn nothing_that_is_told_has_a_secret_or_a_value() {
    let mut world = plan().await;
    world.allow("*");
    spread_secrets(&mut world).await;
    world.fill(5).await;
    world
        .source
        .execute(&format!(
            "update project_user set display_name = '{VALUE}' where project_user_id in (select project_user_id from project_user limit 20)"
        ))
        .await;
    // The most detailed log.
    world.set_variable("OFFTAKE_LOG", "trace");
    let collector = Collector::default();
    let endpoint = collector.listen().await;
    world.configure(|c| c["telemetry"]["otlp_endpoint"] = endpoint.into());
    let daemon = world.daemon().await;
    let mut told = String::new();
    wait_everything_failed(&daemon, &world).await;
    all_told(&daemon, &world, &mut told).await;
    all_stored(&world, &mut told).await;
    daemon.stop().await;
    let spans = collector.spans();
    assert!(spans.len() > FAILURES.len(), "{spans:?}");
    for span in spans {
        let _ = writeln!(told, "{span:?}");
    }
    all_printed(&world, &mut told).await;
    assert_nothing(VALUE, &told);
    all_of_wrong_configurations(&mut world, &mut told).await;
    assert_nothing(SECRET, &told);
    assert!(told.lines().count() > 500, "too little output was checked:\n{told}");
}
