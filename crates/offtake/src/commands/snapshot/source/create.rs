//! `offtake snapshot create --kind source`.

use offtake_jobs::Store;
use offtake_jobs::snapshots::source::{self, Asked, OwnTable, OwnTables};
use offtake_jobs::snapshots::{self, Card};
use offtake_mapping::{Mapping, foreign};
use offtake_postgres::{SourcePool, catalog};

use super::super::super::printing::{say, say_json};
use super::super::create::at_source;
use super::super::{store, told as told_of_rows};
use super::told;
use crate::command_line::Create;
use crate::configuration::Configuration;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// One holds the snapshot, and one looks whether it is still whole.
const CONNECTIONS: usize = 2;

pub(in crate::commands::snapshot) async fn execute(
    context: &Context,
    arguments: &Create,
) -> Result<Exit, Failure> {
    if !arguments.mapping.is_empty() {
        let what = "--mapping is for snapshots of the kind rows";
        return Err(Failure::new(Exit::Usage, what)
            .because("a snapshot of the kind source has tables of the source, all of one moment")
            .remedy("leave it out; a restore can be narrowed by --table"));
    }
    let store = store::open(context, &arguments.place)?;
    let mappings = context.mappings()?;
    let tables = tables(context, &mappings)?;
    let source = context.connect_source("snapshot").await?;
    let set = catalog::resolve(&source, mappings).await?;
    let tenant = at_source(&source, &set, &arguments.tenant).await;
    let what = || format!("cannot make a snapshot of {}", foreign(&tenant));
    let own = OwnTables::read(&source, &tables).await;
    let own = own.map_err(|error| told::failure(what(), &error))?;
    drop(source);
    let asked = Asked {
        tenant: &tenant,
        tables: &tables,
        partial: arguments.partial,
        allow_empty: arguments.allow_empty,
        max_duration: context.configuration.snapshots.max_duration,
        job: None,
    };
    let card = make(context, &store, &asked).await;
    let card = card.map_err(|error| told::failure(what(), &error))?;
    if arguments.json {
        say_json(told_of_rows::json(&card));
        return Ok(Exit::Done);
    }
    say(told_of_rows::summary(&card));
    for left_out in own.left_out() {
        say(format!("{}: its rows would not come back", source::left_out(left_out)));
    }
    for reference in own.leading_out() {
        let (child, parent) = (reference.child_name.in_sql(), reference.parent_name.in_sql());
        say(format!("{child} refers to {parent}, whose rows must be there for a restore"));
    }
    Ok(Exit::Done)
}

/// The tables whose rows are tenants' own.
pub(super) fn tables(context: &Context, mappings: &[Mapping]) -> Result<Vec<OwnTable>, Failure> {
    let tables = OwnTable::of(mappings, &context.configuration.snapshots.tables);
    tables.map_err(|error| {
        told::failure("cannot tell to which tenant the rows belong".to_owned(), &error)
    })
}

pub(super) async fn make(
    context: &Context,
    store: &Store,
    asked: &Asked<'_>,
) -> Result<Card, source::Error> {
    let Configuration { source: at, sync, .. } = &context.configuration;
    let pool = SourcePool::new(at.url.clone(), sync.connect_timeout, CONNECTIONS);
    // What cannot be swept is told by the snapshot, if it is in its way.
    let _ = snapshots::sweep(store, asked.max_duration).await;
    let card = source::create(&pool, store, asked).await?;
    // Without it, HTTP does not tell of this snapshot. It is one all the same.
    if let Ok(source) = pool.get().await {
        let _ = snapshots::record(&source, store.name(), &card).await;
    }
    Ok(card)
}
