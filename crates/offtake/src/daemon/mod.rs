//! The daemon, which `offtake run` starts. Its life, in order:
//!
//! 1. **Parse.** [`Context::load`] has read the configuration.
//! 2. **Check.** The mapping files must be usable, and fit the destinations of the configuration.
//! 3. **Bind.** HTTP listens before anything else happens, so that probes and status can say what
//!    the daemon waits for.
//! 4. **Wait for the source** until it answers and `offtake init` has prepared it.
//! 5. **Load.** The mappings are resolved against the source, and missing triggers are installed. A
//!    first set of mappings that cannot be used ends the daemon.
//! 6. **Start the loops** under one [`Supervisor`].
//! 7. **Wait** for [`Daemon::stop`].
//! 8. **Drain.** Nothing more is claimed. What is in flight has [`GRACE`] to finish.
//!
//! [`Daemon::start`] is steps 2 and 3; `Running::run` is the rest, in a task of its own.
//!
//! A daemon keeps no state outside source and destinations. One that is killed at any point leaves
//! nothing to repair.

mod destinations_refresh;
mod export_access;
mod file_reads;
mod job_access;
mod loops;
mod presence;
mod probing_thread;
mod recreation;
mod reload;
mod renewed_loop;
mod snapshot_access;
mod source_wait;
mod supervision;
mod systemd;
mod traces;
mod triggers;
mod verification;
mod webhook_access;
mod webhooks_refresh;

pub(crate) use webhook_access::signatures;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use offtake_admin::status_token::StatusSecret;
use offtake_admin::{
    AdminState, ExportAccess, Readiness, Recreator, Settings, SnapshotAccess, Sockets, Tokens,
    Verifier, WebhookAccess,
};
use offtake_jobs::Kind;
use offtake_loops::Fuses;
use offtake_postgres::SourcePool;
use offtake_sync::destinations::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::loops::export_settings;
use self::loops::{Loops, TICK_WITHIN};
use self::presence::Identity;
use self::probing_thread::ProbingThread;
use self::reload::{MappingReload, Published};
use self::source_wait::wait_for_source;
use self::supervision::Supervisor;
use self::traces::Traces;
use crate::configuration::{Configuration, Http};
use crate::context::Context;
use crate::outcome::{Exit, Failure};
use offtake_postgres::chain;

pub use self::reload::ReadConfiguration;

/// How long batches in flight may take to end when the daemon stops; then their databases roll them
/// back. Service managers and Kubernetes kill a process after 30 s, and its own end takes a few.
pub const GRACE: Duration = Duration::from_secs(25);

/// Connections to the source besides one per worker: two for each loop, and some for HTTP.
const SPARE_CONNECTIONS: usize = 10;

/// Connections of the sequencer and the poller: one each, and one for a round that was cancelled
/// and has not returned its connection yet.
const PROBING_CONNECTIONS: usize = 3;

/// HTTP answers are short. One that takes longer than this is cut off at the daemon's end.
const HTTP_GRACE: Duration = Duration::from_secs(1);

/// Between two attempts to load the mappings from a source that went away meanwhile.
const LOAD_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the caller decides about a daemon, besides its configuration.
#[derive(Default)]
pub struct Options {
    /// Reads the configuration again when its file has changed or an operator asks for it. None:
    /// the configuration never changes.
    pub read_configuration: Option<ReadConfiguration>,
    /// End with a failure at the first obstacle, instead of waiting for the source.
    pub impatient: bool,
    /// Notify it to have configuration and mappings read again now.
    pub reload: Arc<Notify>,
}

/// A daemon that was started.
pub struct Daemon {
    /// Where HTTP listens. Where the configuration says port 0, the kernel has chosen one.
    pub address: SocketAddr,
    /// Connections to the source, for callers that read the status.
    pub pool: SourcePool,
    /// What `/readyz` says of the loops.
    pub readiness: Readiness,
    shutdown: CancellationToken,
    loops_run: watch::Receiver<bool>,
    ended: CancellationToken,
    work: JoinHandle<Result<(), Failure>>,
}

