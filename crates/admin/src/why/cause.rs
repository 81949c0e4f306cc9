//! What one destination or webhook waits for: from facts to a cause, a sentence and a remedy. Pure.
//!
//! The state comes from the status, which judges it; this says which step of a change's way is the
//! one that is open, and what an operator can do about it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use offtake_mapping::shell_word;
use schemars::JsonSchema;
use serde::Serialize;

use super::way::Way;
use super::{Kind, Subject, SubjectMapping};
use crate::status::Fuse;

/// A stable name for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It waits for nothing.
    Nothing,
    /// A webhook that is told nothing until an operator enables it.
    Disabled,
    Paused,
    /// A fuse is off.
    Fuse,
    /// No daemon is connected to the source.
    NoDaemon,
    /// What the configuration or a query says of it cannot be used.
    Refused,
    /// Its last attempt failed.
    Failing,
    /// A destination that is not known to fail does not answer now.
    Unreachable,
    /// One of its mappings fails or waits by itself.
    Mapping,
    /// Changes of a mapping go by unseen: a trigger is missing.
    Uncaptured,
    /// The initial copy is not complete.
    Backfill,
    /// A re-copy was asked for and is not complete.
    Resync,
    /// Rows are refused.
    Quarantined,
    /// Rows differ from what the query gives, though every change was applied.
    Differs,
    /// Everything arrives, and the destination suffers from something that grows.
    Strained,
    /// A captured change has no sequence id yet.
    NotNumbered,
    /// The poller has not owed the change yet.
    NotEnqueued,
    /// It is owed, and no worker has taken it yet.
    NotClaimed,
    /// A worker has it now.
    BeingWritten,
    /// The process that had it ended or hangs.
    LeaseEnded,
    /// It is retried later.
    Retrying,
}

/// What it waits for, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WaitsFor {
    pub cause: Cause,
    /// One sentence.
    pub text: String,
    /// Null where there is nothing to do.
    pub remedy: Option<String>,
}

impl WaitsFor {
    pub(super) fn nothing() -> Self {
        Self::new(Cause::Nothing, "every change is applied")
    }

    pub(super) fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into(), remedy: None }
    }

    /// Where nothing else is waited for: that the destination does not answer.
    pub(super) fn unless_unreachable(&mut self, error: Option<&str>) {
        if let (Cause::Nothing, Some(error)) = (self.cause, error) {
            let text = format!("every change is applied, but it does not answer now: {error}");
            *self = Self::new(Cause::Unreachable, text).remedy(
                "see that the server runs, that its address is reachable and allowed, and that \
                 user, password and certificate are valid; `offtake check --connect` asks it again",
            );
        }
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// What is known beside the subject itself.
pub(super) struct Facts<'a> {
    pub(super) tenant: &'a str,
    pub(super) paused: bool,
    pub(super) paused_until: Option<Timestamp>,
    pub(super) refused: bool,
    /// A captured change that may concern it has no sequence id yet.
    pub(super) pending: bool,
    pub(super) uncaptured: &'a BTreeMap<String, String>,
    pub(super) blocked: bool,
    pub(super) daemons: i64,
    pub(super) fuses_off: &'a [Fuse],
    pub(super) way: &'a Way,
}

/// What the subject as a whole waits for.
pub(super) fn judge(subject: &Subject, facts: &Facts<'_>) -> WaitsFor {
    match subject.state {
        "disabled" => disabled(subject, facts),
        "paused" => stopped(subject, facts),
        _ if facts.blocked => blocked(subject, facts),
        "backfilling" => copying(subject, facts),
        "degraded" => degraded(subject, facts),
        "lagging" => {
            let newest = subject.mappings.iter().filter_map(|m| m.latest_sequence_id).max();
            let wanted = subject.request.as_ref().map(|request| request.wanted_sequence_id);
            on_its_way(subject, facts, facts.pending, newest.max(wanted).map_or(0, |id| id.0))
        }
        _ => WaitsFor::nothing(),
    }
}

