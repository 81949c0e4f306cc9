//! HTTP/1.1, as far as a receiver of webhooks needs it, and all that may be done wrong in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Play, Request, Shared};

/// The pause behind each byte of [`Play::Drip`].
const DRIP: Duration = Duration::from_millis(20);

/// What a [`Play::Pour`] sends at one time, about.
const POURED_AT_ONCE: usize = 64 * 1024;

pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.ended.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let (tls, shared, ended) = (tls.clone(), shared.clone(), shared.ended.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let talk = async {
                match tls {
                    None => converse(stream, number, shared).await,
                    Some(tls) => {
                        // A client that does not believe the certificate goes away.
                        let Ok(stream) = tls.accept(stream).await else { return };
                        converse(stream, number, shared).await;
                    }
                }
            };
            tokio::select! {
                () = talk => {}
                () = ended.cancelled() => {}
            }
        });
    }
}

/// Request after request of one connection.
async fn converse<S>(mut stream: S, number: usize, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut unread = Vec::new();
    while let Some(request) = read(&mut stream, &mut unread, number).await {
        let (request, play) = shared.receive(request);
        if act(play, &request, &mut stream, &shared).await.is_none() {
            return;
        }
    }
}

/// None: the connection ended.
async fn read<S>(stream: &mut S, unread: &mut Vec<u8>, connection: usize) -> Option<Request>
where
    S: AsyncRead + Unpin,
{
    let ends = |bytes: &[u8]| bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = loop {
        if let Some(end) = ends(unread) {
            break end;
        }
        more(stream, unread).await?;
        // TLS, or anything else that is not HTTP.
        unread.first().filter(|byte| byte.is_ascii_uppercase())?;
    };
    let head = String::from_utf8(unread[..end].to_vec()).expect("a head is ASCII");
    let mut lines = head.split("\r\n");
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let split = |line: &str| {
        let (name, value) = line.split_once(':').expect("a header has a value");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let headers: BTreeMap<String, String> = lines.map(split).collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok())?;
    while unread.len() < end + 4 + length {
        more(stream, unread).await?;
    }
    let mut body = unread.split_off(end + 4);
    *unread = body.split_off(length);
    let event = serde_json::from_slice(&body).unwrap_or_default();
    let at = Instant::now();
    Some(Request { at, connection, target, headers, body, event, refused: None, time: 0 })
}

async fn more(stream: &mut (impl AsyncRead + Unpin), unread: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(unread).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}

/// None: the connection ends.
async fn act<S>(play: Play, request: &Request, stream: &mut S, shared: &Shared) -> Option<()>
where
    S: AsyncWrite + Unpin,
{
    let mut play = play;
    while let Play::After(wait, then) = play {
        tokio::time::sleep(wait).await;
        play = *then;
    }
    match play {
        Play::Status(status) => answer(status, "", "", request, stream, shared).await,
        Play::Answer(status, lines, body) => {
            answer(status, lines, body, request, stream, shared).await
        }
        Play::Lost => {
            shared.take(request);
            None
        }
        Play::Reset => None,
        Play::Silent => std::future::pending().await,
        Play::Pour(head, chunk) => {
            stream.write_all(head.as_bytes()).await.ok()?;
            let chunk = chunk.repeat(POURED_AT_ONCE / chunk.len());
            loop {
                stream.write_all(chunk.as_bytes()).await.ok()?;
                shared.poured.fetch_add(chunk.len(), Ordering::Relaxed);
            }
        }
        Play::Drip(text) => {
            for byte in text.as_bytes() {
                stream.write_all(&[*byte]).await.ok()?;
                tokio::time::sleep(DRIP).await;
            }
            std::future::pending().await
        }
        Play::After(..) => unreachable!("all were waited for"),
    }
}

async fn answer(
    status: u16,
    lines: &str,
    body: &str,
    request: &Request,
    stream: &mut (impl AsyncWrite + Unpin),
    shared: &Shared,
) -> Option<()> {
    if (200..300).contains(&status) {
        shared.take(request);
    }
    let lines: String = lines.lines().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n{lines}\r\n{body}");
    stream.write_all(head.as_bytes()).await.ok()?;
    // What TLS has buffered would wait for the next answer.
    stream.flush().await.ok()
}
