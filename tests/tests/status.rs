//! What the daemon reports over HTTP: never better than the truth, complete, and only to authorised
//! clients.

use std::time::Duration;

use offtake_tests::receiver::Receiver;
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn only_destination(status: &Value) -> &Value {
    assert_eq!(status["destinations"].as_array().map(Vec::len), Some(1), "{status:#}");
    &status["destinations"][0]
}

async fn until_state(daemon: &Daemon, state: &str) -> Value {
    let reached = async || {
        let status = daemon.status().await;
        let destination = only_destination(&status).clone();
        if destination["state"] == state { Ok(status) } else { Err(format!("{destination:#}")) }
    };
    let mut told = Value::Null;
    until(&format!("the state is {state}"), PATIENCE, async || {
        reached().await.map(|status| told = status)
    })
    .await;
    told
}

/// Invariant 8: the state is `in_sync` only if that is true; otherwise it is the worst state that
/// applies.
#[tokio::test]
async fn the_status_never_flatters() {
    let world = World::with_tenants(["acme"]).await;
    let daemon = world.daemon().await;
    world.fill(50).await;
    world.wait_in_step().await;
    let status = until_state(&daemon, "in_sync").await;
    let destination = only_destination(&status);
    assert_eq!(
        (destination["lag_rows"].as_str(), destination["lag_seconds"].as_f64()),
        (Some("0"), Some(0.0)),
        "{destination:#}"
    );
    for mapping in destination["mappings"].as_array().expect("a list") {
        assert_eq!(
            (mapping["backlog"].as_str(), mapping["backfill"]["state"].as_str()),
            (Some("0"), Some("done")),
            "{mapping:#}"
        );
    }
    assert_eq!(status["sync"]["destinations"]["in_sync"], 1, "{status:#}");
    assert_eq!(status["poller"]["owed"], 0, "{status:#}");
    assert!(
        status["mappings"]
            .as_array()
            .is_some_and(|m| m.len() == world.mappings().len() && m[0]["source_table"].is_string()),
        "{status:#}"
    );

    // A change that the sequencer has not seen yet is missing in the copy too.
    world
        .source
        .execute(
            "insert into offtake.fuse (name, enabled, reason) values ('sequencer', false, 'test')",
        )
        .await;
    daemon.wait_fuse("sequencer", true).await;
    daemon.wait_round("sequencer").await;
    world.source.execute("update project_user set display_name = display_name || '!'").await;
    let status = daemon.status().await;
    let destination = only_destination(&status);
    assert_eq!(destination["state"], "lagging", "{destination:#}");
    assert!(
        destination["lag_rows"].as_str().and_then(|n| n.parse::<u64>().ok()) >= Some(50),
        "{destination:#}"
    );
    assert!(destination["lag_seconds"].as_f64() > Some(0.0), "{destination:#}");
    assert_eq!(status["fuses"][0]["enabled"], false, "{status:#}");
    world.source.execute("delete from offtake.fuse").await;
    until_state(&daemon, "in_sync").await;

    let of_destination = "(select destination_id from offtake.destination)";
    world
        .source
        .execute(&format!(
            "insert into offtake.quarantined_row (destination_id, mapping, row_key, sqlstate, error, retry_at)
             values ({of_destination}, 'users', '{{}}', '23514', 'refused', now() + interval '1 hour')"
        ))
        .await;
    assert_eq!(only_destination(&daemon.status().await)["state"], "degraded");
    world.source.execute("insert into offtake.fuse (name, enabled, reason) select format('destination:%s/%s', tenant_id, name), false, 'holiday' from offtake.destination").await;
    let status = daemon.status().await;
    assert_eq!(
        (&only_destination(&status)["state"], &only_destination(&status)["reason"]),
        (&"paused".into(), &"its fuse is off: holiday".into())
    );
    daemon.stop().await;
}

