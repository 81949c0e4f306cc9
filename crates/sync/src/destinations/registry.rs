//! Which destinations there are. The source's table `destination` has them for all daemons; their
//! secrets are in memory only.

mod rows;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use offtake_loops::failpoint;
use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::SourcePool;
use tokio::sync::{Notify, watch};
use tokio_postgres::{Client, Transaction};

use super::DestinationSpec;
use super::refusal::{Standings, contested, refusals};
use crate::{Error, sql};
use rows::{
    REGISTERED_AT_ONCE, begin, find, hold, register, standings, touched, unnamed, withdraw,
    write_waiting,
};

/// Beyond so many destinations, a look at all of them writes them in several transactions, each of
/// a tenth of what is known by then, but no more than the second figure: some ten seconds on a busy
/// machine, which is how long another daemon waits for the lock.
const SLICED_BEYOND: usize = 2 * REGISTERED_AT_ONCE;
const SLICE_MAX: usize = 10 * REGISTERED_AT_ONCE;

/// Of the destinations of one shared place that stand, a daemon's start visits so many.
const VISITED_OF_A_PLACE: usize = 100;

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
    /// A refresh has registered something, or there was nothing to register.
    begun: Arc<AtomicBool>,
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
            begun: Arc::default(),
        }
    }

    /// Whether a refresh has got as far as its first transaction: with very many destinations, all
    /// the others follow while workers and API go on with these.
    pub fn begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
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
    ///
    /// Where very many are to be written, what needs a look at all of them comes first, in one
    /// transaction. The others follow in transactions of some thousands: workers begin with the
    /// first ones meanwhile, and another daemon does not wait for all of them.
    pub async fn refresh(&self, named: Named, waiting: &Waiting) -> Result<(), Error> {
        let Named { specs, of_file, unusable, all } = named;
        let set = self.mappings.borrow().clone();
        let before = self.all();
        let mut connection = self.pool.get().await.map_err(Error::Source)?;
        let transaction = begin(&mut connection).await?;
        let touched = match all {
            true => None,
            false => touched(&transaction, self.registrations.load(Ordering::Relaxed)).await?,
        };
        let whole = touched.is_none();
        let refused = self.refused(&transaction, (&specs, of_file), (&set, waiting)).await?;
        let named = whole.then(|| names_of(&specs, &unusable));
        let Comparison { mut known, changed, mut rest } =
            compare(&before, &touched, specs, refused, &set);
        // Until their turn comes, they are as they were.
        known.extend(as_before(&before, &rest));
        let mut visits = Visits::default();
        let client = transaction.client();
        let found = find(client, &changed).await?;
        let gone = match (named, touched) {
            (Some(named), _) => unnamed(client, named).await?,
            (None, touched) => {
                let ids = before.keys().copied().chain(touched.unwrap_or_default());
                ids.filter(|id| !known.contains_key(id) && !found.contains_key(id)).collect()
            }
        };
        let differing = which_differ(&found);
        hold(client, &[&*gone, &*differing].concat()).await?;
        withdraw(client, &gone, unusable).await?;
        self.write(client, (changed, &differing), (&before, &mut known), &mut visits).await?;
        if rest.is_empty() && (whole || !waiting.is_empty()) {
            write_waiting(transaction.client(), &self.pool, &known, waiting).await?;
        }
        self.commit(transaction, &known, true).await?;
        let mut alone = true;
        while !rest.is_empty() {
            let at_once = (known.len() / 10).clamp(REGISTERED_AT_ONCE, SLICE_MAX);
            let later = rest.split_off(at_once.min(rest.len()));
            let slice = std::mem::replace(&mut rest, later);
            let transaction = begin(&mut connection).await?;
            alone &= self.no_other_registered(&transaction, &known).await?;
            let client = transaction.client();
            let differing = which_differ(&find(client, &slice).await?);
            hold(client, &differing).await?;
            self.write(client, (slice, &differing), (&before, &mut known), &mut visits).await?;
            if rest.is_empty() {
                write_waiting(transaction.client(), &self.pool, &known, waiting).await?;
            }
            self.commit(transaction, &known, alone).await?;
        }
        Ok(())
    }

    /// Writes these destinations, owes the syncs that they need, and adds them to `known`.
    async fn write(
        &self,
        client: &Client,
        (changed, differing): (Vec<Registered>, &[i64]),
        (before, known): (&ById, &mut ById),
        visits: &mut Visits,
    ) -> Result<(), Error> {
        let mut owed = Vec::new();
        for (registered, stands) in register(client, changed, differing).await? {
            let destination_id = registered.destination_id;
            let unchanged = before.get(&destination_id).is_some_and(|old| registered.is_as(old));
            match &registered.refused {
                Some(why) if !unchanged => tracing::warn!(
                    event = "destination_refused",
                    tenant = registered.spec.tenant_id,
                    destination = registered.spec.name,
                    "{why}"
                ),
                None if !unchanged && (!stands || visits.due(&registered.spec)) => {
                    owed.push(destination_id);
                }
                _ => {}
            }
            known.insert(destination_id, Arc::new(registered));
        }
        if !owed.is_empty() {
            offtake_requests::owe_registered(client, &owed).await.map_err(Error::source)?;
        }
        Ok(())
    }

    /// Commits what was written, and makes it known to the workers. `alone`: every registration
    /// up to now is looked at, those of other processes too.
    async fn commit(
        &self,
        transaction: Transaction<'_>,
        known: &ById,
        alone: bool,
    ) -> Result<(), Error> {
        let last = transaction.query_one(sql::READ_LAST_REGISTRATION, &[]).await;
        let last: i64 = last.map_err(Error::source)?.get("number");
        let refreshing = self.refreshing.write().await;
        transaction.commit().await.map_err(Error::source)?;
        failpoint("registry.after_commit").await.map_err(Error::Source)?;
        if alone {
            self.registrations.store(last, Ordering::Relaxed);
        }
        match self.known.write() {
            Ok(mut current) => *current = Arc::new(known.clone()),
            Err(poisoned) => *poisoned.into_inner() = Arc::new(known.clone()),
        }
        drop(refreshing);
        self.begun.store(true, Ordering::Relaxed);
        self.wakes.notify_one();
        Ok(())
    }

    /// Whether no other process has registered a destination since this one's last commit. Else the
    /// next refresh looks at what it has.
    async fn no_other_registered(
        &self,
        transaction: &Transaction<'_>,
        known: &ById,
    ) -> Result<bool, Error> {
        let touched = touched(transaction, self.registrations.load(Ordering::Relaxed)).await?;
        Ok(touched.is_some_and(|ids| ids.iter().all(|id| known.contains_key(id))))
    }

    /// Why destinations are refused, and which of them others were weighed against.
    async fn refused(
        &self,
        transaction: &Transaction<'_>,
        (specs, of_file): (&[Arc<DestinationSpec>], usize),
        (set, waiting): (&MappingSet, &Waiting),
    ) -> Result<Refused, Error> {
        let contested = contested(specs, set);
        let weighed: HashSet<usize> = contested.iter().flatten().copied().collect();
        let standings = match weighed.is_empty() {
            true => Standings::new(),
            false => standings(transaction, weighed.iter().map(|at| &specs[*at]))
                .await
                .map_err(Error::source)?,
        };
        let refusals = refusals((specs, of_file), contested, (set, waiting), &standings);
        let storable = |why: String| self.pool.storable(&why).into_owned();
        let refusals = refusals.into_iter().map(|(at, why)| (at, storable(why))).collect();
        Ok(Refused { refusals, weighed })
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
    pub(crate) fn is_as(&self, old: &Self) -> bool {
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

/// Which destinations that stand are visited all the same: how many were, by the address of their
/// place.
#[derive(Default)]
struct Visits(HashMap<usize, usize>);

impl Visits {
    /// A destination with a database of its own may be gone or another one, which only a visit
    /// tells. Of those that share one, a visit of some tells it of all.
    fn due(&mut self, spec: &DestinationSpec) -> bool {
        let place = Arc::as_ptr(&spec.place).addr();
        let visited = self.0.entry(place).or_default();
        *visited += 1;
        !spec.shared || *visited <= VISITED_OF_A_PLACE
    }
}

/// What speaks against destinations, by their positions in the list.
struct Refused {
    /// With the reason that status tells.
    refusals: HashMap<usize, String>,
    /// Those that were weighed against each other, refused or not.
    weighed: HashSet<usize>,
}

/// Those of which something is to be written.
fn which_differ(found: &HashMap<i64, bool>) -> Vec<i64> {
    found.iter().filter(|(_, differs)| **differs).map(|(id, _)| *id).collect()
}

/// What was known of these destinations.
fn as_before(before: &ById, of: &[Registered]) -> Vec<(i64, Arc<Registered>)> {
    let named: HashSet<(&str, &str)> = of.iter().map(|r| r.spec.key()).collect();
    let still = before.iter().filter(|(_, known)| named.contains(&known.spec.key()));
    still.map(|(id, known)| (*id, Arc::clone(known))).collect()
}

/// The tenants and names of all that are named, also of those that cannot be used.
fn names_of(
    specs: &[Arc<DestinationSpec>],
    unusable: &[(String, String)],
) -> (Vec<String>, Vec<String>) {
    let specs = specs.iter().map(|spec| (spec.tenant_id.clone(), spec.name.clone()));
    specs.chain(unusable.iter().cloned()).unzip()
}

/// What a refresh has to do.
struct Comparison {
    /// The destinations that are as they were.
    known: ById,
    /// The others, with destination id 0.
    changed: Vec<Registered>,
    /// Others, where they are very many: nothing about them depends on another destination.
    rest: Vec<Registered>,
}

/// Compares what is named with what was known. `touched`: what another process may have registered;
/// None: everything.
fn compare(
    before: &ById,
    touched: &Option<Vec<i64>>,
    specs: Vec<Arc<DestinationSpec>>,
    Refused { mut refusals, weighed }: Refused,
    set: &MappingSet,
) -> Comparison {
    type Lists = HashMap<(Option<Vec<String>>, bool), Arc<[Arc<ResolvedMapping>]>>;
    let doubted: HashSet<i64> = touched.iter().flatten().copied().collect();
    let same: HashMap<(&str, &str), &Arc<Registered>> = match touched {
        None => HashMap::new(),
        Some(_) => before.values().map(|r| (r.spec.key(), r)).collect(),
    };
    let mut lists = Lists::new();
    let (mut known, mut changed) = (HashMap::with_capacity(specs.len()), Vec::new());
    let mut rest = Vec::new();
    let very_many = touched.is_none() && specs.len() > SLICED_BEYOND;
    for (at, spec) in specs.into_iter().enumerate() {
        let refused = refusals.remove(&at);
        let old = same.get(&spec.key()).filter(|old| {
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
        let to = match very_many && refused.is_none() && !weighed.contains(&at) {
            true => &mut rest,
            false => &mut changed,
        };
        to.push(Registered { destination_id: 0, spec, mappings, refused });
    }
    Comparison { known, changed, rest }
}
