//! One turn of one destination: the worker applies batches until nothing is owed, or until its time
//! is over and other destinations should have theirs.
//!
//! The turn decides. It reads from the source, and asks the destination's
//! [`Session`](crate::destinations::Session) to take up, begin and write; it composes no statement
//! for a destination.

mod audits;
mod batch;
mod context;
mod group;
mod group_queue;
mod group_take_up;
mod joint;
mod limits;
mod mirror;
mod order;
mod outages;
mod per_place;
mod place_gate;
mod reading;
mod stay;
mod take_up;
mod trust;
mod with_others;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use offtake_loops::{failpoint, metrics as names};
use offtake_mapping::ResolvedMapping;
use offtake_requests::Claim;

use crate::Error;
use crate::cursors::{Cursors, Identities};
use crate::destinations::{IDLE_MAX, Link, Registered, Session};
pub(crate) use context::Context;
pub(crate) use group_queue::{Answer, Groups};
use limits::within_deadline;
use mirror::Untold;
pub(crate) use order::parents_first;
pub(crate) use per_place::PerPlace;
use place_gate::First;
pub(crate) use place_gate::PlaceGates;
pub(crate) use stay::STAYING_MAX;
pub(crate) use take_up::estimate;
pub(crate) use with_others::{JointMirrors, JointReads, SlowReads};

/// A turn ends after this long and at least one batch, although more is owed. Long enough for a
/// backfill to keep its connection and caches warm, short enough that the other destinations barely
/// notice. A turn without a batch would be paid for in vain: where taking a destination up takes
/// longer than this, the next turn would begin with it again, and nothing would ever arrive.
const TURN_MAX: Duration = Duration::from_millis(500);

/// The same where no other destination waits for what this turn holds. A turn costs a read that
/// nothing else is done beside, and a claim: together a tenth of half a second. What an operator asks
/// for ends it: the source says so when it is told of a batch.
const TURN_ALONE_MAX: Duration = Duration::from_secs(3);

/// How often a turn starts over because another worker moved the cursors. Then it ends, and the
/// other worker goes on alone.
const STALE_MAX: usize = 3;

/// For how long a worker leaves a request to other daemons that know its destination.
pub(crate) const UNKNOWN_DELAY: Duration = Duration::from_secs(1);

/// How a turn ended, when the destination and the source did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every mapping has reached this sequence id.
    Reached(i64),
    /// The same, and the request was completed together with the mirror of the last batch. Where
    /// more is wanted, it is due again.
    Completed { more_wanted: bool },
    /// Not everything is done; try again after this long.
    Again(Duration),
    /// This process does not know the destination, and has done nothing.
    Unknown,
    /// The source knows already what became of the request.
    Settled,
}

/// The last batch left nothing to do: these cursors are mirrored, and the request completed with
/// them, when the session is back among the links. A new request can be claimed from then on, and
/// its turn would open another session.
struct Completing {
    cursors: Cursors,
    identities: Identities,
    reached: i64,
}

pub(crate) struct Turn<'a> {
    /// When the turn had a session.
    began: Instant,
    context: &'a Context,
    claim: &'a Claim,
    registered: Arc<Registered>,
    /// The mappings that this turn still works on. One that fails is taken out.
    mappings: Vec<Arc<ResolvedMapping>>,
    /// The soonest retry of a mapping that this turn does not work on.
    retry: Option<Duration>,
    /// What the failed mappings said.
    reason: Option<String>,
    /// What the destination suffers from although everything arrives.
    strain: Option<String>,
    begun: Vec<(String, Option<i64>)>,
    /// Re-copies that an operator asked for and that have not begun.
    resyncs: Vec<(i64, String)>,
    quarantined: bool,
    /// This turn has mirrored the cursors.
    mirrored: bool,
    /// What is mirrored when the session has been given back; see [`Completing`].
    completing: Option<Completing>,
    /// What the source is told while the next batch is written.
    untold: Option<Untold>,
    /// The source has answered that the request is not this turn's any more, or that the destination
    /// is paused.
    over: AtomicBool,
    /// The last step has written a batch.
    wrote: bool,
    /// This worker is the first of this process in a place that tenants share.
    first: Option<First>,
}