impl Daemon {
    /// Checks the files and binds the HTTP port. Everything after that happens in the background; a
    /// failure there is returned by [`Daemon::wait`].
    pub async fn start(context: Context, options: Options) -> Result<Self, Failure> {
        context.mappings()?;
        let collector = context.configuration.telemetry.otlp_endpoint.clone();
        let (sockets, address) = bind(&context.configuration.http).await?;
        let identity = Identity::new(address);
        let readiness = Readiness::default();
        let shutdown = CancellationToken::new();
        let (announce, loops_run) = watch::channel(false);
        let running = Running {
            pool: source_pool(&context),
            // The loops have a token of their own: HTTP answers while they drain.
            supervisor: Supervisor::new(shutdown.child_token(), readiness.clone()),
            readiness: readiness.clone(),
            probing: probing_thread()?,
            verifier: Arc::default(),
            recreator: Arc::default(),
            webhook_access: Arc::default(),
            export_access: Arc::default(),
            snapshot_access: Arc::default(),
            published: Published::new(context.configuration.clone()),
            identity,
            presence: None,
            context,
            options,
            shutdown: shutdown.clone(),
            loops_run: announce,
        };
        let (pool, metrics) = (running.pool.clone(), metrics_recorder()?);
        let traces = collector.as_ref().map(Traces::start).transpose()?;
        let ended = CancellationToken::new();
        // The guard cancels the token also when the task panics.
        let end = ended.clone().drop_guard();
        let work = tokio::spawn(async move {
            let _end = end;
            let outcome = Box::pin(running.run(sockets, metrics)).await;
            if let Some(traces) = traces {
                traces.end().await;
            }
            outcome
        });
        Ok(Self { address, pool, readiness, shutdown, loops_run, ended, work })
    }

    /// Returns true as soon as all loops run, and false where the daemon ended instead.
    pub async fn ready(&self) -> bool {
        self.loops_run.clone().wait_for(|run| *run).await.is_ok()
    }

    /// Asks the daemon to end: it claims nothing more, and what is in flight may finish within
    /// [`GRACE`].
    pub fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Waits for the daemon's end. A failure at start is returned here.
    pub async fn wait(self) -> Result<(), Failure> {
        match self.work.await {
            Ok(outcome) => outcome,
            Err(error) => Err(Failure::new(Exit::Failed, "the daemon ended unexpectedly")
                .because(error.to_string())),
        }
    }

    /// Completes when the daemon has ended, for whatever reason. For a caller that waits for other
    /// things too; [`Daemon::wait`] has the outcome.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// A daemon whose port is bound.
struct Running {
    context: Context,
    options: Options,
    pool: SourcePool,
    probing: ProbingThread,
    supervisor: Supervisor,
    readiness: Readiness,
    published: Published,
    identity: Identity,
    /// Tells the source that this daemon runs, from the loops' start to their end.
    presence: Option<(CancellationToken, JoinHandle<()>)>,
    /// Set as soon as there is a registry of destinations.
    verifier: Arc<OnceLock<Verifier>>,
    recreator: Arc<OnceLock<Recreator>>,
    webhook_access: Arc<OnceLock<Arc<dyn WebhookAccess>>>,
    export_access: Arc<OnceLock<Arc<dyn ExportAccess>>>,
    snapshot_access: Arc<OnceLock<Arc<dyn SnapshotAccess>>>,
    shutdown: CancellationToken,
    /// Becomes true when all loops run.
    loops_run: watch::Sender<bool>,
}

impl Running {
    async fn run(mut self, http: Sockets, metrics: PrometheusHandle) -> Result<(), Failure> {
        let http_shutdown = CancellationToken::new();
        let http = self.serve(http, metrics, http_shutdown.clone());
        let outcome = self.work().await;
        self.drain().await;
        if let Some((end, told)) = self.presence.take() {
            end.cancel();
            let _ = told.await;
        }
        http_shutdown.cancel();
        let _ = tokio::time::timeout(HTTP_GRACE, http).await;
        tracing::info!(event = "stopped", "the daemon ended");
        outcome
    }

