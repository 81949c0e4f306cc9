//! Changes that were not captured, or not for every mapping, because triggers were missing or were
//! written for other mappings: finding out whose copies lack them, and noting it at the source, so
//! that these copies are made again in place.
//!
//! `init` and the daemon do the same before and after they write triggers.

use std::collections::BTreeSet;
use std::sync::Arc;

use offtake_capture::Drift;
use offtake_mapping::{Mapping, MappingSet, ResolvedMapping, TableName};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::outcome::Failure;
use crate::sql;

/// Whether any destination has copies that lack the changes which these drifts let go by.
pub(crate) async fn copied_before(
    source: &Client,
    set: &MappingSet,
    drifts: &[Drift],
) -> Result<bool, Failure> {
    let tables: BTreeSet<&str> =
        drifts.iter().filter(|d| d.loses_changes()).map(|d| d.source_table.as_str()).collect();
    copied(source, set, &tables.into_iter().collect::<Vec<_>>()).await
}

/// Whether any destination has rows that come from these tables. Where none has, nothing is lost:
/// the initial copy will read the tables as a whole.
pub(crate) async fn copied(
    source: &Client,
    set: &MappingSet,
    tables: &[&str],
) -> Result<bool, Failure> {
    let mappings: Vec<&str> = tables
        .iter()
        .flat_map(|table| set.driven_by(table))
        .map(|mapping| mapping.name())
        .collect();
    let row = source
        .query_one(sql::PROBE_DESTINATIONS_OF_TABLES, &[&tables, &mappings])
        .await
        .map_err(unusable)?;
    let (driven, any_destination): (bool, bool) = (row.get("copied"), row.get("any_destination"));
    // The registry names the tables that drive mappings, and not those that mappings only depend
    // on. A copy may have rows from such a table as soon as there is any destination.
    let only_depended_on = tables.iter().any(|table| set.driven_by(table).next().is_none());
    Ok(driven || (any_destination && only_depended_on))
}

/// Takes the mappings that are not in the set out of the registry, before the triggers stop
/// capturing for them. A mapping that comes back later is then known to have been away.
pub(crate) async fn let_others_go(source: &Client, set: &MappingSet) -> Result<(), Failure> {
    let names: Vec<&str> = set.mappings().iter().map(|mapping| mapping.name()).collect();
    source.execute(sql::LET_MAPPINGS_GO, &[&names]).await.map_err(unusable)?;
    Ok(())
}

/// Notes the mappings for which a capture function, rewritten for other mappings, did not capture
/// everything. Their copies are made again, in place.
///
/// Only mappings that have copies made for the same needs are noted: before such a copy began, the
/// function captured what it needs, so changes may be missing since then. Copies made for other
/// needs belong to another version of the mapping, and are made again anyway.
///
/// Call it before the functions are written, in case the process crashes while it writes them; and
/// again afterwards, because more changes may have been missed until then.
pub(crate) async fn note_overlooked(
    source: &Client,
    missed: &[(String, Arc<ResolvedMapping>)],
) -> Result<(), Failure> {
    if missed.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missed.iter().map(|(_, mapping)| mapping.name()).collect();
    let needs: Vec<String> = missed.iter().map(|(_, mapping)| mapping.need()).collect();
    let noted = source.query(sql::NOTE_OVERLOOKED, &[&names, &needs]).await.map_err(unusable)?;
    let new = noted.iter().filter(|row| row.get("new"));
    for mapping in new.map(|row| row.get::<_, &str>("mapping")) {
        let table = missed.iter().find(|(_, m)| m.name() == mapping).map(|(table, _)| table);
        tracing::warn!(
            event = "mapping_overlooked",
            mapping,
            table,
            "a capture function was rewritten for other mappings than {mapping}; {mapping} is \
             copied again, in place, once no daemon rewrites it any more"
        );
    }
    Ok(())
}

/// Remembers which of the tables that mappings name are unlogged. Asked before the mappings are
/// resolved, because then such a table is refused.
pub(crate) async fn note_unlogged(source: &Client, mappings: &[Mapping]) -> Result<(), Failure> {
    let tables: BTreeSet<&TableName> = mappings.iter().flat_map(Mapping::tables).collect();
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let relations: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let values: [&(dyn ToSql + Sync); 3] = [&names, &schemas, &relations];
    source.execute(sql::NOTE_UNLOGGED_TABLES, &values).await.map_err(unusable)?;
    Ok(())
}

/// Notes a change of the whole table for each table that was unlogged, and of which resolving the
/// mappings has just said that it is logged.
pub(crate) async fn release_unlogged(source: &Client, set: &MappingSet) -> Result<(), Failure> {
    let tables: Vec<String> = set.captures().map(|capture| capture.table.to_string()).collect();
    let logged = source.query(sql::RELEASE_UNLOGGED_TABLES, &[&tables]).await.map_err(unusable)?;
    for table in logged.iter().map(|row| row.get::<_, &str>(0)) {
        tracing::warn!(
            event = "capture_gap_noted",
            table,
            "{table} was unlogged for a while; its mappings are copied again, in place"
        );
    }
    Ok(())
}

fn unusable(error: tokio_postgres::Error) -> Failure {
    Failure::of_source("cannot use the source", &error.into())
}
