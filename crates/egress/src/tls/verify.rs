//! What of a server's certificate is verified.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::Authorities;
use super::shown::Shown;

/// How much is verified.
pub(super) enum Check {
    ChainAndName(Authorities),
    Chain(Authorities),
    /// That the server holds the key of its certificate, because channel binding rests on it.
    KeyOnly,
    /// The same where the certificate can be read: webpki does not read X.509 version 1, which the
    /// recipe of the PostgreSQL manual makes. In this mode nothing is verified, so accepting an
    /// unreadable certificate loses nothing.
    KeyIfReadable,
}

/// How rustls verifies a signature, in one version of TLS.
type VerifySignature = fn(
    &[u8],
    &CertificateDer<'_>,
    &DigitallySignedStruct,
    &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error>;

pub(super) struct Verifier {
    check: Check,
    algorithms: WebPkiSupportedAlgorithms,
    shown: Shown,
}

impl Verifier {
    pub(super) fn new(check: Check, algorithms: WebPkiSupportedAlgorithms, shown: Shown) -> Self {
        Self { check, algorithms, shown }
    }

    /// Verifies that the server holds the key of its certificate.
    fn verify_key(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        verify: VerifySignature,
    ) -> Result<HandshakeSignatureValid, Error> {
        if matches!(self.check, Check::KeyIfReadable)
            && ParsedCertificate::try_from(certificate).is_err()
        {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify(message, certificate, signed, &self.algorithms)
    }

    fn verify_chain(
        &self,
        authorities: &Authorities,
        certificate: &ParsedCertificate<'_>,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let chain = verify_server_cert_signed_by_trust_anchor(
            certificate,
            &authorities.roots,
            intermediates,
            now,
            self.algorithms.all,
        );
        match chain {
            // A self-signed server certificate is its own authority (`openssl req -x509` makes
            // such). webpki refuses that on principle, with an error that rustls has no name for,
            // after it checked the dates. An operator who lists exactly this certificate means
            // exactly this certificate.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if authorities.certificates.contains(der) =>
            {
                Ok(())
            }
            chain => chain,
        }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.check {
            Check::KeyOnly | Check::KeyIfReadable => {}
            Check::Chain(authorities) => {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                self.verify_chain(authorities, &certificate, end_entity, intermediates, now)?;
            }
            Check::ChainAndName(authorities) => {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                self.verify_chain(authorities, &certificate, end_entity, intermediates, now)?;
                verify_server_name(&certificate, server_name)?;
            }
        }
        self.shown.note(end_entity);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_key(message, certificate, signed, verify_tls12_signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_key(message, certificate, signed, verify_tls13_signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::RootCertStore;

    use super::*;

    fn authority(name: &str) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        (certificate, Issuer::new(params, key))
    }

    fn server(issuer: &Issuer<'static, KeyPair>) -> CertificateDer<'static> {
        let params = CertificateParams::new(["db.example".to_owned()]).unwrap();
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    }

    fn trusting(listed: &CertificateDer<'static>) -> Authorities {
        let mut roots = RootCertStore::empty();
        roots.add(listed.clone()).unwrap();
        Authorities { roots: Arc::new(roots), certificates: Arc::new(vec![listed.clone()]) }
    }

    fn accepts(check: Check, certificate: &CertificateDer<'_>, name: &str) -> bool {
        let verifier = Verifier::new(
            check,
            rustls::crypto::ring::default_provider().signature_verification_algorithms,
            Shown::default(),
        );
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        verifier
            .verify_server_cert(certificate, &[], &ServerName::try_from(name).unwrap(), &[], now)
            .is_ok()
    }

    #[test]
    fn each_mode_verifies_what_its_name_says() {
        let (ours, issuer) = authority("ours");
        let (other, _) = authority("other");
        let certificate = server(&issuer);
        for (check, name, expect) in [
            (Check::ChainAndName(trusting(&ours)), "db.example", true),
            (Check::ChainAndName(trusting(&ours)), "evil.example", false),
            (Check::ChainAndName(trusting(&other)), "db.example", false),
            (Check::Chain(trusting(&ours)), "evil.example", true),
            (Check::Chain(trusting(&other)), "db.example", false),
            (Check::KeyOnly, "evil.example", true),
            (Check::KeyIfReadable, "evil.example", true),
        ] {
            assert_eq!(accepts(check, &certificate, name), expect, "{name}");
        }
    }

    #[test]
    fn a_self_signed_certificate_is_trusted_by_those_who_list_exactly_it() {
        let (own, _) = authority("db.example");
        let (twin, _) = authority("db.example");
        assert!(accepts(Check::ChainAndName(trusting(&own)), &own, "db.example"));
        assert!(!accepts(Check::ChainAndName(trusting(&own)), &own, "evil.example"));
        assert!(!accepts(Check::ChainAndName(trusting(&twin)), &own, "db.example"));
    }

    #[test]
    fn being_listed_does_not_excuse_a_certificate_that_has_expired() {
        let mut params = CertificateParams::new(["db.example".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        let expired = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
        assert!(!accepts(Check::Chain(trusting(&expired)), &expired, "db.example"));
    }
}
