//! A receiver that is friendly, clumsy or hostile, on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use offtake_egress::AddressPolicy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;
use crate::answer::{Delivery, Verdict, judge};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Plays the receiver for every connection: gets the request's text and writes what it likes.
struct Receiver {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Receiver {
    /// Answers every request of a connection by what the function returns. An empty answer closes.
    async fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::playing(move |mut stream| {
            let answer = answer.clone();
            async move {
                while let Some(request) = read_request(&mut stream).await {
                    let bytes = answer(&request);
                    if bytes.is_empty() || stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    async fn playing<F>(play: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(play(stream));
            }
        });
        Self { address, accepted }
    }

    fn endpoint(&self, timeout: Duration) -> Endpoint {
        endpoint(&format!("http://{}/hook/hunter2?k=hunter2", self.address), timeout)
    }

    fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A request's head and body. None: the sender closed the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.ok()?;
        if read == 0 {
            return None;
        }
        text.extend_from_slice(&bytes[..read]);
        let whole = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = whole.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.unwrap_or("0").parse().unwrap() {
            return Some(whole);
        }
    }
}

fn endpoint(url: &str, timeout: Duration) -> Endpoint {
    let headers = Headers::parse([("x-api-key", "hunter2-and-a-long-one")]).unwrap();
    let secrets = Secrets::parse(&[SECRET]).unwrap();
    Endpoint::new(Url::parse(url).unwrap(), headers, secrets, timeout, None, None)
}

fn client() -> Client {
    Client::new(AddressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]), 8)
}

fn clock() -> SourceClock {
    SourceClock::new(Duration::from_secs(1_614_265_330), Instant::now())
}

async fn send(client: &Client, to: &Endpoint) -> Exchange {
    let message =
        Message { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", body: Bytes::from_static(BODY), attempt: 3 };
    client.send(to, &message, false, &clock(), &|_| true).await.unwrap()
}

const BODY: &[u8] = br#"{"test": 2432232314}"#;
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(600);

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_request_is_what_standard_webhooks_asks_for() {
    let seen: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let kept = seen.clone();
    let receiver = Receiver::answering(move |request| {
        kept.lock().unwrap().push(request.to_owned());
        answer("204 No Content", "")
    })
    .await;
    let to = receiver.endpoint(LONG);
    let exchange = send(&client(), &to).await;
    assert_eq!(judge(&exchange.reply), Verdict::Acknowledged);
    assert_eq!(exchange.address, Some("127.0.0.1".parse().unwrap()));
    let request = seen.lock().unwrap()[0].clone();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.as_bytes(), BODY);
    let host = format!("host: {}", receiver.address);
    let expected = [
        "POST /hook/hunter2?k=hunter2 HTTP/1.1",
        &host,
        "content-type: application/json",
        concat!("user-agent: Offtake/", env!("CARGO_PKG_VERSION")),
        "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp: 1614265330",
        "offtake-attempt: 3",
        "x-api-key: hunter2-and-a-long-one",
        "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "content-length: 20",
    ];
    assert_eq!(head.lines().collect::<Vec<_>>(), expected);
    let message = Message { id: "x", body: Bytes::new(), attempt: 1 };
    let preview = to.preview(&message, 7);
    assert!(preview.contains("x-api-key: …") && preview.contains("v1,…"), "{preview}");
    assert!(!preview.contains("hunter2"), "{preview}");
}

#[tokio::test]
async fn a_connection_is_used_again_and_belongs_to_one_endpoint() {
    let receiver = Receiver::answering(|_| answer("200 OK", "fine")).await;
    let (one, other) = (receiver.endpoint(LONG), receiver.endpoint(LONG));
    let client = client();
    for _ in 0..5 {
        assert_eq!(send(&client, &one).await.reply.status(), Some(200));
    }
    assert_eq!(receiver.connections(), 1);
    assert_eq!(client.connections(), (1, 1));
    send(&client, &other).await;
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_no_failure() {
    // Closes after every answer without having said so.
    let receiver = Receiver::playing(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(&answer("200 OK", "")).await;
        // Waits for the next one and hangs up on it.
        let _ = read_request(&mut stream).await;
    })
    .await;
    let (client, to) = (client(), receiver.endpoint(LONG));
    for sent in 1..4 {
        assert_eq!(send(&client, &to).await.reply.status(), Some(200));
        assert_eq!(receiver.connections(), sent);
    }
}

#[tokio::test]
async fn idle_connections_make_room_for_others() {
    let receiver = Receiver::answering(|_| answer("200 OK", "")).await;
    let client = client();
    let endpoints: Vec<Endpoint> = (0..30).map(|_| receiver.endpoint(LONG)).collect();
    for to in &endpoints {
        assert_eq!(send(&client, to).await.reply.status(), Some(200));
        assert!(client.connections().0 <= 8);
    }
    // The ones that were used last are still open.
    send(&client, &endpoints[29]).await;
    assert_eq!(receiver.connections(), 30);
}

