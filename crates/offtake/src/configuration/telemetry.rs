//! `telemetry:`: where traces are sent.

use std::fmt;

use hyper::header::HeaderValue;
use offtake_egress::{Remote, SettingNames, TlsMode};
use url::Url;

use super::section::Section;

/// The path of OTLP over HTTP for traces.
const TRACES: &str = "/v1/traces";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    pub otlp_endpoint: Option<CollectorUrl>,
}

/// A collector's URL: http or https, and no secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl(Url);

impl Telemetry {
    pub(super) fn read(section: &Section) -> Self {
        let url = section.text("otlp_endpoint").and_then(|text| match CollectorUrl::parse(&text) {
            Ok(url) => Some(url),
            Err((what, remedy)) => {
                section.note("otlp_endpoint", what, remedy);
                None
            }
        });
        Self { otlp_endpoint: url }
    }
}

impl CollectorUrl {
    /// The error says what is wrong, and what to write.
    fn parse(text: &str) -> Result<Self, (&'static str, &'static str)> {
        const FORM: &str = "write it like http://localhost:4318";
        let url = Url::parse(text).map_err(|_| ("this is no URL", FORM))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(("this is not the http:// or https:// URL of a collector", FORM));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err((
                "this URL has more than a host and a path, which may be a secret",
                "put secrets into the environment variable OTEL_EXPORTER_OTLP_HEADERS, like \
                 authorization=Bearer%20TOKEN",
            ));
        }
        Ok(Self(url))
    }

    /// Where traces go.
    pub(crate) fn traces(&self) -> String {
        let base = self.0.as_str().trim_end_matches('/');
        if base.ends_with(TRACES) { base.to_owned() } else { format!("{base}{TRACES}") }
    }

    /// `host:port`, for the header of that name.
    pub(crate) fn authority(&self) -> HeaderValue {
        HeaderValue::from_str(self.0.authority()).unwrap_or(HeaderValue::from_static("collector"))
    }

    pub(crate) fn remote(&self) -> Remote {
        // Brackets are not part of an address.
        let host = self.0.host_str().unwrap_or_default().trim_matches(['[', ']']);
        Remote {
            host: host.to_owned(),
            port: self.0.port_or_known_default().unwrap_or_default(),
            socket: None,
            tls: if self.0.scheme() == "https" { TlsMode::VerifyFull } else { TlsMode::Disable },
            ca_file: None,
            binds_channel: false,
            settings: SettingNames {
                name_authority: "add it to the authorities of this machine",
                verify_ca: "give the collector a certificate for its name",
                disable: "write http:// in telemetry.otlp_endpoint",
            },
        }
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_by_a_url_without_a_secret() {
        let check = |text: &str, expect: Option<(&str, &str, u16)>| {
            let found = CollectorUrl::parse(text).ok();
            let found = found.map(|url| (url.traces(), url.remote()));
            let found =
                found.as_ref().map(|(to, remote)| (to.as_str(), remote.host.as_str(), remote.port));
            assert_eq!(found, expect, "{text}");
        };
        check(
            "http://localhost:4318",
            Some(("http://localhost:4318/v1/traces", "localhost", 4318)),
        );
        check(
            "https://otel.example/a/",
            Some(("https://otel.example/a/v1/traces", "otel.example", 443)),
        );
        check("http://[::1]:1/v1/traces", Some(("http://[::1]:1/v1/traces", "::1", 1)));
        for refused in ["localhost:4318", "grpc://h:4317", "http://u:p@h", "http://h?token=x", ""] {
            check(refused, None);
        }
    }
}
