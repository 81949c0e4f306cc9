//! A daemon's work on snapshots: it records those that are due, makes them, and deletes old ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::metrics as names;
use offtake_loops::{BlownFuses, Rounds};
use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::{SourcePool, chain};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::schedule::{Clock, Schedule, end_old};
use super::source::OwnTable;
use super::turn::{Ended, Of, Options, Turn, cancel};
use super::{Error, delete, sweep};
use crate::archive::Kind;
use crate::stop::Stop;
use crate::turns::{Claimed, Trade, Turns};
use crate::{Kind as JobKind, Lease, PublicId, Store, stores};

/// How often stores are looked at for what processes that died have left there.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// What the loop is made of.
pub struct Parts {
    pub pool: SourcePool,
    pub stores: Vec<Store>,
    pub mappings: watch::Receiver<Arc<MappingSet>>,
    /// Tables beside those of mappings whose rows snapshots of the kind `source` have.
    pub tables: Vec<OwnTable>,
    /// Snapshots at the same time.
    pub workers: usize,
    pub max_duration: Duration,
    pub schedule: Schedule,
    pub fuses: watch::Receiver<Arc<BlownFuses>>,
}

/// The loop. Any number of daemons may run it on one source.
pub struct Engine {
    turns: Turns,
    snapshots: Snapshots,
}

struct Snapshots {
    parts: Parts,
    clock: Clock,
    sweep_at: Instant,
    /// A store that does not answer must not keep snapshots of others waiting.
    sweeping: JoinSet<()>,
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let Parts { pool, stores, workers, fuses, schedule, .. } = &parts;
        let turns = Turns::new(Snapshots::NAME, pool, stores, *workers, fuses);
        let clock = Clock::new(pool, schedule.clone());
        Self {
            turns,
            snapshots: Snapshots {
                parts,
                clock,
                sweep_at: Instant::now(),
                sweeping: JoinSet::new(),
            },
        }
    }

    /// When the loop last completed a round. The supervisor reports a loop that completes none.
    pub fn progress(&self) -> watch::Receiver<Rounds> {
        self.turns.progress()
    }

    /// Runs until cancelled. What is in progress then is given back, and is made elsewhere.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), offtake_postgres::Error> {
        self.turns.run(self.snapshots, shutdown).await;
        Ok(())
    }
}

impl Trade for Snapshots {
    const KIND: JobKind = JobKind::Snapshot;
    const NAME: &'static str = "snapshots";

    async fn prepare(&mut self) -> Result<(), offtake_postgres::Error> {
        let Parts { stores, max_duration, .. } = &self.parts;
        if self.sweep_at <= Instant::now() {
            self.sweep_at = Instant::now() + SWEEP_INTERVAL;
            let (stores, max_duration) = (stores.clone(), *max_duration);
            self.sweeping = JoinSet::new();
            self.sweeping.spawn(async move {
                for store in &stores {
                    if let Err(error) = sweep(store, max_duration).await {
                        tracing::warn!(event = "store_failed", store = store.name(), "{error}");
                    }
                }
            });
        }
        self.clock.round(stores).await
    }

    fn pause(&mut self) {
        self.sweeping.abort_all();
        self.sweep_at = Instant::now();
    }

    type Options = Options;

