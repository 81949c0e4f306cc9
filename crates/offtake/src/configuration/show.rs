//! The effective configuration as YAML, without its secrets.

use offtake_jobs::StoreSpec;
use offtake_jobs::stores::{BucketPlace, Place as StorePlace};
use offtake_sync::destinations::Place;
use offtake_webhooks::{AttemptsLog, OnEventError, Payload, WebhookSpec};
use secrecy::SecretString;
use serde_yaml::{Mapping, Value};

use super::masked_query::masked_query;
use super::{
    Audit, Configuration, Destinations, Exports, Snapshots, StaticDestination, Sync, Webhooks,
    show_duration, show_share,
};

/// What stands in place of a secret.
const MASK: &str = "***";

impl Configuration {
    /// Every setting with its effective value; passwords and tokens are masked.
    pub fn masked(&self) -> Value {
        let (sequencer, poller, http) = (&self.sequencer, &self.poller, &self.http);
        let networks = self.security.allow_destinations.iter().map(text);
        let files = self.security.allow_files.iter().map(|folder| text(folder.display()));
        section([
            ("source", section([("url", text(&self.source.url))])),
            ("mappings", text(self.mappings.display())),
            ("destinations", self.destinations.masked()),
            ("webhooks", self.webhooks.masked()),
            ("stores", masked_stores(&self.stores)),
            ("exports", self.exports.masked()),
            ("snapshots", self.snapshots.masked()),
            (
                "restore",
                section([(
                    "source_url",
                    self.restore.source_url.as_ref().map_or(Value::Null, text),
                )]),
            ),
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
                    ("status_secret", masked_token(http.status_secret.as_ref())),
                    ("public_url", http.public_url.clone().map_or(Value::Null, Into::into)),
                ]),
            ),
            ("metrics", section([("tenants", worst(self.metrics.worst_destinations).into())])),
            (
                "security",
                section([
                    ("allow_destinations", networks.collect()),
                    ("allow_files", files.collect()),
                ]),
            ),
            (
                "telemetry",
                section([(
                    "otlp_endpoint",
                    self.telemetry.otlp_endpoint.as_ref().map_or(Value::Null, text),
                )]),
            ),
        ])
    }
}

/// So many destinations and webhooks of the file are in a summary: enough to see how they are written.
const LISTED_MAX: usize = 20;

impl Configuration {
    /// The same as JSON. Of long lists it has the first entries, and beside them `static_not_listed`.
    pub fn masked_summary(&self) -> serde_json::Value {
        let mut told = serde_json::to_value(self.masked()).unwrap_or_default();
        for section in ["destinations", "webhooks"] {
            let Some(list) = told[section]["static"].as_array_mut() else { continue };
            let more = list.len().saturating_sub(LISTED_MAX);
            list.truncate(LISTED_MAX);
            if more > 0 {
                told[section]["static_not_listed"] = more.into();
            }
        }
        told
    }
}

impl Destinations {
    fn masked(&self) -> Value {
        let query = self.query.as_deref().map(masked_query);
        section([
            ("static", self.static_.iter().map(StaticDestination::masked).collect()),
            ("query", query.map_or(Value::Null, Value::from)),
            (
                "d1",
                section([
                    ("endpoint", self.d1.endpoint().into()),
                    ("requests_per_second", self.d1.requests_per_second().into()),
                ]),
            ),
            ("refresh", show_duration(self.refresh).into()),
        ])
    }
}

impl Webhooks {
    fn masked(&self) -> Value {
        let query = self.query.as_deref().map(masked_query);
        let events = self.retry_events.iter().map(|pause| Value::from(show_duration(*pause)));
        let log = match self.attempts_log {
            AttemptsLog::Failures => "failures",
            AttemptsLog::All => "all",
        };
        section([
            ("static", self.static_.iter().map(|webhook| masked_webhook(&webhook.spec)).collect()),
            ("query", query.map_or(Value::Null, Value::from)),
            ("refresh", show_duration(self.refresh).into()),
            ("workers", self.workers.into()),
            ("connections", self.connections.into()),
            ("per_tenant", self.per_tenant.into()),
            (
                "retry",
                section([
                    ("initial", show_duration(self.retry_initial).into()),
                    ("max", show_duration(self.retry_max).into()),
                    ("events", events.collect()),
                ]),
            ),
            ("disable_after", show_duration(self.disable_after).into()),
            (
                "attempts",
                section([("log", log.into()), ("keep", show_duration(self.attempts_keep).into())]),
            ),
        ])
    }
}

impl Exports {
    fn masked(&self) -> Value {
        section([
            ("store", self.store.as_deref().map_or(Value::Null, Value::from)),
            ("workers", self.workers.into()),
            ("queue", self.queue.into()),
            ("keep", self.keep.map_or_else(|| "off".to_owned(), show_duration).into()),
            ("chunk_rows", self.chunk_rows.into()),
            ("chunk_bytes", text(self.chunk_bytes)),
            ("compression", self.compression.as_str().into()),
            ("work", show_duration(self.work).into()),
            ("pause", show_duration(self.pause).into()),
            ("settle", show_duration(self.settle).into()),
            ("callback_secret", self.callback_secret.as_ref().map_or(Value::Null, |_| MASK.into())),
        ])
    }
}

