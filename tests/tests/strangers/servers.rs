//! A destination's server that sends without end, or answers what was not asked.

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

/// One column, as a server describes it: its name, and the number of its type.
fn described(name: &str, of_type: u32) -> Vec<u8> {
    let rest = [&[0; 6][..], &of_type.to_be_bytes(), &[0xff; 6], &[0; 2]].concat();
    message(b'T', &[&[0, 1][..], name.as_bytes(), &[0], &rest].concat())
}

/// Logs every client in, and answers each of its questions by this description and this row.
async fn answer(mut stream: TcpStream, column: Vec<u8>, row: Vec<u8>) {
    let mut asked = vec![0; 64 * 1024];
    let _ = stream.read(&mut asked).await;
    let ready = message(b'Z', b"I");
    let login = [message(b'R', &[0; 4]), message(b'K', &[0, 0, 0, 9, 0, 0, 0, 9]), ready.clone()];
    let _ = stream.write_all(&login.concat()).await;
    let done = [row.clone(), message(b'C', b"SELECT 1\0")].concat();
    let mut unread = Vec::new();
    while let Ok(read @ 1..) = stream.read(&mut asked).await {
        unread.extend_from_slice(&asked[..read]);
        let mut answers = Vec::new();
        while let [kind, a, b, c, d, ..] = unread[..] {
            let length = u32::from_be_bytes([a, b, c, d]) as usize + 1;
            if unread.len() < length {
                break;
            }
            answers.push(match (kind, unread.get(5)) {
                (b'P', _) => message(b'1', b""),
                (b'B', _) => message(b'2', b""),
                (b'C', _) => message(b'3', b""),
                (b'D', Some(b'S')) => [message(b't', &[0, 0]), column.clone()].concat(),
                (b'D', _) => column.clone(),
                (b'E', _) => done.clone(),
                (b'Q', _) => [column.clone(), done.clone(), ready.clone()].concat(),
                (b'S', _) => ready.clone(),
                _ => Vec::new(),
            });
            unread.drain(..length);
        }
        if stream.write_all(&answers.concat()).await.is_err() {
            return;
        }
    }
}

const TEXT: u32 = 25;
const BOOLEAN: u32 = 16;

/// An answer may have other columns than were asked for, other types, or nulls. Where a value is
/// taken from a row without a look at what is there, the worker panics, and so does a command.
#[tokio::test]
async fn rows_of_another_shape_are_an_error_of_the_destination() {
    let null = message(b'D', &[0, 1, 0xff, 0xff, 0xff, 0xff]);
    let yes = message(b'D', &[0, 1, 0, 0, 0, 1, 1]);
    let empty = message(b'D', &[0, 0]);
    for (column, row) in [
        (described("schema", BOOLEAN), null.clone()),
        (described("schema", TEXT), yes),
        (described("mapping", TEXT), null),
        (described("schema", BOOLEAN), empty),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://u:p@{}/d?sslmode=disable", listener.local_addr().unwrap());
        let (of_server, of_row) = (column.clone(), row.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, of_server.clone(), of_row.clone()));
            }
        });
        let mut world = World::with_tenants(["acme"]).await;
        world.reach_by("acme", |_| url.clone());
        world.allow("destination_failed");
        let daemon = world.daemon().await;
        world.wait_told(&daemon, "acme", "blocked", &[]).await;
        let drop = ["resync", "--tenant", world.id("acme"), "--drop", "--yes"];
        for command in [&["verify"][..], &drop] {
            let (code, told) = super::offtake(&world, command).await;
            assert_ne!(code, 0, "{column:?} {row:?} {command:?}: {told}");
        }
        let log = daemon.stop().await;
        assert!(log.iter().all(|line| !line.text.contains("panic")), "{column:?} {row:?}");
    }
}
