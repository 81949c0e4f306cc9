//! What an object store answers, in XML: errors, listings, uploads.
//!
//! The answers have a fixed form, so elements are looked for by name. What is found is data of
//! another system: keys are checked before they are used, and messages are cut.

use hyper::StatusCode;

use super::place::BucketPlace;
use crate::stores::{Error, Trouble};

/// Of a message that another system wrote.
const MESSAGE_CHARS_MAX: usize = 300;

/// The texts of all elements of that name that are not inside each other.
pub(super) fn elements<'x>(xml: &'x str, name: &str) -> Vec<&'x str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (mut found, mut rest) = (Vec::new(), xml);
    while let Some(at) = rest.find(&open) {
        let inside = &rest[at + open.len()..];
        let Some(end) = inside.find(&close) else { break };
        found.push(&inside[..end]);
        rest = &inside[end + close.len()..];
    }
    found
}

/// The text of the first element of that name.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    elements(xml, name).first().map(|text| unescaped(text))
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// What the store calls it; empty where it says nothing, as an answer to HEAD does.
    pub(super) code: String,
    message: String,
    region: Option<String>,
}

impl Refusal {
    pub(super) fn read(status: StatusCode, region: Option<String>, body: &str) -> Self {
        let code = element(body, "Code").unwrap_or_default();
        let message = element(body, "Message").unwrap_or_default();
        let region = element(body, "Region").or(region);
        Self { status, code: one_line(&code), message: one_line(&message), region }
    }

    /// Whether the same request may succeed in a moment.
    pub(super) fn passing(&self) -> bool {
        let busy = ["RequestTimeout", "OperationAborted", "ConditionalRequestConflict"];
        // The store does not have it, and will not have it in a moment.
        let never = self.status == StatusCode::NOT_IMPLEMENTED
            || self.status == StatusCode::INSUFFICIENT_STORAGE
            || self.status == StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        let throttled = self.trouble() == Trouble::Throttled;
        throttled || (self.status.is_server_error() && !never) || busy.contains(&&*self.code)
    }

    /// The store knows no such request.
    pub(super) fn unknown_request(&self) -> bool {
        self.code == "NotImplemented"
            || matches!(self.status, StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED)
    }

    pub(super) fn trouble(&self) -> Trouble {
        match &*self.code {
            "NoSuchBucket" => return Trouble::NoBucket,
            "SlowDown"
            | "Throttling"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "TooManyRequests" => return Trouble::Throttled,
            "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage" | "StorageFull" => {
                return Trouble::Full;
            }
            "SignatureDoesNotMatch"
            | "InvalidAccessKeyId"
            | "AccessDenied"
            | "AuthorizationHeaderMalformed"
            | "RequestTimeTooSkewed"
            | "PermanentRedirect" => return Trouble::Denied,
            _ => {}
        }
        match self.status {
            StatusCode::NOT_FOUND => Trouble::Missing,
            StatusCode::PRECONDITION_FAILED => Trouble::Exists,
            StatusCode::TOO_MANY_REQUESTS => Trouble::Throttled,
            StatusCode::INSUFFICIENT_STORAGE => Trouble::Full,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Trouble::Denied,
            status if status.is_server_error() => Trouble::Unreachable,
            status if status.is_redirection() => Trouble::Denied,
            _ => Trouble::Unavailable,
        }
    }

    /// The error of what was being done.
    pub(super) fn error(&self, what: &str, place: &BucketPlace) -> Error {
        let why = match &*self.code {
            "SignatureDoesNotMatch" => {
                "the secret_access_key is not the one of this access_key_id".to_owned()
            }
            "InvalidAccessKeyId" => "the store does not know this access_key_id".to_owned(),
            "RequestTimeTooSkewed" => {
                "the clocks of this machine and of the store differ too much".to_owned()
            }
            "NoSuchBucket" => format!("there is no bucket named {}", place.bucket),
            _ if self.redirected() => match &self.region {
                Some(region) => format!("the bucket is in the region {region}"),
                None => "the bucket is in another region, or at another endpoint".to_owned(),
            },
            _ => match self.trouble() {
                Trouble::Denied => "this access key may not do that there".to_owned(),
                Trouble::Throttled => "the store wants fewer requests".to_owned(),
                Trouble::Unreachable => "store unreachable".to_owned(),
                Trouble::Full => "the store is full".to_owned(),
                Trouble::Missing => "there is no such object".to_owned(),
                Trouble::Exists => "there is such an object already".to_owned(),
                _ => "the store refuses the request".to_owned(),
            },
        };
        Error::new(self.trouble(), what, format!("{why} ({})", self.told()))
    }

    fn redirected(&self) -> bool {
        self.status.is_redirection()
            || self.code == "AuthorizationHeaderMalformed"
            || self.code == "PermanentRedirect"
    }

    /// `403 AccessDenied: Access Denied`.
    fn told(&self) -> String {
        let mut told = self.status.as_u16().to_string();
        for (between, text) in [(" ", &self.code), (": ", &self.message)] {
            if !text.is_empty() {
                told.push_str(between);
                told.push_str(text);
            }
        }
        told
    }
}

fn one_line(text: &str) -> String {
    let of_line = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MESSAGE_CHARS_MAX).map(of_line).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: &str) -> Refusal {
        let body = format!("<Error><Code>{code}</Code><Message>a &amp; b\nc</Message></Error>");
        Refusal::read(StatusCode::from_u16(status).unwrap(), None, &body)
    }

    #[test]
    fn elements_are_found_by_name() {
        let xml = "<R><C><Key>a&amp;b</Key><Size>1</Size></C><C><Key>c</Key></C><K></K></R>";
        let keys: Vec<_> = elements(xml, "C").iter().map(|c| element(c, "Key").unwrap()).collect();
        assert_eq!(keys, ["a&b", "c"]);
        assert_eq!(element(xml, "Missing"), None);
        assert_eq!(elements("<Key>cut", "Key"), Vec::<&str>::new());
    }

    #[test]
    fn each_answer_has_a_class() {
        for (status, code, trouble, passing) in [
            (404, "NoSuchKey", Trouble::Missing, false),
            (404, "NoSuchBucket", Trouble::NoBucket, false),
            (412, "PreconditionFailed", Trouble::Exists, false),
            (403, "SignatureDoesNotMatch", Trouble::Denied, false),
            (403, "", Trouble::Denied, false),
            (301, "PermanentRedirect", Trouble::Denied, false),
            (503, "SlowDown", Trouble::Throttled, true),
            (429, "", Trouble::Throttled, true),
            (500, "InternalError", Trouble::Unreachable, true),
            (502, "", Trouble::Unreachable, true),
            (400, "RequestTimeout", Trouble::Unavailable, true),
            (409, "ConditionalRequestConflict", Trouble::Unavailable, true),
            (400, "EntityTooSmall", Trouble::Unavailable, false),
            (507, "", Trouble::Full, false),
            (501, "NotImplemented", Trouble::Unreachable, false),
        ] {
            let refusal = refusal(status, code);
            assert_eq!((refusal.trouble(), refusal.passing()), (trouble, passing), "{code}");
        }
        assert_eq!(refusal(400, "X").told(), "400 X: a & b c");
    }
}
