//! Headers that a webhook's owner adds to every request. Their values count as secret.

use hyper::header::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

/// So many headers of a webhook's own are sent…
pub const HEADERS_MAX: usize = 20;
/// …of so many bytes together; servers refuse more.
const HEADERS_BYTES_MAX: usize = 8 * 1024;

/// Names that the protocol or the daemon sets, or that concern one connection only.
const REFUSED: [&str; 12] = [
    "host",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "user-agent",
    "forwarded",
    "via",
    "http2-settings",
];

/// Whole families of such names.
const REFUSED_PREFIXES: [&str; 5] = ["content-", "webhook-", "offtake-", "proxy-", "x-forwarded-"];

/// Checked names with their values. `Debug` shows no value.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// Reads them. The message names the header and repeats no value.
    pub fn parse<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        let mut parsed = Vec::new();
        let mut bytes = 0;
        for (name, value) in headers {
            let (name, value) = header(name, value)?;
            if parsed.iter().any(|(other, _)| *other == name) {
                return Err(format!("the header {name} is there twice; write it once"));
            }
            bytes += name.as_str().len() + value.len();
            parsed.push((name, value));
        }
        if parsed.len() > HEADERS_MAX || bytes > HEADERS_BYTES_MAX {
            return Err(format!(
                "{} headers of {bytes} bytes; at most {HEADERS_MAX} of {HEADERS_BYTES_MAX} bytes \
                 are sent",
                parsed.len()
            ));
        }
        Ok(Self(parsed))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }

    /// Their names, which may be shown.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn hash_into(&self, hasher: &mut Sha256) {
        for (name, value) in &self.0 {
            for part in [name.as_str().as_bytes(), value.as_bytes()] {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
        }
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    // Lower case in the message too: a name may be anything here.
    let shown = offtake_mapping::foreign(name).into_owned();
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{shown} is no name of a header: letters, digits and - make one"))?;
    let lower = parsed.as_str();
    if REFUSED.contains(&lower) || REFUSED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err(format!("the header {shown} is set by Offtake or by the protocol; drop it"));
    }
    let plain = |byte: u8| matches!(byte, b'\t' | b' '..=b'~');
    if !value.bytes().all(plain) {
        return Err(format!(
            "the value of the header {shown} has a line end, a control character or one beyond \
             ASCII; encode it as the receiver expects"
        ));
    }
    if value.trim() != value {
        return Err(format!(
            "the value of the header {shown} begins or ends with white space, which does not \
             arrive; drop it"
        ));
    }
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| format!("the value of the header {shown} cannot be sent"))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_that_offtake_does_not_set() {
        for name in ["Authorization", "x-api-key", "X-Tenant", "accept", "cookie"] {
            assert!(Headers::parse([(name, "v")]).is_ok(), "{name}");
        }
        for name in [
            "Host",
            "Content-Type",
            "content-length",
            "content-encoding",
            "Connection",
            "Transfer-Encoding",
            "TE",
            "Upgrade",
            "Expect",
            "User-Agent",
            "webhook-id",
            "Webhook-Signature",
            "offtake-attempt",
            "Proxy-Authorization",
            "proxy-connection",
            "X-Forwarded-For",
            "Forwarded",
            "Trailer",
            "Via",
        ] {
            let why = Headers::parse([(name, "v")]).unwrap_err();
            assert!(why.contains(name) && why.contains("drop it"), "{why}");
        }
        for name in ["", "a b", "a:b", "ä", "a\r\nb", ":method", "(x)"] {
            assert!(Headers::parse([(name, "v")]).is_err(), "{name}");
        }
    }

    #[test]
    fn a_value_ends_no_header_and_is_not_shown() {
        for value in [
            "hunter2\r\nx: y",
            "hunter2\n",
            "hunter2\0",
            "hunter2\u{7f}",
            "hunter2é",
            " hunter2",
            "hunter2\t",
        ] {
            let why = Headers::parse([("x-key", value)]).unwrap_err();
            assert!(why.contains("x-key") && !why.contains("hunter2"), "{why}");
        }
        let headers = Headers::parse([("x-key", "hunter2"), ("x-empty", "")]).unwrap();
        assert!(!format!("{headers:?}").contains("hunter2"));
        assert_eq!(headers.names().collect::<Vec<_>>(), ["x-key", "x-empty"]);
    }

    #[test]
    fn a_name_is_there_once_and_there_are_not_too_many() {
        let why = Headers::parse([("X-Key", "a"), ("x-key", "b")]).unwrap_err();
        assert!(why.contains("twice"), "{why}");
        let names: Vec<String> = (0..=HEADERS_MAX).map(|n| format!("x-{n}")).collect();
        let all = |n: usize| Headers::parse(names[..n].iter().map(|name| (name.as_str(), "v")));
        assert!(all(HEADERS_MAX).is_ok());
        assert!(all(HEADERS_MAX + 1).unwrap_err().contains("at most"));
        assert!(Headers::parse([("x", "v".repeat(HEADERS_BYTES_MAX).as_str())]).is_err());
    }
}