fn disabled(subject: &Subject, facts: &Facts<'_>) -> WaitsFor {
    let reason = subject.reason.as_deref().unwrap_or("it was disabled");
    WaitsFor::new(Cause::Disabled, reason).remedy(format!(
        "mend the receiver, then run: offtake webhook enable {}",
        named(subject, facts)
    ))
}

/// An operator stopped it, or a fuse.
fn stopped(subject: &Subject, facts: &Facts<'_>) -> WaitsFor {
    if facts.paused {
        let reason = subject.reason.as_deref().unwrap_or("no reason given");
        let until = match facts.paused_until {
            Some(at) => format!("until {}", shown(at)),
            None => "until it is resumed".to_owned(),
        };
        let verb = match subject.kind {
            Kind::Destination => "resume",
            Kind::Webhook => "webhook resume",
        };
        return WaitsFor::new(Cause::Paused, format!("it is paused {until}: {reason}"))
            .remedy(format!("run: offtake {verb} {}", named(subject, facts)));
    }
    let own = match subject.kind {
        Kind::Destination => format!("destination:{}/{}", facts.tenant, subject.name),
        Kind::Webhook => format!("webhook:{}/{}", facts.tenant, subject.name),
    };
    let mut names = vec!["webhooks".to_owned(), own, format!("tenant:{}", facts.tenant)];
    names.extend(subject.mappings.iter().map(|m| format!("mapping:{}", m.name)));
    if subject.kind == Kind::Destination {
        names.remove(0);
    }
    let stopping = names.iter().find_map(|name| facts.fuse(name));
    stopping.map_or_else(
        || WaitsFor::new(Cause::Fuse, subject.reason.clone().unwrap_or_default()),
        fuse_off,
    )
}

fn blocked(subject: &Subject, facts: &Facts<'_>) -> WaitsFor {
    let reason = || subject.reason.clone().unwrap_or_else(|| "the reason is not known".to_owned());
    if facts.refused {
        return WaitsFor::new(Cause::Refused, format!("it is not served: {}", reason())).remedy(
            "mend what it says, in offtake.yaml or in what its query returns; \
             the daemons read both again by themselves",
        );
    }
    let seen = |m: &&SubjectMapping| facts.uncaptured.contains_key(&m.name);
    if subject.consecutive_failures == 0
        && let Some(mapping) = subject.mappings.iter().find(seen)
    {
        return uncaptured(&mapping.name, facts);
    }
    let failing = subject.mappings.iter().find(|m| m.error.is_some());
    if let (0, Some(mapping)) = (subject.consecutive_failures, failing) {
        return mapping_fails(subject, mapping, facts);
    }
    let again = match subject.kind {
        Kind::Destination => format!("offtake sync {}", named(subject, facts)),
        Kind::Webhook => format!("offtake webhook enable {}", named(subject, facts)),
    };
    let next = match (facts.daemons, subject.next_attempt_at) {
        (0, _) => "; no daemon runs that would retry it".to_owned(),
        (_, Some(at)) => format!("; the next attempt is at {}", shown(at)),
        (_, None) => String::new(),
    };
    let times = match subject.consecutive_failures {
        0 | 1 => String::new(),
        times => format!(" ({times} times in a row)"),
    };
    WaitsFor::new(Cause::Failing, format!("it fails{times}: {}{next}", reason()))
        .remedy(format!("mend what it says; it is retried by itself, or now by: {again}"))
}

/// One mapping fails, and the others of the subject go on.
fn mapping_fails(subject: &Subject, mapping: &SubjectMapping, facts: &Facts<'_>) -> WaitsFor {
    let error = mapping.error.as_deref().unwrap_or_default();
    let text = format!("mapping {} cannot be written: {error}", mapping.name);
    let again = match subject.kind {
        Kind::Destination => format!("offtake sync {}", named(subject, facts)),
        Kind::Webhook => format!("offtake webhook enable {}", named(subject, facts)),
    };
    WaitsFor::new(Cause::Mapping, text)
        .remedy(format!("mend what it says; it is retried by itself, or now by: {again}"))
}

