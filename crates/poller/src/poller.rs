//! The loop, one poll, and the sweep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::{BlownFuses, Progress, SourceTrouble, failpoint, idle_pause, metrics as names};
use offtake_postgres::{PipelinedTransaction, PooledConnection, SourcePool};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{Error, sql};

/// The transaction lock that makes polls exclusive between replicas.
pub const LOCK_KEY: i64 = 0x6f66_6674_616b_6502; // "offtake", 2

/// Changes read per poll: enough that aggregating them is cheaper per change than the transaction,
/// few enough that a poll stays in the tens of milliseconds.
pub const PAGE_CHANGES_MAX: i64 = 50_000;

/// How often the sweep looks for destinations that are behind without being owed anything.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A quiet destination is visited this often all the same. Ten minutes is soon enough to notice
/// that it is gone, and costs one connection every ten minutes.
const VISIT_INTERVAL_MS: i64 = 10 * 60 * 1000;

/// After this long without a nudge, the poller looks by itself up to [`IDLE_STRETCH`] times less
/// often.
const IDLE_AFTER: Duration = Duration::from_secs(1);
const IDLE_STRETCH: u32 = 25;

/// Settings of `poller:` in the configuration that concern this loop.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Time between two probes when nothing nudges; up to 25 times that after a second without a
    /// nudge.
    pub interval: Duration,
}

/// What one poll did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Poll {
    /// Another replica's poll was running.
    pub skipped: bool,
    pub changes: i64,
    /// Destinations owed.
    pub owed: i64,
}

/// The poller's loop. Any number of replicas may run it on one source.
pub struct Poller {
    pool: SourcePool,
    settings: Settings,
    woken: Arc<Notify>,
    wakes: Arc<Notify>,
    fuses: watch::Receiver<Arc<BlownFuses>>,
    progress: Progress,
}

impl Poller {
    /// `woken` is notified by the sequencer, `wakes` wakes the sync engine.
    pub fn new(
        pool: SourcePool,
        settings: Settings,
        woken: Arc<Notify>,
        wakes: Arc<Notify>,
        fuses: watch::Receiver<Arc<BlownFuses>>,
    ) -> Self {
        Self { pool, settings, woken, wakes, fuses, progress: Progress::of("poller") }
    }

    /// When the loop last completed a round; a supervisor reports it when it stands still.
    pub fn progress(&self) -> watch::Receiver<Instant> {
        self.progress.subscribe()
    }

    /// Runs until cancelled; while the source fails it waits and tries again.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut nudged_at = Instant::now();
        let mut sweep_due = Instant::now();
        let mut trouble = SourceTrouble::new("poller");
        loop {
            let nudged = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.pause(nudged_at)) => false,
                () = self.woken.notified() => true,
            };
            if nudged {
                nudged_at = Instant::now();
            }
            let blown = self.fuses.borrow().blown("poller").is_some();
            if !blown && let Err(error) = self.round(nudged, &mut sweep_due, &shutdown).await {
                tokio::time::sleep(trouble.report(&error)).await;
                continue;
            }
            trouble.over();
            self.progress.tick();
        }
    }

    /// The time to the next probe: the interval, or longer while nothing nudges. The sequencer of
    /// this process nudges for whatever any replica has numbered, so that the probe is only there
    /// for a lost nudge.
    fn pause(&self, nudged_at: Instant) -> Duration {
        let interval = self.settings.interval;
        if nudged_at.elapsed() > IDLE_AFTER { idle_pause(interval, IDLE_STRETCH) } else { interval }
    }

    /// Polls until the log holds nothing more. Who was nudged need not ask whether there is
    /// anything.
    async fn round(
        &self,
        nudged: bool,
        sweep_due: &mut Instant,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let mut connection = self.pool.get().await?;
        let mut more = nudged || behind(&connection).await?;
        while more && !shutdown.is_cancelled() {
            let began = Instant::now();
            let done = poll(&mut connection).await?;
            metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "enqueue")
                .record(began.elapsed().as_secs_f64());
            if done.owed > 0 {
                self.wakes.notify_one();
            }
            more = done.changes >= PAGE_CHANGES_MAX;
        }
        if Instant::now() >= *sweep_due {
            if sweep(&mut connection).await? > 0 {
                self.wakes.notify_one();
            }
            *sweep_due = Instant::now() + SWEEP_INTERVAL;
        }
        Ok(())
    }
}

async fn behind(connection: &PooledConnection) -> Result<bool, Error> {
    let probe = connection.prepare_cached(sql::PROBE_LOG).await?;
    Ok(connection.query_one(&probe, &[]).await?.get("behind"))
}

/// Turns one page of the log into requests.
pub async fn poll(connection: &mut PooledConnection) -> Result<Poll, Error> {
    let statement = connection.prepare_cached(sql::OWE_SYNCS).await?;
    let Some(transaction) = locked(connection).await? else {
        return Ok(Poll { skipped: true, ..Poll::default() });
    };
    let row = transaction.query_one(&statement, &[&PAGE_CHANGES_MAX]).await?;
    failpoint("poller.before_commit").await?;
    transaction.commit().await?;
    Ok(Poll { skipped: false, changes: row.get("changes"), owed: row.get("owed") })
}

/// Owes a sync to every destination that is behind without being owed one; returns how many.
pub async fn sweep(connection: &mut PooledConnection) -> Result<u64, Error> {
    let Some(transaction) = locked(connection).await? else { return Ok(0) };
    let owed = transaction.execute(sql::SWEEP_BEHIND, &[&VISIT_INTERVAL_MS]).await?;
    transaction.commit().await?;
    Ok(owed)
}

/// A transaction that holds the lock; None: another replica's does.
async fn locked(
    connection: &mut PooledConnection,
) -> Result<Option<PipelinedTransaction<'_>>, tokio_postgres::Error> {
    let try_lock = connection.prepare_cached(sql::TRY_LOCK).await?;
    let lock = async |session: &PooledConnection| session.query_one(&try_lock, &[&LOCK_KEY]).await;
    let begin =
        sql::BEGIN_POLL.replace("{statement_ms}", &connection.statement_timeout_ms().to_string());
    let (transaction, locked) = PipelinedTransaction::open(connection, &begin, lock).await?;
    Ok(locked.get::<_, bool>(0).then_some(transaction))
}
