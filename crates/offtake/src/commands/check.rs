//! `offtake check`: whether configuration and mappings can be used. Changes nothing anywhere, but for
//! a small object in each object store that it deletes again.

mod output;
mod stores;
mod webhooks;

use std::sync::Arc;

use offtake_mapping::{MappingSet, ResolvedMapping, foreign};
use offtake_postgres::{Dialer, catalog};
use offtake_sync::destinations::{DestinationSpec, Session, Trouble, contradiction};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_postgres::Client;

pub(super) use self::output::together;
use self::output::{print, say_warnings};
use super::preview;
use super::printing::{say, say_json};
use crate::checks::destination_table::{DestinationTable, compare};
use crate::checks::mapping_report::MappingReport;
use crate::checks::{d1_lanes, own_tables, schema_sql, tenant_agreement, undeclared_tables};
use crate::command_line;
use crate::context::Context;
use crate::context::destination_list::{DestinationList, RefusedDestination};
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(
    context: &Context,
    arguments: &command_line::Check,
) -> Result<Exit, Failure> {
    if arguments.diff {
        return Box::pin(preview::difference(context, arguments.json)).await;
    }
    let mappings = context.mappings()?;
    let overlooked = context.overlooked_mapping_files();
    if !arguments.connect {
        let conflicts = catalog::conflicts(&mappings);
        if !conflicts.is_empty() {
            return Err(Failure::from(conflicts));
        }
        let file = context.configuration.file.display();
        let names: Vec<_> = mappings.iter().map(|m| json!({ "name": m.name })).collect();
        if arguments.json {
            let none: [(); 0] = [];
            say_json(json!({
                "mappings": names, "warnings": overlooked,
                "destinations": none, "webhooks": none, "stores": none,
            }));
        } else {
            let count = names.len();
            say(format!(
                "{file} and {count} mapping(s) can be read; --connect asks the databases too"
            ));
            say_warnings(&overlooked);
        }
        return Ok(Exit::Done);
    }
    let source = context.connect_source("check").await?;
    let set = catalog::resolve(&source, mappings.clone()).await.map_err(Failure::from)?;
    let list = context.spelt_destinations(&source, &set).await?;
    let mut reports = report_all(&source, &set, &list.usable).await?;
    let without_tenant = list.without_tenant;
    let slow_lanes = d1_lanes::slow(&list.usable);
    let answers = ask_all(context, list, &set).await;
    let (told, webhooks_without_tenant) = webhooks::look(context, &source, &set).await?;
    for report in &mut reports {
        let tables = answers.iter().flat_map(|a| &a.tables).filter(|(n, _)| *n == report.name);
        report.destinations = tables.map(|(_, table)| table.clone()).collect();
    }
    let mut warnings: Vec<String> = reports.iter().flat_map(MappingReport::warnings).collect();
    warnings.extend(overlooked);
    warnings.extend(slow_lanes);
    warnings.extend(own_tables::warnings(&context.configuration, &source, &mappings).await);
    if without_tenant > 0 {
        warnings.push(format!(
            "{without_tenant} row(s) of the destinations query have no tenant_id and are ignored"
        ));
    }
    if webhooks_without_tenant > 0 {
        warnings.push(format!(
            "{webhooks_without_tenant} row(s) of the webhooks query have no tenant_id and are \
             ignored"
        ));
    }
    let tried = stores::try_all(context).await;
    warnings.extend(tried.iter().flat_map(|store| store.warnings.clone()));
    print(context, arguments, &reports, &warnings, (&answers, &told, &tried));
    let mut failures = webhooks::failures(&told);
    failures.extend(tried.into_iter().filter_map(|store| store.failure));
    outcome(context, answers, failures)
}

/// A report for each mapping; a failure that tells all mappings that the rows contradict.
async fn report_all(
    source: &Client,
    set: &MappingSet,
    destinations: &[DestinationSpec],
) -> Result<Vec<MappingReport>, Failure> {
    let tenants: Vec<String> =
        destinations.iter().map(|spec| spec.tenant_at_source.clone()).collect();
    let mut reports = Vec::new();
    let mut failures = Vec::new();
    for (own, shared) in set.forms(false).iter().zip(set.forms(true)) {
        let (mapping, also) = received_forms(own, shared, destinations);
        let agreement = tenant_agreement::compare(source, mapping, &tenants).await;
        let agreement = agreement.map_err(|error| tenant_agreement::unusable(mapping, error))?;
        let disagreement = tenant_agreement::disagreement(source, mapping, &agreement).await;
        failures.extend(disagreement.err());
        failures.extend(undeclared_tables::refusals(source, &mapping.definition).await?);
        let mut report = MappingReport::of(source, set, mapping).await.map_err(|error| {
            Failure::of_source(&format!("cannot check mapping {}", mapping.name()), &error.into())
        })?;
        report.tenant_rows_compared = agreement.rows;
        match schema_sql::try_out(source, mapping).await {
            Ok(added) => report.columns_added = added,
            Err(failure) => failures.push(failure),
        }
        if let Some(also) = also {
            failures.extend(schema_sql::try_out(source, also).await.err());
            report.add_shared(also);
        }
        reports.push(report);
    }
    if failures.is_empty() { Ok(reports) } else { Err(Failure::all(failures)) }
}

