//! S20, S22: wrong tokens and requests are limited, and a stranger's requests do not use up the
//! limits of clients with a valid token.

#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::time::Instant;

use offtake_tests::{Daemon, PATIENCE, World, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const ADMIN: &str = "an-admin-token-of-some-length-0000000000000";
const READER: &str = "a-read-token-of-some-length-000000000000000";

const OPERATOR: Ipv4Addr = Ipv4Addr::LOCALHOST;
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
const NEWCOMER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// `crates/admin/src/http/limits.rs`.
const WRONG_TOKENS: usize = 30;
const ADMITTED: usize = 400;
const ANONYMOUS: usize = 100;

/// A connection to the daemon from that address of this machine.
async fn connect(daemon: &Daemon, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, daemon.port()).into()).await.unwrap()
}

/// Sends the request several times, one after another, on one connection. Returns the heads of the
/// answers in lower case.
async fn ask_often(
    daemon: &Daemon,
    from: Ipv4Addr,
    path: &str,
    token: Option<&str>,
    times: usize,
) -> Vec<String> {
    let token =
        token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = |last: bool| {
        let close = if last { "Connection: close\r\n" } else { "" };
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{close}{token}\r\n", daemon.port())
    };
    let (mut read, mut write) = connect(daemon, from).await.into_split();
    let requests: String = (1..=times).map(|n| request(n == times)).collect();
    let send = async move {
        write.write_all(requests.as_bytes()).await.unwrap();
        write
    };
    let mut answers = Vec::new();
    let (_open, received) = tokio::join!(send, read.read_to_end(&mut answers));
    received.unwrap();
    let text = String::from_utf8_lossy(&answers).to_lowercase();
    let answers: Vec<String> = text
        .split("http/1.1 ")
        .skip(1)
        .map(|a| a.split("\r\n\r\n").next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(answers.len(), times);
    answers
}

async fn ask(daemon: &Daemon, from: Ipv4Addr, path: &str, token: Option<&str>) -> String {
    ask_often(daemon, from, path, token, 1).await.remove(0)
}

fn count(answers: &[String], code: &str) -> usize {
    answers.iter().filter(|answer| answer.starts_with(code)).count()
}

/// Checks that the answer is 429 and says after how many seconds to try again.
fn assert_put_off(answer: &str) {
    let again = answer
        .lines()
        .find_map(|line| line.strip_prefix("retry-after: "))
        .and_then(|text| text.parse::<u64>().ok());
    assert!(
        answer.starts_with("429") && again.is_some_and(|seconds| (1..=60).contains(&seconds)),
        "{answer}"
    );
    assert!(answer.contains("application/problem+json"), "{answer}");
}

/// Opens the event stream of the live dashboard.
async fn follow(daemon: &Daemon, token: &str) -> TcpStream {
    let mut stream = connect(daemon, OPERATOR).await;
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    events(&mut stream, 1).await;
    stream
}

async fn events(stream: &mut TcpStream, wanted: usize) {
    let reading = async {
        let (mut text, mut piece) = (Vec::new(), [0; 4096]);
        while String::from_utf8_lossy(&text).matches("event: status").count() < wanted {
            let read = stream.read(&mut piece).await.unwrap();
            assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&piece[..read]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("events go on");
}

async fn assert_operator_not_hindered(daemon: &Daemon, dashboard: &mut TcpStream) {
    events(dashboard, 2).await;
    for token in [READER, ADMIN] {
        assert_eq!(
            count(&ask_often(daemon, OPERATOR, "/api/v1/fuses", Some(token), 20).await, "200"),
            20
        );
    }
    for path in ["/livez", "/readyz", "/metrics", "/"] {
        assert_eq!(count(&ask_often(daemon, OPERATOR, path, None, 20).await, "200"), 20, "{path}");
    }
}

#[tokio::test]
async fn wrong_tokens_are_limited_and_shut_nobody_out() {
    let world = World::with_tenants(["acme"])
        .setting("/http/admin_token", ADMIN)
        .setting("/http/read_token", READER)
        .await;
    world.allow("http.wrong_tokens");
    let daemon = world.daemon().await;
    let mut dashboard = follow(&daemon, READER).await;
    let began = Instant::now();

    let answers =
        ask_often(&daemon, STRANGER, "/api/v1/status", Some("a-guess"), WRONG_TOKENS * 3).await;
    let refused = count(&answers, "401");
    assert!((WRONG_TOKENS..WRONG_TOKENS * 2).contains(&refused), "{refused}");
    assert_put_off(answers.iter().find(|answer| answer.starts_with("429")).unwrap());
    assert_operator_not_hindered(&daemon, &mut dashboard).await;
    // Clients at other addresses still have all their tries.
    assert!(ask(&daemon, NEWCOMER, "/api/v1/fuses", Some(READER)).await.starts_with("200"));

    // A client that has guessed too often does not learn that a guess is right. A client that waits
    // as told does.
    let mut put_off = 0;
    for last in 20..=250 {
        if put_off == 3 {
            break;
        }
        let guesser = Ipv4Addr::new(127, 0, 0, last);
        let wrong =
            ask_often(&daemon, guesser, "/api/v1/fuses", Some("a-guess"), WRONG_TOKENS * 2).await;
        assert!(count(&wrong, "429") > 0, "{wrong:?}");
        let right = ask(&daemon, guesser, "/api/v1/fuses", Some(READER)).await;
        // One more try is granted every two seconds, and that may have been just now.
        if !right.starts_with("200") {
            assert_put_off(&right);
            put_off += 1;
        }
    }
    assert_eq!(put_off, 3, "so many of 231");
    assert!(
        ask(&daemon, STRANGER, "/api/v1/fuses", None).await.starts_with("401"),
        "nothing was guessed"
    );
    until("the right token is let in", PATIENCE, async || {
        let answer = ask(&daemon, STRANGER, "/api/v1/fuses", Some(READER)).await;
        if answer.starts_with("200") { Ok(()) } else { Err(answer) }
    })
    .await;

    // A script with yesterday's token that runs at the operator's own address does not lock the
    // operator out.
    let wrong =
        ask_often(&daemon, OPERATOR, "/api/v1/fuses", Some("yesterday's"), WRONG_TOKENS * 2).await;
    assert!(count(&wrong, "429") > 0, "{wrong:?}");
    assert_operator_not_hindered(&daemon, &mut dashboard).await;
    let minutes = began.elapsed().as_secs() / 60;
    let told =
        daemon.stop().await.iter().filter(|line| line.event == "http.wrong_tokens").count() as u64;
    assert!(
        (1..=1 + minutes).contains(&told),
        "{told} lines in {minutes} minutes: a line a minute at most"
    );
}

#[tokio::test]
async fn requests_are_limited_and_probes_and_the_dashboard_are_not() {
    let world = World::with_tenants(["acme"])
        .setting("/http/admin_token", ADMIN)
        .setting("/http/read_token", READER)
        .await;
    let daemon = world.daemon().await;
    let mut dashboard = follow(&daemon, READER).await;

    // Clients without a valid token are limited per address.
    for path in ["/assets/dashboard.js", "/api/v1/status"] {
        let answers = ask_often(&daemon, STRANGER, path, None, ANONYMOUS * 10).await;
        let answered = ANONYMOUS * 10 - count(&answers, "429");
        assert!((1..ANONYMOUS * 5).contains(&answered), "{path}: {answered}");
        assert_put_off(answers.iter().find(|answer| answer.starts_with("429")).unwrap());
    }
    assert_operator_not_hindered(&daemon, &mut dashboard).await;

    // Clients with a valid token are limited all together.
    let answers = ask_often(&daemon, NEWCOMER, "/api/v1/nothing", Some(ADMIN), ADMITTED * 20).await;
    let answered = count(&answers, "404");
    // The operator has already used some of them.
    assert!((ADMITTED / 2..ADMITTED * 10).contains(&answered), "{answered}");
    assert_put_off(answers.iter().find(|answer| answer.starts_with("429")).unwrap());
    events(&mut dashboard, 2).await;
    for path in ["/livez", "/metrics"] {
        assert_eq!(
            count(&ask_often(&daemon, NEWCOMER, path, None, ADMITTED * 2).await, "200"),
            ADMITTED * 2,
            "{path}"
        );
    }
    until("requests are answered again", PATIENCE, async || {
        let answer = ask(&daemon, NEWCOMER, "/api/v1/fuses", Some(READER)).await;
        if answer.starts_with("200") { Ok(()) } else { Err(answer) }
    })
    .await;
    daemon.stop().await;
}