#[tokio::test]
async fn the_lists_are_filtered_sorted_and_paged() {
    let world = World::with_tenants(["acme", "globex", "initech"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let list = async |query: &str| -> Value {
        let (code, body) = daemon.get(&format!("/api/v1/destinations{query}")).await;
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).expect("a list is JSON")
    };
    let tenants = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items");
        items.iter().map(|d| d["tenant"].as_str().expect("a tenant").to_owned()).collect()
    };
    let paged = async |asked: &str| {
        let mut seen = Vec::new();
        let mut query = format!("?{asked}&limit=1");
        loop {
            let page = list(&query).await;
            seen.extend(tenants(&page));
            let Some(next) = page["next"].as_str() else { break seen };
            let after = [('"', "%22"), (',', "%2C"), ('[', "%5B"), (']', "%5D")]
                .into_iter()
                .fold(next.to_owned(), |next, (from, to)| next.replace(from, to));
            query = format!("?{asked}&limit=1&after={after}");
        }
    };
    let seen = paged("sort=lag").await;
    let mut ids: Vec<_> = world.tenants().iter().map(|tenant| tenant.id.clone()).collect();
    ids.sort();
    assert_eq!(seen, ids, "destinations that are equally far behind are ordered by tenant");
    assert_eq!(list("?state=blocked").await["items"], serde_json::json!([]));
    assert_eq!(list(&format!("?tenant={}", ids[1])).await["items"][0]["tenant"], ids[1].as_str());
    // A part of an id is searched for, whatever its case, in pages too.
    let part = ids[1][4..20].to_uppercase();
    assert_eq!(tenants(&list(&format!("?search={part}")).await), ids[1..2]);
    assert_eq!(
        tenants(&list(&format!("?search={part}&sort=state&state=in_sync")).await),
        ids[1..2]
    );
    assert_eq!(tenants(&list(&format!("?search={part}&state=blocked")).await), [""; 0]);
    assert_eq!(paged("search=DESTINATION_").await, ids, "their databases are called so");
    // The worst state first, and those in one state by their tenants.
    world.succeed(&["pause", "--tenant", &ids[2], "--reason", "a test"]).await;
    let worst_first = [&ids[2], &ids[0], &ids[1]].map(String::as_str);
    assert_eq!(paged("sort=state").await, worst_first);
    assert_eq!(paged("sort=state&search=destination_").await, worst_first);
    assert_eq!(paged("sort=state&state=in_sync").await, ids[..2]);
    assert_eq!(daemon.get("/api/v1/destinations?state=fine").await.0, 400);
    assert_eq!(daemon.get("/api/v1/destinations?colour=red").await.0, 400);
    assert_eq!(daemon.get(&format!("/api/v1/destinations/{}/main", ids[0])).await.0, 200);
    assert_eq!(daemon.get(&format!("/api/v1/destinations/{}/other", ids[0])).await.0, 404);
    daemon.stop().await;
}

/// What was in sync when a list began to be read may lag a moment later, and is in the list still.
#[tokio::test]
async fn no_destination_is_missing_from_a_list_while_changes_go_on() {
    let world = World::with_tenants(["acme", "globex", "initech", "umbrella"]).await;
    world.fill(5).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    // Each tenant lags for a moment, and is in sync for a moment.
    let session = world.source.session().await;
    let asking = async {
        for _ in 0..60 {
            let (_, body) = daemon.get("/api/v1/destinations?sort=state").await;
            let page: Value = serde_json::from_str(&body).expect("a list is JSON");
            assert_eq!(page["items"].as_array().map(Vec::len), Some(4), "{page:#}");
        }
    };
    let write = "update team set display_name = display_name || '' where team_id = (select team_id from team order by random() limit 1)";
    offtake_tests::beside(asking, async || {
        session.batch_execute(write).await.expect("the source answers");
        tokio::time::sleep(Duration::from_millis(30)).await;
    })
    .await;
    daemon.stop().await;
}

/// Sends exactly this request; returns everything that came back.
async fn exchange(daemon: &Daemon, request: &str) -> String {
    let mut stream =
        TcpStream::connect(("127.0.0.1", daemon.port())).await.expect("the daemon listens");
    stream.write_all(request.as_bytes()).await.expect("the daemon reads");
    let mut answer = Vec::new();
    // The connection of a refused request may be reset after the answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).to_lowercase()
}

