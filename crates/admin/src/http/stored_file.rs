//! Serves a stored file: all of it, or one range, so that an interrupted download goes on.
//!
//! A file is read piece by piece, as fast as its client takes them. A client that hangs holds its
//! place only until another one needs it.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::Stream;
use futures_util::stream::unfold;

use super::connections::Connected;
use super::openapi::Operation;
use super::problem::Problem;

/// Files that are being fetched at the same time. A quarter of the connections, so that probes and
/// dashboards always find one.
const DOWNLOADS_MAX: usize = 32;

/// And of one export or snapshot, so that a client of one tenant that reads slowly from many
/// connections leaves places to the others. As many as aria2 opens to one server at most.
const OF_ONE_MAX: usize = 16;

/// A download whose client has taken nothing for so long makes room for a new one.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// When a client is told to ask again that found no place.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// One file of a store.
pub struct StoredFile {
    /// What a browser saves it as.
    pub name: String,
    /// The media type of what is stored.
    pub kind: &'static str,
    pub size: u64,
    /// Of exactly these bytes, without quotes: letters and digits.
    pub etag: String,
    /// The SHA-256 of the whole file, where it is known.
    pub sha256: Option<[u8; 32]>,
    /// Reads so many bytes from a place on.
    pub open: Box<dyn FnOnce(u64, u64) -> Pieces + Send>,
}

/// The bytes of a file. The error says what is wrong with the store.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

/// What of a request decides how a file is sent.
pub(super) struct Wanted {
    method: Method,
    headers: HeaderMap,
    connection: Option<Connected>,
}

impl Wanted {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            headers: request.headers().clone(),
            connection: request.extensions().get::<Connected>().cloned(),
        }
    }
}

/// The answer to a request for a file of an export or a snapshot, by RFC 9110.
pub(super) fn answer(
    downloads: &Arc<Downloads>,
    wanted: &Wanted,
    (of, file): (&str, StoredFile),
) -> Response {
    let etag = format!("\"{}\"", file.etag);
    let headers = &wanted.headers;
    if headers.contains_key(header::IF_MATCH) && !names(headers, &header::IF_MATCH, &etag, false) {
        let detail = "the file is another one than `If-Match` names";
        return Problem::new(StatusCode::PRECONDITION_FAILED, detail).into_response();
    }
    if names(headers, &header::IF_NONE_MATCH, &etag, true) {
        return described(StatusCode::NOT_MODIFIED.into_response(), &file, &etag);
    }
    let (from, length, whole) = match range(wanted, &etag, file.size) {
        Part::Of(from, length) => (from, length, false),
        Part::Whole => (0, file.size, true),
        Part::Outside => {
            let detail =
                format!("the file has {} bytes, and the range begins behind them", file.size);
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, detail).into_response();
            return with(problem, header::CONTENT_RANGE, &format!("bytes */{}", file.size));
        }
    };
    let status = if whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    let mut response = described(status.into_response(), &file, &etag);
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    if !whole {
        let range = format!("bytes {from}-{}/{}", from + length - 1, file.size);
        response = with(response, header::CONTENT_RANGE, &range);
    }
    if wanted.method == Method::HEAD {
        return response;
    }
    let Some(place) = downloads.take(of, wanted.connection.clone()) else {
        let detail = format!(
            "at most {DOWNLOADS_MAX} files are fetched at a time, and {OF_ONE_MAX} of one export"
        );
        return Problem::busy(detail, ASK_AGAIN_AFTER).into_response();
    };
    let pieces = (file.open)(from, length);
    *response.body_mut() = Body::from_stream(sent(pieces, place, file.name));
    response
}

/// Says of a route that it answers with a file.
pub(super) fn describe(operation: &mut Operation<'_>) {
    let kind = "*/*";
    operation.text(StatusCode::OK, kind, "The file, with its own media type.");
    operation.text(StatusCode::PARTIAL_CONTENT, kind, "The range that was asked for.");
}

