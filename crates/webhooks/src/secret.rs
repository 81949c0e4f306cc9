//! The secrets that sign a webhook's requests, as the configuration or the query has them.
//!
//! Two kinds, told apart by their prefix and never guessed: `whsec_` is a key that sender and
//! receiver share (HMAC-SHA256, `v1`); `whsk_` is a private key whose public half (`whpk_`) the
//! receiver has (ed25519, `v1a`). A text without a prefix would be read as raw bytes by one library
//! and as base64 by another, so it is refused.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// So many secrets sign at once: a rotation takes two, and a move to another kind doubles them.
pub const SECRETS_MAX: usize = 4;

const SYMMETRIC: &str = "whsec_";
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";

/// What Standard Webhooks asks of a symmetric key.
const SYMMETRIC_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The length of a fresh one: what HMAC-SHA256 uses up.
const FRESH_BYTES: usize = 32;

/// A secret with which requests are signed. It is not shown by `Debug`.
pub struct Secret {
    pub(crate) key: Key,
    digest: [u8; 32],
}

pub(crate) enum Key {
    Symmetric(hmac::Key),
    Private(Ed25519KeyPair),
}

/// How a secret signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// `whsec_`, HMAC-SHA256, `v1`.
    Symmetric,
    /// `whsk_`, ed25519, `v1a`.
    Private,
}

impl SecretKind {
    /// The algorithm's name, for the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Symmetric => "hmac",
            Self::Private => "ed25519",
        }
    }
}

/// What may be shown of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub kind: SecretKind,
    /// The first 8 hexadecimal digits of the SHA-256 of its text.
    pub fingerprint: String,
    /// `whpk_…`, for the receivers; None for a symmetric secret.
    pub public_key: Option<String>,
}

impl Secret {
    /// Reads one. The message says what is expected and repeats nothing of the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let key = if let Some(encoded) = text.strip_prefix(SYMMETRIC) {
            symmetric(encoded)?
        } else if let Some(encoded) = text.strip_prefix(PRIVATE) {
            private(encoded)?
        } else if text.starts_with(PUBLIC) {
            return Err(
                "this is a public key (whpk_), which is the receiver's: the secret is its \
                        whsk_"
                    .to_owned(),
            );
        } else {
            return Err("a secret begins with whsec_ (HMAC) or whsk_ (ed25519); `offtake webhook \
                        secret` prints a fresh one"
                .to_owned());
        };
        Ok(Self { key, digest: Sha256::digest(text).into() })
    }

    pub fn shown(&self) -> Signature {
        let (kind, public_key) = match &self.key {
            Key::Symmetric(_) => (SecretKind::Symmetric, None),
            Key::Private(pair) => (SecretKind::Private, Some(public_key(pair))),
        };
        let fingerprint = self.digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        Signature { kind, fingerprint, public_key }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Signature { kind, fingerprint, .. } = self.shown();
        write!(f, "Secret({} {fingerprint})", kind.as_str())
    }
}