/// Changes of a mapping go by unseen.
pub(super) fn uncaptured(mapping: &str, facts: &Facts<'_>) -> WaitsFor {
    let why = facts.uncaptured.get(mapping).map(String::as_str).unwrap_or_default();
    WaitsFor::new(Cause::Uncaptured, format!("changes of mapping {mapping} go by unseen: {why}"))
        .remedy("run `offtake init`; what was missed is then copied again")
}

fn copying(subject: &Subject, facts: &Facts<'_>) -> WaitsFor {
    let open = subject.mappings.iter().find(|m| !m.copied || m.resync_requested);
    let Some(mapping) = open else {
        return WaitsFor::new(Cause::Backfill, subject.reason.clone().unwrap_or_default());
    };
    let (cause, what) = match mapping.resync_requested {
        true => (Cause::Resync, "is to be copied again"),
        false => (Cause::Backfill, "is not copied completely"),
    };
    let text = format!("mapping {} {what}", mapping.name);
    let loops = match subject.kind {
        Kind::Destination => ["sync", "poller"],
        Kind::Webhook => ["webhooks", "poller"],
    };
    if let Some(stopped) = obstacle(facts, &loops) {
        return WaitsFor { text: format!("{text}; {}", stopped.text), ..stopped };
    }
    WaitsFor::new(cause, text).remedy(
        "wait: `offtake status` shows rows and estimated time; live changes go on beside it",
    )
}

fn degraded(subject: &Subject, facts: &Facts<'_>) -> WaitsFor {
    let refusing = subject.mappings.iter().find(|m| m.quarantined.0 > 0);
    if let Some(mapping) = refusing {
        let rows: i64 = subject.mappings.iter().map(|m| m.quarantined.0).sum();
        let text = match subject.kind {
            Kind::Destination => format!("it refuses {rows} row(s)"),
            Kind::Webhook => format!("its receiver refuses {rows} event(s)"),
        };
        return WaitsFor::new(Cause::Quarantined, text).remedy(retry_quarantined(
            subject,
            &mapping.name,
            facts,
        ));
    }
    let differs = |m: &&SubjectMapping| m.differences.is_some_and(|rows| rows.0 > 0);
    let mapping = subject.mappings.iter().find(differs);
    match mapping {
        Some(mapping) => row_differs(
            format!("rows of mapping {} differ from its query", mapping.name),
            &mapping.name,
            facts.tenant,
        ),
        None => WaitsFor::new(Cause::Strained, subject.reason.clone().unwrap_or_default()),
    }
}

pub(super) fn row_differs(text: String, mapping: &str, tenant: &str) -> WaitsFor {
    let tenant = shell_word(tenant);
    WaitsFor::new(Cause::Differs, text).remedy(format!(
        "find out which program writes there, then run: \
         offtake verify --tenant {tenant} --mapping {mapping} --repair"
    ))
}

pub(super) fn retry_quarantined(subject: &Subject, mapping: &str, facts: &Facts<'_>) -> String {
    let (tenant, name) = (shell_word(facts.tenant), shell_word(&subject.name));
    let option = match subject.kind {
        Kind::Destination => "destination",
        Kind::Webhook => "webhook",
    };
    format!(
        "mend what the error says, then run: offtake quarantine retry --tenant {tenant} \
         --{option} {name} --mapping {mapping}"
    )
}

