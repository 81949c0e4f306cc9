//! Links: addresses that open one file for a while, without a token.
//!
//! Nothing is stored. A link is the moment until which it opens, and an HMAC over that and over what
//! it opens, by a key that is derived from the admin token. So another admin token ends all links.

use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::guard::{Admission, admission, foreign, foreign_origin, peer};
use super::mutations::{DURATION, duration};
use super::problem::Problem;
use super::{API, Shared, Tokens};
use crate::jobs::{Linkable, LinkableFile};

/// Without `for`, a link opens so long.
const LINK_FOR: Duration = Duration::from_secs(3600);

/// And at most so long, as those of S3.
const LINK_FOR_MAX: Duration = Duration::from_secs(7 * 86_400);

/// What the key is derived with, so that no other use of the admin token can make a link.
const PURPOSE: &[u8] = b"offtake link 1";

/// The query of a link, as the document describes it.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub(super) struct LinkParameters {
    /// Of a link: seconds since 1970.
    until: Option<i64>,
    /// Of a link.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]*$"))]
    signature: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedLinks {
    /// How long they open; absent: 1h. At most 7d, and never longer than the files are kept.
    #[schemars(length(min = 2), regex(pattern = DURATION))]
    r#for: Option<String>,
}

impl WantedLinks {
    /// When they end.
    pub(super) fn until(&self) -> Result<Timestamp, Problem> {
        let lasts = self.r#for.as_deref().map(duration).transpose()?.unwrap_or(LINK_FOR);
        if lasts > LINK_FOR_MAX || lasts.is_zero() {
            let detail = "a link opens for one second at least, and seven days at most";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        Ok(Timestamp::now().saturating_add(lasts).unwrap_or(Timestamp::MAX))
    }
}

/// Addresses that open the files of an export without a token.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct NewLinks {
    pub(super) until: Timestamp,
    pub(super) items: Vec<Link>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Link {
    /// The file's name.
    pub(super) name: String,
    /// Below this server's address, or a whole one of the store.
    pub(super) url: String,
}

/// The name of the one file of a snapshot, in its address.
pub(super) const ARCHIVE: &str = "archive";

/// Makes links.
#[derive(Clone)]
pub struct Links {
    key: Option<hmac::Key>,
    /// No token is configured, so that a path opens its file without a signature.
    open: bool,
}

/// The query of a link.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct LinkQuery {
    /// Seconds since 1970.
    pub(super) until: Option<i64>,
    pub(super) signature: Option<String>,
}

/// What a link is worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    Yes,
    /// It did, until then.
    Ended(Timestamp),
    No,
}

impl Links {
    pub fn of(tokens: &Tokens) -> Self {
        let key = tokens.admin.as_ref().map(|token| {
            let token = hmac::Key::new(hmac::HMAC_SHA256, token.expose_secret().as_bytes());
            let derived = hmac::sign(&token, PURPOSE);
            hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
        });
        Self { key, open: !tokens.required() }
    }

    /// The path and query that open a file of an export until then. None: there is no admin token,
    /// and the read token opens no file.
    pub fn to_export_file(&self, export: &str, file: &str, until: Timestamp) -> Option<String> {
        let path = format!("{API}/exports/{export}/files/{}", encoded(file));
        self.link(path, &[export, file], until)
    }

    /// The same of the file of a snapshot.
    pub(super) fn to_archive(&self, snapshot: &str, until: Timestamp) -> Option<String> {
        self.link(format!("{API}/snapshots/{snapshot}/{ARCHIVE}"), &[snapshot, ARCHIVE], until)
    }

    fn link(&self, path: String, what: &[&str], until: Timestamp) -> Option<String> {
        match self.query(what, until) {
            Some(query) => Some(format!("{path}?{query}")),
            None => self.open.then_some(path),
        }
    }

    /// The query that opens `what` until then. None: there is no admin token.
    fn query(&self, what: &[&str], until: Timestamp) -> Option<String> {
        let until = until.as_second();
        let signature = hmac::sign(self.key.as_ref()?, &signed(what, until));
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        Some(format!("until={until}&signature={signature}"))
    }

