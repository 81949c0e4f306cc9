//! Which destinations there are. The source's table `destination` has them for all daemons; their
//! secrets are in memory only.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::SourcePool;
use tokio::sync::{Notify, watch};
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{Client, Row, Transaction};

use super::DestinationSpec;
use super::refusal::{Standing, Standings, contested, refusals};
use crate::{Error, sql};

/// The transaction lock under which the registry is written.
const LOCK_KEY: i64 = 0x6f66_6674_616b_6503; // "offtake", 3

/// Destinations that one statement registers. A statement of so many takes some ten milliseconds.
const REGISTERED_AT_ONCE: usize = 1000;

/// Where other processes have registered more destinations than this, a refresh looks at all.
const TOUCHED_MAX: i64 = 5000;

/// A destination that the source's registry knows.
#[derive(Debug)]
pub struct Registered {
    pub destination_id: i64,
    pub spec: Arc<DestinationSpec>,
    /// Its mappings, in the order in which they are applied. Destinations that receive the same
    /// have one list between them.
    pub mappings: Arc<[Arc<ResolvedMapping>]>,
    /// Why no worker may write to it.
    refused: Option<String>,
}

/// The destinations that configuration and query name now.
pub struct Named {
    pub specs: Vec<Arc<DestinationSpec>>,
    /// So many of them, the first ones, are of the configuration file.
    pub of_file: usize,
    /// Tenant and name of those that are named in a way that cannot be used. Their registration
    /// stays as it is.
    pub unusable: Vec<(String, String)>,
    /// Look at every destination, because there may be another mapping set. Otherwise only at
    /// those that are named otherwise than before, and those that another process has registered.
    pub all: bool,
}

/// Mappings that cannot be kept as they should be, each with the reason that the status tells.
pub type Waiting = BTreeMap<String, String>;

/// Destinations by id.
type ById = HashMap<i64, Arc<Registered>>;

/// All destinations that are known. A refresh replaces the whole map.
pub type Known = Arc<ById>;

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
    /// The registrations up to this number are known.
    registrations: Arc<AtomicI64>,
}

