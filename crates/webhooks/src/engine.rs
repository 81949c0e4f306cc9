//! The loop: claims due requests of webhooks, gives each a turn, keeps the leases alive.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use offtake_egress::AddressPolicy;
use offtake_loops::{BlownFuses, Progress, Rounds, SourceTrouble, traces};
use offtake_postgres::SourcePool;
use offtake_requests::{self as requests, Due, Lease, SlowFailures, WebhookClaim};
use rand::Rng;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::callbacks::{CallbackParts, Callbacks};
use crate::client::SILENT_REQUESTS_MAX;
use crate::registry::{Registered, Registry};
use crate::settling::{fail, serve};
use crate::turn::{self, Ahead, Context, Doubts, Failure, JointSaves, LeaseClock, PageAhead};
use crate::{Client, Error, Settings, upkeep};

/// How often the engine looks for due requests without a nudge, while there are any.
const CLAIM_INTERVAL: Duration = Duration::from_millis(50);

/// After this long without a request the engine looks less often. It misses nothing by that: this
/// process's poller nudges it for new requests, and a retry may come a little late.
const IDLE_AFTER: Duration = Duration::from_secs(1);
const CLAIM_INTERVAL_IDLE: Duration = Duration::from_millis(500);

/// How often the engine looks which webhooks are gone or are others now.
const GONE_INTERVAL: Duration = Duration::from_secs(1);

/// How often the attempts log gets its next day, and what is old is deleted.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(600);

/// What the engine is made of.
pub struct Parts {
    pub pool: SourcePool,
    pub registry: Registry,
    /// Which addresses receivers may have.
    pub policy: AddressPolicy,
    pub settings: Settings,
    pub callbacks: CallbackParts,
    /// Notified by the poller and by the registry; carries no data.
    pub woken: Arc<Notify>,
    pub fuses: watch::Receiver<Arc<BlownFuses>>,
}

/// The webhooks' loop. Any number of replicas may run it on one source.
pub struct Engine {
    context: Arc<Context>,
    slow_failures: Arc<SlowFailures>,
    callbacks: Callbacks,
    woken: Arc<Notify>,
    progress: Progress,
    /// Names this process in `leased_by`.
    process: String,
    /// When due requests are looked for next, unless a nudge comes first.
    claim_at: Instant,
    /// Nudges claim healthy requests only. From this time on the next look also takes those that
    /// failed slowly.
    retry_at: Instant,
    /// When a request was last in flight.
    busy_at: Instant,
}

/// A request being worked on.
struct InFlight {
    claim: WebhookClaim,
    lease: Arc<LeaseClock>,
    registered: Option<Arc<Registered>>,
    failing_slowly: bool,
    /// Cancelled when the lease is lost, the webhook is another one, or an operator stops it.
    lost: CancellationToken,
}