/// The pieces, as the client takes them.
fn sent(
    pieces: Pieces,
    place: Place,
    name: String,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send {
    unfold(Some((pieces, place, name)), async |state| {
        let (mut pieces, place, name) = state?;
        place.moved();
        match std::future::poll_fn(|context| pieces.as_mut().poll_next(context)).await? {
            Ok(bytes) => Some((Ok(bytes), Some((pieces, place, name)))),
            // The client sees that bytes are missing, and asks for them again.
            Err(why) => {
                tracing::warn!(
                    event = "http.file_failed",
                    "{name} cannot be read to its end, and its download was broken off: {why}"
                );
                Some((Err(io::Error::other(why)), None))
            }
        }
    })
}

/// The headers that every answer about a file has.
fn described(mut response: Response, file: &StoredFile, etag: &str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(sha256) = &file.sha256 {
        let digest = format!("sha-256=:{}:", STANDARD.encode(sha256));
        response = with(response, HeaderName::from_static("repr-digest"), &digest);
    }
    response = with(response, header::ETAG, etag);
    with(response, header::CONTENT_DISPOSITION, &disposition(&file.name))
}

fn with(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// `Content-Disposition` by RFC 6266: the name in ASCII and, where it has other characters, in UTF-8.
fn disposition(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() && !"\"\\%".contains(c) { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    if ascii == name {
        return format!("attachment; filename=\"{ascii}\"");
    }
    let encoded = name.bytes().fold(String::new(), |encoded, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
            encoded + &char::from(byte).to_string()
        }
        _ => format!("{encoded}%{byte:02X}"),
    });
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

/// Whether a list of entity tags names this one. `weakly`: also as a weak tag.
fn names(headers: &HeaderMap, list: &HeaderName, etag: &str, weakly: bool) -> bool {
    let texts = headers.get_all(list).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim).any(|one| {
        one == "*" || one == etag || weakly && one.strip_prefix("W/").is_some_and(|one| one == etag)
    })
}

/// What part of a file is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// From where on, and how many bytes.
    Of(u64, u64),
    /// Behind the file's end.
    Outside,
}

fn range(wanted: &Wanted, etag: &str, size: u64) -> Part {
    let headers = &wanted.headers;
    let mut ranges = headers.get_all(header::RANGE).iter();
    let (Some(asked), None) = (ranges.next(), ranges.next()) else { return Part::Whole };
    // A date never matches: files are known by their content.
    let same =
        headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes());
    match asked.to_str() {
        Ok(asked) if same && wanted.method == Method::GET => part_of(asked, size),
        _ => Part::Whole,
    }
}

/// The range of a header `Range`. What is no single range of bytes is ignored, as the RFC allows.
fn part_of(asked: &str, size: u64) -> Part {
    let single =
        asked.split_once('=').filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = single.and_then(|(_, range)| range.trim().split_once('-')) else {
        return Part::Whole;
    };
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true if !text.is_empty() => Some(text.parse::<u64>().unwrap_or(u64::MAX)),
        _ => None,
    };
    let (from, end) = match (number(first), number(last)) {
        (None, Some(bytes)) if first.is_empty() => (size.saturating_sub(bytes), size),
        (Some(from), None) if last.is_empty() => (from, size),
        (Some(from), Some(last)) if from <= last => (from, last.saturating_add(1).min(size)),
        _ => return Part::Whole,
    };
    if from >= end { Part::Outside } else { Part::Of(from, end - from) }
}

/// The downloads in progress.
#[derive(Default)]
pub(super) struct Downloads(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    open: HashMap<u64, Download>,
}

struct Download {
    /// The export or snapshot whose file it is.
    of: String,
    /// When its client last took something.
    moved_at: Instant,
    connection: Option<Connected>,
}

/// The place of one download; given back when dropped.
struct Place {
    downloads: Arc<Downloads>,
    id: u64,
}

