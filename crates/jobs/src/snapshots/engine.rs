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
use super::turn::{Ended, Options, Turn, cancel};
use super::{Error, delete, sweep};
use crate::stop::Stop;
use crate::turns::{Claimed, Trade, Turns};
use crate::{Kind, Lease, PublicId, Store, stores};

/// How often stores are looked at for what processes that died have left there.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// What the loop is made of.
pub struct Parts {
    pub pool: SourcePool,
    pub stores: Vec<Store>,
    pub mappings: watch::Receiver<Arc<MappingSet>>,
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
    const KIND: Kind = Kind::Snapshot;
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
        let Parts { pool, stores, mappings, max_duration, .. } = &self.parts;
        if let Some(kind) = &options.kind {
            let reason = format!("daemons make no snapshots of the kind {kind}");
            return self.give_back(&held, &reason).await;
        }
        let set = mappings.borrow().clone();
        let Some((mappings, narrowed)) = chosen(&set, &options.mappings) else {
            let reason = "this daemon does not have all of its mappings";
            return self.give_back(&held, reason).await;
        };
        let turn = Turn {
            pool: pool.clone(),
            store,
            id,
            job,
            options,
            mappings,
            narrowed,
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

/// The mappings of these names, or all, and whether there are others. None: one is not there.
fn chosen(set: &MappingSet, names: &[String]) -> Option<(Vec<Arc<ResolvedMapping>>, bool)> {
    let all = set.mappings();
    if all.is_empty() || names.iter().any(|name| set.get(name).is_none()) {
        return None;
    }
    let asked = |mapping: &&Arc<ResolvedMapping>| {
        names.is_empty() || names.iter().any(|name| name == mapping.name())
    };
    let chosen: Vec<_> = all.iter().filter(asked).cloned().collect();
    let narrowed = chosen.len() < all.len();
    Some((chosen, narrowed))
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
            tracing::warn!(event = "snapshot_failed", snapshot = %id, "{}", chain(error));
        }
        Ended::Later(error) => {
            if let Error::Store(error) = error {
                let class = error.trouble.as_str();
                metrics::counter!(names::STORE_ERRORS_TOTAL, "class" => class).increment(1);
            }
            tracing::warn!(event = "snapshot_paused", snapshot = %id, "{}", chain(error));
        }
        Ended::Stopped => {
            tracing::info!(event = "snapshot_paused", snapshot = %id, "{stopped}");
        }
        Ended::Lost => {
            tracing::info!(event = "snapshot_lost", snapshot = %id, "another daemon has it now");
        }
    }
}
