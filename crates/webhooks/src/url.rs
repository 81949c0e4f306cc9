//! A webhook's URL: scheme, host, port, path and query, and nothing else.
//!
//! The URL comes from a tenant. Its path and query are often the receiver's only password, so they
//! are never shown; host and port are. What two parsers could read differently is refused.

use std::fmt;
use std::net::Ipv6Addr;

use offtake_egress::{Remote, SettingNames, TlsMode};
use secrecy::{ExposeSecret, SecretString};

/// A longer URL is refused; servers and proxies refuse them too.
const BYTES_MAX: usize = 2048;
/// Of a host name, by RFC 1035.
const HOST_BYTES_MAX: usize = 253;

const SETTINGS: SettingNames = SettingNames {
    name_authority: "set ca_file beside the url",
    verify_ca: "have the receiver present a certificate for this name",
    disable: "http://",
};

/// Where requests go. `Debug` shows no path.
#[derive(Clone)]
pub struct Url {
    https: bool,
    /// In lower case; an IPv6 address without its brackets.
    host: String,
    port: u16,
    /// Path and query, as they are sent.
    path: SecretString,
}

impl Url {
    /// Reads one. The message says what is wrong and what to write, and repeats neither path nor
    /// query.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("the URL has {} bytes, and at most {BYTES_MAX} count", text.len()));
        }
        if let Some(found) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!(
                "the URL contains {}; write it as %-escapes (a host name as punycode, xn--…)",
                found.escape_unicode()
            ));
        }
        if let Some(found) = text.chars().find(|c| "\\\"<>^`{|}".contains(*c)) {
            return Err(format!("the URL contains {found}; write it as a %-escape"));
        }
        let (https, rest) = scheme(text)?;
        if rest.contains('#') {
            return Err("the URL has a fragment (#…), which is never sent; drop it".to_owned());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(
                "the URL names a user; give credentials in headers: Authorization".to_owned()
            );
        }
        let (host, port) = split_port(authority)?;
        check_escapes(path)?;
        // A query without a path: the path is "/".
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            https,
            host: parse_host(host)?,
            port: port.unwrap_or(if https { 443 } else { 80 }),
            path: SecretString::from(format!("{slash}{path}")),
        })
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Scheme, host and port: what may be shown.
    pub fn shown(&self) -> String {
        format!("{}://{}", self.scheme(), self.bracketed(true))
    }

    fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// The value of the header `host`.
    pub(crate) fn authority(&self) -> String {
        let default = if self.https { 443 } else { 80 };
        self.bracketed(self.port != default)
    }

    fn bracketed(&self, with_port: bool) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        if with_port { format!("{host}:{}", self.port) } else { host }
    }

    /// Path and query, as they are sent.
    pub(crate) fn path(&self) -> &str {
        self.path.expose_secret()
    }

    /// How it is dialled. Plain text passes only towards a network that the operator lists, which
    /// `egress` checks by the address.
    pub(crate) fn remote(&self, ca_file: Option<&std::path::Path>) -> Remote {
        Remote {
            host: self.host.clone(),
            port: self.port,
            socket: None,
            tls: if self.https { TlsMode::VerifyFull } else { TlsMode::Disable },
            ca_file: ca_file.map(Into::into),
            binds_channel: false,
            settings: SETTINGS,
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.shown())
    }
}

fn scheme(text: &str) -> Result<(bool, &str), String> {
    let https = "the URL begins with https:// (http:// only towards a network of \
                 security.allow_destinations)";
    let Some((scheme, rest)) = text.split_once("://") else { return Err(https.to_owned()) };
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Ok((true, rest)),
        "http" => Ok((false, rest)),
        _ => Err(https.to_owned()),
    }
}

/// Host and port. A colon inside brackets belongs to an IPv6 address.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    let from = match authority.starts_with('[') {
        true => authority.find(']').map_or(authority.len(), |bracket| bracket + 1),
        false => 0,
    };
    let Some(colon) = authority[from..].find(':').map(|at| from + at) else {
        return Ok((authority, None));
    };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port > 0 => Ok((host, Some(port))),
        _ => Err("the port of the URL is a number from 1 to 65535".to_owned()),
    }
}

fn parse_host(host: &str) -> Result<String, String> {
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        return match address {
            Some(address) => Ok(address.to_string()),
            None => Err("what stands in [] in the URL is no IPv6 address".to_owned()),
        };
    }
    let host = host.to_ascii_lowercase();
    // With a final full stop a name is the same, and no certificate is for it.
    let plain = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.split('.').all(plain) {
        return Err("the host of the URL is a name of letters, digits, - and full stops between \
                    them, an IPv4 address, or an IPv6 address in []"
            .to_owned());
    }
    // 127.1, 0x7f.0.0.1 and 2130706433 are addresses to some resolvers.
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if numeric && host.parse::<std::net::Ipv4Addr>().is_err() {
        return Err("the host of the URL looks like an IPv4 address and is none: write four \
                    decimal numbers, as 192.0.2.7"
            .to_owned());
    }
    Ok(host)
}

