//! The poller's loop, one poll, and the sweep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::{
    BlownFuses, Progress, Rounds, SourceTrouble, failpoint, failpoint_is_set, idle_pause,
    metrics as names,
};
use offtake_postgres::{PipelinedTransaction, PooledConnection, SourcePool};
use offtake_requests::Page;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{Error, sql};

/// The key of the transaction lock that lets only one daemon poll at a time.
pub const LOCK_KEY: i64 = 0x6f66_6674_616b_6502; // "offtake", 2

/// Changes read per poll, at most. Enough to make the transaction's own cost small per change; few
/// enough that a poll takes only tens of milliseconds.
pub const PAGE_CHANGES_MAX: i64 = 50_000;

/// At most so many requests wait at a time because of changes that concern every destination.
/// Another tenant's request waits behind these, and no more. Enough to keep a daemon's claims busy
/// from one poll to the next: some thousands of destinations are told per second.
pub const FANNED_OUT_WAITING_MAX: i64 = 256;

/// How often the sweep looks for destinations that are behind and have no request.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Destinations that one sweep looks at, at least. A third of a percent of very many is more, so
/// that half an hour sees all of them.
const SLICE: i64 = 2000;

/// How often a destination without changes is visited. Ten minutes is early enough to notice that
/// it is gone, and costs one connection every ten minutes.
const VISIT_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// After this long without a nudge, probes are up to [`IDLE_STRETCH`] times rarer.
const IDLE_AFTER: Duration = Duration::from_secs(1);
const IDLE_STRETCH: u32 = 25;

/// Settings of `poller:` in the configuration that concern this loop.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Time between two probes without a nudge; up to 25 times that after a second without a nudge.
    pub interval: Duration,
}

/// What one poll did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Poll {
    /// Whether it did nothing because another daemon's poll was running.
    pub skipped: bool,
    pub changes: i64,
    /// Destinations whose request was written.
    pub owed: i64,
    /// How many of these no worker has claimed. The workers of the others see at their end that more
    /// is wanted.
    pub claimable: i64,
    /// Webhooks whose request was written.
    pub owed_webhooks: i64,
    /// A change concerns more destinations than were told of it yet.
    pub fanning_out: bool,
}

/// The poller's loop. Any number of daemons may run it on one source.
pub struct Poller {
    pool: SourcePool,
    settings: Settings,
    woken: Arc<Notify>,
    wakes: Wakes,
    fuses: watch::Receiver<Arc<BlownFuses>>,
    progress: Progress,
}

/// Who is nudged when something is owed.
#[derive(Debug, Clone, Default)]
pub struct Wakes {
    /// The sync engine.
    pub sync: Arc<Notify>,
    /// The loop of the webhooks.
    pub webhooks: Arc<Notify>,
}

impl Poller {
    /// The sequencer notifies `woken`; the poller notifies `wakes`.
    pub fn new(
        pool: SourcePool,
        settings: Settings,
        woken: Arc<Notify>,
        wakes: Wakes,
        fuses: watch::Receiver<Arc<BlownFuses>>,
    ) -> Self {
        Self { pool, settings, woken, wakes, fuses, progress: Progress::of("poller") }
    }

    /// When the loop last completed a round. The supervisor reports a loop that stands still.
    pub fn progress(&self) -> watch::Receiver<Rounds> {
        self.progress.subscribe()
    }

    /// Runs until cancelled. While the source fails, it waits and tries again.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut nudged_at = Instant::now();
        let mut sweep = Sweep::default();
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
            if !blown {
                match self.round(nudged, &mut sweep, &shutdown).await {
                    // The next destinations are told after one interval, nudged or not.
                    Ok(true) => nudged_at = Instant::now(),
                    Ok(false) => {}
                    Err(error) => {
                        self.progress.fail();
                        tokio::time::sleep(trouble.report(&error)).await;
                        continue;
                    }
                }
            }
            trouble.over();
            self.progress.tick();
        }
    }

    /// The time to the next probe: the interval, or longer while no nudge comes. The sequencer of
    /// this process nudges also for changes that another daemon numbered. So the probe is needed
    /// only when a nudge is lost.
    fn pause(&self, nudged_at: Instant) -> Duration {
        let interval = self.settings.interval;
        if nudged_at.elapsed() > IDLE_AFTER { idle_pause(interval, IDLE_STRETCH) } else { interval }
    }

    /// Polls until the log holds nothing more. After a nudge there is something to read, so the
    /// probe is skipped. Returns whether more destinations are to be told of a change.
    async fn round(
        &mut self,
        nudged: bool,
        sweep: &mut Sweep,
        shutdown: &CancellationToken,
    ) -> Result<bool, Error> {
        let mut connection = self.pool.get().await?;
        let mut fanning_out = false;
        let mut more = nudged || behind(&connection).await?;
        while more && !shutdown.is_cancelled() {
            let began = Instant::now();
            let done = poll(&mut connection).await?;
            metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "enqueue")
                .record(began.elapsed().as_secs_f64());
            self.wake(done.claimable, done.owed_webhooks);
            fanning_out = done.fanning_out;
            more = done.changes >= PAGE_CHANGES_MAX;
            self.progress.tick();
        }
        if sweep.due() {
            let swept = sweep.run(&mut connection).await?;
            self.wake(swept.owed, swept.owed_webhooks);
        }
        Ok(fanning_out)
    }

    fn wake(&self, claimable: i64, owed_webhooks: i64) {
        if claimable > 0 {
            self.wakes.sync.notify_one();
        }
        if owed_webhooks > 0 {
            self.wakes.webhooks.notify_one();
        }
    }
}

