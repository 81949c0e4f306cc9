//! A batch on its way into a destination.

use std::sync::Arc;

use offtake_mapping::ResolvedMapping;
use offtake_mapping::compose::postgres::{ActingKey, UpdatingKey};
use offtake_postgres::SourcePool;
use offtake_reading::{FailedRow, MappingFault, Part};
use serde_json::Value;

use super::DestinationSpec;
use crate::Error;
use crate::cursors::{Cursors, Identities};
use crate::record::{self, Refusal};

/// Mappings that failed by themselves.
pub(crate) type Faults = Vec<(String, MappingFault)>;

/// The rows of one mapping refer to those of another, or of itself, by a foreign key of the
/// destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) child: String,
    pub(crate) parent: String,
    /// All such constraints between the two can be checked at the end of a transaction.
    pub(crate) deferrable: bool,
    /// Those of them that act when a row of the parent is deleted.
    pub(crate) acting: Vec<ActingKey>,
    /// Those of them that act when a column of the parent that they refer to changes.
    pub(crate) updating: Vec<UpdatingKey>,
}

/// One tenant's share of a write.
pub(crate) struct TenantWrite<'a> {
    pub(crate) tenant_id: &'a str,
    pub(crate) tenant_at_source: &'a str,
    pub(crate) mappings: &'a [Arc<ResolvedMapping>],
    /// Parents first.
    pub(crate) parts: &'a [Part],
    pub(crate) references: &'a [Reference],
    /// The cursors that the parts were read for, and the tables that they were read for: the fence.
    pub(crate) expected: &'a Cursors,
    pub(crate) identities: &'a Identities,
    /// Where the cursors stand once the parts are applied.
    pub(crate) next: &'a Cursors,
    /// What else happens in the same transaction, unless a mapping fails.
    pub(crate) also: Option<&'a Also<'a>>,
}

/// Statements of the destination's dialect, given the rows that do not arrive. They are of one line
/// each, and return no rows.
pub(crate) type Also<'a> = dyn Fn(&[FailedRow]) -> Vec<String> + Sync + 'a;

/// What became of a tenant's share.
pub(crate) struct Written {
    /// One per part; None: its mapping failed.
    pub(crate) outcomes: Vec<Option<Applied>>,
    pub(crate) faults: Faults,
    /// The cursors that stand there now: a mapping that failed keeps its old one.
    pub(crate) cursors: Cursors,
    /// It was done, but so late that a larger one may not be.
    pub(crate) slow: bool,
}

/// What one mapping's share of a batch did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Rows inserted or changed.
    pub(crate) upserted: u64,
    pub(crate) deleted: u64,
    pub(crate) refused: Vec<FailedRow>,
}

/// Where rows go that a destination does not take.
pub(crate) enum Aside<'a> {
    /// Into the source's quarantine.
    Quarantine { pool: &'a SourcePool, destination_id: i64, spec: &'a DestinationSpec },
    /// Nowhere else: what the write [does besides](TenantWrite::also) notes them.
    Noted,
}

impl Aside<'_> {
    /// Quarantines rows. To be awaited before the commit that leaves them out: after a crash in
    /// between, a row would otherwise be neither in the copy nor in quarantine.
    pub(crate) async fn set(
        &self,
        mapping: &ResolvedMapping,
        refused: &[FailedRow],
    ) -> Result<(), Error> {
        let Self::Quarantine { pool, destination_id, spec } = self else { return Ok(()) };
        if refused.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            event = "rows_quarantined",
            tenant = spec.tenant_id,
            destination = spec.name,
            mapping = mapping.name(),
            rows = refused.len(),
            sqlstate = refused[0].sqlstate,
            "{} rows of mapping {} do not arrive at {}; see `offtake quarantine list`",
            refused.len(),
            mapping.name(),
            spec.label()
        );
        let rows: Vec<Refusal> = refused
            .iter()
            .map(|row| Refusal {
                row_key: row_key(mapping, &row.key),
                sqlstate: row.sqlstate.clone(),
                error: row.error.clone(),
            })
            .collect();
        record::quarantine(pool, *destination_id, mapping.name(), &rows).await
    }
}

/// The rows of a write that do not arrive: those that the source cannot compute, and those that the
/// destination refuses.
pub(crate) fn left_out(parts: &[Part], outcomes: &[Option<Applied>]) -> Vec<FailedRow> {
    let refused = outcomes.iter().flatten().flat_map(|applied| &applied.refused);
    parts.iter().flat_map(|part| &part.failed).chain(refused).cloned().collect()
}

/// A key as `row_key` columns hold it.
pub(crate) fn row_key(mapping: &ResolvedMapping, key: &[String]) -> Value {
    mapping
        .key
        .iter()
        .zip(key)
        .map(|(k, value)| (k.source_column.as_str().to_owned(), Value::String(value.clone())))
        .collect()
}
