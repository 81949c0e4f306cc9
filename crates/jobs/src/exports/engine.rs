//! The loop of a daemon that works on exports whose files go to stores.
//!
//! **What wakes it**: its own interval. **What a crash leaves behind**: leases that run out, so that
//! another daemon goes on where this one stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::metrics as names;
use offtake_loops::{BlownFuses, Progress, Rounds, SourceTrouble};
use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::{SourcePool, chain};
use rand::Rng as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Ended, Error, Options, Settings, Told, Work, record};
use crate::stores::Key;
use crate::{Held, Job, Kind, LEASE, PublicId, Release, State, Store, Which, claim, job, release};

/// How often the loop looks for exports that are due.
const CLAIM_INTERVAL: Duration = Duration::from_millis(500);

/// How often it looks for files that are to be deleted.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// How often exports are forgotten that ended long ago.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);

/// Another daemon may have the mapping files that an export needs.
const UNKNOWN_MAPPING_PAUSE: Duration = Duration::from_secs(30);

/// What the loop is made of.
pub struct Parts {
    pub pool: SourcePool,
    pub stores: Vec<Store>,
    pub mappings: watch::Receiver<Arc<MappingSet>>,
    pub settings: Settings,
    /// Exports at the same time.
    pub workers: usize,
    pub fuses: watch::Receiver<Arc<BlownFuses>>,
}

/// The loop. Any number of daemons may run it on one source.
pub struct Engine {
    parts: Parts,
    names: Vec<String>,
    progress: Progress,
    /// Names this process in `leased_by`.
    process: String,
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let names = parts.stores.iter().map(|store| store.name().to_owned()).collect();
        let process = format!("{}:{:08x}", std::process::id(), rand::rng().random::<u32>());
        Self { parts, names, progress: Progress::of("exports"), process }
    }

    /// When the loop last completed a round. The supervisor reports a loop that completes none.
    pub fn progress(&self) -> watch::Receiver<Rounds> {
        self.progress.subscribe()
    }

    /// Runs until cancelled. What is in progress then is given back, and goes on elsewhere.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), offtake_postgres::Error> {
        let mut working: JoinSet<()> = JoinSet::new();
        let mut stop = CancellationToken::new();
        let (mut expiry_at, mut forget_at) = (Instant::now(), Instant::now());
        let mut trouble = SourceTrouble::new("exports");
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(CLAIM_INTERVAL) => {}
            }
            while working.try_join_next().is_some() {}
            if let Err(error) = self.forget(&mut forget_at).await {
                self.progress.fail();
                tokio::time::sleep(trouble.report(&error)).await;
                continue;
            }
            if self.parts.fuses.borrow().blown("exports").is_some() {
                // What works stops, and is given back.
                stop.cancel();
            } else if !self.names.is_empty() {
                if stop.is_cancelled() {
                    stop = CancellationToken::new();
                }
                if let Err(error) = self.round(&mut working, &stop, &mut expiry_at).await {
                    self.progress.fail();
                    tokio::time::sleep(trouble.report(&error)).await;
                    continue;
                }
            }
            trouble.over();
            self.progress.tick();
        }
        stop.cancel();
        while working.join_next().await.is_some() {}
        Ok(())
    }

    async fn round(
        &self,
        working: &mut JoinSet<()>,
        stop: &CancellationToken,
        expiry_at: &mut Instant,
    ) -> Result<(), offtake_postgres::Error> {
        while working.len() < self.parts.workers {
            let which = Which::InStores(&self.names);
            let pool = &self.parts.pool;
            let Some(held) = claim(pool, Kind::Export, which, LEASE, &self.process).await? else {
                break;
            };
            self.begin(held, working, stop).await?;
        }
        if *expiry_at <= Instant::now() {
            *expiry_at = Instant::now() + EXPIRY_INTERVAL;
            self.expire().await?;
        }
        Ok(())
    }

    /// Forgets exports that ended long ago and have no files in a store.
    async fn forget(&self, forget_at: &mut Instant) -> Result<(), offtake_postgres::Error> {
        if *forget_at > Instant::now() {
            return Ok(());
        }
        *forget_at = Instant::now() + FORGET_INTERVAL;
        job::forget_ended(&self.parts.pool, Kind::Export).await
    }

    /// Begins the work on a claimed export.
    async fn begin(
        &self,
        held: Held,
        working: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<(), offtake_postgres::Error> {
        let Parts { pool, stores, mappings, settings, .. } = &self.parts;
        let Some(id) = PublicId::parse(Kind::Export, &held.public_id) else { return Ok(()) };
        let found = job::read(&*pool.get().await?, Kind::Export, &id).await?;
        let Some(job) = found else { return Ok(()) };
        let store = stores.iter().find(|store| Some(store.name()) == job.store.as_deref());
        let Some(store) = store.map(Store::fenced) else { return Ok(()) };
        let options: Options = match serde_json::from_value(job.options.clone()) {
            Ok(options) => options,
            Err(error) => {
                let reason = format!("a newer version wrote its options: {error}");
                return self.give_back(&held, &reason).await;
            }
        };
        let set = mappings.borrow().clone();
        let its: Option<Vec<Arc<ResolvedMapping>>> =
            options.mappings.iter().map(|asked| set.get(&asked.name).cloned()).collect();
        let Some(its) = its else {
            let reason = "this daemon does not have all of its mappings";
            return self.give_back(&held, reason).await;
        };
        let turn = Turn {
            pool: pool.clone(),
            store,
            job,
            options,
            mappings: its,
            settings: *settings,
            held,
            stop: stop.clone(),
        };
        working.spawn(turn.run());
        Ok(())
    }

    /// Deletes the files of exports that are kept no longer.
    async fn expire(&self) -> Result<(), offtake_postgres::Error> {
        let Parts { pool, stores, .. } = &self.parts;
        for (id, store) in job::expired(pool, Kind::Export, &self.names).await? {
            let store = stores.iter().find(|found| found.name() == store);
            let (Some(store), Some(prefix)) = (store, Key::new(id.as_str())) else { continue };
            match store.delete_all(&prefix).await {
                Ok(()) => {
                    job::expire(pool, Kind::Export, &id).await?;
                    tracing::info!(event = "export_expired", export = %id, "its files are deleted");
                }
                Err(error) => tracing::warn!(
                    event = "store_failed",
                    store = store.name(),
                    "the files of {id} are to be deleted: {error}"
                ),
            }
        }
        Ok(())
    }

    /// Gives back an export that this daemon cannot work on. One that is to be cancelled ends: it is
    /// due at once, so this daemon would claim it again and again.
    async fn give_back(&self, held: &Held, reason: &str) -> Result<(), offtake_postgres::Error> {
        let Parts { pool, settings, .. } = &self.parts;
        if held.cancelled().is_cancelled() {
            let ended = (State::Cancelled, None);
            return match record::end(pool, held.lease, ended, settings.keep).await {
                Err(Error::Source(error)) => Err(error),
                _ => Ok(()),
            };
        }
        let state = Some(State::Paused.as_str());
        let (after, reason) = (UNKNOWN_MAPPING_PAUSE, Some(reason));
        release(pool, held.lease, Release { after, state, reason, failed: true }).await.map(drop)
    }
}