fn symmetric(encoded: &str) -> Result<Key, String> {
    let bytes = decoded(encoded, SYMMETRIC)?;
    if !SYMMETRIC_BYTES.contains(&bytes.len()) {
        return Err(format!(
            "a whsec_ secret has 24 to 64 bytes, and this one has {}; `offtake webhook secret` \
             prints a fresh one",
            bytes.len()
        ));
    }
    Ok(Key::Symmetric(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
}

/// The seed alone, or the seed with the public key behind it.
fn private(encoded: &str) -> Result<Key, String> {
    let bytes = decoded(encoded, PRIVATE)?;
    let pair = match bytes.len() {
        32 => Ed25519KeyPair::from_seed_unchecked(&bytes)
            .map_err(|_| "this whsk_ secret is no ed25519 key".to_owned()),
        64 => Ed25519KeyPair::from_seed_and_public_key(&bytes[..32], &bytes[32..]).map_err(|_| {
            "the two halves of this whsk_ secret do not belong together: the second must be \
                 the public key of the first"
                .to_owned()
        }),
        length => Err(format!(
            "a whsk_ secret has 32 bytes (the seed) or 64 (the seed and its public key), and this \
             one has {length}; `offtake webhook secret --ed25519` prints a fresh one"
        )),
    }?;
    Ok(Key::Private(pair))
}

fn decoded(encoded: &str, prefix: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(encoded).map_err(|_| {
        format!(
            "behind {prefix} stands base64 of the standard alphabet (A-Z a-z 0-9 + /), padded with \
             =; this is something else"
        )
    })
}

fn public_key(pair: &Ed25519KeyPair) -> String {
    format!("{PUBLIC}{}", STANDARD.encode(pair.public_key().as_ref()))
}

/// One to four secrets, the newest first. Each signs every request, so a receiver that has one of
/// them accepts it. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Secrets(Arc<Vec<Secret>>);

impl Secrets {
    /// The message says which of several secrets is meant, and repeats nothing of it.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, String> {
        if texts.is_empty() {
            return Err("a webhook needs a secret; `offtake webhook secret` prints one".to_owned());
        }
        if texts.len() > SECRETS_MAX {
            return Err(format!(
                "at most {SECRETS_MAX} secrets sign at once, and these are {}; drop the oldest",
                texts.len()
            ));
        }
        let mut secrets: Vec<Secret> = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let which = match texts.len() {
                1 => String::new(),
                _ => format!("secret {}: ", index + 1),
            };
            let secret = Secret::parse(text.as_ref()).map_err(|why| format!("{which}{why}"))?;
            // Between two rotations a configuration may name the same secret as the new and the old
            // one. It signs once.
            if !secrets.iter().any(|other| other.digest == secret.digest) {
                secrets.push(secret);
            }
        }
        Ok(Self(Arc::new(secrets)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }

    /// What may be shown of them.
    pub fn signatures(&self) -> Vec<Signature> {
        self.iter().map(Secret::shown).collect()
    }

    pub(crate) fn hash_into(&self, hasher: &mut Sha256) {
        self.iter().for_each(|secret| hasher.update(secret.digest));
    }
}

/// A fresh secret: its text, and for ed25519 the public key for the receivers.
pub fn fresh_secret(kind: SecretKind) -> (SecretString, Option<String>) {
    let mut bytes = [0; FRESH_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    let (prefix, public) = match kind {
        SecretKind::Symmetric => (SYMMETRIC, None),
        SecretKind::Private => {
            // Any 32 bytes are a seed.
            let pair = Ed25519KeyPair::from_seed_unchecked(&bytes).ok();
            (PRIVATE, pair.as_ref().map(public_key))
        }
    };
    (SecretString::from(format!("{prefix}{}", STANDARD.encode(bytes))), public)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const SEED: [u8; 32] = [7; 32];

    fn refused(text: &str) -> String {
        Secret::parse(text).map(|_| panic!("taken")).unwrap_err()
    }

    fn whsec(bytes: usize) -> String {
        format!("whsec_{}", STANDARD.encode(vec![1; bytes]))
    }

    #[test]
    fn a_symmetric_secret_has_24_to_64_bytes() {
        for bytes in [24, 32, 64] {
            assert_eq!(Secret::parse(&whsec(bytes)).unwrap().shown().kind, SecretKind::Symmetric);
        }
        for bytes in [0, 23, 65] {
            let why = refused(&whsec(bytes));
            assert!(why.contains("24 to 64 bytes") && why.contains(&bytes.to_string()), "{why}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_repeated() {
        for (text, expected) in [
            ("hunter2hunter2", "begins with whsec_"),
            ("", "begins with whsec_"),
            ("WHSEC_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "begins with whsec_"),
            ("whsec_not base64 at all, hunter2", "standard alphabet"),
            ("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_", "standard alphabet"),
            ("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "padded"),
            ("whpk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "the receiver's"),
            ("whsk_AAAA", "32 bytes"),
        ] {
            let why = refused(text);
            assert!(why.contains(expected), "{text}: {why}");
            assert!(text.is_empty() || !why.contains(text), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn a_private_key_is_a_seed_or_both_halves_that_match() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
        let both = [&SEED, pair.public_key().as_ref()].concat();
        let of_seed = Secret::parse(&format!("whsk_{}", STANDARD.encode(SEED))).unwrap().shown();
        let of_both = Secret::parse(&format!("whsk_{}", STANDARD.encode(&both))).unwrap().shown();
        assert_eq!(of_seed.public_key, of_both.public_key);
        assert!(of_seed.public_key.unwrap().starts_with("whpk_"));

        let wrong = [SEED, [9; 32]].concat();
        let why = refused(&format!("whsk_{}", STANDARD.encode(wrong)));
        assert!(why.contains("do not belong together"), "{why}");
    }

    #[test]
    fn one_to_four_different_secrets_in_their_order() {
        let texts: Vec<String> = (24..29).map(whsec).collect();
        let secrets = Secrets::parse(&texts[..4]).unwrap();
        let fingerprints: Vec<String> =
            secrets.signatures().into_iter().map(|shown| shown.fingerprint).collect();
        let one_by_one: Vec<String> = texts[..4]
            .iter()
            .map(|text| Secret::parse(text).unwrap().shown().fingerprint)
            .collect();
        assert_eq!(fingerprints, one_by_one);

        assert!(Secrets::parse(&texts).unwrap_err().contains("at most 4"));
        assert!(Secrets::parse::<&str>(&[]).unwrap_err().contains("needs a secret"));
        let twice = [texts[0].as_str(), texts[0].as_str()];
        assert_eq!(Secrets::parse(&twice).unwrap().signatures().len(), 1);
        let why = Secrets::parse(&[texts[0].as_str(), "hunter2"]).unwrap_err();
        assert!(why.starts_with("secret 2: a secret begins with"), "{why}");
    }

    #[test]
    fn a_fresh_secret_is_read_back_and_never_shown() {
        for kind in [SecretKind::Symmetric, SecretKind::Private] {
            let (text, public) = fresh_secret(kind);
            let secret = Secret::parse(text.expose_secret()).unwrap();
            assert_eq!(secret.shown().kind, kind);
            assert_eq!(secret.shown().public_key, public);
            assert!(!format!("{secret:?}").contains(&text.expose_secret()[8..]));
            assert_ne!(fresh_secret(kind).0.expose_secret(), text.expose_secret());
        }
    }

    /// The fingerprint is what `printf %s "$SECRET" | sha256sum | cut -c1-8` prints.
    #[test]
    fn a_fingerprint_is_the_beginning_of_the_sha_256_of_the_text() {
        let secret = Secret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        assert_eq!(secret.shown().fingerprint, "2dd745ff");
    }
}