/// Which step a change waits for that nothing else stops. `pending`: it has no sequence id;
/// otherwise `sequence_id` is it.
pub(super) fn on_its_way(
    subject: &Subject,
    facts: &Facts<'_>,
    pending: bool,
    sequence_id: i64,
) -> WaitsFor {
    let way = facts.way;
    let within = "a daemon does that within a second; if this stays, see `offtake doctor`";
    if pending {
        let since = way.oldest_pending_at.map(|at| format!(", the oldest since {}", shown(at)));
        let since = since.unwrap_or_default();
        let text = format!("captured changes wait to be numbered{since}");
        return obstacle(facts, &["sequencer"]).map_or_else(
            || WaitsFor::new(Cause::NotNumbered, &text).remedy(within),
            |stopped| WaitsFor { text: format!("{text}; {}", stopped.text), ..stopped },
        );
    }
    let not_enqueued = sequence_id > way.polled || subject.request.is_none();
    if not_enqueued {
        let text = format!("the poller is at {} and has not owed it yet", way.polled);
        return obstacle(facts, &["poller"]).map_or_else(
            || WaitsFor::new(Cause::NotEnqueued, &text).remedy(within),
            |stopped| WaitsFor { text: format!("{text}; {}", stopped.text), ..stopped },
        );
    }
    claimed(subject, facts)
}

/// The change is owed: whether a process has claimed the request, and until when.
fn claimed(subject: &Subject, facts: &Facts<'_>) -> WaitsFor {
    let way = facts.way;
    let Some(request) = &subject.request else { return WaitsFor::nothing() };
    let process = request.claimed_by.as_deref().unwrap_or("a process");
    let loops = match subject.kind {
        Kind::Destination => ["sync"],
        Kind::Webhook => ["webhooks"],
    };
    match request.claimed_until {
        Some(until) if until > way.read_at => {
            let text =
                format!("process {process} is writing it, and holds it until {}", shown(until));
            return WaitsFor::new(Cause::BeingWritten, text)
                .remedy("wait; if it takes long, the log of that process says what it does");
        }
        Some(until) => {
            let text = format!(
                "process {process} had it until {} and ended, or hangs; another one takes it over",
                shown(until)
            );
            let ended = WaitsFor::new(Cause::LeaseEnded, &text)
                .remedy("read the log of that process; if this stays, see `offtake doctor`");
            let stopped = obstacle(facts, &loops);
            return stopped
                .map_or(ended, |s| WaitsFor { text: format!("{text}; {}", s.text), ..s });
        }
        None => {}
    }
    let text = format!("a sync is owed since {}, and no worker has it", shown(request.owed_since));
    if let Some(stopped) = obstacle(facts, &loops) {
        return WaitsFor { text: format!("{text}; {}", stopped.text), ..stopped };
    }
    if request.due_at > way.read_at && request.failures > 0 {
        let text = format!("it failed, and is retried at {}", shown(request.due_at));
        return WaitsFor::new(Cause::Retrying, text);
    }
    WaitsFor::new(Cause::NotClaimed, text)
        .remedy("wait; if this stays, sync.workers may be too few, or see `offtake doctor`")
}

/// Why none of these loops does anything now.
fn obstacle(facts: &Facts<'_>, loops: &[&str]) -> Option<WaitsFor> {
    if let Some(fuse) = loops.iter().find_map(|name| facts.fuse(name)) {
        return Some(fuse_off(fuse));
    }
    (facts.daemons == 0).then(|| {
        WaitsFor::new(Cause::NoDaemon, "no daemon is connected to the source")
            .remedy("start one: offtake run")
    })
}

fn fuse_off(fuse: &Fuse) -> WaitsFor {
    let reason = fuse.reason.as_deref().unwrap_or("no reason given");
    let until = fuse.until.map(|at| format!(" until {}", shown(at))).unwrap_or_default();
    WaitsFor::new(Cause::Fuse, format!("the fuse {} is off{until}: {reason}", fuse.name))
        .remedy(format!("run: offtake fuse on {}", shell_word(&fuse.name)))
}

/// Which destination or webhook, as options of a command.
fn named(subject: &Subject, facts: &Facts<'_>) -> String {
    let (tenant, name) = (shell_word(facts.tenant), shell_word(&subject.name));
    match subject.kind {
        Kind::Destination => format!("--tenant {tenant} --destination {name}"),
        Kind::Webhook => format!("--tenant {tenant} --name {name}"),
    }
}

impl Facts<'_> {
    fn fuse(&self, name: &str) -> Option<&Fuse> {
        self.fuses_off.iter().find(|fuse| fuse.name == name)
    }
}

fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
