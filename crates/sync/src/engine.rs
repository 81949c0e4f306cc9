//! The loop: claims due requests, gives each a turn, keeps the leases alive.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::{BlownFuses, Progress, SourceTrouble as Trouble, metrics as names};
use offtake_mapping::Identifier;
use offtake_postgres::{Dialer, SourcePool, SqlState};
use rand::Rng;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::batch_size::BatchSizes;
use crate::destinations::{Links, Registered, Registry};
use crate::requests::{self, Claim, Due};
use crate::silence::{self, Silence};
use crate::turn::{self, Context, Ended};
use crate::{Error, Settings};

/// How often due requests are looked for when nothing nudges: what a request owed by another
/// replica's poller, or one whose backoff has ended, waits at most.
const CLAIM_INTERVAL: Duration = Duration::from_millis(50);

/// After this long without a request, they are looked for less often: whatever this process' poller
/// owes is nudged, and a retry may come this much late.
const IDLE_AFTER: Duration = Duration::from_secs(1);
const CLAIM_INTERVAL_IDLE: Duration = Duration::from_millis(250);

/// How often unused connections are looked for.
const LINKS_INTERVAL: Duration = Duration::from_secs(2);

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
    pub fuses: watch::Receiver<Arc<BlownFuses>>,
}

/// The sync engine's loop. Any number of replicas may run it on one source.
pub struct Engine {
    context: Arc<Context>,
    silence: Arc<Silence>,
    woken: Arc<Notify>,
    progress: Progress,
    /// Names this process in `leased_by`.
    who: String,
}

/// A request being worked on.
struct InFlight {
    claim: Claim,
    /// Where it writes to; None: this process does not know.
    registered: Option<Arc<Registered>>,
    /// Its last attempt failed, and not promptly.
    silent: bool,
    /// Cancelled when its lease is lost, its destination is not there any more, or an operator
    /// stops it.
    lost: CancellationToken,
}

