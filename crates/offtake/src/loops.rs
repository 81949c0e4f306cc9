//! The loops of a daemon: what each is made of, and made of again when it failed.
//!
//! | loop | purpose |
//! |---|---|
//! | `mappings` | the mapping set as the folder has it, with its triggers; `offtake.yaml` too |
//! | `fuses` | what operators stopped |
//! | `destinations` | the registry as configuration and query have it |
//! | `sequencer`, `poller`, `sync` | the way of a change |
//!
//! They hand over through the source; what they share here are channels of the latest state, and
//! nudges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_egress::AddressPolicy;
use offtake_loops::{BlownFuses, Fuses};
use offtake_mapping::MappingSet;
use offtake_poller::Poller;
use offtake_postgres::{Dialer, SourcePool};
use offtake_sequencer::{Numbering, Sequencer};
use offtake_sync::destinations::Registry;
use offtake_sync::{Engine, Parts};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::configuration::{self, Configuration};
use crate::destinations::Refresher;
use crate::mapping_reload::{MappingReload, Published};
use crate::supervision::{Started, Supervisor};

/// A loop without a tick for that long is stuck: a hundred times the longest default interval, and
/// longer than the timeout of any statement that a tick waits for.
pub(crate) const TICK_WITHIN: Duration = Duration::from_secs(90);

/// What the loops share.
pub(crate) struct Loops {
    pub(crate) pool: SourcePool,
    /// What sequencer and poller run on, and their connections with them.
    pub(crate) probing: Handle,
    pub(crate) probing_pool: SourcePool,
    pub(crate) published: Published,
    pub(crate) registry: Registry,
    pub(crate) numbering: Arc<Numbering>,
    /// Outlives the task that reads them: a loop begun again keeps its subscription.
    pub(crate) fuses: watch::Sender<Arc<BlownFuses>>,
    pub(crate) poller_wakes: Arc<Notify>,
    pub(crate) engine_wakes: Arc<Notify>,
}

impl Loops {
    /// One that was loaded already: what it knows stays with it when it begins again.
    pub(crate) fn keep_mappings(&self, supervisor: &Supervisor, reload: MappingReload) {
        let progress = reload.progress.subscribe();
        let reload = Arc::new(Mutex::new(reload));
        supervisor.keep_running("mappings", TICK_WITHIN, move |shutdown| {
            let reload = reload.clone();
            Started::new(
                Some(progress.clone()),
                async move { reload.lock().await.run(shutdown).await },
            )
        });
    }

    pub(crate) fn keep_fuses(&self, supervisor: &Supervisor) {
        let (pool, published) = (self.pool.clone(), self.fuses.clone());
        supervisor.keep_running("fuses", TICK_WITHIN, move |shutdown| {
            let fuses = Fuses::new(pool.clone(), published.clone());
            Started::new(None, fuses.run(shutdown))
        });
    }

    pub(crate) fn keep_destinations(&self, supervisor: &Supervisor) {
        let (pool, registry, published) =
            (self.pool.clone(), self.registry.clone(), self.published.clone());
        supervisor.keep_running("destinations", TICK_WITHIN, move |shutdown| {
            let refresher = Refresher {
                pool: pool.clone(),
                registry: registry.clone(),
                configuration: published.configuration.subscribe(),
                mappings: published.mappings.subscribe(),
                withheld: published.withheld.subscribe(),
                error: published.destinations_error.clone(),
                progress: watch::Sender::new(Instant::now()),
            };
            Started::new(Some(refresher.progress.subscribe()), refresher.run(shutdown))
        });
    }

    pub(crate) fn keep_sequencer(&self, supervisor: &Supervisor) {
        let (pool, mappings, wakes, fuses) = (
            self.probing_pool.clone(),
            self.mappings(),
            self.poller_wakes.clone(),
            self.fuses.clone(),
        );
        let numbering = self.numbering.clone();
        let begin = move |configuration: &Configuration, shutdown: CancellationToken| {
            let Configuration { sequencer, retention, .. } = configuration;
            let settings = offtake_sequencer::Settings {
                interval: sequencer.interval,
                batch_rows: sequencer.batch_rows,
                retention: retention.changes,
            };
            let sequencer = Sequencer::new(
                pool.clone(),
                mappings.clone(),
                numbering.clone(),
                settings,
                wakes.clone(),
                fuses.subscribe(),
            );
            (sequencer.progress(), sequencer.run(shutdown))
        };
        self.keep_renewed(
            supervisor,
            "sequencer",
            Some(self.probing.clone()),
            |old, new| old.retention == new.retention,
            begin,
        );
    }

