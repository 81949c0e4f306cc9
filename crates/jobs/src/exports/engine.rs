//! A daemon's work on exports whose files go to stores.

use std::sync::Arc;

use offtake_loops::metrics as names;
use offtake_loops::{BlownFuses, Rounds};
use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::{SourcePool, chain};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Ended, Error, Options, Settings, Told, Work, record};
use crate::stop::Stop;
use crate::stores::{self, Key};
use crate::turns::{Claimed, Trade, Turns};
use crate::{Held, Job, Kind, Lease, PublicId, State, Store};

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
    turns: Turns,
    exports: Exports,
}

struct Exports(Parts);

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let Parts { pool, stores, workers, fuses, .. } = &parts;
        let turns = Turns::new(Exports::NAME, pool, stores, *workers, fuses);
        Self { turns, exports: Exports(parts) }
    }

    /// When the loop last completed a round. The supervisor reports a loop that completes none.
    pub fn progress(&self) -> watch::Receiver<Rounds> {
        self.turns.progress()
    }

    /// Runs until cancelled. What is in progress then is given back, and goes on elsewhere.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), offtake_postgres::Error> {
        self.turns.run(self.exports, shutdown).await;
        Ok(())
    }
}

impl Trade for Exports {
    const KIND: Kind = Kind::Export;
    const NAME: &'static str = "exports";

    type Options = Options;

    async fn begin(
        &self,
        claimed: Claimed<Options>,
        working: &mut JoinSet<()>,
        stop: &Stop,
    ) -> Result<(), offtake_postgres::Error> {
        let Claimed { held, job, store, options, .. } = claimed;
        let Parts { pool, mappings, settings, .. } = &self.0;
        let set = mappings.borrow().clone();
        let its: Option<Vec<Arc<ResolvedMapping>>> =
            options.mappings.iter().map(|asked| set.get(&asked.name).cloned()).collect();
        let Some(its) = its else {
            let reason = "this daemon does not have all of its mappings";
            return self.give_back(&held, reason).await;
        };
        let turn = Turn {
            pool: pool.clone(),
            store: store.fenced(),
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

    async fn delete_files(store: &Store, id: &PublicId) -> Result<(), stores::Error> {
        let Some(prefix) = Key::new(id.as_str()) else { return Ok(()) };
        store.delete_all(&prefix).await?;
        tracing::info!(event = "export_expired", export = %id, "its files are deleted");
        Ok(())
    }

    fn pool(&self) -> &SourcePool {
        &self.0.pool
    }

    async fn cancel(&self, lease: Lease) -> Result<(), offtake_postgres::Error> {
        let ended = (State::Cancelled, None);
        match record::end(&self.0.pool, lease, ended, self.0.settings.keep).await {
            Err(Error::Source(error)) => Err(error),
            _ => Ok(()),
        }
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
    stop: Stop,
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
        match work.run(&self.held, self.stop.wait()).await {
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
                tracing::warn!(event = "export_failed", export = %id, "{}", error.logged());
            }
            Ended::Later(error) => {
                if let Error::Store(error) = &error {
                    let class = error.trouble.as_str();
                    metrics::counter!(names::STORE_ERRORS_TOTAL, "class" => class).increment(1);
                }
                tracing::warn!(event = "export_paused", export = %id, "{}", chain(&error));
            }
            Ended::Stopped => {
                let why = self.stop.why();
                tracing::info!(event = "export_paused", export = %id, "{why}");
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