impl Downloads {
    /// A place for a download, if need be that of one whose client hangs. None: all of those that
    /// could make room go on.
    fn take(self: &Arc<Self>, of: &str, connection: Option<Connected>) -> Option<Place> {
        let mut state = self.state();
        let of_it = state.open.values().filter(|download| download.of == of).count();
        if of_it >= OF_ONE_MAX || state.open.len() >= DOWNLOADS_MAX {
            let could = |download: &Download| of_it < OF_ONE_MAX || download.of == of;
            let could = state.open.iter().filter(|(_, download)| could(download));
            let (id, download) = could.min_by_key(|(_, download)| download.moved_at)?;
            if download.moved_at.elapsed() < HANGS_AFTER {
                return None;
            }
            let id = *id;
            end(state.open.remove(&id));
        }
        let id = state.next;
        state.next += 1;
        let download = Download { of: of.to_owned(), moved_at: Instant::now(), connection };
        state.open.insert(id, download);
        Some(Place { downloads: self.clone(), id })
    }

    /// Breaks all of them off: the daemon stops.
    pub(super) fn end_all(&self) {
        let open = std::mem::take(&mut self.state().open);
        open.into_values().for_each(|download| end(Some(download)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the connection: there is no other way to tell a client that the rest does not come.
fn end(download: Option<Download>) {
    if let Some(connection) = download.and_then(|download| download.connection) {
        connection.end();
    }
}

impl Place {
    fn moved(&self) {
        if let Some(download) = self.downloads.state().open.get_mut(&self.id) {
            download.moved_at = Instant::now();
            if let Some(connection) = &download.connection {
                connection.moved();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.downloads.state().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_understood() {
        let check = |asked: &str, expect| assert_eq!(part_of(asked, 10), expect, "{asked}");
        check("bytes=0-0", Part::Of(0, 1));
        check("bytes=3-", Part::Of(3, 7));
        check("Bytes = 3-4", Part::Of(3, 2));
        check("bytes=9-99999999999999999999999", Part::Of(9, 1));
        check("bytes=-3", Part::Of(7, 3));
        check("bytes=-99", Part::Of(0, 10));
        for outside in ["bytes=10-", "bytes=10-12", "bytes=99999999999999999999999-", "bytes=-0"] {
            check(outside, Part::Outside);
        }
        for other in ["", "bytes", "bytes=", "bytes=-", "bytes=4-3", "bytes=1-2,4-5", "rows=1-2"] {
            check(other, Part::Whole);
        }
        check("bytes=+1-2", Part::Whole);
        assert_eq!(part_of("bytes=0-", 0), Part::Outside);
        assert_eq!(part_of("bytes=-5", 0), Part::Outside);
    }

    fn asked(method: Method, headers: &[(HeaderName, &str)]) -> Response {
        let mut wanted = Wanted { method, headers: HeaderMap::new(), connection: None };
        for (name, value) in headers {
            wanted.headers.append(name.clone(), value.parse().unwrap());
        }
        let content = b"0123456789";
        let file = StoredFile {
            name: "käse.csv".to_owned(),
            kind: "text/csv",
            size: 10,
            etag: "abc".to_owned(),
            sha256: Some([0; 32]),
            open: Box::new(|from, length| {
                let bytes =
                    Bytes::from_static(content).slice(from as usize..(from + length) as usize);
                Box::pin(futures_util::stream::iter([Ok(bytes)]))
            }),
        };
        answer(&Arc::default(), &wanted, ("exp_1", file))
    }

    #[tokio::test]
    async fn a_condition_and_a_range_are_honoured_as_the_rfc_says() {
        use axum::http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
        let check = async |headers: &[(HeaderName, &str)], status: u16, body: &str| {
            let response = asked(Method::GET, headers);
            assert_eq!(response.status().as_u16(), status, "{headers:?}");
            let length = response.headers().get(header::CONTENT_LENGTH).cloned();
            let bytes = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
            if status < 300 {
                assert_eq!(bytes, body, "{headers:?}");
                assert_eq!(length.unwrap(), body.len().to_string());
            }
        };
        check(&[], 200, "0123456789").await;
        check(&[(RANGE, "bytes=2-4")], 206, "234").await;
        check(&[(RANGE, "bytes=0-9")], 206, "0123456789").await;
        check(&[(RANGE, "bytes=10-")], 416, "").await;
        check(&[(RANGE, "bytes=2-4"), (RANGE, "bytes=5-6")], 200, "0123456789").await;
        check(&[(RANGE, "bytes=8-"), (IF_RANGE, "\"abc\"")], 206, "89").await;
        check(&[(RANGE, "bytes=8-"), (IF_RANGE, "W/\"abc\"")], 200, "0123456789").await;
        check(&[(RANGE, "bytes=8-"), (IF_RANGE, "\"other\"")], 200, "0123456789").await;
        check(&[(IF_NONE_MATCH, "\"x\", W/\"abc\"")], 304, "").await;
        check(&[(IF_NONE_MATCH, "\"x\"")], 200, "0123456789").await;
        check(&[(IF_MATCH, "\"x\"")], 412, "").await;
        check(&[(IF_MATCH, "\"x\", \"abc\"")], 200, "0123456789").await;

        let head = asked(Method::HEAD, &[(RANGE, "bytes=2-4")]);
        assert_eq!(
            (head.status().as_u16(), &head.headers()[header::CONTENT_LENGTH]),
            (200, &"10".parse().unwrap())
        );
        let zeros = format!("sha-256=:{}=:", "A".repeat(43));
        assert_eq!(head.headers()["repr-digest"], zeros);
        assert_eq!(
            head.headers()[header::CONTENT_DISPOSITION],
            "attachment; filename=\"k_se.csv\"; filename*=UTF-8''k%C3%A4se.csv"
        );
        assert_eq!(
            disposition("a b\"\r\nx: y"),
            "attachment; filename=\"a_b___x:_y\"; filename*=UTF-8''a%20b%22%0D%0Ax%3A%20y"
        );
        assert_eq!(disposition("items.csv.gz"), "attachment; filename=\"items.csv.gz\"");
    }

    #[test]
    fn a_client_that_hangs_makes_room_and_one_that_goes_on_does_not() {
        let downloads: Arc<Downloads> = Arc::default();
        let places: Vec<Place> = (0..DOWNLOADS_MAX)
            .map(|number| downloads.take(&number.to_string(), None).unwrap())
            .collect();
        assert!(downloads.take("new", None).is_none());
        let (connection, ended) = Connected::alone();
        let long_ago = Instant::now().checked_sub(HANGS_AFTER).unwrap();
        let hanging =
            Download { of: "3".to_owned(), moved_at: long_ago, connection: Some(connection) };
        downloads.state().open.insert(places[3].id, hanging);
        let new = downloads.take("new", None).unwrap();
        assert!(ended());
        assert!(downloads.take("new", None).is_none());
        // The place of the one that hung is no longer its own.
        drop(places);
        assert_eq!(downloads.state().open.len(), 1);
        drop(new);
        assert!(downloads.state().open.is_empty());
    }

    #[test]
    fn slow_readers_of_one_export_leave_places_to_others() {
        let downloads: Arc<Downloads> = Arc::default();
        let other = downloads.take("other", None).unwrap();
        let long_ago = Instant::now().checked_sub(HANGS_AFTER).unwrap();
        downloads.state().open.get_mut(&other.id).unwrap().moved_at = long_ago;
        let places: Vec<Place> =
            (0..OF_ONE_MAX).map(|_| downloads.take("slow", None).unwrap()).collect();
        // They take no place of another export, also not of one that hangs.
        assert!(downloads.take("slow", None).is_none());
        assert_eq!(downloads.state().open.len(), OF_ONE_MAX + 1);
        let _others = downloads.take("other", None).unwrap();
        drop(places);
        assert!(downloads.take("slow", None).is_some());
    }
}
