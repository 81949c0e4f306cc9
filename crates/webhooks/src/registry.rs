//! Which webhooks there are. The source's table `webhook` has them for all daemons; URLs and
//! secrets are in memory only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::SourcePool;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_postgres::types::Json;
use tokio_postgres::{Client, Row, Transaction};

use crate::{Error, WebhookSpec, sql};

/// The transaction lock under which the registry is written.
const LOCK_KEY: i64 = 0x6f66_6674_616b_6504; // "offtake", 4

/// Webhooks that one statement registers. A statement of so many takes some ten milliseconds.
const REGISTERED_AT_ONCE: usize = 1000;

/// A webhook that the source's registry knows.
#[derive(Debug)]
pub struct Registered {
    pub webhook_id: i64,
    pub spec: Arc<WebhookSpec>,
    /// Its mappings, each with the version that the webhook is told.
    pub mappings: Vec<(Arc<ResolvedMapping>, String)>,
    /// Why nothing is sent to it.
    pub refused: Option<String>,
    /// Why it is told of less than its `mappings` list.
    pub incomplete: Option<String>,
}

/// The webhooks that configuration and query name now.
#[derive(Debug, Default)]
pub struct Named {
    pub specs: Vec<Arc<WebhookSpec>>,
    /// Tenant and name of those that are named in a way that cannot be used. Their registration
    /// stays as it is.
    pub unusable: Vec<(String, String)>,
}

/// All webhooks that are known, by id. A refresh replaces the whole map.
pub type Known = Arc<HashMap<i64, Arc<Registered>>>;

/// All webhooks of this process; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    pool: SourcePool,
    mappings: watch::Receiver<Arc<MappingSet>>,
    /// Wakes the engine when something is owed to a new webhook.
    wakes: Arc<Notify>,
    known: Arc<RwLock<Known>>,
    /// A refresh has ended.
    begun: Arc<AtomicBool>,
}

impl Registry {
    pub fn new(
        pool: SourcePool,
        mappings: watch::Receiver<Arc<MappingSet>>,
        wakes: Arc<Notify>,
    ) -> Self {
        Self { pool, mappings, wakes, known: Arc::default(), begun: Arc::default() }
    }

    /// Whether the webhooks have been registered once.
    pub fn begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The webhook with that id, if this process knows it.
    pub fn get(&self, webhook_id: i64) -> Option<Arc<Registered>> {
        self.all().get(&webhook_id).cloned()
    }

