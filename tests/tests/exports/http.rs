//! Exports over HTTP: what a program asks for, and files that curl fetches.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use offtake_tests::tools::succeed;
use offtake_tests::{Daemon, PATIENCE, World, until};
use serde_json::{Value, json};

use crate::folder;

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.name from public.item i
target: { table: items }
";

const ADMIN: &str = "the-admin-token-of-the-tests";
const READER: &str = "the-read-token-of-the-tests";

/// What the HTTP library answers by itself to a request that it cannot read. The daemon sends a
/// better answer in its place, and must not mistake a row for it.
const LIBRARYS_ANSWER: &str = "HTTP/1.1 400 Bad Request\\r\\nconnection: close\\r\\ncontent-length: 0\\r\\n\
                               date: Sat, 28 Nov 2026 09:00:00 GMT\\r\\n\\r\\n";

/// A store is read in pieces of so many bytes.
const PIECE: usize = 256 << 10;

/// 2000 rows and one before them, with which the first piece of the file ends like an answer of the
/// library.
async fn world() -> World {
    let world = World::with_tenants(["acme", "globex"])
        .without_init()
        .mappings(&[("items", ITEMS)])
        .setting("/stores", json!({ "disk": { "kind": "disk", "path": "files" } }))
        .setting(
            "/exports",
            json!({ "store": "disk", "chunk_rows": 500, "pause": "1ms", "queue": 2 }),
        )
        .setting("/http/admin_token", ADMIN)
        .setting("/http/read_token", READER)
        .await;
    let fill = format!(
        "insert into item select '{{tenant}}', n, repeat(md5(n::text), 12) from generate_series(1, 2000) n;
         insert into item
         select '{{tenant}}', 0, repeat('x', {PIECE} - 3 - length(trap)) || trap || 'the rest'
           from (values (E'{LIBRARYS_ANSWER}')) t (trap)"
    );
    world.with_items("name text", &fill).await;
    world
}

async fn ask(daemon: &Daemon, method: &str, path: &str, body: &Value) -> (u16, Value) {
    ask_as(daemon, ADMIN, method, path, body).await
}

