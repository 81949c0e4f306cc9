//! Signature Version 4: a request proves that its sender has the secret, and does not show it.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::{digest, hmac};

use super::place::BucketPlace;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request as it is signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// Names and values; not yet escaped.
    pub(super) query: &'a [(&'a str, &'a str)],
    /// In small letters, in the order of their names. `host` is among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// The SHA-256 of the body, or `UNSIGNED-PAYLOAD`.
    pub(super) body: &'a str,
}

/// A moment as requests have it: `20261128T031300Z`.
pub(super) fn moment(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The header `authorization`.
pub(super) fn authorization(place: &BucketPlace, moment: &str, request: &Signed<'_>) -> String {
    let names = header_names(request);
    let signature = signature(place, moment, request);
    format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={names}, Signature={signature}",
        place.access_key_id,
        scope(place, moment)
    )
}

/// The query of a URL with which anybody may read an object for so many seconds.
pub(super) fn presigned(
    place: &BucketPlace,
    moment: &str,
    (path, authority): (&str, &str),
    seconds: u64,
    others: &[(&str, &str)],
) -> String {
    let (credential, seconds) =
        (format!("{}/{}", place.access_key_id, scope(place, moment)), seconds.to_string());
    let mut query = vec![
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", moment),
        ("X-Amz-Expires", &seconds),
        ("X-Amz-SignedHeaders", "host"),
    ];
    query.extend_from_slice(others);
    let headers = [("host", authority)];
    let request =
        Signed { method: "GET", path, query: &query, headers: &headers, body: "UNSIGNED-PAYLOAD" };
    let signature = signature(place, moment, &request);
    format!("{}&X-Amz-Signature={signature}", query_text(&query))
}

fn signature(place: &BucketPlace, moment: &str, request: &Signed<'_>) -> String {
    let mut text = format!("{}\n{}\n{}\n", request.method, request.path, query_text(request.query));
    for (name, value) in request.headers {
        let _ = writeln!(text, "{name}:{}", value.trim());
    }
    let _ = write!(text, "\n{}\n{}", header_names(request), request.body);
    let to_sign =
        format!("{ALGORITHM}\n{moment}\n{}\n{}", scope(place, moment), sha256(text.as_bytes()));
    let secret = format!("AWS4{}", place.secret_access_key);
    let key = [day(moment), &place.region, "s3", "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, word| keyed(&key, word.as_bytes()));
    hex(&keyed(&key, to_sign.as_bytes()))
}

fn day(moment: &str) -> &str {
    moment.split('T').next().unwrap_or_default()
}

fn scope(place: &BucketPlace, moment: &str) -> String {
    format!("{}/{}/s3/aws4_request", day(moment), place.region)
}

fn header_names(request: &Signed<'_>) -> String {
    request.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
}

/// A query in the order that is signed.
pub(super) fn query_text(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.sort_unstable();
    pairs.join("&")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn keyed(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use offtake_http::Endpoint;

    use super::*;

    /// The account of the examples in Amazon's documentation.
    fn example() -> BucketPlace {
        BucketPlace {
            endpoint: Endpoint::https("examplebucket.s3.amazonaws.com", ""),
            bucket: "examplebucket".to_owned(),
            prefix: None,
            region: "us-east-1".to_owned(),
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            ca_file: None,
        }
    }

    const MOMENT: &str = "20130524T000000Z";

    #[test]
    fn the_documented_requests_have_the_documented_signatures() {
        let empty = sha256(b"");
        let check = |query: &[(&str, &str)], path, extra: &[(&str, &str)], expect: &str| {
            let mut headers = vec![
                ("host", "examplebucket.s3.amazonaws.com"),
                ("x-amz-content-sha256", empty.as_str()),
                ("x-amz-date", MOMENT),
            ];
            headers.extend_from_slice(extra);
            headers.sort_unstable();
            let request =
                Signed { method: "GET", path, query, headers: &headers, body: empty.as_str() };
            let header = authorization(&example(), MOMENT, &request);
            assert!(header.ends_with(expect), "{header}");
        };
        check(
            &[],
            "/test.txt",
            &[("range", "bytes=0-9")],
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
        check(
            &[("max-keys", "2"), ("prefix", "J")],
            "/",
            &[],
            "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }

    #[test]
    fn the_documented_url_has_the_documented_signature() {
        let place = example();
        let at = ("/test.txt", "examplebucket.s3.amazonaws.com");
        let query = presigned(&place, MOMENT, at, 86_400, &[]);
        let expect = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert!(query.ends_with(expect), "{query}");
    }

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(moment(Timestamp::UNIX_EPOCH), "19700101T000000Z");
    }
}
