//! What a client is told whose request cannot be read. No handler runs for such a request, because
//! there is no request yet.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{HEADER_BYTES_MAX, HEADERS_MAX, HEADERS_WITHIN};
use crate::http::guard;
use crate::http::problem::Problem;

/// How long a client may take to read its last answer.
const READ_WITHIN: Duration = Duration::from_secs(1);
/// So much of what a client goes on sending is read. A socket that is closed over unread bytes is
/// reset, and a client that sees the reset first does not read its last answer.
const DRAINED_BYTES_MAX: u64 = 1 << 20;

/// Why the connection ended, as a problem. `withheld` is the status of the library's own answer,
/// and `unread` is what it has read of the next request. None: there is nothing to answer, because
/// the client has sent nothing, or has what it asked for.
pub(super) fn problem(
    error: &hyper::Error,
    withheld: Option<StatusCode>,
    unread: &[u8],
) -> Option<Problem> {
    let begun = !unread.is_empty();
    let (status, detail) = match withheld {
        Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) if !unread.contains(&b'\n') => (
            StatusCode::URI_TOO_LONG,
            format!("the first line and the headers have at most {HEADER_BYTES_MAX} bytes"),
        ),
        Some(status @ StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => (
            status,
            format!("a request has at most {HEADERS_MAX} headers, of {HEADER_BYTES_MAX} bytes"),
        ),
        _ if of_another_version(unread) => (
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "this server speaks HTTP/1.1 and HTTP/1.0".to_owned(),
        ),
        Some(status) => (
            status,
            "this is no request of HTTP/1.1: its first line, a header or its length is malformed"
                .to_owned(),
        ),
        None if begun && error.is_timeout() => (
            StatusCode::REQUEST_TIMEOUT,
            format!("the headers did not come within {} s", HEADERS_WITHIN.as_secs()),
        ),
        None if begun && error.is_incomplete_message() => {
            (StatusCode::BAD_REQUEST, "the request ended before its headers did".to_owned())
        }
        None => return None,
    };
    Some(Problem::new(status, detail))
}

/// Whether the first line ends with a version of HTTP other than 1.
fn of_another_version(unread: &[u8]) -> bool {
    let line = unread.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    version.strip_prefix(b"HTTP/").is_some_and(|number| {
        let digits = number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        digits && !number.is_empty() && !number.starts_with(b"1.")
    })
}

/// Sends the problem, if there is one, and closes the connection once the client has read its last
/// answer.
pub(super) async fn end(mut stream: TcpStream, problem: Option<Problem>) {
    let ending = async {
        if let Some(problem) = problem {
            stream.write_all(&as_bytes(problem.into_response()).await).await?;
        }
        stream.shutdown().await?;
        let mut rest = (&mut stream).take(DRAINED_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // A client that does not read has itself to blame.
    let _ = tokio::time::timeout(READ_WITHIN, ending).await;
}

/// An answer as it is sent. The library cannot write this one: its connection has ended.
async fn as_bytes(mut answer: Response) -> Vec<u8> {
    guard::add_headers(&mut answer);
    let (mut head, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_versions_are_told_from_malformed_ones() {
        for other in ["PRI * HTTP/2.0\r\n\r\nSM", "GET / HTTP/2\r\n", "GET / HTTP/0.9"] {
            assert!(of_another_version(other.as_bytes()), "{other}");
        }
        for not in ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.7\r\n", "GET / HTTP/x", "GET / HTTP/"] {
            assert!(!of_another_version(not.as_bytes()), "{not}");
        }
    }
}
