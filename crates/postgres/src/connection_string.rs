//! Connection strings: two grammars, one result.
//!
//! A destination's URL comes from a tenant, so its grammar is an allow-list: one host, one port,
//! `user`, `password`, `dbname`, `sslmode`, `channel_binding`. No socket, no second host, no
//! `hostaddr`, no `options`, no file path, and nothing that another parser could read differently.
//! The source's URL is the operator's own and may also name a socket's folder and a CA file.

mod grammar;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use offtake_egress::{Remote, SettingNames, TlsMode};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Where a server is listening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A host name or an address, in lower case.
    Tcp(String),
    /// The folder of a Unix socket; the operator's own source only.
    Socket(PathBuf),
}

/// How to reach and enter one database. Its password is never shown.
#[derive(Clone)]
pub struct ConnectionString {
    endpoint: Endpoint,
    /// As text, for messages: the host name, or the socket's folder.
    host: String,
    port: u16,
    user: String,
    password: Option<SecretString>,
    database: String,
    ssl_mode: TlsMode,
    channel_binding: tokio_postgres::config::ChannelBinding,
    ca_file: Option<PathBuf>,
    whose: grammar::Whose,
}

/// Why a URL cannot be used: what is wrong, why that matters, and what to write instead. Never
/// quotes the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the connection URL {what}: {why}; {remedy}")]
pub struct InvalidUrl {
    pub what: String,
    pub why: &'static str,
    pub remedy: &'static str,
}

impl ConnectionString {
    /// The operator's own database. `sslmode` is `disable` towards a socket or loopback and
    /// `verify-full` elsewhere, unless the URL says otherwise.
    pub fn source(url: &str) -> Result<Self, InvalidUrl> {
        let parts = grammar::parse(url, grammar::Whose::Operator)?;
        let nearby = match &parts.endpoint {
            Endpoint::Socket(_) => true,
            Endpoint::Tcp(host) => {
                host == "localhost"
                    || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
            }
        };
        let default = if nearby { TlsMode::Disable } else { TlsMode::VerifyFull };
        Ok(Self::of(parts, grammar::Whose::Operator, default, None))
    }

    /// A tenant's database, `verify-full` unless the URL says otherwise. `ca_file` is the
    /// operator's setting beside the URL: the certificate authorities to trust instead of the
    /// system's.
    pub fn destination(url: &str, ca_file: Option<&Path>) -> Result<Self, InvalidUrl> {
        let parts = grammar::parse(url, grammar::Whose::Tenant)?;
        Ok(Self::of(parts, grammar::Whose::Tenant, TlsMode::VerifyFull, ca_file))
    }

    fn of(
        parts: grammar::Parts,
        whose: grammar::Whose,
        default: TlsMode,
        ca_file: Option<&Path>,
    ) -> Self {
        let host = match &parts.endpoint {
            Endpoint::Tcp(host) => host.clone(),
            Endpoint::Socket(folder) => folder.display().to_string(),
        };
        Self {
            host,
            port: parts.port,
            database: parts.database.unwrap_or_else(|| parts.user.clone()),
            user: parts.user,
            password: parts.password,
            ssl_mode: parts.ssl_mode.unwrap_or(default),
            channel_binding: parts.channel_binding,
            ca_file: ca_file.map(Path::to_path_buf).or(parts.ca_file),
            whose,
            endpoint: parts.endpoint,
        }
    }

    /// The host name or address, or the folder of the socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn ssl_mode(&self) -> TlsMode {
        self.ssl_mode
    }

    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// What to do where the server has no TLS, besides switching it on.
    pub(crate) fn plain_setting(&self) -> &'static str {
        match self.whose {
            grammar::Whose::Operator => {
                "in a network that nobody listens to, add ?sslmode=disable to source.url"
            }
            grammar::Whose::Tenant => {
                "in a network of security.allow_destinations, add ?sslmode=disable to the url"
            }
        }
    }

    /// What of it concerns the connection: address and TLS.
    pub(crate) fn remote(&self) -> Remote {
        Remote {
            host: self.host.clone(),
            port: self.port,
            socket: match &self.endpoint {
                Endpoint::Socket(folder) => Some(folder.join(format!(".s.PGSQL.{}", self.port))),
                Endpoint::Tcp(_) => None,
            },
            tls: self.ssl_mode,
            ca_file: self.ca_file.clone(),
            binds_channel: self.channel_binding == tokio_postgres::config::ChannelBinding::Require,
            settings: SettingNames {
                name_authority: match self.whose {
                    grammar::Whose::Operator => {
                        "add ?sslrootcert=/path/of/the/ca.pem to source.url"
                    }
                    grammar::Whose::Tenant => "set ca_file beside the url",
                },
                verify_ca: "sslmode=verify-ca",
                disable: "sslmode=disable",
            },
        }
    }

    /// Changes with anything in the URL, the password included, and gives none of it away: tells
    /// whether open connections are still the right ones.
    pub fn fingerprint(&self) -> String {
        let ca_file =
            self.ca_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let password = self.password.as_ref().map_or("", |password| password.expose_secret());
        let port = self.port.to_string();
        let channel_binding = format!("{:?}", self.channel_binding);
        let fields = [
            &*self.host,
            &port,
            &self.user,
            password,
            if self.password.is_some() { "password" } else { "" },
            &self.database,
            self.ssl_mode.as_str(),
            &channel_binding,
            &ca_file,
        ];
        let mut hash = Sha256::new();
        for field in fields {
            // With their lengths, so that no two sets of fields run together into the same bytes.
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        format!("{:x}", hash.finalize())
    }

    /// `host:port/database`: the same text means the same database, with whichever user.
    pub fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}/{}", self.host, self.port, self.database)
        } else {
            format!("{}:{}/{}", self.host, self.port, self.database)
        }
    }

    /// What tokio-postgres needs for the login; address and TLS are the dialer's.
    pub(crate) fn login(&self, application_name: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .user(&*self.user)
            .dbname(&*self.database)
            .application_name(application_name)
            .channel_binding(self.channel_binding);
        if let Some(password) = &self.password {
            config.password(password.expose_secret());
        }
        config
    }
}

/// As a URL with its password masked.
impl fmt::Display for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = if self.password.is_some() { ":***" } else { "" };
        write!(
            f,
            "postgresql://{}{password}@{}?sslmode={}",
            self.user,
            self.place(),
            self.ssl_mode.as_str()
        )
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
