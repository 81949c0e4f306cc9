//! What the registry reads and writes at the source.

use std::collections::HashMap;
use std::sync::Arc;

use offtake_postgres::{PooledConnection, SourcePool};
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{Client, Row, Transaction};

use super::{ById, Registered, Waiting};
use crate::destinations::DestinationSpec;
use crate::destinations::refusal::{Standing, Standings};
use crate::{Error, sql};

/// The transaction lock under which the registry is written.
const LOCK_KEY: i64 = 0x6f66_6674_616b_6503; // "offtake", 3

/// Destinations that one statement registers. A statement of so many takes some ten milliseconds.
pub(super) const REGISTERED_AT_ONCE: usize = 1000;

/// Where other processes have registered more destinations than this, a refresh looks at all.
const TOUCHED_MAX: i64 = 5000;

/// Begins a transaction that writes the registry: one replica at a time, because an uncommitted
/// registration of another one would be invisible here and would block this one.
pub(super) async fn begin(connection: &mut PooledConnection) -> Result<Transaction<'_>, Error> {
    let transaction = Client::transaction(connection).await.map_err(Error::source)?;
    let settings = "set local lock_timeout = '10s'; set local synchronous_commit = on";
    transaction.batch_execute(settings).await.map_err(Error::source)?;
    let locked = transaction.execute("select pg_advisory_xact_lock($1)", &[&LOCK_KEY]).await;
    locked.map_err(Error::source)?;
    Ok(transaction)
}

/// The destinations that any process has registered lately. None: so many, or so long ago, that it
/// is not known which.
pub(super) async fn touched(
    transaction: &Transaction<'_>,
    known: i64,
) -> Result<Option<Vec<i64>>, Error> {
    let parameters: [&(dyn ToSql + Sync); 2] = [&known, &TOUCHED_MAX];
    let row = transaction.query_one(sql::READ_REGISTRATIONS, &parameters).await;
    Ok(row.map_err(Error::source)?.get("destinations"))
}

/// The active destinations whose tenant and name are not among these.
pub(super) async fn unnamed(
    transaction: &Client,
    (tenants, names): (Vec<String>, Vec<String>),
) -> Result<Vec<i64>, Error> {
    let rows = transaction.query(sql::FIND_UNNAMED, &[&tenants, &names]).await;
    Ok(rows.map_err(Error::source)?.iter().map(|row| row.get("destination_id")).collect())
}

/// The ids of those that are registered already, and whether something is to be written of each.
pub(super) async fn find(
    transaction: &Client,
    given: &[Registered],
) -> Result<HashMap<i64, bool>, Error> {
    let mut found = HashMap::with_capacity(given.len());
    for some in given.chunks(REGISTERED_AT_ONCE) {
        let given = Json(some.iter().map(as_registered).collect::<Vec<_>>());
        let rows = transaction.query(sql::FIND_REGISTERED, &[&given]).await;
        let rows = rows.map_err(Error::source)?;
        let id = |row: &Row| -> (i64, bool) { (row.get("destination_id"), row.get("changes")) };
        found.extend(rows.iter().map(id));
    }
    Ok(found)
}

/// Locks the destinations that the transaction writes, all at once.
pub(super) async fn hold(transaction: &Client, destinations: &[i64]) -> Result<(), Error> {
    if !destinations.is_empty() {
        let held = transaction.execute(sql::HOLD_DESTINATIONS, &[&destinations]).await;
        held.map_err(Error::source)?;
    }
    Ok(())
}

/// Ends what is owed to destinations that are not named any more.
pub(super) async fn withdraw(
    transaction: &Client,
    gone: &[i64],
    unusable: Vec<(String, String)>,
) -> Result<(), Error> {
    if gone.is_empty() {
        return Ok(());
    }
    let unusable = unusable.into_iter().unzip();
    let done = offtake_requests::deactivate_destinations(transaction, gone, unusable).await;
    done.map_err(Error::source)
}