/// The form of a mapping that its destinations get, and a second one where some of them are shared
/// and others are not.
fn received_forms<'a>(
    own: &'a ResolvedMapping,
    shared: &'a ResolvedMapping,
    destinations: &[DestinationSpec],
) -> (&'a ResolvedMapping, Option<&'a ResolvedMapping>) {
    let gets = |form| destinations.iter().any(|d| d.shared == form && d.receives(own.name()));
    match (gets(false), gets(true)) {
        (_, true) if own.version == shared.version => (own, None),
        (true, true) => (own, Some(shared)),
        (false, true) => (shared, None),
        (_, false) => (own, None),
    }
}

/// A failure for every reason for which destinations could not be asked, or cannot be copied to, and
/// those of webhooks and stores.
fn outcome(
    context: &Context,
    answers: Vec<Answer>,
    of_others: Vec<Failure>,
) -> Result<Exit, Failure> {
    let static_ = &context.configuration.destinations.static_;
    let label = |a: &Answer| format!("{}/{}", foreign(&a.tenant_id), foreign(&a.name));
    // What the file says, the operator can mend there.
    let of_file = |a: &&Answer| static_.iter().any(|d| d.tenant == a.tenant_id && d.name == a.name);
    let (refused, others): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| answer.refused && of_file(answer));
    let obstacles = |of: &[&Answer]| -> Vec<(String, String)> {
        of.iter().filter_map(|a| Some((a.obstacle.clone()?, label(a)))).collect()
    };
    let faults = answers.iter().flat_map(|answer| {
        let of_mapping = |(mapping, table): &(String, DestinationTable)| {
            let what = format!("mapping {mapping} cannot be copied: {}", table.fault.as_ref()?);
            Some((what, label(answer)))
        };
        answer.tables.iter().filter_map(of_mapping).collect::<Vec<_>>()
    });
    let failure = |exit| move |(why, which)| Failure::new(exit, which).because(why);
    let mut failures: Vec<Failure> = together(obstacles(&others).into_iter().chain(faults))
        .into_iter()
        .map(failure(Exit::SomeDestinationsFailed))
        .chain(
            together(obstacles(&refused).into_iter())
                .into_iter()
                .map(failure(Exit::InvalidConfiguration)),
        )
        .chain(of_others)
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

/// Destinations that are asked at a time. A thousand tenants may share one server, which accepts
/// some hundred connections, and this process may have a thousand files open.
pub(super) const ASKED_AT_ONCE: usize = 32;

/// Asks all destinations. The time that each has for its answers begins with its turn.
async fn ask_all(context: &Context, list: DestinationList, set: &MappingSet) -> Vec<Answer> {
    let mut asked = JoinSet::new();
    let turns = Arc::new(Semaphore::new(ASKED_AT_ONCE));
    for spec in list.usable {
        let dialer = context.dialer.clone();
        let mappings: Vec<_> = spec.received(set).cloned().collect();
        let timeout = context.configuration.sync.statement_timeout;
        let turns = turns.clone();
        let contradiction = contradiction(&spec, set);
        asked.spawn(async move {
            if let obstacle @ Some(_) = contradiction {
                let (tenant_id, name) = (spec.tenant_id, spec.name);
                return Answer { tenant_id, name, obstacle, refused: false, tables: Vec::new() };
            }
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
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
/// is in here, in [`compare`] and in [`Session::try_tables`].
async fn ask(
    dialer: &Dialer,
    spec: &DestinationSpec,
    mappings: &[Arc<ResolvedMapping>],
) -> Result<Vec<(String, DestinationTable)>, Trouble> {
    let session = Session::open(&spec.place, dialer, "offtake check").await?;
    let mut tables = Vec::new();
    let faults = session.try_tables(spec, mappings).await?;
    for (mapping, fault) in mappings.iter().zip(faults) {
        let (table, differences) = compare(&session, mapping, &spec.place).await?;
        let (tenant, name) = (spec.tenant_id.clone(), spec.name.clone());
        let table = DestinationTable { tenant, name, table, differences, fault };
        tables.push((mapping.name().to_owned(), table));
    }
    Ok(tables)
}
