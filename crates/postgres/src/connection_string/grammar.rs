//! The grammar itself: text to parts, refusing what it does not know.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use offtake_egress::TlsMode;
use secrecy::SecretString;
use tokio_postgres::config::ChannelBinding;

use super::{Endpoint, InvalidUrl};

/// Whose URL it is, which decides how much it may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Operator,
    Tenant,
}

pub(super) struct Parts {
    pub(super) endpoint: Endpoint,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<SecretString>,
    pub(super) database: Option<String>,
    pub(super) ssl_mode: Option<TlsMode>,
    pub(super) channel_binding: ChannelBinding,
    pub(super) ca_file: Option<PathBuf>,
}

/// A connection URL that is longer is a mistake or an attack.
const URL_BYTES_MAX: usize = 4096;

/// The longest name of the domain name system.
const HOST_BYTES_MAX: usize = 253;

const PORT_DEFAULT: u16 = 5432;

const FORM: &str = "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE";
const ENCODE: &str = "percent-encode special characters in user and password (@ is %40, / is %2F, : is %3A, # is %23, ? is %3F, % is %25)";

pub(super) fn parse(url: &str, whose: Whose) -> Result<Parts, InvalidUrl> {
    if url.len() > URL_BYTES_MAX {
        return Err(invalid("is too long", "no connection URL needs more than 4096 bytes", FORM));
    }
    let rest = strip_scheme(url)?;
    if url.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(invalid(
            "contains a space, a backslash or a control character",
            "parsers disagree about what they mean",
            ENCODE,
        ));
    }
    if rest.contains('#') {
        return Err(invalid("contains `#`", "a connection URL has no fragment", ENCODE));
    }
    let (before_query, query) =
        rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    let (authority, path) = before_query
        .split_once('/')
        .map_or((before_query, None), |(authority, path)| (authority, Some(path)));
    let (login, place) = match authority.split_once('@') {
        Some((_, place)) if place.contains('@') => {
            return Err(invalid(
                "contains more than one `@`",
                "it is unclear where the host begins",
                ENCODE,
            ));
        }
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    };
    let mut draft = Draft::new(whose);
    draft.read_login(login)?;
    draft.read_place(place).map_err(|error| match login {
        None if rest.contains('@') => invalid(
            "has an `@` only behind the first `/` or `?`",
            "the password may have a `/` or a `?`, and then the host begins too early",
            ENCODE,
        ),
        _ => error,
    })?;
    draft.read_database(path)?;
    for setting in
        query.into_iter().flat_map(|query| query.split('&')).filter(|setting| !setting.is_empty())
    {
        draft.read_setting(setting)?;
    }
    draft.finish()
}

fn strip_scheme(url: &str) -> Result<&str, InvalidUrl> {
    ["postgresql://", "postgres://"]
        .into_iter()
        .find_map(|scheme| {
            let head = url.get(..scheme.len())?;
            head.eq_ignore_ascii_case(scheme).then(|| &url[scheme.len()..])
        })
        .ok_or_else(|| invalid("does not begin with postgresql://", other_form(url), FORM))
}

/// Which other form of connection string this probably is.
fn other_form(text: &str) -> &'static str {
    let text = text.trim_start().to_ascii_lowercase();
    let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    if begins(&["jdbc:"]) {
        "URLs of JDBC are not read"
    } else if begins(&["pgpassword", "psql ", "pg_"]) {
        "this is a command, and only a URL is read"
    } else if begins(&["postgres:", "postgresql:"]) {
        "two slashes follow the colon of the scheme"
    } else if text.contains("://") {
        "other schemes are not read"
    } else if text.contains('=') && !text.contains('?') {
        "`key=value` strings are not read"
    } else {
        "only URLs are read, not `key=value` strings, lines of .pgpass or URLs without their scheme"
    }
}

/// The parts as far as they are known. Nothing may be said twice: parsers disagree about which of
/// two counts.
struct Draft {
    whose: Whose,
    endpoint: Option<Endpoint>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<SecretString>,
    database: Option<String>,
    ssl_mode: Option<TlsMode>,
    channel_binding: Option<ChannelBinding>,
    ca_file: Option<PathBuf>,
}

impl Draft {
    fn new(whose: Whose) -> Self {
        Self {
            whose,
            endpoint: None,
            port: None,
            user: None,
            password: None,
            database: None,
            ssl_mode: None,
            channel_binding: None,
            ca_file: None,
        }
    }

