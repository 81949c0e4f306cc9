//! Why a tenant's destinations and webhooks are where they are: what they wait for, and what to do.
//!
//! Everything is read from the source, as the status is, by statements whose cost has a bound
//! however long the log is. `offtake why` adds what only a look at the destination can tell.
//!
//! | part | module |
//! |---|---|
//! | what one destination or webhook waits for, from facts; pure | `cause` |
//! | how far the way of a change is open for it | `way` |
//! | the story of one key | `key` |

mod cause;
mod key;
mod way;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Client;

use crate::operations::{self, Named, Quarantined, Selection, named_destinations};
use crate::status::{Destination, Fuse, Long, destinations, doubt};
use crate::webhooks::{NamedWebhook, Webhook, WebhookState, named_webhooks, webhooks};
use crate::{Error, State};

use cause::Facts;
pub use cause::{Cause, WaitsFor};
use key::Whose;
pub use key::{Change, KeyStory, Refused, Row, key_columns};
pub use way::Request;
use way::Way;

/// So many quarantined rows of one destination are shown; `offtake quarantine list` has all.
const QUARANTINED_MAX: i64 = 5;

/// What is asked. The tenant as the configuration spells it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub tenant: &'a str,
    /// None: all mappings.
    pub mapping: Option<&'a str>,
    /// The key as the change log has it, an object of the source table's columns as text. Only with
    /// a mapping.
    pub key: Option<&'a Value>,
    /// Mappings whose changes may go by unseen, each with the reason.
    pub uncaptured: &'a BTreeMap<String, String>,
}

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Why {
    pub tenant: String,
    /// Nothing is waited for, and nothing is wrong.
    pub up_to_date: bool,
    pub read_at: Timestamp,
    /// Sessions of daemons on the source; 0: none runs.
    pub daemon_sessions: i64,
    /// The newest sequence id.
    pub head_sequence_id: Long,
    /// Up to where the poller has looked, and when it last found something.
    pub polled_sequence_id: Long,
    pub polled_at: Timestamp,
    /// The process that numbers changes, and since when.
    pub numbered_by: Option<String>,
    pub numbering_since: Option<Timestamp>,
    /// When the oldest change was captured that has no sequence id yet, of any tenant.
    pub oldest_pending_at: Option<Timestamp>,
    /// The fuses of loops, and of this tenant, that are off.
    pub fuses_off: Vec<Fuse>,
    pub items: Vec<Subject>,
}

/// One destination or webhook.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Subject {
    pub kind: Kind,
    pub name: String,
    /// As in the status.
    #[schemars(with = "WebhookState")]
    pub state: &'static str,
    pub reason: Option<String>,
    pub waits_for: WaitsFor,
    pub last_success_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub last_error_at: Option<Timestamp>,
    pub consecutive_failures: i32,
    pub next_attempt_at: Option<Timestamp>,
    /// What is owed to it; null: nothing.
    pub request: Option<Request>,
    pub mappings: Vec<SubjectMapping>,
    /// The first of the rows or events that it refuses.
    pub quarantined: Vec<Quarantined>,
    /// What it answered just now; null where it was not asked.
    pub connection: Option<Connection>,
    /// The story of the key that was asked for; null where none was, or where this one does not
    /// have its mapping.
    pub key: Option<KeyStory>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Destination,
    Webhook,
}

/// How far one mapping of it is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SubjectMapping {
    pub name: String,
    pub source_table: Option<String>,
    /// The cursor; null before the first sync.
    pub sequence_id: Option<Long>,
    /// The newest change of its table that concerns it.
    pub latest_sequence_id: Option<Long>,
    /// Changes beyond the cursor, counted up to 100 001.
    pub backlog: Long,
    /// The initial copy, or the re-copy, is complete.
    pub copied: bool,
    pub resync_requested: bool,
    pub quarantined: Long,
    pub differences: Option<Long>,
    pub error: Option<String>,
    pub retry_at: Option<Timestamp>,
}

/// Whether a destination answers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Connection {
    pub answers: bool,
    /// Why it does not.
    pub error: Option<String>,
}

impl Subject {
    /// Adds whether the destination answered just now; the error says why it did not.
    pub fn answered(&mut self, answer: Result<(), String>) {
        let error = answer.err();
        let key = self.key.as_mut().map(|key| &mut key.waits_for);
        for waits_for in [Some(&mut self.waits_for), key].into_iter().flatten() {
            waits_for.unless_unreachable(error.as_deref());
        }
        self.connection = Some(Connection { answers: error.is_none(), error });
    }
}

