//! The loop `destinations`: it lists the destinations every `destinations.refresh`, and whenever
//! configuration or mappings change, and writes what is new into the registry.
//!
//! A destinations query that fails changes nothing: the destinations that are known stay. While
//! nothing has changed, no destination is looked at; see [`Listing`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::Rounds;
use offtake_mapping::{MappingSet, foreign};
use offtake_postgres::SourcePool;
use offtake_sync::destinations::{Named, Registry, Waiting};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::configuration::Configuration;
use crate::context::destination_list::{self, DestinationList, RefusedDestination};
use crate::context::listing::{Bucket, Listing};
use crate::context::tenant_spelling;

/// The loop that keeps the registry as configuration, destinations query and mappings say.
pub(super) struct DestinationsRefresh {
    pub(super) pool: SourcePool,
    pub(super) registry: Registry,
    pub(super) configuration: watch::Receiver<Arc<Configuration>>,
    pub(super) mappings: watch::Receiver<Arc<MappingSet>>,
    /// Mappings that cannot be kept as they should be. A destination goes on with its others.
    pub(super) waiting: watch::Receiver<Arc<Waiting>>,
    /// Why the query failed the last time. The status tells it, because new destinations are not
    /// found meanwhile.
    pub(super) error: watch::Sender<Option<String>>,
    pub(super) progress: watch::Sender<Rounds>,
}

