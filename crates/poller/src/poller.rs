//! The loop, one poll, and the sweep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_postgres::{BlownFuses, PooledConnection, PooledTransaction, SourcePool, Trouble, failpoint, metrics as names};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{Error, sql};

/// The transaction lock that makes polls exclusive between replicas.
pub const LOCK_KEY: i64 = 0x6f66_6674_616b_6502; // "offtake", 2

/// Changes read per poll: enough that aggregating them is cheaper per change than the transaction, few enough that a
/// poll stays in the tens of milliseconds.
pub const PAGE_CHANGES_MAX: i64 = 50_000;

/// How often the sweep looks for destinations that are behind without being owed anything.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A quiet destination is visited this often all the same. Ten minutes is soon enough to notice that it is gone, and costs
/// one connection every ten minutes.
const VISIT_INTERVAL_MS: i64 = 10 * 60 * 1000;

/// After this long without a nudge, the poller looks by itself [`IDLE_STRETCH`] times less often.
const IDLE_AFTER: Duration = Duration::from_secs(1);
const IDLE_STRETCH: u32 = 5;

/// Settings of `poller:` in the configuration that concern this loop.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Time between two probes when nothing nudges; five times that after a second without a nudge.
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
    progress: watch::Sender<Instant>,
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
        Self { pool, settings, woken, wakes, fuses, progress: watch::Sender::new(Instant::now()) }
    }

    /// When the loop last completed a round; a supervisor reports it when it stands still.
    pub fn progress(&self) -> watch::Receiver<Instant> {
        self.progress.subscribe()
    }

    /// Runs until cancelled; while the source fails it waits and tries again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut nudged_at = Instant::now();
        let mut sweep_due = Instant::now();
        let mut trouble = Trouble::new("poller");
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.pause(nudged_at)) => {}
                () = self.woken.notified() => nudged_at = Instant::now(),
            }
            let blown = self.fuses.borrow().blown("poller").is_some();
            if !blown && let Err(error) = self.round(&mut sweep_due, &shutdown).await {
                tokio::time::sleep(trouble.report(&error)).await;
                continue;
            }
            trouble.over();
            self.progress.send_replace(Instant::now());
            metrics::gauge!(names::LOOP_LAST_TICK_TIMESTAMP_SECONDS, "loop" => "poller").set(names::unix_seconds_now());
        }
    }

    /// The time to the next probe: the interval, or longer while nothing nudges. The sequencer of this process nudges for
    /// whatever any replica has numbered, so that the probe is only there for a lost nudge.
    fn pause(&self, nudged_at: Instant) -> Duration {
        if nudged_at.elapsed() > IDLE_AFTER { self.settings.interval * IDLE_STRETCH } else { self.settings.interval }
    }

    async fn round(&self, sweep_due: &mut Instant, shutdown: &CancellationToken) -> Result<(), Error> {
        let mut connection = self.pool.get().await?;
        loop {
            let probe = connection.prepare_cached(sql::PROBE_LOG).await?;
            if !connection.query_one(&probe, &[]).await?.get::<_, bool>("behind") {
                break;
            }
            let began = Instant::now();
            let done = poll(&mut connection).await?;
            metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "enqueue").record(began.elapsed().as_secs_f64());
            if done.owed > 0 {
                self.wakes.notify_one();
            }
            if done.skipped || shutdown.is_cancelled() {
                break;
            }
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

/// Turns one page of the log into requests.
pub async fn poll(connection: &mut PooledConnection) -> Result<Poll, Error> {
    let statement = connection.prepare_cached(sql::OWE_SYNCS).await?;
    let transaction = connection.transaction().await?;
    if !lock(&transaction).await? {
        return Ok(Poll { skipped: true, ..Poll::default() });
    }
    let row = transaction.query_one(&statement, &[&PAGE_CHANGES_MAX]).await?;
    failpoint("poller.before_commit").await?;
    transaction.commit().await?;
    Ok(Poll { skipped: false, changes: row.get("changes"), owed: row.get("owed") })
}

/// Owes a sync to every destination that is behind without being owed one; returns how many.
pub async fn sweep(connection: &mut PooledConnection) -> Result<u64, Error> {
    let transaction = connection.transaction().await?;
    if !lock(&transaction).await? {
        return Ok(0);
    }
    let owed = transaction.execute(sql::SWEEP_BEHIND, &[&VISIT_INTERVAL_MS]).await?;
    transaction.commit().await?;
    Ok(owed)
}

async fn lock(transaction: &PooledTransaction<'_>) -> Result<bool, tokio_postgres::Error> {
    let try_lock = transaction.prepare_cached(sql::TRY_LOCK).await?;
    let (set, locked) = tokio::join!(transaction.batch_execute(sql::BEGIN_POLL), transaction.query_one(&try_lock, &[&LOCK_KEY]));
    set?;
    Ok(locked?.get(0))
}
