//! How long every route of the API takes where the registry and the log are large.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::{median, process};

/// No route may take longer: a person who waits for it notices.
const WITHIN_MS: f64 = 200.0;

/// Each request is made so often; the median counts.
const TIMES: usize = 11;

/// Method, route, query or the rest of the path, and body.
type Request = (&'static str, &'static str, String, Value);

/// What is asked of each route, by the path of the document, much of it about one tenant. Routes that dial somebody are left out:
/// `verify` of a destination, and `test` of a webhook.
fn requests(tenant: &str) -> Vec<Request> {
    let get = |route, query: &str| ("get", route, query.to_owned(), Value::Null);
    let post = |route, body: Value| ("post", route, String::new(), body);
    let place = format!("%5B0,%22{tenant}%22,%22main%22%5D");
    let webhook = format!("%5B%22{tenant}%22,%22crm%22%5D");
    let refused = format!("%5B%22{tenant}%22,%22main%22,%22%22%5D");
    let reason = json!({ "reason": "measured" });
    vec![
        get("/livez", ""),
        get("/readyz", ""),
        get("/metrics", ""),
        get("/", ""),
        get("/api/v1/openapi.json", ""),
        get("/api/v1/status", ""),
        get("/api/v1/status", &format!("?tenant={tenant}")),
        get("/api/v1/destinations", ""),
        get("/api/v1/destinations", "?limit=1000"),
        get("/api/v1/destinations", &format!("?after={place}")),
        get("/api/v1/destinations", "?sort=lag"),
        get("/api/v1/destinations", &format!("?sort=lag&after={place}")),
        get("/api/v1/destinations", "?state=blocked"),
        get("/api/v1/destinations", "?state=degraded&sort=lag"),
        get("/api/v1/destinations", "?state=lagging&limit=1000"),
        get("/api/v1/destinations", "?state=paused"),
        get("/api/v1/destinations", "?state=backfilling"),
        get("/api/v1/destinations", &format!("?state=in_sync&after={place}")),
        get("/api/v1/destinations", &format!("?tenant={tenant}")),
        get("/api/v1/destinations/{tenant}/{name}", ""),
        get("/api/v1/why", &format!("?tenant={tenant}")),
        get("/api/v1/why", &format!("?tenant={tenant}&mapping=notes&key=7")),
        get("/api/v1/fuses", ""),
        get("/api/v1/config", ""),
        get("/api/v1/history", ""),
        get("/api/v1/destinations", "?search=0500"),
        get("/api/v1/destinations", "?sort=state"),
        get("/api/v1/webhooks", "?search=0500"),
        get("/api/v1/quarantine", ""),
        get("/api/v1/quarantine", &format!("?after={refused}")),
        get("/api/v1/quarantine", "?mapping=notes&limit=1000"),
        get("/api/v1/quarantine", &format!("?tenant={tenant}")),
        get("/api/v1/quarantine", "?webhook=crm"),
        get("/api/v1/webhooks", ""),
        get("/api/v1/webhooks", "?limit=1000"),
        get("/api/v1/webhooks", &format!("?after={webhook}")),
        get("/api/v1/webhooks", "?sort=state"),
        get("/api/v1/webhooks", "?state=blocked"),
        get("/api/v1/webhooks", "?state=disabled"),
        get("/api/v1/webhooks", &format!("?state=in_sync&after={webhook}")),
        get("/api/v1/webhooks", "?sort=state&state=in_sync"),
        get("/api/v1/webhooks", &format!("?tenant={tenant}")),
        get("/api/v1/webhooks/{tenant}/{name}", ""),
        get("/api/v1/webhooks/{tenant}/{name}/attempts", ""),
        get("/api/v1/webhooks/{tenant}/{name}/attempts", "?status=delivered"),
        get("/tenant", ""),
        get("/tenant/page.css", ""),
        get("/tenant/page.js", ""),
        get("/tenant/icon.svg", ""),
        get("/tenant/status", ""),
        post("/api/v1/destinations/{tenant}/{name}/sync", Value::Null),
        post("/api/v1/destinations/{tenant}/{name}/pause", reason.clone()),
        post("/api/v1/destinations/{tenant}/{name}/resume", Value::Null),
        post("/api/v1/destinations/{tenant}/{name}/resync", Value::Null),
        post("/api/v1/destinations/{tenant}/{name}/recreate", Value::Null),
        post("/api/v1/destinations/{tenant}/{name}/adopt", Value::Null),
        post("/api/v1/destinations/{tenant}/{name}/forget", Value::Null),
        post("/api/v1/webhooks/{tenant}/{name}/replay", json!({ "since": "2026-01-01T00:00:00Z" })),
        post("/api/v1/webhooks/{tenant}/{name}/resync", Value::Null),
        post("/api/v1/webhooks/{tenant}/{name}/disable", reason.clone()),
        post("/api/v1/webhooks/{tenant}/{name}/enable", Value::Null),
        post("/api/v1/webhooks/{tenant}/{name}/pause", reason.clone()),
        post("/api/v1/webhooks/{tenant}/{name}/resume", Value::Null),
        post("/api/v1/quarantine/retry", json!({ "tenant": tenant })),
        post("/api/v1/reload", Value::Null),
        (
            "patch",
            "/api/v1/fuses/{name}",
            format!("destination:{tenant}/main"),
            json!({ "enabled": true }),
        ),
    ]
}