/// While it waits for the next refresh, the loop ticks this often: `destinations.refresh` may be
/// longer than a healthy loop may go without a tick.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    List(#[from] destination_list::Error),
    #[error("the source cannot be reached")]
    Source(#[from] offtake_postgres::Error),
    #[error("the registry of destinations cannot be written")]
    Registry(#[from] offtake_sync::Error),
    #[error("a refused destination cannot be written into the registry")]
    Refused(#[from] tokio_postgres::Error),
}

impl DestinationsRefresh {
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut listing = Listing::default();
        // Every destination is to be looked at: there may be another mapping set, or configuration.
        let mut all = true;
        while !shutdown.is_cancelled() {
            let began = Instant::now();
            all |= self.configuration.has_changed().unwrap_or(false)
                || self.mappings.has_changed().unwrap_or(false)
                || self.waiting.has_changed().unwrap_or(false);
            // Marked as seen before it is used, so that the next round sees a set that arrives
            // meanwhile.
            let configuration = self.configuration.borrow_and_update().clone();
            self.mappings.mark_unchanged();
            self.waiting.mark_unchanged();
            let Configuration { destinations, sync, .. } = &*configuration;
            if all {
                listing.forget(destinations);
            }
            match listing.read(destinations, &self.pool, sync.statement_timeout).await {
                Ok(changed) => {
                    if changed {
                        self.apply(&mut listing, all).await?;
                    }
                    all = false;
                    self.tell_contested(&listing);
                }
                // The operator's SQL is at fault. The destinations that are known stay.
                Err(destination_list::Error::Query(error)) if error.as_db_error().is_some() => {
                    self.tell_failed(offtake_postgres::Error::from(error).message());
                }
                Err(error) => return Err(error.into()),
            }
            // From beginning to beginning, so that the interval holds where a round takes long. A
            // pause is as long as the round at least, to leave the source half of the time.
            let (refresh, took) = (destinations.refresh, began.elapsed());
            self.pause(refresh.saturating_sub(took).max(took.min(refresh)), &shutdown).await;
        }
        Ok(())
    }

    /// The status tells that the query names destinations several times.
    fn tell_contested(&self, listing: &Listing) {
        let told: Vec<&str> = listing.buckets().flat_map(|b| &b.told).map(String::as_str).collect();
        let told = (!told.is_empty()).then(|| told.join("\n"));
        self.error.send_if_modified(|error| {
            let new = *error != told;
            *error = told;
            new
        });
    }

    /// Returns after `refresh`, at shutdown, or as soon as configuration or mappings change.
    async fn pause(&mut self, refresh: Duration, shutdown: &CancellationToken) {
        let next = Instant::now() + refresh;
        while Instant::now() < next {
            self.progress.send_replace(Rounds::now());
            let tick = TICK_INTERVAL.min(next.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = shutdown.cancelled() => return,
                Ok(()) = self.configuration.changed() => {
                    self.configuration.mark_changed();
                    return;
                }
                Ok(()) = self.mappings.changed() => {
                    self.mappings.mark_changed();
                    return;
                }
                Ok(()) = self.waiting.changed() => {
                    self.waiting.mark_changed();
                    return;
                }
                () = tokio::time::sleep(tick) => {}
            }
        }
    }

    /// Logged only where the error is another one than the last time, and not at each refresh.
    fn tell_failed(&self, error: String) {
        let told =
            format!("the destinations query failed: {error}; the destinations stay as they were");
        if self.error.borrow().as_ref() != Some(&told) {
            tracing::error!(
                event = "destinations_query_failed",
                error,
                "the destinations stay as they were"
            );
            self.error.send_replace(Some(told));
        }
    }

    /// Of a destination that the query names several times, the row that is served stays: the
    /// others may be anybody's.
    async fn settle(&self, bucket: &mut Bucket) -> Result<(), Error> {
        for mut contested in std::mem::take(&mut bucket.list.contested) {
            let Some(at) = self.registry.served(&contested.candidates).await? else {
                bucket.list.refused.push(contested.refuse());
                continue;
            };
            let served = contested.candidates.swap_remove(at);
            let why = format!(
                "the destinations query names {} twice, differently; {} stays served, and the \
                 other row is ignored: take one of them out of the query",
                foreign(&served.label()),
                foreign(&served.place.database())
            );
            tracing::warn!(
                event = "destination_contested",
                tenant = contested.tenant_id,
                destination = contested.name,
                "{why}"
            );
            bucket.told.push(why);
            bucket.list.usable.push(served);
        }
        Ok(())
    }

    /// Decides what the registry is told of the buckets that were read.
    async fn decide(&self, listing: &mut Listing) -> Result<(), Error> {
        let set = self.mappings.borrow().clone();
        for bucket in listing.fresh() {
            self.settle(bucket).await?;
        }
        let source = self.pool.get().await?;
        let lists = listing.fresh().map(|bucket| &mut bucket.list).collect();
        let spelt = tenant_spelling::spell_lists(&source, lists, &set).await;
        spelt.map_err(destination_list::Error::Spelling)?;
        for bucket in listing.fresh() {
            bucket.named = bucket.list.usable.drain(..).map(Arc::new).collect();
            bucket.named.shrink_to_fit();
            bucket.list.usable = Vec::new();
            tell_ignored(&bucket.list);
        }
        Ok(())
    }

    /// Writes what has changed into the registry.
    async fn apply(&self, listing: &mut Listing, all: bool) -> Result<(), Error> {
        self.decide(listing).await?;
        let unusable = listing.buckets().flat_map(|bucket| &bucket.list.refused);
        let named = Named {
            specs: listing.buckets().flat_map(|bucket| bucket.named.iter().cloned()).collect(),
            of_file: listing.of_file(),
            unusable: unusable.map(|r| (r.tenant_id.clone(), r.name.clone())).collect(),
            all,
        };
        let waiting = self.waiting.borrow().clone();
        self.registry.refresh(named, &waiting).await?;
        let client = self.pool.get().await?;
        let refused = listing.fresh().flat_map(|bucket| &bucket.list.refused);
        for RefusedDestination { tenant_id, name, why } in refused {
            offtake_requests::refuse_destination(&client, tenant_id, name, why).await?;
            tracing::warn!(
                event = "destination_refused",
                tenant = tenant_id,
                destination = name,
                "{why}"
            );
        }
        listing.registered();
        Ok(())
    }
}

/// Logs which rows of the query are not used.
fn tell_ignored(list: &DestinationList) {
    if list.without_tenant > 0 {
        tracing::error!(
            event = "destination_without_tenant",
            rows = list.without_tenant,
            "rows of the destinations query have no tenant_id and are ignored"
        );
    }
    for (tenant, name) in &list.of_both {
        tracing::warn!(
            event = "destination_named_twice",
            tenant,
            destination = name,
            "the configuration file also names this destination, and the file counts"
        );
    }
}
