//! Whatever clients without a token hold open, the probes are answered.

use std::time::Duration;

use offtake_tests::{Daemon, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{PROBED_WITHIN, assert_probes_answer};

const ADMIN: &str = "an-admin-token-of-some-length-0000000000000";
const READER: &str = "a-read-token-of-some-length-000000000000000";

async fn connect(daemon: &Daemon) -> TcpStream {
    TcpStream::connect(("127.0.0.1", daemon.port())).await.unwrap()
}

/// Opens so many connections and sends these bytes on each; of an answer, the first bytes are read.
async fn open(daemon: &Daemon, count: usize, bytes: &[u8], read: bool) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..count {
        let mut stream = connect(daemon).await;
        // A connection that was made to give way refuses the bytes, which is fine.
        let _ = tokio::time::timeout(Duration::from_millis(50), stream.write_all(bytes)).await;
        if read {
            let mut some = [0; 64];
            let _ = tokio::time::timeout(PROBED_WITHIN, stream.read(&mut some)).await;
        }
        open.push(stream);
    }
    open
}

#[tokio::test]
async fn probes_are_answered_whatever_others_hold_open() {
    let world = World::with_tenants(["acme"])
        .setting("/http/admin_token", ADMIN)
        .setting("/http/read_token", READER)
        .await;
    let daemon = world.daemon().await;
    let get =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n");
    let probe = get("/livez", "");

    let held = open(&daemon, 200, probe.as_bytes(), true).await;
    assert_probes_answer(&daemon, "200 clients that stay connected").await;
    drop(held);

    let held = open(&daemon, 300, b"", false).await;
    assert_probes_answer(&daemon, "300 clients that say nothing").await;
    drop(held);

    let held = open(&daemon, 300, b"GET /livez HTTP/1.1\r\nHost: 12", false).await;
    assert_probes_answer(&daemon, "300 clients in the middle of their headers").await;
    drop(held);

    let many = probe.repeat(2000);
    let held = open(&daemon, 150, many.as_bytes(), false).await;
    assert_probes_answer(&daemon, "150 clients that read no answers").await;
    drop(held);

    let body = "POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{";
    let held = open(&daemon, 300, body.as_bytes(), false).await;
    assert_probes_answer(&daemon, "300 clients in the middle of a body").await;
    drop(held);

    let listen = get("/api/v1/events", &format!("Authorization: Bearer {READER}\r\n"));
    let held = open(&daemon, 500, listen.as_bytes(), false).await;
    assert_probes_answer(&daemon, "500 event streams").await;
    // Those with the read token take no place of an operator's.
    let listen = get("/api/v1/events", &format!("Authorization: Bearer {ADMIN}\r\n"));
    let mut operator = connect(&daemon).await;
    operator.write_all(listen.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    operator.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    drop((held, operator));

    assert_probes_answer(&daemon, "no client").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_connection_has_a_number_of_requests() {
    let world = World::with_tenants(["acme"]).await;
    let daemon = world.daemon().await;
    let (mut read, mut write) = connect(&daemon).await.into_split();
    let sending = tokio::spawn(async move {
        let probe = "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(12_000);
        let _ = write.write_all(probe.as_bytes()).await;
        write
    });
    let mut answers = Vec::new();
    let _ = read.read_to_end(&mut answers).await;
    let text = String::from_utf8_lossy(&answers);
    let answered = text.matches("HTTP/1.1 200").count();
    assert!((9_000..=10_000).contains(&answered), "{answered}");
    let last = text.rsplit("HTTP/1.1 200").next().unwrap_or_default().to_lowercase();
    assert!(last.contains("connection: close"), "{last}");
    drop(sending.await);
    daemon.stop().await;
}
