//! Which database is meant, where its API answers, and the token that opens it.

use std::fmt;
use std::time::Duration;

use offtake_egress::{Remote, SettingNames};
use offtake_http::Endpoint;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::reach::Reach;
use super::usage::{Spent, Usage};
use crate::destinations::InvalidPlace;

/// What a URL of such a destination begins with.
const SCHEME: &str = "d1://";

const LIKE: &str = "write it like d1://<account id>/<database id>, as `wrangler d1 info` prints the \
                    ids, with the token beside it";

/// Where the API answers that Cloudflare documents.
pub const ENDPOINT: &str = "https://api.cloudflare.com/client/v4";

/// Cloudflare allows 4 requests a second for each token, over five minutes and over everything that
/// uses the token. The rest is for others.
pub const REQUESTS_PER_SECOND: u32 = 3;

/// `destinations.d1` of the configuration: the operator's, never a tenant's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct D1Settings {
    endpoint: Endpoint,
    requests_per_second: u32,
}

/// A D1 database.
pub struct D1Database {
    /// Account and database, as in the URL.
    name: String,
    token: SecretString,
    settings: D1Settings,
    /// What this process has asked of it so far.
    pub(super) usage: Usage,
    pub(super) reach: Reach,
}

impl fmt::Debug for D1Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("D1Database").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Default for D1Settings {
    fn default() -> Self {
        let endpoint = Endpoint::https("api.cloudflare.com", "/client/v4");
        Self { endpoint, requests_per_second: REQUESTS_PER_SECOND }
    }
}

impl D1Settings {
    /// An endpoint has TLS, or it is on this machine.
    pub fn new(endpoint: &str, requests_per_second: u32) -> Result<Self, InvalidPlace> {
        let endpoint = Endpoint::parse(endpoint).map_err(|why| InvalidPlace {
            why: format!("the endpoint {why}"),
            remedy: format!("write it like {ENDPOINT}, or leave it out"),
        })?;
        Ok(Self { endpoint, requests_per_second: requests_per_second.max(1) })
    }

    pub fn endpoint(&self) -> &str {
        self.endpoint.text()
    }

    pub fn requests_per_second(&self) -> u32 {
        self.requests_per_second
    }
}

impl D1Database {
    /// Whether a destination's URL is of this kind.
    pub fn is_meant_by(url: &str) -> bool {
        url.get(..3).is_some_and(|scheme| scheme.eq_ignore_ascii_case("d1:"))
    }

