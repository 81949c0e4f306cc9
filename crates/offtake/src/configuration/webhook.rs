//! The section `webhooks`.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::Diagnostic;
use offtake_mapping::compose::Accepted;
use offtake_webhooks::{
    AttemptsLog, ClientCertificate, Endpoint, Headers, OnEventError, Payload, Secrets, TIMEOUT_MAX,
    Url, WebhookSpec,
};

use super::destination::{unusable_name, unusable_tenant};
use super::section::Section;
use super::{DAY, MILLISECOND, SECOND, defaults};
use crate::arguments::shown;

/// Webhooks, and how all of them are told.
#[derive(Debug, Clone)]
pub struct Webhooks {
    pub static_: Vec<StaticWebhook>,
    pub query: Option<String>,
    pub refresh: Duration,
    pub workers: u32,
    pub connections: u32,
    /// Of the query.
    pub per_tenant: u32,
    pub retry_initial: Duration,
    pub retry_max: Duration,
    /// Pauses of an event that its receiver refuses.
    pub retry_events: Vec<Duration>,
    pub disable_after: Duration,
    pub attempts_log: AttemptsLog,
    pub attempts_keep: Duration,
}

/// A webhook written in the file.
#[derive(Debug, Clone)]
pub struct StaticWebhook {
    pub spec: Arc<WebhookSpec>,
    /// Where each of its mappings stands in the file.
    pub mappings_at: Vec<Diagnostic>,
}

/// At most so many events go into one request.
pub(crate) const BATCH_EVENTS_MAX: u32 = 1000;

/// A request waits at most so long for more events.
const BATCH_WAIT_MAX: Duration = Duration::from_secs(60);

/// Requests in flight of one webhook, at most: as many as are kept apart when they do not answer.
pub(crate) const CONCURRENCY_MAX: u32 = 64;

/// A refused event is tried again at most so often.
const EVENT_RETRIES_MAX: usize = 20;

impl Webhooks {
    pub(super) fn read(section: &Section, base: &Path) -> Self {
        let mut static_: Vec<StaticWebhook> = Vec::new();
        let mut names = HashSet::new();
        for entry in section.sections("static") {
            let Some(webhook) = StaticWebhook::read(&entry, base) else { continue };
            let WebhookSpec { tenant_id, name, .. } = &*webhook.spec;
            if !names.insert((tenant_id.clone(), name.clone())) {
                let message = format!("{tenant_id} has two webhooks named {name}");
                entry.note("tenant", &message, "give one of them another `name`");
                continue;
            }
            static_.push(webhook);
        }
        let retry = section.section("retry");
        let retry_initial =
            retry.duration("initial", defaults::WEBHOOK_RETRY_INITIAL, MILLISECOND..=DAY);
        let retry_max = retry.duration(
            "max",
            defaults::WEBHOOK_RETRY_MAX.max(retry_initial),
            MILLISECOND..=DAY,
        );
        if retry_max < retry_initial {
            retry.note("max", "this is shorter than `initial`", "make it at least as long");
        }
        let attempts = section.section("attempts");
        let logs = [("failures", AttemptsLog::Failures), ("all", AttemptsLog::All)];
        Self {
            static_,
            query: section.text("query"),
            refresh: section.duration("refresh", defaults::REFRESH, MILLISECOND..=DAY),
            workers: section.count("workers", defaults::WORKERS, 1..=1024),
            connections: section.count("connections", defaults::WEBHOOK_CONNECTIONS, 1..=65_536),
            per_tenant: section.count("per_tenant", defaults::WEBHOOKS_PER_TENANT, 1..=1000),
            retry_initial,
            retry_max,
            retry_events: event_retries(&retry),
            disable_after: section.duration(
                "disable_after",
                defaults::WEBHOOK_DISABLE_AFTER,
                SECOND..=DAY * 365,
            ),
            attempts_log: attempts.choice("log", &logs).unwrap_or_default(),
            attempts_keep: attempts.duration(
                "keep",
                defaults::WEBHOOK_ATTEMPTS_KEEP,
                DAY..=DAY * 365,
            ),
        }
    }
}

fn event_retries(retry: &Section) -> Vec<Duration> {
    match retry.durations("events", MILLISECOND..=DAY * 30) {
        Some(pauses) if pauses.len() > EVENT_RETRIES_MAX => {
            let message = format!("these are {} pauses", pauses.len());
            retry.note("events", &message, &format!("write at most {EVENT_RETRIES_MAX}"));
            pauses
        }
        Some(pauses) => pauses,
        None => defaults::WEBHOOK_RETRY_EVENTS.to_vec(),
    }
}

