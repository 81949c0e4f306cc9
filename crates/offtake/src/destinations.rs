//! Who receives rows: the destinations of the file and those of the query, evaluated again and
//! again.
//!
//! A query that fails changes nothing: whoever was known stays known. A row of it that cannot be
//! used blocks only the destination it names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_mapping::{Identifier, Mapping, MappingSet};
use offtake_postgres::{ConnectionString, SourcePool};
use offtake_sync::destinations::{DestinationSpec, Place, Registry};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::configuration::{Configuration, Destinations, StaticDestination, defaults};
use crate::outcome::Failure;

/// What configuration and query name at one moment.
#[derive(Debug, Default)]
pub struct Named {
    pub usable: Vec<DestinationSpec>,
    pub refused: Vec<Refused>,
    /// Rows of the query that name no tenant.
    pub nameless: usize,
}

/// A row of the query that names a destination and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub tenant_id: String,
    pub name: String,
    pub why: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the destinations query failed at the source")]
    Query(#[from] tokio_postgres::Error),
    #[error("the source cannot be reached")]
    Source(#[from] offtake_postgres::Error),
    #[error("the registry of destinations cannot be written")]
    Registry(#[from] offtake_sync::Error),
}

impl From<&StaticDestination> for DestinationSpec {
    fn from(destination: &StaticDestination) -> Self {
        Self {
            tenant_id: destination.tenant.clone(),
            name: destination.name.clone(),
            place: Place::Postgres {
                url: destination.url.clone(),
                schema: destination.schema.clone(),
            },
            mappings: destination.mappings.clone(),
            shared: destination.shared,
        }
    }
}

/// What the mappings contradict in the destinations of the file; those of the query are refused one
/// by one instead.
pub fn check_static(configuration: &Configuration, mappings: &[Mapping]) -> Result<(), Failure> {
    let mut failures = crate::feedback::check(configuration, mappings);
    for destination in &configuration.destinations.static_ {
        let label = format!(
            "{}: destination {}/{}",
            configuration.file.display(),
            destination.tenant,
            destination.name
        );
        for name in destination.mappings.iter().flatten() {
            if !mappings.iter().any(|m| m.name == *name) {
                let known: Vec<_> = mappings.iter().map(|m| m.name.as_str()).collect();
                let failure =
                    Failure::invalid(format!("{label}: there is no mapping named {name}"));
                failures.push(failure.remedy(format!("the mappings are {}", known.join(", "))));
            }
        }
        if destination.shared
            && let Some(mapping) =
                mappings.iter().find(|m| destination.receives(&m.name) && !m.target.keep_tenant)
        {
            let message =
                format!("{label} is shared, and mapping {} does not keep the tenant", mapping.name);
            let remedy =
                format!("set `keep_tenant: true` below `target` in {}", mapping.file.display());
            failures.push(Failure::invalid(message).remedy(remedy));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::all(failures)) }
}

/// Evaluates file and query. The query runs in a READ ONLY transaction under `statement_timeout`.
pub async fn evaluate(
    destinations: &Destinations,
    pool: &SourcePool,
    statement_timeout: Duration,
) -> Result<Named, Error> {
    let mut named = Named {
        usable: destinations.static_.iter().map(DestinationSpec::from).collect(),
        ..Named::default()
    };
    let Some(query) = &destinations.query else { return Ok(named) };
    let mut connection = pool.get().await?;
    let transaction = connection.build_transaction().read_only(true).start().await?;
    transaction
        .batch_execute(&format!("set local statement_timeout = {}", statement_timeout.as_millis()))
        .await?;
    let rows = transaction.query(&statement(query), &[]).await?;
    drop(transaction);
    named.add_rows(rows.iter().map(|row| row.get(0)));
    Ok(named)
}

/// The query's rows as JSON, whatever the columns' types are, and whether the optional ones are
/// there or not. The line end closes a comment on the query's last line.
pub(crate) fn statement(query: &str) -> String {
    format!("select to_jsonb(q) from (\n{}\n) q", query.trim_end().trim_end_matches(';'))
}

/// What a row of the query says besides the destination's name.
#[derive(Deserialize)]
struct QueryRow {
    url: Option<String>,
    schema: Option<String>,
    mappings: Option<Vec<String>>,
    shared: Option<bool>,
}

impl Named {
    fn add_rows(&mut self, rows: impl Iterator<Item = serde_json::Value>) {
        let mut seen: BTreeMap<(String, String), serde_json::Value> = BTreeMap::new();
        for row in rows {
            let text = |key: &str| match &row[key] {
                serde_json::Value::String(text) => {
                    Some(text.clone()).filter(|text| !text.is_empty())
                }
                serde_json::Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            let Some(tenant_id) = text("tenant_id") else {
                self.nameless += 1;
                continue;
            };
            let name = text("name").unwrap_or_else(|| defaults::DESTINATION_NAME.to_owned());
            let refused =
                |why: String| Refused { tenant_id: tenant_id.clone(), name: name.clone(), why };
            if let Some(earlier) = seen.insert((tenant_id.clone(), name.clone()), row.clone()) {
                if earlier != row {
                    self.usable.retain(|spec| spec.tenant_id != tenant_id || spec.name != name);
                    self.refused.push(refused(
                        "the destinations query names it twice, differently".to_owned(),
                    ));
                }
            } else if self
                .usable
                .iter()
                .any(|spec| spec.tenant_id == tenant_id && spec.name == name)
            {
                tracing::warn!(
                    event = "destination_named_twice",
                    tenant = tenant_id,
                    destination = name,
                    "the configuration file also names this destination, and the file counts"
                );
            } else {
                match read(row, &tenant_id, &name) {
                    Ok(spec) => self.usable.push(spec),
                    Err(why) => self.refused.push(refused(why)),
                }
            }
        }
        self.refused.dedup_by(|a, b| a.tenant_id == b.tenant_id && a.name == b.name);
    }

    /// Changes with anything that the registry is told.
    fn fingerprint(&self) -> String {
        let usable = self.usable.iter().map(|s| {
            format!("{} {} {:?} {}", s.label(), s.place.fingerprint(), s.mappings, s.shared)
        });
        let refused = self.refused.iter().map(|r| format!("{r:?}"));
        usable.chain(refused).chain([self.nameless.to_string()]).collect::<Vec<_>>().join("\n")
    }
}

fn read(row: serde_json::Value, tenant_id: &str, name: &str) -> Result<DestinationSpec, String> {
    let row: QueryRow = serde_json::from_value(row)
        .map_err(|_| "the destinations query returns a column of another type than url, schema: text, mappings: text[], shared: boolean")?;
    let url = row
        .url
        .filter(|url| !url.is_empty())
        .ok_or("the destinations query returns no url for it")?;
    let schema = row.schema.unwrap_or_else(|| defaults::SCHEMA_NAME.to_owned());
    Ok(DestinationSpec {
        tenant_id: tenant_id.to_owned(),
        name: name.to_owned(),
        place: Place::Postgres {
            url: ConnectionString::destination(&url, None).map_err(|error| error.to_string())?,
            schema: Identifier::new(schema).map_err(|error| error.to_string())?,
        },
        mappings: row.mappings,
        shared: row.shared.unwrap_or(false),
    })
}

/// The loop that keeps the registry as configuration, query and mappings say.
pub struct Refresher {
    pub pool: SourcePool,
    pub registry: Registry,
    pub configuration: watch::Receiver<Arc<Configuration>>,
    pub mappings: watch::Receiver<Arc<MappingSet>>,
    /// Mappings that wait: a destination that names one goes on with its others.
    pub withheld: watch::Receiver<Arc<Vec<String>>>,
    /// Why the query could not be evaluated; the status tells it, because new destinations stay
    /// away meanwhile.
    pub error: watch::Sender<Option<String>>,
    pub progress: watch::Sender<Instant>,
}

/// The last look was this long ago at most when the loop is healthy, whatever `refresh` says: it
/// ticks without looking.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

impl Refresher {
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut applied = String::new();
        loop {
            let configuration = self.configuration.borrow_and_update().clone();
            // Marked as seen before it is used: a set that arrives meanwhile is seen by the next
            // round.
            let mapping_set_is_new =
                self.mappings.has_changed().unwrap_or(false) || applied.is_empty();
            self.mappings.mark_unchanged();
            match evaluate(
                &configuration.destinations,
                &self.pool,
                configuration.sync.statement_timeout,
            )
            .await
            {
                Ok(named) => {
                    self.error.send_if_modified(|error| error.take().is_some());
                    let fingerprint = format!("named\n{}", named.fingerprint());
                    if mapping_set_is_new || fingerprint != applied {
                        self.apply(named).await?;
                        applied = fingerprint;
                    }
                }
                // The operator's SQL is at fault, and whoever was known goes on.
                Err(Error::Query(error)) if error.as_db_error().is_some() => {
                    self.failed(offtake_postgres::Error::from(error).message());
                    if mapping_set_is_new {
                        applied.clear();
                    }
                }
                Err(error) => return Err(error),
            }
            let next = Instant::now() + configuration.destinations.refresh;
            while Instant::now() < next {
                self.progress.send_replace(Instant::now());
                let pause = TICK_INTERVAL.min(next.saturating_duration_since(Instant::now()));
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    Ok(()) = self.configuration.changed() => break,
                    Ok(()) = self.mappings.changed() => {
                        self.mappings.mark_changed();
                        break;
                    }
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }

    /// Logged when it is another error than the last time, not at each refresh.
    fn failed(&self, error: String) {
        let told =
            format!("the destinations query failed: {error}; the destinations stay as they were");
        if self.error.borrow().as_ref() != Some(&told) {
            tracing::error!(
                event = "destinations_query_failed",
                error,
                "the destinations stay as they were"
            );
            self.error.send_replace(Some(told));
        }
    }

    async fn apply(&self, named: Named) -> Result<(), Error> {
        let Named { mut usable, refused, nameless } = named;
        if nameless > 0 {
            tracing::error!(
                event = "destination_without_tenant",
                rows = nameless,
                "rows of the destinations query have no tenant_id and are ignored"
            );
        }
        let withheld = self.withheld.borrow().clone();
        for names in usable.iter_mut().filter_map(|spec| spec.mappings.as_mut()) {
            names.retain(|name| !withheld.contains(name));
        }
        self.registry.refresh(usable).await?;
        let client = self.pool.get().await?;
        for Refused { tenant_id, name, why } in &refused {
            offtake_requests::refuse_destination(&client, tenant_id, name, why).await?;
            tracing::warn!(
                event = "destination_refused",
                tenant = tenant_id,
                destination = name,
                "{why}"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(rows: &[serde_json::Value], usable: &[&str], refused: &[(&str, &str)]) {
        let mut named = Named::default();
        named.add_rows(rows.iter().cloned());
        assert_eq!(named.usable.iter().map(DestinationSpec::label).collect::<Vec<_>>(), usable);
        assert_eq!(named.refused.len(), refused.len(), "{:?}", named.refused);
        for (found, (label, why)) in named.refused.iter().zip(refused) {
            assert_eq!(format!("{}/{}", found.tenant_id, found.name), *label);
            assert!(found.why.contains(why), "{found:?}");
        }
    }

    #[test]
    fn a_bad_row_blocks_only_its_own_destination() {
        let url = "postgres://u:p@db.example.com/x";
        let good = json!({ "tenant_id": "a", "name": "main", "url": url });
        check(
            &[
                good.clone(),
                json!({ "tenant_id": 7, "url": url, "schema": "s", "mappings": ["users"], "shared": true }),
            ],
            &["a/main", "7/main"],
            &[],
        );
        let mut nameless = Named::default();
        nameless
            .add_rows([json!({ "url": url }), json!({ "tenant_id": "", "url": url })].into_iter());
        assert_eq!(nameless.nameless, 2);
        check(
            &[json!({ "tenant_id": "b", "url": "nonsense" }), good.clone()],
            &["a/main"],
            &[("b/main", "URL")],
        );
        check(
            &[good.clone(), json!({ "tenant_id": "b", "url": null })],
            &["a/main"],
            &[("b/main", "no url")],
        );
        check(
            &[good.clone(), json!({ "tenant_id": "b", "url": url, "shared": "perhaps" })],
            &["a/main"],
            &[("b/main", "another type")],
        );
        check(&[good.clone(), json!({ "tenant_id": null, "url": url })], &["a/main"], &[]);
        check(&[good.clone(), good.clone()], &["a/main"], &[]);
        check(
            &[good.clone(), json!({ "tenant_id": "a", "url": url, "schema": "s" })],
            &[],
            &[("a/main", "twice")],
        );
    }
}
