//! The effective configuration as YAML, without its secrets.

use secrecy::SecretString;
use serde_yaml::{Mapping, Value};

use super::masked_query::masked_query;
use super::{
    Audit, Configuration, Destinations, StaticDestination, Sync, show_duration, show_share,
};

/// What stands in place of a secret.
const MASK: &str = "***";

impl Configuration {
    /// Every setting with its effective value; passwords and tokens are masked.
    pub fn masked(&self) -> Value {
        let (sequencer, poller, http) = (&self.sequencer, &self.poller, &self.http);
        let networks = self.security.allow_destinations.iter().map(text);
        section([
            ("source", section([("url", text(&self.source.url))])),
            ("mappings", text(self.mappings.display())),
            ("destinations", self.destinations.masked()),
            (
                "sequencer",
                section([
                    ("interval", show_duration(sequencer.interval).into()),
                    ("batch_rows", sequencer.batch_rows.into()),
                ]),
            ),
            (
                "poller",
                section([
                    ("interval", show_duration(poller.interval).into()),
                    ("lease", show_duration(poller.lease).into()),
                    ("claim_limit", poller.claim_limit.into()),
                ]),
            ),
            ("sync", self.sync.masked()),
            ("audit", self.audit.masked()),
            ("retention", section([("changes", show_duration(self.retention.changes).into())])),
            (
                "http",
                section([
                    ("listen", text(http.listen)),
                    ("probes", http.probes.map_or(Value::Null, text)),
                    ("admin_token", masked_token(http.admin_token.as_ref())),
                    ("read_token", masked_token(http.read_token.as_ref())),
                ]),
            ),
            ("security", section([("allow_destinations", networks.collect())])),
        ])
    }
}

impl Destinations {
    fn masked(&self) -> Value {
        let query = self.query.as_deref().map(masked_query);
        section([
            ("static", self.static_.iter().map(StaticDestination::masked).collect()),
            ("query", query.map_or(Value::Null, Value::from)),
            ("refresh", show_duration(self.refresh).into()),
        ])
    }
}

impl Sync {
    fn masked(&self) -> Value {
        let retry = section([
            ("initial", show_duration(self.retry.initial).into()),
            ("max", show_duration(self.retry.max).into()),
        ]);
        section([
            ("workers", self.workers.into()),
            ("batch_rows", self.batch_rows.into()),
            ("batch_bytes", text(self.batch_bytes)),
            ("connect_timeout", show_duration(self.connect_timeout).into()),
            ("statement_timeout", show_duration(self.statement_timeout).into()),
            ("retry", retry),
        ])
    }
}

impl Audit {
    fn masked(&self) -> Value {
        let period = self.period.map_or_else(|| "off".to_owned(), show_duration);
        section([
            ("period", period.into()),
            ("budget", show_share(self.budget).into()),
            ("repair", self.repair.into()),
        ])
    }
}

impl StaticDestination {
    fn masked(&self) -> Value {
        let mut entries = vec![
            ("tenant", Value::from(self.tenant.as_str())),
            ("name", self.name.as_str().into()),
            ("url", self.url.to_string().into()),
            ("schema", self.schema.as_str().into()),
            ("shared", self.shared.into()),
        ];
        entries
            .extend(self.url.ca_file().map(|path| ("ca_file", path.display().to_string().into())));
        entries.extend(self.mappings.as_ref().map(|names| ("mappings", names.clone().into())));
        section(entries)
    }
}

fn text(value: impl ToString) -> Value {
    Value::from(value.to_string())
}

fn masked_token(token: Option<&SecretString>) -> Value {
    Value::from(if token.is_some() { MASK } else { "" })
}

fn section(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Mapping(
        entries.into_iter().map(|(key, value)| (Value::from(key), value)).collect::<Mapping>(),
    )
}
