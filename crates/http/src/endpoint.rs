//! The base URL of an API that the operator names: it has TLS, or it is on this machine.

use std::net::IpAddr;
use std::path::PathBuf;

use offtake_egress::{Remote, SettingNames, TlsMode};

/// `https://host:port/path`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    text: String,
    https: bool,
    host: String,
    port: u16,
    path: String,
}

impl Endpoint {
    /// The error says what is wrong with the text, as the rest of a sentence about it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (https, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err("is no URL that begins with https://"),
        };
        if !rest.bytes().all(|b| b.is_ascii_graphic()) || rest.contains(['?', '#', '@', '%']) {
            return Err("has a user, a query or characters that no such URL has");
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| "has a port that is no number")?)
            }
            _ => (authority, if https { 443 } else { 80 }),
        };
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let address = host.parse::<IpAddr>();
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if host.is_empty() || (address.is_err() && !host.chars().all(named)) {
            return Err("names no host");
        }
        let here = address.map_or(host == "localhost", |address| address.is_loopback());
        if !https && !here {
            return Err("is plain http, which would show everything to the network");
        }
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { text: text.to_owned(), https, host, port, path })
    }

    /// One that is known to be right: host and path of an API at the usual port.
    pub fn https(host: &str, path: &str) -> Self {
        let text = format!("https://{host}{path}");
        Self { text, https: true, host: host.to_owned(), port: 443, path: path.to_owned() }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What every path of the API begins with; no slash at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Scheme and host, as in a URL.
    pub fn origin(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// The value of the header `host`. A port that the scheme implies is left out.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        match (self.https, port) {
            (true, 443) | (false, 80) => host,
            _ => format!("{host}:{port}"),
        }
    }

    /// The server to dial.
    pub fn remote(&self, ca_file: Option<PathBuf>, settings: SettingNames) -> Remote {
        Remote {
            host: self.host.clone(),
            port: self.port,
            socket: None,
            tls: if self.https { TlsMode::VerifyFull } else { TlsMode::Disable },
            ca_file,
            binds_channel: false,
            settings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_encrypted_or_on_this_machine() {
        for (good, authority, path) in [
            ("https://api.cloudflare.com/client/v4", "api.cloudflare.com", "/client/v4"),
            ("https://d1.example.com:8443/base/", "d1.example.com:8443", "/base"),
            ("http://127.0.0.1:8787/client/v4", "127.0.0.1:8787", "/client/v4"),
            ("http://localhost:8787", "localhost:8787", ""),
            ("http://[::1]:8787", "[::1]:8787", ""),
        ] {
            let endpoint = Endpoint::parse(good).expect(good);
            assert_eq!((endpoint.text(), endpoint.path()), (good, path));
            assert_eq!(endpoint.authority(), authority);
        }
        for bad in [
            "http://d1.example.com",
            "http://10.0.0.1",
            "ftp://x",
            "https://",
            "https://u:p@x",
            "https://x?y",
            "https://x:port",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