impl Why {
    /// Judges again, after a look at the destinations has changed the items.
    pub fn conclude(&mut self) {
        let fine = |subject: &Subject| {
            let key = subject.key.as_ref().map_or(&subject.waits_for, |key| &key.waits_for);
            key.cause == Cause::Nothing
        };
        self.up_to_date = self.items.iter().all(fine);
    }
}

/// What a tenant's destinations and webhooks wait for. No items: it has none.
pub async fn explain(source: &Client, asked: &Asked<'_>) -> Result<Why, Error> {
    let tenant = Some(asked.tenant);
    let daemons = operations::daemon_sessions(source).await?;
    let fuses_off = fuses_off(source, asked).await?;
    let around = Around { daemons, fuses_off: &fuses_off };
    let mut items = Vec::new();
    let mut last_way = Way::read(source, None, None).await?;
    let mut told = destinations(source, tenant, None).await?;
    doubt(&mut told, asked.uncaptured);
    let mut named = named_destinations(source, tenant, None).await?;
    for destination in told {
        let Some(at) = named.iter().position(|n| n.name == destination.name) else { continue };
        let one = named.swap_remove(at);
        if !wanted(asked, destination.mappings.iter().map(|m| m.name.as_str())) {
            continue;
        }
        last_way = Way::read(source, Some(one.destination_id), None).await?;
        items.push(of_destination(source, asked, &around, (&destination, &one), &last_way).await?);
    }
    let mut named = named_webhooks(source, tenant, None).await?;
    for webhook in webhooks(source, tenant, None).await? {
        let Some(at) = named.iter().position(|n| n.name == webhook.name) else { continue };
        let one = named.swap_remove(at);
        if !wanted(asked, webhook.mappings.iter().map(|m| m.name.as_str())) {
            continue;
        }
        last_way = Way::read(source, None, Some(one.webhook_id)).await?;
        items.push(of_webhook(source, asked, &around, (&webhook, &one), &last_way).await?);
    }
    let mut why = Why {
        tenant: asked.tenant.to_owned(),
        up_to_date: false,
        read_at: last_way.read_at,
        daemon_sessions: daemons,
        head_sequence_id: Long(last_way.head),
        polled_sequence_id: Long(last_way.polled),
        polled_at: last_way.polled_at,
        numbered_by: last_way.numbered_by,
        numbering_since: last_way.numbering_since,
        oldest_pending_at: last_way.oldest_pending_at,
        fuses_off,
        items,
    };
    why.conclude();
    Ok(why)
}

/// What holds for everything of the tenant.
struct Around<'a> {
    daemons: i64,
    fuses_off: &'a [Fuse],
}

/// The fuses that are off and stop a loop, this tenant, or something of it.
async fn fuses_off(source: &Client, asked: &Asked<'_>) -> Result<Vec<Fuse>, Error> {
    let tenant = format!("tenant:{}", asked.tenant);
    let [destination, webhook] =
        ["destination", "webhook"].map(|kind| format!("{kind}:{}/", asked.tenant));
    let mut fuses = operations::fuses(source).await?;
    fuses.retain(|fuse| {
        let name = fuse.name.as_str();
        let concerns = !name.contains(':')
            || name == tenant
            || name.starts_with("mapping:")
            || name.starts_with(&destination)
            || name.starts_with(&webhook);
        !fuse.enabled && concerns
    });
    Ok(fuses)
}

fn wanted<'a>(asked: &Asked<'_>, mut mappings: impl Iterator<Item = &'a str>) -> bool {
    asked.mapping.is_none_or(|wanted| mappings.any(|name| name == wanted))
}