    /// Whether the query opens `what` now. Takes the same time for every signature.
    pub(super) fn opens(&self, what: &[&str], query: &LinkQuery, now: Timestamp) -> Opened {
        let (Some(key), Some(until), Some(signature)) =
            (&self.key, query.until, query.signature.as_deref())
        else {
            return Opened::No;
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        if hmac::verify(key, &signed(what, until), &signature).is_err() {
            return Opened::No;
        }
        match Timestamp::from_second(until) {
            Ok(until) if now < until => Opened::Yes,
            Ok(until) => Opened::Ended(until),
            Err(_) => Opened::No,
        }
    }
}

/// Each word with its length, so that no two things are signed alike.
fn signed(what: &[&str], until: i64) -> Vec<u8> {
    let words = what.iter().map(|word| format!("{}:{word}", word.len()));
    let mut text: String = words.collect();
    text.push_str(&until.to_string());
    text.into_bytes()
}

/// A word of a path.
fn encoded(word: &str) -> String {
    word.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

impl Shared {
    /// Links to files: the store's own URLs where it has them, and otherwise those that `signed`
    /// makes of a file's name.
    pub(super) fn linked(
        &self,
        linkable: Linkable,
        signed: impl Fn(&Links, &str, Timestamp) -> Option<String>,
    ) -> Result<NewLinks, Problem> {
        let Linkable { until, files } = linkable;
        let unsigned = || {
            let detail = "links are signed with http.admin_token, which is not set";
            Problem::new(StatusCode::CONFLICT, detail)
        };
        let link = |file: LinkableFile| {
            let own = || signed(&self.links, &file.name, until).map(|path| self.public(path));
            let url = file.url.clone().or_else(own).ok_or_else(unsigned)?;
            Ok(Link { name: file.name, url })
        };
        let items: Result<Vec<Link>, Problem> = files.into_iter().map(link).collect();
        Ok(NewLinks { until, items: items? })
    }
}

/// Lets a request pass that has the admin token, or a link to this very file.
pub(super) fn admit(
    shared: &Shared,
    request: &Request,
    (id, name): (&str, &str),
    link: &LinkQuery,
) -> Result<(), Problem> {
    if *link == LinkQuery::default() || !shared.state.tokens.required() {
        let admission = admission(shared, request)?;
        if foreign(request) {
            return Err(foreign_origin());
        }
        return expect_rows_allowed(admission);
    }
    let too_many = |what| move |wait| Problem::too_many(what, wait);
    match shared.links.opens(&[id, name], link, Timestamp::now()) {
        Opened::Yes => shared.limits.anonymous(peer(request)).map_err(too_many("requests")),
        Opened::Ended(at) => {
            shared.limits.anonymous(peer(request)).map_err(too_many("requests"))?;
            let detail = format!("this link opened the file until {at}; ask for a new one");
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        }
        Opened::No => {
            shared.limits.wrong_token(peer(request)).map_err(too_many("wrong links"))?;
            let detail = "this is no valid link to this file; ask for a new one";
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        }
    }
}

pub(super) fn expect_rows_allowed(admission: Admission) -> Result<(), Problem> {
    if admission == Admission::Everything {
        return Ok(());
    }
    let detail = "rows need the admin token, http.admin_token, or a link that was made with it";
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(token: &str) -> Links {
        Links::of(&Tokens::new(Some(token.into()), None))
    }

    fn parsed(query: &str) -> LinkQuery {
        let (until, signature) = query.split_once('&').unwrap();
        LinkQuery {
            until: until.strip_prefix("until=").unwrap().parse().ok(),
            signature: signature.strip_prefix("signature=").map(str::to_owned),
        }
    }

    #[test]
    fn a_link_opens_one_thing_for_a_while() {
        let ours = links("an admin token");
        let at = |second| Timestamp::from_second(second).unwrap();
        let query = parsed(&ours.query(&["exp_1", "items.csv"], at(1000)).unwrap());
        let check = |links: &Links, what: &[&str], query: &LinkQuery, now, expect| {
            assert_eq!(links.opens(what, query, at(now)), expect, "{what:?} {query:?}");
        };
        check(&ours, &["exp_1", "items.csv"], &query, 999, Opened::Yes);
        check(&ours, &["exp_1", "items.csv"], &query, 1000, Opened::Ended(at(1000)));
        for other in [&["exp_1", "items.csw"][..], &["exp_2", "items.csv"], &["exp_1items.csv"]] {
            check(&ours, other, &query, 999, Opened::No);
        }
        check(&links("another token"), &["exp_1", "items.csv"], &query, 999, Opened::No);
        check(&Links::of(&Tokens::default()), &["exp_1", "items.csv"], &query, 999, Opened::No);
        let longer =
            LinkQuery { until: Some(2000), ..parsed(&ours.query(&["a"], at(1000)).unwrap()) };
        check(&ours, &["a"], &longer, 999, Opened::No);
        for signature in [None, Some(String::new()), Some("AAAA".to_owned())] {
            let query = LinkQuery { until: Some(1000), signature };
            check(&ours, &["exp_1", "items.csv"], &query, 999, Opened::No);
        }
        assert!(Links::of(&Tokens::default()).query(&["a"], at(1)).is_none());
    }

    #[test]
    fn a_file_without_a_signature_is_open_only_where_no_token_is_configured() {
        let at = Timestamp::from_second(1000).unwrap();
        let path = "/api/v1/exports/exp_1/files/k%C3%A4se.csv";
        let check = |admin: Option<&str>, read: Option<&str>, expect: Option<&str>| {
            let tokens = Tokens::new(admin.map(Into::into), read.map(Into::into));
            let link = Links::of(&tokens).to_export_file("exp_1", "käse.csv", at);
            let begins = link.as_deref().map(|link| link.split("&signature=").next().unwrap());
            assert_eq!(begins, expect, "{admin:?} {read:?}");
        };
        check(Some("admin"), Some("read"), Some(&format!("{path}?until=1000")));
        check(None, None, Some(path));
        check(Some(""), Some("read"), None);
        check(None, Some("read"), None);
    }
}
