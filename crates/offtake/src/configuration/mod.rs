//! `offtake.yaml`: from a text and a map of variables to a [`Configuration`] in which every value
//! is usable.
//!
//! Nothing here reads the process environment; the caller gives the variables. The keys and their
//! meaning are in [`SCHEMA`], the defaults in [`defaults`]. The YAML is read by
//! [`offtake_mapping::yaml`], as mapping files are.

pub mod defaults;
mod destination;
mod excerpt;
mod exports;
mod http;
mod masked_query;
mod reference;
mod section;
mod show;
mod snapshots;
mod stores;
mod substitute;
mod telemetry;
mod units;
mod webhook;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use offtake_jobs::StoreSpec;
use offtake_mapping::Diagnostic;
use offtake_postgres::ConnectionString;
use offtake_sync::audit::Share;
use offtake_sync::destinations::D1Settings;
use secrecy::{ExposeSecret, SecretString};

pub use destination::StaticDestination;
pub(crate) use destination::{unusable_name, unusable_tenant};
pub use exports::Exports;
pub use http::Http;
pub use reference::{example, reference};
pub use section::{Error, SCHEMA};
use section::{Section, read_document};
pub use snapshots::{Restore, Snapshots};
use substitute::Variables;
pub use telemetry::{CollectorUrl, Telemetry};
pub use units::{ByteSize, parse_duration, parse_share, show_duration, show_share};
pub(crate) use webhook::{BATCH_EVENTS_MAX, CONCURRENCY_MAX};
pub use webhook::{StaticWebhook, Webhooks};

/// The effective configuration.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// Where it was read from, for messages.
    pub file: PathBuf,
    pub source: Source,
    /// Folder of the mapping files.
    pub mappings: PathBuf,
    pub destinations: Destinations,
    pub webhooks: Webhooks,
    /// Where files go, by the names of the file.
    pub stores: Vec<StoreSpec>,
    pub exports: Exports,
    pub snapshots: Snapshots,
    pub restore: Restore,
    pub sequencer: Sequencer,
    pub poller: Poller,
    pub sync: Sync,
    pub audit: Audit,
    pub retention: Retention,
    pub http: Http,
    pub metrics: Metrics,
    pub security: Security,
    pub telemetry: Telemetry,
}

#[derive(Debug, Clone)]
pub struct Source {
    pub url: ConnectionString,
}

