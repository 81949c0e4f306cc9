//! The loop: claims due requests, gives each a turn, keeps the leases alive.

mod pace;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use offtake_loops::{
    BlownFuses, Progress, Rounds, SourceTrouble, failpoint, metrics as names, traces,
};
use offtake_postgres::{Dialer, Fault, SourcePool};
use offtake_requests::{self as requests, Claim, Due, Lease, SlowFailures};
use rand::Rng;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::pace::Pace;
use crate::batch_size::BatchSizes;
use crate::destinations::{Links, Registered, Registry, Trouble};
use crate::ownership::Visits;
use crate::turn::{
    self, Answer, Context, Ended, Groups, JointMirrors, JointReads, PerPlace, PlaceGates,
    STAYING_MAX, SlowReads,
};
use crate::{Error, Settings};

/// How often the engine closes unused connections.
const LINKS_INTERVAL: Duration = Duration::from_secs(2);

/// How often the engine forgets what it knew too long ago, and destinations that are gone. With a
/// million of them, each time takes a tenth of a second.
const FORGET_INTERVAL: Duration = Duration::from_secs(30);

/// Pauses between attempts to tell the source how a turn ended.
const SETTLE_PAUSE_MIN: Duration = Duration::from_millis(100);
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(2);

/// What the engine is made of.
pub struct Parts {
    pub pool: SourcePool,
    pub registry: Registry,
    pub dialer: Dialer,
    pub settings: Settings,
    /// Notified by the poller and by the registry; carries no data.
    pub woken: Arc<Notify>,
    /// The last sequence id that the sequencer of this process has seen. It may be late, or never
    /// come: what it hastens is owed and claimed in any case.
    pub numbered: watch::Receiver<i64>,
    pub fuses: watch::Receiver<Arc<BlownFuses>>,
}

/// The sync engine's loop. Any number of replicas may run it on one source.
pub struct Engine {
    context: Arc<Context>,
    slow_failures: Arc<SlowFailures>,
    woken: Arc<Notify>,
    progress: Progress,
    /// Names this process in `leased_by`.
    process: String,
}

/// A request being worked on.
struct InFlight {
    claim: Claim,
    /// Where it writes to; None: this process does not know.
    registered: Option<Arc<Registered>>,
    /// Its last attempt failed slowly.
    failing_slowly: bool,
    /// Cancelled when the lease is lost, the destination was removed or moved, or an operator stops
    /// it.
    lost: CancellationToken,
}

