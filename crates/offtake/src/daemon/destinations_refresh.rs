//! The loop `destinations`: it lists the destinations every `destinations.refresh`, and whenever
//! configuration or mappings change, and writes what is new into the registry.
//!
//! A destinations query that fails changes nothing: the destinations that are known stay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_mapping::{MappingSet, foreign};
use offtake_postgres::SourcePool;
use offtake_sync::destinations::{Registry, Waiting};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::configuration::Configuration;
use crate::context::destination_list::{self, DestinationList, RefusedDestination, list};
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
    pub(super) progress: watch::Sender<Instant>,
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
        let mut applied = String::new();
        let mut contested = None;
        while !shutdown.is_cancelled() {
            let configuration = self.configuration.borrow_and_update().clone();
            // Marked as seen before it is used, so that the next round sees a set that arrives
            // meanwhile.
            let mapping_set_is_new = self.mappings.has_changed().unwrap_or(false)
                || self.waiting.has_changed().unwrap_or(false)
                || applied.is_empty();
            self.mappings.mark_unchanged();
            self.waiting.mark_unchanged();
            let Configuration { destinations, sync, .. } = &*configuration;
            match list(destinations, &self.pool, sync.statement_timeout).await {
                Ok(list) => {
                    let fingerprint = format!("listed\n{}", list.fingerprint());
                    if mapping_set_is_new || fingerprint != applied {
                        contested = self.apply(list).await?;
                        applied = fingerprint;
                    }
                    let told = &contested;
                    self.error.send_if_modified(|error| {
                        error != told && {
                            error.clone_from(told);
                            true
                        }
                    });
                }
                // The operator's SQL is at fault. The destinations that are known stay.
                Err(destination_list::Error::Query(error)) if error.as_db_error().is_some() => {
                    self.tell_failed(offtake_postgres::Error::from(error).message());
                    if mapping_set_is_new {
                        applied.clear();
                    }
                }
                Err(error) => return Err(error.into()),
            }
            self.pause(destinations.refresh, &shutdown).await;
        }
        Ok(())
    }

    /// Returns after `refresh`, at shutdown, or as soon as configuration or mappings change.
    async fn pause(&mut self, refresh: Duration, shutdown: &CancellationToken) {
        let next = Instant::now() + refresh;
        while Instant::now() < next {
            self.progress.send_replace(Instant::now());
            let tick = TICK_INTERVAL.min(next.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = shutdown.cancelled() => return,
                Ok(()) = self.configuration.changed() => return,
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
    /// others may be anybody's. Returns what the status tells of it.
    async fn settle(&self, list: &mut DestinationList) -> Result<Option<String>, Error> {
        let mut told = Vec::new();
        for mut contested in std::mem::take(&mut list.contested) {
            let Some(at) = self.registry.served(&contested.candidates).await? else {
                list.refused.push(contested.refuse());
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
            told.push(why);
            list.usable.push(served);
        }
        Ok((!told.is_empty()).then(|| told.join("\n")))
    }

    /// Writes the list into the registry. Returns what the status tells of the query.
    async fn apply(&self, mut list: DestinationList) -> Result<Option<String>, Error> {
        let contested = self.settle(&mut list).await?;
        let set = self.mappings.borrow().clone();
        let source = self.pool.get().await?;
        let spelt = tenant_spelling::spell(&source, &mut list, &set).await;
        spelt.map_err(destination_list::Error::Spelling)?;
        drop(source);
        let DestinationList { usable, refused, of_both, without_tenant, .. } = list;
        if without_tenant > 0 {
            tracing::error!(
                event = "destination_without_tenant",
                rows = without_tenant,
                "rows of the destinations query have no tenant_id and are ignored"
            );
        }
        for (tenant, name) in &of_both {
            tracing::warn!(
                event = "destination_named_twice",
                tenant,
                destination = name,
                "the configuration file also names this destination, and the file counts"
            );
        }
        let waiting = self.waiting.borrow().clone();
        self.registry.refresh(usable, &waiting).await?;
        let client = self.pool.get().await?;
        for RefusedDestination { tenant_id, name, why } in &refused {
            offtake_requests::refuse_destination(&client, tenant_id, name, why).await?;
            tracing::warn!(
                event = "destination_refused",
                tenant = tenant_id,
                destination = name,
                "{why}"
            );
        }
        Ok(contested)
    }
}