#[tokio::test]
async fn a_request_that_waits_for_a_place_gets_the_next_that_becomes_free() {
    let receiver = Receiver::playing(|mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if stream.write_all(&answer("200 OK", "")).await.is_err() {
                return;
            }
        }
    })
    .await;
    let client = client();
    let sent: Vec<_> = (0..40)
        .map(|_| {
            let (client, to) = (client.clone(), receiver.endpoint(LONG));
            tokio::spawn(async move { send(&client, &to).await.reply.status() })
        })
        .collect();
    for request in sent {
        assert_eq!(request.await.unwrap(), Some(200));
        assert!(client.connections().0 <= 8);
    }
}

#[tokio::test]
async fn nothing_is_sent_when_the_lease_is_too_short() {
    let receiver = Receiver::answering(|_| answer("200 OK", "")).await;
    let (client, to) = (client(), receiver.endpoint(LONG));
    let message = Message { id: "m", body: Bytes::new(), attempt: 1 };
    let asked = std::sync::Mutex::new(Vec::new());
    let may_send = |left: Duration| {
        asked.lock().unwrap().push(left);
        false
    };
    let refused = client.send(&to, &message, false, &clock(), &may_send).await;
    assert_eq!(refused.unwrap_err(), LeaseTooShort);
    assert!(asked.lock().unwrap()[0] <= LONG);
    // The connection is open and is used for what comes next.
    assert_eq!(send(&client, &to).await.reply.status(), Some(200));
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn what_an_answer_says_beside_its_status() {
    let receiver = Receiver::answering(|_| {
        answer(
            "503 Busy\r\nRetry-After: 120\r\nWebhook-Delivery: Abort-Message\r\n\
             location: https://internal.example/secret/path",
            "come back\u{1b}[2J later",
        )
    })
    .await;
    let Reply::Answered(said) = send(&client(), &receiver.endpoint(LONG)).await.reply else {
        panic!("no answer")
    };
    assert_eq!(said.status, 503);
    assert_eq!(said.retry_after, Some(Duration::from_secs(120)));
    assert_eq!(said.delivery, Some(Delivery::AbortMessage));
    assert_eq!(said.location.as_deref(), Some("internal.example"));
    assert_eq!(said.response.as_deref(), Some("come back[2J later"));
}

#[tokio::test]
async fn an_answer_that_echoes_the_request_is_not_kept() {
    let receiver = Receiver::answering(|request| answer("400 Bad", request)).await;
    let Reply::Answered(said) = send(&client(), &receiver.endpoint(LONG)).await.reply else {
        panic!("no answer")
    };
    assert_eq!((said.status, said.response), (400, None));
    let receiver =
        Receiver::answering(|_| answer("401 No", "wrong key hunter2-and-a-long-one")).await;
    let Reply::Answered(said) = send(&client(), &receiver.endpoint(LONG)).await.reply else {
        panic!("no answer")
    };
    assert_eq!(said.response, None);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Receiver::answering(|_| answer("200 OK", "")).await;
    let location = format!("302 Found\r\nlocation: http://{}/x", target.address);
    let receiver = Receiver::answering(move |_| answer(&location, "")).await;
    let exchange = send(&client(), &receiver.endpoint(LONG)).await;
    assert!(matches!(judge(&exchange.reply), Verdict::Blocked { .. }));
    assert_eq!(target.connections(), 0);
}

/// Runs until the sender hangs up, and counts what it took.
async fn pour(mut stream: TcpStream, head: &'static [u8], chunk: Vec<u8>, taken: Arc<AtomicUsize>) {
    read_request(&mut stream).await;
    let _ = stream.write_all(head).await;
    while stream.write_all(&chunk).await.is_ok() {
        taken.fetch_add(chunk.len(), Ordering::SeqCst);
    }
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    for (head, status) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], 200),
        (b"HTTP/1.1 500 No\r\ncontent-length: 1073741824\r\n\r\n", 500),
    ] {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let receiver =
            Receiver::playing(move |stream| pour(stream, head, vec![b'x'; 1 << 16], count.clone()))
                .await;
        let client = client();
        let exchange = send(&client, &receiver.endpoint(LONG)).await;
        assert_eq!(exchange.reply.status(), Some(status));
        // The rest is what the kernel's buffers hold.
        assert!(taken.load(Ordering::SeqCst) < 16 << 20, "{taken:?}");
        assert_eq!(client.connections().1, 0, "the connection is not used again");
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut() {
    for (head, chunk) in [
        (&b"HTTP/1.1 200 OK\r\n"[..], b"x-y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n".to_vec()),
        (b"HTTP/1.1 200 OK\r\nx: ", vec![b'x'; 4096]),
        (b"HTTP/1.1 200 ", vec![b'x'; 4096]),
    ] {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let receiver =
            Receiver::playing(move |stream| pour(stream, head, chunk.clone(), count.clone())).await;
        let exchange = send(&client(), &receiver.endpoint(LONG)).await;
        let Reply::Unanswered(Unanswered::Broken(why)) = exchange.reply else {
            panic!("{exchange:?}")
        };
        assert!(!why.contains("hunter2"), "{why}");
        assert!(taken.load(Ordering::SeqCst) < 16 << 20, "{taken:?}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    for garbage in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2 200\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let receiver = Receiver::answering(move |_| garbage.as_bytes().to_vec()).await;
        let exchange = send(&client(), &receiver.endpoint(LONG)).await;
        assert!(
            matches!(exchange.reply, Reply::Unanswered(Unanswered::Broken(_))),
            "{garbage:?}: {exchange:?}"
        );
        assert_eq!(receiver.connections(), 1, "a first request is not repeated");
    }
}

#[tokio::test]
async fn a_dripping_head_and_a_silent_receiver_end_with_the_timeout() {
    let dripping = Receiver::playing(|mut stream| async move {
        read_request(&mut stream).await;
        for byte in b"HTTP/1.1 200 OK\r\n".iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let silent = Receiver::playing(|mut stream| async move {
        while read_request(&mut stream).await.is_some() {}
    })
    .await;
    for receiver in [dripping, silent] {
        let client = client();
        let exchange = send(&client, &receiver.endpoint(SHORT)).await;
        assert_eq!(exchange.reply.class(), "timeout", "{exchange:?}");
        assert_eq!(client.connections().1, 0);
    }
}

#[tokio::test]
async fn a_dripping_body_does_not_hold_what_was_acknowledged() {
    let receiver = Receiver::playing(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let exchange = send(&client(), &receiver.endpoint(SHORT)).await;
    assert_eq!(judge(&exchange.reply), Verdict::Acknowledged);
}

#[tokio::test]
async fn an_answer_before_the_whole_request_counts() {
    let receiver = Receiver::playing(|mut stream| async move {
        let _ = stream.read(&mut [0; 512]).await;
        let _ = stream.write_all(&answer("413 Too Large\r\nconnection: close", "")).await;
        // Takes the rest, as a polite server does, so that no reset overtakes the answer.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let to = receiver.endpoint(LONG);
    let body = Bytes::from(vec![b'x'; 8 << 20]);
    let message = Message { id: "m", body, attempt: 1 };
    let exchange = client().send(&to, &message, false, &clock(), &|_| true).await.unwrap();
    assert_eq!(exchange.reply.status(), Some(413));
}

#[tokio::test]
async fn an_address_that_is_not_listed_is_not_dialled_for_a_webhook() {
    let receiver = Receiver::answering(|_| answer("200 OK", "")).await;
    let strict = Client::new(AddressPolicy::default(), 8);
    let port = receiver.address.port();
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        for scheme in ["http", "https"] {
            let to = endpoint(&format!("{scheme}://{host}:{port}/hunter2"), LONG);
            let exchange = send(&strict, &to).await;
            assert_eq!(exchange.reply.class(), "address", "{host}: {exchange:?}");
            let why = judge(&exchange.reply).why().unwrap().to_owned();
            assert!(why.contains("allow_destinations") && !why.contains("hunter2"), "{why}");
            let looked = strict.look_up(&to).await;
            assert!(matches!(looked, Err(Unanswered::Address(_))), "{looked:?}");
        }
    }
    // Plain text to a public address is refused too, before anything is dialled.
    let public = endpoint("http://1.1.1.1/", LONG);
    assert!(matches!(strict.look_up(&public).await, Err(Unanswered::Address(_))));
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_an_endpoint_that_is_unwell() {
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hunter2", receiver.local_addr().unwrap());
    drop(receiver);
    let exchange = send(&client(), &endpoint(&url, LONG)).await;
    let Reply::Unanswered(Unanswered::Connect(why)) = &exchange.reply else {
        panic!("{exchange:?}")
    };
    assert!(!why.contains("hunter2"), "{why}");
    assert_eq!(client().connections(), (0, 0));
}

#[tokio::test]
async fn a_receiver_without_tls_where_tls_is_asked_for_is_told() {
    let receiver = Receiver::playing(|mut stream| async move {
        let _ = stream.read(&mut [0; 512]).await;
        let _ = stream.write_all(&answer("400 Bad Request", "")).await;
    })
    .await;
    let to = endpoint(&format!("https://{}/", receiver.address), LONG);
    let exchange = send(&client(), &to).await;
    assert!(matches!(exchange.reply, Reply::Unanswered(Unanswered::Tls(_))), "{exchange:?}");
}

#[test]
fn another_url_secret_or_header_is_another_endpoint() {
    let url = "https://a.example/x";
    let same = endpoint(url, LONG).fingerprint();
    assert_eq!(same, endpoint(url, SHORT).fingerprint());
    assert_ne!(same, endpoint("https://a.example/y", LONG).fingerprint());
    let other = Endpoint::new(
        Url::parse(url).unwrap(),
        Headers::default(),
        Secrets::parse(&[SECRET]).unwrap(),
        LONG,
        None,
        None,
    );
    assert_ne!(same, other.fingerprint());
    assert!(!format!("{other:?}").contains("/x"));
}