async fn ask_as(
    daemon: &Daemon,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    let path = format!("/api/v1{path}");
    let (code, text) = daemon.request(method, &path, &headers, &body).await;
    (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn wait_state(daemon: &Daemon, id: &str, wanted: &str) -> Value {
    until(&format!("{id} is {wanted}"), PATIENCE, async || {
        let (_, told) =
            ask_as(daemon, READER, "GET", &format!("/exports/{id}"), &Value::Null).await;
        if told["state"] == wanted { Ok(told) } else { Err(told.to_string()) }
    })
    .await
}

/// What curl was answered.
struct Answered {
    code: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// Runs curl with these arguments.
fn curl(arguments: &[&str]) -> Answered {
    let folder = tempfile::tempdir().unwrap();
    let (head, body) = (folder.path().join("head"), folder.path().join("body"));
    let mut command = Command::new("curl");
    command.args(["-sS", "-m", "20", "-D"]).arg(&head).arg("-o").arg(&body).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let head = std::fs::read_to_string(head).unwrap();
    let mut lines = head.lines();
    let code = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    Answered {
        code,
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: std::fs::read(body).unwrap_or_default(),
    }
}

fn sha256(file: &Path) -> String {
    let (told, _) = succeed(Command::new("sha256sum").arg(file));
    told.split(' ').next().unwrap().to_owned()
}

/// The state of an export that a daemon works on soon, or does already.
fn begun(state: &Value) -> bool {
    [json!("accepted"), json!("processing")].contains(state)
}

/// Asks for an export, and for others that cannot be, while a daemon is held in the middle.
async fn asked_for(daemon: &Daemon, world: &World) -> String {
    let acme = world.id("acme");
    let wish = |change: &Value| {
        let mut wish = json!({ "tenant": acme, "format": "csv", "compression": "none" });
        wish.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        wish
    };
    for (change, code, says) in [
        (json!({ "format": "xml" }), 400, "expected one of `csv`, `ndjson`, `json`, `sql`"),
        (json!({ "format": null }), 400, "csv, ndjson, json or sql"),
        (json!({ "compression": "lzma" }), 400, "expected `gzip` or `none`"),
        (json!({ "state": true }), 400, "`format` must be sql"),
        (json!({ "inserts": true }), 400, "`format` must be sql"),
        (json!({ "inserts": true, "state": true, "format": "sql" }), 400, "leave one out"),
        (json!({ "chunk_rows": 0 }), 400, "from 1 to 10000000"),
        (json!({ "path": "/etc" }), 400, "unknown field"),
        (json!({ "tenant": "nobody" }), 404, "no mapping has a row of the tenant nobody"),
        (json!({ "mappings": ["itemz"] }), 404, "the mappings are: items"),
        (json!({ "store": "../disk" }), 404, "the stores are: disk"),
    ] {
        let (found, told) = ask(daemon, "POST", "/exports", &wish(&change)).await;
        assert_eq!(found, code, "{change}: {told}");
        assert!(told["detail"].as_str().unwrap().contains(says), "{told}");
    }
    let (code, _) = ask_as(daemon, READER, "POST", "/exports", &wish(&json!({}))).await;
    assert_eq!(code, 403);
    assert_eq!(world.source.query_text("select count(*) from offtake.job").await, "0");

    // A client that sends its request again has the first answer.
    let url = format!("http://127.0.0.1:{}/api/v1/exports", daemon.port());
    let send = |key: &str, wish: &Value| {
        let authorization = format!("Authorization: Bearer {ADMIN}");
        let key = format!("Idempotency-Key: {key}");
        let kind = "Content-Type: application/json";
        curl(&["-H", &authorization, "-H", &key, "-H", kind, "--data", &wish.to_string(), &url])
    };
    let first = send("one", &wish(&json!({})));
    let made: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(first.code, 202, "{made}");
    assert!(begun(&made["state"]), "{made}");
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(first.headers["location"], format!("/api/v1/exports/{id}"));
    let again: Value = serde_json::from_slice(&send("one", &wish(&json!({}))).body).unwrap();
    assert_eq!(again["id"], made["id"]);
    assert_eq!(send("one", &wish(&json!({ "format": "json" }))).code, 422);
    assert_eq!(world.source.query_text("select count(*) from offtake.job").await, "1");

    let (code, told) = ask(daemon, "POST", "/exports", &wish(&json!({}))).await;
    assert_eq!((code, &told["id"]), (409, &made["id"]), "{told}");
    // `exports.queue` is 2.
    let other = "insert into offtake.job (public_id, kind, tenant_id, store)
                 values ('exp_20261128-031300_k7f3a2', 'export', 'another', 'elsewhere')";
    world.source.execute(other).await;
    let full = send("two", &json!({ "tenant": world.id("globex"), "format": "csv" }));
    assert_eq!((full.code, full.headers["retry-after"].as_str()), (429, "60"));
    world.source.execute("delete from offtake.job where tenant_id = 'another'").await;
    asked_twice_at_once(daemon, world).await;
    id
}

/// Of requests that are in flight at the same time: two with one key make one export. The same
/// request has its answer; one for another tenant, of whom no export goes on, is told that the key
/// is used. And the last place of the queue is given once.
async fn asked_twice_at_once(daemon: &Daemon, world: &World) {
    let globex = world.id("globex");
    // No daemon takes them.
    let fuses = format!(
        "insert into offtake.fuse (name, enabled)
         values ('tenant:{globex}', false), ('tenant:initech', false)"
    );
    world.source.execute(&fuses).await;
    world.source.execute("insert into item values ('initech', 1, 'one')").await;
    for (other, keys, code, says) in [
        (globex, ["at once", "at once"], 202, ""),
        ("initech", ["at once", "at once"], 422, "another request"),
        ("initech", ["one place", "another"], 429, "2 exports wait"),
    ] {
        let [one, other] =
            in_the_same_instant(daemon, world, [(globex, keys[0]), (other, keys[1])]).await;
        assert_eq!((one.0, other.0), (202, code), "{} {}", one.1, other.1);
        match code {
            202 => assert_eq!(other.1["id"], one.1["id"]),
            _ => assert!(other.1["detail"].as_str().unwrap().contains(says), "{}", other.1),
        }
        let made = format!("from offtake.job where tenant_id in ('{globex}', 'initech')");
        assert_eq!(world.source.query_text(&format!("select count(*) {made}")).await, "1");
        world.source.execute(&format!("delete {made}")).await;
    }
    world.source.execute("delete from offtake.fuse").await;
}

/// Asks for an export of each tenant with its key. The second request goes as far as it can before
/// the first one can record its export.
async fn in_the_same_instant(
    daemon: &Daemon,
    world: &World,
    [one, other]: [(&str, &str); 2],
) -> [(u16, Value); 2] {
    let holder = world.source.connect().await;
    let lock = "begin; lock table offtake.job in share mode";
    holder.batch_execute(lock).await.unwrap();
    let waiting = "select count(*) from pg_stat_activity
                    where datname = current_database() and wait_event_type = 'Lock'
                      and query ~ 'insert into offtake.job|pg_advisory_xact_lock'";
    let authorization = format!("Bearer {ADMIN}");
    let post = async |(tenant, key)| {
        let headers = [("Authorization", authorization.as_str()), ("Idempotency-Key", key)];
        let wish = json!({ "tenant": tenant, "format": "csv" }).to_string();
        let (code, told) = daemon.request("POST", "/api/v1/exports", &headers, &wish).await;
        (code, serde_json::from_str::<Value>(&told).unwrap())
    };
    let other = async {
        world.source.wait_text(waiting, "1").await;
        post(other).await
    };
    let release = async {
        world.source.wait_text(waiting, "2").await;
        holder.batch_execute("rollback").await.unwrap();
    };
    let (one, other, ()) = tokio::join!(post(one), other, release);
    [one, other]
}

/// One daemon, from the request to the end of the files.
#[tokio::test]
async fn a_program_asks_for_an_export_and_curl_fetches_it() {
    let world = world().await;
    let mut daemon = world.spawn_daemon_with_failpoints(&[("export.before_chunk", "1*off->pause")]);
    daemon.allow("http.wrong_tokens");
    daemon.wait_ready().await;
    let id = asked_for(&daemon, &world).await;
    let (of, none) = (format!("/exports/{id}"), Value::Null);
    daemon.wait_at_failpoint("export.before_chunk", 1).await;
    for path in ["/manifest", "/files/items.csv"] {
        let (code, told) = ask(&daemon, "GET", &format!("{of}{path}"), &none).await;
        assert_eq!(code, 409, "{told}");
        assert!(told["detail"].as_str().unwrap().contains("processing"), "{told}");
    }
    assert_eq!(ask(&daemon, "POST", &format!("{of}/links"), &none).await.0, 409);
    assert_eq!(ask(&daemon, "DELETE", &of, &none).await.0, 409);
    assert_eq!(ask(&daemon, "POST", &format!("{of}/resume"), &none).await.0, 409);
    let (code, told) = ask(&daemon, "POST", &format!("{of}/cancel"), &none).await;
    assert_eq!(code, 202, "{told}");
    daemon.clear_failpoints().await;
    wait_state(&daemon, &id, "cancelled").await;
    let days = "update offtake.job set started_at = started_at - interval '3 days',
                       finished_at = finished_at - interval '3 days'";
    world.source.execute(days).await;
    let (code, told) = ask(&daemon, "POST", &format!("{of}/resume"), &none).await;
    assert_eq!(code, 202, "{told}");
    assert!(begun(&told["state"]), "{told}");
    let told = wait_state(&daemon, &id, "completed").await;
    let (progress, file) = (&told["progress"], &told["files"][0]);
    assert_eq!((&progress["percent"], &progress["rows_done"]), (&json!(100), &json!(2001)));
    // The days in which it was cancelled do not count.
    assert!(progress["rows_per_second"].as_f64().unwrap() >= 1.0, "{told}");
    assert_eq!((&file["name"], &file["rows"]), (&json!("items.csv"), &json!(2001)), "{told}");

    for path in ["/manifest", "/files/items.csv"] {
        let (code, told) = ask_as(&daemon, READER, "GET", &format!("{of}{path}"), &none).await;
        assert_eq!(code, 403, "{told}");
        assert_eq!(daemon.get(&format!("/api/v1{of}{path}")).await.0, 401);
    }
    let (_, manifest) = ask(&daemon, "GET", &format!("{of}/manifest"), &none).await;
    assert_eq!(manifest["files"][0]["sha256"], file["sha256"], "{manifest}");
    let (code, told) =
        ask(&daemon, "GET", &format!("{of}/files/..%2Fmanifest.a1.json"), &none).await;
    assert_eq!(code, 404, "{told}");
    let pages = ask_as(&daemon, READER, "GET", "/exports?state=completed&limit=1", &none).await;
    assert_eq!((&pages.1["items"][0]["id"], &pages.1["next"]), (&json!(id), &Value::Null));

    let bytes = fetched(&daemon, &world, &id, file);
    ranges(&daemon, &id, &bytes);
    linked(&daemon, &id, &bytes).await;

    world.source.execute("update offtake.job set state = 'expired', files = null").await;
    for path in ["/manifest", "/files/items.csv"] {
        assert_eq!(ask(&daemon, "GET", &format!("{of}{path}"), &none).await.0, 410);
    }
    let (code, told) = ask(&daemon, "DELETE", &of, &none).await;
    assert_eq!((code, &told["deleted"]), (200, &json!(true)), "{told}");
    assert!(!world.folder().join("files").join(&id).exists());
    for id in [id.as_str(), "x", "..%2Fx"] {
        assert_eq!(ask(&daemon, "GET", &format!("/exports/{id}"), &none).await.0, 404);
    }
    daemon.stop().await;
}

/// The port of a network that breaks: a connection carries one request, and so many bytes of its
/// answer.
fn breaking_network(server: u16, bytes: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            // curl sends a request as one piece.
            let mut request = vec![0; 16 << 10];
            let read = client.read(&mut request).unwrap();
            server.write_all(&request[..read]).unwrap();
            // curl may be gone.
            drop(std::io::copy(&mut server.take(bytes), &mut client));
        }
    });
    port
}

