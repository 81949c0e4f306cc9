//! The loops of the daemon: how each is made, at start and again after it failed.
//!
//! | loop | purpose |
//! |---|---|
//! | `mappings` | keeps mappings, triggers and configuration as the files have them |
//! | `fuses` | reads what operators stopped |
//! | `destinations` | keeps the registry as configuration and destinations query have it |
//! | `webhook list` | keeps the registry of webhooks as configuration and webhooks query have it |
//! | `webhooks` | tells webhooks what changed |
//! | `sequencer`, `poller`, `sync` | carry a change from its capture to the destinations |
//! | `exports` | writes tenants' rows to files |
//! | `snapshots` | keeps tenants' rows of one moment as files |
//! | `audit` | proves that every copy equals its query |
//!
//! Loops hand work over through the source. What they share in the process are channels with the
//! latest state, and nudges.

use std::sync::Arc;
use std::time::Duration;

use offtake_admin::Readiness;
use offtake_jobs::{Store, exports, snapshots};
use offtake_loops::metrics as names;
use offtake_loops::{BlownFuses, Fuses, Rounds};
use offtake_mapping::MappingSet;
use offtake_poller::Poller;
use offtake_postgres::SourcePool;
use offtake_sequencer::{Numbering, Sequencer};
use offtake_sync::audit::{self, Audit};
use offtake_sync::destinations::Registry;
use offtake_sync::{Engine, Parts};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;

use super::destinations_refresh::DestinationsRefresh;
use super::reload::{MappingReload, Published};
use super::renewed_loop::RenewedLoop;
use super::supervision::{Started, Supervisor};
use super::webhooks_refresh::WebhooksRefresh;
use crate::configuration::{self, Configuration};
use crate::context::{destination_dialer, receiver_policy};
use crate::export_callbacks::callbacks;

/// A loop without a tick for this long is stuck. It is ninety times the longest default interval,
/// and longer than the timeout of any statement that a tick waits for.
pub(super) const TICK_WITHIN: Duration = Duration::from_secs(90);

/// What the loops share.
pub(super) struct Loops {
    pub(super) pool: SourcePool,
    /// The runtime of sequencer, poller and their connections.
    pub(super) probing: Handle,
    pub(super) probing_pool: SourcePool,
    pub(super) published: Published,
    pub(super) registry: Registry,
    pub(super) webhooks: offtake_webhooks::Registry,
    pub(super) numbering: Arc<Numbering>,
    /// The sender is kept here, so that a restart of the loop that reads the fuses does not end the
    /// subscriptions of the others.
    pub(super) fuses: watch::Sender<Arc<BlownFuses>>,
    pub(super) poller_wakes: Arc<Notify>,
    /// From the sequencer to the engine.
    pub(super) numbered: watch::Sender<i64>,
    pub(super) engine_wakes: Arc<Notify>,
    pub(super) webhooks_wake: Arc<Notify>,
}

impl Loops {
    /// Until destinations and webhooks are registered once, the daemon cannot answer for what it
    /// serves. A list that the operator's SQL cannot make ends the wait too: the status tells it,
    /// and a daemon that is not ready might not be asked for its status.
    pub(super) fn expect_registrations(&self, readiness: &Readiness) {
        let (registry, error) = (self.registry.clone(), self.published.destinations_error.clone());
        let done = move || registry.begun() || error.borrow().is_some();
        readiness.expect_first("destinations", "it registers the destinations", done);
        let (registry, error) = (self.webhooks.clone(), self.published.webhooks_error.clone());
        let done = move || registry.begun() || error.borrow().is_some();
        readiness.expect_first("webhook list", "it registers the webhooks", done);
    }

