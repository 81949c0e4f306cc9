//! The status as lines and tables for a person.

use jiff::Timestamp;
use offtake_admin::{Destination, State, Status};

use offtake_mapping::{foreign, foreign_within, shell_word};

use crate::commands::phrases::{span, until};
use crate::commands::printing::table;

/// A change gets its sequence id, and an owed sync is begun, within milliseconds. What waits longer
/// than this waits for a daemon.
const WAITING_SECONDS_MAX: f64 = 10.0;

/// A reason is one line of a table, long enough for the command that mends it, which is at its end.
/// `--json` prints all of it.
const REASON_CHARACTERS_MAX: usize = 300;

/// The longest error that is shown in full.
const DETAIL_CHARACTERS_MAX: usize = 4000;

/// The whole status. With `mappings`, also a line for each mapping of each destination.
pub(super) fn describe(status: &Status, mappings: bool, now: Timestamp) -> String {
    let mut lines = totals(status);
    lines.extend(status.fuses.iter().filter(|fuse| !fuse.enabled).map(|fuse| {
        let reason = foreign(fuse.reason.as_deref().unwrap_or("no reason given"));
        let command = format!("until `offtake fuse on {}`", shell_word(&fuse.name));
        let until = until(fuse.until, &command);
        format!("fuse          {} is off {until}: {reason}", foreign(&fuse.name))
    }));
    if let Some(error) = status.config.as_ref().and_then(|config| config.error.as_ref()) {
        lines.push(
            "files         cannot all be used as they are now; \
             a daemon that runs keeps what was before:"
                .to_owned(),
        );
        lines.extend(error.lines().map(|line| format!("  {line}")));
    }
    if waits_for_daemon(status) {
        lines.push(
            "warning       changes wait to be numbered: is `offtake run` running?".to_owned(),
        );
    }
    if !status.destinations.is_empty() {
        lines.push(String::new());
        lines.push(destination_table(&status.destinations, now));
    }
    if status.destinations_not_listed > 0 {
        lines.push(format!("and {} more, in better states", status.destinations_not_listed));
    }
    if mappings {
        lines.extend(status.destinations.iter().flat_map(|d| destination_details(d, now)));
    }
    lines.join("\n")
}

fn totals(status: &Status) -> Vec<String> {
    let states = status.sync.destinations.iter().filter(|(_, count)| **count > 0);
    let states: Vec<_> =
        states.map(|(state, count)| format!("{count} {}", state.replace('_', " "))).collect();
    let states = if states.is_empty() {
        "none known yet; `offtake run` reads them from the configuration".to_owned()
    } else {
        states.join(", ")
    };
    let sequencer = &status.sequencer;
    let (numbered, pending) = (sequencer.last_sequence_id.0, sequencer.pending_changes.0);
    let oldest = sequencer.oldest_pending_seconds;
    let oldest =
        oldest.map(|seconds| format!(", the oldest for {}", span(seconds))).unwrap_or_default();
    let (owed, in_flight) = (status.poller.owed, status.poller.in_flight);
    let mut lines = vec![
        format!("destinations  {states}"),
        format!("changes       {numbered} numbered, {pending} waiting{oldest}"),
        format!("syncs         {owed} owed, {in_flight} being written"),
    ];
    lines.extend(webhooks(status));
    let (rows, events) = (status.quarantined_rows.0, status.quarantined_events.0);
    let quarantined = match (rows, events) {
        (0, 0) => return lines,
        (rows, 0) => format!("{rows} row(s)"),
        (0, events) => format!("{events} event(s)"),
        (rows, events) => format!("{rows} row(s), {events} event(s)"),
    };
    lines.push(format!("quarantine    {quarantined}; see `offtake quarantine list`"));
    lines
}

/// A line about the webhooks, where there are any.
fn webhooks(status: &Status) -> Option<String> {
    let states = status.webhooks.states.iter().filter(|(_, count)| **count > 0);
    let states: Vec<String> =
        states.map(|(state, count)| format!("{count} {}", state.replace('_', " "))).collect();
    if states.is_empty() {
        return None;
    }
    let owed = status.poller.owed_webhooks;
    Some(format!("webhooks      {}; {owed} owed; see `offtake webhook list`", states.join(", ")))
}

/// Whether changes wait for a sequencer that was not stopped by its fuse.
fn waits_for_daemon(status: &Status) -> bool {
    let stopped = status.fuses.iter().any(|fuse| fuse.name == "sequencer" && !fuse.enabled);
    let oldest = status.sequencer.oldest_pending_seconds;
    oldest.is_some_and(|seconds| seconds > WAITING_SECONDS_MAX) && !stopped
}