/// Routes whose answer has no end, or that dial somebody.
const LEFT_OUT: [(&str, &str); 3] = [
    ("get", "/api/v1/events"),
    ("post", "/api/v1/destinations/{tenant}/{name}/verify"),
    ("post", "/api/v1/webhooks/{tenant}/{name}/test"),
];

/// Fills a source so large, asks every route, and prints what each took, the slowest first. Fails
/// where one takes too long, or where the document has a route that is not asked.
pub(crate) async fn measure(destinations: u32, rows: u32) -> anyhow::Result<()> {
    let fleet = Fleet::create(destinations).await?;
    fleet.add_webhooks().await?;
    let mut daemon = fleet.start()?;
    fleet.wait_registered(destinations.into()).await?;
    fleet.wait_webhooks_settled().await?;
    let tenant = fleet.fill(rows).await?;
    let status_token = fleet.printed(&["status-token", "--tenant", &tenant])?;
    let (_, document) = fleet.ask(daemon.port, "get", "/api/v1/openapi.json", "", "").await?;
    let document: Value = serde_json::from_str(&document)?;
    ensure_complete(&document, &requests(&tenant))?;
    let mut measured = Vec::new();
    for (method, route, more, body) in requests(&tenant) {
        measured.push(
            one(&fleet, &daemon, (method, route, &more, &body), (&tenant, &status_token)).await?,
        );
    }
    daemon.stop()?;
    measured.sort_by(|a, b| b.median.total_cmp(&a.median));
    println!("  median ms   most ms  cpu: daemon  source  request");
    for Measured { median, most, daemon, source, what } in &measured {
        println!("  {median:>9.1} {most:>9.1} {daemon:>12.1} {source:>7.1}  {what}");
    }
    let late = measured.iter().filter(|one| one.median > WITHIN_MS).count();
    ensure!(late == 0, "{late} requests take longer than {WITHIN_MS} ms");
    Ok(())
}

/// In milliseconds of one request. Processor time is counted in hundredths of a second, and the
/// source's includes what it does by itself.
struct Measured {
    median: f64,
    most: f64,
    daemon: f64,
    source: f64,
    what: String,
}

async fn one(
    fleet: &Fleet,
    daemon: &process::Daemon,
    (method, route, more, body): (&'static str, &'static str, &str, &Value),
    (tenant, status_token): (&str, &str),
) -> anyhow::Result<Measured> {
    let name = if route.contains("/webhooks/") { "crm" } else { "main" };
    let path = match route.strip_suffix("{name}").filter(|_| route.contains("/fuses/")) {
        Some(before) => format!("{before}{more}"),
        None => route.replace("{tenant}", tenant).replace("{name}", name) + more,
    };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut times = Vec::new();
    let (cpu, server) = (daemon.cpu_seconds()?, fleet.server_seconds().await?);
    for _ in 0..TIMES {
        let began = Instant::now();
        let (code, text) = fleet.ask(daemon.port, method, &path, status_token, &body).await?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        // What the configuration names cannot be forgotten.
        let as_expected = code / 100 == 2 || code == 409 && route.ends_with("/forget");
        ensure!(as_expected, "{method} {path}: {code} {text}");
    }
    let each = |seconds: f64| seconds.max(0.0) * 1000.0 / TIMES as f64;
    Ok(Measured {
        daemon: each(daemon.cpu_seconds()? - cpu),
        source: each(fleet.server_seconds().await? - server),
        most: times.iter().copied().fold(0.0, f64::max),
        median: median(times),
        what: format!("{} {path}", method.to_uppercase()),
    })
}

fn ensure_complete(document: &Value, asked: &[Request]) -> anyhow::Result<()> {
    for (path, methods) in document["paths"].as_object().context("the document has paths")? {
        for method in methods.as_object().context("a path has methods")?.keys() {
            let known = |(m, route): (&str, &str)| m == method && route == path;
            let is_asked = asked.iter().any(|(m, route, ..)| known((m, route)));
            if !is_asked && !LEFT_OUT.into_iter().any(known) {
                bail!("{method} {path} is not measured: add it to {}", file!());
            }
        }
    }
    Ok(())
}
