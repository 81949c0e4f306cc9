//! What differs is repaired by the way that every change goes: each key is captured once more, as
//! if its row had changed. It gets a sequence id, and a worker applies what the source has now, in
//! order with all other changes. Nothing here writes to a destination.

use std::collections::BTreeMap;

use offtake_mapping::{KeyColumn, ResolvedMapping};
use serde_json::{Map, Value};
use tokio_postgres::Client;

use super::Difference;
use crate::sql;

/// At most this many keys of one mapping are repaired one by one, which takes some 20 MB here. More
/// are better copied again.
pub const KEYS_MAX: usize = 100_000;

/// Keys per statement, so that no transaction captures more keys than a large one of an
/// application.
const KEYS_AT_ONCE: usize = 5_000;

/// The keys to capture again, by source table.
#[derive(Default)]
pub struct Keys {
    by_table: BTreeMap<String, Vec<Value>>,
}

impl Keys {
    pub fn len(&self) -> usize {
        self.by_table.values().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn add(&mut self, mapping: &ResolvedMapping, differences: &[Difference]) {
        let keys = differences.iter().map(|difference| row_key(mapping, &difference.key));
        self.by_table.entry(mapping.source_table()).or_default().extend(keys);
    }

    /// Captures them at the source for this tenant, as the source prints it.
    pub async fn capture(
        &self,
        source: &Client,
        tenant_at_source: &str,
    ) -> Result<(), tokio_postgres::Error> {
        for (table, keys) in &self.by_table {
            for keys in keys.chunks(KEYS_AT_ONCE) {
                source.execute(sql::CAPTURE_AGAIN, &[table, &tenant_at_source, &keys]).await?;
            }
        }
        Ok(())
    }
}

/// A key of the destination's table, as the capture triggers write it: with the names of the source
/// table's columns.
pub(crate) fn row_key(mapping: &ResolvedMapping, key: &Map<String, Value>) -> Value {
    let column = |k: &KeyColumn| {
        let value = key.get(k.query_column.as_str()).cloned().unwrap_or(Value::Null);
        (k.source_column.as_str().to_owned(), value)
    };
    Value::Object(mapping.key.iter().map(column).collect())
}
