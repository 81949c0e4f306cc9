//! A server as a URL names it.

use std::path::PathBuf;

/// How a connection is protected. The names are libpq's. Its `allow` and `prefer` do not exist
/// here, because they fall back to plain text silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain text.
    Disable,
    /// Encrypted; the certificate is not verified.
    Require,
    /// Encrypted; the certificate's chain is verified, its name is not.
    VerifyCa,
    /// Encrypted; chain and name are verified.
    VerifyFull,
}

impl TlsMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// A server to dial, and how the connection to it is protected.
#[derive(Debug, Clone)]
pub struct Remote {
    /// A host name or an address. With a `socket`, only what messages call the server.
    pub host: String,
    pub port: u16,
    /// A Unix socket to dial instead of the host.
    pub socket: Option<PathBuf>,
    pub tls: TlsMode,
    /// The certificate authorities to believe instead of the system's, in PEM form.
    pub ca_file: Option<PathBuf>,
    /// The login proves that both ends see the same TLS channel. That proof rests on the key of the
    /// server's certificate, so the server must show that it holds this key, also with
    /// [`TlsMode::Require`].
    pub binds_channel: bool,
    pub settings: SettingNames,
}

/// How the operator writes a setting of this server, for the remedies in messages.
#[derive(Debug, Clone, Copy)]
pub struct SettingNames {
    /// What to do to name a private authority: "set ca_file beside the url".
    pub name_authority: &'static str,
    /// The setting for [`TlsMode::VerifyCa`].
    pub verify_ca: &'static str,
    /// The setting for [`TlsMode::Disable`].
    pub disable: &'static str,
}

impl Remote {
    /// Whether the certificate has proven that the server is the one that was meant, so that it may
    /// be told the password. With `verify-ca` that takes a private authority: the public ones
    /// certify any server.
    pub fn proves_identity(&self) -> bool {
        match self.tls {
            TlsMode::VerifyFull => true,
            TlsMode::VerifyCa => self.ca_file.is_some(),
            TlsMode::Require | TlsMode::Disable => false,
        }
    }
}
