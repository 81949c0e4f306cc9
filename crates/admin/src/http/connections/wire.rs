//! A client's socket, as the HTTP library sees it.
//!
//! The library answers a request that it cannot read by itself: a status without a body, before any
//! handler runs. Here that answer is withheld, so that a problem object can be sent in its place
//! (`refusal.rs`).

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::slots::Busy;

/// The library's own answers are shorter: a status line, and the headers of [`OWN_HEADERS`].
const OWN_ANSWER_BYTES_MAX: usize = 256;

/// The headers of the library's own answers. Every answer of a handler has others beside them.
const OWN_HEADERS: [&str; 3] = ["connection", "content-length", "date"];

pub(super) struct Wire {
    stream: TcpStream,
    busy: Arc<Busy>,
    withheld: Option<StatusCode>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, busy: Arc<Busy>) -> Self {
        Self { stream, busy, withheld: None }
    }

    /// The status of the answer that was withheld, and the socket.
    pub(super) fn into_parts(self) -> (Option<StatusCode>, TcpStream) {
        (self.withheld, self.stream)
    }
}

/// Where the library's own answer begins in these bytes, and its status. It is the last that the
/// library writes on a connection, so it ends them.
fn own_answer(bytes: &[u8]) -> Option<(usize, StatusCode)> {
    let tail_at = bytes.len().saturating_sub(OWN_ANSWER_BYTES_MAX);
    let head_at = bytes.get(tail_at..)?.windows(7).rposition(|seven| seven == b"HTTP/1.")?;
    let at = tail_at + head_at;
    let head = std::str::from_utf8(bytes.get(at..)?).ok()?.strip_suffix("\r\n\r\n")?;
    let (line, headers) = head.split_once("\r\n")?;
    let own = |header: &str| {
        let name = header.split(':').next().unwrap_or_default();
        OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own))
    };
    let status: StatusCode = line.split(' ').nth(1)?.parse().ok()?;
    (status.is_client_error() && headers.split("\r\n").all(own)).then_some((at, status))
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let this = self.get_mut();
        // While a handler's answer is sent, the library makes none, and a file may look like one.
        let own = if this.busy.idle() { own_answer(bytes) } else { None };
        let send = match own {
            _ if this.withheld.is_some() => return Poll::Ready(Ok(bytes.len())),
            Some((0, status)) => {
                this.withheld = Some(status);
                return Poll::Ready(Ok(bytes.len()));
            }
            // Answers of handlers stand before it. They are sent first.
            Some((at, _)) => bytes.get(..at).unwrap_or(bytes),
            None => bytes,
        };
        Pin::new(&mut this.stream).poll_write(context, send)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(context, first.map_or(&[][..], |slice| slice))
    }

    /// False: then the library passes an answer's head in one piece.
    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        if this.withheld.is_some() {
            // Something will be sent in place of what was withheld.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_without_the_headers_of_ours_is_the_librarys() {
        let own = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\
                   date: Sat, 28 Nov 2026 09:00:00 GMT\r\n\r\n";
        let ours =
            "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\ncache-control: no-store\r\n\r\n{}";
        let check = |text: &str, expect: Option<(usize, u16)>| {
            let found = own_answer(text.as_bytes()).map(|(at, status)| (at, status.as_u16()));
            assert_eq!(found, expect, "{text}");
        };
        check(own, Some((0, 400)));
        check(&(ours.to_owned() + own), Some((ours.len(), 400)));
        check(&own.replace("400", "200"), None);
        check(&own.replace("1.1 400", "1.0 431"), Some((0, 431)));
        check(&own.replace("date", "etag"), None);
        check(&own[..own.len() - 1], None);
        check(&(own.to_owned() + ours), None);
        check(ours, None);
        check("", None);
        check("HTTP/1.", None);
        check(&"x".repeat(1000), None);
    }
}