impl InFlight {
    /// Whether a fuse stops the webhook, or newly stops one of its mappings.
    fn stopped_by(&self, blown: &BlownFuses, before: &BlownFuses) -> bool {
        let Some(at) = &self.registered else { return false };
        let newly = |fuse: String| blown.blown(&fuse).is_some() && before.blown(&fuse).is_none();
        blown.blown_for_webhook(&at.spec.tenant_id, &at.spec.name).is_some()
            || at.mappings.iter().any(|(m, _)| newly(format!("mapping:{}", m.name())))
    }
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let settings = parts.settings;
        let callbacks = Callbacks::new(
            parts.pool.clone(),
            parts.policy.clone(),
            settings.event_schedule.clone(),
            parts.callbacks,
        );
        let context = Context {
            pool: parts.pool,
            registry: parts.registry,
            client: Client::new(parts.policy, settings.connections),
            clock: Mutex::default(),
            fuses: parts.fuses,
            readers: Arc::new(Semaphore::new(settings.workers)),
            doubts: Doubts::default(),
            ahead: Ahead::default(),
            saves: JointSaves::default(),
            settings,
            turns: AtomicUsize::new(0),
            stopping: CancellationToken::new(),
        };
        let process = format!("{}:{:08x}", std::process::id(), rand::rng().random::<u32>());
        let now = Instant::now();
        Self {
            context: Arc::new(context),
            slow_failures: Arc::default(),
            callbacks,
            woken: parts.woken,
            progress: Progress::of("webhooks"),
            process,
            claim_at: now,
            retry_at: now,
            busy_at: now,
        }
    }

    /// When the loop last completed a round. The supervisor reports a loop that completes none.
    pub fn progress(&self) -> watch::Receiver<Rounds> {
        self.progress.subscribe()
    }

    /// Runs until cancelled, then waits for the requests in flight. While the source fails, the
    /// engine claims nothing.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut turns: JoinSet<()> = JoinSet::new();
        let mut in_flight: HashMap<Id, InFlight> = HashMap::new();
        let mut heartbeat =
            tokio::time::interval(self.context.settings.lease / requests::HEARTBEATS_PER_LEASE);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gone = tokio::time::interval(GONE_INTERVAL);
        let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
        let mut fuses = self.context.fuses.clone();
        let mut blown_before = fuses.borrow_and_update().clone();
        let mut trouble = SourceTrouble::new("webhooks");
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
                Ok(()) = fuses.changed() => {
                    let blown = fuses.borrow_and_update().clone();
                    for turn in in_flight.values().filter(|f| f.stopped_by(&blown, &blown_before)) {
                        turn.lost.cancel();
                    }
                    blown_before = blown;
                    continue;
                }
                _ = gone.tick() => {
                    self.forget_gone(&in_flight);
                    continue;
                }
                _ = upkeep.tick() => {
                    if let Err(error) = upkeep::keep(&self.context.pool, &self.context.settings).await {
                        trouble.report(&error);
                    }
                    continue;
                }
                () = tokio::time::sleep_until(self.claim_at.into()) => {}
                () = self.woken.notified() => {}
            }
            if let Err(error) = self.round(&mut turns, &mut in_flight).await {
                self.progress.fail();
                tokio::time::sleep(trouble.report(&error)).await;
                continue;
            }
            self.claimed(!in_flight.is_empty());
            trouble.over();
            self.progress.tick();
        }
        self.context.stopping.cancel();
        while let Some(ended) = turns.join_next_with_id().await {
            self.ended(ended, &mut in_flight).await;
        }
        self.callbacks.end().await;
        Ok(())
    }

    /// Claims what is due, unless an operator has stopped the loop.
    async fn round(
        &mut self,
        turns: &mut JoinSet<()>,
        in_flight: &mut HashMap<Id, InFlight>,
    ) -> Result<(), Error> {
        if self.context.fuses.borrow().blown("webhooks").is_some() {
            return Ok(());
        }
        self.callbacks.round(&self.process).await?;
        // Without webhooks there is nothing else to look for.
        match self.context.registry.all().is_empty() {
            true => Ok(()),
            false => self.claim(turns, in_flight).await,
        }
    }

    fn claimed(&mut self, busy: bool) {
        let now = Instant::now();
        if busy {
            self.busy_at = now;
        }
        let idle = now - self.busy_at > IDLE_AFTER;
        self.claim_at = now + if idle { CLAIM_INTERVAL_IDLE } else { CLAIM_INTERVAL };
    }

    /// Forgets webhooks that were removed, and cancels the turns of those that are others now.
    fn forget_gone(&self, in_flight: &HashMap<Id, InFlight>) {
        let known = self.context.registry.all();
        self.slow_failures.retain(|id| known.contains_key(&id));
        self.context.doubts.retain(|id| known.contains_key(&id));
        for turn in in_flight.values() {
            let old = turn.registered.as_ref();
            if old.is_some_and(|old| !known.get(&old.webhook_id).is_some_and(|new| new.is_as(old)))
            {
                turn.lost.cancel();
            }
        }
    }

    /// The lease that a claim takes: the configured one, or longer, so that a request which begins
    /// right behind a heartbeat ends before the lease does.
    fn lease(&self) -> Duration {
        let longest = self.context.registry.timeout_max();
        self.context.settings.lease.max(longest.mul_f64(1.5) + Duration::from_secs(1))
    }

    /// Claims due requests up to the limit of requests in flight.
    async fn claim(
        &mut self,
        turns: &mut JoinSet<()>,
        in_flight: &mut HashMap<Id, InFlight>,
    ) -> Result<(), Error> {
        let retry = self.retry_at <= Instant::now();
        if retry {
            self.retry_at = Instant::now() + CLAIM_INTERVAL;
        }
        for &failing_slowly in if retry { &[false, true][..] } else { &[false] } {
            let slow = in_flight.values().filter(|f| f.failing_slowly).count();
            // Those that fail slowly have a number of their own.
            let limit = match failing_slowly {
                true => SILENT_REQUESTS_MAX.saturating_sub(slow),
                false => self.context.settings.claim_limit.saturating_sub(in_flight.len() - slow),
            };
            if limit == 0 {
                continue;
            }
            let failing_promptly = self.slow_failures.failing_promptly();
            let due = Due { failing_slowly, failing_promptly: &failing_promptly, limit };
            let (lease, began) = (self.lease(), Instant::now());
            let claims =
                requests::claim_webhooks(&self.context.pool, due, lease, &self.process).await;
            let claims = claims.map_err(Error::Source)?;
            // Requests to silent receivers wait for places, and their pages with them.
            let together = if failing_slowly { &[][..] } else { &claims };
            let mut pages = turn::read_ahead(&self.context, together);
            for claim in claims {
                let lease = Arc::new(LeaseClock::until(began + lease));
                let ahead = pages.remove(&claim.lease.request_id);
                let (id, claimed) = self.start(claim, lease, (failing_slowly, ahead), turns);
                in_flight.insert(id, claimed);
            }
        }
        Ok(())
    }

    fn start(
        &self,
        claim: WebhookClaim,
        lease: Arc<LeaseClock>,
        (failing_slowly, ahead): (bool, Option<PageAhead>),
        turns: &mut JoinSet<()>,
    ) -> (Id, InFlight) {
        let lost = CancellationToken::new();
        let (context, slow_failures, woken) =
            (self.context.clone(), self.slow_failures.clone(), self.woken.clone());
        let (mine, cancelled) = (claim.clone(), lost.clone());
        let how = (lease.clone(), failing_slowly, ahead);
        let task = turns.spawn(async move {
            let turn = serve(&context, &slow_failures, &mine, how, &woken);
            tokio::select! {
                // Without effect where the lease was lost. What was acknowledged and not recorded
                // is told again.
                () = cancelled.cancelled() => {
                    drop(requests::release(&context.pool, mine.lease, Duration::ZERO).await);
                }
                () = traced(&context, &mine, turn) => {}
            }
        });
        let registered = self.context.registry.get(claim.webhook_id);
        (task.id(), InFlight { claim, lease, registered, failing_slowly, lost })
    }

    /// Extends every lease, and cancels each turn whose lease is gone.
    async fn extend(&self, in_flight: &HashMap<Id, InFlight>) -> Result<(), Error> {
        if in_flight.is_empty() {
            return Ok(());
        }
        let leases: Vec<Lease> = in_flight.values().map(|f| f.claim.lease).collect();
        let (lease, began) = (self.lease(), Instant::now());
        let ours = requests::extend(&self.context.pool, &leases, lease).await;
        let ours: std::collections::HashSet<i64> =
            ours.map_err(Error::Source)?.into_iter().collect();
        for turn in in_flight.values() {
            match ours.contains(&turn.claim.lease.request_id) {
                true => turn.lease.extend(began + lease),
                false => turn.lost.cancel(),
            }
        }
        Ok(())
    }

    /// A panic counts as a failure of that webhook, like any other.
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
        if ended.is_err_and(|e| e.is_panic()) {
            tracing::error!(
                event = "turn_panicked",
                webhook_id = done.claim.webhook_id,
                "a turn of webhook {} panicked",
                done.claim.webhook_id
            );
            let failure = Failure::of_ours("the turn panicked; see the log");
            // If the source could not be told, the lease runs out.
            drop(fail(&self.context, &done.claim, &failure).await);
        }
    }
}

/// The turn as a span, with the webhook that it is for.
async fn traced(context: &Context, claim: &WebhookClaim, turn: impl Future<Output = ()>) {
    let about = || {
        let registered = context.registry.get(claim.webhook_id);
        let spec = registered.as_ref().map(|registered| &registered.spec);
        let mut about = vec![("offtake.failures", claim.failures.to_string())];
        about.extend(spec.map(|spec| ("offtake.tenant", spec.tenant_id.clone())));
        about.extend(spec.map(|spec| ("offtake.webhook", spec.name.clone())));
        about
    };
    traces::turn("webhook", claim.waited, about, turn).await;
}
