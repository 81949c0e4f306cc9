//! The daemon: what it starts, in which order, and how it ends.
//!
//! 1. HTTP listens first, so that probes and status can say what the daemon is waiting for.
//! 2. The source must answer and be prepared; until then everything waits.
//! 3. Mappings are resolved and their triggers seen to. A first set that cannot be used is the
//!    daemon's failure.
//! 4. The loops run under one [`Supervisor`] until [`Daemon::stop`].
//!
//! Everything it knows is in the source: a daemon that is killed at any point leaves nothing to
//! repair.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use offtake_admin::status::Config;
use offtake_admin::{AdminState, Readiness, Tokens, Verifier};
use offtake_loops::Fuses;
use offtake_mapping::MappingSet;
use offtake_postgres::{SourcePool, chain};
use offtake_sync::destinations::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::configuration::Configuration;
use crate::loops::{Loops, TICK_WITHIN};
use crate::mapping_files;
use crate::mapping_reload::{MappingReload, Published, ReadConfiguration};
use crate::outcome::{Exit, Failure};
use crate::probing::ProbingThread;
use crate::supervision::Supervisor;
use crate::{destinations, source, systemd, verification};

/// Batches in flight end within their statement timeout or are rolled back; service managers and
/// Kubernetes kill after 30 s, and five of those are for the process's own end.
pub const GRACE: Duration = Duration::from_secs(25);

/// Connections to the source beside one per worker: two for each loop, some for HTTP.
const SPARE_CONNECTIONS: usize = 10;

/// Connections of the sequencer and the poller: one each, and one for whatever a cancelled round
/// has not returned yet.
const PROBING_CONNECTIONS: usize = 3;

/// What the daemon is told by its caller rather than by its configuration.
#[derive(Default)]
pub struct Options {
    /// Reads the configuration again, when its file changed or someone asks; None: it never
    /// changes.
    pub read_configuration: Option<ReadConfiguration>,
    /// Fail at the first obstacle instead of waiting for the source.
    pub impatient: bool,
    /// Notified: look at configuration and mappings now.
    pub reload: Arc<Notify>,
}

/// A running daemon.
pub struct Daemon {
    /// Where HTTP listens; the port is the kernel's choice where the configuration says 0.
    pub address: SocketAddr,
    /// Ready for a status at any time.
    pub pool: SourcePool,
    /// What `/readyz` says of the loops.
    pub readiness: Readiness,
    shutdown: CancellationToken,
    running: watch::Receiver<bool>,
    ended: CancellationToken,
    work: JoinHandle<Result<(), Failure>>,
}

impl Daemon {
    /// Returns as soon as HTTP listens and the files are known to be usable; the rest happens
    /// behind it, and its failure is [`Daemon::wait`]'s.
    pub async fn start(configuration: Configuration, options: Options) -> Result<Self, Failure> {
        let (definitions, _) = mapping_files::load(&configuration.mappings)?;
        destinations::check_static(&configuration, &definitions)?;
        let listener = TcpListener::bind(configuration.http.listen).await.map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot listen on {}", configuration.http.listen))
                .because(error.to_string())
                .remedy("choose another http.listen, or stop what listens there")
        })?;
        let address = listener.local_addr().map_err(|error| {
            Failure::new(Exit::Failed, "cannot listen").because(error.to_string())
        })?;
        let connections = configuration.sync.workers as usize + SPARE_CONNECTIONS;
        let pool = SourcePool::new(
            configuration.source.url.clone(),
            configuration.sync.connect_timeout,
            connections,
        );
        pool.expect_answers_within(configuration.sync.statement_timeout);
        let shutdown = CancellationToken::new();
        let readiness = Readiness::default();
        let (running, is_running) = watch::channel(false);
        let daemon = Starting {
            pool: pool.clone(),
            readiness: readiness.clone(),
            shutdown: shutdown.clone(),
            running,
            configuration: Arc::new(configuration),
            options,
            verifier: Arc::default(),
        };
        let metrics = recorder()?;
        let ended = CancellationToken::new();
        // Also when the task panics.
        let end = ended.clone().drop_guard();
        let work = tokio::spawn(async move {
            let _end = end;
            Box::pin(daemon.run(listener, metrics)).await
        });
        Ok(Self { address, pool, readiness, shutdown, running: is_running, ended, work })
    }

    /// Returns when all loops run; false when the daemon ended instead.
    pub async fn ready(&self) -> bool {
        self.running.clone().wait_for(|running| *running).await.is_ok()
    }

    /// Asks it to end: nothing more is claimed, what is in flight is finished within [`GRACE`].
    pub fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Waits for its end, by [`Daemon::stop`] or by a failure at start.
    pub async fn wait(self) -> Result<(), Failure> {
        match self.work.await {
            Ok(outcome) => outcome,
            Err(error) => Err(Failure::new(Exit::Failed, "the daemon ended unexpectedly")
                .because(error.to_string())),
        }
    }

    /// Completes when it has ended, by whatever cause; for a caller that also waits for other
    /// things.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// The recorder is the process's; a second daemon in the same process, as in tests, shares it.
fn recorder() -> Result<PrometheusHandle, Failure> {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(recorder) = RECORDER.get() {
        return Ok(recorder.clone());
    }
    let installed = offtake_admin::metrics::install();
    let installed = installed.map_err(|error| {
        Failure::new(Exit::Failed, "cannot collect metrics").because(chain(&error))
    })?;
    Ok(RECORDER.get_or_init(|| installed).clone())
}