async fn of_destination(
    source: &Client,
    asked: &Asked<'_>,
    around: &Around<'_>,
    (destination, named): (&Destination, &Named),
    way: &Way,
) -> Result<Subject, Error> {
    let mappings = destination.mappings.iter().map(|m| SubjectMapping {
        name: m.name.clone(),
        source_table: m.source_table.clone(),
        sequence_id: m.sequence_id,
        latest_sequence_id: m.latest_sequence_id,
        backlog: m.backlog,
        copied: m.backfill.state == "done",
        resync_requested: m.resync_requested_at.is_some(),
        quarantined: m.quarantined,
        differences: m.differences,
        error: m.error.clone(),
        retry_at: m.retry_at,
    });
    let subject = Subject {
        kind: Kind::Destination,
        name: destination.name.clone(),
        state: destination.state.as_str(),
        reason: destination.reason.clone(),
        waits_for: WaitsFor::nothing(),
        last_success_at: destination.last_success_at,
        last_error: destination.last_error.clone(),
        last_error_at: destination.last_error_at,
        consecutive_failures: destination.consecutive_failures,
        next_attempt_at: destination.next_attempt_at,
        request: way.request.clone(),
        mappings: mappings.collect(),
        quarantined: Vec::new(),
        connection: None,
        key: None,
    };
    let facts = Facts {
        tenant: asked.tenant,
        paused: destination.paused,
        paused_until: destination.paused_until,
        refused: named.refused.is_some(),
        pending: destination.lag_rows.0
            > destination.mappings.iter().map(|m| m.backlog.0).sum::<i64>(),
        uncaptured: asked.uncaptured,
        blocked: destination.state == State::Blocked,
        daemons: around.daemons,
        fuses_off: around.fuses_off,
        way,
    };
    let whose = Whose { destination: Some(named.destination_id), webhook: None };
    complete(source, asked, subject, &facts, (&named.tenant_at_source, whose)).await
}

async fn of_webhook(
    source: &Client,
    asked: &Asked<'_>,
    around: &Around<'_>,
    (webhook, named): (&Webhook, &NamedWebhook),
    way: &Way,
) -> Result<Subject, Error> {
    let long = |text: &String| text.parse().ok().map(Long);
    let mappings = webhook.mappings.iter().map(|m| SubjectMapping {
        name: m.name.clone(),
        source_table: Some(m.source_table.clone()),
        sequence_id: m.sequence_id.as_ref().and_then(long),
        latest_sequence_id: m.latest_sequence_id.as_ref().and_then(long),
        backlog: long(&m.backlog).unwrap_or_default(),
        copied: m.backfill,
        resync_requested: m.resync_reason.is_some(),
        quarantined: long(&m.quarantined).unwrap_or_default(),
        differences: None,
        error: m.error.clone(),
        retry_at: m.retry_at,
    });
    let subject = Subject {
        kind: Kind::Webhook,
        name: webhook.name.clone(),
        state: webhook.state.as_str(),
        reason: webhook.reason.clone(),
        waits_for: WaitsFor::nothing(),
        last_success_at: webhook.last_success_at,
        last_error: webhook.last_error.clone(),
        last_error_at: webhook.last_error_at,
        consecutive_failures: webhook.consecutive_failures,
        next_attempt_at: webhook.next_attempt_at,
        request: way.request.clone(),
        mappings: mappings.collect(),
        quarantined: Vec::new(),
        connection: None,
        key: None,
    };
    let backlog: i64 = subject.mappings.iter().map(|m| m.backlog.0).sum();
    let facts = Facts {
        tenant: asked.tenant,
        paused: webhook.paused,
        paused_until: webhook.paused_until,
        refused: named.refused.is_some(),
        pending: webhook.lag_rows.0 > backlog,
        uncaptured: asked.uncaptured,
        blocked: webhook.state.as_str() == State::Blocked.as_str(),
        daemons: around.daemons,
        fuses_off: around.fuses_off,
        way,
    };
    let whose = Whose { destination: None, webhook: Some(named.webhook_id) };
    complete(source, asked, subject, &facts, (&named.tenant_at_source, whose)).await
}

/// What the subject waits for, its quarantine, and the story of the key that is asked for.
async fn complete(
    source: &Client,
    asked: &Asked<'_>,
    mut subject: Subject,
    facts: &Facts<'_>,
    (tenant_at_source, whose): (&str, Whose),
) -> Result<Subject, Error> {
    subject.waits_for = cause::judge(&subject, facts);
    subject.quarantined = quarantined(source, asked, &subject).await?;
    subject.key = key::tell(source, asked, tenant_at_source, whose, &subject, facts).await?;
    // Only now: the cause looks at all of its mappings.
    subject.mappings.retain(|m| asked.mapping.is_none_or(|wanted| m.name == wanted));
    Ok(subject)
}

async fn quarantined(
    source: &Client,
    asked: &Asked<'_>,
    subject: &Subject,
) -> Result<Vec<Quarantined>, Error> {
    if subject.mappings.iter().all(|m| m.quarantined.0 == 0) {
        return Ok(Vec::new());
    }
    let name = Some(subject.name.as_str());
    let (destination, webhook) = match subject.kind {
        Kind::Destination => (name, None),
        Kind::Webhook => (None, name),
    };
    let (tenant, mapping) = (Some(asked.tenant), asked.mapping);
    let of = Selection { tenant, destination, webhook, mapping };
    operations::quarantined(source, of, None, QUARANTINED_MAX).await
}