    fn read_login(&mut self, login: Option<&str>) -> Result<(), InvalidUrl> {
        let Some(login) = login else { return Ok(()) };
        let (user, password) = match login.split_once(':') {
            Some((_, password)) if password.contains(':') => {
                return Err(invalid(
                    "has more than one `:` before the host",
                    "it is unclear where the password begins",
                    ENCODE,
                ));
            }
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        self.set_user(user)?;
        match password {
            Some("") | None => Ok(()),
            Some(password) => self.set_password(password),
        }
    }

    fn read_place(&mut self, place: &str) -> Result<(), InvalidUrl> {
        if place.is_empty() {
            return Ok(());
        }
        if place.contains(',') {
            return Err(invalid(
                "names several hosts",
                "which one answers would decide where the rows go",
                "name one host",
            ));
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let unclosed = || {
                    invalid(
                        "has a `[` without its `]`",
                        "brackets hold an IPv6 address",
                        "write [ADDRESS]:PORT",
                    )
                };
                let (address, rest) = rest.split_once(']').ok_or_else(unclosed)?;
                if !rest.is_empty() && !rest.starts_with(':') {
                    return Err(invalid(
                        "has text after the IPv6 address",
                        "only a port may follow",
                        "write [ADDRESS]:PORT",
                    ));
                }
                let address: Ipv6Addr = address.parse().map_err(|_| {
                    invalid(
                        "has brackets around something that is not an IPv6 address",
                        "zones and names are not allowed there",
                        "write [ADDRESS]:PORT",
                    )
                })?;
                (address.to_string(), rest.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err(invalid(
                        "has an IPv6 address without brackets",
                        "it is unclear where the port begins",
                        "write [ADDRESS]:PORT",
                    ));
                }
                Some((host, port)) => (self.decode_host(host)?, Some(port)),
                None => (self.decode_host(place)?, None),
            },
        };
        if !host.is_empty() {
            self.set_host(&host)?;
        }
        match port {
            None | Some("") => Ok(()),
            Some(port) => self.set_port(port),
        }
    }

    /// Only a socket's folder needs percent-encoding; an encoded host name hides
    /// something.
    fn decode_host(&self, host: &str) -> Result<String, InvalidUrl> {
        match self.whose {
            Whose::Operator => decode(host, "host"),
            Whose::Tenant => Ok(host.to_owned()),
        }
    }

    fn read_database(&mut self, path: Option<&str>) -> Result<(), InvalidUrl> {
        match path {
            None | Some("") => Ok(()),
            Some(path) if path.contains('/') => Err(invalid(
                "has a `/` in the database name",
                "it is unclear where the name ends",
                ENCODE,
            )),
            Some(path) => self.set_database(path),
        }
    }

    fn read_setting(&mut self, setting: &str) -> Result<(), InvalidUrl> {
        let (name, value) = setting.split_once('=').ok_or_else(|| {
            invalid(
                "has a setting without `=`",
                "every setting after the `?` has a value",
                "write ?name=value&name=value",
            )
        })?;
        match (name, self.whose) {
            ("user", _) => self.set_user(value),
            ("password", _) => self.set_password(value),
            ("dbname", _) => self.set_database(value),
            ("host", _) => {
                if value.contains(',') || value.contains("%2C") || value.contains("%2c") {
                    return Err(invalid(
                        "names several hosts",
                        "which one answers would decide where the rows go",
                        "name one host",
                    ));
                }
                let host = decode(value, "host")?;
                self.set_host(&host)
            }
            ("port", _) => self.set_port(value),
            ("sslmode", _) => self.set_ssl_mode(value),
            ("channel_binding", _) => self.set_channel_binding(value),
            // libpq's word for the system's authorities, which is what no file means here.
            ("sslrootcert", Whose::Operator) if value == "system" => Ok(()),
            ("sslrootcert", Whose::Operator) => {
                once(&mut self.ca_file, PathBuf::from(decode(value, "sslrootcert")?), "sslrootcert")
            }
            // Of no consequence here, and part of the URLs that hosters print: Offtake has its own
            // name and its own deadlines, never uses Kerberos, and always asks for TLS first.
            ("application_name" | "connect_timeout" | "gssencmode" | "sslnegotiation", _) => Ok(()),
            (
                "sslrootcert" | "sslcert" | "sslkey" | "passfile" | "service" | "servicefile"
                | "sslcrl",
                Whose::Tenant,
            ) => Err(unknown(
                name,
                "would read a file of this machine",
                "give a private CA as `ca_file` beside the url",
            )),
            ("hostaddr", _) => Err(unknown(
                name,
                "would separate the checked name from the dialled address",
                "name the address as the host",
            )),
            ("options", _) => Err(unknown(
                name,
                "would change settings that Offtake relies on",
                "use ALTER ROLE … SET on the server",
            )),
            _ => Err(unknown(
                name,
                "is not known here",
                "remove it; what may be set is sslmode, channel_binding, host, port, user, password and dbname",
            )),
        }
    }

    fn set_user(&mut self, value: &str) -> Result<(), InvalidUrl> {
        if value.is_empty() { Ok(()) } else { once(&mut self.user, decode(value, "user")?, "user") }
    }

    fn set_password(&mut self, value: &str) -> Result<(), InvalidUrl> {
        once(&mut self.password, SecretString::from(decode(value, "password")?), "password")
    }

    fn set_database(&mut self, value: &str) -> Result<(), InvalidUrl> {
        once(&mut self.database, decode(value, "database name")?, "database")
    }

