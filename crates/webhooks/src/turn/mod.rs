//! One turn of one webhook: read a page in one snapshot, send it, move the cursors.
//!
//! 1. [`read`]: a page of the log and its rows, as JSON that the source prints.
//! 2. [`resync`]: what makes the page useless, or must be told before it: another epoch, another
//!    version of a mapping, a change of a whole table, a log that does not go back far enough.
//! 3. [`events`]: what is to be told, in the order in which it is told.
//! 4. [`delivery`]: requests through lanes, and what follows from each answer.
//! 5. [`progress`]: the cursors that follow from what was acknowledged, once a second and at the
//!    end.
//!
//! The turn goes on with the next page until nothing is left, or until others are to have their
//! turn. A place among the readers is held while the source is read, and never while a receiver is
//! waited for.

mod ahead;
mod delivery;
mod doubts;
mod events;
mod joint_saves;
mod lease_clock;
mod progress;
mod read;
mod resync;
mod send;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use offtake_loops::{BlownFuses, failpoint};
use offtake_mapping::ResolvedMapping;
use offtake_postgres::SourcePool;
use offtake_reading::EventPage;
use offtake_requests::{WebhookClaim, WebhookCursor, WebhookReplay};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::ahead::{Ahead, PageAhead, read_ahead};
use self::delivery::Stop;
pub(crate) use self::doubts::Doubts;
use self::events::Delivery;
pub(crate) use self::joint_saves::JointSaves;
pub(crate) use self::lease_clock::LeaseClock;
use self::read::Reading;
use crate::record::{Owed, Progress, Saved};
use crate::registry::{Registered, Registry};
use crate::{Client, Error, Settings, SourceClock};

/// Changes of a mapping in one page, at most: enough for the page's cost to be small for each, few
/// enough that a page is in memory while its receiver is waited for.
const PAGE_CHANGES_MAX: usize = 1000;

/// After this long the turn ends behind a page, and the request goes behind those of other
/// webhooks.
const TURN_MAX: Duration = Duration::from_secs(5);

/// What was acknowledged is recorded this often: a crash repeats no more than that.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a mapping waits whose table the application has locked.
const LOCKED_OUT_DELAY: Duration = Duration::from_secs(1);

/// How long a request waits whose webhook was registered otherwise meanwhile.
const UNREGISTERED_DELAY: Duration = Duration::from_millis(100);

/// How long a mapping waits whose fuse is blown.
const FUSED_DELAY: Duration = Duration::from_secs(2);

/// How long a request waits when this process had no turn to dial.
const BUSY_DELAY: Duration = Duration::from_secs(1);

/// Events in quarantine, per webhook. A receiver that refuses more refuses everything.
const QUARANTINED_MAX: i64 = 1000;

/// What all turns of a process share.
pub(crate) struct Context {
    pub(crate) pool: SourcePool,
    pub(crate) registry: Registry,
    pub(crate) client: Client,
    pub(crate) clock: Mutex<Option<SourceClock>>,
    pub(crate) fuses: watch::Receiver<Arc<BlownFuses>>,
    /// Pages read from the source at one time.
    pub(crate) readers: Arc<Semaphore>,
    pub(crate) doubts: Doubts,
    pub(crate) ahead: Ahead,
    pub(crate) saves: JointSaves,
    pub(crate) settings: Settings,
    /// Turns that hold a page, or soon will.
    pub(crate) turns: AtomicUsize,
    /// Cancelled when the daemon ends: what is in flight is waited for, and nothing more is sent.
    pub(crate) stopping: CancellationToken,
}

impl Context {
    /// The source's clock, as the latest page told it.
    fn clock(&self) -> SourceClock {
        let clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let unread = || {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            SourceClock::new(since.unwrap_or_default(), tokio::time::Instant::now())
        };
        clock.unwrap_or_else(unread)
    }

    fn learn_clock(&self, page: &EventPage) {
        let seconds = Duration::from_secs_f64(page.now.max(0.0));
        let learnt = SourceClock::new(seconds, page.taken_at.into());
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(learnt);
    }
}

