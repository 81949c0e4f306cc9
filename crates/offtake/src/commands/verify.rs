//! `offtake verify`: proves, or disproves, that every copy equals its query.

mod progress_bar;
mod repair;

use std::sync::Arc;

use indicatif::ProgressBar;
use offtake_mapping::{MappingSet, ResolvedMapping, foreign, shell_word};
use offtake_postgres::{Connection, catalog};
use offtake_sync::audit;
use offtake_sync::destinations::{DestinationSpec, Session};
use offtake_sync::verify::{
    DIFFERENCES_MAX, KEYS_MAX, Keys, Options, Report, VerifyTarget, verify,
};
use serde_json::json;
use tokio::sync::watch;

use self::progress_bar::{show, spinner};
use super::confirm::{confirmed, require_answer};
use super::printing::{say, say_json};
use super::registry_names::{not_received, of_tenant, received_names, unknown};
use crate::command_line::Verify;
use crate::context::Context;
use crate::context::destination_list::{DestinationList, RefusedDestination};
use crate::outcome::{Exit, Failure};
use offtake_postgres::chain;

pub(super) async fn execute(context: &Context, arguments: &Verify) -> Result<Exit, Failure> {
    if arguments.repair {
        require_answer(arguments.yes, "a repair deletes and overwrites rows that differ")?;
    }
    let work = Work::find(context, arguments).await?;
    let mut compared = Vec::new();
    for (spec, mappings) in &work.destinations {
        let mut found = work.compare(spec, mappings, arguments).await;
        if arguments.repair
            && found.iter().any(Compared::differs)
            && agreed(spec, &found, arguments).await?
        {
            work.repair(spec, mappings, &mut found, arguments).await;
        }
        compared.extend(found);
    }
    compared.extend(work.refused.iter().map(|r| Compared {
        destination: format!("{}/{}", foreign(&r.tenant_id), foreign(&r.name)),
        mapping: None,
        outcome: Err(r.why.clone()),
        repaired: 0,
    }));
    if arguments.json {
        say_json(
            serde_json::to_string_pretty(&compared.iter().map(Compared::json).collect::<Vec<_>>())
                .unwrap_or_default(),
        );
    } else {
        let rows: u64 =
            compared.iter().filter_map(|c| c.outcome.as_ref().ok()).map(|report| report.rows).sum();
        let equal = compared.iter().filter(|c| c.outcome.as_ref().is_ok_and(Report::equal)).count();
        say(format!("{equal} of {} copies equal their query, over {rows} rows", compared.len()));
    }
    Ok(if compared.iter().any(Compared::differs) {
        Exit::Different
    } else if compared.iter().any(Compared::incomplete) {
        Exit::SomeDestinationsFailed
    } else {
        Exit::Done
    })
}

/// Whether the operator agrees to the repair of one destination.
async fn agreed(
    spec: &DestinationSpec,
    found: &[Compared],
    arguments: &Verify,
) -> Result<bool, Failure> {
    let reports = found.iter().filter_map(|compared| compared.outcome.as_ref().ok());
    let rows: u64 = reports.map(|report| report.missing + report.extra + report.different).sum();
    let what = format!("{rows} rows that differ at {}", spec.label());
    confirmed(arguments.yes, &format!("this repairs {what}"), &format!("Repair {what}?")).await
}

/// Everything to compare.
struct Work<'a> {
    context: &'a Context,
    source: Connection,
    destinations: Vec<(DestinationSpec, Vec<Arc<ResolvedMapping>>)>,
    refused: Vec<RefusedDestination>,
}

/// The destination's mappings that the command line asks for.
fn received(
    spec: &DestinationSpec,
    set: &MappingSet,
    arguments: &Verify,
) -> Vec<Arc<ResolvedMapping>> {
    let asked = |mapping: &&Arc<ResolvedMapping>| {
        arguments.mapping.as_ref().is_none_or(|name| name == mapping.name())
    };
    spec.received(set).filter(asked).cloned().collect()
}

/// One copy and how it compares. Without a mapping: the destination as a whole could not be
/// reached.
struct Compared {
    destination: String,
    mapping: Option<String>,
    outcome: Result<Report, String>,
    /// How many keys differed at first, and were copied again.
    repaired: usize,
}