/// Fetches the file with curl, in spite of the network.
fn fetched(daemon: &Daemon, world: &World, id: &str, file: &Value) -> Vec<u8> {
    let port = breaking_network(daemon.port(), 300_000);
    let url = format!("http://127.0.0.1:{port}/api/v1/exports/{id}/files/items.csv");
    let to = folder(world, "fetched.csv");
    let mut attempts = 0;
    loop {
        attempts += 1;
        assert!(attempts < 20);
        let mut command = Command::new("curl");
        command.args(["-sS", "-m", "20", "--fail", "-C", "-", "-o"]).arg(&to);
        command.args(["-H", &format!("Authorization: Bearer {ADMIN}"), &url]);
        if command.output().unwrap().status.success() {
            break;
        }
    }
    assert!(attempts > 2, "the download was cut");
    let bytes = std::fs::read(&to).unwrap();
    assert_eq!(bytes.len(), file["size"], "{file}");
    assert_eq!(sha256(&to), file["sha256"], "{file}");
    bytes
}

/// Ranges and conditions; what the module's own tests say of the headers is not repeated.
fn ranges(daemon: &Daemon, id: &str, bytes: &[u8]) {
    let url = format!("http://127.0.0.1:{}/api/v1/exports/{id}/files/items.csv", daemon.port());
    let authorization = format!("Authorization: Bearer {ADMIN}");
    let ask = |more: &[&str]| curl(&[&["-H", &authorization, &url], more].concat());
    let whole = ask(&[]);
    assert_eq!((whole.code, whole.body.as_slice()), (200, bytes));
    let header = |name: &str| whole.headers.get(name).map(String::as_str);
    assert_eq!(header("content-length"), Some(bytes.len().to_string().as_str()));
    assert_eq!(header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(header("accept-ranges"), Some("bytes"));
    assert_eq!(header("content-disposition"), Some("attachment; filename=\"items.csv\""));
    assert_eq!(header("cache-control"), Some("no-store"));
    assert_eq!(header("content-encoding"), None);
    assert!(header("repr-digest").unwrap().starts_with("sha-256=:"));
    let etag = header("etag").unwrap();
    assert!(etag.starts_with('"') && etag.len() == 66, "{etag}");

    let part = ask(&["-r", "262140-262149"]);
    assert_eq!((part.code, part.body.as_slice()), (206, &bytes[262_140..262_150]));
    assert_eq!(part.headers["content-range"], format!("bytes 262140-262149/{}", bytes.len()));
    let last = ask(&["-r", "-7", "-H", &format!("If-Range: {etag}")]);
    assert_eq!((last.code, last.body.as_slice()), (206, &bytes[bytes.len() - 7..]));
    assert_eq!(ask(&["-r", "3-9", "-H", "If-Range: \"another\""]).body, bytes);
    let behind = ask(&["-r", "99999999-"]);
    assert_eq!(
        (behind.code, behind.headers["content-type"].as_str()),
        (416, "application/problem+json")
    );
    assert_eq!(behind.headers["content-range"], format!("bytes */{}", bytes.len()));
    assert_eq!(ask(&["-H", &format!("If-None-Match: {etag}")]).code, 304);
    let head = ask(&["-I"]);
    assert_eq!((head.code, &head.headers["content-length"]), (200, &bytes.len().to_string()));
    assert_eq!(head.headers["etag"], etag);
}

/// A link opens one file for a while, and nothing else.
async fn linked(daemon: &Daemon, id: &str, bytes: &[u8]) {
    let server = format!("http://127.0.0.1:{}", daemon.port());
    let of = format!("/exports/{id}/links");
    assert_eq!(ask_as(daemon, READER, "POST", &of, &json!({})).await.0, 403);
    for wrong in ["8d", "0s", "soon"] {
        let (code, told) = ask(daemon, "POST", &of, &json!({ "for": wrong })).await;
        assert_eq!(code, 400, "{told}");
    }
    let (code, told) = ask(daemon, "POST", &of, &json!({ "for": "1h" })).await;
    assert_eq!((code, &told["items"][0]["name"]), (200, &json!("items.csv")), "{told}");
    let link = format!("{server}{}", told["items"][0]["url"].as_str().unwrap());
    let fetched = curl(&["-r", "0-99", &link]);
    assert_eq!((fetched.code, fetched.body.as_slice()), (206, &bytes[..100]));
    assert_eq!(curl(&["-X", "POST", &link]).code, 405);
    for tampered in [
        link.replace("items.csv", "items.csw"),
        link.replace("until=1", "until=2"),
        link.replace("signature=", "signature=A"),
        link.split("&signature").next().unwrap().to_owned(),
        link.replace(&format!("{id}/files/items.csv"), &format!("{id}/manifest")),
    ] {
        let refused = curl(&[&tampered]);
        assert!([401, 403].contains(&refused.code), "{tampered}: {}", refused.code);
    }
    let (_, told) = ask(daemon, "POST", &of, &json!({ "for": "1s" })).await;
    let link = format!("{server}{}", told["items"][0]["url"].as_str().unwrap());
    until("the link has ended", PATIENCE, async || match curl(&["-r", "0-0", &link]) {
        Answered { code: 403, body, .. } => {
            assert!(String::from_utf8(body).unwrap().contains("this link opened the file until"));
            Ok(())
        }
        other => Err(other.code.to_string()),
    })
    .await;
}
