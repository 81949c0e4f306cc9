//! Which destinations there are: kept in the source's `destination` table for everyone, their
//! secrets in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::SourcePool;
use tokio::sync::{Notify, watch};
use tokio_postgres::Client;

use super::DestinationSpec;
use crate::{Error, sql};

/// The transaction lock under which the registry is written.
const LOCK_KEY: i64 = 0x6f66_6674_616b_6503; // "offtake", 3

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

/// By id; replaced as a whole.
pub type Known = Arc<HashMap<i64, Arc<Registered>>>;

/// All destinations of this process; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    pool: SourcePool,
    mappings: watch::Receiver<Arc<MappingSet>>,
    /// Wakes the engine when something is owed to a new destination.
    wakes: Arc<Notify>,
    known: Arc<RwLock<Known>>,
}

impl Registry {
    pub fn new(
        pool: SourcePool,
        mappings: watch::Receiver<Arc<MappingSet>>,
        wakes: Arc<Notify>,
    ) -> Self {
        Self { pool, mappings, wakes, known: Arc::default() }
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
    /// no longer named is owed nothing more, and its connection is closed by whoever next looks for
    /// it. The mappings in `waiting` are told in the status of every destination that should have
    /// them, whether they are in the set or not.
    pub async fn refresh(
        &self,
        specs: Vec<DestinationSpec>,
        waiting: &Waiting,
    ) -> Result<(), Error> {
        let set = self.mappings.borrow().clone();
        let before = self.all();
        let refusals = refusals(&specs, &set, waiting);
        let mut connection = self.pool.get().await.map_err(Error::Source)?;
        let transaction = connection.transaction().await.map_err(Error::source)?;
        // One replica at a time: another's uncommitted registration would be invisible and in the
        // way.
        transaction
            .batch_execute("set local lock_timeout = '10s'; set local synchronous_commit = on")
            .await
            .map_err(Error::source)?;
        transaction
            .execute("select pg_advisory_xact_lock($1)", &[&LOCK_KEY])
            .await
            .map_err(Error::source)?;
        let mut known = HashMap::new();
        let mut owed = Vec::new();
        for spec in specs {
            let mappings = mappings_of(&spec, &set);
            let names: Vec<&str> = mappings.iter().map(|m| m.name()).collect();
            let tables: Vec<String> = mappings.iter().map(|m| m.source_table()).collect();
            let refused = refusals.get(&spec.label());
            let place = spec.place.registration();
            let row = transaction
                .query_one(
                    sql::REGISTER_DESTINATION,
                    &[
                        &spec.tenant_id,
                        &spec.name,
                        &place.schema,
                        &place.host,
                        &place.port,
                        &place.database,
                        &place.user,
                        &spec.shared,
                        &names,
                        &tables,
                        &refused,
                    ],
                )
                .await
                .map_err(Error::source)?;
            let destination_id: i64 = row.get("destination_id");
            if row.get("moved") {
                transaction
                    .execute(sql::FORGET_MIRROR, &[&destination_id])
                    .await
                    .map_err(Error::source)?;
            }
            let unchanged = before.get(&destination_id).is_some_and(|old| {
                old.spec.place.same_as(&spec.place)
                    && old
                        .mappings
                        .iter()
                        .map(|m| &m.version)
                        .eq(mappings.iter().map(|m| &m.version))
            });
            if let Some(why) = refused {
                if !unchanged {
                    tracing::warn!(
                        event = "destination_refused",
                        tenant = spec.tenant_id,
                        destination = spec.name,
                        "{why}"
                    );
                }
            } else if !unchanged {
                owed.push(destination_id);
            }
            known.insert(destination_id, Arc::new(Registered { destination_id, spec, mappings }));
        }
        write_waiting(transaction.client(), &known, waiting).await?;
        let ids: Vec<i64> = known.keys().copied().collect();
        offtake_requests::deactivate_destinations(transaction.client(), &ids)
            .await
            .map_err(Error::source)?;
        if !owed.is_empty() {
            offtake_requests::owe_registered(transaction.client(), &owed)
                .await
                .map_err(Error::source)?;
        }
        transaction.commit().await.map_err(Error::source)?;
        match self.known.write() {
            Ok(mut current) => *current = Arc::new(known),
            Err(poisoned) => *poisoned.into_inner() = Arc::new(known),
        }
        self.wakes.notify_one();
        Ok(())
    }
}

/// Writes which destination waits for which mapping.
async fn write_waiting(
    client: &Client,
    known: &HashMap<i64, Arc<Registered>>,
    waiting: &Waiting,
) -> Result<(), Error> {
    let rows = known.values().flat_map(|registered| {
        let received = waiting.iter().filter(|(mapping, _)| registered.spec.receives(mapping));
        received.map(|(mapping, why)| (registered.destination_id, mapping.as_str(), why.as_str()))
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

fn mappings_of(spec: &DestinationSpec, set: &MappingSet) -> Vec<Arc<ResolvedMapping>> {
    set.mappings().iter().filter(|m| spec.receives(m.name())).cloned().collect()
}

/// Destinations that must not be written to, with the reason that status tells.
fn refusals(
    specs: &[DestinationSpec],
    set: &MappingSet,
    waiting: &Waiting,
) -> BTreeMap<String, String> {
    let unknown = |name: &&String| set.get(name).is_none() && !waiting.contains_key(*name);
    let mut refused = BTreeMap::new();
    let mut by_place: BTreeMap<(String, &str), Vec<&DestinationSpec>> = BTreeMap::new();
    for spec in specs {
        by_place.entry((spec.place.database(), spec.place.schema())).or_default().push(spec);
        if let Some(unknown) = spec.mappings.iter().flatten().find(unknown) {
            refused.insert(spec.label(), format!("there is no mapping named {unknown}"));
        }
        if spec.shared
            && let Some(m) =
                mappings_of(spec, set).iter().find(|m| !m.definition.target.keep_tenant)
        {
            let why = format!(
                "mapping {} must have keep_tenant: true where tenants share a schema",
                m.name()
            );
            refused.insert(spec.label(), why);
        }
    }
    for ((database, schema), sharing) in by_place {
        let alone = |spec: &DestinationSpec| {
            !spec.shared || sharing.iter().filter(|s| s.tenant_id == spec.tenant_id).count() > 1
        };
        if sharing.len() > 1 && sharing.iter().any(|spec| alone(spec)) {
            for spec in &sharing {
                let others: Vec<String> = sharing
                    .iter()
                    .filter(|s| s.label() != spec.label())
                    .map(|s| s.label())
                    .collect();
                let why = format!(
                    "{} and {} write into schema {schema} of {database}; give each its own schema, or mark all of them shared \
                     (one destination per tenant)",
                    spec.label(),
                    others.join(", ")
                );
                refused.insert(spec.label(), why);
            }
        }
    }
    refused
}