impl InFlight {
    /// Whether its destination may not go on, or one of the mappings that its batch may be for no
    /// longer.
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
            sizes: BatchSizes::new(parts.settings.batch_rows),
            stopping: CancellationToken::new(),
            settings: parts.settings,
        };
        let who = format!("{}:{:08x}", std::process::id(), rand::rng().random::<u32>());
        Self {
            context: Arc::new(context),
            silence: Arc::default(),
            woken: parts.woken,
            progress: Progress::of("sync"),
            who,
        }
    }

    /// When the loop last completed a round; a supervisor reports it when it stands still.
    pub fn progress(&self) -> watch::Receiver<Instant> {
        self.progress.subscribe()
    }

    /// Runs until cancelled, then lets the batches in flight finish. While the source fails nothing
    /// is claimed, and the turns in flight go on trying to settle their requests.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let lease = self.context.settings.lease;
        let mut turns: JoinSet<()> = JoinSet::new();
        let mut in_flight: HashMap<Id, InFlight> = HashMap::new();
        let (mut busy_at, mut claim_at, mut retry_at) =
            (Instant::now(), Instant::now(), Instant::now());
        let mut heartbeat = tokio::time::interval(lease / 3);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut links = tokio::time::interval(LINKS_INTERVAL);
        let mut fuses = self.context.fuses.clone();
        let mut blown_before = fuses.borrow_and_update().clone();
        let mut trouble = Trouble::new("sync");
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
                // What an operator stops is stopped now, also while it waits for a lock there: its
                // batch is rolled back.
                Ok(()) = fuses.changed() => {
                    let blown = fuses.borrow_and_update().clone();
                    for turn in in_flight.values().filter(|f| f.stopped_by(&blown, &blown_before)) {
                        turn.lost.cancel();
                    }
                    blown_before = blown;
                    continue;
                }
                _ = links.tick() => {
                    let known = self.context.registry.all();
                    self.context.links.close_unused(|id| known.contains_key(&id));
                    self.silence.retain(|id| known.contains_key(&id));
                    let there = |old: &Arc<Registered>| known.get(&old.destination_id).is_some_and(|new| new.spec.same_place(&old.spec));
                    for moved in in_flight.values().filter(|f| f.registered.as_ref().is_some_and(|old| !there(old))) {
                        moved.lost.cancel();
                    }
                    continue;
                }
                () = tokio::time::sleep_until(claim_at.into()) => {}
                () = self.woken.notified() => {}
            }
            let blown = self.context.fuses.borrow().blown("sync").is_some();
            // Who knows nobody could only give back what it claims, each time; the registry wakes
            // us when it is read.
            let knows_any = !self.context.registry.all().is_empty();
            // What a nudge is for has not failed; who has waits for a moment of their own, however
            // often there are nudges.
            let retry = retry_at <= Instant::now();
            if knows_any
                && !blown
                && let Err(error) = self.claim(retry, &mut turns, &mut in_flight).await
            {
                tokio::time::sleep(trouble.report(&error)).await;
                continue;
            }
            if retry {
                retry_at = Instant::now() + CLAIM_INTERVAL;
            }
            if !in_flight.is_empty() {
                busy_at = Instant::now();
            }
            claim_at = Instant::now()
                + if busy_at.elapsed() > IDLE_AFTER { CLAIM_INTERVAL_IDLE } else { CLAIM_INTERVAL };
            trouble.over();
            self.progress.tick();
        }
        self.context.stopping.cancel();
        while let Some(ended) = turns.join_next_with_id().await {
            self.ended(ended, &mut in_flight).await;
        }
        Ok(())
    }

    /// Claims until nothing is due or everything is taken; with `retry` also what failed, and of
    /// destinations that were silent no more than their share.
    async fn claim(
        &self,
        retry: bool,
        turns: &mut JoinSet<()>,
        in_flight: &mut HashMap<Id, InFlight>,
    ) -> Result<(), Error> {
        let settings = &self.context.settings;
        for &failing in if retry { &[false, true][..] } else { &[false] } {
            let mut limit = settings.claim_limit.saturating_sub(in_flight.len());
            if failing {
                limit = limit.min(
                    silence::AT_WORK_MAX
                        .saturating_sub(in_flight.values().filter(|f| f.silent).count()),
                );
            }
            if limit == 0 {
                continue;
            }
            let connection = self.context.pool.get().await.map_err(Error::Source)?;
            let due = Due { failing, prompt: &self.silence.prompt(), limit };
            for claim in requests::claim(&connection, due, settings.lease, &self.who).await? {
                if !failing {
                    metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "claim")
                        .record(claim.waited.as_secs_f64());
                }
                let (id, claimed) = self.start(claim, failing, turns);
                in_flight.insert(id, claimed);
            }
        }
        Ok(())
    }

    fn start(&self, claim: Claim, silent: bool, turns: &mut JoinSet<()>) -> (Id, InFlight) {
        let lost = CancellationToken::new();
        let (context, silence, woken) =
            (self.context.clone(), self.silence.clone(), self.woken.clone());
        let (mine, cancelled) = (claim.clone(), lost.clone());
        let task = turns.spawn(async move {
            tokio::select! {
                // Without effect where the lease was lost.
                () = cancelled.cancelled() => drop(requests::release(&context.pool, &mine, Duration::ZERO).await),
                () = serve(&context, &silence, &mine, &woken) => {}
            }
        });
        let registered = self.context.registry.get(claim.destination_id);
        (task.id(), InFlight { claim, registered, silent, lost })
    }

    /// Extends every lease; a turn whose lease is gone is given up. What it may still write, the
    /// destination's cursors refuse.
    async fn extend(&self, in_flight: &HashMap<Id, InFlight>) -> Result<(), Error> {
        if in_flight.is_empty() {
            return Ok(());
        }
        let claims: Vec<(i64, i64)> =
            in_flight.values().map(|f| (f.claim.request_id, f.claim.attempt)).collect();
        let ours =
            requests::extend(&self.context.pool, &claims, self.context.settings.lease).await?;
        for lost in in_flight.values().filter(|f| !ours.contains(&f.claim.request_id)) {
            lost.lost.cancel();
        }
        Ok(())
    }

    /// A panic is that destination's failure, like any other.
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
                destination_id = done.claim.destination_id,
                "a sync of destination {} panicked",
                done.claim.destination_id
            );
            let delay = backoff(&self.context.settings, done.claim.failures);
            let failed = requests::fail(
                &self.context.pool,
                &done.claim,
                delay,
                "the sync panicked; see the log",
                "a defect in Offtake",
            )
            .await;
            // Otherwise its lease ends it.
            drop(failed);
        }
    }
}