#[derive(Debug, Clone)]
pub struct Destinations {
    pub static_: Vec<StaticDestination>,
    pub query: Option<String>,
    pub refresh: Duration,
    /// As in [`Security`].
    pub allow_files: Vec<PathBuf>,
    /// How D1 databases are reached.
    pub d1: D1Settings,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequencer {
    pub interval: Duration,
    pub batch_rows: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poller {
    pub interval: Duration,
    pub lease: Duration,
    pub claim_limit: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    pub workers: u32,
    pub batch_rows: u32,
    pub chunk_rows: u32,
    pub batch_bytes: ByteSize,
    pub file_log_bytes: ByteSize,
    pub d1_database_bytes: ByteSize,
    pub connect_timeout: Duration,
    pub statement_timeout: Duration,
    pub retry: Retry,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    pub initial: Duration,
    pub max: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// None: there is no audit.
    pub period: Option<Duration>,
    pub budget: Share,
    pub repair: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    pub changes: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// How many destinations have series of their own, with their tenants; 0: none.
    pub worst_destinations: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// Networks that destinations may be in although they are not public.
    pub allow_destinations: Vec<IpNet>,
    /// Folders in which destinations may be files.
    pub allow_files: Vec<PathBuf>,
}

/// A text of the command line with every `${…}` replaced, as in the configuration file. `base`:
/// where relative `${file:…}` paths begin. The error says what is wrong, and what to write.
pub(crate) fn substituted(
    text: &str,
    base: &Path,
    variables: &BTreeMap<String, String>,
) -> Result<String, (String, String)> {
    let variables = Variables { values: variables, base };
    variables.substitute(text).map_err(|unresolved| (unresolved.message, unresolved.remedy))
}

impl Configuration {
    /// Parses the text of `file`. Relative paths in it begin at the folder of `file`; `${VAR}` may
    /// name what is in `variables`.
    pub fn parse(
        file: &Path,
        text: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let base = file.parent().unwrap_or(Path::new(""));
        let document = read_document(file, text);
        let variables = Variables { values: variables, base };
        let readable = document.value().is_some();
        let configuration = readable
            .then(|| Self::read(file, base, &Section::root(&document, variables)))
            .flatten();
        let unread = || Error {
            diagnostics: vec![Diagnostic::of_file(
                file,
                "this cannot be read",
                "report this as a mistake of Offtake's",
            )],
        };
        match document.into_mistakes() {
            diagnostics if !diagnostics.is_empty() => Err(Error { diagnostics }),
            _ => configuration.ok_or_else(unread),
        }
    }

    /// None only where a mistake was noted.
    fn read(file: &Path, base: &Path, root: &Section) -> Option<Self> {
        // Everything is read before `source?` returns, so that all mistakes are told at once.
        let (http, security) =
            (Http::read(&root.section("http")), Security::read(&root.section("security")));
        let (source, destinations) = (
            Source::read(&root.section("source")),
            Destinations::read(&root.section("destinations"), base, &security.allow_files),
        );
        let stores = stores::read(root, base);
        let configuration = Self {
            file: file.to_owned(),
            mappings: base
                .join(root.text("mappings").unwrap_or_else(|| defaults::MAPPINGS.to_owned())),
            destinations,
            webhooks: Webhooks::read(&root.section("webhooks"), base),
            exports: Exports::read(&root.section("exports"), &stores),
            snapshots: Snapshots::read(&root.section("snapshots"), &stores),
            restore: Restore::read(&root.section("restore")),
            stores,
            sequencer: Sequencer::read(&root.section("sequencer")),
            poller: Poller::read(&root.section("poller")),
            sync: Sync::read(&root.section("sync")),
            audit: Audit::read(&root.section("audit")),
            retention: Retention::read(&root.section("retention")),
            http,
            metrics: Metrics::read(&root.section("metrics")),
            security,
            telemetry: Telemetry::read(&root.section("telemetry")),
            source: source?,
        };
        Some(configuration)
    }

    /// The names of the sections that differ in `new` and that only a restart of the daemon
    /// changes.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let token = |t: &Option<SecretString>| t.as_ref().map(|t| t.expose_secret().to_owned());
        let tokens = |h: &Http| [&h.admin_token, &h.read_token, &h.status_secret].map(token);
        let http = |h: &Http| (h.listen, h.probes, tokens(h));
        let changed = [
            ("source", self.source.url.fingerprint() != new.source.url.fingerprint()),
            ("mappings", self.mappings != new.mappings),
            ("stores", self.stores != new.stores),
            ("sequencer", self.sequencer != new.sequencer),
            ("poller", self.poller != new.poller),
            ("http", http(&self.http) != http(&new.http)),
            ("metrics", self.metrics != new.metrics),
            ("security", self.security != new.security),
            ("telemetry", self.telemetry != new.telemetry),
        ];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(section, _)| section).collect()
    }
}