    pub fn parse(
        url: &str,
        token: Option<&str>,
        settings: &D1Settings,
    ) -> Result<Self, InvalidPlace> {
        let invalid = |why: &str, remedy: &str| InvalidPlace {
            why: why.to_owned(),
            remedy: remedy.to_owned(),
        };
        let ids = url.strip_prefix(SCHEME).and_then(|ids| ids.split_once('/'));
        let hex =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let uuid = |text: &str| {
            let lengths = text.split('-').map(str::len);
            lengths.eq([8, 4, 4, 4, 12]) && text.split('-').all(hex)
        };
        let Some((account, database)) =
            ids.filter(|(account, database)| account.len() == 32 && hex(account) && uuid(database))
        else {
            let why = "this is not the URL of a D1 database with the ids of account and database";
            return Err(invalid(why, LIKE));
        };
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Err(invalid("a D1 database needs a token", "set `token` beside the url"));
        };
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            let why =
                "the token has a character that no token has, such as a space or a line break";
            return Err(invalid(why, "copy it again"));
        }
        Ok(Self {
            name: format!("{account}/{database}"),
            token: token.into(),
            settings: settings.clone(),
            usage: Usage::default(),
            reach: Reach::default(),
        })
    }

    /// What this process has spent there so far.
    pub fn spent(&self) -> Spent {
        self.usage.spent()
    }

    /// The bytes of rows that the next request may have.
    pub(crate) fn batch_bytes_max(&self) -> usize {
        self.reach.bytes()
    }

    /// Without the token.
    pub fn url(&self) -> String {
        format!("{SCHEME}{}", self.name())
    }

    /// Account and database: what people find it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its API answers.
    pub fn host(&self) -> &str {
        self.settings.endpoint.host()
    }

    pub fn port(&self) -> u16 {
        self.settings.endpoint.port()
    }

    /// Changes with the token and with the endpoint too.
    pub(in crate::destinations) fn fingerprint(&self) -> String {
        let token: String = self.token_hash().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("d1 {} {} {token}", self.name(), self.settings.endpoint.text())
    }

    /// Tells tokens apart without being one.
    pub fn token_hash(&self) -> [u8; 32] {
        Sha256::digest(self.token.expose_secret()).into()
    }

    pub(super) fn authorization(&self) -> String {
        format!("Bearer {}", self.token.expose_secret())
    }

    /// A text of the API's with the token cut out.
    pub(super) fn without_token(&self, text: &str) -> String {
        text.replace(self.token.expose_secret(), "…")
    }

    pub fn requests_per_second(&self) -> u32 {
        self.settings.requests_per_second
    }

    pub(super) fn remote(&self) -> Remote {
        let settings = SettingNames {
            name_authority: "install it among the machine's own",
            verify_ca: "another destinations.d1.endpoint",
            disable: "an endpoint that begins with http://",
        };
        self.settings.endpoint.remote(None, settings)
    }

    pub(super) fn authority(&self) -> String {
        self.settings.endpoint.authority()
    }

    pub(super) fn path(&self) -> String {
        let base = self.settings.endpoint.path();
        let (account, database) = self.name.split_once('/').unwrap_or_default();
        format!("{base}/accounts/{account}/d1/database/{database}/query")
    }

    /// The longest a request may take: Cloudflare ends one after 30 seconds.
    pub(super) const REQUEST_MAX: Duration = Duration::from_secs(35);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "023e105f4ecef8ad9ca31a8372d0c353";
    const DATABASE: &str = "8f0c1f5e-0b1c-4d2e-8f3a-4b5c6d7e8f90";

    #[test]
    fn a_url_names_account_and_database_and_nothing_else() {
        let settings = D1Settings::default();
        let parse = |url: &str| D1Database::parse(url, Some("t0ken"), &settings);
        let good = format!("d1://{ACCOUNT}/{DATABASE}");
        let database = parse(&good).expect("it is one");
        assert_eq!(database.url(), good);
        assert_eq!(
            database.path(),
            format!("/client/v4/accounts/{ACCOUNT}/d1/database/{DATABASE}/query")
        );
        for bad in [
            "d1://x".to_owned(),
            format!("d1://{ACCOUNT}"),
            format!("d1://{ACCOUNT}/{DATABASE}/x"),
            format!("d1://{ACCOUNT}/{DATABASE}?a=b"),
            format!("d1://u:p@{ACCOUNT}/{DATABASE}"),
            format!("d1://{ACCOUNT}/..{}", &DATABASE[2..]),
            format!("D1://{ACCOUNT}/{DATABASE}"),
        ] {
            assert!(D1Database::is_meant_by(&bad), "{bad}");
            assert!(parse(&bad).is_err(), "{bad}");
        }
        assert!(D1Database::parse(&good, None, &settings).is_err());
        assert!(D1Database::parse(&good, Some("a\r\nb"), &settings).is_err());
    }

    #[test]
    fn a_token_is_never_shown() {
        let url = format!("d1://{ACCOUNT}/{DATABASE}");
        let database = D1Database::parse(&url, Some("canary-4711"), &D1Settings::default());
        let database = database.expect("it is one");
        for shown in [
            format!("{database:?}"),
            database.url(),
            database.fingerprint(),
            database.without_token("Invalid token canary-4711 given"),
        ] {
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