/// One turn, and what its end means for the request. While the source cannot be told, it is tried
/// again for as long as the lease could have lasted: a source that restarts must not cost its
/// destinations a whole lease.
async fn serve(context: &Context, silence: &Silence, claim: &Claim, woken: &Notify) {
    let began = Instant::now();
    let outcome = turn::take(context, claim).await;
    silence.note(claim.destination_id, outcome.is_err(), began.elapsed());
    let until = Instant::now() + context.settings.lease;
    let mut pause = SETTLE_PAUSE_MIN;
    while let Err(error) = settle(context, claim, woken, &outcome).await {
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
    outcome: &Result<Ended, Error>,
) -> Result<(), Error> {
    match outcome {
        Ok(Ended::Reached(head)) => {
            // More may have been owed while the turn lasted; nobody else will say so.
            if !requests::complete(&context.pool, claim, *head).await? {
                woken.notify_one();
            }
            Ok(())
        }
        Ok(Ended::Again(delay)) => {
            requests::release(&context.pool, claim, *delay).await?;
            if delay.is_zero() {
                woken.notify_one();
            }
            Ok(())
        }
        Ok(Ended::Unknown) => requests::leave(&context.pool, claim, turn::UNKNOWN_DELAY).await,
        Err(Error::Source(error)) => {
            requests::release(&context.pool, claim, context.settings.retry_initial).await?;
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

async fn fail(context: &Context, claim: &Claim, error: &Error) -> Result<(), Error> {
    let (class, message) = match error {
        Error::Destination(source) => (source.fault().as_str(), source.message()),
        Error::Deadline(_) => ("unreachable", error.to_string()),
        other => ("transient", other.to_string()),
    };
    let delay = backoff(&context.settings, claim.failures);
    let registered = context.registry.get(claim.destination_id);
    let reason = match (error, &registered) {
        (Error::Destination(source), Some(r))
            if source.sqlstate() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
        {
            let quoted = |name: &str| {
                Identifier::new(name).map_or_else(|_| String::new(), |name| name.sql())
            };
            let right = match source {
                offtake_postgres::Error::Login { .. } => {
                    format!("connect on database {}", quoted(r.spec.url.database()))
                }
                _ => format!("usage, create on schema {}", r.spec.schema.sql()),
            };
            format!(
                "missing rights: {message}; run there: grant {right} to {}",
                quoted(r.spec.url.user())
            )
        }
        (Error::Destination(source), _)
            if source.sqlstate() == Some(&SqlState::INVALID_CATALOG_NAME) =>
        {
            format!("no such database: {message}")
        }
        _ => reason(class, &message),
    };
    requests::fail(&context.pool, claim, delay, &message, &reason).await?;
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

/// What a person reads first.
fn reason(class: &str, message: &str) -> String {
    let what = match class {
        "unreachable" => "unreachable",
        "credentials" => "refused credentials",
        "schema" => "schema mismatch",
        "read_only" => "read-only",
        "full" => "disk full",
        _ => "failing",
    };
    format!("{what}: {message}")
}

/// Exponential with jitter, so that destinations that failed together do not come back together.
fn backoff(settings: &Settings, failures: i32) -> Duration {
    let exponent = u32::try_from(failures.clamp(0, 16)).unwrap_or(0);
    let longest = settings.retry_initial.saturating_mul(1 << exponent).min(settings.retry_max);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}