impl Registry {
    pub fn new(
        pool: SourcePool,
        mappings: watch::Receiver<Arc<MappingSet>>,
        wakes: Arc<Notify>,
    ) -> Self {
        Self {
            pool,
            mappings,
            wakes,
            known: Arc::default(),
            refreshing: Arc::default(),
            registrations: Arc::default(),
        }
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
    pub async fn refresh(&self, named: Named, waiting: &Waiting) -> Result<(), Error> {
        let Named { specs, of_file, unusable, all } = named;
        let set = self.mappings.borrow().clone();
        let before = self.all();
        let mut connection = self.pool.get().await.map_err(Error::Source)?;
        let transaction = connection.transaction().await.map_err(Error::source)?;
        lock(&transaction).await.map_err(Error::source)?;
        let touched = match all {
            true => None,
            false => touched(&transaction, self.registrations.load(Ordering::Relaxed)).await?,
        };
        let refusals = refusals_of(&transaction, (&specs, of_file), &set, waiting).await?;
        let refusals = refusals.map(|(at, why)| (at, self.pool.storable(&why).into_owned()));
        let refusals = refusals.collect();
        let Comparison { mut known, changed } = compare(&before, &touched, specs, refusals, &set);
        let mut owed = Vec::new();
        for registered in register(transaction.client(), changed).await? {
            let destination_id = registered.destination_id;
            let unchanged = before.get(&destination_id).is_some_and(|old| registered.is_as(old));
            match &registered.refused {
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
        if touched.is_none() || !waiting.is_empty() {
            write_waiting(transaction.client(), &self.pool, &known, waiting).await?;
        }
        withdraw(transaction.client(), (&before, &known), touched, unusable).await?;
        if !owed.is_empty() {
            offtake_requests::owe_registered(transaction.client(), &owed)
                .await
                .map_err(Error::source)?;
        }
        let last = transaction.query_one(sql::READ_LAST_REGISTRATION, &[]).await;
        let last: i64 = last.map_err(Error::source)?.get("number");
        let refreshing = self.refreshing.write().await;
        transaction.commit().await.map_err(Error::source)?;
        self.registrations.store(last, Ordering::Relaxed);
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
        let same_place = || {
            Arc::ptr_eq(&old.spec.place, &self.spec.place)
                || old.spec.place.same_as(&self.spec.place)
        };
        self.spec.tenant_at_source == old.spec.tenant_at_source
            && same_versions(&self.mappings, &old.mappings)
            && same_place()
    }
}

fn same_versions(some: &[Arc<ResolvedMapping>], others: &[Arc<ResolvedMapping>]) -> bool {
    let pairs = || some.iter().zip(others);
    std::ptr::eq(some, others)
        || some.len() == others.len() && pairs().all(|(one, other)| one.version == other.version)
}

/// One replica at a time: an uncommitted registration of another one would be invisible here and
/// would block this one.
async fn lock(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    let settings = "set local lock_timeout = '10s'; set local synchronous_commit = on";
    transaction.batch_execute(settings).await?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&LOCK_KEY]).await?;
    Ok(())
}

/// The destinations that any process has registered lately. None: so many, or so long ago, that it
/// is not known which.
async fn touched(transaction: &Transaction<'_>, known: i64) -> Result<Option<Vec<i64>>, Error> {
    let parameters: [&(dyn ToSql + Sync); 2] = [&known, &TOUCHED_MAX];
    let row = transaction.query_one(sql::READ_REGISTRATIONS, &parameters).await;
    Ok(row.map_err(Error::source)?.get("destinations"))
}

/// The refused destinations, by their position in `specs`, with the reason that status tells.
async fn refusals_of(
    transaction: &Transaction<'_>,
    (specs, of_file): (&[Arc<DestinationSpec>], usize),
    set: &MappingSet,
    waiting: &Waiting,
) -> Result<impl Iterator<Item = (usize, String)>, Error> {
    let contested = contested(specs, set);
    let rivals = || contested.iter().flatten().map(|at| &specs[*at]);
    let standings = match contested.is_empty() {
        true => Standings::new(),
        false => standings(transaction, rivals()).await.map_err(Error::source)?,
    };
    Ok(refusals((specs, of_file), contested, (set, waiting), &standings).into_iter())
}

/// What a refresh has to do.
struct Comparison {
    /// The destinations that are as they were.
    known: ById,
    /// The others, with destination id 0.
    changed: Vec<Registered>,
}

/// Compares what is named with what was known. `touched`: what another process may have registered;
/// None: everything.
fn compare(
    before: &ById,
    touched: &Option<Vec<i64>>,
    specs: Vec<Arc<DestinationSpec>>,
    mut refusals: HashMap<usize, String>,
    set: &MappingSet,
) -> Comparison {
    type Lists = HashMap<(Option<Vec<String>>, bool), Arc<[Arc<ResolvedMapping>]>>;
    let doubted: HashSet<i64> = touched.iter().flatten().copied().collect();
    let same: HashMap<(&str, &str), &Arc<Registered>> = match touched {
        None => HashMap::new(),
        Some(_) => before.values().map(|r| ((&*r.spec.tenant_id, &*r.spec.name), r)).collect(),
    };
    let mut lists = Lists::new();
    let (mut known, mut changed) = (HashMap::with_capacity(specs.len()), Vec::new());
    for (at, spec) in specs.into_iter().enumerate() {
        let refused = refusals.remove(&at);
        let old = same.get(&(&*spec.tenant_id, &*spec.name)).filter(|old| {
            (Arc::ptr_eq(&old.spec, &spec) || old.spec.same_as(&spec))
                && old.refused == refused
                && !doubted.contains(&old.destination_id)
        });
        if let Some(old) = old {
            known.insert(old.destination_id, Arc::clone(old));
            continue;
        }
        let list = lists.entry((spec.mappings.clone(), spec.shared));
        let mappings = list.or_insert_with(|| spec.received(set).cloned().collect()).clone();
        changed.push(Registered { destination_id: 0, spec, mappings, refused });
    }
    Comparison { known, changed }
}

/// Ends what is owed to destinations that are not named any more.
async fn withdraw(
    transaction: &Client,
    (before, known): (&ById, &ById),
    touched: Option<Vec<i64>>,
    unusable: Vec<(String, String)>,
) -> Result<(), Error> {
    let unusable = unusable.into_iter().unzip();
    let done = match touched {
        None => {
            let named: Vec<i64> = known.keys().copied().collect();
            offtake_requests::deactivate_others(transaction, &named, unusable).await
        }
        Some(touched) => {
            let ids = before.keys().copied().chain(touched);
            let gone: Vec<i64> = ids.filter(|id| !known.contains_key(id)).collect();
            offtake_requests::deactivate_destinations(transaction, &gone, unusable).await
        }
    };
    done.map_err(Error::source)
}

/// Writes the destinations into the source's registry. There may be many thousands, and others wait
/// for the lock. Returns them with their ids.
async fn register(
    transaction: &Client,
    changed: Vec<Registered>,
) -> Result<Vec<Registered>, Error> {
    let statement = transaction.prepare(sql::REGISTER_DESTINATIONS).await;
    let statement = statement.map_err(Error::source)?;
    let mut registered = Vec::with_capacity(changed.len());
    let mut changed = changed.into_iter().peekable();
    while changed.peek().is_some() {
        let some: Vec<Registered> = changed.by_ref().take(REGISTERED_AT_ONCE).collect();
        let given = Json(some.iter().map(as_registered).collect::<Vec<_>>());
        let rows = transaction.query(&statement, &[&given]).await.map_err(Error::source)?;
        let id = |row: &Row| ((row.get("tenant_id"), row.get("name")), row.get("destination_id"));
        let ids: HashMap<(String, String), i64> = rows.iter().map(id).collect();
        registered.extend(some.into_iter().filter_map(|one| {
            let key = (one.spec.tenant_id.clone(), one.spec.name.clone());
            Some(Registered { destination_id: *ids.get(&key)?, ..one })
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
async fn standings(
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