    /// `reload` has loaded the first set already. What it knows survives a restart of the loop.
    pub(super) fn keep_mappings(&self, supervisor: &Supervisor, reload: MappingReload) {
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

    pub(super) fn keep_fuses(&self, supervisor: &Supervisor) {
        let (pool, published) = (self.pool.clone(), self.fuses.clone());
        supervisor.keep_running("fuses", TICK_WITHIN, move |shutdown| {
            let fuses = Fuses::new(pool.clone(), published.clone());
            Started::new(None, fuses.run(shutdown))
        });
    }

    pub(super) fn keep_destinations(&self, supervisor: &Supervisor) {
        let (pool, registry, published) =
            (self.pool.clone(), self.registry.clone(), self.published.clone());
        supervisor.keep_running("destinations", TICK_WITHIN, move |shutdown| {
            let refresh = DestinationsRefresh {
                pool: pool.clone(),
                registry: registry.clone(),
                configuration: published.configuration.subscribe(),
                mappings: published.mappings.subscribe(),
                waiting: published.waiting.subscribe(),
                error: published.destinations_error.clone(),
                progress: watch::Sender::new(Rounds::now()),
            };
            Started::new(Some(refresh.progress.subscribe()), refresh.run(shutdown))
        });
    }

    pub(super) fn keep_sequencer(&self, supervisor: &Supervisor) {
        let (pool, mappings, wakes, fuses) = (
            self.probing_pool.clone(),
            self.mappings(),
            self.poller_wakes.clone(),
            self.fuses.clone(),
        );
        let (numbering, numbered) = (self.numbering.clone(), self.numbered.clone());
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
                (wakes.clone(), numbered.clone()),
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

    pub(super) fn keep_poller(&self, supervisor: &Supervisor, configuration: &Configuration) {
        let settings = offtake_poller::Settings { interval: configuration.poller.interval };
        let (pool, woken) = (self.probing_pool.clone(), self.poller_wakes.clone());
        let wakes = offtake_poller::Wakes {
            sync: self.engine_wakes.clone(),
            webhooks: self.webhooks_wake.clone(),
        };
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

    pub(super) fn keep_engine(&self, supervisor: &Supervisor) {
        let (pool, registry, fuses) =
            (self.pool.clone(), self.registry.clone(), self.fuses.clone());
        let (woken, numbered) = (self.engine_wakes.clone(), self.numbered.clone());
        let begin = move |configuration: &Configuration, shutdown: CancellationToken| {
            let Configuration { sync, poller, .. } = configuration;
            pool.expect_answers_within(sync.statement_timeout);
            let engine = Engine::new(Parts {
                pool: pool.clone(),
                registry: registry.clone(),
                dialer: destination_dialer(configuration),
                settings: engine_settings(sync, poller),
                woken: woken.clone(),
                numbered: numbered.subscribe(),
                fuses: fuses.subscribe(),
            });
            (engine.progress(), engine.run(shutdown))
        };
        self.keep_renewed(supervisor, "sync", None, |old, new| old.sync == new.sync, begin);
    }

    /// Two loops: the registry, and what tells the webhooks.
    pub(super) fn keep_webhooks(&self, supervisor: &Supervisor) {
        let (pool, registry, published) =
            (self.pool.clone(), self.webhooks.clone(), self.published.clone());
        supervisor.keep_running("webhook list", TICK_WITHIN, move |shutdown| {
            let refresh = WebhooksRefresh {
                pool: pool.clone(),
                registry: registry.clone(),
                configuration: published.configuration.subscribe(),
                mappings: published.mappings.subscribe(),
                error: published.webhooks_error.clone(),
                progress: watch::Sender::new(Rounds::now()),
            };
            Started::new(Some(refresh.progress.subscribe()), refresh.run(shutdown))
        });
        let (pool, registry) = (self.pool.clone(), self.webhooks.clone());
        let (woken, fuses) = (self.webhooks_wake.clone(), self.fuses.clone());
        let begin = move |configuration: &Configuration, shutdown: CancellationToken| {
            let engine = offtake_webhooks::Engine::new(offtake_webhooks::Parts {
                pool: pool.clone(),
                registry: registry.clone(),
                policy: receiver_policy(configuration),
                settings: webhook_settings(configuration),
                callbacks: callbacks(&pool, configuration),
                woken: woken.clone(),
                fuses: fuses.subscribe(),
            });
            (engine.progress(), engine.run(shutdown))
        };
        let same = |old: &Configuration, new: &Configuration| {
            webhook_settings(old) == webhook_settings(new)
                && old.exports.callback_secret == new.exports.callback_secret
        };
        self.keep_renewed(supervisor, "webhooks", None, same, begin);
    }

    pub(super) fn keep_audit(&self, supervisor: &Supervisor) {
        let (pool, registry) = (self.pool.clone(), self.registry.clone());
        let begin = move |configuration: &Configuration, shutdown: CancellationToken| {
            let Configuration { sync, poller, audit, .. } = configuration;
            let settings = audit::Settings {
                period: audit.period,
                budget: audit.budget,
                repair: audit.repair,
                lease: poller.lease,
                statement_timeout: sync.statement_timeout,
            };
            let dialer = destination_dialer(configuration);
            let (pool, registry) = (pool.clone(), registry.clone());
            let audit = Audit::new(audit::Parts { pool, registry, dialer, settings });
            (audit.progress(), audit.run(shutdown))
        };
        let same = |old: &Configuration, new: &Configuration| {
            old.audit == new.audit && old.sync == new.sync
        };
        self.keep_renewed(supervisor, "audit", None, same, begin);
    }

    pub(super) fn keep_exports(&self, supervisor: &Supervisor, stores: Vec<Store>) {
        let (pool, fuses, mappings) = (self.pool.clone(), self.fuses.clone(), self.mappings());
        let begin = move |configuration: &Configuration, shutdown: CancellationToken| {
            let engine = exports::Engine::new(exports::Parts {
                pool: pool.clone(),
                stores: stores.clone(),
                mappings: mappings.clone(),
                settings: export_settings(configuration),
                workers: configuration.exports.workers as usize,
                fuses: fuses.subscribe(),
            });
            (engine.progress(), engine.run(shutdown))
        };
        let same = |old: &Configuration, new: &Configuration| {
            old.exports == new.exports && old.sync == new.sync
        };
        self.keep_renewed(supervisor, "exports", None, same, begin);
    }

    pub(super) fn keep_snapshots(&self, supervisor: &Supervisor, stores: Vec<Store>) {
        let (pool, fuses, mappings) = (self.pool.clone(), self.fuses.clone(), self.mappings());
        let begin = move |configuration: &Configuration, shutdown: CancellationToken| {
            let Configuration { snapshots: settings, stores: specs, .. } = configuration;
            let every = settings.every.zip(settings.default_store(specs).map(str::to_owned));
            let interval = every.as_ref().map_or(Duration::ZERO, |(every, _)| *every);
            metrics::gauge!(names::SNAPSHOT_INTERVAL_SECONDS).set(interval.as_secs_f64());
            let engine = snapshots::Engine::new(snapshots::Parts {
                pool: pool.clone(),
                stores: stores.clone(),
                mappings: mappings.clone(),
                tables: settings.tables.clone(),
                workers: settings.workers as usize,
                max_duration: settings.max_duration,
                schedule: snapshots::Schedule {
                    every,
                    kinds: settings.kinds.clone(),
                    keep: settings.keep,
                },
                fuses: fuses.subscribe(),
            });
            (engine.progress(), engine.run(shutdown))
        };
        let same = |old: &Configuration, new: &Configuration| old.snapshots == new.snapshots;
        self.keep_renewed(supervisor, "snapshots", None, same, begin);
    }

    /// Keeps a loop running that takes its settings when it is made. Where `same` says that the
    /// configuration changed for it, it is drained and made with the new settings, which does not
    /// count as its failure.
    fn keep_renewed<E, Work>(
        &self,
        supervisor: &Supervisor,
        name: &'static str,
        runtime: Option<Handle>,
        same: fn(&Configuration, &Configuration) -> bool,
        begin: impl Fn(&Configuration, CancellationToken) -> (watch::Receiver<Rounds>, Work)
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
            let renewed = RenewedLoop {
                name,
                same,
                begin: begin.clone(),
                changes: published.subscribe(),
                progress: watch::Sender::new(Rounds::now()),
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

pub(crate) fn export_settings(configuration: &Configuration) -> exports::Settings {
    let configuration::Exports { work, pause, settle, keep, .. } = configuration.exports;
    let statement_timeout = configuration.sync.statement_timeout;
    let chunk_bytes = usize::try_from(configuration.exports.chunk_bytes.0).unwrap_or(usize::MAX);
    exports::Settings { work, pause, settle, statement_timeout, chunk_bytes, keep }
}

fn webhook_settings(configuration: &Configuration) -> offtake_webhooks::Settings {
    let Configuration { webhooks, poller, sync, retention, .. } = configuration;
    offtake_webhooks::Settings {
        workers: webhooks.workers as usize,
        connections: webhooks.connections as usize,
        claim_limit: poller.claim_limit as usize,
        lease: poller.lease,
        statement_timeout: sync.statement_timeout,
        backoff: offtake_webhooks::Backoff {
            initial: webhooks.retry_initial,
            max: webhooks.retry_max,
        },
        event_schedule: offtake_webhooks::EventSchedule(webhooks.retry_events.clone()),
        disable_after: webhooks.disable_after,
        attempts_log: webhooks.attempts_log,
        attempts_keep: webhooks.attempts_keep,
        refresh: webhooks.refresh,
        retention: retention.changes,
    }
}

fn engine_settings(
    sync: &configuration::Sync,
    poller: &configuration::Poller,
) -> offtake_sync::Settings {
    offtake_sync::Settings {
        workers: sync.workers as usize,
        batch_rows: sync.batch_rows as usize,
        chunk_rows: sync.chunk_rows as usize,
        batch_bytes: usize::try_from(sync.batch_bytes.0).unwrap_or(usize::MAX),
        file_log_bytes: sync.file_log_bytes.0,
        d1_database_bytes: sync.d1_database_bytes.0,
        statement_timeout: sync.statement_timeout,
        lock_timeout: sync.statement_timeout,
        retry_initial: sync.retry.initial,
        retry_max: sync.retry.max,
        lease: poller.lease,
        claim_limit: poller.claim_limit as usize,
    }
}