fn masked_bucket(place: &BucketPlace) -> Value {
    let mut entries = vec![
        ("kind", "s3".into()),
        ("bucket", place.bucket.as_str().into()),
        ("endpoint", place.endpoint.text().into()),
        ("region", place.region.as_str().into()),
        ("access_key_id", MASK.into()),
        ("secret_access_key", MASK.into()),
    ];
    entries.extend(place.prefix.as_ref().map(|prefix| ("prefix", prefix.as_str().into())));
    entries.extend(place.ca_file.as_ref().map(|file| ("ca_file", text(file.display()))));
    section(entries)
}

fn masked_stores(stores: &[StoreSpec]) -> Value {
    let store = |store: &StoreSpec| {
        let entries = match &store.place {
            StorePlace::Disk(path) => {
                section([("kind", "disk".into()), ("path", text(path.display()))])
            }
            StorePlace::S3(place) => masked_bucket(place),
        };
        (Value::from(store.name.as_str()), entries)
    };
    Value::Mapping(stores.iter().map(store).collect::<Mapping>())
}

impl Snapshots {
    fn masked(&self) -> Value {
        let kinds = self.kinds.iter().map(|kind| Value::from(kind.as_str()));
        let mut entries = vec![
            ("kinds", kinds.collect()),
            ("workers", self.workers.into()),
            ("max_duration", show_duration(self.max_duration).into()),
        ];
        entries.extend(self.every.map(|every| ("every", show_duration(every).into())));
        entries.extend(self.store.as_ref().map(|store| ("store", store.as_str().into())));
        entries.extend(self.keep.as_ref().map(|keep| {
            let within = show_duration(keep.within).into();
            ("keep", section([("last", keep.last.into()), ("within", within)]))
        }));
        if !self.tables.is_empty() {
            let tables = self.tables.iter().map(|table| Value::from(table.name.in_sql()));
            entries.push(("tables", tables.collect()));
        }
        section(entries)
    }
}

fn masked_webhook(spec: &WebhookSpec) -> Value {
    let kinds = [("upserted", spec.upserted), ("deleted", spec.deleted)];
    let kinds = kinds.into_iter().filter(|(_, told)| *told).map(|(kind, _)| Value::from(kind));
    let (payload, consequence) = (spec.payload, spec.on_event_error);
    let mut entries = vec![
        ("tenant", Value::from(spec.tenant_id.as_str())),
        ("name", spec.name.as_str().into()),
        ("url", format!("{}/{MASK}", spec.endpoint.url().shown()).into()),
        ("secret", MASK.into()),
        ("events", kinds.collect()),
        ("backfill", spec.backfill.into()),
        ("payload", if payload == Payload::Full { "full" } else { "key" }.into()),
        (
            "batch",
            section([
                ("events", spec.batch_events.into()),
                ("wait", show_duration(spec.batch_wait).into()),
            ]),
        ),
        ("concurrency", spec.concurrency.into()),
        ("timeout", show_duration(spec.endpoint.timeout()).into()),
        (
            "on_event_error",
            match consequence {
                OnEventError::Quarantine => "quarantine",
                OnEventError::Halt => "halt",
            }
            .into(),
        ),
    ];
    entries.extend(spec.mappings.as_ref().map(|names| ("mappings", names.clone().into())));
    // It may compare with a value that is a secret.
    entries.extend(spec.accepted.condition.as_ref().map(|sql| ("where", masked_query(sql).into())));
    section(entries)
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
            ("chunk_rows", self.chunk_rows.into()),
            ("batch_bytes", text(self.batch_bytes)),
            ("file_log_bytes", text(self.file_log_bytes)),
            ("d1_database_bytes", text(self.d1_database_bytes)),
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
        ];
        match &*self.place {
            Place::Postgres { url, schema } => {
                entries.push(("url", url.to_string().into()));
                entries.push(("schema", schema.as_str().into()));
                let ca_file = url.ca_file().map(|path| path.display().to_string());
                entries.extend(ca_file.map(|path| ("ca_file", path.into())));
            }
            Place::Sqlite(file) => {
                entries.push(("url", file.url().into()));
                entries.push(("mode", file.mode().into()));
            }
            Place::D1(database) => {
                entries.push(("url", database.url().into()));
                entries.push(("token", MASK.into()));
            }
        }
        entries.push(("shared", self.shared.into()));
        entries.extend(self.mappings.as_ref().map(|names| ("mappings", names.clone().into())));
        section(entries)
    }
}

fn worst(destinations: usize) -> String {
    match destinations {
        0 => "off".to_owned(),
        count => format!("worst-{count}"),
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
