//! `offtake status`: the same facts as `GET /api/v1/status`, read from the source; no daemon is needed.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use offtake_admin::{Destination, Status};

use super::{connect_source, load_configuration, say};
use crate::command_line;
use crate::outcome::{Exit, Failure};

/// As often as a person can read the lines.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

pub(super) async fn execute(file: &Path, arguments: &command_line::Status) -> Result<Exit, Failure> {
    let configuration = load_configuration(file)?;
    let source = connect_source(&configuration, "status").await?;
    loop {
        let status = offtake_admin::collect(&source, arguments.tenant.as_deref()).await.map_err(|error| unreadable(&error))?;
        if arguments.json {
            say(serde_json::to_string_pretty(&status).unwrap_or_default());
        } else {
            if arguments.watch && std::io::stdout().is_terminal() {
                // Home, then clear below: no flicker, nothing lost above.
                let _ = write!(std::io::stdout(), "\x1b[H\x1b[J");
            }
            say(show(&status));
        }
        if !arguments.watch {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

/// What a failure of the admin crate means to a command.
pub(super) fn unreadable(error: &offtake_admin::Error) -> Failure {
    const WHAT: &str = "cannot read the status from the source";
    let failure = match error {
        offtake_admin::Error::Source(error) => Failure::of_source(WHAT, error),
        other => Failure::new(Exit::Failed, WHAT).because(crate::outcome::chain(other)),
    };
    match error.hint() {
        Some(hint) => failure.remedy(hint),
        None => failure,
    }
}

fn show(status: &Status) -> String {
    let mut lines = Vec::new();
    let states = status.sync.destinations.iter().filter(|(_, count)| **count > 0);
    let states: Vec<_> = states.map(|(state, count)| format!("{count} {}", state.replace('_', " "))).collect();
    lines.push(format!("destinations: {}", if states.is_empty() { "none known yet".to_owned() } else { states.join(", ") }));
    let pending = status.sequencer.pending_changes.0;
    let waiting = status.sequencer.oldest_pending_seconds.map(|s| format!(", the oldest for {s} s")).unwrap_or_default();
    lines.push(format!("changes: {} numbered, {pending} waiting{waiting}", status.sequencer.last_sequence_id.0));
    lines.push(format!("owed: {}, being written: {}", status.poller.owed, status.poller.in_flight));
    if status.quarantined_rows.0 > 0 {
        lines.push(format!("quarantined rows: {}", status.quarantined_rows.0));
    }
    for fuse in status.fuses.iter().filter(|fuse| !fuse.enabled) {
        lines.push(format!("fuse {} is blown: {}", fuse.name, fuse.reason.as_deref().unwrap_or("no reason given")));
    }
    if !status.destinations.is_empty() {
        lines.push(String::new());
        lines.push(table(&status.destinations));
    }
    if status.destinations_not_listed > 0 {
        lines.push(format!("… and {} more, in better states", status.destinations_not_listed));
    }
    lines.join("\n")
}

/// One line per destination, columns as wide as their widest cell.
fn table(destinations: &[Destination]) -> String {
    let mut rows = vec![["TENANT", "NAME", "STATE", "BEHIND", "FOR", "REASON"].map(str::to_owned)];
    rows.extend(destinations.iter().map(|d| {
        let behind = if d.lag_rows.0 > 0 { d.lag_rows.0.to_string() } else { "-".to_owned() };
        let behind_for = if d.lag_seconds > 0.0 { format!("{:.1} s", d.lag_seconds) } else { "-".to_owned() };
        [d.tenant.clone(), d.name.clone(), d.state.to_string(), behind, behind_for, reason(d)]
    }));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 6]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn reason(destination: &Destination) -> String {
    let copying = destination.mappings.iter().find(|m| m.backfill.state == "running").map(|m| {
        let percent = m.backfill.percent.map(|p| format!(" {p:.0} %")).unwrap_or_default();
        format!("copying {}{percent}", m.name)
    });
    destination.reason.clone().or(copying).unwrap_or_default()
}
