//! Certificates of authorities that exist only in a test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// An authority that certifies names.
pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Certified {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Now,
    /// For a year, long ago.
    Expired,
}

impl Authority {
    /// Authorities of different names do not believe each other's certificates.
    pub fn new(name: &str) -> Self {
        let mut params = params(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a host, or for a client of that name.
    pub fn certify(&self, name: &str, validity: Validity) -> Certified {
        let mut params = params(&[name.to_owned()], name);
        if validity == Validity::Expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Certified { certificate, key }
    }

    /// Writes its certificate into a folder, in PEM form, and returns the file.
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        written(folder, name, &self.certificate.pem())
    }
}

impl Certified {
    /// The settings of a server that shows this certificate. `clients`: it asks for a certificate
    /// of this authority.
    pub fn server(&self, clients: Option<&Authority>) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has them");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut known = RootCertStore::empty();
                known.add(authority.certificate.der().clone()).expect("a certificate");
                let known = Arc::new(known);
                let verifier = WebPkiClientVerifier::builder_with_provider(known, provider);
                builder.with_client_cert_verifier(verifier.build().expect("an authority"))
            }
        };
        let chain: Vec<CertificateDer<'static>> = vec![self.certificate.der().clone()];
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("PKCS #8");
        builder.with_single_cert(chain, key).expect("they belong together")
    }

    /// Writes certificate and key into a folder, in PEM form, and returns the files.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        (
            written(folder, &format!("{name}.pem"), &self.certificate.pem()),
            written(folder, &format!("{name}-key.pem"), &self.key.serialize_pem()),
        )
    }
}

/// A certificate that no authority signed, and its key, both in PEM form. It began a day ago.
pub(crate) fn self_signed(name: &str, expires_in: Duration) -> (String, String) {
    let mut params = params(&[name.to_owned()], name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + (now - Duration::from_secs(86_400));
    params.not_after = epoch + (now + expires_in);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

fn params(names: &[String], common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(names.to_vec()).expect("a name");
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, DnValue::Utf8String(common_name.to_owned()));
    params.distinguished_name = subject;
    params
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the temporary folder can be written");
    path
}
