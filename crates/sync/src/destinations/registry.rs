//! Which destinations there are. The source's table `destination` has them for all daemons; their
//! secrets are in memory only.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::SourcePool;
use tokio::sync::{Notify, watch};
use tokio_postgres::types::Json;
use tokio_postgres::{Client, Row};

use super::DestinationSpec;
use super::refusal::{Standing, Standings, refusals};
use crate::{Error, sql};

/// The transaction lock under which the registry is written.
const LOCK_KEY: i64 = 0x6f66_6674_616b_6503; // "offtake", 3

/// Destinations that one statement registers. A statement of so many takes some ten milliseconds.
const REGISTERED_AT_ONCE: usize = 1000;

/// A destination that the source's registry knows.
#[derive(Debug)]
pub struct Registered {
    pub destination_id: i64,
    pub spec: DestinationSpec,
    /// Its mappings, in the order in which they are applied.
    pub mappings: Vec<Arc<ResolvedMapping>>,
}

/// Mappings that cannot be kept as they should be, each with the reason that the status tells.
pub type Waiting = BTreeMap<String, String>;

/// Destinations by id. A refresh replaces the whole map.
pub type Known = Arc<HashMap<i64, Arc<Registered>>>;

/// All destinations of this process; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    pool: SourcePool,
    mappings: watch::Receiver<Arc<MappingSet>>,
    /// Wakes the engine when something is owed to a new destination.
    wakes: Arc<Notify>,
    known: Arc<RwLock<Known>>,
    /// Written from before a refresh is committed until it is known.
    refreshing: Arc<tokio::sync::RwLock<()>>,
}

impl Registry {
    pub fn new(
        pool: SourcePool,
        mappings: watch::Receiver<Arc<MappingSet>>,
        wakes: Arc<Notify>,
    ) -> Self {
        Self { pool, mappings, wakes, known: Arc::default(), refreshing: Arc::default() }
    }

    /// The destination with that id, if this process knows it.
    pub fn get(&self, destination_id: i64) -> Option<Arc<Registered>> {
        self.all().get(&destination_id).cloned()
    }

