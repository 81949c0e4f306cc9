//! TLS towards Postgres servers.
//!
//! tokio-postgres knows encrypted or not; whom to believe is decided here, by libpq's names. The
//! handshake is ours as well, so that a certificate that is not trusted is told apart from a server
//! that hangs up.

mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OnceCell;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::dial::Socket;
use crate::{ConnectionString, Error, SslMode};
use verify::{Check, Verifier};

/// A socket inside TLS.
pub(crate) type TlsSocket = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// The protocol's SSLRequest: a length of 8 and the code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The certificate authorities to believe, and the certificates as they are.
#[derive(Clone)]
pub(crate) struct Authorities {
    roots: Arc<RootCertStore>,
    certificates: Arc<Vec<CertificateDer<'static>>>,
}

/// Whether the server has proven to be the one that was meant, so that it may be told the password.
/// With `verify-ca` that takes a private authority: the public ones certify anybody.
pub(crate) fn proves_identity(to: &ConnectionString) -> bool {
    match to.ssl_mode() {
        SslMode::VerifyFull => true,
        SslMode::VerifyCa => to.ca_file().is_some(),
        SslMode::Require | SslMode::Disable => false,
    }
}

/// Asks the server for TLS and shakes hands. The caller keeps the time.
pub(crate) async fn secure(to: &ConnectionString, mut socket: Socket) -> Result<TlsSocket, Error> {
    let failed = |why: String| Error::Tls { host: to.host().to_owned(), why };
    let lost = |source| Error::Refused { host: to.host().to_owned(), port: to.port(), source };
    let check = match to.ssl_mode() {
        SslMode::VerifyFull => Check::ChainAndName(authorities(to).await.map_err(failed)?),
        SslMode::VerifyCa => Check::Chain(authorities(to).await.map_err(failed)?),
        SslMode::Require | SslMode::Disable if to.binds_channel() => Check::KeyOnly,
        SslMode::Require | SslMode::Disable => Check::KeyIfReadable,
    };
    // Checked before the handshake, because it takes the name as text and would say less.
    ServerName::try_from(to.host())
        .map_err(|_| failed("the host is no name that a certificate could be for".to_owned()))?;
    let config = client_config(check).map_err(|error| failed(error.to_string()))?;

    socket.write_all(&SSL_REQUEST).await.map_err(lost)?;
    // One byte and no more: anything after it was sent before the encryption, and must not be taken
    // for the server's.
    match socket.read_u8().await.map_err(lost)? {
        b'S' => {}
        _ => {
            return Err(failed(format!(
                "the server offers no TLS; switch it on there (ssl = on), or, {}",
                to.plain_setting()
            )));
        }
    }
    let mut connector = MakeRustlsConnect::new(config);
    let Ok(handshake) = MakeTlsConnect::<Socket>::make_tls_connect(&mut connector, to.host());
    handshake.connect(socket).await.map_err(|error| {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => failed(explain(error, to)),
            None => lost(error),
        }
    })
}

fn client_config(check: Check) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new(check, provider.signature_verification_algorithms);
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
async fn authorities(to: &ConnectionString) -> Result<Authorities, String> {
    static SYSTEM: OnceCell<Authorities> = OnceCell::const_new();
    match to.ca_file() {
        Some(path) => {
            let path = path.to_path_buf();
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
                        to.ca_setting()
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
fn explain(error: &rustls::Error, to: &ConnectionString) -> String {
    let rustls::Error::InvalidCertificate(problem) = error else { return error.to_string() };
    match problem {
        CertificateError::UnknownIssuer => match to.ca_file() {
            Some(path) => format!("its certificate is not from the authorities in {}", path.display()),
            None => format!("its certificate is from an unknown authority (for a private one, {})", to.ca_setting()),
        },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name (subjectAltName counts, the common name does not); use a name it is for, or sslmode=verify-ca".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "its certificate is not valid yet".to_owned(),
        CertificateError::Other(problem) => {
            format!("its certificate is not made for a server ({problem}): it takes X.509 version 3, and no authority's own unless the file of authorities lists it")
        }
        other => format!("its certificate is refused ({other})"),
    }
}