    pub(crate) fn keep_poller(&self, supervisor: &Supervisor, configuration: &Configuration) {
        let settings = offtake_poller::Settings { interval: configuration.poller.interval };
        let (pool, woken, wakes) =
            (self.probing_pool.clone(), self.poller_wakes.clone(), self.engine_wakes.clone());
        let (fuses, probing) = (self.fuses.clone(), self.probing.clone());
        supervisor.keep_running("poller", TICK_WITHIN, move |shutdown| {
            let poller = Poller::new(
                pool.clone(),
                settings,
                woken.clone(),
                wakes.clone(),
                fuses.subscribe(),
            );
            Started::new(Some(poller.progress()), poller.run(shutdown)).on(probing.clone())
        });
    }

    pub(crate) fn keep_engine(&self, supervisor: &Supervisor) {
        let (pool, registry, woken, fuses) = (
            self.pool.clone(),
            self.registry.clone(),
            self.engine_wakes.clone(),
            self.fuses.clone(),
        );
        let begin = move |configuration: &Configuration, shutdown: CancellationToken| {
            let Configuration { sync, poller, security, .. } = configuration;
            pool.expect_answers_within(sync.statement_timeout);
            let engine = Engine::new(Parts {
                pool: pool.clone(),
                registry: registry.clone(),
                dialer: Dialer::new(
                    AddressPolicy::new(security.allow_destinations.clone()),
                    sync.connect_timeout,
                ),
                settings: engine_settings(sync, poller),
                woken: woken.clone(),
                fuses: fuses.subscribe(),
            });
            (engine.progress(), engine.run(shutdown))
        };
        self.keep_renewed(supervisor, "sync", None, |old, new| old.sync == new.sync, begin);
    }

    /// A loop that is drained and made anew when the configuration changed for it, which is not its
    /// failure.
    fn keep_renewed<E, Work>(
        &self,
        supervisor: &Supervisor,
        name: &'static str,
        runtime: Option<Handle>,
        same: fn(&Configuration, &Configuration) -> bool,
        begin: impl Fn(&Configuration, CancellationToken) -> (watch::Receiver<Instant>, Work)
        + Clone
        + Send
        + Sync
        + 'static,
    ) where
        E: std::error::Error + 'static,
        Work: Future<Output = Result<(), E>> + Send + 'static,
    {
        let published = self.published.configuration.clone();
        supervisor.keep_running(name, TICK_WITHIN, move |shutdown| {
            let renewed = Renewed {
                name,
                same,
                begin: begin.clone(),
                changes: published.subscribe(),
                progress: watch::Sender::new(Instant::now()),
            };
            Started {
                runtime: runtime.clone(),
                ..Started::new(Some(renewed.progress.subscribe()), renewed.run(shutdown))
            }
        });
    }

    fn mappings(&self) -> watch::Receiver<Arc<MappingSet>> {
        self.published.mappings.subscribe()
    }
}

/// A loop whose settings may change while it runs.
struct Renewed<Begin> {
    name: &'static str,
    same: fn(&Configuration, &Configuration) -> bool,
    begin: Begin,
    changes: watch::Receiver<Arc<Configuration>>,
    progress: watch::Sender<Instant>,
}

impl<Begin> Renewed<Begin> {
    async fn run<E, Work>(mut self, shutdown: CancellationToken) -> Result<(), E>
    where
        Begin: Fn(&Configuration, CancellationToken) -> (watch::Receiver<Instant>, Work),
        Work: Future<Output = Result<(), E>>,
    {
        while !shutdown.is_cancelled() {
            let configuration = self.changes.borrow_and_update().clone();
            let drain = shutdown.child_token();
            let (mut ticks, work) = (self.begin)(&configuration, drain.clone());
            let mut work = std::pin::pin!(work);
            loop {
                tokio::select! {
                    outcome = &mut work => {
                        outcome?;
                        break;
                    }
                    Ok(()) = ticks.changed() => {
                        let tick = *ticks.borrow_and_update();
                        self.progress.send_replace(tick);
                    }
                    Ok(()) = self.changes.changed() => {
                        if !(self.same)(&configuration, &self.changes.borrow_and_update()) {
                            tracing::info!(event = "loop_renewed", r#loop = self.name, "{} takes over the new configuration", self.name);
                            drain.cancel();
                        }
                    }
                }
            }
            if !drain.is_cancelled() {
                // It ended by itself; the supervisor knows what that means.
                return Ok(());
            }
        }
        Ok(())
    }
}

fn engine_settings(
    sync: &configuration::Sync,
    poller: &configuration::Poller,
) -> offtake_sync::Settings {
    offtake_sync::Settings {
        workers: sync.workers as usize,
        batch_rows: sync.batch_rows as usize,
        batch_bytes: usize::try_from(sync.batch_bytes.0).unwrap_or(usize::MAX),
        statement_timeout: sync.statement_timeout,
        retry_initial: sync.retry.initial,
        retry_max: sync.retry.max,
        lease: poller.lease,
        claim_limit: poller.claim_limit as usize,
    }
}
