//! What `_offtake_state` says of several tenants at once; see `state.rs` for one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use offtake_mapping::{Identifier, ResolvedMapping};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::frame::Frame;
use super::state::{Locked, cursor, names_and_tables, served_by, table_sql};
use crate::cursors::{Cursors, Identities};
use crate::ownership::{Served, Visit};
use crate::sql;

/// The cursors of several tenants without a lock; the state table is there.
pub(super) async fn read(
    client: &Client,
    schema: &Identifier,
    tenant_ids: &[&str],
) -> Result<HashMap<String, Cursors>, Error> {
    let statement = sql::READ_STATES_OF_TENANTS.replace("{state}", &table_sql(schema));
    let rows = client.query_typed(&statement, &[(&tenant_ids, Type::TEXT_ARRAY)]).await?;
    let mut all = HashMap::<String, Cursors>::new();
    for row in &rows {
        let of_tenant = all.entry(row.try_get("tenant_id")?).or_default();
        of_tenant.insert(row.try_get("mapping")?, cursor(row)?);
    }
    Ok(all)
}

/// Which source serves each of several tenants. One whom none serves, or of whom nothing that we
/// wrote is there, is missing.
pub(super) async fn served(
    client: &Client,
    schema: &Identifier,
    tenant_ids: &[&str],
) -> Result<HashMap<String, Served>, Error> {
    let statement = sql::READ_SERVING_OF_TENANTS.replace("{state}", &table_sql(schema));
    let rows = client.query_typed(&statement, &[(&tenant_ids, Type::TEXT_ARRAY)]).await?;
    let mut all = HashMap::new();
    for row in &rows {
        if let Some(served) = served_by(row)? {
            all.insert(row.try_get("tenant_id")?, served);
        }
    }
    Ok(all)
}

/// Writes the first cursors of several tenants, and the source that serves each from now on; all
/// mappings begin at one place of the log. Those of whom something is there already are left out of
/// the answer.
pub(super) async fn begin(
    client: &Client,
    schema: &Identifier,
    tenants: &[(&str, Option<&Visit>)],
    cursors: &Cursors,
) -> Result<HashMap<String, Cursors>, Error> {
    let ids: Vec<&str> = tenants.iter().map(|(tenant, _)| *tenant).collect();
    let visits = || tenants.iter().map(|(_, visit)| *visit);
    let sources: Vec<Option<&str>> = visits().map(|of| of.map(|v| v.source.as_str())).collect();
    let identities: Vec<Option<String>> = visits().map(|of| of.map(identity_json)).collect();
    let served: [(&(dyn ToSql + Sync), Type); 2] =
        [(&sources, Type::TEXT_ARRAY), (&identities, Type::TEXT_ARRAY)];
    first(sql::BEGIN_STATES_OF_TENANTS, (client, schema), (&ids, &served), cursors).await
}

/// Writes the first cursors of tenants of whom something is there already, and locked by the caller.
pub(super) async fn reset(
    client: &Client,
    schema: &Identifier,
    tenant_ids: &[&str],
    cursors: &Cursors,
) -> Result<HashMap<String, Cursors>, Error> {
    first(sql::RESET_STATES_OF_TENANTS, (client, schema), (tenant_ids, &[]), cursors).await
}

fn identity_json(visit: &Visit) -> String {
    serde_json::json!(visit.identity).to_string()
}

async fn first(
    file: &str,
    (client, schema): (&Client, &Identifier),
    (tenant_ids, more): (&[&str], &[(&(dyn ToSql + Sync), Type)]),
    cursors: &Cursors,
) -> Result<HashMap<String, Cursors>, Error> {
    let Some(first) = cursors.values().next().filter(|_| !tenant_ids.is_empty()) else {
        return Ok(HashMap::new());
    };
    let statement = file.replace("{state}", &table_sql(schema));
    let names: Vec<&String> = cursors.keys().collect();
    let versions: Vec<&str> = cursors.values().map(|cursor| cursor.version.as_str()).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
        (&tenant_ids, Type::TEXT_ARRAY),
        (&names, Type::TEXT_ARRAY),
        (&versions, Type::TEXT_ARRAY),
        (&first.sequence_id, Type::INT8),
        (&first.epoch, Type::TEXT),
    ];
    let parameters: Vec<_> = parameters.into_iter().chain(more.iter().cloned()).collect();
    let rows = client.query_typed(&statement, &parameters).await?;
    let mut all = HashMap::<String, Cursors>::new();
    for row in &rows {
        let mapping: String = row.try_get("mapping")?;
        let Some(mut cursor) = cursors.get(&mapping).cloned() else { continue };
        cursor.written = row.try_get("written")?;
        all.entry(row.try_get("tenant_id")?).or_default().insert(mapping, cursor);
    }
    all.retain(|_, of_tenant| of_tenant.len() == cursors.len());
    Ok(all)
}