impl InFlight {
    /// Whether a fuse stops its destination, or newly stops a mapping that its batch may have rows
    /// of.
    fn stopped_by(&self, blown: &BlownFuses, blown_before: &BlownFuses) -> bool {
        let Some(at) = &self.registered else { return false };
        let newly =
            |fuse: String| blown.blown(&fuse).is_some() && blown_before.blown(&fuse).is_none();
        blown.blown_for(&at.spec.tenant_id, &at.spec.name).is_some()
            || at.mappings.iter().any(|m| newly(format!("mapping:{}", m.name())))
    }
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let context = Context {
            pool: parts.pool,
            registry: parts.registry,
            dialer: parts.dialer,
            links: Links::new(),
            fuses: parts.fuses,
            readers: Arc::new(Semaphore::new(parts.settings.workers)),
            sizes: BatchSizes::new(parts.settings.batch_rows, parts.settings.chunk_rows),
            rival_looks: PerPlace::rival_looks(),
            doubts: PerPlace::doubts(),
            gates: PlaceGates::default(),
            groups: Groups::default(),
            visits: Visits::default(),
            reads: JointReads::default(),
            slow_reads: SlowReads::default(),
            mirrors: JointMirrors::default(),
            at_work: AtomicUsize::default(),
            staying: Semaphore::new(STAYING_MAX),
            numbered: parts.numbered,
            stopping: CancellationToken::new(),
            settings: parts.settings,
        };
        let process = format!("{}:{:08x}", std::process::id(), rand::rng().random::<u32>());
        Self {
            context: Arc::new(context),
            slow_failures: Arc::default(),
            woken: parts.woken,
            progress: Progress::of("sync"),
            process,
        }
    }

    /// When the loop last completed a round. The supervisor reports a loop that completes none.
    pub fn progress(&self) -> watch::Receiver<Rounds> {
        self.progress.subscribe()
    }

    /// Runs until cancelled, then lets the batches in flight finish. While the source fails, the
    /// engine claims nothing, and the turns in flight go on trying to settle their requests.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let lease = self.context.settings.lease;
        let mut turns: JoinSet<()> = JoinSet::new();
        let mut in_flight: HashMap<Id, InFlight> = HashMap::new();
        let mut pace = Pace::new();
        let mut heartbeat = tokio::time::interval(lease / requests::HEARTBEATS_PER_LEASE);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut links = tokio::time::interval(LINKS_INTERVAL);
        let mut forget = tokio::time::interval(FORGET_INTERVAL);
        let mut fuses = self.context.fuses.clone();
        let mut blown_before = fuses.borrow_and_update().clone();
        let mut trouble = SourceTrouble::new("sync");
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = turns.join_next_with_id() => {
                    self.ended(ended, &mut in_flight).await;
                    continue;
                }
                _ = heartbeat.tick() => {
                    if let Err(error) = self.extend(&in_flight).await {
                        trouble.report(&error);
                    }
                    continue;
                }
                // A fuse stops a turn at once, also while it waits for a lock at the destination:
                // the batch is rolled back.
                Ok(()) = fuses.changed() => {
                    let blown = fuses.borrow_and_update().clone();
                    for turn in in_flight.values().filter(|f| f.stopped_by(&blown, &blown_before)) {
                        turn.lost.cancel();
                    }
                    blown_before = blown;
                    continue;
                }
                _ = links.tick() => {
                    self.close_links(&in_flight);
                    continue;
                }
                _ = forget.tick() => {
                    self.forget_gone();
                    continue;
                }
                () = tokio::time::sleep_until(pace.claim_at.into()) => {}
                () = self.woken.notified() => {}
            }
            let retry = pace.retry_at <= Instant::now();
            if self.may_claim()
                && let Err(error) = self.claim(retry, &mut turns, &mut in_flight).await
            {
                self.progress.fail();
                tokio::time::sleep(trouble.report(&error)).await;
                continue;
            }
            pace.claimed(retry, !in_flight.is_empty());
            trouble.over();
            self.progress.tick();
        }
        self.context.stopping.cancel();
        while let Some(ended) = turns.join_next_with_id().await {
            self.ended(ended, &mut in_flight).await;
        }
        Ok(())
    }

    /// False while an operator has stopped the loop, and before the registry has been read: with an
    /// empty registry every claim would be returned unused. The registry wakes the engine.
    fn may_claim(&self) -> bool {
        self.context.fuses.borrow().blown("sync").is_none()
            && !self.context.registry.all().is_empty()
    }

    /// Closes connections that are no longer used, and cancels the turns of destinations that were
    /// removed or moved.
    fn close_links(&self, in_flight: &HashMap<Id, InFlight>) {
        let known = self.context.registry.all();
        self.context.links.close_unused(|id| known.contains_key(&id));
        let same_place = |old: &Arc<Registered>| {
            known
                .get(&old.destination_id)
                .is_some_and(|new| new.spec.place.same_as(&old.spec.place))
        };
        for turn in in_flight.values() {
            if turn.registered.as_ref().is_some_and(|old| !same_place(old)) {
                turn.lost.cancel();
            }
        }
    }

    /// Forgets destinations that were removed, and what was known of the others long ago.
    fn forget_gone(&self) {
        let known = self.context.registry.all();
        let there = |id: i64| known.contains_key(&id);
        self.context.links.forget_known(there);
        self.slow_failures.retain(there);
        self.context.visits.retain(there);
        self.context.sizes.retain(there);
    }

    /// Claims due requests up to the limit of requests in flight. With `retry` it also claims those
    /// that failed slowly the last time, up to a limit of their own, beyond the other.
    async fn claim(
        &self,
        retry: bool,
        turns: &mut JoinSet<()>,
        in_flight: &mut HashMap<Id, InFlight>,
    ) -> Result<(), Error> {
        let settings = &self.context.settings;
        for &failing_slowly in if retry { &[false, true][..] } else { &[false] } {
            // Each kind has a limit of its own. Otherwise many that fail promptly, and are due again
            // soon, would leave nothing to those that fail slowly.
            let slow = in_flight.values().filter(|f| f.failing_slowly).count();
            let limit = match failing_slowly {
                true => requests::SLOW_AT_WORK_MAX.min(settings.claim_limit).saturating_sub(slow),
                false => settings.claim_limit.saturating_sub(in_flight.len() - slow),
            };
            if limit == 0 {
                continue;
            }
            let failing_promptly = self.slow_failures.failing_promptly();
            let due = Due { failing_slowly, failing_promptly: &failing_promptly, limit };
            let claims =
                requests::claim(&self.context.pool, due, settings.lease, &self.process).await;
            let claims = claims.map_err(Error::Source)?;
            let answers = Groups::take(&self.context, &claims);
            for (claim, answer) in claims.into_iter().zip(answers) {
                if !failing_slowly {
                    metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "claim")
                        .record(claim.waited.as_secs_f64());
                }
                let (id, claimed) = self.start(claim, failing_slowly, answer, turns);
                in_flight.insert(id, claimed);
            }
            self.context.at_work.store(in_flight.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// `answer`: a group works on the claim, and tells here what became of it.
    fn start(
        &self,
        claim: Claim,
        failing_slowly: bool,
        answer: Option<oneshot::Receiver<Answer>>,
        turns: &mut JoinSet<()>,
    ) -> (Id, InFlight) {
        let lost = CancellationToken::new();
        let (context, slow_failures, woken) =
            (self.context.clone(), self.slow_failures.clone(), self.woken.clone());
        let (mine, cancelled) = (claim.clone(), lost.clone());
        let task = turns.spawn(async move {
            let turn = serve(&context, &slow_failures, &mine, (&woken, answer));
            tokio::select! {
                // Without effect where the lease was lost.
                () = cancelled.cancelled() => {
                    drop(requests::release(&context.pool, mine.lease, Duration::ZERO).await);
                }
                () = traced(&context, &mine, turn) => {}
            }
        });
        let registered = self.context.registry.get(claim.destination_id);
        (task.id(), InFlight { claim, registered, failing_slowly, lost })
    }

    /// Extends every lease, and cancels each turn whose lease is gone. If such a turn still writes,
    /// the destination's state rows refuse the write.
    async fn extend(&self, in_flight: &HashMap<Id, InFlight>) -> Result<(), Error> {
        if in_flight.is_empty() {
            return Ok(());
        }
        let leases: Vec<Lease> = in_flight.values().map(|f| f.claim.lease).collect();
        let ours = requests::extend(&self.context.pool, &leases, self.context.settings.lease)
            .await
            .map_err(Error::Source)?;
        for lost in in_flight.values().filter(|f| !ours.contains(&f.claim.lease.request_id)) {
            lost.lost.cancel();
        }
        Ok(())
    }

    /// A panic counts as a failure of that destination, like any other.
    async fn ended(
        &self,
        ended: Result<(Id, ()), JoinError>,
        in_flight: &mut HashMap<Id, InFlight>,
    ) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(done) = in_flight.remove(&id) else { return };
        self.context.at_work.store(in_flight.len(), Ordering::Relaxed);
        if ended.is_err_and(|e| e.is_panic()) {
            tracing::error!(
                event = "turn_panicked",
                destination_id = done.claim.destination_id,
                "a sync of destination {} panicked",
                done.claim.destination_id
            );
            let delay = backoff(&self.context.settings, done.claim.failures);
            let failed = requests::fail(
                &self.context.pool,
                done.claim.lease,
                delay,
                "the sync panicked; see the log",
                "a defect in Offtake",
            )
            .await;
            // If the source could not be told, the lease runs out.
            drop(failed);
        }
    }
}

