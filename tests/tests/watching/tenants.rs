//! Series of tenants: only where an operator wants them, and only for those who may know tenants.

use offtake_private_server::ReservedPort;
use offtake_tests::prometheus::promtool;
use offtake_tests::{Daemon, PATIENCE, Plan, World, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::repository;

const TOKEN: &str = "an-example-token-of-some-length-000000000000";

/// Acme lags, and Globex is in sync.
async fn lagging(plan: Plan) -> (World, Daemon) {
    let world = plan.setting("/metrics/tenants", "worst-1").await;
    let daemon = world.daemon().await;
    world.fill(5).await;
    world.wait_in_step().await;
    let fuse =
        "insert into offtake.fuse (name, enabled, reason) values ('sequencer', false, 'test')";
    world.source.execute(fuse).await;
    daemon.wait_fuse("sequencer", true).await;
    daemon.wait_round("sequencer").await;
    let acme = world.id("acme");
    let change =
        format!("update project_user set display_name = 'changed' where tenancy_id = '{acme}'");
    world.source.execute(&change).await;
    (world, daemon)
}

/// The answer of a port of this machine.
async fn ask(port: u16, headers: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn scrape(daemon: &Daemon, headers: &[(&str, &str)]) -> (u16, String) {
    daemon.request("GET", "/metrics", headers, "").await
}

#[tokio::test]
async fn the_worst_destinations_have_series_where_they_are_asked_for() {
    let (world, daemon) = lagging(World::with_tenants(["acme", "globex"])).await;
    let labels = format!("{{tenant=\"{}\",destination=\"main\"}} ", world.id("acme"));
    let text = until("acme is among the metrics", PATIENCE, async || {
        let (_, text) = scrape(&daemon, &[]).await;
        let lacks = text.lines().find_map(|line| {
            line.strip_prefix("offtake_destination_lag_changes")?.strip_prefix(&labels)
        });
        match lacks.and_then(|count| count.parse::<f64>().ok()) {
            Some(count) if count >= 5.0 => Ok(text),
            _ => Err(text),
        }
    })
    .await;
    for name in ["offtake_destination_lag_seconds", "offtake_destination_failures"] {
        assert!(text.contains(&format!("\n{name}{labels}")), "{name} in {text}");
    }
    assert!(!text.contains(world.id("globex")), "{text}");
    if let Some(checked) = promtool(&["check", "metrics"], &repository("deploy"), &text) {
        assert_eq!(checked, Ok(()));
    }
    // A destination that is in sync again has no series any more.
    world.source.execute("delete from offtake.fuse").await;
    world.wait_in_step().await;
    until("acme is not among them", PATIENCE, async || {
        let (_, text) = scrape(&daemon, &[]).await;
        if text.contains(world.id("acme")) { Err(text) } else { Ok(()) }
    })
    .await;
    daemon.stop().await;
}

#[tokio::test]
async fn metrics_name_tenants_only_to_whom_may_know_them() {
    let port = ReservedPort::any().expect("a free port");
    let probes = port.number();
    let plan = World::with_tenants(["acme"])
        .setting("/http/read_token", TOKEN)
        .setting("/http/probes", format!("127.0.0.1:{probes}"));
    let (world, daemon) = lagging(plan).await;
    let shown = format!("Bearer {TOKEN}");
    until("acme is told to a reader", PATIENCE, async || {
        let (code, text) = scrape(&daemon, &[("Authorization", &shown)]).await;
        if code == 200 && text.contains(world.id("acme")) { Ok(()) } else { Err(text) }
    })
    .await;
    let (code, text) = scrape(&daemon, &[]).await;
    assert!(code == 200 && !text.contains(world.id("acme")), "without a token: {code} {text}");
    let (code, text) = scrape(&daemon, &[("Authorization", "Bearer wrong")]).await;
    assert!(code == 401 && !text.contains("offtake_"), "with a wrong one: {code} {text}");
    let text = ask(probes, &format!("Authorization: {shown}\r\n")).await;
    assert!(text.contains("offtake_") && !text.contains(world.id("acme")), "of the probes: {text}");
    daemon.stop().await;

    // Without configured tokens, a page of another name that leads here is told of no tenant.
    let (world, daemon) = lagging(World::with_tenants(["acme"])).await;
    until("acme is told to this machine", PATIENCE, async || {
        let (_, text) = scrape(&daemon, &[]).await;
        if text.contains(world.id("acme")) { Ok(()) } else { Err(text) }
    })
    .await;
    let (code, text) = scrape(&daemon, &[("Origin", "http://attacker.example")]).await;
    assert!(code == 200 && !text.contains(world.id("acme")), "to a foreign page: {code} {text}");
    daemon.stop().await;
}