impl<'a> Work<'a> {
    /// Finds the copies that the command line asks for.
    async fn find(context: &'a Context, arguments: &Verify) -> Result<Self, Failure> {
        let mappings = context.mappings()?;
        let source = context.connect_source("verify").await?;
        let set = catalog::resolve(&source, mappings).await?;
        if let Some(name) = &arguments.mapping
            && set.get(name).is_none()
        {
            let known = set.mappings().iter().map(|m| m.name());
            return Err(unknown(format!("there is no mapping named {name}"), name, known));
        }
        let list = context.spelt_destinations(&source, &set).await?;
        let DestinationList { mut usable, refused, .. } =
            of_tenant(&source, &set, list, arguments.tenant.as_deref()).await?;
        if let Some(mapping) = &arguments.mapping {
            if refused.is_empty() && !usable.iter().any(|spec| spec.receives(mapping)) {
                return Err(not_received(mapping, received_names(&set, &usable)));
            }
            usable.retain(|spec| spec.receives(mapping));
        }
        let destinations = usable
            .into_iter()
            .map(|spec| {
                let mappings = received(&spec, &set, arguments);
                (spec, mappings)
            })
            .collect();
        Ok(Self { context, source, destinations, refused })
    }

    async fn compare(
        &self,
        spec: &DestinationSpec,
        mappings: &[Arc<ResolvedMapping>],
        arguments: &Verify,
    ) -> Vec<Compared> {
        let mut compared = Vec::new();
        let opened = Session::open(&spec.place, &self.context.dialer, "offtake verify").await;
        let session = match opened {
            Ok(session) => session,
            Err(trouble) => {
                compared.push(Compared {
                    destination: spec.label(),
                    mapping: None,
                    outcome: Err(trouble.message),
                    repaired: 0,
                });
                compared.iter().filter(|_| !arguments.json).for_each(|c| say(c.line()));
                return compared;
            }
        };
        for mapping in mappings {
            let outcome = self.compare_one(&session, spec, mapping, arguments).await;
            let one = Compared {
                destination: spec.label(),
                mapping: Some(mapping.name().to_owned()),
                outcome,
                repaired: 0,
            };
            if !arguments.json {
                say(one.line());
            }
            compared.push(one);
        }
        compared
    }

    /// Has the rows that differ copied again, and compares those mappings once more. Where that
    /// fails, the differences stay as they were found, and the next destination is repaired.
    async fn repair(
        &self,
        spec: &DestinationSpec,
        mappings: &[Arc<ResolvedMapping>],
        found: &mut Vec<Compared>,
        arguments: &Verify,
    ) {
        let mut keys = Keys::default();
        let mut mended = Vec::new();
        for mapping in mappings {
            let of_mapping = found.iter().find(|c| c.mapping.as_deref() == Some(mapping.name()));
            let Some(Ok(report)) = of_mapping.map(|c| &c.outcome) else { continue };
            if !report.differs() {
                continue;
            }
            if report.missing + report.extra + report.different > report.differences.len() as u64 {
                let what = format!(
                    "more than {KEYS_MAX} rows of {} {} differ",
                    spec.label(),
                    mapping.name()
                );
                let (tenant, name) = (shell_word(&spec.tenant_id), shell_word(&spec.name));
                let remedy = format!(
                    "offtake resync --tenant {tenant} --destination {name} --mapping {}",
                    mapping.name()
                );
                eprintln!("{}", Failure::new(Exit::Different, what).remedy(remedy).report());
                continue;
            }
            keys.add(mapping, &report.differences);
            mended.push((mapping.clone(), report.differences.len()));
        }
        if keys.is_empty() {
            return;
        }
        if !arguments.json {
            say(format!("repairing  {}: {} row(s)", spec.label(), keys.len()));
        }
        if let Err(failure) = repair::repair(&self.source, spec, &keys).await {
            eprintln!("{}", failure.report());
            return;
        }
        let again: Vec<_> = mended.iter().map(|(mapping, _)| mapping.clone()).collect();
        for mut one in self.compare(spec, &again, arguments).await {
            let rows = mended
                .iter()
                .find(|(mapping, _)| one.mapping.as_deref() == Some(mapping.name()))
                .map_or(0, |(_, rows)| *rows);
            one.repaired = rows;
            match found.iter_mut().find(|c| c.mapping == one.mapping) {
                Some(before) => *before = one,
                None => found.push(one),
            }
        }
    }