/// Writes the destinations into the source's registry. There may be many thousands, and others wait
/// for the lock. `differing`: those that are registered otherwise. Returns all with their ids, and
/// whether they stand as they were last left.
pub(super) async fn register(
    transaction: &Client,
    changed: Vec<Registered>,
    differing: &[i64],
) -> Result<Vec<(Registered, bool)>, Error> {
    let statement = transaction.prepare(sql::REGISTER_DESTINATIONS).await;
    let statement = statement.map_err(Error::source)?;
    let mut registered = Vec::with_capacity(changed.len());
    let mut changed = changed.into_iter().peekable();
    while changed.peek().is_some() {
        let some: Vec<Registered> = changed.by_ref().take(REGISTERED_AT_ONCE).collect();
        let given = Json(some.iter().map(as_registered).collect::<Vec<_>>());
        let rows =
            transaction.query(&statement, &[&given, &differing]).await.map_err(Error::source)?;
        let id = |row: &Row| {
            let registered = (row.get("destination_id"), row.get("stands"));
            ((row.get("tenant_id"), row.get("name")), registered)
        };
        let ids: HashMap<(String, String), (i64, bool)> = rows.iter().map(id).collect();
        registered.extend(some.into_iter().filter_map(|one| {
            let key = (one.spec.tenant_id.clone(), one.spec.name.clone());
            let (destination_id, stands) = *ids.get(&key)?;
            Some((Registered { destination_id, ..one }, stands))
        }));
    }
    Ok(registered)
}

/// One destination as [`sql::REGISTER_DESTINATIONS`] takes it.
fn as_registered(registered: &Registered) -> serde_json::Value {
    let Registered { spec, mappings, refused, .. } = registered;
    let place = spec.place.registration();
    serde_json::json!({
        "tenant_id": spec.tenant_id,
        "name": spec.name,
        "kind": place.kind.as_str(),
        "schema_name": place.schema,
        "host": place.host,
        "port": place.port,
        "database_name": place.database,
        "user_name": place.user,
        "shared": spec.shared,
        "mappings": mappings.iter().map(|m| m.name()).collect::<Vec<_>>(),
        "versions": mappings.iter().map(|m| m.version.as_str()).collect::<Vec<_>>(),
        "source_tables": mappings.iter().map(|m| m.source_table()).collect::<Vec<_>>(),
        "refused": refused,
        "source_tenant_id":
            (spec.tenant_at_source != spec.tenant_id).then_some(&spec.tenant_at_source),
    })
}

/// Writes which destination waits for which mapping.
pub(super) async fn write_waiting(
    client: &Client,
    pool: &SourcePool,
    known: &ById,
    waiting: &Waiting,
) -> Result<(), Error> {
    let rows = known.values().flat_map(|registered| {
        let received = waiting.iter().filter(|(mapping, _)| registered.spec.receives(mapping));
        received
            .map(|(mapping, why)| (registered.destination_id, mapping.as_str(), pool.storable(why)))
    });
    let (mut ids, mut mappings, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    for (id, mapping, why) in rows {
        ids.push(id);
        mappings.push(mapping);
        reasons.push(why);
    }
    let written = client.execute(sql::WRITE_WAITING_MAPPINGS, &[&ids, &mappings, &reasons]).await;
    written.map_err(Error::source).map(|_| ())
}

/// What the registry knows now of these destinations.
pub(super) async fn standings(
    registry: &Transaction<'_>,
    specs: impl Iterator<Item = &Arc<DestinationSpec>>,
) -> Result<Standings, tokio_postgres::Error> {
    let (tenants, names): (Vec<&str>, Vec<&str>) =
        specs.map(|spec| (&*spec.tenant_id, &*spec.name)).unzip();
    let rows = registry.query(sql::LIST_STANDINGS, &[&tenants, &names]).await?;
    let standing = |row: &Row| Standing {
        destination_id: row.get("destination_id"),
        host: row.get("host"),
        port: row.get("port"),
        database: row.get("database_name"),
        schema: row.get("schema_name"),
        shared: row.get("shared"),
        active: row.get("active"),
        accepted: row.get("accepted"),
        failing: row.get("failing"),
        mirrored: row.get("mirrored"),
    };
    Ok(rows.iter().map(|row| ((row.get("tenant_id"), row.get("name")), standing(row))).collect())
}