async fn ask(daemon: &Daemon, path: &str, headers: &str) -> String {
    exchange(daemon, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n")).await
}

#[tokio::test]
async fn without_a_token_only_loopback_names_are_answered() {
    let world = World::with_tenants(["acme"]).await;
    let daemon = world.daemon().await;
    let page = ask(&daemon, "/", "Host: localhost\r\n").await;
    assert!(page.starts_with("http/1.1 200"), "{page}");
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(page.contains(header), "{header} in {page}");
    }
    assert!(
        !page.contains("unsafe-inline") && !page.contains("<style") && !page.contains("onclick"),
        "{page}"
    );
    for path in
        ["/assets/dashboard.js", "/assets/dashboard.css", "/assets/offtake.svg", "/api/v1/status"]
    {
        assert!(
            ask(&daemon, path, "Host: 127.0.0.1:80\r\n").await.starts_with("http/1.1 200"),
            "{path}"
        );
        for host in [
            "Host: attacker.example\r\n",
            "Host: localhost.attacker.example\r\n",
            "",
            "Host: localhost\r\nHost: attacker.example\r\n",
        ] {
            assert!(!ask(&daemon, path, host).await.starts_with("http/1.1 200"), "{path} {host}");
        }
    }
    let probe = ask(&daemon, "/livez", "Host: offtake.internal\r\n").await;
    assert!(probe.starts_with("http/1.1 200"), "probes are open: {probe}");
    let long = ask(
        &daemon,
        "/livez",
        &format!("Host: localhost\r\nX-Long: {}\r\n", "x".repeat(64 * 1024)),
    )
    .await;
    assert!(long.starts_with("http/1.1 431"), "{long}");
    let missing = ask(&daemon, "/api/v1/nothing", "Host: localhost\r\n").await;
    assert!(
        missing.starts_with("http/1.1 404")
            && missing.contains("content-type: application/problem+json"),
        "{missing}"
    );
    let method = exchange(
        &daemon,
        "DELETE /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(method.starts_with("http/1.1 405"), "{method}");
    daemon.stop().await;
}

#[tokio::test]
async fn with_a_token_nothing_is_told_without_it() {
    let token = "an-example-token-of-some-length-000000000000";
    let world = World::with_tenants(["acme"]).setting("/http/read_token", token).await;
    let daemon = world.daemon().await;
    for path in ["/api/v1/status", "/api/v1/destinations", "/api/v1/nothing"] {
        for shown in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic x\r\n"] {
            let answer = ask(&daemon, path, &format!("Host: offtake.internal\r\n{shown}")).await;
            assert!(
                answer.starts_with("http/1.1 401") && answer.contains("application/problem+json"),
                "{path}: {answer}"
            );
        }
    }
    let answer = ask(
        &daemon,
        "/api/v1/status",
        &format!("Host: offtake.internal\r\nAuthorization: Bearer {token}\r\n"),
    )
    .await;
    assert!(answer.starts_with("http/1.1 200") && !answer.contains(token), "{answer}");
    for path in ["/", "/livez", "/readyz", "/metrics"] {
        assert!(
            ask(&daemon, path, "Host: offtake.internal\r\n").await.starts_with("http/1.1 200"),
            "{path}"
        );
    }
    daemon.stop().await;
}

/// Dashboards and alerts rely on the metrics of the committed list.
#[tokio::test]
async fn the_metrics_are_the_committed_ones() {
    let mut world = World::with_tenants(["acme"]).await;
    let receiver = Receiver::start().await;
    world.add_webhook("acme", &receiver, json!({}));
    world.configure(|c| {
        c["stores"] = json!({ "disk": { "kind": "disk", "path": "files" } });
        c["exports"] = json!({ "store": "disk" });
    });
    let daemon = world.daemon().await;
    world.fill(10).await;
    world.wait_in_step().await;
    let export = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--wait"];
    world.succeed(&export).await;
    world.source.wait_text("select count(*) > 0 from offtake.webhook_mapping", "t").await;
    // The copy may already have everything, and a latency is measured only for a change. So make
    // one.
    world.source.execute("update project_user set display_name = display_name || '!'").await;
    world.wait_in_step().await;
    // The latency is recorded only after the change is visible.
    until("the metrics are those of tests/tests/status/metrics.txt", PATIENCE, async || {
        let (_, text) = daemon.get("/metrics").await;
        assert!(!text.contains(world.id("acme")), "no tenant in a label");
        let mut told: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("# "))
            .map(|line| line.trim_start_matches("# "))
            .collect();
        told.sort_by_key(|line| {
            line.split_once(' ')
                .map(|(kind, rest)| (rest.split(' ').next().map(str::to_owned), kind))
        });
        let told = told.join("\n");
        if told == include_str!("status/metrics.txt").trim_end() { Ok(()) } else { Err(told) }
    })
    .await;
    daemon.stop().await;
}
