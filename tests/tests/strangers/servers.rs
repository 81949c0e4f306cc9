//! A destination's server that sends without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use offtake_tests::{Daemon, PATIENCE, World, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A daemon of a debug build at rest, and what one answer may take.
const MEMORY_MIB_MAX: u64 = 400;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind][..], &length, body].concat()
}

/// Logs every client in, and then answers its first question by these bytes, again and again.
/// Returns the URL, and how many bytes were taken from it.
async fn server(endless: Vec<u8>) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::new(AtomicU64::new(0));
    let counted = taken.clone();
    let piece = endless.repeat(64 * 1024 / endless.len() + 1);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, piece.clone(), counted.clone()));
        }
    });
    (format!("postgres://u:p@127.0.0.1:{port}/d?sslmode=disable"), taken)
}

async fn serve(mut stream: TcpStream, piece: Vec<u8>, taken: Arc<AtomicU64>) {
    let mut asked = vec![0; 64 * 1024];
    let _ = stream.read(&mut asked).await;
    let login =
        [message(b'R', &[0; 4]), message(b'K', &[0, 0, 0, 9, 0, 0, 0, 9]), message(b'Z', b"I")];
    let _ = stream.write_all(&login.concat()).await;
    let _ = stream.read(&mut asked).await;
    while stream.write_all(&piece).await.is_ok() {
        taken.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
}

fn memory_mib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// The destination is blocked with this reason, soon, and the daemon stays small.
async fn assert_cut(endless: Vec<u8>, says: &str) {
    let mut world = World::with_tenants(["acme", "good"]).await;
    let (url, taken) = server(endless).await;
    world.reach_by("acme", |_| url.clone());
    world.allow("*");
    world.configure(|c| c["sync"]["statement_timeout"] = "60s".into());
    let daemon = world.daemon().await;
    let began = Instant::now();
    until("bytes were taken", PATIENCE, async || match taken.load(Ordering::Relaxed) {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    })
    .await;
    world.wait_told(&daemon, "acme", "blocked", &["was cut", says]).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // What the server can make the daemon take grows by one answer per attempt, not without end.
    world.wait_tenants_in_step(&["good"], PATIENCE).await;
    let memory = memory_mib(&daemon);
    eprintln!("{memory} MiB, {} MiB sent", taken.load(Ordering::Relaxed) >> 20);
    assert!(memory < MEMORY_MIB_MAX, "{memory} MiB");
    daemon.stop().await;
}

#[tokio::test]
async fn rows_without_end_are_cut() {
    assert_cut(message(b'D', &[0, 0]), "500 000 rows").await;
}

#[tokio::test]
async fn large_rows_without_end_are_cut() {
    let row = [&[0, 1, 0, 0, 0x40, 0][..], &[b'x'; 0x4000]].concat();
    assert_cut(message(b'D', &row), "64 MiB").await;
}

#[tokio::test]
async fn notices_without_end_are_cut_within_a_second() {
    let notice = message(b'N', b"SNOTICE\0C00000\0Mtick\0\0");
    assert_cut(notice, "100 000 messages").await;
}

#[tokio::test]
async fn the_end_of_an_answer_that_nobody_asked_for_begins_no_new_budget() {
    let both = [message(b'D', &[0, 0]), message(b'Z', b"I")].concat();
    assert_cut(both, "").await;
}

#[tokio::test]
async fn a_weak_challenge_is_not_answered() {
    for challenge in ["i=1", "i=4095", "salt"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://u:p@{}/d?sslmode=disable", listener.local_addr().unwrap());
        let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = vec![0; 4096];
                let _ = stream.read(&mut asked).await;
                let offer = [&[0, 0, 0, 10][..], b"SCRAM-SHA-256\0\0"].concat();
                let _ = stream.write_all(&message(b'R', &offer)).await;
                let read = stream.read(&mut asked).await.unwrap_or(0);
                let first = String::from_utf8_lossy(&asked[..read]).into_owned();
                let nonce = first.split("r=").nth(1).unwrap_or_default().to_owned();
                let rest = match challenge {
                    "salt" => "s=,i=4096".to_owned(),
                    rounds => format!("s=c2FsdHNhbHQ=,{rounds}"),
                };
                let challenge =
                    [&[0, 0, 0, 11][..], format!("r={nonce}x,{rest}").as_bytes()].concat();
                let _ = stream.write_all(&message(b'R', &challenge)).await;
                let read = stream.read(&mut asked).await.unwrap_or(0);
                let _ = answers.send(String::from_utf8_lossy(&asked[..read]).into_owned());
            }
        });
        let mut world = World::with_tenants(["acme"]).await;
        world.reach_by("acme", |_| url.clone());
        world.allow("*");
        let daemon = world.daemon().await;
        world.wait_told(&daemon, "acme", "blocked", &["refused credentials", "SCRAM"]).await;
        let answer = answered.recv().await.unwrap();
        assert!(!answer.contains("p="), "{challenge}: {answer}");
        daemon.stop().await;
    }
}
