//! Links: addresses that open one file for a while, without a token.
//!
//! Nothing is stored. A link is the moment until which it opens, and an HMAC over that and over what
//! it opens, by a key that is derived from the admin token. So another admin token ends all links.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::exports::encoded;
use super::{API, Tokens};

/// What the key is derived with, so that no other use of the admin token can make a link.
const PURPOSE: &[u8] = b"offtake link 1";

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
        match self.query(&[export, file], until) {
            Some(query) => Some(format!("{path}?{query}")),
            None => self.open.then_some(path),
        }
    }

    /// The query that opens `what` until then. None: there is no admin token.
    pub(super) fn query(&self, what: &[&str], until: Timestamp) -> Option<String> {
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
