//! `offtake preview --changed`: what edited mappings would change in the destinations, found by
//! comparing their queries' rows with the destinations' tables.

mod effect;

use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::{Identifier, Kind, MappingSet, ResolvedMapping, foreign, literal};
use offtake_sync::destinations::{Copied, DestinationSpec, Session, Standing, Trouble};
use offtake_sync::verify::{Options, VerifyTarget, verify};
use tokio_postgres::Client;

use self::effect::{Change, Effect};
use crate::command_line::Preview;
use crate::commands::printing::{say, say_json};
use crate::commands::registry_names::{not_received, of_tenant, received_names};
use crate::context::Context;
use crate::outcome::{Exit, Failure};
use offtake_postgres::chain;

/// How long the comparison waits for changes that are on their way to a destination. What has not
/// arrived then is reported as on its way.
const WAIT: Duration = Duration::from_secs(5);

pub(super) async fn execute(
    context: &Context,
    arguments: &Preview,
    source: &Client,
    set: &MappingSet,
    if_changed: Exit,
) -> Result<Exit, Failure> {
    let list = context.spelt_destinations(source, set).await?;
    let list = of_tenant(source, set, list, arguments.tenant.as_deref()).await?;
    let failed = |destination: String, why: String| {
        let mapping = arguments.mapping.clone().unwrap_or_else(|| "all mappings".to_owned());
        Effect { destination, mapping, outcome: Err(why) }
    };
    let mut effects = Vec::new();
    let mut tell = |found: Vec<Effect>| {
        if !arguments.json {
            found.iter().for_each(|effect| say(effect.line()));
        }
        effects.extend(found);
    };
    for spec in &list.usable {
        let found = of_destination(context, source, spec, set, arguments).await;
        tell(found.unwrap_or_else(|trouble| vec![failed(spec.label(), trouble.message)]));
    }
    for refused in list.refused {
        let label = format!("{}/{}", foreign(&refused.tenant_id), foreign(&refused.name));
        tell(vec![failed(label, refused.why)]);
    }
    if effects.is_empty() {
        return Err(match &arguments.mapping {
            Some(mapping) => not_received(mapping, received_names(set, &list.usable)),
            None => Failure::new(Exit::Failed, "there is no destination that receives a mapping")
                .remedy("name destinations in the configuration, below `destinations`"),
        });
    }
    let touched = effects.iter().filter(|e| !matches!(e.outcome, Ok(Change::None))).count();
    if arguments.json {
        let list: Vec<_> = effects.iter().map(Effect::json).collect();
        say_json(serde_json::to_string_pretty(&list).unwrap_or_default());
    } else {
        say(format!("{touched} of {} copies would change; nothing was changed", effects.len()));
    }
    // A mapping whose file is gone keeps its table and its state row in the destination, so it does
    // not count as a change.
    let differs = |effect: &Effect| !matches!(effect.outcome, Ok(Change::None | Change::Stopped));
    Ok(match effects.iter().any(differs) {
        _ if effects.iter().any(|e| e.outcome.is_err()) => Exit::SomeDestinationsFailed,
        true => if_changed,
        false => Exit::Done,
    })
}

async fn of_destination(
    context: &Context,
    source: &Client,
    spec: &DestinationSpec,
    set: &MappingSet,
    arguments: &Preview,
) -> Result<Vec<Effect>, Trouble> {
    let destination = Session::open(&spec.place, &context.dialer, "offtake preview").await?;
    let cursors = destination.cursors(&spec.tenant_id).await?;
    let wanted =
        |name: &str| spec.receives(name) && arguments.mapping.as_ref().is_none_or(|m| m == name);
    let effect = |mapping: &str, outcome| Effect {
        destination: spec.label(),
        mapping: mapping.to_owned(),
        outcome,
    };
    let mut effects = Vec::new();
    for mapping in spec.received(set).filter(|m| wanted(m.name())) {
        let outcome = match cursors.get(mapping.name()) {
            Some(cursor) if cursor.version == mapping.version.as_str() => Ok(Change::None),
            Some(_) => changed(source, &destination, spec, mapping).await,
            None => count(source, mapping, &spec.tenant_at_source).await.map(Change::New),
        };
        effects.push(effect(mapping.name(), outcome));
    }
    for name in cursors.keys().filter(|name| wanted(name) && set.get(name).is_none()) {
        effects.push(effect(name, Ok(Change::Stopped)));
    }
    Ok(effects)
}

/// How many rows the mapping's query gives for the tenant.
async fn count(source: &Client, mapping: &ResolvedMapping, tenant: &str) -> Result<i64, String> {
    let tenant = format!("{}::{}", literal(tenant), mapping.tenant_type);
    let (rows, tenant) = (mapping.rows(&tenant), mapping.of_tenant(&tenant));
    let query = format!("select count(*) from {rows} where {tenant}");
    let row = source
        .query_one(&query, &[])
        .await
        .map_err(|error| offtake_postgres::Error::from(error).message())?;
    Ok(row.get(0))
}

/// Compares the query's rows with the table by the columns that both have. Columns that only one of
/// them has are reported by name.
async fn changed(
    source: &Client,
    destination: &Session,
    spec: &DestinationSpec,
    mapping: &Arc<ResolvedMapping>,
) -> Result<Change, String> {
    let table = spec.place.table_name(mapping);
    let found = destination.table_of(mapping).await.map_err(|trouble| trouble.message)?;
    if found.standing == Standing::Absent {
        return count(source, mapping, &spec.tenant_at_source).await.map(Change::New);
    }
    let has = |name: &Identifier| found.columns.iter().any(|(column, _)| column == name.as_str());
    if let Some(key) = mapping.target_key().into_iter().find(|key| !has(key)) {
        return Err(format!(
            "{table} has no column {key}, which is in the new key: \
             the mapping would be blocked there"
        ));
    }
    let mut shared = ResolvedMapping::clone(mapping);
    shared.columns.retain(|column| has(&column.name));
    let added =
        mapping.columns.iter().filter(|c| !has(&c.name)).map(|c| c.name.to_string()).collect();
    let target = VerifyTarget {
        mapping: &shared,
        tenant_id: &spec.tenant_id,
        tenant_at_source: &spec.tenant_at_source,
    };
    let options = Options { wait: WAIT, differences_max: 5, ..Options::default() };
    let rows = verify(source, destination.reader(), &target, &options).await;
    let rows = rows.map_err(|error| chain(&error))?;
    Ok(Change::Changed {
        added,
        notes: column_notes(mapping, &found, spec.place.kind()),
        rows: Box::new(rows),
    })
}

/// What the operator should know about columns that the table has.
fn column_notes(mapping: &ResolvedMapping, table: &Copied, kind: Kind) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, sql_type) in &table.columns {
        match mapping.columns.iter().find(|c| c.name.as_str() == name) {
            None => {
                notes.push(format!("column {name} is not in the query any more and stays as it is"))
            }
            Some(c)
                if kind.declared(mapping, c) != *sql_type
                    && mapping.definition.target.schema_sql.is_none() =>
            {
                notes.push(format!(
                    "column {name} is {sql_type} there and {} in the query: \
                     the mapping would be blocked there",
                    kind.declared(mapping, c)
                ));
            }
            Some(_) => {}
        }
    }
    notes
}
