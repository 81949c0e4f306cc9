//! `offtake doctor`: looks for what hurts, or will hurt, and says what to do about it.
//!
//! It reads catalogs, statistics and Offtake's own tables, and asks what other commands ask: whether
//! a daemon could work with the source, whether the files can be used and the triggers are in place,
//! what the status says. With `--connect` it also asks every destination. It changes nothing.

mod destinations;
mod finding;
mod server;
mod tables;
mod work;

use std::time::Duration;

use jiff::Timestamp;
use offtake_mapping::MappingSet;
use offtake_postgres::Connection;
use serde_json::json;

use self::finding::{Finding, Severity};
use super::printing::{say, say_json};
use crate::checks::files::{Files, destinations_query};
use crate::checks::source_readiness::{self, Obstacle};
use crate::command_line;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// For each statement at the source. A source under load gives fewer findings, not none.
const LIMITS: &str = "set statement_timeout = '20s'; set lock_timeout = '2s'";

/// Of findings with one code, so many are told; a thousand destinations may have one cause.
const ALIKE_MAX: usize = 20;

/// What is examined.
struct Patient<'a> {
    context: &'a Context,
    source: Connection,
    /// What holds back vacuum counts from this age on.
    older_than: Duration,
}

pub(super) async fn execute(
    context: &Context,
    arguments: &command_line::Doctor,
) -> Result<Exit, Failure> {
    let source = context.connect_source("doctor").await?;
    let failed = |error: tokio_postgres::Error| {
        Failure::of_source("cannot examine the source", &error.into())
    };
    source.batch_execute(LIMITS).await.map_err(failed)?;
    let patient = Patient { context, source, older_than: arguments.older_than };
    let mut findings = Vec::new();
    let version = server::examine(&patient, &mut findings).await.map_err(failed)?;
    let prepared = patient.readiness(&mut findings).await;
    let files = Files::read(context, &patient.source).await;
    if prepared {
        tables::examine(&patient, &mut findings).await.map_err(failed)?;
        patient.files(&files, &mut findings).await?;
        work::examine(&patient, &mut findings).await?;
    } else if let Some(error) = &files.error {
        findings.push(unusable_files(error));
    }
    if let (true, Some(set)) = (arguments.connect, &files.set) {
        destinations::ask(&patient, set, &mut findings).await?;
    }
    let left_out = shorten(&mut findings);
    tell(&findings, left_out, &version, arguments.json);
    let worst = findings.iter().map(|finding| finding.severity).min();
    Ok(match worst {
        Some(Severity::Critical | Severity::Warning) => Exit::SomeDestinationsFailed,
        Some(Severity::Note) | None => Exit::Done,
    })
}

/// The worst first, and of those alike the first few. Returns how many are left out.
fn shorten(findings: &mut Vec<Finding>) -> usize {
    findings.sort_by_key(|finding| (finding.severity, finding.code));
    let before = findings.len();
    let (mut code, mut alike) = ("", 0);
    findings.retain(|finding| {
        alike = if finding.code == code { alike + 1 } else { 1 };
        code = finding.code;
        alike <= ALIKE_MAX
    });
    before - findings.len()
}

fn tell(findings: &[Finding], left_out: usize, version: &str, json: bool) {
    if json {
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "source_version": version,
            "examined_at": Timestamp::now(),
            "findings": findings,
            "findings_left_out": left_out,
        });
        say_json(serde_json::to_string_pretty(&report).unwrap_or_default());
        return;
    }
    findings.iter().for_each(|finding| say(format!("{finding}\n")));
    if left_out > 0 {
        say(format!("{left_out} finding(s) of the same kinds are left out\n"));
    }
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    say(format!(
        "{} critical, {} warning(s), {} note(s); offtake {}, source PostgreSQL {version}",
        count(Severity::Critical),
        count(Severity::Warning),
        count(Severity::Note),
        env!("CARGO_PKG_VERSION"),
    ));
}

impl Patient<'_> {
    /// Whether a daemon could work with the source. False: it has no schema of ours.
    async fn readiness(&self, findings: &mut Vec<Finding>) -> bool {
        let Err(obstacle) = source_readiness::look(&self.context.pool).await else { return true };
        let code = match &obstacle {
            Obstacle::NoAnswer(_) => "source_connection",
            Obstacle::Version(_) => "source_version",
            Obstacle::Unprepared(_) => "schema",
            Obstacle::Newer(_) => "schema_newer",
            Obstacle::ReadOnly => "read_only",
            Obstacle::Rights { .. } => "rights",
        };
        let (what, remedy) = obstacle.told();
        let matters = "a daemon that starts now waits and copies nothing";
        findings.push(Finding::critical(code, what, matters, remedy));
        let there = "select to_regclass('offtake.migration') is not null";
        let there = self.source.query_one(there, &[]).await;
        there.is_ok_and(|row| row.get(0)) && !matches!(obstacle, Obstacle::Unprepared(_))
    }

    /// What is wrong with the files, and with the triggers that they need.
    async fn files(&self, files: &Files, findings: &mut Vec<Finding>) -> Result<(), Failure> {
        if let Some(error) = &files.error {
            findings.push(unusable_files(error));
        }
        if let Some(error) = destinations_query(self.context, &self.source).await {
            findings.push(Finding::warning(
                "destinations_query",
                error,
                "destinations that are added, moved or removed are not noticed",
                "mend destinations.query, or what it reads",
            ));
        }
        let uncaptured = &files.missing.uncaptured;
        for (mapping, why) in uncaptured {
            findings.push(Finding::critical(
                "triggers",
                format!("changes of mapping {mapping} go by unseen: {why}"),
                "copies go stale, and nothing tells but a verify",
                "run `offtake init`; what was missed is then copied again",
            ));
        }
        if let (Some(complaint), true) = (&files.missing.complaint, uncaptured.is_empty()) {
            findings.push(Finding::warning(
                "triggers_changed",
                complaint.clone(),
                "rows may have changed unseen before",
                "run `offtake init`, or leave it to a daemon that may install triggers",
            ));
        }
        if let (Some(set), Some(_)) = (&files.set, &files.missing.complaint) {
            self.rights(set, findings).await?;
        }
        Ok(())
    }

    /// What this role lacks to put the triggers in place itself.
    async fn rights(&self, set: &MappingSet, findings: &mut Vec<Finding>) -> Result<(), Failure> {
        for right in offtake_capture::missing_rights(&self.source, set).await? {
            findings.push(Finding::warning(
                "rights_for_triggers",
                right.what,
                "a daemon with this role cannot mend its triggers by itself",
                format!("run as {}: {}", right.run_as, right.statements),
            ));
        }
        Ok(())
    }
}

fn unusable_files(error: &str) -> Finding {
    Finding::critical(
        "files",
        format!("the files cannot be used: {error}"),
        "a daemon that runs keeps what it read before; one that starts does not start",
        "mend the place; `offtake check --connect` tells when nothing is wrong any more",
    )
}