    /// Steps 4 to 7. Ends early, and without an error, where shutdown comes before the loops run.
    async fn work(&mut self) -> Result<(), Failure> {
        let mut reload = self.mapping_reload();
        self.wait_for_source().await?;
        self.load_mappings(&mut reload).await?;
        if !self.shutdown.is_cancelled() {
            self.start_loops(reload);
            let end = CancellationToken::new();
            let told = self.identity.clone().tell(self.pool.clone(), end.clone());
            self.presence = Some((end, tokio::spawn(told)));
            self.announce_ready();
            self.shutdown.cancelled().await;
        }
        Ok(())
    }

    fn serve(
        &self,
        sockets: Sockets,
        metrics: PrometheusHandle,
        shutdown: CancellationToken,
    ) -> JoinHandle<()> {
        let http = &self.context.configuration.http;
        let state = AdminState {
            source: self.pool.clone(),
            tokens: Tokens::new(http.admin_token.clone(), http.read_token.clone()),
            public_url: http.public_url.clone(),
            status_secret: http.status_secret.as_ref().map(StatusSecret::new),
            readiness: self.readiness.clone(),
            config: self.published.status.subscribe(),
            metrics,
            worst_destinations: self.context.configuration.metrics.worst_destinations,
            process: self.identity.process.clone(),
            settings: settings_in_use(self.published.configuration.subscribe()),
            reload: self.options.reload.clone(),
            verifier: self.verifier.clone(),
            recreator: self.recreator.clone(),
            webhooks: self.webhook_access.clone(),
            exports: self.export_access.clone(),
            snapshots: self.snapshot_access.clone(),
        };
        tokio::spawn(async move {
            if let Err(error) = offtake_admin::serve(sockets, state, shutdown).await {
                tracing::error!(event = "http_failed", error = chain(&error), "HTTP is not served");
            }
        })
    }

    /// The mapping loop, which also loads the first set. `/readyz` shows it from now on.
    fn mapping_reload(&mut self) -> MappingReload {
        let reload = MappingReload::new(
            self.pool.clone(),
            self.published.clone(),
            self.options.read_configuration.take(),
            self.options.reload.clone(),
        );
        self.readiness.watch("mappings", TICK_WITHIN, reload.progress.subscribe());
        self.readiness.stop("mappings", "waiting for the source");
        reload
    }

    async fn wait_for_source(&self) -> Result<(), Failure> {
        let report = |why: &str| {
            self.readiness.stop("mappings", format!("waiting for the source: {why}"));
            systemd::status(&format!("waiting for the source: {why}"));
        };
        wait_for_source(&self.pool, !self.options.impatient, &self.shutdown, report).await
    }