/// How a turn ended, and so what becomes of the request.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The request was completed.
    Completed,
    /// It was given back, due again at once: more is wanted by now.
    MoreWanted,
    /// There is more to do: due again after this.
    Again(Duration),
    /// The endpoint did not do its part.
    Failed(Failure),
    /// The receiver wants nothing more.
    Disabled(String),
    /// Another worker has the request, or soon will have.
    Lost,
    /// This process does not know the webhook.
    Unknown,
}

/// Why nothing more is sent for now.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) why: String,
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<Duration>,
    /// Nothing was dialled, so the attempt counts for nothing.
    pub(crate) undialled: bool,
    /// Something was acknowledged in this turn: the failures in a row begin with this one.
    pub(crate) acknowledged: bool,
    /// The receiver did not answer in time.
    pub(crate) silent: bool,
}

impl Failure {
    /// Something of ours failed.
    pub(crate) fn of_ours(why: &str) -> Self {
        Self {
            why: why.to_owned(),
            status: None,
            retry_after: None,
            undialled: false,
            acknowledged: false,
            silent: false,
        }
    }
}

/// A cursor with the mapping that it is of.
struct Cursor {
    mapping: Arc<ResolvedMapping>,
    /// The version that the webhook is told now.
    version: String,
    at: WebhookCursor,
    /// Which resync was owed when the source was last asked.
    was: Owed,
    /// It failed, or is locked out, in this turn: for so long nothing is read for it.
    deferred: Option<Duration>,
    /// Not saved yet.
    moved: bool,
    rows: i64,
    begun: bool,
}

/// One turn.
pub(crate) struct Turn<'a> {
    context: &'a Context,
    claim: &'a WebhookClaim,
    registered: Arc<Registered>,
    lease: Arc<LeaseClock>,
    /// Its last attempt failed slowly: its requests share the places of those.
    silent: bool,
    /// One per mapping of the webhook, in the same order.
    cursors: Vec<Cursor>,
    replays: Vec<WebhookReplay>,
    /// The first page, if it was read with those of others.
    ahead: Option<PageAhead>,
    unsaved: Progress,
    saved_at: Instant,
    began: Instant,
    /// Changes of a mapping in one page; fewer after one took too long.
    changes_max: usize,
    /// The quarantined events that are due were read.
    retried: bool,
    /// The receiver has acknowledged something in this turn; before that, one request is in flight.
    answers: bool,
    /// Events in quarantine.
    quarantined: i64,
    acknowledged: bool,
    /// Part of every event's id.
    generation: i64,
}

/// One more, until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes one turn. `silent`: the webhook's last attempt failed slowly.
pub(crate) async fn take(
    context: &Context,
    claim: &WebhookClaim,
    lease: Arc<LeaseClock>,
    silent: bool,
    ahead: Option<PageAhead>,
) -> Result<Ended, Error> {
    failpoint("webhooks.after_claim").await.map_err(Error::Source)?;
    let registered = context.registry.get(claim.webhook_id);
    let Some(registered) = registered.filter(|one| one.refused.is_none()) else {
        return Ok(Ended::Unknown);
    };
    let Some(cursors) = cursors(context, &registered, claim) else {
        // Registered with another mapping between the claim and now.
        return Ok(Ended::Again(UNREGISTERED_DELAY));
    };
    let now = Instant::now();
    let mut turn = Turn {
        context,
        claim,
        registered,
        lease,
        silent,
        cursors,
        replays: claim.replays.clone(),
        ahead,
        unsaved: Progress::default(),
        saved_at: now,
        began: now,
        changes_max: PAGE_CHANGES_MAX,
        retried: false,
        answers: false,
        quarantined: claim.quarantined,
        acknowledged: false,
        generation: claim.generation,
    };
    let _turn = Counted::of(&context.turns);
    if turn.cursors.is_empty() {
        return turn.complete(claim.wanted_sequence_id).await;
    }
    match turn.tell_replays().await? {
        Some(ended) => Ok(ended),
        None => turn.tell_changes().await,
    }
}

