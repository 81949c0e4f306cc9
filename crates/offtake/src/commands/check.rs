//! `offtake check`: whether configuration and mappings can be used, without changing anything
//! anywhere.

mod mapping;

use std::path::Path;
use std::sync::Arc;

use offtake_egress::AddressPolicy;
use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::{Dialer, catalog};
use offtake_sync::destinations::DestinationSpec;
use serde_json::json;
use tokio::task::JoinSet;

use self::mapping::{Report, There};
use super::{connect_source, load_configuration, preview, say};
use crate::command_line;
use crate::configuration::Configuration;
use crate::destinations::{Named, Refused, check_static, evaluate};
use crate::mapping_files;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(file: &Path, arguments: &command_line::Check) -> Result<Exit, Failure> {
    if arguments.diff {
        return Box::pin(preview::difference(file, arguments.json)).await;
    }
    let configuration = load_configuration(file)?;
    let (mappings, _) = mapping_files::load(&configuration.mappings)?;
    check_static(&configuration, &mappings)?;
    let count = mappings.len();
    if !arguments.connect {
        if arguments.json {
            say(
                json!({ "mappings": mappings.iter().map(|m| json!({ "name": m.name })).collect::<Vec<_>>(), "warnings": [], "destinations": [] }),
            );
        } else {
            say(format!(
                "{} and {count} mapping(s) can be read; --connect asks the databases too",
                file.display()
            ));
        }
        return Ok(Exit::Done);
    }
    let source = connect_source(&configuration, "check").await?;
    let set = catalog::resolve(&source, mappings).await.map_err(Failure::from)?;
    let mut reports = Vec::new();
    for mapping in set.mappings() {
        let asked = Report::of(&source, &set, mapping).await;
        let failed = |error: tokio_postgres::Error| {
            Failure::of_source(&format!("cannot check mapping {}", mapping.name()), &error.into())
        };
        reports.push(asked.map_err(failed)?);
    }
    let named = named(&configuration).await?;
    let nameless = named.nameless;
    let answers = dial_all(&configuration, named, &set).await;
    for report in &mut reports {
        let tables =
            answers.iter().flat_map(|a| &a.tables).filter(|(name, _)| *name == report.name);
        report.destinations = tables.map(|(_, there)| there.clone()).collect();
    }
    let mut warnings: Vec<String> = reports.iter().flat_map(Report::warnings).collect();
    if nameless > 0 {
        warnings.push(format!(
            "{nameless} row(s) of the destinations query have no tenant_id and are ignored"
        ));
    }
    let reached = answers.iter().filter(|a| a.obstacle.is_none()).count();
    if arguments.json {
        let list = answers
            .iter()
            .map(|a| json!({ "tenant": a.tenant_id, "name": a.name, "error": a.obstacle }));
        say(
            json!({ "mappings": reports, "warnings": warnings, "destinations": list.collect::<Vec<_>>() }),
        );
    } else {
        reports.iter().for_each(|report| say(format!("{report}\n")));
        say(format!("{count} mapping(s) can run on {}", configuration.source.url.place()));
        warnings.iter().for_each(|warning| say(format!("warning: {warning}")));
        say(format!("{reached} of {} destination(s) answer", answers.len()));
    }
    if reached == answers.len() {
        return Ok(Exit::Done);
    }
    Err(Failure::all(answers.into_iter().filter_map(|answer| {
        let failure = Failure::new(
            Exit::SomeDestinationsFailed,
            format!("destination {}/{}", answer.tenant_id, answer.name),
        );
        answer.obstacle.map(|why| failure.because(why))
    })))
}

async fn named(configuration: &Configuration) -> Result<Named, Failure> {
    let pool = offtake_postgres::SourcePool::new(
        configuration.source.url.clone(),
        configuration.sync.connect_timeout,
        1,
    );
    let evaluated =
        evaluate(&configuration.destinations, &pool, configuration.sync.statement_timeout).await;
    evaluated.map_err(|error| {
        Failure::invalid(format!(
            "{}: destinations.query cannot be used",
            configuration.file.display()
        ))
        .because(offtake_postgres::chain(&error))
        .remedy("it must be one SELECT that returns tenant_id, name and url")
    })
}

/// What became of dialling one destination.
struct Answer {
    tenant_id: String,
    name: String,
    obstacle: Option<String>,
    /// By mapping.
    tables: Vec<(String, There)>,
}

/// All at once; the dialler bounds how many are under way.
async fn dial_all(configuration: &Configuration, named: Named, set: &MappingSet) -> Vec<Answer> {
    let policy = AddressPolicy::new(configuration.security.allow_destinations.clone());
    let dialer = Dialer::new(policy, configuration.sync.connect_timeout);
    let mut dials = JoinSet::new();
    for spec in named.usable {
        let dialer = dialer.clone();
        let received = |m: &&Arc<ResolvedMapping>| {
            spec.mappings.as_ref().is_none_or(|names| names.iter().any(|n| n == m.name()))
        };
        let mappings: Vec<_> = set.mappings().iter().filter(received).cloned().collect();
        let patience = configuration.sync.statement_timeout;
        dials.spawn(async move {
            let mut answer = Answer {
                tenant_id: spec.tenant_id.clone(),
                name: spec.name.clone(),
                obstacle: None,
                tables: Vec::new(),
            };
            match tokio::time::timeout(patience, look(&dialer, &spec, &mappings)).await {
                Ok(Ok(tables)) => answer.tables = tables,
                Ok(Err(error)) => answer.obstacle = Some(error.message()),
                Err(_) => {
                    answer.obstacle = Some(format!("no answer within {} s", patience.as_secs()))
                }
            }
            answer
        });
    }
    let mut answers = dials.join_all().await;
    answers.extend(named.refused.into_iter().map(|Refused { tenant_id, name, why }| Answer {
        tenant_id,
        name,
        obstacle: Some(why),
        tables: Vec::new(),
    }));
    answers.sort_by(|a, b| (&a.tenant_id, &a.name).cmp(&(&b.tenant_id, &b.name)));
    answers
}

/// What a destination has of its mappings.
async fn look(
    dialer: &Dialer,
    spec: &DestinationSpec,
    mappings: &[Arc<ResolvedMapping>],
) -> Result<Vec<(String, There)>, offtake_postgres::Error> {
    let client = dialer.dial(&spec.url, "offtake check").await?;
    let mut tables = Vec::new();
    for mapping in mappings {
        let (table, differences) = mapping::there(&client, mapping, &spec.schema).await?;
        let there =
            There { tenant: spec.tenant_id.clone(), name: spec.name.clone(), table, differences };
        tables.push((mapping.name().to_owned(), there));
    }
    Ok(tables)
}
