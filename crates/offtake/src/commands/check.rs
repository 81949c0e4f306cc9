//! `offtake check`: whether configuration and mappings can be used. Changes nothing anywhere.

use std::sync::Arc;

use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::{Dialer, catalog};
use offtake_sync::destinations::{DestinationSpec, Session, Trouble};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::preview;
use super::printing::say;
use crate::checks::destination_table::{DestinationTable, compare};
use crate::checks::mapping_report::MappingReport;
use crate::command_line;
use crate::context::Context;
use crate::context::destination_list::{DestinationList, RefusedDestination};
use crate::outcome::{Exit, Failure};
use offtake_postgres::chain;

pub(super) async fn execute(
    context: &Context,
    arguments: &command_line::Check,
) -> Result<Exit, Failure> {
    if arguments.diff {
        return Box::pin(preview::difference(context, arguments.json)).await;
    }
    let mappings = context.mappings()?;
    if !arguments.connect {
        let file = context.configuration.file.display();
        let names: Vec<_> = mappings.iter().map(|m| json!({ "name": m.name })).collect();
        if arguments.json {
            say(json!({ "mappings": names, "warnings": [], "destinations": [] }));
        } else {
            let count = names.len();
            say(format!(
                "{file} and {count} mapping(s) can be read; --connect asks the databases too"
            ));
        }
        return Ok(Exit::Done);
    }
    let source = context.connect_source("check").await?;
    let set = catalog::resolve(&source, mappings).await.map_err(Failure::from)?;
    let mut reports = report_all(&source, &set).await?;
    let list = destinations(context, &source, &set).await?;
    let without_tenant = list.without_tenant;
    let answers = ask_all(context, list, &set).await;
    for report in &mut reports {
        let tables = answers.iter().flat_map(|a| &a.tables).filter(|(n, _)| *n == report.name);
        report.destinations = tables.map(|(_, table)| table.clone()).collect();
    }
    let mut warnings: Vec<String> = reports.iter().flat_map(MappingReport::warnings).collect();
    if without_tenant > 0 {
        warnings.push(format!(
            "{without_tenant} row(s) of the destinations query have no tenant_id and are ignored"
        ));
    }
    print(context, arguments.json, &reports, &warnings, &answers);
    outcome(context, answers)
}

async fn report_all(source: &Client, set: &MappingSet) -> Result<Vec<MappingReport>, Failure> {
    let mut reports = Vec::new();
    for mapping in set.mappings() {
        let report = MappingReport::of(source, set, mapping).await;
        reports.push(report.map_err(|error| {
            Failure::of_source(&format!("cannot check mapping {}", mapping.name()), &error.into())
        })?);
    }
    Ok(reports)
}

async fn destinations(
    context: &Context,
    source: &Client,
    set: &MappingSet,
) -> Result<DestinationList, Failure> {
    context.spelt_destinations(source, set).await.map_err(|error| {
        let file = context.configuration.file.display();
        Failure::invalid(format!("{file}: destinations.query cannot be used"))
            .because(chain(&error))
            .remedy("it must be one SELECT that returns tenant_id, name and url")
    })
}

fn print(
    context: &Context,
    as_json: bool,
    reports: &[MappingReport],
    warnings: &[String],
    answers: &[Answer],
) {
    if as_json {
        let list: Vec<_> = answers
            .iter()
            .map(|a| json!({ "tenant": a.tenant_id, "name": a.name, "error": a.obstacle }))
            .collect();
        say(json!({ "mappings": reports, "warnings": warnings, "destinations": list }));
        return;
    }
    reports.iter().for_each(|report| say(format!("{report}\n")));
    let place = context.configuration.source.url.place();
    say(format!("{} mapping(s) can run on {place}", reports.len()));
    warnings.iter().for_each(|warning| say(format!("warning: {warning}")));
    let reached = answers.iter().filter(|a| a.obstacle.is_none()).count();
    say(format!("{reached} of {} destination(s) answer", answers.len()));
}

/// A failure for every destination that could not be asked.
fn outcome(context: &Context, answers: Vec<Answer>) -> Result<Exit, Failure> {
    let static_ = &context.configuration.destinations.static_;
    let mut failures: Vec<Failure> = answers
        .into_iter()
        .filter_map(|Answer { tenant_id, name, obstacle, refused, .. }| {
            let what = format!("destination {tenant_id}/{name}");
            // What the file says, the operator can mend there.
            let of_file = static_.iter().any(|d| d.tenant == tenant_id && d.name == name);
            let exit = match refused && of_file {
                true => Exit::InvalidConfiguration,
                false => Exit::SomeDestinationsFailed,
            };
            Some(Failure::new(exit, what).because(obstacle?))
        })
        .collect();
    // The exit code is that of the last one.
    failures.sort_by_key(|failure| failure.exit == Exit::InvalidConfiguration);
    if failures.is_empty() { Ok(Exit::Done) } else { Err(Failure::all(failures)) }
}

/// What one destination answered.
struct Answer {
    tenant_id: String,
    name: String,
    /// Why it could not be asked.
    obstacle: Option<String>,
    /// It is not asked at all.
    refused: bool,
    /// Its tables, by mapping.
    tables: Vec<(String, DestinationTable)>,
}

/// Asks all destinations at once; the dialer bounds how many connections are under way.
async fn ask_all(context: &Context, list: DestinationList, set: &MappingSet) -> Vec<Answer> {
    let mut asked = JoinSet::new();
    for spec in list.usable {
        let dialer = context.dialer.clone();
        let received = set.mappings().iter().filter(|m| spec.receives(m.name()));
        let mappings: Vec<_> = received.cloned().collect();
        let timeout = context.configuration.sync.statement_timeout;
        asked.spawn(async move {
            let asked = tokio::time::timeout(timeout, ask(&dialer, &spec, &mappings)).await;
            let (tables, obstacle) = match asked {
                Ok(Ok(tables)) => (tables, None),
                Ok(Err(trouble)) => (Vec::new(), Some(trouble.message)),
                Err(_) => (Vec::new(), Some(format!("no answer within {} s", timeout.as_secs()))),
            };
            Answer { tenant_id: spec.tenant_id, name: spec.name, obstacle, refused: false, tables }
        });
    }
    let mut answers = asked.join_all().await;
    let refused = list.refused.into_iter();
    answers.extend(refused.map(|RefusedDestination { tenant_id, name, why }| Answer {
        tenant_id,
        name,
        obstacle: Some(why),
        refused: true,
        tables: Vec::new(),
    }));
    answers.sort_by(|a, b| (&a.tenant_id, &a.name).cmp(&(&b.tenant_id, &b.name)));
    answers
}

/// Asks one destination for the tables of its mappings. All that this command says to a destination
/// is in here and in [`compare`].
async fn ask(
    dialer: &Dialer,
    spec: &DestinationSpec,
    mappings: &[Arc<ResolvedMapping>],
) -> Result<Vec<(String, DestinationTable)>, Trouble> {
    let session = Session::open(&spec.place, dialer, "offtake check").await?;
    let mut tables = Vec::new();
    for mapping in mappings {
        let (table, differences) = compare(&session, mapping, &spec.place).await?;
        let (tenant, name) = (spec.tenant_id.clone(), spec.name.clone());
        let table = DestinationTable { tenant, name, table, differences };
        tables.push((mapping.name().to_owned(), table));
    }
    Ok(tables)
}