/// One destination's mappings, and its errors in full: the command that mends an error may be at
/// its end.
fn destination_details(destination: &Destination, now: Timestamp) -> Vec<String> {
    let Destination { tenant, name, host, port, database, schema, .. } = destination;
    let (tenant, name, database) = (foreign(tenant), foreign(name), foreign(database));
    let place = match host.is_empty() {
        true => format!("in the file {database}"),
        false => format!("at {host}:{port}/{database}, schema {schema}"),
    };
    let mut lines = vec![format!("\n{tenant}/{name} {place}"), mapping_table(destination, now)];
    let errors: Vec<String> = destination
        .mappings
        .iter()
        .filter_map(|m| Some(format!("{}: {}", m.name, plain(m.error.as_deref()?))))
        .collect();
    let unproved = destination.mappings.iter().filter_map(|m| {
        let why = plain(m.audit_error.as_deref()?);
        Some(format!("{}: the audit cannot prove it: {why}", m.name))
    });
    let unproved: Vec<String> = unproved.collect();
    if errors.is_empty() && reason(destination).ends_with('…') {
        lines.extend(destination.reason.as_deref().map(plain));
    }
    lines.extend(errors);
    lines.extend(unproved);
    lines
}

fn destination_table(destinations: &[Destination], now: Timestamp) -> String {
    let since = |at: Timestamp| span(now.duration_since(at).as_secs_f64().max(0.0));
    let mut rows = vec![
        ["TENANT", "NAME", "STATE", "BEHIND", "LAST SUCCESS", "VERIFIED", "NEXT TRY", "REASON"]
            .map(str::to_owned),
    ];
    rows.extend(destinations.iter().map(|d| {
        let behind = match d.lag_rows.0 {
            0 if d.lag_seconds == 0.0 => "-".to_owned(),
            // A copy that is not complete lacks rows that no change names.
            0 if d.mappings.iter().any(|m| m.backfill.state != "done") => {
                format!("not copied, {}", span(d.lag_seconds))
            }
            rows => format!("{rows} row(s), {}", span(d.lag_seconds)),
        };
        // Only a destination that failed has a next try: others are written to as soon as something
        // is owed, and a paused one is not tried.
        let next =
            d.next_attempt_at.filter(|_| d.consecutive_failures > 0 && d.state != State::Paused);
        let next =
            next.map(|at| format!("in {}", span(at.duration_since(now).as_secs_f64().max(0.0))));
        [
            foreign(&d.tenant).into_owned(),
            foreign(&d.name).into_owned(),
            d.state.to_string().replace('_', " "),
            behind,
            d.last_success_at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", since(at))),
            verified(d.verified_at, now),
            next.unwrap_or_else(|| "-".to_owned()),
            reason(d),
        ]
    }));
    table(&rows)
}

fn mapping_table(destination: &Destination, now: Timestamp) -> String {
    let heads = ["MAPPING", "TABLE", "BEHIND", "COPY", "QUARANTINED", "VERIFIED", "DIFFERENCES"];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(destination.mappings.iter().map(|m| {
        let percent = m
            .backfill
            .percent
            .filter(|_| m.backfill.state == "running")
            .map(|p| format!(" {p:.0} %"));
        let left = m.backfill.eta_seconds.map(|seconds| format!(", {} left", span(seconds)));
        let resync = m.resync_requested_at.map(|_| ", a resync waits");
        [
            m.name.clone(),
            m.source_table.clone().unwrap_or_default(),
            m.backlog.0.to_string(),
            format!(
                "{}{}{}{}",
                m.backfill.state,
                percent.unwrap_or_default(),
                left.unwrap_or_default(),
                resync.unwrap_or_default()
            ),
            m.quarantined.0.to_string(),
            verified(m.verified_at, now),
            m.differences.map_or_else(|| "-".to_owned(), |rows| rows.0.to_string()),
        ]
    }));
    table(&rows)
}

/// When a copy was last proved equal to its query.
fn verified(at: Option<Timestamp>, now: Timestamp) -> String {
    let ago = |at: Timestamp| span(now.duration_since(at).as_secs_f64().max(0.0));
    at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", ago(at)))
}

fn reason(destination: &Destination) -> String {
    let copying = destination.mappings.iter().find(|m| m.backfill.state == "running").map(|m| {
        let percent = m.backfill.percent.map(|p| format!(" {p:.0} %")).unwrap_or_default();
        let left = m
            .backfill
            .eta_seconds
            .map(|seconds| format!(", {} left", span(seconds)))
            .unwrap_or_default();
        format!("copying {}: {} rows{percent}{left}", m.name, m.backfill.rows_done.0)
    });
    let copying = copying.filter(|_| destination.state == State::Backfilling);
    let reason = shortened(&copying.or_else(|| destination.reason.clone()).unwrap_or_default());
    match destination.paused_until {
        Some(at) => format!("{reason}, {}", until(Some(at), "")),
        None => reason,
    }
}

fn shortened(text: &str) -> String {
    foreign_within(&text.replace('\n', " "), REASON_CHARACTERS_MAX).into_owned()
}

/// The text on one line: a destination's server may send anything.
fn plain(text: &str) -> String {
    foreign_within(&text.replace('\n', " "), DETAIL_CHARACTERS_MAX).into_owned()
}
