//! `offtake check`: whether configuration and mappings can be used, without changing anything anywhere.

use std::path::Path;

use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::{AddressPolicy, Dialer, catalog};
use offtake_sync::destinations::DestinationSpec;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::{connect_source, load_configuration, say};
use crate::command_line;
use crate::configuration::Configuration;
use crate::destinations::{Named, Refused, check_static, evaluate};
use crate::mapping_files;
use crate::outcome::{Exit, Failure};
use crate::plan::whole_table_reads;

pub(super) async fn execute(file: &Path, arguments: &command_line::Check) -> Result<Exit, Failure> {
    let configuration = load_configuration(file)?;
    let (mappings, _) = mapping_files::load(&configuration.mappings)?;
    check_static(&configuration, &mappings)?;
    let count = mappings.len();
    if !arguments.connect {
        if arguments.json {
            say(json!({ "mappings": count, "warnings": [], "destinations": [] }));
        } else {
            say(format!("{} and {count} mapping(s) can be read; --connect asks the databases too", file.display()));
        }
        return Ok(Exit::Done);
    }
    let source = connect_source(&configuration, "check").await?;
    let set = catalog::resolve(&source, mappings).await.map_err(Failure::from)?;
    let warnings = warnings(&source, &set).await?;
    let named = named(&configuration).await?;
    let answers = dial_all(&configuration, named).await;
    let reached = answers.iter().filter(|a| a.obstacle.is_none()).count();
    if arguments.json {
        let list = answers.iter().map(|a| json!({ "tenant": a.tenant_id, "name": a.name, "error": a.obstacle }));
        say(json!({ "mappings": count, "warnings": warnings, "destinations": list.collect::<Vec<_>>() }));
    } else {
        say(format!("{count} mapping(s) can run on {}", configuration.source.url.place()));
        warnings.iter().for_each(|warning| say(format!("warning: {warning}")));
        say(format!("{reached} of {} destination(s) answer", answers.len()));
    }
    if reached == answers.len() {
        return Ok(Exit::Done);
    }
    Err(Failure::all(answers.into_iter().filter_map(|answer| {
        let failure = Failure::new(Exit::SomeDestinationsFailed, format!("destination {}/{}", answer.tenant_id, answer.name));
        answer.obstacle.map(|why| failure.because(why))
    })))
}

/// Mappings whose statements read more than the keys they are asked for.
async fn warnings(source: &Client, set: &MappingSet) -> Result<Vec<String>, Failure> {
    let prepared = source.query_one("select to_regclass('offtake.change_log') is not null", &[]).await;
    if !prepared.map_err(|error| Failure::of_source("cannot ask the source", &error.into()))?.get::<_, bool>(0) {
        return Ok(vec!["the plans of the mappings can only be checked after `offtake init`".to_owned()]);
    }
    let mut warnings = Vec::new();
    for mapping in set.mappings() {
        let tables = whole_table_reads(source, mapping)
            .await
            .map_err(|error| Failure::of_source(&format!("{}: the query has no plan", mapping.definition.file.display()), &error.into()))?;
        warnings.extend(tables.into_iter().map(|table| warning(mapping, &table)));
    }
    Ok(warnings)
}

fn warning(mapping: &ResolvedMapping, table: &str) -> String {
    let (file, line) = (mapping.definition.file.display(), mapping.definition.query_line);
    format!(
        "{file}:{line}: no index serves one key of {}: the whole of {table} is read for each; index what the query joins on",
        mapping.name()
    )
}

async fn named(configuration: &Configuration) -> Result<Named, Failure> {
    let pool = offtake_postgres::SourcePool::new(configuration.source.url.clone(), configuration.sync.connect_timeout, 1);
    let evaluated = evaluate(&configuration.destinations, &pool, configuration.sync.statement_timeout).await;
    evaluated.map_err(|error| {
        Failure::invalid(format!("{}: destinations.query cannot be used", configuration.file.display()))
            .because(crate::outcome::chain(&error))
            .remedy("it must be one SELECT that returns tenant_id, name and url")
    })
}

/// What became of dialling one destination.
struct Answer {
    tenant_id: String,
    name: String,
    obstacle: Option<String>,
}

/// All at once; the dialler bounds how many are under way.
async fn dial_all(configuration: &Configuration, named: Named) -> Vec<Answer> {
    let policy = AddressPolicy::new(configuration.security.allow_destinations.clone());
    let dialer = Dialer::new(policy, configuration.sync.connect_timeout);
    let mut dials = JoinSet::new();
    for DestinationSpec { tenant_id, name, url, .. } in named.usable {
        let dialer = dialer.clone();
        dials.spawn(async move {
            let obstacle = dialer.dial(&url, "offtake check").await.err().map(|error| error.message());
            Answer { tenant_id, name, obstacle }
        });
    }
    let mut answers = dials.join_all().await;
    answers.extend(named.refused.into_iter().map(|Refused { tenant_id, name, why }| Answer { tenant_id, name, obstacle: Some(why) }));
    answers.sort_by(|a, b| (&a.tenant_id, &a.name).cmp(&(&b.tenant_id, &b.name)));
    answers
}
