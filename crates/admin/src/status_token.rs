//! Status tokens: by its own, a tenant reads how fresh its copies are, and nothing else.
//!
//! A token is derived and stored nowhere: the tenant's id, how often an operator has revoked the
//! tenant's tokens, and an HMAC over both by `http.status_secret`. So a wrong token is refused
//! without a look at the source, whichever tenant it names. Of a right one, the source says whether
//! its number is still the current one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::Client;

use crate::{Error, sql};

/// What a token begins with, so that scanners for secrets can know it.
const BEGINS: &str = "offtake-status";

/// What is signed begins with this, so that no other use of the secret can make a token.
const PURPOSE: &[u8] = b"offtake status token 1\0";

/// A longer token is none: it would name a tenant that no registry has.
const TOKEN_CHARS_MAX: usize = 4096;

/// `http.status_secret`, which all daemons and the command must share.
#[derive(Clone)]
pub struct StatusSecret(hmac::Key);

/// What a genuine token says. It may have been revoked since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The tenant as the configuration spells it.
    pub tenant: String,
    /// How often the tenant's tokens had been revoked when it was made.
    pub revoked: i64,
}

impl StatusSecret {
    pub fn new(secret: &SecretString) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()))
    }

    /// The token of a tenant whose tokens were revoked so often.
    pub fn token(&self, claim: &Claim) -> String {
        let tag = hmac::sign(&self.0, &signed(claim));
        let tenant = URL_SAFE_NO_PAD.encode(&claim.tenant);
        let tag = URL_SAFE_NO_PAD.encode(tag.as_ref());
        format!("{BEGINS}.{tenant}.{}.{tag}", claim.revoked)
    }

    /// What the token claims; None: this secret has not made it. Takes the same time for every tag.
    pub fn open(&self, token: &str) -> Option<Claim> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let mut parts = token.split('.');
        let [begins, tenant, number, tag] = [(); 4].map(|()| parts.next().unwrap_or_default());
        if begins != BEGINS || parts.next().is_some() {
            return None;
        }
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let tenant = String::from_utf8(decoded(tenant)?).ok()?;
        let revoked: i64 = number.parse().ok()?;
        // One token has one spelling.
        if revoked.to_string() != number {
            return None;
        }
        let claim = Claim { tenant, revoked };
        hmac::verify(&self.0, &signed(&claim), &decoded(tag)?).is_ok().then_some(claim)
    }
}

impl fmt::Debug for StatusSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusSecret(…)")
    }
}

/// The number has a fixed length, so no two claims are signed as the same bytes.
fn signed(claim: &Claim) -> Vec<u8> {
    [PURPOSE, &claim.revoked.to_be_bytes(), claim.tenant.as_bytes()].concat()
}

/// How often the tenant's tokens were revoked.
pub async fn revocations(source: &Client, tenant: &str) -> Result<i64, Error> {
    Ok(source.query_one(sql::READ_REVOCATIONS, &[&tenant]).await?.get("revoked"))
}

/// No token of the tenant is valid any more. Returns how often that was done.
pub async fn revoke(source: &Client, tenant: &str) -> Result<i64, Error> {
    Ok(source.query_one(sql::REVOKE_STATUS_TOKENS, &[&tenant]).await?.get("revoked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> StatusSecret {
        StatusSecret::new(&text.to_owned().into())
    }

    #[test]
    fn a_token_opens_to_what_it_was_made_of_and_only_by_its_secret() {
        let ours = secret("ours");
        for (tenant, revoked) in [("acme", 0), ("7b0c8f2e-6f0f", 3), ("a.b/ü\n", i64::MAX), ("", 1)]
        {
            let claim = Claim { tenant: tenant.to_owned(), revoked };
            let token = ours.token(&claim);
            assert_eq!(ours.open(&token), Some(claim), "{token}");
            assert_eq!(secret("theirs").open(&token), None);
        }
    }

    #[test]
    fn every_changed_character_of_a_token_makes_it_a_wrong_one() {
        let ours = secret("ours");
        let token = ours.token(&Claim { tenant: "acme".to_owned(), revoked: 1 });
        for at in 0..token.len() {
            for other in ['A', 'B', '.', '0', '-'] {
                let mut tampered = token.clone();
                tampered.replace_range(at..=at, &other.to_string());
                assert!(tampered == token || ours.open(&tampered).is_none(), "{tampered}");
            }
            assert_eq!(ours.open(&token[..at]), None);
        }
        let longer = format!("{token}.x");
        let respelt = token.replace(".1.", ".01.");
        for wrong in [longer, format!("{token} "), respelt, "A".repeat(5000)] {
            assert_eq!(ours.open(&wrong), None, "{wrong}");
        }
    }
}
