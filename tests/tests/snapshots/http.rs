//! Snapshots over HTTP: asked for, fetched by curl, read to the end, deleted.

use std::process::Command;

use offtake_tests::tools::succeed;
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};

use super::Snapshots;

const ADMIN: &str = "the-admin-token-of-the-tests";
const READER: &str = "the-read-token-of-the-tests";

async fn ask(daemon: &Daemon, token: &str, request: &str, body: &Value) -> (u16, Value) {
    let (method, path) = request.split_once(' ').unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    let (code, text) = daemon.request(method, &format!("/api/v1{path}"), &headers, &body).await;
    (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn wait_state(daemon: &Daemon, id: &str, wanted: &str) -> Value {
    let one = format!("GET /snapshots/{id}");
    until(&format!("{id} is {wanted}"), PATIENCE, async || {
        let (_, told) = ask(daemon, READER, &one, &Value::Null).await;
        if told["state"] == wanted { Ok(told) } else { Err(told.to_string()) }
    })
    .await
}

#[tokio::test]
async fn a_program_asks_for_a_snapshot_and_curl_fetches_it() {
    let plan = World::with_tenants(["acme", "globex"])
        .setting("/http/admin_token", ADMIN)
        .setting("/http/read_token", READER);
    let snapshots = Snapshots::planned(plan).await;
    let world = &snapshots.world;
    let daemon = world.spawn_daemon_with_failpoints(&[("snapshot.before_card", "1*off->pause")]);
    let mut daemon = daemon;
    daemon.wait_ready().await;
    let acme = world.id("acme");

    // What cannot be, and who may not.
    for (wish, code, says) in [
        (json!({}), 400, "say the `tenant`"),
        (json!({ "tenant": acme, "path": "/etc" }), 400, "unknown field"),
        (
            json!({ "tenant": acme, "kind": "source", "mappings": ["items"] }),
            400,
            "leave out `mappings`",
        ),
        (json!({ "tenant": "nobody" }), 404, "no mapping has a row of the tenant nobody"),
        (json!({ "tenant": acme, "mappings": ["itemz"] }), 404, "the mappings are: items, others"),
        (json!({ "tenant": acme, "store": "../disk" }), 404, "the stores are: disk"),
    ] {
        let (found, told) = ask(&daemon, ADMIN, "POST /snapshots", &wish).await;
        assert_eq!(found, code, "{wish}: {told}");
        assert!(told["detail"].as_str().unwrap().contains(says), "{told}");
    }
    let wish = json!({ "tenant": acme });
    assert_eq!(ask(&daemon, READER, "POST /snapshots", &wish).await.0, 403);
    for missing in ["snap_20261128-031300_aaaaaa", "snap", "..%2f..%2fetc"] {
        let (code, told) =
            ask(&daemon, ADMIN, &format!("GET /snapshots/{missing}"), &Value::Null).await;
        assert_eq!(code, 404, "{missing}: {told}");
    }

    // One is made; of a second at the same time, the first is told.
    let (code, first) = ask(&daemon, ADMIN, "POST /snapshots", &wish).await;
    // A daemon may have claimed it already.
    assert_eq!(code, 202, "{first}");
    assert!([json!("accepted"), json!("processing")].contains(&first["state"]), "{first}");
    let first = wait_state(&daemon, first["id"].as_str().unwrap(), "completed").await;
    let (_, second) = ask(&daemon, ADMIN, "POST /snapshots", &wish).await;
    let second = second["id"].as_str().unwrap().to_owned();
    daemon.wait_at_failpoint("snapshot.before_card", 1).await;
    let (code, told) = ask(&daemon, ADMIN, "POST /snapshots", &wish).await;
    assert_eq!((code, told["id"].as_str()), (409, Some(second.as_str())), "{told}");
    // An administrator cannot fetch one that is not complete. Once it is deleted, the daemon makes
    // it no more.
    let file = |id: &str| format!("GET /snapshots/{id}/archive");
    assert_eq!(ask(&daemon, ADMIN, &file(&second), &Value::Null).await.0, 409);
    let delete = |id: &str| format!("DELETE /snapshots/{id}");
    assert_eq!(ask(&daemon, ADMIN, &delete(&second), &Value::Null).await.0, 200);
    daemon.clear_failpoints().await;
    wait_state(&daemon, &second, "cancelled").await;
    assert!(!snapshots.archive(&second).exists() && !snapshots.file(&second, ".json").exists());

    // The file is the command's too.
    let id = first["id"].as_str().unwrap();
    assert_eq!(first["archive"]["rows"], 210, "{first}");
    snapshots.run(&["validate", id]).await.assert_says(0, &["210 rows"]);
    let valid = ask(&daemon, ADMIN, &format!("POST /snapshots/{id}/validate"), &json!({})).await;
    assert_eq!((valid.0, &valid.1["rows"]), (200, &json!(210)), "{valid:?}");
    assert_eq!(ask(&daemon, READER, &file(id), &Value::Null).await.0, 403, "a row is no status");
    let there = std::fs::read(snapshots.archive(id)).unwrap();
    let fetched = world.folder().join("fetched.tar.zst");
    let link = format!("POST /snapshots/{id}/links");
    let (code, links) = ask(&daemon, ADMIN, &link, &json!({ "for": "5m" })).await;
    assert_eq!((code, &links["items"][0]["name"]), (200, &json!(format!("{id}.tar.zst"))));
    let url =
        format!("http://127.0.0.1:{}{}", daemon.port(), links["items"][0]["url"].as_str().unwrap());
    // A download that was cut goes on.
    std::fs::write(&fetched, &there[..there.len() / 2]).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-fsS", "-m", "20", "-C", "-", "-o"]).arg(&fetched).arg(&url);
    succeed(&mut curl);
    assert_eq!(std::fs::read(&fetched).unwrap(), there);
    let mut wrong = Command::new("curl");
    wrong.args(["-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}"]);
    daemon.allow("http.wrong_tokens");
    let told = succeed(wrong.arg(url.replace(id, &second))).0;
    assert_eq!(told, "403", "a link opens one file");

    // The application's own rows are asked for in the same way.
    let wish = json!({ "tenant": world.id("globex"), "kind": "source" });
    let (code, own) = ask(&daemon, ADMIN, "POST /snapshots", &wish).await;
    assert_eq!((code, &own["kind"]), (202, &json!("source")), "{own}");
    let own = wait_state(&daemon, own["id"].as_str().unwrap(), "completed").await;
    assert_eq!(own["archive"]["tables"][0]["mapping"], "public.item", "{own}");
    snapshots.run(&["validate", own["id"].as_str().unwrap()]).await.assert_says(0, &["210 rows"]);
    let own = format!("DELETE /snapshots/{}", own["id"].as_str().unwrap());
    assert_eq!(ask(&daemon, ADMIN, &own, &Value::Null).await.0, 200);

    // A request that is sent again has the first answer, and the token fetches a range of the file.
    let wish = json!({ "tenant": world.id("globex") }).to_string();
    let token = format!("Authorization: Bearer {ADMIN}");
    let (name, value) = token.split_once(": ").unwrap();
    let once = [(name, value), ("Idempotency-Key", "once"), ("Content-Type", "application/json")];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (code, told) = daemon.request("POST", "/api/v1/snapshots", &once, &wish).await;
        assert_eq!(code, 202, "{told}");
        let told: Value = serde_json::from_str(&told).unwrap();
        ids.push(told["id"].as_str().unwrap().to_owned());
        wait_state(&daemon, &ids[0], "completed").await;
    }
    assert_eq!(ids[0], ids[1]);
    let archive = format!("http://127.0.0.1:{}/api/v1/snapshots/{}/archive", daemon.port(), ids[0]);
    let range = world.folder().join("range");
    let mut curl = Command::new("curl");
    curl.args(["-fsS", "-m", "20", "-r", "10-19", "-H", &token, "-o"]).arg(&range).arg(archive);
    succeed(&mut curl);
    let whole = std::fs::read(snapshots.archive(&ids[0])).unwrap();
    assert_eq!(std::fs::read(&range).unwrap(), whole[10..20]);
    assert_eq!(ask(&daemon, ADMIN, &delete(&ids[0]), &Value::Null).await.0, 200);

    // What a command makes and deletes is told, page by page.
    let made = snapshots.make("globex").await;
    let (_, page) =
        ask(&daemon, READER, "GET /snapshots?state=completed&limit=1", &Value::Null).await;
    assert_eq!(page["items"][0]["id"], made.as_str(), "{page}");
    let next = page["next"].as_str().unwrap();
    let rest = format!("GET /snapshots?state=completed&after={next}");
    let (_, page) = ask(&daemon, READER, &rest, &Value::Null).await;
    assert_eq!((&page["items"][0]["id"], &page["next"]), (&json!(id), &Value::Null), "{page}");
    snapshots.run(&["delete", &made, "--yes"]).await.assert_says(0, &["deleted"]);
    wait_state(&daemon, &made, "expired").await;

    // A file that was damaged is told, and one that is deleted is gone.
    let mut damaged = there.clone();
    damaged[there.len() / 2] ^= 4;
    std::fs::write(snapshots.archive(id), damaged).unwrap();
    let valid = ask(&daemon, ADMIN, &format!("POST /snapshots/{id}/validate"), &json!({})).await;
    assert_eq!(valid.0, 422, "{valid:?}");
    // It is completed while it is being deleted: the request has read an earlier state.
    let state = |state: &str| {
        format!(
            "update offtake.job set state = '{state}', not_before = 'infinity' where public_id = '{id}'"
        )
    };
    world.source.execute(&state("processing")).await;
    let holder = world.source.connect().await;
    holder.batch_execute(&format!("begin; {}", state("completed"))).await.unwrap();
    let complete = async {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database()
                       and wait_event_type = 'Lock' and query like '%update offtake.job%'";
        world.source.wait_text(waiting, "1").await;
        holder.batch_execute("commit").await.unwrap();
    };
    let deleting = delete(id);
    let (deleted, ()) = tokio::join!(ask(&daemon, ADMIN, &deleting, &Value::Null), complete);
    assert_eq!(deleted.0, 200, "{deleted:?}");
    assert!(!snapshots.archive(id).exists() && !snapshots.file(id, ".json").exists());
    assert_eq!(ask(&daemon, ADMIN, &file(id), &Value::Null).await.0, 410);
    wait_state(&daemon, id, "expired").await;
    daemon.stop().await;
}