/// The turn as a span, with the destination that it is for.
async fn traced(context: &Context, claim: &Claim, turn: impl Future<Output = ()>) {
    let about = || {
        let registered = context.registry.get(claim.destination_id);
        let spec = registered.as_ref().map(|registered| &registered.spec);
        let mut about = vec![("offtake.failures", claim.failures.to_string())];
        about.extend(spec.map(|spec| ("offtake.tenant", spec.tenant_id.clone())));
        about.extend(spec.map(|spec| ("offtake.destination", spec.name.clone())));
        about
    };
    traces::turn("sync", claim.waited, about, turn).await;
}

/// One turn, and what its end means for the request. While the source cannot be told, the worker
/// tries again for as long as a lease lasts. Otherwise each restart of the source would cost its
/// destinations a whole lease.
async fn serve(
    context: &Context,
    slow_failures: &SlowFailures,
    claim: &Claim,
    (woken, answer): (&Notify, Option<oneshot::Receiver<Answer>>),
) {
    let began = Instant::now();
    let served = context.registry.get(claim.destination_id);
    let together = match answer {
        Some(answer) => answer.await.ok(),
        None => None,
    };
    let failed = matches!(together, Some(Answer::Failed));
    let outcome = match together {
        Some(Answer::Completed { more_wanted }) => Ok(Ended::Completed { more_wanted }),
        Some(Answer::Had(ended)) => ended,
        Some(Answer::Failed) => Ok(Ended::Settled),
        Some(Answer::Alone) | None => turn::take(context, claim).await,
    };
    if let Err(error) = &outcome {
        traces::failed(|| error.message());
    }
    slow_failures.note(claim.destination_id, failed || outcome.is_err(), began.elapsed());
    let until = Instant::now() + context.settings.lease;
    let mut pause = SETTLE_PAUSE_MIN;
    while let Err(error) = settle(context, claim, woken, (served.as_deref(), &outcome)).await {
        if Instant::now() + pause > until || context.stopping.is_cancelled() {
            tracing::warn!(event = "request_unsettled", error = %error, "a request could not be settled; it is due again when its lease ends");
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(SETTLE_PAUSE_MAX);
    }
}

async fn settle(
    context: &Context,
    claim: &Claim,
    woken: &Notify,
    (served, outcome): (Option<&Registered>, &Result<Ended, Error>),
) -> Result<(), Error> {
    match outcome {
        Ok(Ended::Reached(head)) => {
            failpoint("sync.before_complete").await.map_err(Error::Source)?;
            let done = requests::complete(&context.pool, claim.lease, *head).await;
            completed(context, woken, served, !done.map_err(Error::Source)?).await
        }
        Ok(Ended::Completed { more_wanted }) => {
            completed(context, woken, served, *more_wanted).await
        }
        Ok(Ended::Again(delay)) => {
            requests::release(&context.pool, claim.lease, *delay).await.map_err(Error::Source)?;
            if delay.is_zero() {
                woken.notify_one();
            }
            Ok(())
        }
        Ok(Ended::Settled) => Ok(()),
        Ok(Ended::Unknown) => {
            let left = requests::leave(&context.pool, claim.lease, turn::UNKNOWN_DELAY).await;
            left.map_err(Error::Source)
        }
        Err(Error::Source(error)) => {
            let delay = context.settings.retry_initial;
            requests::release(&context.pool, claim.lease, delay).await.map_err(Error::Source)?;
            tracing::warn!(
                event = "source_failed",
                "a batch could not be read: {}",
                error.message()
            );
            Ok(())
        }
        Err(error) => fail(context, claim, error).await,
    }
}

/// What follows from a completed request.
async fn completed(
    context: &Context,
    woken: &Notify,
    served: Option<&Registered>,
    more_wanted: bool,
) -> Result<(), Error> {
    // More was owed while the turn lasted, and the nudge for it found the request leased.
    if more_wanted {
        woken.notify_one();
    }
    match served {
        Some(served) => context.registry.owe_if_replaced(served).await,
        None => Ok(()),
    }
}

async fn fail(context: &Context, claim: &Claim, error: &Error) -> Result<(), Error> {
    let trouble = match error {
        Error::Destination(trouble) => trouble.clone(),
        Error::Deadline(_) => Trouble::new(Fault::Unreachable, None, error.to_string()),
        other => Trouble::new(Fault::Transient, None, other.to_string()),
    };
    let (class, message) = (trouble.fault.as_str(), &trouble.message);
    let registered = context.registry.get(claim.destination_id);
    let mut delay = backoff(&context.settings, claim.failures);
    // In a place that is down it waits for the time of the others, and is tried with them.
    let place = registered.as_ref().filter(|_| !context.groups.outages.none());
    let again = place.and_then(|of| context.groups.outages.again(&of.spec.place.fingerprint()));
    let failed = match &again {
        Some(again) => {
            let when = (delay, Some(&*again.text));
            let leases = [claim.lease];
            let told = requests::fail_all(&context.pool, &leases, when, message, &trouble.reason);
            told.await.map(|(_, until)| delay = until)
        }
        None => requests::fail(&context.pool, claim.lease, delay, message, &trouble.reason).await,
    };
    failed.map_err(Error::Source)?;
    metrics::counter!(names::BATCHES_TOTAL, "result" => "failed").increment(1);
    metrics::counter!(names::DESTINATION_ERRORS_TOTAL, "class" => class).increment(1);
    let label = registered.map_or_else(String::new, |r| r.spec.label());
    tracing::warn!(
        event = "destination_failed",
        destination = label,
        class,
        failures = claim.failures + 1,
        retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        "{label} failed: {message}"
    );
    Ok(())
}

fn backoff(settings: &Settings, failures: i32) -> Duration {
    requests::backoff(settings.retry_initial, settings.retry_max, failures)
}
