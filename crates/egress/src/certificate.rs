//! A certificate of our own, for servers that ask who dials.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The files of a certificate and its key, in PEM form. They are read at every dial, so that a
/// renewed certificate counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, then those of its authorities, if there are any.
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
}

impl ClientCertificate {
    /// Whether the files can be used; the message says which cannot, and why.
    pub fn check(&self) -> Result<(), String> {
        self.read().map(drop)
    }

    pub(crate) fn read(&self) -> Result<CertifiedKey, String> {
        let unusable = |path: &Path, why: &dyn std::fmt::Display| {
            format!("the file {} is unusable: {why}", path.display())
        };
        for path in [&self.certificate_file, &self.key_file] {
            // Opening a pipe blocks until another process opens it for writing.
            if !std::fs::metadata(path).map_err(|error| unusable(path, &error))?.is_file() {
                return Err(unusable(path, &"it is not a regular file"));
            }
        }
        let path = &self.certificate_file;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| unusable(path, &error))?;
        if chain.is_empty() {
            return Err(unusable(path, &"it has no certificate in PEM form"));
        }
        let path = &self.key_file;
        // The error of a key says what is wrong with its form, never what is in it.
        let key = PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(path, &error))?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
            unusable(path, &format!("it does not belong to the certificate ({error})"))
        })
    }
}
