//! The story for a person: what is waited for first, then what it is made of.

use jiff::Timestamp;
use offtake_admin::why::{Change, KeyStory, Kind, Row, Subject, SubjectMapping, WaitsFor, Why};
use offtake_mapping::{foreign, foreign_within};

use crate::commands::phrases::span;

/// The longest error that is shown in full.
const TEXT_CHARACTERS_MAX: usize = 4000;

pub(super) fn describe(why: &Why, files_error: Option<&str>) -> String {
    let tenant = foreign(&why.tenant);
    let mut lines = vec![match why.up_to_date {
        true => format!("{tenant} is up to date"),
        false => format!("{tenant} is not up to date"),
    }];
    for subject in &why.items {
        lines.push(String::new());
        lines.extend(describe_subject(subject, why.read_at));
    }
    lines.push(String::new());
    lines.extend(around(why));
    if let Some(error) = files_error {
        lines.push("files        cannot be used, so nothing was compared:".to_owned());
        lines.extend(error.lines().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

/// What holds for everything of the source.
fn around(why: &Why) -> Vec<String> {
    let ago = |at: Timestamp| ago(at, why.read_at);
    let mut lines = vec![format!(
        "changes      the newest has number {}; the poller is at {}, moved {}",
        why.head_sequence_id.0,
        why.polled_sequence_id.0,
        ago(why.polled_at)
    )];
    if let Some(at) = why.oldest_pending_at {
        lines.push(format!("waiting      the oldest change without a number: {}", ago(at)));
    }
    let numbering = match (&why.numbered_by, why.numbering_since) {
        (Some(process), Some(since)) => {
            format!("; process {} numbered last, since {}", foreign(process), shown(since))
        }
        _ => String::new(),
    };
    lines.push(match why.daemon_sessions {
        0 => format!("daemons      none is connected{numbering}"),
        sessions => format!("daemons      {sessions} session(s){numbering}"),
    });
    lines.extend(why.fuses_off.iter().map(|fuse| {
        let reason = foreign(fuse.reason.as_deref().unwrap_or("no reason given"));
        format!("fuse         {} is off: {reason}", foreign(&fuse.name))
    }));
    lines
}

fn describe_subject(subject: &Subject, now: Timestamp) -> Vec<String> {
    let kind = match subject.kind {
        Kind::Destination => "destination",
        Kind::Webhook => "webhook",
    };
    let state = subject.state.replace('_', " ");
    let mut lines = vec![format!("{kind} {}: {state}", foreign(&subject.name))];
    lines.extend(waits(&subject.waits_for, "  "));
    match subject.last_success_at {
        Some(at) => lines.push(format!("  succeeded  {}", ago(at, now))),
        None => lines.push("  succeeded  never".to_owned()),
    }
    if let (Some(error), Some(at)) = (&subject.last_error, subject.last_error_at) {
        lines.push(format!("  last error {}: {}", ago(at, now), plain(error)));
    }
    if let Some(request) = &subject.request {
        let claim = match (&request.claimed_by, request.claimed_until) {
            (Some(process), Some(until)) => {
                format!(", process {} has it until {}", foreign(process), shown(until))
            }
            _ => format!(", due {}", shown(request.due_at)),
        };
        lines.push(format!(
            "  owed       up to {} since {}, attempt {}{claim}",
            request.wanted_sequence_id.0,
            shown(request.owed_since),
            request.attempt.0
        ));
    }
    match &subject.connection {
        Some(connection) if connection.answers => lines.push("  answers    yes".to_owned()),
        Some(connection) => {
            let error = connection.error.as_deref().unwrap_or("no");
            lines.push(format!("  answers    no: {}", plain(error)));
        }
        None => {}
    }
    lines.extend(subject.mappings.iter().map(describe_mapping));
    lines.extend(subject.quarantined.iter().map(|row| {
        format!(
            "  refused    {} {} since {}: {}",
            row.mapping,
            row.key,
            shown(row.first_failed_at),
            plain(&row.error)
        )
    }));
    if let Some(story) = &subject.key {
        lines.extend(describe_key(story, subject.kind, now));
    }
    lines
}

fn describe_mapping(mapping: &SubjectMapping) -> String {
    let number = |id: Option<offtake_admin::status::Long>| {
        id.map_or_else(|| "none".to_owned(), |id| id.0.to_string())
    };
    let mut parts = vec![
        format!("cursor {}", number(mapping.sequence_id)),
        format!("newest {}", number(mapping.latest_sequence_id)),
        format!("{} behind", mapping.backlog.0),
        if mapping.copied { "copied" } else { "not copied completely" }.to_owned(),
    ];
    if mapping.resync_requested {
        parts.push("a re-copy waits".to_owned());
    }
    if mapping.quarantined.0 > 0 {
        parts.push(format!("{} refused", mapping.quarantined.0));
    }
    if let Some(rows) = mapping.differences.filter(|rows| rows.0 > 0) {
        parts.push(format!("{} differ", rows.0));
    }
    if let Some(error) = &mapping.error {
        parts.push(plain(error));
    }
    format!("  mapping    {}: {}", mapping.name, parts.join(", "))
}

fn describe_key(story: &KeyStory, kind: Kind, now: Timestamp) -> Vec<String> {
    let mut lines = vec![format!("  key        {} of {}", story.key, story.source_table)];
    lines.extend(waits(&story.waits_for, "    "));
    if let Some(at) = story.pending_captured_at {
        lines.push(format!("    captured   {}, no number yet", ago(at, now)));
    }
    if story.pending_of_other_tables.0 > 0 {
        let changes = story.pending_of_other_tables.0;
        lines.push(format!("    captured   {changes} change(s) of other tables may concern it"));
    }
    let whole = story.whole_table.as_ref().map(|change| ("the whole table", change));
    let own = story.change.as_ref().map(|change| ("it", change));
    for (what, change) in [own, whole].into_iter().flatten() {
        lines.push(describe_change(what, change, now));
    }
    if story.change.is_none() {
        let back = story.looked_back_to.map(|at| format!(", back to {}", shown(at)));
        lines.push(format!(
            "    numbered   no change of it among the newest {}{}",
            story.changes_looked_at.0,
            back.unwrap_or_default()
        ));
    }
    let done = match kind {
        Kind::Destination => "written",
        Kind::Webhook => "told",
    };
    let cursor = story.cursor.map_or_else(|| "not there yet".to_owned(), |id| id.0.to_string());
    lines.push(match story.applied {
        true => format!("    {done:<10} yes: the cursor is {cursor}"),
        false => format!("    {done:<10} no: the cursor is {cursor}"),
    });
    if let Some(refused) = &story.refused {
        lines.push(format!(
            "    refused    since {}, {} attempts: {}",
            shown(refused.first_failed_at),
            refused.attempts,
            plain(&refused.error)
        ));
    }
    lines.extend(story.row.as_ref().map(describe_row));
    lines
}

fn describe_change(what: &str, change: &Change, now: Timestamp) -> String {
    let deleted = if change.deleted { ", it left the tenant or the table" } else { "" };
    let every = if change.of_every_tenant { ", of every tenant" } else { "" };
    format!(
        "    numbered   {what}: {}, captured {} ({}), numbered {}{deleted}{every}",
        change.sequence_id.0,
        shown(change.captured_at),
        ago(change.captured_at, now),
        shown(change.numbered_at),
    )
}

fn describe_row(row: &Row) -> String {
    let there = |there: Option<bool>| match there {
        Some(true) => "there",
        Some(false) => "not there",
        None => "not known",
    };
    match (&row.error, row.equal) {
        (Some(error), _) => format!("    row        cannot be compared: {}", plain(error)),
        (None, equal) => format!(
            "    row        by the query: {}; at the destination: {}; {}",
            there(row.at_source),
            there(row.at_destination),
            if equal == Some(true) { "equal" } else { "DIFFERENT" }
        ),
    }
}

fn waits(waits_for: &WaitsFor, indent: &str) -> Vec<String> {
    let mut lines = vec![format!("{indent}why        {}", plain(&waits_for.text))];
    lines.extend(waits_for.remedy.as_ref().map(|remedy| format!("{indent}remedy     {remedy}")));
    lines
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", span(now.duration_since(at).as_secs_f64().max(0.0)))
}

fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The text on one line: a destination's server may send anything.
fn plain(text: &str) -> String {
    foreign_within(&text.replace('\n', " "), TEXT_CHARACTERS_MAX).into_owned()
}
