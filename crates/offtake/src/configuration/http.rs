//! `http`: where the API listens, and what opens it.

use std::net::SocketAddr;

use secrecy::SecretString;

use super::defaults;
use super::section::Section;

/// A shorter token can be guessed over the network. On a loopback address any token will do: there
/// it only keeps out other users of the machine.
const TOKEN_CHARS_MIN: usize = 16;

/// A tenant can try secrets against its status token on a machine of its own, as fast as that machine
/// can, and no daemon notices. So the secret must be longer than a token, which a stranger can try over
/// the network only.
const STATUS_SECRET_CHARS_MIN: usize = 32;

#[derive(Debug, Clone)]
pub struct Http {
    pub listen: SocketAddr,
    /// A second address, for probes and metrics only.
    pub probes: Option<SocketAddr>,
    pub admin_token: Option<SecretString>,
    pub read_token: Option<SecretString>,
    /// What tenants' status tokens are derived from.
    pub status_secret: Option<SecretString>,
    /// Under which clients elsewhere reach it, without a slash at its end.
    pub public_url: Option<String>,
}

impl Http {
    pub(super) fn read(section: &Section) -> Self {
        let noted = section.mistakes();
        let written = section.text("listen").unwrap_or_else(|| defaults::LISTEN.to_owned());
        let listen = address(section, "listen", &written);
        let (admin_token, read_token) =
            (section.text_or_default("admin_token"), section.text_or_default("read_token"));
        let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        if !listen.ip().is_loopback()
            && admin_token.is_none()
            && read_token.is_none()
            && section.mistakes() == noted
        {
            let message =
                format!("{listen} can be reached from other machines, and there is no token");
            section.note("listen", &message, "set http.admin_token, or listen on 127.0.0.1");
        }
        for (key, token) in [("admin_token", &admin_token), ("read_token", &read_token)] {
            if !listen.ip().is_loopback()
                && token.as_ref().is_some_and(|t| t.chars().count() < TOKEN_CHARS_MIN)
            {
                let message =
                    format!("a token of fewer than {TOKEN_CHARS_MIN} characters can be guessed");
                section.note(key, &message, "make one with `openssl rand -hex 32`");
            }
        }
        let status_secret = section.text_or_default("status_secret");
        if status_secret.as_ref().is_some_and(|s| s.chars().count() < STATUS_SECRET_CHARS_MIN) {
            let message = format!(
                "a secret of fewer than {STATUS_SECRET_CHARS_MIN} characters can be guessed from a token"
            );
            section.note("status_secret", &message, "make one with `openssl rand -hex 32`");
        }
        if status_secret.is_some() && [&admin_token, &read_token].contains(&&status_secret) {
            section.note(
                "status_secret",
                "this is a token for the API too",
                "make another one: this secret need not leave the configuration",
            );
        }
        if admin_token.is_some() && admin_token == read_token {
            section.note(
                "read_token",
                "this is the admin token too",
                "make another one, or everyone who may read may also change",
            );
        }
        let probes = section.text("probes").and_then(|text| address(section, "probes", &text));
        // Port 0 stands for any free port, and so for two different ones.
        if probes.is_some_and(|probes| probes == listen && probes.port() != 0) {
            let remedy = "give it another port, or leave it out: http.listen has the probes too";
            section.note("probes", "this is the address of http.listen", remedy);
        }
        Self {
            listen,
            probes,
            public_url: section.text("public_url").and_then(|text| public_url(section, &text)),
            admin_token: admin_token.map(Into::into),
            read_token: read_token.map(Into::into),
            status_secret: status_secret.map(Into::into),
        }
    }
}

/// A URL that paths are appended to.
fn public_url(section: &Section, text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let whole = rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && rest.bytes().all(|byte| byte.is_ascii_graphic())
            && !rest.contains(['?', '#', '@', '\\', '"', '<', '>'])
    });
    if whole {
        return Some(text.trim_end_matches('/').to_owned());
    }
    let message = format!("{} is not the URL of a server", offtake_mapping::foreign(text));
    section.note("public_url", &message, "write it like https://offtake.example.com");
    None
}

/// An address with a port; a mistake where the text is none.
fn address(section: &Section, key: &str, text: &str) -> Option<SocketAddr> {
    let address = text.replace("localhost:", "127.0.0.1:").parse();
    let remedy = "write it like 127.0.0.1:8080 or \"[::1]:8080\", with the quotes";
    let noted = |_| section.note(key, "this is not an address with a port", remedy);
    address.map_err(noted).ok()
}