/// One process's work on one export.
struct Turn {
    pool: SourcePool,
    store: Store,
    job: Job,
    options: Options,
    mappings: Vec<Arc<ResolvedMapping>>,
    settings: Settings,
    held: Held,
    stop: CancellationToken,
}

impl Turn {
    async fn run(self) {
        let id = &self.job.public_id;
        tracing::info!(event = "export_started", export = %id, "an export is worked on");
        let tell = |told: Told<'_>| tell(id, told);
        let work = Work {
            pool: &self.pool,
            store: &self.store,
            job: &self.job,
            options: &self.options,
            lease: self.held.lease,
            mappings: &self.mappings,
            settings: &self.settings,
            tell: &tell,
        };
        match work.run(&self.held, &self.stop).await {
            Ended::Completed { warning: None } => {
                tracing::info!(event = "export_completed", export = %id, "an export is complete");
            }
            Ended::Completed { warning: Some(warning) } => {
                tracing::warn!(event = "export_completed", export = %id, "{warning}");
            }
            Ended::Untidy { error, .. } => {
                let left = "an export is complete, and objects that it does not need are left";
                tracing::warn!(event = "export_completed", export = %id, "{left}: {}", chain(&error));
            }
            Ended::Cancelled => {
                tracing::info!(event = "export_cancelled", export = %id, "an export was cancelled");
            }
            Ended::Failed(error) => {
                tracing::warn!(event = "export_failed", export = %id, "{}", chain(&error));
            }
            Ended::Later(error) => {
                if let Error::Store(error) = &error {
                    let class = error.trouble.as_str();
                    metrics::counter!(names::STORE_ERRORS_TOTAL, "class" => class).increment(1);
                }
                tracing::warn!(event = "export_paused", export = %id, "{}", chain(&error));
            }
            Ended::Stopped => {
                tracing::info!(event = "export_paused", export = %id, "this daemon stops with it");
            }
            Ended::Lost => {
                tracing::info!(event = "export_lost", export = %id, "another daemon has it now");
            }
        }
    }
}

fn tell(id: &str, told: Told<'_>) {
    match told {
        Told::Part { rows, bytes, .. } => {
            metrics::counter!(names::EXPORT_ROWS_TOTAL).increment(rows.unsigned_abs());
            metrics::counter!(names::EXPORT_BYTES_TOTAL).increment(bytes.unsigned_abs());
        }
        Told::Snapshot { held } => {
            metrics::histogram!(names::EXPORT_SNAPSHOT_SECONDS).record(held.as_secs_f64());
        }
        Told::Settling { round, parts } => tracing::info!(
            event = "export_settling",
            export = id,
            round,
            parts,
            "parts that changed meanwhile are read again"
        ),
        Told::Started { .. } | Told::Paused { .. } | Told::Finishing => {}
    }
}
