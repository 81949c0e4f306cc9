//! `offtake status`: the same facts as `GET /api/v1/status`, read from the source; no daemon is
//! needed.

mod files;

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use offtake_admin::status::Config;
use offtake_admin::{Destination, State, Status};
use offtake_postgres::Connection;

use super::named::{destinations, span, until};
use super::{connect_source, heard, load_configuration, say, table};
use crate::command_line;
use crate::configuration::Configuration;
use crate::outcome::{Exit, Failure};

/// As often as a person can read the lines.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// A change is numbered, and an owed sync begun, within milliseconds: what waits for longer waits
/// for a daemon.
const WAITING_SECONDS_MAX: f64 = 10.0;

/// A reason is one line of a table, and long enough for the command that mends it, which stands at
/// its end; `--json` has all of it.
const REASON_CHARACTERS_MAX: usize = 300;

pub(super) async fn execute(
    file: &Path,
    arguments: &command_line::Status,
) -> Result<Exit, Failure> {
    let configuration = load_configuration(file)?;
    let mut source = connect_source(&configuration, "status").await?;
    if let Some(tenant) = &arguments.tenant {
        destinations(&source, tenant, None).await?;
    }
    loop {
        match look(&configuration, &source, arguments).await {
            Ok(shown) => show(&shown, arguments),
            Err(failure) if !arguments.watch => return Err(failure),
            // Whoever watches wants to see it come back.
            Err(failure) => {
                show(&failure.report(), arguments);
                if let Ok(again) = reconnect(&configuration).await {
                    source = again;
                }
            }
        }
        if !arguments.watch || !heard() {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

async fn look(
    configuration: &Configuration,
    source: &Connection,
    arguments: &command_line::Status,
) -> Result<String, Failure> {
    let mut status = offtake_admin::collect(source, arguments.tenant.as_deref())
        .await
        .map_err(|error| unreadable(&error))?;
    status.config = Some(Config {
        loaded_at: Timestamp::now(),
        error: files::trouble(configuration, source).await,
    });
    Ok(if arguments.json {
        serde_json::to_string_pretty(&status).unwrap_or_default()
    } else {
        describe(&status, arguments.tenant.is_some(), Timestamp::now())
    })
}

async fn reconnect(configuration: &Configuration) -> Result<Connection, Failure> {
    connect_source(configuration, "status").await
}

fn show(text: &str, arguments: &command_line::Status) {
    if arguments.watch && !arguments.json && std::io::stdout().is_terminal() {
        // Home, then clear below: no flicker, nothing lost above.
        let _ = write!(std::io::stdout(), "\x1b[H\x1b[J");
    }
    say(text);
}

/// What a failure of the admin crate means to a command.
pub(super) fn unreadable(error: &offtake_admin::Error) -> Failure {
    const WHAT: &str = "cannot read from, or write to, the schema offtake of the source";
    let failure = match error {
        offtake_admin::Error::Source(error) => Failure::of_source(WHAT, error),
        other => Failure::new(Exit::Failed, WHAT).because(offtake_postgres::chain(other)),
    };
    match error.hint() {
        Some(hint) => failure.remedy(hint),
        None => failure,
    }
}

/// With `mappings`: a line for each mapping of each destination too.
fn describe(status: &Status, mappings: bool, now: Timestamp) -> String {
    let mut lines = Vec::new();
    let states = status.sync.destinations.iter().filter(|(_, count)| **count > 0);
    let states: Vec<_> =
        states.map(|(state, count)| format!("{count} {}", state.replace('_', " "))).collect();
    let states = if states.is_empty() {
        "none known yet; `offtake run` reads them from the configuration".to_owned()
    } else {
        states.join(", ")
    };
    lines.push(format!("destinations  {states}"));
    let pending = status.sequencer.pending_changes.0;
    let oldest = status.sequencer.oldest_pending_seconds;
    let waiting =
        oldest.map(|seconds| format!(", the oldest for {}", span(seconds))).unwrap_or_default();
    lines.push(format!(
        "changes       {} numbered, {pending} waiting{waiting}",
        status.sequencer.last_sequence_id.0
    ));
    lines.push(format!(
        "syncs         {} owed, {} being written",
        status.poller.owed, status.poller.in_flight
    ));
    if status.quarantined_rows.0 > 0 {
        lines.push(format!(
            "quarantine    {} row(s); see `offtake quarantine list`",
            status.quarantined_rows.0
        ));
    }
    for fuse in status.fuses.iter().filter(|fuse| !fuse.enabled) {
        let reason = fuse.reason.as_deref().unwrap_or("no reason given");
        lines.push(format!(
            "fuse          {} is off {}: {reason}",
            fuse.name,
            until(fuse.until, &format!("until `offtake fuse on {}`", fuse.name))
        ));
    }
    if let Some(error) = status.config.as_ref().and_then(|config| config.error.as_ref()) {
        lines.push("files         cannot all be used as they are now; a daemon that runs keeps what was before:".to_owned());
        lines.extend(error.lines().map(|line| format!("  {line}")));
    }
    let stopped = |name: &str| status.fuses.iter().any(|fuse| fuse.name == name && !fuse.enabled);
    if oldest.is_some_and(|seconds| seconds > WAITING_SECONDS_MAX) && !stopped("sequencer") {
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
    for destination in status.destinations.iter().filter(|_| mappings) {
        lines.push(format!(
            "\n{}/{} at {}:{}/{}, schema {}",
            destination.tenant,
            destination.name,
            destination.host,
            destination.port,
            destination.database,
            destination.schema
        ));
        lines.push(mapping_table(destination));
        // In full: the command that mends it may be at its end.
        let errors = destination
            .mappings
            .iter()
            .filter_map(|m| Some(format!("{}: {}", m.name, plain(m.error.as_deref()?))));
        let errors: Vec<String> = errors.collect();
        if errors.is_empty() && reason(destination).ends_with('…') {
            lines.extend(destination.reason.as_deref().map(plain));
        }
        lines.extend(errors);
    }
    lines.join("\n")
}

fn destination_table(destinations: &[Destination], now: Timestamp) -> String {
    let since = |at: Timestamp| span(now.duration_since(at).as_secs_f64().max(0.0));
    let mut rows = vec![
        ["TENANT", "NAME", "STATE", "BEHIND", "LAST SUCCESS", "NEXT TRY", "REASON"]
            .map(str::to_owned),
    ];
    rows.extend(destinations.iter().map(|d| {
        let behind = match d.lag_rows.0 {
            0 if d.lag_seconds == 0.0 => "-".to_owned(),
            // No change says what a copy lacks that is not made yet.
            0 if d.mappings.iter().any(|m| m.backfill.state != "done") => {
                format!("not copied, {}", span(d.lag_seconds))
            }
            rows => format!("{rows} row(s), {}", span(d.lag_seconds)),
        };
        // Only a failure is waited for; what is owed otherwise happens now, and what is paused does
        // not.
        let next =
            d.next_attempt_at.filter(|_| d.consecutive_failures > 0 && d.state != State::Paused);
        let next =
            next.map(|at| format!("in {}", span(at.duration_since(now).as_secs_f64().max(0.0))));
        [
            d.tenant.clone(),
            d.name.clone(),
            d.state.to_string().replace('_', " "),
            behind,
            d.last_success_at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", since(at))),
            next.unwrap_or_else(|| "-".to_owned()),
            reason(d),
        ]
    }));
    table(&rows)
}

fn mapping_table(destination: &Destination) -> String {
    let mut rows = vec![["MAPPING", "TABLE", "BEHIND", "COPY", "QUARANTINED"].map(str::to_owned)];
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
        ]
    }));
    table(&rows)
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
    let mut text = plain(text);
    if let Some((at, _)) = text.char_indices().nth(REASON_CHARACTERS_MAX) {
        text.truncate(at);
        text.push('…');
    }
    text
}

/// One line, whatever a stranger's server said.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}