/// Works on one claimed request. Whatever it returns, the destination's rows and cursors agree.
pub(crate) async fn take(context: &Context, claim: &Claim) -> Result<Ended, Error> {
    failpoint("sync.after_claim").await.map_err(Error::Source)?;
    let Some(registered) = context.registry.get(claim.destination_id) else {
        return Ok(Ended::Unknown);
    };
    let fuses = context.fuses.borrow().clone();
    let works = |m: &&Arc<ResolvedMapping>| {
        !claim.deferred.iter().any(|name| name == m.name())
            && fuses.blown(&format!("mapping:{}", m.name())).is_none()
    };
    let mappings: Vec<_> = registered.mappings.iter().filter(works).cloned().collect();
    let fused = mappings.len() + claim.deferred.len() < registered.mappings.len();
    let retry = if fused {
        Some(claim.deferred_for.unwrap_or(UNKNOWN_DELAY).min(UNKNOWN_DELAY))
    } else {
        claim.deferred_for
    };
    // A re-copy of a mapping that is gone waits until the mapping is back.
    let resyncs = claim
        .resyncs
        .iter()
        .filter(|(_, name)| registered.mappings.iter().any(|m| m.name() == name))
        .cloned()
        .collect();
    let mut turn = Turn { retry, resyncs, ..Turn::new(context, claim, registered, mappings) };
    let mut link = turn.link().await?;
    // Only a take-up can show that another source has served the destination meanwhile. And what a
    // turn without one of the mappings kept does not say which table that one has.
    let unseen = turn.mappings.iter().any(|m| !link.identities.contains_key(m.name()));
    let asked = !turn.resyncs.is_empty() || claim.adopted;
    if asked || unseen || context.visits.due(claim.destination_id) {
        link.cursors = None;
    }
    let ended = turn.work(&mut link).await?;
    turn.strain = link.session.strain(&context.settings).await;
    let untold = !turn.mirrored || turn.strain.is_some() && turn.completing.is_none();
    if let (Ended::Reached(_), true, Some(cursors)) = (&ended, untold, &link.cursors) {
        // Nothing was written this time. But a daemon may have died between the destination's last
        // commit and its mirror, so the cursors are mirrored now. Or the state is another one.
        turn.mirror_cursors(cursors, &link.identities, None).await?;
    }
    if claim.audits_untold {
        turn.tell_audits(&mut link).await?;
    }
    if turn.registered.spec.shared {
        group::place_works(context, &turn.registered).await;
    }
    if turn.reason.is_none() {
        // After a fault of a mapping the session is closed: its staging tables may have the columns
        // of a table that has changed.
        context.links.keep(claim.destination_id, link, turn.registered.spec.shared);
    }
    turn.complete(ended).await
}

impl<'a> Turn<'a> {
    fn new(
        context: &'a Context,
        claim: &'a Claim,
        registered: Arc<Registered>,
        mappings: Vec<Arc<ResolvedMapping>>,
    ) -> Self {
        Self {
            began: Instant::now(),
            context,
            claim,
            registered,
            mappings,
            retry: None,
            reason: None,
            strain: None,
            begun: Vec::new(),
            resyncs: Vec::new(),
            quarantined: claim.quarantined,
            mirrored: false,
            completing: None,
            untold: None,
            over: AtomicBool::default(),
            wrote: false,
            first: None,
        }
    }
}