async fn behind(connection: &PooledConnection) -> Result<bool, Error> {
    let probe = connection.prepare_cached(sql::PROBE_LOG).await?;
    Ok(connection.query_one(&probe, &[]).await?.get("behind"))
}

/// Reads one page of the log and writes the requests for it; of changes that concern every
/// destination, those of the next destinations.
pub async fn poll(connection: &mut PooledConnection) -> Result<Poll, Error> {
    let Some(page) = owe_page(connection).await? else {
        return Ok(Poll { skipped: true, ..Poll::default() });
    };
    let mut done = Poll {
        skipped: false,
        changes: page.changes,
        owed: page.owed,
        claimable: page.claimable,
        owed_webhooks: page.owed_webhooks,
        fanning_out: page.fanning_out,
    };
    if page.fanning_out
        && let Some(transaction) = locked(connection).await?
    {
        let told = offtake_requests::owe_fanned_out(&transaction, FANNED_OUT_WAITING_MAX).await?;
        done.owed += told.owed;
        done.claimable += told.owed;
        done.owed_webhooks += told.owed_webhooks;
        done.fanning_out = told.fanning_out;
        transaction.commit().await?;
    }
    Ok(done)
}

/// One page in a transaction of its own, sent as a whole. None: another daemon holds the lock, and
/// the statement did nothing.
async fn owe_page(connection: &mut PooledConnection) -> Result<Option<Page>, Error> {
    if failpoint_is_set("poller.before_commit") {
        let Some(transaction) = locked(connection).await? else { return Ok(None) };
        let page = offtake_requests::owe_page(&transaction, PAGE_CHANGES_MAX).await?;
        failpoint("poller.before_commit").await?;
        transaction.commit().await?;
        return Ok(Some(page));
    }
    let try_lock = connection.prepare_cached(sql::TRY_LOCK).await?;
    offtake_requests::prepare_owe_page(connection).await?;
    let work = async |session: &PooledConnection| {
        let lock = session.query_one(&try_lock, &[&LOCK_KEY]);
        let owe = offtake_requests::owe_page(session, PAGE_CHANGES_MAX);
        let (locked, page) = tokio::join!(biased; lock, owe);
        Ok((locked?, page?))
    };
    let begin = begin(connection);
    let (locked, page) = PipelinedTransaction::whole(connection, &begin, work).await?;
    Ok(locked.get::<_, bool>(0).then_some(page))
}

/// The sweeps of one daemon, each of the next destinations.
#[derive(Debug, Default)]
pub struct Sweep {
    last: Option<Instant>,
    /// The last destination that was looked at; 0 at the beginning of a round.
    after: i64,
    /// The last webhook.
    after_webhook: i64,
}

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Destinations that were owed a sync.
    pub owed: i64,
    /// Webhooks that were owed events.
    pub owed_webhooks: i64,
}

impl Sweep {
    /// Whether it is time for one.
    fn due(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= SWEEP_INTERVAL)
    }

    /// Enqueues a sync for every destination that has no request and something due, and for those
    /// of the next slice that are behind; for webhooks the same. Does nothing while another daemon
    /// polls or sweeps.
    pub async fn run(&mut self, connection: &mut PooledConnection) -> Result<Swept, Error> {
        self.last = Some(Instant::now());
        let Some(transaction) = locked(connection).await? else { return Ok(Swept::default()) };
        let due = offtake_requests::sweep_due(&transaction, VISIT_INTERVAL).await?;
        let (behind, next) = offtake_requests::sweep_slice(&transaction, self.after, SLICE).await?;
        let (owed_webhooks, next_webhook) =
            offtake_requests::sweep_webhooks(&transaction, self.after_webhook, SLICE).await?;
        transaction.execute(sql::ADD_UP_COUNTS, &[]).await?;
        transaction.commit().await?;
        offtake_requests::postpone_visits(connection, VISIT_INTERVAL).await?;
        self.after = next.unwrap_or(0);
        self.after_webhook = next_webhook.unwrap_or(0);
        Ok(Swept { owed: behind + i64::try_from(due).unwrap_or(i64::MAX), owed_webhooks })
    }
}

/// A transaction that holds the lock, or None if another daemon holds it.
async fn locked(
    connection: &mut PooledConnection,
) -> Result<Option<PipelinedTransaction<'_>>, tokio_postgres::Error> {
    let try_lock = connection.prepare_cached(sql::TRY_LOCK).await?;
    let lock = async |session: &PooledConnection| session.query_one(&try_lock, &[&LOCK_KEY]).await;
    let begin = begin(connection);
    let (transaction, locked) = PipelinedTransaction::open(connection, &begin, lock).await?;
    Ok(locked.get::<_, bool>(0).then_some(transaction))
}

fn begin(connection: &PooledConnection) -> String {
    sql::BEGIN_POLL.replace("{statement_ms}", &connection.statement_timeout_ms().to_string())
}
