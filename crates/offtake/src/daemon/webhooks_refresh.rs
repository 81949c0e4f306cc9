//! The loop `webhook list`: it lists the webhooks every `webhooks.refresh`, and whenever
//! configuration or mappings change, and writes what is new into the registry.
//!
//! A webhooks query that fails changes nothing: the webhooks that are known stay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::Rounds;
use offtake_mapping::MappingSet;
use offtake_postgres::SourcePool;
use offtake_webhooks::{Named, Registry};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::configuration::Configuration;
use crate::context::destination_list;
use crate::context::tenant_spelling;
use crate::context::webhook_list::{self, RefusedWebhook, WebhookList};

/// The loop that keeps the registry of webhooks as configuration, query and mappings say.
pub(super) struct WebhooksRefresh {
    pub(super) pool: SourcePool,
    pub(super) registry: Registry,
    pub(super) configuration: watch::Receiver<Arc<Configuration>>,
    pub(super) mappings: watch::Receiver<Arc<MappingSet>>,
    /// Why the query failed the last time. The status tells it, because new webhooks are not found
    /// meanwhile.
    pub(super) error: watch::Sender<Option<String>>,
    pub(super) progress: watch::Sender<Rounds>,
}

/// While it waits for the next refresh, the loop ticks this often.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    List(#[from] destination_list::Error),
    #[error("the source cannot be reached")]
    Source(#[from] offtake_postgres::Error),
    #[error("the tenants' ids cannot be brought into the source's spelling")]
    Spelling(#[source] tokio_postgres::Error),
    #[error("the registry of webhooks cannot be written")]
    Registry(#[from] offtake_webhooks::Error),
    #[error("a refused webhook cannot be written into the registry")]
    Refused(#[source] tokio_postgres::Error),
}

impl WebhooksRefresh {
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        while !shutdown.is_cancelled() {
            let began = Instant::now();
            // Marked as seen before it is used, so that the next round sees a set that arrives
            // meanwhile.
            let configuration = self.configuration.borrow_and_update().clone();
            let set = self.mappings.borrow_and_update().clone();
            let Configuration { webhooks, sync, .. } = &*configuration;
            match webhook_list::list(webhooks, &self.pool, sync.statement_timeout).await {
                Ok(list) => {
                    self.apply(list, &set).await?;
                    self.error.send_replace(None);
                }
                // The operator's SQL is at fault. The webhooks that are known stay.
                Err(destination_list::Error::Query(error)) if error.as_db_error().is_some() => {
                    self.tell_failed(offtake_postgres::Error::from(error).message());
                }
                Err(error) => return Err(error.into()),
            }
            let (refresh, took) = (webhooks.refresh, began.elapsed());
            self.pause(refresh.saturating_sub(took).max(took.min(refresh)), &shutdown).await;
        }
        Ok(())
    }

    /// Writes what has changed into the registry.
    async fn apply(&self, mut list: WebhookList, set: &MappingSet) -> Result<(), Error> {
        let source = self.pool.get().await?;
        let usable = std::mem::take(&mut list.usable);
        let (usable, unlike) =
            tenant_spelling::spell_webhooks(&source, usable, set).await.map_err(Error::Spelling)?;
        drop(source);
        list.refused.extend(unlike);
        tell_ignored(&list);
        let unusable = list.refused.iter().map(|r| (r.tenant_id.clone(), r.name.clone()));
        let named = Named {
            specs: usable.into_iter().map(Arc::new).collect(),
            unusable: unusable.collect(),
        };
        self.registry.refresh(named).await?;
        if list.refused.is_empty() {
            return Ok(());
        }
        let client = self.pool.get().await?;
        for RefusedWebhook { tenant_id, name, why } in &list.refused {
            let why = self.pool.storable(why);
            let refused = offtake_requests::refuse_webhook(&client, tenant_id, name, &why).await;
            if refused.map_err(Error::Refused)? {
                tracing::warn!(
                    event = "webhook_refused",
                    tenant = tenant_id,
                    webhook = name,
                    "{why}"
                );
            }
        }
        Ok(())
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
                () = tokio::time::sleep(tick) => {}
            }
        }
    }

    /// Logged only where the error is another one than the last time, and not at each refresh.
    fn tell_failed(&self, error: String) {
        let told = format!("the webhooks query failed: {error}; the webhooks stay as they were");
        if self.error.borrow().as_ref() != Some(&told) {
            tracing::error!(
                event = "webhooks_query_failed",
                error,
                "the webhooks stay as they were"
            );
            self.error.send_replace(Some(told));
        }
    }
}

/// Logs which rows of the query are not used.
fn tell_ignored(list: &WebhookList) {
    if list.without_tenant > 0 {
        tracing::error!(
            event = "webhook_without_tenant",
            rows = list.without_tenant,
            "rows of the webhooks query have no tenant_id and are ignored"
        );
    }
    for (tenant, name) in &list.of_both {
        tracing::warn!(
            event = "webhook_named_twice",
            tenant,
            webhook = name,
            "the configuration file also names this webhook, and the file counts"
        );
    }
}
