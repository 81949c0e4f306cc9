//! The work under way: daemons, fuses, changes that wait, destinations and webhooks that are
//! stopped, and processes that ended.

use offtake_admin::operations::daemon_sessions;
use offtake_admin::{State, Status, collect, moment};
use offtake_mapping::{foreign, shell_word};

use super::{Finding, Patient};
use crate::commands::phrases::{span, until};
use crate::commands::registry_names::unreadable;
use crate::outcome::Failure;
use crate::sql;

/// A change gets its number within milliseconds. What waits longer waits for something.
const PENDING_SECONDS_MAX: f64 = 60.0;

pub(super) async fn examine(
    patient: &Patient<'_>,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let source = &patient.source;
    let status = collect(source, None).await.map_err(|error| unreadable(&error))?;
    let daemons = daemon_sessions(source).await.map_err(|error| unreadable(&error))?;
    changes(&status, daemons, findings);
    fuses(&status, findings);
    stopped(&status, findings);
    let failed = |error: tokio_postgres::Error| {
        Failure::of_source("cannot examine the source", &error.into())
    };
    for row in source.query(sql::LIST_OVERLOOKED_MAPPINGS, &[]).await.map_err(failed)? {
        let (mapping, at): (&str, _) =
            (row.get("mapping"), moment::required(&row, "overlooked_at"));
        findings.push(Finding::warning(
            "other_files",
            format!(
                "a daemon whose files do not have mapping {mapping} as it is copied numbered \
                 changes, last at {}",
                at.strftime("%Y-%m-%d %H:%M:%S UTC")
            ),
            "changes of the mapping may have been missed; it is copied again when that is over",
            "give all daemons the same mapping files, and stop the others",
        ));
    }
    for row in source.query(sql::LIST_ENDED_PROCESSES, &[]).await.map_err(failed)? {
        let (process, requests): (&str, i64) = (row.get("process"), row.get("requests"));
        findings.push(Finding::warning(
            "ended_process",
            format!(
                "process {} claimed {requests} request(s) until {} and ended, or hangs",
                foreign(process),
                moment::required(&row, "until").strftime("%Y-%m-%d %H:%M:%S UTC")
            ),
            "what it had is late; another daemon takes it over, if one runs",
            "see that a daemon runs, and read the log of the one that ended",
        ));
    }
    Ok(())
}

fn changes(status: &Status, daemons: i64, findings: &mut Vec<Finding>) {
    let oldest = status.sequencer.oldest_pending_seconds.unwrap_or(0.0);
    let late = oldest > PENDING_SECONDS_MAX;
    if daemons == 0 {
        let what = match late {
            true => format!("no daemon is connected, and changes wait for {}", span(oldest)),
            false => "no daemon is connected to the source".to_owned(),
        };
        findings.push(Finding::critical(
            "no_daemon",
            what,
            "no change reaches any destination",
            "start one: offtake run",
        ));
    } else if late && !is_off(status, "sequencer") {
        findings.push(Finding::critical(
            "not_numbered",
            format!(
                "{} change(s) wait to be numbered, the oldest for {}, though a daemon is connected",
                status.sequencer.pending_changes.0,
                span(oldest)
            ),
            "no change reaches any destination",
            "read the daemon's log and its /readyz; if it hangs, restart it",
        ));
    }
}

fn is_off(status: &Status, name: &str) -> bool {
    status.fuses.iter().any(|fuse| fuse.name == name && !fuse.enabled)
}

fn fuses(status: &Status, findings: &mut Vec<Finding>) {
    for fuse in status.fuses.iter().filter(|fuse| !fuse.enabled) {
        let reason = foreign(fuse.reason.as_deref().unwrap_or("no reason given"));
        let until = until(fuse.until, "until it is switched on");
        findings.push(Finding::warning(
            "fuse",
            format!("the fuse {} is off {until}: {reason}", foreign(&fuse.name)),
            "what it guards stands still in all daemons; the log is kept for it only for so long",
            format!("run: offtake fuse on {}", shell_word(&fuse.name)),
        ));
    }
}

fn stopped(status: &Status, findings: &mut Vec<Finding>) {
    for destination in status.destinations.iter().filter(|d| d.state == State::Blocked) {
        let (tenant, name) = (foreign(&destination.tenant), foreign(&destination.name));
        let reason = destination.reason.as_deref().unwrap_or("the reason is not known");
        findings.push(Finding::warning(
            "destination_blocked",
            format!("{tenant}/{name} is blocked: {reason}"),
            "nothing is written there, or not all of it; other destinations go on",
            format!("see: offtake why --tenant {}", shell_word(&destination.tenant)),
        ));
    }
    let count = |state: &str| status.webhooks.states.get(state).copied().unwrap_or(0);
    for state in ["disabled", "blocked"] {
        let webhooks = count(state);
        if webhooks > 0 {
            findings.push(Finding::warning(
                "webhook_stopped",
                format!("{webhooks} webhook(s) are {state}"),
                "their receivers are told nothing; what they miss is kept only for so long",
                format!("see: offtake webhook list --state {state}"),
            ));
        }
    }
    let refused = status.quarantined_rows.0 + status.quarantined_events.0;
    if refused > 0 {
        findings.push(Finding::warning(
            "quarantine",
            format!("{refused} row(s) or event(s) are refused where they should go"),
            "those rows are missing, or stale, until what refuses them is mended",
            "see: offtake quarantine list",
        ));
    }
}
