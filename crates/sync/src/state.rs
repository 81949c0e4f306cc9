//! A destination's cursors: what its `_offtake_state` says for one tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use offtake_mapping::{Identifier, ResolvedMapping};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::destinations::DestinationSpec;
use crate::sql;

/// The name of the state table in a destination's schema; part of the contract with tenants.
pub const STATE_TABLE: &str = "_offtake_state";

/// One mapping's cursor in one destination. Compared as a whole: any other value means that another
/// worker was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Every change up to this sequence id is applied to the keys that are copied already.
    pub sequence_id: i64,
    /// The initial copy, or the copy anew, is complete.
    pub backfilled: bool,
    /// While it is not: the last key copied, as text in key order; None: nothing yet.
    pub backfill_key: Option<Vec<String>>,
    /// The history of the source in which `sequence_id` means anything.
    pub epoch: String,
    /// The mapping's version whose rows these are.
    pub version: String,
}

impl Cursor {
    /// A copy that begins now, over whatever is there.
    pub fn beginning(sequence_id: i64, epoch: &str, version: &str) -> Self {
        Self {
            sequence_id,
            backfilled: false,
            backfill_key: None,
            epoch: epoch.to_owned(),
            version: version.to_owned(),
        }
    }
}

/// All cursors of one tenant in one destination, by mapping.
pub type Cursors = BTreeMap<String, Cursor>;

pub(crate) fn table_sql(schema: &Identifier) -> String {
    format!("{}.\"{STATE_TABLE}\"", schema.sql())
}

/// What a mapping's table is, by mapping: changes when the table is truncated, rewritten or
/// replaced.
pub(crate) type Identities = BTreeMap<String, String>;

/// The tenant's cursors, locked.
pub(crate) struct Locked {
    pub(crate) cursors: Cursors,
    pub(crate) identities: Identities,
    /// The server process that runs the transaction; None when there is no cursor yet.
    pub(crate) backend: Option<i32>,
}

/// Reads the tenant's cursors and locks them until the transaction ends.
pub(crate) async fn lock(
    client: &Client,
    spec: &DestinationSpec,
    mappings: &[Arc<ResolvedMapping>],
) -> Result<Locked, tokio_postgres::Error> {
    let statement = sql::LOCK_STATES.replace("{state}", &table_sql(&spec.schema));
    let names: Vec<&str> = mappings.iter().map(|m| m.name()).collect();
    let tables: Vec<String> = mappings
        .iter()
        .map(|m| format!("{}.{}", spec.schema.sql(), m.definition.target.table.sql()))
        .collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&spec.tenant_id, Type::TEXT), (&names, Type::TEXT_ARRAY), (&tables, Type::TEXT_ARRAY)];
    let rows = client.query_typed(&statement, &parameters).await?;
    let identity = |row: &Row| {
        Some((row.get::<_, String>("mapping"), row.get::<_, Option<String>>("identity")?))
    };
    Ok(Locked {
        cursors: rows.iter().map(|row| (row.get::<_, String>("mapping"), cursor(row))).collect(),
        identities: rows.iter().filter_map(identity).collect(),
        backend: rows.first().map(|row| row.get("backend")),
    })
}

/// A cursor of another tenant in this schema.
pub(crate) struct Other {
    pub(crate) tenant_id: String,
    pub(crate) mapping: String,
    pub(crate) sequence_id: i64,
    /// Of its table, where that is one of our own mappings'.
    pub(crate) oid: Option<String>,
    /// Somebody moved it within the last minutes.
    pub(crate) lately: bool,
}

/// Which cursors other tenants have, or had, in this schema.
pub(crate) async fn others(
    client: &Client,
    spec: &DestinationSpec,
    mappings: &[Arc<ResolvedMapping>],
) -> Result<Vec<Other>, tokio_postgres::Error> {
    let statement = sql::LIST_OTHER_TENANTS.replace("{state}", &table_sql(&spec.schema));
    let names: Vec<&str> = mappings.iter().map(|m| m.name()).collect();
    let tables: Vec<String> = mappings
        .iter()
        .map(|m| format!("{}.{}", spec.schema.sql(), m.definition.target.table.sql()))
        .collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&spec.tenant_id, Type::TEXT), (&names, Type::TEXT_ARRAY), (&tables, Type::TEXT_ARRAY)];
    let rows = client.query_typed(&statement, &parameters).await?;
    let other = |row: &Row| Other {
        tenant_id: row.get("tenant_id"),
        mapping: row.get("mapping"),
        sequence_id: row.get("sequence_id"),
        oid: row.get("oid"),
        lately: row.get("lately"),
    };
    Ok(rows.iter().map(other).collect())
}

fn cursor(row: &Row) -> Cursor {
    // A key that is not what we wrote is input from a stranger: without one the copy begins anew,
    // which is always right.
    let backfill_key = row
        .get::<_, Option<String>>("backfill_key")
        .and_then(|json| serde_json::from_str(&json).ok());
    Cursor {
        sequence_id: row.get("sequence_id"),
        backfilled: row.get("backfilled"),
        backfill_key,
        epoch: row.get("epoch"),
        version: row.get("version"),
    }
}

/// Writes cursors; the caller holds their lock.
pub(crate) async fn write(
    client: &Client,
    schema: &Identifier,
    tenant_id: &str,
    cursors: &Cursors,
) -> Result<(), tokio_postgres::Error> {
    let statement = sql::MOVE_CURSORS.replace("{state}", &table_sql(schema));
    let keys: Vec<Option<String>> = cursors
        .values()
        .map(|c| c.backfill_key.as_ref().map(|key| serde_json::json!(key).to_string()))
        .collect();
    client
        .query_typed(
            &statement,
            &[
                (&tenant_id, Type::TEXT),
                (&cursors.keys().collect::<Vec<_>>(), Type::TEXT_ARRAY),
                (&cursors.values().map(|c| c.sequence_id).collect::<Vec<_>>(), Type::INT8_ARRAY),
                (&cursors.values().map(|c| c.backfilled).collect::<Vec<_>>(), Type::BOOL_ARRAY),
                (&keys, Type::TEXT_ARRAY),
                (&cursors.values().map(|c| c.epoch.as_str()).collect::<Vec<_>>(), Type::TEXT_ARRAY),
                (
                    &cursors.values().map(|c| c.version.as_str()).collect::<Vec<_>>(),
                    Type::TEXT_ARRAY,
                ),
            ],
        )
        .await?;
    Ok(())
}
