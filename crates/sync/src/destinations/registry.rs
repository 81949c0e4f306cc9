//! Which destinations there are: kept in the source's `destination` table for everyone, their
//! secrets in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::SourcePool;
use tokio::sync::{Notify, watch};

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
    /// it.
    pub async fn refresh(&self, specs: Vec<DestinationSpec>) -> Result<(), Error> {
        let set = self.mappings.borrow().clone();
        let before = self.all();
        let refusals = refusals(&specs, &set);
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
            let at_source =
                (spec.tenant_at_source != spec.tenant_id).then_some(&spec.tenant_at_source);
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
                        &at_source,
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
                    && old.spec.tenant_at_source == spec.tenant_at_source
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

fn mappings_of(spec: &DestinationSpec, set: &MappingSet) -> Vec<Arc<ResolvedMapping>> {
    set.mappings().iter().filter(|m| spec.receives(m.name())).cloned().collect()
}

/// Destinations that must not be written to, with the reason that status tells.
fn refusals(specs: &[DestinationSpec], set: &MappingSet) -> BTreeMap<String, String> {
    let mut refused = BTreeMap::new();
    let mut by_place: BTreeMap<(String, &str), Vec<&DestinationSpec>> = BTreeMap::new();
    for spec in specs {
        by_place.entry((spec.place.database(), spec.place.schema())).or_default().push(spec);
        if let Some(unknown) = spec.mappings.iter().flatten().find(|name| set.get(name).is_none()) {
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
            !spec.shared
                || sharing.iter().filter(|s| s.tenant_at_source == spec.tenant_at_source).count()
                    > 1
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
