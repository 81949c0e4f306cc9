//! The loop around the tick.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::{BlownFuses, Progress, SourceTrouble, idle_pause, metrics as names};
use offtake_mapping::MappingSet;
use offtake_postgres::{PooledConnection, SourcePool};
use tokio::sync::{Notify, watch};
use tokio_postgres::Statement;
use tokio_util::sync::CancellationToken;

use crate::{Error, Numbering, Tick, history, partitions, sql, tick};

/// How often partitions and the source's history are looked after; see `partitions::ensure` for
/// what bounds it.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How often captured changes are looked for from the beginning and not only beyond those already
/// taken: a transaction that wrote early and commits late waits this long at most. In between, a
/// probe does not meet the entries of deleted rows that a long snapshot somewhere keeps vacuum, and
/// the index, from forgetting.
const LOOK_BACK_INTERVAL: Duration = Duration::from_millis(50);

/// After this long without a change, probes are [`IDLE_STRETCH`] times rarer: an idle source is
/// asked some 90 times a second and not two hundred, and the first change waits 2.5 ms longer on
/// average. A probe of a process that has slept costs more than 0.1 ms of a core (its caches are
/// cold), whoever sends it: pgbench with one prepared `select 1` every 10 ms took 1.1 % on two
/// virtual cores, November 2026.
const IDLE_AFTER: Duration = Duration::from_secs(1);
const IDLE_STRETCH: u32 = 2;

/// When looking back takes long for that reason, it is this much rarer than it is long: 5 % of the
/// time.
const LOOK_BACK_SHARE: u32 = 20;

/// Settings of `sequencer:` in the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Time between two probes for captured changes; up to twice that after a second in which
    /// nothing changed.
    pub interval: Duration,
    /// Captured changes taken per tick; a full tick is followed by the next at once.
    pub batch_rows: u32,
    /// How long the log keeps changes, at least; twice that at most.
    pub retention: Duration,
}

/// The sequencer's loop. Any number of replicas may run it on one source.
pub struct Sequencer {
    pool: SourcePool,
    mappings: watch::Receiver<Arc<MappingSet>>,
    numbering: Arc<Numbering>,
    settings: Settings,
    wakes: Arc<Notify>,
    fuses: watch::Receiver<Arc<BlownFuses>>,
    progress: Progress,
    /// The session of the last probe, and the probe prepared in it: fetching both for every probe
    /// would be a good part of what an idle daemon costs. None after anything went wrong.
    session: Option<(PooledConnection, Statement)>,
    last_sequence_id: i64,
    /// The highest capture id this process has taken. What commits later with a smaller one is
    /// found by looking back.
    seen: i64,
    look_back_at: Instant,
    /// When something was last numbered, by whichever replica.
    busy_at: Instant,
}

impl Sequencer {
    /// `wakes` is the poller's wake-up; it carries no data, and losing it costs one poller
    /// interval.
    pub fn new(
        pool: SourcePool,
        mappings: watch::Receiver<Arc<MappingSet>>,
        numbering: Arc<Numbering>,
        settings: Settings,
        wakes: Arc<Notify>,
        fuses: watch::Receiver<Arc<BlownFuses>>,
    ) -> Self {
        Self {
            pool,
            mappings,
            numbering,
            settings,
            wakes,
            fuses,
            progress: Progress::of("sequencer"),
            session: None,
            last_sequence_id: 0,
            seen: 0,
            look_back_at: Instant::now(),
            busy_at: Instant::now(),
        }
    }

    /// When the loop last completed a round; a supervisor reports it when it stands still.
    pub fn progress(&self) -> watch::Receiver<Instant> {
        self.progress.subscribe()
    }

    /// Runs until cancelled; while the source fails it waits and tries again.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut upkeep_due = Instant::now();
        let mut trouble = SourceTrouble::new("sequencer");
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.pause()) => {}
            }
            if let Err(error) = self.rounds(&mut upkeep_due, &shutdown).await {
                // The history is looked at again before the next tick: a failover begins with
                // broken connections.
                upkeep_due = Instant::now();
                tokio::time::sleep(trouble.report(&error)).await;
                continue;
            }
            trouble.over();
            self.progress.tick();
        }
    }

    /// The time to the next probe: the interval, or longer while nothing happens.
    fn pause(&self) -> Duration {
        let idle = self.busy_at.elapsed() > IDLE_AFTER;
        if idle { idle_pause(self.settings.interval, IDLE_STRETCH) } else { self.settings.interval }
    }

    /// Upkeep when it is due, then ticks until less than a full batch was there.
    async fn rounds(
        &mut self,
        upkeep_due: &mut Instant,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        if Instant::now() >= *upkeep_due {
            let mut connection = self.pool.get().await?;
            history::check(&mut connection).await?;
            partitions::ensure(&mut connection).await?;
            partitions::retain(&mut connection, self.settings.retention).await?;
            let mappings = self.mappings.borrow().clone();
            self.numbering.settle(&mut connection, &mappings).await?;
            *upkeep_due = Instant::now() + UPKEEP_INTERVAL;
        }
        if self.fuses.borrow().blown("sequencer").is_none() {
            while self.round().await?.taken >= i64::from(self.settings.batch_rows)
                && !shutdown.is_cancelled()
            {}
        }
        Ok(())
    }

    /// One probe, and a tick if there is anything.
    async fn round(&mut self) -> Result<Tick, Error> {
        let (mut connection, probe) = match self.session.take() {
            Some((connection, probe)) if !connection.is_closed() => (connection, probe),
            _ => {
                let connection = self.pool.get().await?;
                let probe = connection.prepare_cached(sql::PROBE_CHANGES).await?;
                (connection, probe)
            }
        };
        let began = Instant::now();
        let after = if began >= self.look_back_at { 0 } else { self.seen };
        let found = connection.query_one(&probe, &[&after]).await?;
        if after == 0 {
            self.look_back_at =
                Instant::now() + (began.elapsed() * LOOK_BACK_SHARE).max(LOOK_BACK_INTERVAL);
        }
        let last_sequence_id: i64 = found.get("last_sequence_id");
        let mut done = Tick::default();
        if found.get("captured") {
            let mappings = self.mappings.borrow().clone();
            let began = Instant::now();
            done = tick(
                &mut connection,
                &mappings,
                &self.numbering,
                i64::from(self.settings.batch_rows),
                after,
            )
            .await?;
            self.seen = self.seen.max(done.up_to);
            if done.appended > 0 {
                metrics::counter!(names::CHANGES_SEQUENCED_TOTAL)
                    .increment(done.appended.unsigned_abs());
                metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "sequence")
                    .record(began.elapsed().as_secs_f64());
            }
        }
        // Also when another replica numbered: the poller of this process then need not wait for its
        // own interval.
        if done.appended > 0 || last_sequence_id != self.last_sequence_id {
            self.busy_at = Instant::now();
            self.wakes.notify_one();
        }
        // What this tick appended has been nudged for.
        self.last_sequence_id = last_sequence_id + done.appended;
        self.session = Some((connection, probe));
        Ok(done)
    }
}