fn check_escapes(path: &str) -> Result<(), String> {
    let mut parts = path.split('%');
    parts.next();
    let whole =
        |part: &str| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    match parts.all(whole) {
        true => Ok(()),
        false => Err("a % in the URL is followed by two hexadecimal digits; write the character \
                      itself as %25"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn scheme_host_port_path_and_query() {
        for (text, shown, authority, path) in [
            ("https://a.example", "https://a.example:443", "a.example", "/"),
            ("HTTPS://A.Example/", "https://a.example:443", "a.example", "/"),
            (
                "https://a.example:8443/h?k=v&x=%2F",
                "https://a.example:8443",
                "a.example:8443",
                "/h?k=v&x=%2F",
            ),
            ("https://a.example?k=v", "https://a.example:443", "a.example", "/?k=v"),
            ("http://127.0.0.1:9/h", "http://127.0.0.1:9", "127.0.0.1:9", "/h"),
            ("http://a.example/h", "http://a.example:80", "a.example", "/h"),
            ("https://[2606:4700::0:1]/x", "https://[2606:4700::1]:443", "[2606:4700::1]", "/x"),
            ("https://[::1]:8443/x:y@z", "https://[::1]:8443", "[::1]:8443", "/x:y@z"),
            (
                "https://xn--bcher-kva.example/",
                "https://xn--bcher-kva.example:443",
                "xn--bcher-kva.example",
                "/",
            ),
            ("https://hooks_1.example/", "https://hooks_1.example:443", "hooks_1.example", "/"),
        ] {
            let url = parsed(text);
            assert_eq!(url.shown(), shown, "{text}");
            assert_eq!(url.authority(), authority, "{text}");
            assert_eq!(url.path(), path, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_webhook_is_refused_with_its_reason() {
        for (text, expected) in [
            ("a.example/hunter2", "begins with https://"),
            ("ftp://a.example/hunter2", "begins with https://"),
            ("file:///etc/hunter2", "begins with https://"),
            ("unix:///hunter2", "begins with https://"),
            ("https://u:hunter2@a.example/", "names a user"),
            ("https://u@a.example/hunter2", "names a user"),
            ("https://a.example\\@b.example/hunter2", "contains \\"),
            ("https://a.example/hunter2#x", "fragment"),
            ("https:///hunter2", "the host"),
            ("https://?hunter2", "the host"),
            ("https://a..example/hunter2", "the host"),
            ("https://a.example./hunter2", "the host"),
            ("https://a%2eexample/hunter2", "the host"),
            ("https://a.example:0/hunter2", "the port"),
            ("https://a.example:65536/hunter2", "the port"),
            ("https://a.example:/hunter2", "the port"),
            ("https://a.example:+1/hunter2", "the port"),
            ("https://a.example:1:2/hunter2", "the port"),
            ("https://[::1/hunter2", "no IPv6 address"),
            ("https://[1.2.3.4]/hunter2", "no IPv6 address"),
            ("https://[fe80::1%25eth0]/hunter2", "no IPv6 address"),
            ("https://::1/hunter2", "the port"),
            ("https://127.1/hunter2", "looks like an IPv4"),
            ("https://2130706433/hunter2", "looks like an IPv4"),
            ("https://0x7f.0.0.0x1/hunter2", "looks like an IPv4"),
            ("https://1.2.3.256/hunter2", "looks like an IPv4"),
            ("https://a.example/hunter2%", "followed by two"),
            ("https://a.example/%zzhunter2", "followed by two"),
            ("https://a.example/hunter2 x", "contains \\u{20}"),
            ("https://a.example/hunter2\r\nx: y", "contains \\u{d}"),
            ("https://bücher.example/hunter2", "punycode"),
            ("", "begins with https://"),
        ] {
            let why = Url::parse(text).map(|url| panic!("{text} is {url:?}")).unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
            assert!(!why.contains("hunter2"), "{text}: {why}");
        }
        let long = format!("https://a.example/{}", "x".repeat(BYTES_MAX));
        assert!(Url::parse(&long).unwrap_err().contains("2048"));
        assert!(Url::parse(&long[..BYTES_MAX]).is_ok());
    }

    #[test]
    fn path_and_query_are_not_shown() {
        let url = parsed("https://a.example/services/T0/B0/hunter2?token=hunter2");
        assert!(!format!("{url:?} {}", url.shown()).contains("hunter2"));
    }

    #[test]
    fn plain_text_is_left_to_the_address_policy() {
        assert_eq!(parsed("http://10.0.0.1/").remote(None).tls, TlsMode::Disable);
        assert_eq!(parsed("https://10.0.0.1/").remote(None).tls, TlsMode::VerifyFull);
    }
}
