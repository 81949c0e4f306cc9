//! What edited mappings would change in the destinations: their queries' rows beside the
//! destinations' tables.

use std::sync::Arc;
use std::time::Duration;

use offtake_egress::AddressPolicy;
use offtake_mapping::{Identifier, MappingSet, ResolvedMapping, literal};
use offtake_postgres::{Connection, Dialer, SourcePool, chain};
use offtake_sync::destinations::DestinationSpec;
use offtake_sync::verify::{Kind, Options, Report, VerifyTarget, verify};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::command_line::Preview;
use crate::commands::say;
use crate::configuration::Configuration;
use crate::destinations::evaluate;
use crate::outcome::{Exit, Failure};

/// Changes that are on their way to a destination are waited for this long; what is still under way
/// is told as such.
const WAIT: Duration = Duration::from_secs(5);

/// What an edit would do to one mapping in one destination.
struct Effect {
    destination: String,
    mapping: String,
    outcome: Result<Change, String>,
}

enum Change {
    /// The destination has this version.
    None,
    /// The table would be created, with so many rows.
    New(i64),
    /// The file is gone: the table stays as it is.
    Stopped,
    Changed {
        /// Columns that the table lacks.
        added: Vec<String>,
        /// Columns of another type there, and columns that the query does not give any more.
        notes: Vec<String>,
        rows: Report,
    },
}

pub(super) async fn execute(
    configuration: &Configuration,
    arguments: &Preview,
    source: Connection,
    set: &MappingSet,
    if_changed: Exit,
) -> Result<Exit, Failure> {
    let pool =
        SourcePool::new(configuration.source.url.clone(), configuration.sync.connect_timeout, 1);
    let named =
        evaluate(&configuration.destinations, &pool, configuration.sync.statement_timeout).await;
    let named = named.map_err(|error| {
        Failure::new(Exit::Failed, "the destinations cannot be listed").because(chain(&error))
    })?;
    let policy = AddressPolicy::new(configuration.security.allow_destinations.clone());
    let dialer = Dialer::new(policy, configuration.sync.connect_timeout);
    let mut effects = Vec::new();
    for spec in named
        .usable
        .iter()
        .filter(|spec| arguments.tenant.as_ref().is_none_or(|tenant| *tenant == spec.tenant_id))
    {
        let found =
            of_destination(&source, &dialer, spec, set, arguments).await.unwrap_or_else(|error| {
                let mapping =
                    arguments.mapping.clone().unwrap_or_else(|| "all mappings".to_owned());
                vec![Effect { destination: spec.label(), mapping, outcome: Err(error.message()) }]
            });
        if !arguments.json {
            found.iter().for_each(|effect| say(effect.line()));
        }
        effects.extend(found);
    }
    if effects.is_empty() {
        return Err(Failure::new(
            Exit::Failed,
            "no destination of that tenant receives that mapping",
        ));
    }
    let touched = effects.iter().filter(|e| !matches!(e.outcome, Ok(Change::None))).count();
    if arguments.json {
        say(serde_json::to_string_pretty(&effects.iter().map(Effect::json).collect::<Vec<_>>())
            .unwrap_or_default());
    } else {
        say(format!("{touched} of {} copies would change; nothing was changed", effects.len()));
    }
    // The state rows of a mapping that is gone stay there, as its table does.
    let differs = |effect: &Effect| !matches!(effect.outcome, Ok(Change::None | Change::Stopped));
    Ok(match effects.iter().any(differs) {
        _ if effects.iter().any(|e| e.outcome.is_err()) => Exit::SomeDestinationsFailed,
        true => if_changed,
        false => Exit::Done,
    })
}

async fn of_destination(
    source: &Client,
    dialer: &Dialer,
    spec: &DestinationSpec,
    set: &MappingSet,
    arguments: &Preview,
) -> Result<Vec<Effect>, offtake_postgres::Error> {
    let there = dialer.dial(&spec.url, "offtake preview").await?;
    let versions = versions(&there, spec).await?;
    let wanted = |name: &str| {
        spec.mappings.as_ref().is_none_or(|names| names.iter().any(|n| n == name))
            && arguments.mapping.as_ref().is_none_or(|m| m == name)
    };
    let effect = |mapping: &str, outcome| Effect {
        destination: spec.label(),
        mapping: mapping.to_owned(),
        outcome,
    };
    let mut effects = Vec::new();
    for mapping in set.mappings().iter().filter(|m| wanted(m.name())) {
        let version = versions
            .iter()
            .find(|(name, _)| name == mapping.name())
            .map(|(_, version)| version.as_str());
        let outcome = match version {
            Some(version) if version == mapping.version.as_str() => Ok(Change::None),
            Some(_) => compare(source, &there, spec, mapping).await,
            None => count(source, mapping, &spec.tenant_id).await.map(Change::New),
        };
        effects.push(effect(mapping.name(), outcome));
    }
    for (name, _) in versions.iter().filter(|(name, _)| wanted(name) && set.get(name).is_none()) {
        effects.push(effect(name, Ok(Change::Stopped)));
    }
    Ok(effects)
}