    /// Every destination, by id.
    pub fn all(&self) -> Known {
        match self.known.read() {
            Ok(known) => known.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Makes the registry hold exactly these, with the mapping set of now. Called at start, and
    /// whenever the configuration, the destinations query's result or the mapping set may have
    /// changed.
    ///
    /// A destination that is new, moved, or has other mappings is owed a sync at once. One that is
    /// no longer named is owed nothing more, and the engine closes its connection. The mappings in
    /// `waiting` are told in the status of every destination that should have them, whether they
    /// are in the set or not.
    pub async fn refresh(
        &self,
        specs: Vec<DestinationSpec>,
        waiting: &Waiting,
    ) -> Result<(), Error> {
        let set = self.mappings.borrow().clone();
        let before = self.all();
        let mut connection = self.pool.get().await.map_err(Error::Source)?;
        let transaction = connection.transaction().await.map_err(Error::source)?;
        // One replica at a time: an uncommitted registration of another one would be invisible here
        // and would block this one.
        transaction
            .batch_execute("set local lock_timeout = '10s'; set local synchronous_commit = on")
            .await
            .map_err(Error::source)?;
        transaction
            .execute("select pg_advisory_xact_lock($1)", &[&LOCK_KEY])
            .await
            .map_err(Error::source)?;
        let standings = standings(&transaction).await.map_err(Error::source)?;
        let refusals = refusals(&specs, &set, waiting, &standings);
        let mut known = HashMap::new();
        let mut owed = Vec::new();
        let refused =
            |index: &usize| refusals.get(index).map(|why| self.pool.storable(why).into_owned());
        let refusals: Vec<Option<String>> = (0..specs.len()).map(|at| refused(&at)).collect();
        for (registered, refused) in register(transaction.client(), specs, &set, refusals).await? {
            let destination_id = registered.destination_id;
            let unchanged = before.get(&destination_id).is_some_and(|old| registered.is_as(old));
            match refused {
                Some(why) if !unchanged => tracing::warn!(
                    event = "destination_refused",
                    tenant = registered.spec.tenant_id,
                    destination = registered.spec.name,
                    "{why}"
                ),
                None if !unchanged => owed.push(destination_id),
                _ => {}
            }
            known.insert(destination_id, Arc::new(registered));
        }
        write_waiting(transaction.client(), &self.pool, &known, waiting).await?;
        let ids: Vec<i64> = known.keys().copied().collect();
        offtake_requests::deactivate_destinations(transaction.client(), &ids)
            .await
            .map_err(Error::source)?;
        if !owed.is_empty() {
            offtake_requests::owe_registered(transaction.client(), &owed)
                .await
                .map_err(Error::source)?;
        }
        let refreshing = self.refreshing.write().await;
        transaction.commit().await.map_err(Error::source)?;
        match self.known.write() {
            Ok(mut current) => *current = Arc::new(known),
            Err(poisoned) => *poisoned.into_inner() = Arc::new(known),
        }
        drop(refreshing);
        self.wakes.notify_one();
        Ok(())
    }

    /// Which of the candidates is served now, by its place in the list. They have one tenant and one
    /// name. None: it is not served, or the registry cannot tell the candidates apart.
    pub async fn served(&self, candidates: &[DestinationSpec]) -> Result<Option<usize>, Error> {
        let Some(first) = candidates.first() else { return Ok(None) };
        let is_it = |spec: &DestinationSpec| {
            (&spec.tenant_id, &spec.name) == (&first.tenant_id, &first.name)
        };
        // This process knows the whole URL and the list of mappings.
        if let Some(known) = self.all().values().find(|known| is_it(&known.spec)) {
            let same = |spec: &DestinationSpec| {
                spec.place.same_as(&known.spec.place)
                    && spec.mappings == known.spec.mappings
                    && spec.shared == known.spec.shared
            };
            if let Some(at) = candidates.iter().position(same) {
                return Ok(Some(at));
            }
        }
        let connection = self.pool.get().await.map_err(Error::Source)?;
        let parameters = (vec![&first.tenant_id], vec![&first.name]);
        let rows = connection
            .query(sql::READ_SERVED_PLACES, &[&parameters.0, &parameters.1])
            .await
            .map_err(Error::source)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let same = |spec: &DestinationSpec| {
            let place = spec.place.registration();
            row.get::<_, &str>("schema_name") == place.schema
                && row.get::<_, &str>("host") == place.host
                && row.get::<_, i32>("port") == place.port
                && row.get::<_, &str>("database_name") == place.database
                && row.get::<_, &str>("user_name") == place.user
                && row.get::<_, bool>("shared") == spec.shared
        };
        let mut alike = candidates.iter().enumerate().filter(|(_, spec)| same(spec));
        let found = alike.next().map(|(at, _)| at);
        Ok(found.filter(|_| alike.next().is_none()))
    }

    /// A request was completed for a destination as it was when the work began. If it is another
    /// one now, or has other mappings, the sync that a refresh owed it was completed unserved: it
    /// is owed again.
    pub(crate) async fn owe_if_replaced(&self, served: &Registered) -> Result<(), Error> {
        // A refresh that owed it before the request was completed is known from here on.
        drop(self.refreshing.read().await);
        let id = served.destination_id;
        if self.get(id).is_none_or(|now| now.is_as(served)) {
            return Ok(());
        }
        let connection = self.pool.get().await.map_err(Error::Source)?;
        offtake_requests::owe_registered(&connection, &[id]).await.map_err(Error::source)?;
        self.wakes.notify_one();
        Ok(())
    }
}

impl Registered {
    /// Whether it writes to the same place, and the same versions of the same mappings.
    fn is_as(&self, old: &Self) -> bool {
        let versions =
            |of: &Self| of.mappings.iter().map(|m| m.version.clone()).collect::<Vec<_>>();
        old.spec.place.same_as(&self.spec.place)
            && old.spec.tenant_at_source == self.spec.tenant_at_source
            && versions(old) == versions(self)
    }
}

/// Writes the destinations into the source's registry, each with why it is refused. There may be
/// many thousands, and others wait for the lock.
async fn register(
    transaction: &Client,
    specs: Vec<DestinationSpec>,
    set: &MappingSet,
    refusals: Vec<Option<String>>,
) -> Result<Vec<(Registered, Option<String>)>, Error> {
    let statement = transaction.prepare(sql::REGISTER_DESTINATIONS).await;
    let statement = statement.map_err(Error::source)?;
    let mut ids: HashMap<(String, String), i64> = HashMap::with_capacity(specs.len());
    for (specs, refusals) in
        specs.chunks(REGISTERED_AT_ONCE).zip(refusals.chunks(REGISTERED_AT_ONCE))
    {
        let given = specs.iter().zip(refusals).map(|(spec, why)| as_registered(spec, set, why));
        let given = Json(given.collect::<Vec<_>>());
        let rows = transaction.query(&statement, &[&given]).await.map_err(Error::source)?;
        let id = |row: &Row| ((row.get("tenant_id"), row.get("name")), row.get("destination_id"));
        ids.extend(rows.iter().map(id));
    }
    let registered = |(spec, refused): (DestinationSpec, Option<String>)| {
        let destination_id = ids.remove(&(spec.tenant_id.clone(), spec.name.clone()))?;
        let mappings = spec.received(set).cloned().collect();
        Some((Registered { destination_id, spec, mappings }, refused))
    };
    Ok(specs.into_iter().zip(refusals).filter_map(registered).collect())
}

/// One destination as [`sql::REGISTER_DESTINATIONS`] takes it.
fn as_registered(
    spec: &DestinationSpec,
    set: &MappingSet,
    refused: &Option<String>,
) -> serde_json::Value {
    let place = spec.place.registration();
    let mappings: Vec<_> = spec.received(set).collect();
    serde_json::json!({
        "tenant_id": spec.tenant_id,
        "name": spec.name,
        "schema_name": place.schema,
        "host": place.host,
        "port": place.port,
        "database_name": place.database,
        "user_name": place.user,
        "shared": spec.shared,
        "mappings": mappings.iter().map(|m| m.name()).collect::<Vec<_>>(),
        "source_tables": mappings.iter().map(|m| m.source_table()).collect::<Vec<_>>(),
        "refused": refused,
        "source_tenant_id":
            (spec.tenant_at_source != spec.tenant_id).then_some(&spec.tenant_at_source),
    })
}

/// Writes which destination waits for which mapping.
async fn write_waiting(
    client: &Client,
    pool: &SourcePool,
    known: &HashMap<i64, Arc<Registered>>,
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

/// What the registry knows of every destination now.
async fn standings(
    registry: &tokio_postgres::Transaction<'_>,
) -> Result<Standings, tokio_postgres::Error> {
    let rows = registry.query(sql::LIST_STANDINGS, &[]).await?;
    let standing = |row: &tokio_postgres::Row| Standing {
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