/// What the daemon's own task works with.
struct Starting {
    pool: SourcePool,
    readiness: Readiness,
    shutdown: CancellationToken,
    running: watch::Sender<bool>,
    configuration: Arc<Configuration>,
    options: Options,
    /// Set as soon as there is a registry of destinations.
    verifier: Arc<OnceLock<Verifier>>,
}

impl Starting {
    async fn run(
        mut self,
        listener: TcpListener,
        metrics: PrometheusHandle,
    ) -> Result<(), Failure> {
        let readiness = self.readiness.clone();
        // Loops and HTTP end by different tokens: the status answers while the loops drain.
        let http_shutdown = CancellationToken::new();
        let supervisor = Supervisor::new(self.shutdown.child_token(), readiness.clone());
        let published = Published {
            mappings: watch::Sender::new(Arc::new(MappingSet::default())),
            withheld: watch::Sender::new(Arc::default()),
            configuration: watch::Sender::new(self.configuration.clone()),
            destinations_error: watch::Sender::new(None),
            status: watch::Sender::new(Config { loaded_at: jiff::Timestamp::now(), error: None }),
        };
        let http = self.serve(listener, metrics, &readiness, &published, http_shutdown.clone());
        let probing = ProbingThread::start().map_err(|error| {
            Failure::new(Exit::Failed, "cannot start a thread").because(error.to_string())
        })?;
        let started = self.start_loops(&supervisor, &readiness, published, &probing).await;
        if started.is_ok() && !self.shutdown.is_cancelled() {
            tracing::info!(event = "ready", "all loops run");
            self.running.send_replace(true);
            systemd::ready();
            self.shutdown.cancelled().await;
        }
        systemd::stopping();
        tracing::info!(event = "stopping", "finishing what is in flight");
        let drained = supervisor.stop(GRACE).await;
        http_shutdown.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(1), http).await;
        if !drained {
            tracing::warn!(
                event = "grace_exceeded",
                "some work did not end in time and is rolled back by its databases"
            );
        }
        tracing::info!(event = "stopped", "the daemon ended");
        started
    }

    fn serve(
        &self,
        listener: TcpListener,
        metrics: PrometheusHandle,
        readiness: &Readiness,
        published: &Published,
        shutdown: CancellationToken,
    ) -> JoinHandle<()> {
        let http = &self.configuration.http;
        let state = AdminState {
            source: self.pool.clone(),
            tokens: Tokens::new(http.admin_token.clone(), http.read_token.clone()),
            readiness: readiness.clone(),
            config: published.status.subscribe(),
            metrics,
            reload: self.options.reload.clone(),
            verifier: self.verifier.clone(),
        };
        tokio::spawn(async move {
            if let Err(error) = offtake_admin::serve(listener, state, shutdown).await {
                tracing::error!(event = "http_failed", error = chain(&error), "HTTP is not served");
            }
        })
    }

    /// Steps 2 to 4 of the module's list. Stops half-way without an error when shutdown comes
    /// first.
    async fn start_loops(
        &mut self,
        supervisor: &Supervisor,
        readiness: &Readiness,
        published: Published,
        probing: &ProbingThread,
    ) -> Result<(), Failure> {
        let reload = MappingReload::new(
            self.pool.clone(),
            published.clone(),
            Arc::new(self.options.read_configuration.take()),
            self.options.reload.clone(),
        );
        readiness.watch("mappings", TICK_WITHIN, reload.progress.subscribe());
        readiness.stop("mappings", "waiting for the source");
        let report = |why: &str| {
            readiness.stop("mappings", format!("waiting for the source: {why}"));
            systemd::status(&format!("waiting for the source: {why}"));
        };
        source::wait_until_prepared(&self.pool, !self.options.impatient, &self.shutdown, report)
            .await?;
        let mut reload = reload;
        loop {
            if self.shutdown.is_cancelled() {
                return Ok(());
            }
            match reload.load().await {
                Ok(()) => break,
                // It went away again, between the two steps.
                Err(failure) if failure.exit == Exit::Unreachable && !self.options.impatient => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        self.keep_loops(supervisor, reload, published, probing);
        Ok(())
    }

    fn keep_loops(
        &self,
        supervisor: &Supervisor,
        reload: MappingReload,
        published: Published,
        probing: &ProbingThread,
    ) {
        let (poller_wakes, engine_wakes) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let numbering = reload.numbering.clone();
        let registry =
            Registry::new(self.pool.clone(), published.mappings.subscribe(), engine_wakes.clone());
        let _ = self
            .verifier
            .set(verification::verifier(registry.clone(), published.configuration.subscribe()));
        let fuses = Fuses::unread();
        let loops = Loops {
            pool: self.pool.clone(),
            probing: probing.handle(),
            probing_pool: self.pool.sibling(PROBING_CONNECTIONS),
            published,
            registry,
            numbering,
            fuses,
            poller_wakes,
            engine_wakes,
        };
        loops.keep_mappings(supervisor, reload);
        loops.keep_fuses(supervisor);
        loops.keep_destinations(supervisor);
        loops.keep_sequencer(supervisor);
        loops.keep_poller(supervisor, &self.configuration);
        loops.keep_engine(supervisor);
        tokio::spawn(systemd::feed_watchdog(self.shutdown.clone()));
    }
}
