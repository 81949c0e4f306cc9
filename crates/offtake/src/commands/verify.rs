//! `offtake verify`: proves, or disproves, that every copy equals its query.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use offtake_mapping::ResolvedMapping;
use offtake_postgres::{AddressPolicy, Dialer, SourcePool, catalog};
use offtake_sync::destinations::DestinationSpec;
use offtake_sync::verify::{Options, Report, VerifyTarget, verify};
use serde_json::json;
use tokio::sync::watch;
use tokio_postgres::Client;

use super::{connect_source, load_configuration, say};
use crate::command_line::Verify;
use crate::configuration::Configuration;
use crate::destinations::{Refused, check_static, evaluate};
use crate::mapping_files;
use crate::outcome::{Exit, Failure, chain};

pub(super) async fn execute(file: &Path, arguments: &Verify) -> Result<Exit, Failure> {
    let configuration = load_configuration(file)?;
    let work = Work::find(&configuration, arguments).await?;
    let mut compared = Vec::new();
    for (spec, mappings) in &work.destinations {
        compared.extend(work.compare(spec, mappings, arguments).await);
    }
    compared.extend(work.refused.iter().map(|r| Compared {
        destination: format!("{}/{}", r.tenant_id, r.name),
        mapping: None,
        outcome: Err(r.why.clone()),
    }));
    if arguments.json {
        say(serde_json::to_string_pretty(&compared.iter().map(Compared::json).collect::<Vec<_>>()).unwrap_or_default());
    } else {
        let rows: u64 = compared.iter().filter_map(|c| c.outcome.as_ref().ok()).map(|report| report.rows).sum();
        let equal = compared.iter().filter(|c| c.outcome.as_ref().is_ok_and(Report::equal)).count();
        say(format!("{equal} of {} copies equal their query, over {rows} rows", compared.len()));
    }
    Ok(if compared.iter().any(|c| c.outcome.as_ref().is_ok_and(|report| !report.equal())) {
        Exit::Different
    } else if compared.iter().any(|c| c.outcome.is_err()) {
        Exit::SomeDestinationsFailed
    } else {
        Exit::Done
    })
}

/// Everything to compare.
struct Work {
    source: offtake_postgres::Connection,
    dialer: Dialer,
    destinations: Vec<(DestinationSpec, Vec<Arc<ResolvedMapping>>)>,
    refused: Vec<Refused>,
}

/// One copy and what became of it; without a mapping: the destination as a whole could not be looked at.
struct Compared {
    destination: String,
    mapping: Option<String>,
    outcome: Result<Report, String>,
}

impl Work {
    async fn find(configuration: &Configuration, arguments: &Verify) -> Result<Self, Failure> {
        let (definitions, _) = mapping_files::load(&configuration.mappings)?;
        check_static(configuration, &definitions)?;
        let source = connect_source(configuration, "verify").await?;
        let set = catalog::resolve(&source, definitions).await?;
        if let Some(name) = &arguments.mapping
            && set.get(name).is_none()
        {
            return Err(Failure::new(Exit::Usage, format!("there is no mapping named {name}")));
        }
        let pool = SourcePool::new(configuration.source.url.clone(), configuration.sync.connect_timeout, 1);
        let named = evaluate(&configuration.destinations, &pool, configuration.sync.statement_timeout).await;
        let named = named.map_err(|error| Failure::new(Exit::Failed, "the destinations cannot be listed").because(chain(&error)))?;
        let wanted = |tenant: &str| arguments.tenant.as_ref().is_none_or(|t| t == tenant);
        let received = |spec: &DestinationSpec, mapping: &ResolvedMapping| {
            spec.mappings.as_ref().is_none_or(|names| names.iter().any(|n| n == mapping.name()))
                && arguments.mapping.as_ref().is_none_or(|name| name == mapping.name())
        };
        let usable = named.usable.into_iter().filter(|spec| wanted(&spec.tenant_id));
        let destinations: Vec<_> = usable
            .map(|spec| {
                let mappings = set.mappings().iter().filter(|m| received(&spec, m)).cloned().collect();
                (spec, mappings)
            })
            .collect();
        let refused: Vec<_> = named.refused.into_iter().filter(|r| wanted(&r.tenant_id)).collect();
        if let Some(tenant) = &arguments.tenant
            && destinations.is_empty()
            && refused.is_empty()
        {
            return Err(Failure::new(Exit::Failed, format!("the tenant {tenant} has no destination")));
        }
        let policy = AddressPolicy::new(configuration.security.allow_destinations.clone());
        Ok(Self { source, dialer: Dialer::new(policy, configuration.sync.connect_timeout), destinations, refused })
    }