impl StaticWebhook {
    /// None only when a mistake was noted.
    fn read(section: &Section, base: &Path) -> Option<Self> {
        let tenant = section.required("tenant").filter(|tenant| match unusable_tenant(tenant) {
            Some(why) => {
                section.note("tenant", &why, "give the tenant a shorter id");
                false
            }
            None => true,
        });
        let name = section.text("name").unwrap_or_else(|| defaults::DESTINATION_NAME.to_owned());
        if let Some(why) = unusable_name(&name) {
            section.note("name", &why.replace("destination", "webhook"), "choose a short name");
        }
        let endpoint = endpoint(section, base);
        let mappings = section.list("mappings");
        let count = mappings.as_ref().map_or(0, Vec::len);
        let mappings_at = (0..count).map(|at| section.place_of_item("mappings", at)).collect();
        let (upserted, deleted) = kinds(section);
        let batch = section.section("batch");
        let payloads = [("full", Payload::Full), ("key", Payload::Key)];
        let consequences = [("quarantine", OnEventError::Quarantine), ("halt", OnEventError::Halt)];
        let accepted = Accepted { condition: section.text("where"), texts: Vec::new() };
        let (backfill, payload) = (section.flag("backfill"), section.choice("payload", &payloads));
        let batch_events = batch.count("events", 1, 1..=BATCH_EVENTS_MAX) as usize;
        let batch_wait = batch.duration("wait", Duration::ZERO, Duration::ZERO..=BATCH_WAIT_MAX);
        let concurrency =
            section.count("concurrency", defaults::WEBHOOK_CONCURRENCY, 1..=CONCURRENCY_MAX);
        let on_event_error = section.choice("on_event_error", &consequences);
        let tenant = tenant?;
        let spec = WebhookSpec {
            tenant_at_source: tenant.clone(),
            tenant_id: tenant,
            name,
            endpoint: Arc::new(endpoint?),
            mappings,
            upserted,
            deleted,
            accepted: Arc::new(accepted),
            backfill,
            payload: payload.unwrap_or_default(),
            batch_events,
            batch_wait,
            concurrency: concurrency as usize,
            on_event_error: on_event_error.unwrap_or_default(),
        };
        Some(Self { spec: Arc::new(spec), mappings_at })
    }
}

/// Where a webhook's requests go, and how they are signed.
fn endpoint(section: &Section, base: &Path) -> Option<Endpoint> {
    let url = section.required("url").and_then(|text| {
        let remedy = "write it like https://example.com/hook";
        Url::parse(&text).map_err(|why| section.note("url", &why, remedy)).ok()
    });
    let secrets = match section.list("secret") {
        Some(texts) => {
            let remedy = "`offtake webhook secret` prints a fresh one";
            Secrets::parse(&texts).map_err(|why| section.note("secret", &why, remedy)).ok()
        }
        None => {
            // Notes that it is required, unless it is misspelt.
            section.required("secret");
            None
        }
    };
    let headers = section.texts("headers");
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let remedy = "write `Name: value` pairs, such as { Authorization: \"Bearer ${HOOK_TOKEN}\" }";
    let headers = Headers::parse(pairs).map_err(|why| section.note("headers", &why, remedy)).ok();
    let timeout = section.duration("timeout", defaults::WEBHOOK_TIMEOUT, SECOND..=TIMEOUT_MAX);
    let ca_file = section.text("ca_file").map(|path| base.join(path));
    if let Some(path) = ca_file.as_deref().filter(|path| !path.is_file()) {
        let message = format!("{} is not a file", shown(&path.to_string_lossy()));
        section.note("ca_file", &message, "name a PEM file, relative to this one");
    }
    let certificate = certificate(&section.section("client_certificate"), base);
    Some(Endpoint::new(url?, headers?, secrets?, timeout, ca_file, certificate))
}

fn certificate(section: &Section, base: &Path) -> Option<ClientCertificate> {
    if !section.is_written() {
        return None;
    }
    let (certificate, key) = (section.required("certificate_file"), section.required("key_file"));
    let certificate =
        ClientCertificate { certificate_file: base.join(certificate?), key_file: base.join(key?) };
    if let Err(why) = certificate.check() {
        section.note("certificate_file", &why, "name PEM files, relative to this one");
    }
    Some(certificate)
}

/// Whether upserts and deletions are told.
fn kinds(section: &Section) -> (bool, bool) {
    let Some(names) = section.list("events") else { return (true, true) };
    for (at, name) in names.iter().enumerate() {
        if !["upserted", "deleted"].contains(&name.as_str()) {
            let message = format!("`{}` is no kind of event", shown(name));
            let remedy = "write upserted, deleted or both; resync and backfilled always come";
            section.note_item("events", at, &message, remedy);
        }
    }
    if names.is_empty() {
        section.note("events", "this is empty", "write upserted, deleted or both");
    }
    let has = |kind: &str| names.iter().any(|name| name == kind);
    (has("upserted"), has("deleted"))
}