    async fn load_mappings(&self, reload: &mut MappingReload) -> Result<(), Failure> {
        while !self.shutdown.is_cancelled() {
            systemd::still_starting();
            match reload.load().await {
                Ok(()) => break,
                // The source answered a moment ago, and does not any more.
                Err(failure) if failure.exit == Exit::Unreachable && !self.options.impatient => {
                    tokio::time::sleep(LOAD_AGAIN_AFTER).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    fn start_loops(&self, reload: MappingReload) {
        let (poller_wakes, engine_wakes) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let webhooks_wake = Arc::new(Notify::new());
        let mappings = self.published.mappings.subscribe();
        let registry = Registry::new(self.pool.clone(), mappings.clone(), engine_wakes.clone());
        let webhooks =
            offtake_webhooks::Registry::new(self.pool.clone(), mappings, webhooks_wake.clone());
        let configuration = self.published.configuration.subscribe();
        let access =
            webhook_access::Access::new(self.pool.clone(), webhooks.clone(), configuration.clone());
        let _ = self.webhook_access.set(Arc::new(access));
        let jobs = |kind| job_access::JobAccess {
            kind,
            pool: self.pool.clone(),
            configuration: configuration.clone(),
            mappings: self.published.mappings.subscribe(),
            stores: self.context.stores(),
        };
        let _ = self.export_access.set(Arc::new(export_access::Access(jobs(Kind::Export))));
        let _ = self.snapshot_access.set(Arc::new(snapshot_access::Access(jobs(Kind::Snapshot))));
        let _ = self.recreator.set(recreation::recreator(registry.clone()));
        let _ = self.verifier.set(verification::verifier(registry.clone(), configuration));
        let loops = Loops {
            pool: self.pool.clone(),
            probing: self.probing.handle(),
            probing_pool: self.pool.sibling(PROBING_CONNECTIONS),
            published: self.published.clone(),
            registry,
            webhooks,
            numbering: reload.numbering.clone(),
            fuses: Fuses::unread(),
            poller_wakes,
            numbered: watch::Sender::new(0),
            engine_wakes,
            webhooks_wake,
        };
        offtake_loops::metrics::begin_loops();
        loops.expect_registrations(&self.readiness);
        loops.keep_mappings(&self.supervisor, reload);
        loops.keep_fuses(&self.supervisor);
        loops.keep_destinations(&self.supervisor);
        loops.keep_sequencer(&self.supervisor);
        loops.keep_poller(&self.supervisor, &self.context.configuration);
        loops.keep_engine(&self.supervisor);
        loops.keep_webhooks(&self.supervisor);
        loops.keep_exports(&self.supervisor, self.context.stores());
        loops.keep_snapshots(&self.supervisor, self.context.stores());
        // A daemon that ends when nothing is owed proves nothing: it would have to wait for it.
        if !self.options.impatient {
            loops.keep_audit(&self.supervisor);
        }
        tokio::spawn(systemd::feed_watchdog(self.readiness.clone(), self.shutdown.clone()));
    }

    fn announce_ready(&self) {
        tracing::info!(event = "ready", "all loops run");
        self.loops_run.send_replace(true);
        systemd::status("all loops run");
        systemd::ready();
    }

    async fn drain(&self) {
        systemd::stopping();
        tracing::info!(event = "stopping", "finishing what is in flight");
        if !self.supervisor.stop(GRACE).await {
            tracing::warn!(
                event = "grace_exceeded",
                "some work did not end in time and is rolled back by its databases"
            );
        }
    }
}

/// What HTTP tells of the settings: as `offtake config` prints them.
fn settings_in_use(configuration: watch::Receiver<Arc<Configuration>>) -> Settings {
    Arc::new(move || configuration.borrow().masked_summary())
}

async fn bind(http: &Http) -> Result<(Sockets, SocketAddr), Failure> {
    let main = listen(http.listen, "http.listen").await?;
    let address = main
        .local_addr()
        .map_err(|error| Failure::new(Exit::Failed, "cannot listen").because(error.to_string()))?;
    let probes = match http.probes {
        Some(address) => Some(listen(address, "http.probes").await?),
        None => None,
    };
    Ok((Sockets { main, probes }, address))
}

async fn listen(address: SocketAddr, setting: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot listen on {address}"))
            .because(error.to_string())
            .remedy(format!("choose another {setting}, or stop what listens there"))
    })
}

/// The most connections that one daemon has to the source.
pub(crate) fn source_connections_max(configuration: &Configuration) -> usize {
    loop_connections(configuration) + PROBING_CONNECTIONS
}

/// One for every worker, and some more.
fn loop_connections(configuration: &Configuration) -> usize {
    let Configuration { sync, webhooks, stores, exports, snapshots, .. } = configuration;
    // Without webhooks nothing is read for them.
    let named = !webhooks.static_.is_empty() || webhooks.query.is_some();
    let of_webhooks = if named { webhooks.workers } else { 0 };
    // One holds the snapshot, another one the lease.
    let of_jobs = if stores.is_empty() { 0 } else { (exports.workers + snapshots.workers) * 2 };
    (sync.workers + of_webhooks + of_jobs) as usize + SPARE_CONNECTIONS
}

/// The pool of the loops.
fn source_pool(context: &Context) -> SourcePool {
    let pool = context.pool.sibling(loop_connections(&context.configuration));
    pool.expect_answers_within(context.configuration.sync.statement_timeout);
    pool
}

fn probing_thread() -> Result<ProbingThread, Failure> {
    ProbingThread::start().map_err(|error| {
        Failure::new(Exit::Failed, "cannot start a thread").because(error.to_string())
    })
}

/// A process has one recorder of metrics. A second daemon in the same process, as in tests, shares
/// it.
fn metrics_recorder() -> Result<PrometheusHandle, Failure> {
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