    /// Every webhook, by id.
    pub fn all(&self) -> Known {
        match self.known.read() {
            Ok(known) => known.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// The longest time that a request may take, of all webhooks.
    pub(crate) fn timeout_max(&self) -> Duration {
        let all = self.all();
        all.values().map(|one| one.spec.endpoint.timeout()).max().unwrap_or_default()
    }

    /// Makes the registry hold exactly these, with the mapping set of now. Called at start, and
    /// whenever the configuration, the query's result or the mapping set may have changed.
    ///
    /// A webhook that is new, or has another endpoint or other mappings, is owed what is there for
    /// it at once. One that is no longer named is owed nothing more.
    pub async fn refresh(&self, named: Named) -> Result<(), Error> {
        let set = self.mappings.borrow().clone();
        let before = self.all();
        let mut connection = self.pool.get().await.map_err(Error::Source)?;
        let transaction = connection.transaction().await.map_err(Error::source)?;
        lock(&transaction).await.map_err(Error::source)?;
        let rows = transaction.query(sql::LIST_REGISTERED, &[]).await.map_err(Error::source)?;
        let mut there: HashMap<(String, String), Row> =
            rows.into_iter().map(|row| ((row.get("tenant_id"), row.get("name")), row)).collect();
        let (mut known, mut changed) = (HashMap::with_capacity(named.specs.len()), Vec::new());
        let (mut owed, mut written) = (Vec::new(), Vec::new());
        for spec in named.specs {
            let one = resolved(spec, &set);
            match there.remove(&(one.spec.tenant_id.clone(), one.spec.name.clone())) {
                Some(row) if is_as(&row, &one, &self.pool) => {
                    let id = id_of(&row);
                    let old = before.get(&id);
                    // What a worker holds stays what it is where nothing has changed.
                    let kept = old.filter(|old| old.is_as(&one)).cloned();
                    if kept.is_none() && (old.is_some() || !is_told(&row, &one)) {
                        owed.push(id);
                    }
                    let new = || Arc::new(Registered { webhook_id: id, ..one });
                    known.insert(id, kept.unwrap_or_else(new));
                }
                row => {
                    written.extend(row.as_ref().map(id_of));
                    changed.push(one);
                }
            }
        }
        // What is left is named no more, or in a way that cannot be used.
        named.unusable.iter().for_each(|unusable| drop(there.remove(unusable)));
        written.extend(there.values().map(id_of));
        let held: Vec<i64> = written.into_iter().chain(owed.iter().copied()).collect();
        if !held.is_empty() {
            offtake_requests::hold_webhook_requests(transaction.client(), &held)
                .await
                .map_err(Error::source)?;
        }
        let (registered, written) = register(transaction.client(), &self.pool, changed).await?;
        owed.extend(written);
        for one in registered {
            known.insert(one.webhook_id, Arc::new(one));
        }
        let ids: Vec<i64> = known.keys().copied().collect();
        let unusable = named.unusable.into_iter().unzip();
        offtake_requests::deactivate_webhooks(transaction.client(), &ids, unusable)
            .await
            .map_err(Error::source)?;
        if !owed.is_empty() {
            offtake_requests::owe_webhooks(transaction.client(), &owed)
                .await
                .map_err(Error::source)?;
        }
        transaction.commit().await.map_err(Error::source)?;
        tell_refused(&before, &known);
        tell_incomplete(&before, &known);
        match self.known.write() {
            Ok(mut current) => *current = Arc::new(known),
            Err(poisoned) => *poisoned.into_inner() = Arc::new(known),
        }
        self.begun.store(true, Ordering::Relaxed);
        self.wakes.notify_one();
        Ok(())
    }
}

impl Registered {
    /// Whether a worker that holds the other one may go on.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        let versions = |one: &Self| -> Vec<(String, String)> {
            one.mappings.iter().map(|(m, version)| (m.need(), version.clone())).collect()
        };
        (Arc::ptr_eq(&self.spec, &other.spec) || self.spec.same_as(&other.spec))
            && self.refused == other.refused
            && versions(self) == versions(other)
    }
}

/// A spec with the mappings of a set, before it has an id.
fn resolved(spec: Arc<WebhookSpec>, set: &MappingSet) -> Registered {
    let mappings: Vec<Arc<ResolvedMapping>> = spec.received(set).cloned().collect();
    let refused = spec.refusal(&mappings);
    let incomplete = if refused.is_some() { None } else { spec.shortfall(set) };
    let version = |mapping: Arc<ResolvedMapping>| {
        let version = spec.version(&mapping);
        (mapping, version)
    };
    let mappings = mappings.into_iter().map(version).collect();
    Registered { webhook_id: 0, spec, mappings, refused, incomplete }
}

/// Whether the source's registry says the same of it.
fn is_as(row: &Row, one: &Registered, pool: &SourcePool) -> bool {
    let names: Vec<&str> = one.mappings.iter().map(|(m, _)| m.name()).collect();
    let tables: Vec<String> = one.mappings.iter().map(|(m, _)| m.source_table()).collect();
    let refused = one.refused.as_deref().map(|why| pool.storable(why));
    let incomplete = one.incomplete.as_deref().map(|why| pool.storable(why));
    row.get::<_, &str>("fingerprint") == one.spec.endpoint.fingerprint()
        && row.get::<_, Vec<&str>>("mappings") == names
        && row.get::<_, Vec<String>>("source_tables") == tables
        && row.get::<_, Option<&str>>("refused") == refused.as_deref()
        && row.get::<_, Option<&str>>("incomplete") == incomplete.as_deref()
        && row.get::<_, Option<&str>>("source_tenant_id") == spelling(&one.spec)
}

/// Whether the webhook was told these versions of its mappings.
fn is_told(row: &Row, one: &Registered) -> bool {
    let told: Vec<Option<&str>> = row.get("versions");
    told.into_iter().eq(one.mappings.iter().map(|(_, version)| Some(version.as_str())))
}