    async fn compare_one(
        &self,
        session: &Session,
        spec: &DestinationSpec,
        mapping: &ResolvedMapping,
        arguments: &Verify,
    ) -> Result<Report, String> {
        let (progress, rows) = watch::channel(0);
        let target = VerifyTarget {
            mapping,
            tenant_id: &spec.tenant_id,
            tenant_at_source: &spec.tenant_at_source,
        };
        let differences_max = if arguments.repair { KEYS_MAX } else { DIFFERENCES_MAX };
        let options = Options { progress: Some(progress), differences_max, ..Options::default() };
        let began = audit::begun(&self.source).await;
        let comparison = verify(&self.source, session.reader(), &target, &options);
        let bar = if arguments.json {
            ProgressBar::hidden()
        } else {
            spinner(&spec.label(), mapping.name())
        };
        let report = tokio::select! {
            report = comparison => report,
            () = show(&bar, rows) => unreachable!("the bar is shown for ever"),
        };
        bar.finish_and_clear();
        if let Ok(report) = &report {
            let found = (report, began.as_deref());
            audit::note_equal(&self.source, session, spec, mapping, found).await;
        }
        report.map_err(|error| session.cut().unwrap_or_else(|| chain(&error)))
    }
}

impl Compared {
    fn differs(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|report| report.differs() || report.disagreements > 0)
    }

    /// The copy, or a row of it, could not be compared.
    fn incomplete(&self) -> bool {
        self.outcome.as_ref().map_or(true, |report| report.not_compared > 0)
    }

    fn line(&self) -> String {
        let what = match &self.mapping {
            Some(mapping) => format!("{} {mapping}", self.destination),
            None => self.destination.clone(),
        };
        let disagreement = self.outcome.as_ref().ok().and_then(disagreement);
        let line = match &self.outcome {
            Err(why) => format!("failed     {what}: {why}"),
            Ok(report) if report.equal() => format!("equal      {what}: {} rows", report.rows),
            Ok(report) => {
                let Report { rows, missing, extra, different, unsettled, not_compared, .. } =
                    report;
                let mut lines = vec![match report.differs() {
                    true => format!(
                        "DIFFERENT  {what}: {missing} missing, {extra} extra, {different} \
                         different, {unsettled} not settled in time"
                    ),
                    false => format!(
                        "INCOMPLETE {what}: {rows} rows are equal, {not_compared} cannot be \
                         compared"
                    ),
                }];
                let unprinted = report.unprinted.iter();
                lines.extend(
                    unprinted.map(|row| format!("             not compared {}", row.line())),
                );
                lines.extend(report.differences.iter().take(DIFFERENCES_MAX).map(|d| {
                    let columns = if d.columns.is_empty() {
                        String::new()
                    } else {
                        format!(" in {}", d.columns.join(", "))
                    };
                    format!(
                        "             {} {}{columns}",
                        json!(d.kind).as_str().unwrap_or_default(),
                        json!(d.key)
                    )
                }));
                lines.join("\n")
            }
        };
        [Some(line), disagreement].into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    fn json(&self) -> serde_json::Value {
        match &self.outcome {
            Err(error) => {
                json!({ "destination": self.destination, "mapping": self.mapping, "error": error })
            }
            Ok(report) => {
                let mut report = report.clone();
                report.differences.truncate(DIFFERENCES_MAX);
                json!({
                    "destination": self.destination,
                    "mapping": self.mapping,
                    "equal": report.equal(),
                    "repaired": self.repaired,
                    "report": report,
                })
            }
        }
    }
}

/// That rows of the copy have another tenant by `source.tenant` than by the query, or another key.
fn disagreement(report: &Report) -> Option<String> {
    (report.disagreements > 0).then(|| {
        format!(
            "             {} row(s) have another tenant by source.tenant than by the query's tenant_id, \
             or a key that the source table lacks, so their next change is missed here: {}; \
             `offtake check --connect` has the remedy",
            report.disagreements,
            json!(report.disagreement)
        )
    })
}
