//! `offtake snapshot create`.

use std::sync::Arc;

use offtake_jobs::snapshots::{self, Asked};
use offtake_mapping::{MappingSet, ResolvedMapping, foreign};
use offtake_postgres::{SourcePool, catalog};
use tokio_postgres::Client;

use super::super::printing::{say, say_json};
use super::super::registry_names::unknown;
use super::super::tenant_names::Typed;
use super::{store, told};
use crate::command_line::Create;
use crate::configuration::Configuration;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// One holds the snapshot, and one looks whether it is still whole.
const CONNECTIONS: usize = 2;

pub(super) async fn execute(context: &Context, arguments: &Create) -> Result<Exit, Failure> {
    let store = store::open(context, &arguments.place)?;
    let mappings = context.mappings()?;
    let source = context.connect_source("snapshot").await?;
    let set = catalog::resolve(&source, mappings).await?;
    let max_duration = context.configuration.snapshots.max_duration;
    // What cannot be swept is told by the snapshot, if it is in its way.
    let _ = snapshots::sweep(&store, max_duration).await;
    let (chosen, narrowed) = chosen(&set, &arguments.mapping)?;
    let tenant = at_source(&source, &set, &arguments.tenant).await;
    let asked = Asked {
        tenant: &tenant,
        mappings: &chosen,
        narrowed,
        allow_empty: arguments.allow_empty,
        max_duration,
        job: None,
    };
    let Configuration { source: at, sync, .. } = &context.configuration;
    let pool = SourcePool::new(at.url.clone(), sync.connect_timeout, CONNECTIONS);
    let what = || format!("cannot make a snapshot of {} in {}", foreign(&tenant), store.name());
    // What reads is the pool's: two sessions in all.
    drop(source);
    let made = snapshots::create(&pool, &store, &asked).await;
    let card = made.map_err(|error| told::failure(what(), &error))?;
    // Without it, HTTP does not tell of this snapshot. It is one all the same.
    if let Ok(source) = pool.get().await {
        let _ = snapshots::record(&source, store.name(), &card).await;
    }
    match arguments.json {
        true => say_json(told::json(&card)),
        false => say(told::summary(&card)),
    }
    Ok(Exit::Done)
}

/// The mappings that are asked for, and whether there are others.
fn chosen(
    set: &MappingSet,
    names: &[String],
) -> Result<(Vec<Arc<ResolvedMapping>>, bool), Failure> {
    let known = || set.mappings().iter().map(|mapping| mapping.name());
    if let Some(name) = names.iter().find(|name| set.get(name).is_none()) {
        return Err(unknown(format!("there is no mapping named {name}"), name, known()));
    }
    let asked =
        |m: &&Arc<ResolvedMapping>| names.is_empty() || names.iter().any(|name| name == m.name());
    let chosen: Vec<_> = set.mappings().iter().filter(asked).cloned().collect();
    let narrowed = chosen.len() < set.mappings().len();
    Ok((chosen, narrowed))
}

/// The tenant as the source prints it, where its types say how. Snapshots are listed under that.
pub(super) async fn at_source(source: &Client, set: &MappingSet, typed: &str) -> String {
    let spellings = Typed::of_set(source, set, typed).await;
    let mut printed = spellings.spellings().iter().filter(|spelling| *spelling != typed);
    match (printed.next(), printed.next()) {
        (Some(printed), None) => printed.clone(),
        _ => typed.to_owned(),
    }
}