impl Turn<'_> {
    async fn link(&mut self) -> Result<Link, Error> {
        let spec = &self.registered.spec;
        let fingerprint = spec.place.fingerprint();
        let (links, id) = (&self.context.links, self.claim.destination_id);
        // Also where there is no link: what was known stays known when the link was closed for
        // another destination.
        let mut known = links.take_known(id, &fingerprint, IDLE_MAX);
        if let Some(link) = links.take(id, &fingerprint) {
            return Ok(link);
        }
        if spec.shared && known.is_none() {
            let mut key = fingerprint.clone();
            self.mappings.iter().for_each(|mapping| {
                key.push(' ');
                key.push_str(mapping.version.as_str());
            });
            self.first = self.context.gates.enter(key).await;
        }
        if spec.shared {
            match links.take_in_place(&fingerprint, known) {
                Ok(link) => return Ok(link),
                Err(unused) => known = unused,
            }
        }
        let slot = links.slot().await.ok_or(Error::Cancelled)?;
        let session = Session::open(&spec.place, &self.context.dialer, "offtake").await;
        Ok(links.link(session.map_err(Error::destination)?, spec, known, slot))
    }

    async fn work(&mut self, link: &mut Link) -> Result<Ended, Error> {
        let ended = self.batches(link).await;
        let told = self.tell_untold().await;
        ended.and_then(|ended| told.map(|()| ended))
    }

    async fn batches(&mut self, link: &mut Link) -> Result<Ended, Error> {
        self.began = Instant::now();
        let (mut stale, mut batches) = (0, 0);
        let mut ahead = None;
        loop {
            if self.mappings.is_empty() {
                return Ok(self.end(self.claim.wanted_sequence_id));
            }
            let spec = &self.registered.spec;
            if self.context.fuses.borrow().blown_for(&spec.tenant_id, &spec.name).is_some() {
                return Ok(Ended::Again(self.context.settings.retry_initial));
            }
            if self.context.stopping.is_cancelled() || batches > 0 && self.time_is_over() {
                return Ok(Ended::Again(Duration::ZERO));
            }
            order::parents_first(&mut self.mappings, &link.references);
            let known = |cursors: &Cursors| {
                self.mappings.iter().all(|m| cursors.get(m.name()).is_some_and(|c| c.is_of(m)))
            };
            let done = match link.cursors.clone().filter(known) {
                Some(cursors) => {
                    batches += 1;
                    Box::pin(self.step(link, cursors, &mut ahead)).await
                }
                None => {
                    // The destination may turn out to be older than the last batch.
                    self.completing = None;
                    self.tell_untold().await?;
                    match Box::pin(self.take_up(link)).await {
                        Ok(false) => return Ok(Ended::Again(self.context.settings.retry_initial)),
                        taken_up => taken_up.map(|_| None),
                    }
                }
            };
            match done {
                Ok(Some(head)) if !self.stays(head).await => return Ok(self.end(head)),
                Ok(Some(_)) => {}
                Ok(None) => {}
                Err(Error::Stale) if stale < STALE_MAX => {
                    stale += 1;
                    link.cursors = None;
                    metrics::counter!(names::BATCHES_TOTAL, "result" => "dropped").increment(1);
                }
                // Taking the destination up again begins the copies that must begin again.
                Err(Error::Lost) if stale < STALE_MAX => {
                    stale += 1;
                    link.cursors = None;
                }
                Err(Error::Stale | Error::Lost | Error::Making) => {
                    return Ok(Ended::Again(self.context.settings.retry_initial));
                }
                Err(Error::Mapping { mapping, fault }) => self.set_aside(&mapping, fault).await?,
                // The next batch has fewer rows.
                Err(Error::Overflow { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn time_is_over(&self) -> bool {
        let max = if self.may_go_on() { TURN_ALONE_MAX } else { TURN_MAX };
        self.over.load(Ordering::Relaxed) || self.began.elapsed() > max
    }

    /// Whether nothing waits for this turn's end: no destination for its connection or for its place
    /// among the requests at work, no tenant of its place, none of its own mappings for a retry, and
    /// no edited mapping.
    fn may_go_on(&self) -> bool {
        let context = self.context;
        let registered = context.registry.get(self.claim.destination_id);
        let as_it_was = registered.is_some_and(|now| now.is_as(&self.registered));
        let crowded = context.at_work.load(Ordering::Relaxed) >= context.settings.claim_limit;
        as_it_was
            && !crowded
            && !context.links.are_awaited()
            && !self.registered.spec.shared
            && self.retry.is_none()
    }

    /// Everything that the turn could apply is applied, up to `head`.
    fn end(&self, head: i64) -> Ended {
        // A request can want more than the log has: it may be older than a restore of the source.
        let reached = head.max(self.claim.wanted_sequence_id);
        self.retry.map_or(Ended::Reached(reached), Ended::Again)
    }
}
