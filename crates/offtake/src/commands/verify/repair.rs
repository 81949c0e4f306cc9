//! `offtake verify --repair`: has a daemon copy exactly the rows that differ again.
//!
//! This command writes nothing to a destination. It captures each differing key once more, as if
//! its row had changed. The key gets a sequence id, and a worker applies what the source has now,
//! in order with all other changes.

use std::collections::BTreeMap;
use std::time::Duration;

use offtake_admin::operations::{named_destinations, owe_sync};
use offtake_mapping::ResolvedMapping;
use offtake_sync::destinations::DestinationSpec;
use offtake_sync::verify::Difference;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::commands::registry_names::unreadable;
use crate::commands::sync::{wait_until_reached, wait_until_sequenced, warn_without_daemon};
use crate::outcome::{Exit, Failure};
use crate::sql;

/// At most this many keys of one mapping are repaired one by one, which takes some 20 MB here. For
/// more, the operator is told to use `offtake resync`.
pub(super) const KEYS_MAX: usize = 100_000;

/// Keys per statement, so that no transaction captures more keys than a large one of an
/// application.
const KEYS_AT_ONCE: usize = 5_000;

/// How long the command waits for the worker, which takes some ten seconds for a hundred thousand
/// keys.
const WAIT: Duration = Duration::from_secs(120);

/// The keys to capture again, by source table.
#[derive(Default)]
pub(super) struct Keys {
    by_table: BTreeMap<String, Vec<Value>>,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.by_table.values().map(Vec::len).sum()
    }

    pub(super) fn add(&mut self, mapping: &ResolvedMapping, differences: &[Difference]) {
        let keys = differences.iter().map(|difference| row_key(mapping, &difference.key));
        self.by_table.entry(mapping.source_table()).or_default().extend(keys);
    }
}

/// A key of the destination's table, as the capture triggers write it: with the names of the source
/// table's columns.
fn row_key(mapping: &ResolvedMapping, key: &Map<String, Value>) -> Value {
    let column = |k: &offtake_mapping::KeyColumn| {
        let value = key.get(k.query_column.as_str()).cloned().unwrap_or(Value::Null);
        (k.source_column.as_str().to_owned(), value)
    };
    Value::Object(mapping.key.iter().map(column).collect())
}

/// Captures the keys again for the destination's tenant, and waits until the destination has
/// everything.
pub(super) async fn repair(
    source: &Client,
    spec: &DestinationSpec,
    keys: &Keys,
) -> Result<(), Failure> {
    let failed = |error: tokio_postgres::Error| {
        Failure::of_source("cannot have the differing keys looked at again", &error.into())
    };
    let named = named_destinations(source, Some(&spec.tenant_id), Some(&spec.name))
        .await
        .map_err(|error| unreadable(&error))?;
    let Some(destination) = named.first() else {
        return Err(Failure::new(
            Exit::SomeDestinationsFailed,
            format!("no daemon has seen {} yet", spec.label()),
        )
        .remedy("start `offtake run`"));
    };
    for (table, keys) in &keys.by_table {
        for keys in keys.chunks(KEYS_AT_ONCE) {
            source
                .execute(sql::CAPTURE_AGAIN, &[&table, &spec.tenant_at_source, &keys])
                .await
                .map_err(failed)?;
        }
    }
    warn_without_daemon(source).await?;
    let deadline = Instant::now() + WAIT;
    wait_until_sequenced(source, deadline).await?;
    let ids = [destination.destination_id];
    let head = owe_sync(source, &ids).await.map_err(|error| unreadable(&error))?;
    match wait_until_reached(source, &ids, head, deadline).await?.first() {
        None => Ok(()),
        Some(row) => {
            let failure = Failure::new(
                Exit::SomeDestinationsFailed,
                format!("{} was not repaired in time", spec.label()),
            );
            Err(match row.get::<_, Option<&str>>("obstacle") {
                Some(obstacle) => failure.because(obstacle),
                None => failure.remedy(
                    "see that `offtake run` is running for this source; the keys stay owed",
                ),
            })
        }
    }
}
