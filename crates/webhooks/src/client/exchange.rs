//! One request and the look at its answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use offtake_mapping::foreign;
use tokio::time::{Instant, timeout_at};

use super::connections::Connection;
use super::{Endpoint, Message};
use crate::answer::{Answer, Delivery, RESPONSE_BYTES_MAX, Unanswered, kept_response};
use crate::schedule::parse_retry_after;
use crate::{SourceClock, Url};

/// So much of an answer's body is read; a connection with more to come is closed.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The head of an answer decides. Its body is waited for this long at most: all that depends on it
/// is whether the connection can be used again, and what operators see of a failure.
const BODY_TIME_MAX: Duration = Duration::from_secs(2);

const USER_AGENT: &str = concat!("Offtake/", env!("CARGO_PKG_VERSION"));

pub(super) struct Done {
    pub(super) answer: Answer,
    /// When the head was there.
    pub(super) answered_at: Instant,
    pub(super) reusable: bool,
}

pub(super) struct Failed {
    pub(super) unanswered: Unanswered,
    /// The connection was closed, and nothing of an answer had come.
    pub(super) before_answer: bool,
}

/// Signs, sends, and reads the answer, all within `limit`.
pub(super) async fn run(
    connection: &mut Connection,
    to: &Endpoint,
    message: &Message<'_>,
    clock: &SourceClock,
    limit: Duration,
) -> Result<Done, Failed> {
    let deadline = Instant::now() + limit;
    let request = request(to, message, clock.now().as_secs()).map_err(|error| Failed {
        unanswered: Unanswered::Broken(format!("the request cannot be built: {error}")),
        before_answer: false,
    })?;
    let send = async {
        connection.sender.ready().await?;
        connection.sender.send_request(request).await
    };
    let sent = timeout_at(deadline, send).await;
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(broken(&error, to)),
        Err(_) => {
            let text =
                format!("no answer from {} within {} ms", to.url.shown(), to.timeout.as_millis());
            return Err(Failed { unanswered: Unanswered::TimedOut(text), before_answer: false });
        }
    };
    let answered_at = Instant::now();
    let mut answer = head(&response, clock);
    let (body, ended) = read(response, deadline.min(answered_at + BODY_TIME_MAX)).await;
    if !(200..300).contains(&answer.status) {
        answer.response = kept_response(&body, &told(to, message));
    }
    Ok(Done { answer, answered_at, reusable: ended })
}

/// The headers of a request, in the order in which they are sent.
pub(crate) fn head_of(
    to: &Endpoint,
    message: &Message<'_>,
    seconds: u64,
) -> Vec<(String, HeaderValue)> {
    // Decimal digits, base32 and base64 are values of headers; a host is checked by its grammar.
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    let mut headers = vec![
        ("host".to_owned(), value(&to.url.authority())),
        ("content-type".to_owned(), HeaderValue::from_static("application/json")),
        ("user-agent".to_owned(), HeaderValue::from_static(USER_AGENT)),
        ("webhook-id".to_owned(), value(message.id)),
        ("webhook-timestamp".to_owned(), value(&seconds.to_string())),
    ];
    headers.push(("offtake-attempt".to_owned(), value(&message.attempt.to_string())));
    let own = to.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone()));
    headers.extend(own);
    headers
}

fn request(
    to: &Endpoint,
    message: &Message<'_>,
    seconds: u64,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let signature = to.secrets.sign(message.id, seconds, &message.body);
    let mut request = Request::builder().method(Method::POST).uri(to.url.path());
    for (name, value) in head_of(to, message, seconds) {
        request = request.header(name, value);
    }
    request.header("webhook-signature", signature).body(Full::new(message.body.clone()))
}

/// What an answer could repeat.
fn told<'a>(to: &'a Endpoint, message: &'a Message<'_>) -> Vec<&'a [u8]> {
    let values = to.headers.iter().map(|(_, value)| value.as_bytes());
    [to.url.path().as_bytes(), &message.body].into_iter().chain(values).collect()
}

fn head(response: &Response<Incoming>, clock: &SourceClock) -> Answer {
    let headers = response.headers();
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    Answer {
        status: response.status().as_u16(),
        retry_after: text("retry-after")
            .and_then(|value| parse_retry_after(value, clock.system_time())),
        delivery: text("webhook-delivery").and_then(delivery),
        location: location(headers),
        response: None,
    }
}

fn delivery(value: &str) -> Option<Delivery> {
    match value.trim().to_ascii_lowercase().as_str() {
        "disable" => Some(Delivery::Disable),
        "abort-message" => Some(Delivery::AbortMessage),
        _ => None,
    }
}

/// Path and query of a `Location` may be as secret as the URL's.
fn location(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::LOCATION)?.to_str().ok()?;
    match Url::parse(text) {
        Ok(url) => Some(url.host().to_owned()),
        Err(_) if text.starts_with('/') && !text.starts_with("//") => {
            Some("another path of its own".to_owned())
        }
        Err(_) => None,
    }
}

/// The first bytes of the body, and whether it ended within its bounds.
async fn read(response: Response<Incoming>, deadline: Instant) -> (Vec<u8>, bool) {
    let mut body = response.into_body();
    let (mut first, mut length) = (Vec::new(), 0);
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return (first, true),
            Ok(Some(Err(_))) | Err(_) => return (first, false),
        };
        let Some(data) = frame.data_ref() else { continue };
        length += data.len();
        let room = RESPONSE_BYTES_MAX.saturating_sub(first.len()).min(data.len());
        first.extend_from_slice(&data[..room]);
        if length > BODY_BYTES_MAX {
            return (first, false);
        }
    }
}

fn broken(error: &hyper::Error, to: &Endpoint) -> Failed {
    let what = if error.is_parse_too_large() {
        "its answer's head is larger than 64 KiB or has more than 100 headers".to_owned()
    } else if error.is_parse() {
        "its answer is no HTTP/1.1".to_owned()
    } else {
        let text = offtake_postgres::chain(error);
        format!("the connection broke before an answer was there ({})", foreign(&text))
    };
    Failed {
        unanswered: Unanswered::Broken(format!("{}: {what}", to.url.shown())),
        before_answer: error.is_canceled()
            || error.is_closed()
            || error.is_incomplete_message()
            || error.is_body_write_aborted()
            || std::error::Error::source(error)
                .is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some()),
    }
}
