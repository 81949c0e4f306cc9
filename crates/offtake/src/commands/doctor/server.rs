//! The source's server: settings that hurt, what holds back vacuum, clock, rights and connections.

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::{Error, Row};

use super::{Finding, Patient};
use crate::commands::phrases::span;
use crate::daemon::source_connections_max;
use crate::sql;

/// Certificates and the signatures of webhooks are judged by clocks; receivers of webhooks commonly
/// allow five minutes. Network time keeps machines within milliseconds.
const CLOCK_SECONDS_MAX: f64 = 30.0;

/// Most statements take milliseconds. A chunk of a first copy of wide rows takes seconds, and
/// `sync.statement_timeout` is a minute by default.
const STATEMENT_MS_MIN: i64 = 30_000;

/// A pool that is idle for less than this would dial again and again.
const IDLE_MS_MIN: i64 = 60_000;

/// A switch of the server, why it hurts when it is off, and how bad that is.
type Switch =
    (&'static str, fn(&'static str, String, &'static str, String) -> Finding, &'static str);

const SWITCHES: [Switch; 4] = [
    (
        "autovacuum",
        Finding::warning,
        "Offtake's tables see many short-lived rows: without vacuum they grow and get slow",
    ),
    (
        "track_counts",
        Finding::warning,
        "autovacuum does not know what to clean: Offtake's tables grow and get slow",
    ),
    (
        "fsync",
        Finding::critical,
        "after a power cut the source may lack changes that destinations have, or be corrupt",
    ),
    (
        "full_page_writes",
        Finding::warning,
        "after a power cut the source may be corrupt, and the copies with it",
    ),
];

/// Returns the server's version.
pub(super) async fn examine(
    patient: &Patient<'_>,
    findings: &mut Vec<Finding>,
) -> Result<String, Error> {
    let before = Timestamp::now();
    let row = patient.source.query_one(sql::READ_SERVER_HEALTH, &[]).await?;
    let after = Timestamp::now();
    settings(&row, findings);
    connections(patient, &row, findings);
    roles(&row, findings);
    clock(&row, (before, after), findings);
    vacuum(patient, findings).await?;
    Ok(row.get("version"))
}

fn settings(row: &Row, findings: &mut Vec<Finding>) {
    let (settings, role): (Value, &str) = (row.get("settings"), row.get("role"));
    for (name, finding, matters) in SWITCHES {
        if settings[name] == "off" {
            findings.push(finding(
                "setting",
                format!("{name} is off at the source"),
                matters,
                format!("run as a superuser: alter system set {name} = on; then: select pg_reload_conf();"),
            ));
        }
    }
    let milliseconds =
        |name: &str| -> Option<i64> { settings[name].as_str().and_then(|text| text.parse().ok()) };
    let statements = "statements of Offtake that take longer are ended, again and again";
    let dials = "the daemon's sessions are ended while nothing happens, and the next change has to dial again";
    for (name, least, matters) in [
        ("statement_timeout", STATEMENT_MS_MIN, statements),
        ("transaction_timeout", STATEMENT_MS_MIN, statements),
        ("idle_session_timeout", IDLE_MS_MIN, dials),
    ] {
        if let Some(limit @ 1..) = milliseconds(name)
            && limit < least
        {
            findings.push(Finding::warning(
                "setting",
                format!("{name} is {limit} ms for the role {role}"),
                matters,
                format!("run as a superuser: alter role {role} set {name} = 0;"),
            ));
        }
    }
}

fn connections(patient: &Patient<'_>, row: &Row, findings: &mut Vec<Finding>) {
    let needed = source_connections_max(&patient.context.configuration);
    let needed = i64::try_from(needed).unwrap_or(i64::MAX);
    let max = i64::from(row.get::<_, i32>("connections_max"));
    let others: i64 = row.get("connections_of_others");
    if needed + others > max {
        findings.push(Finding::warning(
            "connections",
            format!(
                "one daemon may need {needed} connections to the source, others have {others}, and \
                 there are {max}"
            ),
            "the daemon, or the application, is refused connections under load",
            "lower sync.workers in offtake.yaml, or raise max_connections at the source",
        ));
    }
}

