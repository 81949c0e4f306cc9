//! Whatever clients without a token hold open, the probes are answered.

use std::net::Ipv4Addr;
use std::time::Duration;

use offtake_private_server::ReservedPort;
use offtake_tests::{Daemon, PATIENCE, World, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

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

/// So many clients of one address, each in the middle of a body, for which the daemon waits ten
/// seconds. They are fewer than an address may have places, and ask for less than it may ask.
async fn keep_busy(daemon: &Daemon, from: Ipv4Addr) -> Vec<TcpStream> {
    let request =
        "POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{";
    let mut open = Vec::new();
    for _ in 0..70 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect((Ipv4Addr::LOCALHOST, daemon.port()).into()).await.unwrap();
        // It is refused where all places are busy already.
        let _ = stream.write_all(request.as_bytes()).await;
        open.push(stream);
    }
    open
}

/// The answer to one request, in lower case; empty where the daemon closes the connection.
async fn answer(port: u16, path: &str) -> String {
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: strange\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).to_lowercase())
    };
    let answer = tokio::time::timeout(PROBED_WITHIN, asking).await;
    answer.unwrap_or_else(|_| panic!("{path} is silent")).unwrap_or_default()
}

/// Clients of the main listener can silence the probes there: no connection on which something is
/// being answered makes room. The listener of the probes has places of its own.
#[tokio::test]
async fn probes_may_have_a_listener_of_their_own() {
    let port = ReservedPort::any().unwrap();
    let listen = format!("127.0.0.1:{}", port.number());
    let world = World::with_tenants(["acme"]).setting("/http/probes", listen).await;
    let daemon = world.daemon().await;
    // A connection whose request the daemon has not read yet makes room for the next one. So a
    // slow machine needs more clients, each time from an address that has not asked yet.
    let mut held = Vec::new();
    let mut addresses = 11..=u8::MAX;
    until("all places of the main listener are busy", PATIENCE, async || {
        let from = Ipv4Addr::new(127, 0, 0, addresses.next().unwrap());
        held.extend(keep_busy(&daemon, from).await);
        let told = answer(daemon.port(), "/livez").await;
        if told.is_empty() { Ok(()) } else { Err(told) }
    })
    .await;
    assert!(answer(port.number(), "/livez").await.ends_with("\r\n\r\nok\n"));
    assert!(answer(port.number(), "/readyz").await.contains(r#""loops":["#));
    // A scrape does not wait for a slow source: what it tells is in a later one.
    until("the metrics have what the source tells", PATIENCE, async || {
        let told = answer(port.number(), "/metrics").await;
        if told.contains("offtake_requests_owed{kind=\"sync\"} ") { Ok(()) } else { Err(told) }
    })
    .await;
    drop(held);
    // It has nothing else, and so needs no token and no loopback name.
    for path in ["/", "/api/v1/status", "/api/v1/events", "/assets/dashboard.js", "/livez/"] {
        let told = answer(port.number(), path).await;
        assert!(told.starts_with("http/1.1 404") && told.contains("problem+json"), "{told}");
        assert!(told.contains("cache-control: no-store"), "{told}");
    }
    until("the main listener answers probes too", PATIENCE, async || {
        let told = answer(daemon.port(), "/livez").await;
        if told.ends_with("\r\n\r\nok\n") { Ok(()) } else { Err(told) }
    })
    .await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_taken_port_of_the_probes_is_told_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let world = World::with_tenants(["acme"]).setting("/http/probes", listen.clone()).await;
    let (code, told) = super::offtake(&world, &["run"]).await;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains(&listen) && told.contains("another http.probes"), "{told}");
}
