//! The signatures of a request, as Standard Webhooks 1.0.0 has them.
//!
//! What is signed is `id.timestamp.body`, with exactly the bytes that are sent. So neither the id
//! nor the timestamp may contain a full stop.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::secret::{Key, Secrets};

impl Secrets {
    /// The value of `webhook-signature`: one signature per secret, the newest first. `timestamp` is
    /// in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp}.");
        let signatures: Vec<String> =
            self.iter().map(|secret| signature(&secret.key, head.as_bytes(), body)).collect();
        signatures.join(" ")
    }
}

fn signature(key: &Key, head: &[u8], body: &[u8]) -> String {
    match key {
        Key::Symmetric(key) => {
            let mut context = hmac::Context::with_key(key);
            context.update(head);
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        }
        Key::Private(pair) => {
            let signature = pair.sign(&[head, body].concat());
            format!("v1a,{}", STANDARD.encode(signature))
        }
    }
}

/// The same value without the signatures themselves, for a request that is only shown.
pub(crate) fn masked(secrets: &Secrets) -> String {
    let versions = secrets.iter().map(|secret| match &secret.key {
        Key::Symmetric(_) => "v1,…",
        Key::Private(_) => "v1a,…",
    });
    versions.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    /// The vector of the official libraries' own tests.
    const SYMMETRIC: (&str, &str) = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    );
    /// Svix's, which the specification's example of a header repeats.
    const PRIVATE: (&str, &str) = (
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
    );

    fn signed(secrets: &[&str]) -> String {
        Secrets::parse(secrets).unwrap().sign(ID, TIMESTAMP, BODY)
    }

    #[test]
    fn the_vectors_of_the_specification() {
        assert_eq!(signed(&[SYMMETRIC.0]), SYMMETRIC.1);
        assert_eq!(signed(&[PRIVATE.0]), PRIVATE.1);
        let public = Secrets::parse(&[PRIVATE.0]).unwrap().signatures()[0].public_key.clone();
        assert_eq!(public.as_deref(), Some("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="));
    }

    #[test]
    fn every_secret_signs_in_the_order_of_the_list() {
        let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let of_other = signed(&[other]);
        assert_eq!(
            signed(&[other, PRIVATE.0, SYMMETRIC.0]),
            format!("{of_other} {} {}", PRIVATE.1, SYMMETRIC.1)
        );
    }

    #[test]
    fn a_shown_request_has_the_versions_and_no_signature() {
        let secrets = Secrets::parse(&[SYMMETRIC.0, PRIVATE.0]).unwrap();
        assert_eq!(masked(&secrets), "v1,… v1a,…");
    }
}