/// Mapping and version of what the destination has.
async fn versions(
    there: &Client,
    spec: &DestinationSpec,
) -> Result<Vec<(String, String)>, tokio_postgres::Error> {
    let state = format!("{}._offtake_state", spec.schema.sql());
    if !there
        .query_one("select to_regclass($1::text) is not null", &[&state])
        .await?
        .get::<_, bool>(0)
    {
        return Ok(Vec::new());
    }
    let query =
        format!("select mapping, version from {state} where tenant_id = $1 order by mapping");
    let rows = there.query(&query, &[&spec.tenant_id]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn count(source: &Client, mapping: &ResolvedMapping, tenant: &str) -> Result<i64, String> {
    let tenant = format!("{}::{}", literal(tenant), mapping.tenant_type);
    let query = format!(
        "select count(*) from (\n{}\n) q where q.tenant_id = {tenant}",
        mapping.definition.query
    );
    let row = source
        .query_one(&query, &[])
        .await
        .map_err(|error| offtake_postgres::Error::from(error).message())?;
    Ok(row.get(0))
}

/// By the columns that both have: the others are told by name.
async fn compare(
    source: &Client,
    there: &Client,
    spec: &DestinationSpec,
    mapping: &Arc<ResolvedMapping>,
) -> Result<Change, String> {
    let failed = |error: tokio_postgres::Error| offtake_postgres::Error::from(error).message();
    let table = format!("{}.{}", spec.schema.sql(), mapping.definition.target.table.sql());
    let rows = there.query(crate::sql::DESCRIBE_COPY, &[&table]).await.map_err(failed)?;
    let Some(row) = rows.first() else {
        return count(source, mapping, &spec.tenant_id).await.map(Change::New);
    };
    let columns: Vec<String> = row.get("columns");
    let types: Vec<String> = row.get("types");
    let has = |name: &Identifier| columns.iter().any(|column| column == name.as_str());
    if let Some(key) = mapping.target_key().into_iter().find(|key| !has(key)) {
        return Err(format!(
            "{table} has no column {key}, which is in the new key: the mapping would be blocked there"
        ));
    }
    let mut shared = ResolvedMapping::clone(mapping);
    shared.columns.retain(|column| has(&column.name));
    let added =
        mapping.columns.iter().filter(|c| !has(&c.name)).map(|c| c.name.to_string()).collect();
    let mut notes = Vec::new();
    for (name, sql_type) in columns.iter().zip(&types) {
        match mapping.columns.iter().find(|c| c.name.as_str() == name) {
            None => {
                notes.push(format!("column {name} is not in the query any more and stays as it is"))
            }
            Some(c)
                if c.target_type != *sql_type && mapping.definition.target.schema_sql.is_none() =>
            {
                notes.push(format!(
                    "column {name} is {sql_type} there and {} in the query: the mapping would be blocked there",
                    c.target_type
                ));
            }
            Some(_) => {}
        }
    }
    let target =
        VerifyTarget { mapping: &shared, tenant_id: &spec.tenant_id, schema: &spec.schema };
    let options = Options { wait: WAIT, differences_max: 5, ..Options::default() };
    let rows = verify(source, there, &target, &options).await.map_err(|error| chain(&error))?;
    Ok(Change::Changed { added, notes, rows })
}

impl Effect {
    fn line(&self) -> String {
        let (destination, mapping) = (&self.destination, &self.mapping);
        let what = match &self.outcome {
            Err(why) => format!("cannot be told: {why}"),
            Ok(Change::None) => "as it is".to_owned(),
            Ok(Change::New(rows)) => format!("new, {rows} rows"),
            Ok(Change::Stopped) => "stops; its table stays as it is".to_owned(),
            Ok(Change::Changed { added, notes, rows }) => {
                let mut text = format!(
                    "{} rows added, {} removed, {} changed",
                    rows.missing, rows.extra, rows.different
                );
                if rows.unsettled > 0 {
                    text.push_str(&format!(", {} on their way or unknown", rows.unsettled));
                }
                for column in added {
                    text.push_str(&format!("\n  column {column} would be added"));
                }
                for note in notes {
                    text.push_str(&format!("\n  {note}"));
                }
                for difference in &rows.differences {
                    let sign = match difference.kind {
                        Kind::Missing => "+",
                        Kind::Extra => "-",
                        Kind::Different => "~",
                    };
                    let columns = if difference.columns.is_empty() {
                        String::new()
                    } else {
                        format!(": {}", difference.columns.join(", "))
                    };
                    text.push_str(&format!(
                        "\n  {sign} {}{columns}",
                        Value::Object(difference.key.clone())
                    ));
                }
                text
            }
        };
        format!("{destination} {mapping}: {what}")
    }

    fn json(&self) -> Value {
        let change = match &self.outcome {
            Err(why) => json!({ "change": null, "error": why }),
            Ok(Change::None) => json!({ "change": "none" }),
            Ok(Change::New(rows)) => json!({ "change": "new", "added": rows }),
            Ok(Change::Stopped) => json!({ "change": "stopped" }),
            Ok(Change::Changed { added, notes, rows }) => json!({
                "change": "changed", "added": rows.missing, "removed": rows.extra, "changed": rows.different,
                "unsettled": rows.unsettled, "columns_added": added, "notes": notes, "samples": rows.differences,
            }),
        };
        let mut object = json!({ "destination": self.destination, "mapping": self.mapping });
        if let (Some(object), Value::Object(change)) = (object.as_object_mut(), change) {
            object.extend(change);
        }
        object
    }
}