    async fn compare(&self, spec: &DestinationSpec, mappings: &[Arc<ResolvedMapping>], arguments: &Verify) -> Vec<Compared> {
        let mut compared = Vec::new();
        let connection = match self.dialer.dial(&spec.url, "offtake verify").await {
            Ok(connection) => connection,
            Err(error) => {
                compared.push(Compared { destination: spec.label(), mapping: None, outcome: Err(error.message()) });
                compared.iter().filter(|_| !arguments.json).for_each(|c| say(c.line()));
                return compared;
            }
        };
        for mapping in mappings {
            let outcome = self.compare_one(&connection, spec, mapping, arguments).await;
            let one = Compared { destination: spec.label(), mapping: Some(mapping.name().to_owned()), outcome };
            if !arguments.json {
                say(one.line());
            }
            compared.push(one);
        }
        compared
    }

    async fn compare_one(
        &self,
        destination: &Client,
        spec: &DestinationSpec,
        mapping: &ResolvedMapping,
        arguments: &Verify,
    ) -> Result<Report, String> {
        let (progress, rows) = watch::channel(0);
        let target = VerifyTarget { mapping, tenant_id: &spec.tenant_id, schema: &spec.schema };
        let options = Options { progress: Some(progress), ..Options::default() };
        let comparison = verify(&self.source, destination, &target, &options);
        let bar = if arguments.json { ProgressBar::hidden() } else { spinner(&spec.label(), mapping.name()) };
        let report = tokio::select! {
            report = comparison => report,
            () = show(&bar, rows) => unreachable!("the bar is shown for ever"),
        };
        bar.finish_and_clear();
        report.map_err(|error| chain(&error))
    }
}

/// Only on a terminal: indicatif draws nothing elsewhere.
fn spinner(destination: &str, mapping: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}: {human_pos} rows, {per_sec}, {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(format!("{destination} {mapping}"));
    bar
}

async fn show(bar: &ProgressBar, rows: watch::Receiver<u64>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        bar.set_position(*rows.borrow());
        bar.tick();
    }
}

impl Compared {
    fn line(&self) -> String {
        let what = match &self.mapping {
            Some(mapping) => format!("{} {mapping}", self.destination),
            None => self.destination.clone(),
        };
        match &self.outcome {
            Err(why) => format!("failed     {what}: {why}"),
            Ok(report) if report.equal() => format!("equal      {what}: {} rows", report.rows),
            Ok(report) => {
                let Report { missing, extra, different, unsettled, .. } = report;
                let mut lines = vec![format!(
                    "DIFFERENT  {what}: {missing} missing, {extra} extra, {different} different, {unsettled} not settled in time"
                )];
                lines.extend(report.differences.iter().map(|d| {
                    let columns = if d.columns.is_empty() { String::new() } else { format!(" in {}", d.columns.join(", ")) };
                    format!("             {} {}{columns}", json!(d.kind).as_str().unwrap_or_default(), json!(d.key))
                }));
                lines.join("\n")
            }
        }
    }

    fn json(&self) -> serde_json::Value {
        match &self.outcome {
            Err(error) => json!({ "destination": self.destination, "mapping": self.mapping, "error": error }),
            Ok(report) => json!({ "destination": self.destination, "mapping": self.mapping, "equal": report.equal(), "report": report }),
        }
    }
}
