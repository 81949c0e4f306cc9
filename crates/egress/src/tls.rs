//! TLS towards a server: whom to believe, by libpq's names, and what to tell the operator when the
//! server is not believed.

mod shown;
mod verify;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{ClientCertificate, Error, Remote, TlsMode};
use shown::Shown;
use verify::{Check, Verifier};

/// The certificate authorities to believe, and the certificates as they are.
#[derive(Clone)]
pub(crate) struct Authorities {
    roots: Arc<RootCertStore>,
    certificates: Arc<Vec<CertificateDer<'static>>>,
}

/// A TLS handshake that is prepared and not yet begun: nothing was sent.
pub struct TlsHandshake<'a> {
    to: &'a Remote,
    name: ServerName<'static>,
    config: ClientConfig,
    shown: Shown,
}

impl<'a> TlsHandshake<'a> {
    /// Reads the certificate authorities. Fails where they are unusable, or where no certificate
    /// could be for the host. The caller keeps the time.
    pub async fn prepare(to: &'a Remote) -> Result<Self, Error> {
        let failed = |why: String| Error::Tls { host: to.host.clone(), why };
        let check = match to.tls {
            TlsMode::VerifyFull => Check::ChainAndName(authorities(to).await.map_err(failed)?),
            TlsMode::VerifyCa => Check::Chain(authorities(to).await.map_err(failed)?),
            TlsMode::Require | TlsMode::Disable if to.binds_channel => Check::KeyOnly,
            TlsMode::Require | TlsMode::Disable => Check::KeyIfReadable,
        };
        let name = ServerName::try_from(to.host.clone()).map_err(|_| {
            failed("the host is no name that a certificate could be for".to_owned())
        })?;
        let shown = Shown::default();
        let config = client_config(check, shown.clone());
        let config = config.map_err(|error| failed(error.to_string()))?;
        Ok(Self { to, name, config, shown })
    }

    /// Shows a certificate of our own to a server that asks for one. Its files are read now.
    pub async fn present(mut self, certificate: &ClientCertificate) -> Result<Self, Error> {
        let own = certificate.clone();
        let read = tokio::task::spawn_blocking(move || own.read()).await;
        let key = read
            .unwrap_or_else(|error| Err(error.to_string()))
            .map_err(|why| Error::Tls { host: self.to.host.clone(), why })?;
        self.config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key));
        Ok(self)
    }

    /// Shakes hands on a stream. The caller keeps the time.
    pub async fn connect<S>(self, stream: S) -> Result<TlsStream<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(Arc::new(self.config.clone()));
        connector.connect(self.name.clone(), stream).await.map_err(|error| self.explain(error))
    }

    /// For a protocol that shakes hands with a library of its own; [`Self::explain`] tells what its
    /// failure means.
    pub fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// When the certificate expires that the server showed; None before the handshake, and where
    /// the certificate cannot be read.
    pub fn certificate_expires_at(&self) -> Option<SystemTime> {
        self.shown.expires_at()
    }

    /// What a failed handshake means: a certificate that is not believed, or a lost connection.
    pub fn explain(&self, error: io::Error) -> Error {
        let (host, port) = (self.to.host.clone(), self.to.port);
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => Error::Tls { host, why: explain(error, self.to) },
            None => Error::Unreachable { host, port, source: error },
        }
    }
}

fn client_config(check: Check, shown: Shown) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new(check, provider.signature_verification_algorithms, shown);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // A configuration lives for one dial: nothing to resume.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The authorities of a file, read at every dial so that a renewed file counts; or the system's,
/// read once.
async fn authorities(to: &Remote) -> Result<Authorities, String> {
    static SYSTEM: OnceCell<Authorities> = OnceCell::const_new();
    match &to.ca_file {
        Some(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || read_authorities(path)).await;
            read.map_err(|error| error.to_string())?
        }
        None => {
            let load = || async {
                let loaded =
                    tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(loaded.map_err(|error| error.to_string())?.certs);
                if roots.is_empty() {
                    return Err(format!(
                        "this machine has no certificate authorities (install ca-certificates, or {})",
                        to.settings.name_authority
                    ));
                }
                Ok(Authorities { roots: Arc::new(roots), certificates: Arc::default() })
            };
            SYSTEM.get_or_try_init(load).await.cloned()
        }
    }
}

fn read_authorities(path: PathBuf) -> Result<Authorities, String> {
    let unusable =
        |why: &dyn std::fmt::Display| format!("the CA file {} is unusable: {why}", path.display());
    // Opening a pipe blocks until another process opens it for writing, and blocks this thread.
    if !std::fs::metadata(&path).map_err(|error| unusable(&error))?.is_file() {
        return Err(unusable(&"it is not a regular file"));
    }
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| unusable(&error))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate.clone()).map_err(|error| unusable(&error))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(unusable(&"it has no certificate in PEM form"));
    }
    Ok(Authorities { roots: Arc::new(roots), certificates: Arc::new(certificates) })
}

/// What went wrong, and what mends it.
fn explain(error: &rustls::Error, to: &Remote) -> String {
    let rustls::Error::InvalidCertificate(problem) = error else { return error.to_string() };
    match problem {
        CertificateError::UnknownIssuer => match &to.ca_file {
            Some(path) => {
                format!("its certificate is not from the authorities in {}", path.display())
            }
            None => format!(
                "its certificate is from an unknown authority (for a private one, {})",
                to.settings.name_authority
            ),
        },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "its certificate is for another name (subjectAltName counts, the common name does \
                 not); use a name it is for, or {}",
                to.settings.verify_ca
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        CertificateError::Other(problem) => format!(
            "its certificate is not made for a server ({problem}): it takes X.509 version 3, and \
             no authority's own unless the file of authorities lists it"
        ),
        other => format!("its certificate is refused ({other})"),
    }
}