/// The cursors of the webhook's mappings; None where one has none.
fn cursors(
    context: &Context,
    registered: &Registered,
    claim: &WebhookClaim,
) -> Option<Vec<Cursor>> {
    let fuses = context.fuses.borrow().clone();
    let fused = |mapping: &ResolvedMapping| {
        fuses.blown(&format!("mapping:{}", mapping.name())).map(|_| FUSED_DELAY)
    };
    let of_one = |(mapping, version): &(Arc<ResolvedMapping>, String)| {
        let at = claim.cursors.iter().find(|cursor| cursor.mapping == mapping.name())?.clone();
        Some(Cursor {
            mapping: mapping.clone(),
            version: version.clone(),
            deferred: at.deferred_for.or_else(|| fused(mapping)),
            was: (at.resync_reason.clone(), at.resync_sequence_id),
            at,
            moved: false,
            rows: 0,
            begun: false,
        })
    };
    registered.mappings.iter().map(of_one).collect()
}

impl Turn<'_> {
    /// Page after page, until nothing is left.
    async fn tell_changes(&mut self) -> Result<Ended, Error> {
        loop {
            if self.context.stopping.is_cancelled() || self.began.elapsed() > TURN_MAX {
                return self.end(Ended::Again(Duration::ZERO)).await;
            }
            let page = match self.read_changes().await? {
                Reading::Page(page) => page,
                Reading::Again => continue,
                Reading::Nothing(delay) => return self.end(Ended::Again(delay)).await,
                Reading::Lost => return Ok(Ended::Lost),
            };
            failpoint("webhooks.after_read").await.map_err(Error::Source)?;
            if self.note_resyncs(&page) {
                // Durable before it is told: after a crash the same event is told.
                match self.save(None).await? {
                    Saved::Lost => return Ok(Ended::Lost),
                    _ => continue,
                }
            }
            if let Some(delay) = self.waits_for_more(&page) {
                return self.end(Ended::Again(delay)).await;
            }
            let (head, exhausted) = (page.head, page.exhausted);
            if let Some(stop) = self.tell_page(page).await? {
                return self.stopped(stop).await;
            }
            if exhausted && self.told_everything() {
                return self.complete(head).await;
            }
            if let (true, Some(delay)) = (exhausted, self.deferred_for()) {
                return self.end(Ended::Again(delay)).await;
            }
        }
    }

    /// The shortest wait of the mappings for which nothing is read in this turn.
    fn deferred_for(&self) -> Option<Duration> {
        let settled = |cursor: &&Cursor| cursor.deferred.is_some() || cursor.settled();
        match self.cursors.iter().all(|cursor| settled(&cursor)) {
            true => self.cursors.iter().filter_map(|cursor| cursor.deferred).min(),
            false => None,
        }
    }

    fn told_everything(&self) -> bool {
        self.cursors.iter().all(|cursor| cursor.deferred.is_none() && cursor.settled())
    }

    /// How long a request that is not full waits for more events.
    fn waits_for_more(&self, page: &EventPage) -> Option<Duration> {
        let spec = &self.registered.spec;
        let only_changes = self.cursors.iter().all(|cursor| cursor.settled());
        let rows: usize = page.parts.iter().map(|part| part.rows.len()).sum();
        let oldest = page.parts.iter().filter_map(|part| part.oldest).max()?;
        let waits = page.exhausted && only_changes && (1..spec.batch_events).contains(&rows);
        spec.batch_wait.checked_sub(oldest).filter(|left| waits && !left.is_zero())
    }

    /// Tells one page: the resyncs that are owed, its rows, and what ends a backfill. Some: the
    /// turn ends, and not everything was told.
    async fn tell_page(&mut self, page: EventPage) -> Result<Option<Stop>, Error> {
        let resyncs = self.resyncs(&page);
        if !resyncs.is_empty()
            && let Some(stop) = self.tell_barriers(resyncs).await?
        {
            return Ok(Some(stop));
        }
        let mut delivery = self.delivery_of(page, None);
        if let Some(stop) = self.set_failed_aside(&mut delivery) {
            return Ok(Some(stop));
        }
        let stop = self.deliver(&mut delivery, self.generation).await?;
        self.settle(&mut delivery);
        if stop.is_some() {
            return Ok(stop);
        }
        let backfilled = self.backfilled(&delivery);
        if backfilled.is_empty() { Ok(None) } else { self.tell_barriers(backfilled).await }
    }

    /// Tells events that nothing of their mapping may overtake, and records that they were.
    async fn tell_barriers(&mut self, mut delivery: Delivery) -> Result<Option<Stop>, Error> {
        let stop = self.deliver(&mut delivery, self.generation).await?;
        self.settle_barriers(&delivery);
        if stop.is_some() {
            return Ok(stop);
        }
        match self.save(None).await? {
            Saved::Lost => Ok(Some(Stop::Lost)),
            _ => Ok(None),
        }
    }

    /// Stretches of the log that are told once more, beside the cursors. Some: the turn ends.
    async fn tell_replays(&mut self) -> Result<Option<Ended>, Error> {
        // Those of a mapping that cannot be read now wait.
        let waits = |turn: &Self, replay: &WebhookReplay| {
            let mut cursors = turn.cursors.iter();
            cursors.any(|c| c.mapping.name() == replay.mapping && c.deferred.is_some())
        };
        while let Some(replay) = self.replays.iter().find(|replay| !waits(self, replay)).cloned() {
            if self.context.stopping.is_cancelled() || self.began.elapsed() > TURN_MAX {
                return self.end(Ended::Again(Duration::ZERO)).await.map(Some);
            }
            let Some(page) = self.read_replay(&replay).await? else {
                if !waits(self, &replay) {
                    self.unsaved.replays.push((replay.replay_id, replay.up_to));
                    self.replays.retain(|known| known.replay_id != replay.replay_id);
                }
                continue;
            };
            let ended = page.exhausted;
            let mut delivery = self.delivery_of(page, Some(&replay));
            let stop = self.deliver(&mut delivery, replay.generation).await?;
            self.settle(&mut delivery);
            if let Some(stop) = stop {
                return self.stopped(stop).await.map(Some);
            }
            if ended {
                self.replays.retain(|known| known.replay_id != replay.replay_id);
            }
        }
        Ok(None)
    }

    /// What a turn that stopped early means for the request.
    async fn stopped(&mut self, stop: Stop) -> Result<Ended, Error> {
        let ended = match stop {
            Stop::Lost => return Ok(Ended::Lost),
            Stop::LeaseTooShort | Stop::Ending => Ended::Again(Duration::ZERO),
            Stop::Busy => Ended::Again(BUSY_DELAY),
            Stop::Gone(why) => Ended::Disabled(why),
            Stop::Failed(failure) => {
                Ended::Failed(Failure { acknowledged: self.acknowledged, ..failure })
            }
        };
        self.end(ended).await
    }

    /// Records what was reached.
    async fn end(&mut self, ended: Ended) -> Result<Ended, Error> {
        if self.nothing_unsaved() {
            return Ok(ended);
        }
        // What is wrong with a mapping stays told.
        let deferred = self.cursors.iter().any(|cursor| cursor.deferred.is_some());
        if matches!(ended, Ended::Again(_)) && !deferred {
            let backfilling = self.cursors.iter().any(|cursor| !cursor.settled());
            let state = if backfilling { "backfilling" } else { "lagging" };
            self.unsaved.state = Some((state, None));
        }
        match self.save(None).await? {
            Saved::Lost => Ok(Ended::Lost),
            _ => Ok(ended),
        }
    }

    /// Records what was reached and completes the request, in one transaction.
    async fn complete(&mut self, head: i64) -> Result<Ended, Error> {
        failpoint("webhooks.before_complete").await.map_err(Error::Source)?;
        let state = if self.quarantined > 0 { "degraded" } else { "in_sync" };
        self.unsaved.state = Some((state, None));
        self.context.doubts.forget(self.claim.webhook_id);
        Ok(match self.save(Some(head)).await? {
            Saved::Completed => Ended::Completed,
            Saved::MoreWanted => Ended::MoreWanted,
            Saved::Ours | Saved::Lost => Ended::Lost,
        })
    }
}