    fn set_host(&mut self, host: &str) -> Result<(), InvalidUrl> {
        let endpoint = if host.starts_with('/') {
            if self.whose == Whose::Tenant {
                return Err(invalid(
                    "names a socket",
                    "a destination is reached over the network only",
                    FORM,
                ));
            }
            Endpoint::Socket(PathBuf::from(host))
        } else {
            Endpoint::Tcp(checked_host(host)?)
        };
        once(&mut self.endpoint, endpoint, "host")
    }

    fn set_port(&mut self, value: &str) -> Result<(), InvalidUrl> {
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse() {
            Ok(port) if digits && port > 0 => once(&mut self.port, port, "port"),
            _ => Err(invalid(
                "has a port that is not a number from 1 to 65535",
                "a port is one number",
                FORM,
            )),
        }
    }

    fn set_ssl_mode(&mut self, value: &str) -> Result<(), InvalidUrl> {
        let mode = match value {
            "disable" => TlsMode::Disable,
            "require" => TlsMode::Require,
            "verify-ca" => TlsMode::VerifyCa,
            "verify-full" => TlsMode::VerifyFull,
            "allow" | "prefer" => {
                return Err(invalid(
                    format!("has sslmode={value}"),
                    "it falls back to plain text silently",
                    "use verify-full or require",
                ));
            }
            _ => {
                return Err(invalid(
                    "has an unknown sslmode",
                    "the modes are disable, require, verify-ca and verify-full",
                    "use verify-full",
                ));
            }
        };
        once(&mut self.ssl_mode, mode, "sslmode")
    }

    fn set_channel_binding(&mut self, value: &str) -> Result<(), InvalidUrl> {
        let binding = match value {
            "disable" => ChannelBinding::Disable,
            "prefer" => ChannelBinding::Prefer,
            "require" => ChannelBinding::Require,
            _ => {
                return Err(invalid(
                    "has an unknown channel_binding",
                    "the values are disable, prefer and require",
                    "leave it out",
                ));
            }
        };
        once(&mut self.channel_binding, binding, "channel_binding")
    }

    fn finish(self) -> Result<Parts, InvalidUrl> {
        let endpoint = self.endpoint.ok_or_else(|| {
            invalid("names no host", "Offtake does not guess where a database is", FORM)
        })?;
        let user = self
            .user
            .ok_or_else(|| invalid("names no user", "Offtake does not guess who logs in", FORM))?;
        let plain = matches!(self.ssl_mode, Some(TlsMode::Disable))
            || matches!(endpoint, Endpoint::Socket(_));
        if plain && self.channel_binding == Some(ChannelBinding::Require) {
            return Err(invalid(
                "has channel_binding=require without TLS",
                "the binding is to the TLS channel",
                "use sslmode=verify-full",
            ));
        }
        Ok(Parts {
            endpoint,
            port: self.port.unwrap_or(PORT_DEFAULT),
            user,
            password: self.password,
            database: self.database,
            ssl_mode: self.ssl_mode,
            channel_binding: self.channel_binding.unwrap_or(ChannelBinding::Prefer),
            ca_file: self.ca_file,
        })
    }
}

fn checked_host(host: &str) -> Result<String, InvalidUrl> {
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return Ok(address.to_string());
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty()
        || host.len() > HOST_BYTES_MAX
        || !host.chars().all(allowed)
        || host.starts_with('-')
    {
        return Err(invalid(
            "has an unusable host",
            "a host is letters, digits, dots, hyphens and underscores, or an address",
            FORM,
        ));
    }
    Ok(host)
}

/// Percent-decoding, strictly: two hexadecimal digits, UTF-8, no NUL or other control character.
fn decode(text: &str, what: &str) -> Result<String, InvalidUrl> {
    let wrong = |why| invalid(format!("has a wrongly encoded {what}"), why, ENCODE);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(wrong("a `%` is followed by two hexadecimal digits"));
        };
        bytes.push((high * 16 + low) as u8);
    }
    let decoded = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
    if decoded.is_empty() {
        return Err(wrong("it is empty"));
    }
    if decoded.chars().any(char::is_control) {
        return Err(wrong("it contains a control character"));
    }
    Ok(decoded)
}

fn once<T>(slot: &mut Option<T>, value: T, what: &str) -> Result<(), InvalidUrl> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(
            format!("gives the {what} twice"),
            "it is unclear which one counts",
            "give it once",
        )),
    }
}

fn unknown(name: &str, why: &'static str, remedy: &'static str) -> InvalidUrl {
    // A mistyped URL may have a piece of the password where a setting's name belongs, so only plain
    // words are repeated.
    let plain = !name.is_empty()
        && name.len() <= 32
        && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let what = if plain {
        format!("has the setting `{name}`")
    } else {
        "has an unknown setting".to_owned()
    };
    invalid(what, why, remedy)
}

fn invalid(what: impl Into<String>, why: &'static str, remedy: &'static str) -> InvalidUrl {
    InvalidUrl { what: what.into(), why, remedy }
}