impl Source {
    fn read(section: &Section) -> Option<Self> {
        let url = ConnectionString::source(&section.required("url")?);
        let url = url.map_err(|e| section.note("url", &format!("{}: {}", e.what, e.why), e.remedy));
        Some(Self { url: url.ok()? })
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

impl Sequencer {
    fn read(section: &Section) -> Self {
        Self {
            interval: section.duration(
                "interval",
                defaults::SEQUENCER_INTERVAL,
                MILLISECOND..=MINUTE,
            ),
            batch_rows: section.count("batch_rows", defaults::SEQUENCER_BATCH_ROWS, 1..=1_000_000),
        }
    }
}

impl Poller {
    fn read(section: &Section) -> Self {
        Self {
            interval: section.duration("interval", defaults::POLLER_INTERVAL, MILLISECOND..=MINUTE),
            lease: section.duration("lease", defaults::LEASE, SECOND..=DAY),
            claim_limit: section.count("claim_limit", defaults::CLAIM_LIMIT, 1..=100_000),
        }
    }
}

impl Sync {
    fn read(section: &Section) -> Self {
        let retry = section.section("retry");
        let initial = retry.duration("initial", defaults::RETRY_INITIAL, MILLISECOND..=DAY);
        let max = retry.duration("max", defaults::RETRY_MAX.max(initial), MILLISECOND..=DAY);
        if max < initial {
            retry.note("max", "this is shorter than `initial`", "make it at least as long");
        }
        let batch_rows = section.count("batch_rows", defaults::SYNC_BATCH_ROWS, 1..=1_000_000);
        let chunk_rows = batch_rows.saturating_mul(defaults::BATCHES_PER_CHUNK);
        Self {
            workers: section.count("workers", defaults::WORKERS, 1..=1024),
            batch_rows,
            chunk_rows: section.count("chunk_rows", chunk_rows, 1..=4_000_000),
            batch_bytes: section.size(
                "batch_bytes",
                defaults::BATCH_BYTES,
                ByteSize(1 << 10)..=ByteSize(1 << 30),
            ),
            file_log_bytes: section.size(
                "file_log_bytes",
                defaults::FILE_LOG_BYTES,
                ByteSize(1 << 16)..=ByteSize(1 << 40),
            ),
            d1_database_bytes: section.size(
                "d1_database_bytes",
                defaults::D1_DATABASE_BYTES,
                ByteSize(1 << 10)..=ByteSize(1 << 40),
            ),
            connect_timeout: section.duration(
                "connect_timeout",
                defaults::CONNECT_TIMEOUT,
                MILLISECOND..=MINUTE * 10,
            ),
            statement_timeout: section.duration(
                "statement_timeout",
                defaults::STATEMENT_TIMEOUT,
                MILLISECOND..=DAY,
            ),
            retry: Retry { initial, max },
        }
    }
}

impl Audit {
    fn read(section: &Section) -> Self {
        let years = MILLISECOND..=DAY * 3650;
        Self {
            period: section.duration_or_off("period", defaults::AUDIT_PERIOD, years),
            budget: section.share("budget", defaults::AUDIT_BUDGET),
            repair: section.flag("repair"),
        }
    }
}

impl Retention {
    fn read(section: &Section) -> Self {
        Self { changes: section.duration("changes", defaults::RETENTION, SECOND..=DAY * 3650) }
    }
}

/// The most destinations that may have series of their own: three thousand series more.
const WORST_DESTINATIONS_MAX: usize = 1000;

impl Metrics {
    fn read(section: &Section) -> Self {
        let worst = |text: &str| {
            let count: usize = text.strip_prefix("worst-")?.parse().ok()?;
            (1..=WORST_DESTINATIONS_MAX).contains(&count).then_some(count)
        };
        let remedy = format!("write off, or worst-1 to worst-{WORST_DESTINATIONS_MAX}");
        let worst_destinations = section.choice_or_off("tenants", worst, &remedy).unwrap_or(0);
        Self { worst_destinations }
    }
}

impl Security {
    fn read(section: &Section) -> Self {
        let mut allow_destinations = Vec::new();
        for (index, text) in
            section.list("allow_destinations").unwrap_or_default().iter().enumerate()
        {
            match text
                .parse::<IpNet>()
                .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
            {
                Ok(network) => allow_destinations.push(network),
                Err(_) => {
                    section.note_item(
                        "allow_destinations",
                        index,
                        "this is not a network",
                        "write it like 10.20.0.0/16 or \"::1/128\", with the quotes",
                    );
                }
            }
        }
        let mut allow_files = Vec::new();
        for (index, text) in section.list("allow_files").unwrap_or_default().iter().enumerate() {
            let folder = PathBuf::from(text);
            if folder.is_absolute() && folder.components().all(|c| c != Component::ParentDir) {
                allow_files.push(folder);
            } else {
                let remedy = "write its whole path, like /srv/copies";
                section.note_item("allow_files", index, "this is not the path of a folder", remedy);
            }
        }
        Self { allow_destinations, allow_files }
    }
}

#[cfg(test)]
mod tests;