fn spelling(spec: &WebhookSpec) -> Option<&str> {
    (spec.tenant_at_source != spec.tenant_id).then_some(spec.tenant_at_source.as_str())
}

/// One replica at a time: an uncommitted registration of another one would be invisible here and
/// would block this one.
async fn lock(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    let settings = "set local lock_timeout = '10s'; set local synchronous_commit = on";
    transaction.batch_execute(settings).await?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&LOCK_KEY]).await?;
    Ok(())
}

/// Writes webhooks into the source's registry. Returns them with their ids, and the ids of those of
/// which something was written.
async fn register(
    transaction: &Client,
    pool: &SourcePool,
    changed: Vec<Registered>,
) -> Result<(Vec<Registered>, Vec<i64>), Error> {
    let (mut registered, mut written) = (Vec::with_capacity(changed.len()), Vec::new());
    let mut changed = changed.into_iter().peekable();
    while changed.peek().is_some() {
        let some: Vec<Registered> = changed.by_ref().take(REGISTERED_AT_ONCE).collect();
        let given = Json(some.iter().map(|one| as_registered(one, pool)).collect::<Vec<_>>());
        let rows = transaction.query(sql::REGISTER_WEBHOOKS, &[&given]).await;
        let rows = rows.map_err(Error::source)?;
        let ids: HashMap<(String, String), i64> = rows
            .iter()
            .map(|row| ((row.get("tenant_id"), row.get("name")), row.get("webhook_id")))
            .collect();
        let of_these: Vec<i64> = ids.values().copied().collect();
        transaction.execute(sql::SETTLE_WEBHOOKS, &[&of_these]).await.map_err(Error::source)?;
        written.extend(rows.iter().filter(|row| row.get("written")).map(id_of));
        registered.extend(some.into_iter().filter_map(|one| {
            let key = (one.spec.tenant_id.clone(), one.spec.name.clone());
            Some(Registered { webhook_id: *ids.get(&key)?, ..one })
        }));
    }
    Ok((registered, written))
}

fn id_of(row: &Row) -> i64 {
    row.get("webhook_id")
}

/// One webhook as [`sql::REGISTER_WEBHOOKS`] takes it.
fn as_registered(one: &Registered, pool: &SourcePool) -> Value {
    let Registered { spec, mappings, refused, incomplete, .. } = one;
    json!({
        "tenant_id": spec.tenant_id,
        "name": spec.name,
        "host": spec.endpoint.url().host(),
        "port": spec.endpoint.url().port(),
        "mappings": mappings.iter().map(|(m, _)| m.name()).collect::<Vec<_>>(),
        "source_tables": mappings.iter().map(|(m, _)| m.source_table()).collect::<Vec<_>>(),
        "versions": mappings.iter().map(|(_, version)| version).collect::<Vec<_>>(),
        "needs": mappings.iter().map(|(m, _)| m.need()).collect::<Vec<_>>(),
        "fingerprint": spec.endpoint.fingerprint(),
        "backfill": spec.backfill,
        "refused": refused.as_deref().map(|why| pool.storable(why)),
        "incomplete": incomplete.as_deref().map(|why| pool.storable(why)),
        "source_tenant_id": spelling(spec),
    })
}

fn tell_refused(before: &Known, known: &HashMap<i64, Arc<Registered>>) {
    for one in known.values() {
        let Some(why) = &one.refused else { continue };
        let told = before.get(&one.webhook_id).is_some_and(|old| old.refused == one.refused);
        if !told {
            tracing::warn!(
                event = "webhook_refused",
                tenant = one.spec.tenant_id,
                webhook = one.spec.name,
                "{why}"
            );
        }
    }
}

fn tell_incomplete(before: &Known, known: &HashMap<i64, Arc<Registered>>) {
    for one in known.values() {
        let Some(why) = &one.incomplete else { continue };
        let told = before.get(&one.webhook_id).is_some_and(|old| old.incomplete == one.incomplete);
        if !told {
            tracing::warn!(
                event = "webhook_incomplete",
                tenant = one.spec.tenant_id,
                webhook = one.spec.name,
                "{why}"
            );
        }
    }
}