/// Names the source that serves several tenants; the caller holds the locks of their rows.
pub(super) async fn serve(
    client: &Client,
    schema: &Identifier,
    visits: &[(&str, &Visit)],
    cursors: &mut [(&str, &mut Cursors)],
) -> Result<(), Error> {
    if visits.is_empty() {
        return Ok(());
    }
    let statement = sql::WRITE_SERVING_OF_TENANTS.replace("{state}", &table_sql(schema));
    let tenants: Vec<&str> = visits.iter().map(|(tenant, _)| *tenant).collect();
    let sources: Vec<&str> = visits.iter().map(|(_, visit)| visit.source.as_str()).collect();
    let identities: Vec<String> = visits.iter().map(|(_, visit)| identity_json(visit)).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&tenants, Type::TEXT_ARRAY),
        (&sources, Type::TEXT_ARRAY),
        (&identities, Type::TEXT_ARRAY),
    ];
    note_written(&client.query_typed(&statement, &parameters).await?, cursors)
}

/// Notes in the cursors of several tenants that they were written.
fn note_written(rows: &[Row], cursors: &mut [(&str, &mut Cursors)]) -> Result<(), Error> {
    let places: HashMap<String, usize> =
        cursors.iter().enumerate().map(|(at, (tenant, _))| ((*tenant).to_owned(), at)).collect();
    for row in rows {
        let tenant: &str = row.try_get("tenant_id")?;
        let Some((_, of_tenant)) = places.get(tenant).and_then(|at| cursors.get_mut(*at)) else {
            continue;
        };
        if let Some(cursor) = of_tenant.get_mut(row.try_get::<_, &str>("mapping")?) {
            cursor.written = row.try_get("written")?;
        }
    }
    Ok(())
}

/// Reads the cursors of several tenants and locks them until the transaction ends, without waiting
/// for what another worker holds: that is left out.
pub(super) async fn lock(
    client: &Client,
    frame: &Frame,
    schema: &Identifier,
    tenant_ids: &[&str],
    mappings: &[Arc<ResolvedMapping>],
) -> Result<HashMap<String, Locked>, Error> {
    let (names, tables) = names_and_tables(schema, mappings);
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&tenant_ids, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY), (&tables, Type::TEXT_ARRAY)];
    let rows = frame.query(client, schema, sql::LOCK_STATES_OF_TENANTS, &parameters).await?;
    let mut all = HashMap::new();
    for row in &rows {
        let locked = all.entry(row.try_get("tenant_id")?).or_insert(Locked {
            cursors: Cursors::new(),
            identities: Identities::new(),
            altering: BTreeSet::new(),
            backend: Some(row.try_get("backend")?),
            converts: row.try_get("converts")?,
        });
        locked.add(row)?;
    }
    Ok(all)
}

/// Writes the cursors of several tenants whose copies are complete, and notes in them that they were
/// written; the caller holds their locks. Those with a visit are told again who serves them. `then`
/// is sent right behind.
pub(super) async fn write(
    client: &Client,
    frame: &Frame,
    schema: &Identifier,
    (cursors, visits): (&mut [(&str, &mut Cursors)], &[Option<&Visit>]),
    then: &str,
) -> Result<(), Error> {
    let (mut tenants, mut mappings, mut sequence_ids) = (Vec::new(), Vec::new(), Vec::new());
    let (mut epochs, mut versions) = (Vec::new(), Vec::new());
    let (mut sources, mut identities) = (Vec::new(), Vec::new());
    for ((tenant, of_tenant), visit) in cursors.iter().zip(visits) {
        let identity = visit.map(identity_json);
        for (mapping, cursor) in of_tenant.iter() {
            sources.push(visit.map(|visit| visit.source.as_str()));
            identities.push(identity.clone());
            tenants.push(*tenant);
            mappings.push(mapping.as_str());
            sequence_ids.push(cursor.sequence_id);
            epochs.push(cursor.epoch.as_str());
            versions.push(cursor.version.as_str());
        }
    }
    let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
        (&tenants, Type::TEXT_ARRAY),
        (&mappings, Type::TEXT_ARRAY),
        (&sequence_ids, Type::INT8_ARRAY),
        (&epochs, Type::TEXT_ARRAY),
        (&versions, Type::TEXT_ARRAY),
        (&sources, Type::TEXT_ARRAY),
        (&identities, Type::TEXT_ARRAY),
    ];
    let file = sql::MOVE_CURSORS_OF_TENANTS;
    let rows = frame.query_then(client, schema, file, &parameters, Some(then)).await?;
    note_written(&rows, cursors)
}
