//! Checks every request: its token, its origin, the name it is for, and how often the client asks.
//! Sets the security headers of every answer.

use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use super::problem::Problem;
use super::{BODY_BYTES_MAX, Shared, Tokens};

/// A body is a few names and a reason.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The browser loads only the dashboard's own files, shows it in no frame, and caches nothing.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

pub(super) async fn set_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    add_headers(&mut response);
    response
}

pub(super) fn add_headers(response: &mut Response) {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

/// What the token of a request allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    NoToken,
    WrongToken,
    Reading,
    Everything,
}

/// The address of the client. Behind a proxy, all clients have the proxy's address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

pub(super) fn peer(request: &Request) -> IpAddr {
    request.extensions().get::<Peer>().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0)
}

/// Passes a request on, or answers instead of the handler: 401 without one of the configured
/// tokens; 403 to a request from a page of another origin, and to a request that may change
/// something without the admin token; 429 to a client that asks too often. For reading either token
/// will do.
pub(super) async fn admit(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let admission = match admission(&shared, &request) {
        Ok(admission) => admission,
        Err(problem) => return problem.into_response(),
    };
    if foreign(&request) {
        return foreign_origin().into_response();
    }
    if !request.method().is_safe() && admission != Admission::Everything {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "changing something needs the admin token, http.admin_token",
        )
        .into_response();
    }
    let mut request = match with_body(request).await {
        Ok(request) => request,
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(admission);
    next.run(request).await
}

/// What the token of a request allows; the problem of a request without one, or of a client that
/// asks too often.
pub(super) fn admission(shared: &Shared, request: &Request) -> Result<Admission, Problem> {
    let (tokens, limits) = (&shared.state.tokens, &shared.limits);
    let admission = tokens.admission(request.headers());
    let within = match admission {
        Admission::NoToken => limits.anonymous(peer(request)).map_err(|wait| ("requests", wait)),
        Admission::WrongToken => {
            limits.wrong_token(peer(request)).map_err(|wait| ("wrong tokens", wait))
        }
        Admission::Reading | Admission::Everything => {
            let honoured =
                if tokens.required() { limits.right_token(peer(request)) } else { Ok(()) };
            honoured
                .map_err(|wait| ("wrong tokens", wait))
                .and_then(|()| limits.admitted().map_err(|wait| ("requests", wait)))
        }
    };
    within.map_err(|(what, wait)| Problem::too_many(what, wait))?;
    match admission {
        Admission::Reading | Admission::Everything => Ok(admission),
        Admission::NoToken | Admission::WrongToken => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "send `Authorization: Bearer` with the read token or the admin token",
        )),
    }
}

/// Whether a scraper may be told tenants, where the operator wants them among the metrics: with one
/// of the tokens; without configured tokens, where it asks for a loopback name, as for the API. A
/// scraper without a token is never turned away, and told of no tenant.
pub(super) fn may_know_tenants(shared: &Shared, request: &Request) -> Result<bool, Problem> {
    if shared.state.worst_destinations == 0 {
        return Ok(false);
    }
    if !shared.state.tokens.required() {
        return Ok(host(request).is_some_and(is_loopback_name) && !foreign(request));
    }
    match shared.state.tokens.admission(request.headers()) {
        Admission::NoToken => Ok(false),
        _ => admission(shared, request).map(|_| true),
    }
}

/// The request with all of its body, which is small. A client that sends its body without end, or
/// not at all, would keep its connection busy.
async fn with_body(request: Request) -> Result<Request, Problem> {
    if request.method().is_safe() {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_WITHIN, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(head, bytes.into())),
        Ok(Err(error)) if is_broken(&error) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "the body ended early, or its chunks are malformed",
        )),
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a body has at most {BODY_BYTES_MAX} bytes"),
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not come within {} s", BODY_WITHIN.as_secs()),
        )),
    }
}

/// Whether the body could not be read; otherwise it is too large.
fn is_broken(error: &axum::Error) -> bool {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.into_iter().any(|cause| cause.is::<hyper::Error>())
}

/// Answers 400 to a NUL in a path or a query, which no text of Postgres has, and gives every error
/// that has no problem object one.
pub(super) async fn tell_problems(request: Request, next: Next) -> Response {
    let asked = request.uri().path_and_query().map_or("", |asked| asked.as_str());
    if asked.contains("%00") {
        return Problem::new(StatusCode::BAD_REQUEST, "the address contains a NUL character")
            .into_response();
    }
    let response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let plain = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !plain || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let said = to_bytes(response.into_body(), BODY_BYTES_MAX).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let detail = if said.is_empty() { "the request cannot be answered".into() } else { said };
    Problem::new(status, detail).into_response()
}