    async fn begin(
        &self,
        claimed: Claimed<Options>,
        working: &mut JoinSet<()>,
        stop: &Stop,
    ) -> Result<(), offtake_postgres::Error> {
        let Claimed { held, id, job, store, options } = claimed;
        let Parts { pool, stores, max_duration, .. } = &self.parts;
        let Some(kind) = options.kind() else {
            let kind = options.kind.as_deref().unwrap_or_default();
            let reason = format!("daemons make no snapshots of the kind {kind}");
            return self.give_back(&held, &reason).await;
        };
        let of = match self.of(kind, &options.mappings) {
            Ok(of) => of,
            Err(reason) => return self.give_back(&held, &reason).await,
        };
        let next = if options.scheduled { self.clock.after(kind) } else { None };
        let others = self.clock.kinds() > 1;
        let turn = Turn {
            pool: pool.clone(),
            store,
            id,
            job,
            options,
            of,
            next,
            others,
            max_duration: *max_duration,
            held,
            stop: stop.clone(),
        };
        let (pool, stores, keep) = (pool.clone(), stores.clone(), self.clock.keep());
        working.spawn(async move {
            let (id, tenant) = (turn.id.clone(), turn.job.tenant_at_source.clone());
            tracing::info!(event = "snapshot_started", snapshot = %id, "a snapshot is made");
            let ended = turn.run().await;
            tell(&id, &ended, turn.stop.why());
            if let (Ended::Completed { .. }, Some(keep)) = (&ended, keep)
                && let Err(error) = end_old(&pool, &stores, keep, Some(&tenant)).await
            {
                // They are looked for again within an hour.
                tracing::warn!(event = "snapshots_not_forgotten", "{}", chain(&error));
            }
        });
        Ok(())
    }

    fn pool(&self) -> &SourcePool {
        &self.parts.pool
    }

    async fn cancel(&self, lease: Lease) -> Result<(), offtake_postgres::Error> {
        match cancel(&self.parts.pool, lease).await {
            Err(Error::Source(error)) => Err(error),
            _ => Ok(()),
        }
    }

    async fn delete_files(store: &Store, id: &PublicId) -> Result<(), stores::Error> {
        delete(store, id).await?;
        tracing::info!(event = "snapshot_deleted", snapshot = %id, "a snapshot was deleted");
        Ok(())
    }
}

impl Snapshots {
    /// Whose rows a snapshot has; otherwise why this daemon cannot say.
    fn of(&self, kind: Kind, names: &[String]) -> Result<Of, String> {
        let set = self.parts.mappings.borrow().clone();
        let all = set.mappings();
        if all.is_empty() || names.iter().any(|name| set.get(name).is_none()) {
            return Err("this daemon does not have all of its mappings".to_owned());
        }
        if kind == Kind::Source {
            let definitions = all.iter().map(|mapping| &mapping.definition);
            let tables = OwnTable::of(definitions, &self.parts.tables);
            return tables.map(|tables| Of::Source { tables }).map_err(|error| chain(&error));
        }
        let asked = |mapping: &&Arc<ResolvedMapping>| {
            names.is_empty() || names.iter().any(|name| name == mapping.name())
        };
        let mappings: Vec<_> = all.iter().filter(asked).cloned().collect();
        let narrowed = mappings.len() < all.len();
        Ok(Of::Rows { mappings, narrowed })
    }
}

fn tell(id: &PublicId, ended: &Ended, stopped: &str) {
    match ended {
        Ended::Completed { rows, bytes } => tracing::info!(
            event = "snapshot_completed",
            snapshot = %id,
            rows,
            bytes,
            "a snapshot is complete"
        ),
        Ended::Empty => {
            tracing::info!(event = "snapshot_empty", snapshot = %id, "the tenant has no row");
        }
        Ended::Cancelled => {
            tracing::info!(event = "snapshot_cancelled", snapshot = %id, "it was cancelled");
        }
        Ended::Failed(error) => {
            tracing::warn!(event = "snapshot_failed", snapshot = %id, "{}", error.logged());
        }
        Ended::Later(error) => {
            if let Error::Store(error) = error {
                let class = error.trouble.as_str();
                metrics::counter!(names::STORE_ERRORS_TOTAL, "class" => class).increment(1);
            }
            tracing::warn!(event = "snapshot_paused", snapshot = %id, "{}", error.logged());
        }
        Ended::Stopped => {
            tracing::info!(event = "snapshot_paused", snapshot = %id, "{stopped}");
        }
        Ended::Lost => {
            tracing::info!(event = "snapshot_lost", snapshot = %id, "another daemon has it now");
        }
    }
}