fn roles(row: &Row, findings: &mut Vec<Finding>) {
    let role: &str = row.get("role");
    let (superuser, replication): (bool, bool) = (row.get("rolsuper"), row.get("rolreplication"));
    let too_much = match (superuser, replication) {
        (true, _) => Some((
            "is a superuser",
            "Offtake needs no superuser; this password gives control of the whole server",
        )),
        (false, true) => Some((
            "may replicate",
            "Offtake does not replicate; this password is enough to copy the whole server",
        )),
        (false, false) => None,
    };
    if let Some((what, matters)) = too_much {
        findings.push(Finding::note(
            "role",
            format!("the role {role} {what}"),
            matters,
            "give the daemon a role of its own, with what deploy/grants.sql grants",
        ));
    }
    if !row.get::<_, bool>("sees_sessions") {
        findings.push(Finding::note(
            "role_sees_little",
            format!("the role {role} does not see what other roles' sessions do"),
            "long transactions of the application, which hold back vacuum, are not found",
            format!("run as a superuser: grant pg_read_all_stats to {role};"),
        ));
    }
}

fn clock(row: &Row, (before, after): (Timestamp, Timestamp), findings: &mut Vec<Finding>) {
    let source = offtake_admin::moment::required(row, "clock");
    let ahead = source.duration_since(after).as_secs_f64();
    let behind = before.duration_since(source).as_secs_f64();
    let (seconds, how) = if ahead > behind { (ahead, "behind") } else { (behind, "ahead of") };
    if seconds > CLOCK_SECONDS_MAX {
        findings.push(Finding::warning(
            "clock",
            format!("this machine's clock is {} {how} the source's", span(seconds)),
            "certificates and signed webhooks are judged by this clock: receivers may refuse them",
            "keep both clocks by network time (chrony, systemd-timesyncd)",
        ));
    }
}

async fn vacuum(patient: &Patient<'_>, findings: &mut Vec<Finding>) -> Result<(), Error> {
    let seconds = patient.older_than.as_secs_f64();
    for row in patient.source.query(sql::LIST_VACUUM_BLOCKERS, &[&seconds]).await? {
        let (holder, detail): (&str, &str) = (row.get("holder"), row.get("detail"));
        let age = row.get::<_, Option<f64>>("seconds").map(span).unwrap_or_default();
        let end: &str = row.get("ended_by");
        findings.push(match row.get("kind") {
            "session" => Finding::warning(
                "long_transaction",
                format!("process {holder} ({detail}) has a transaction open for {age}"),
                "vacuum cannot remove any row that was deleted since: Offtake's tables grow and \
                 get slow, and so do the application's",
                format!("have the application end it, or run: {end}"),
            ),
            "prepared" => Finding::warning(
                "prepared_transaction",
                format!("the prepared transaction {holder} of {detail} is open for {age}"),
                "vacuum cannot remove any row that was deleted since, and its locks stay, also \
                 over a restart",
                format!("commit it where its coordinator decided so, or run: {end}"),
            ),
            _ => {
                let bytes: Option<i64> = row.get("bytes");
                let held = bytes.map(|bytes| format!(", {} MB of log", bytes / 1_000_000));
                Finding::warning(
                    "replication_slot",
                    format!(
                        "the replication slot {holder} has no reader ({detail}{})",
                        held.unwrap_or_default()
                    ),
                    "the source keeps its write-ahead log for it, and perhaps deleted rows, until \
                     its disk is full; Offtake uses no slot",
                    format!("start what reads it, or, if nothing does any more, run: {end}"),
                )
            }
        });
    }
    Ok(())
}