/// The dashboard's files need no token, but their requests are limited per client.
pub(super) async fn limit(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    match shared.limits.anonymous(peer(&request)) {
        Ok(()) => next.run(request).await,
        Err(wait) => Problem::too_many("requests", wait).into_response(),
    }
}

/// Whether the request comes from a page of another server. Browsers say so in `Origin`; other
/// clients send none.
pub(super) fn foreign(request: &Request) -> bool {
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return false };
    let name =
        origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, name)| name);
    let same =
        name.zip(host(request)).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host));
    !same || origins.next().is_some()
}

pub(super) fn foreign_origin() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "this page's origin is not this server")
}

/// Without tokens, answers only requests for a loopback name. A foreign page whose own name
/// resolves to 127.0.0.1 reaches this server too, and the name is the only difference.
pub(super) async fn require_loopback_name(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    if shared.state.tokens.required() || host(&request).is_some_and(is_loopback_name) {
        next.run(request).await
    } else {
        let detail = "without a token only localhost, 127.0.0.1 and [::1] are answered; \
                      set http.read_token to use another name";
        Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response()
    }
}

/// The name that the request is for. None if it has several; no browser sends such a request.
fn host(request: &Request) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    let mut names = request.headers().get_all(header::HOST).iter();
    let name = names.next()?.to_str().ok();
    name.filter(|_| names.next().is_none())
}

fn is_loopback_name(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or_default(),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let address = name.parse::<IpAddr>();
    // Brackets are for IPv6.
    let bracketed = host.starts_with('[');
    if !port || bracketed != address.as_ref().is_ok_and(IpAddr::is_ipv6) {
        return false;
    }
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback())
}

impl Tokens {
    fn admission(&self, headers: &HeaderMap) -> Admission {
        if !self.required() {
            return Admission::Everything;
        }
        let Some(shown) = shown_token(headers) else { return Admission::NoToken };
        // Both tokens are always compared, so that the time of the answer does not depend on them.
        let admin = matches(self.admin.as_ref(), shown);
        let read = matches(self.read.as_ref(), shown);
        match (admin, read) {
            (true, _) => Admission::Everything,
            (false, true) => Admission::Reading,
            (false, false) => Admission::WrongToken,
        }
    }
}

/// The bearer token of a request.
pub(super) fn shown_token(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// In constant time. Hashes are compared, because the comparison of texts of different lengths ends
/// at once.
fn matches(expected: Option<&SecretString>, shown: &str) -> bool {
    let expected = expected.map(|token| Sha256::digest(token.expose_secret()));
    let shown = Sha256::digest(shown);
    expected.is_some_and(|expected| expected.as_slice().ct_eq(shown.as_slice()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_what_it_is_for() {
        let tokens = Tokens::new(Some("adm".into()), Some("rd".into()));
        let check = |value: Option<&str>, expect| {
            let mut headers = HeaderMap::new();
            value.map(|v| headers.insert(header::AUTHORIZATION, v.parse().unwrap()));
            assert_eq!(tokens.admission(&headers), expect, "{value:?}");
        };
        check(Some("Bearer adm"), Admission::Everything);
        check(Some("bearer rd"), Admission::Reading);
        check(Some("Bearer "), Admission::WrongToken);
        check(Some("Bearer admx"), Admission::WrongToken);
        check(Some("Basic adm"), Admission::NoToken);
        check(None, Admission::NoToken);
        assert!(!Tokens::new(Some("".into()), None).required());
    }

    #[test]
    fn another_pages_requests_are_foreign() {
        let check = |origin: Option<&str>, expect| {
            let mut request =
                axum::http::Request::builder().uri("/").header("host", "localhost:8080");
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            assert_eq!(
                foreign(&request.body(axum::body::Body::empty()).unwrap()),
                expect,
                "{origin:?}"
            );
        };
        check(None, false);
        check(Some("http://localhost:8080"), false);
        for other in
            ["http://localhost", "http://localhost:8081", "https://attacker.example", "null", ""]
        {
            check(Some(other), true);
        }
    }

    #[test]
    fn only_loopback_names_pass() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "[::1]:8080", "127.8.8.8"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org:80",
            "10.0.0.1",
            "[::2]",
            "[::1].evil.example",
            "[::1]evil",
            "[localhost]",
            "[127.0.0.1]",
            "localhost:80.evil.example",
            "127.0.0.1:evil",
        ] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }
}
