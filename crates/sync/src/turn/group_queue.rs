//! Who waits for a group: the claims of one place that are worked on together.
//!
//! Each place has a worker that takes those that wait, and others where many do. So groups are the
//! larger the more is due, and where little is due, no tenant waits for others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use offtake_loops::traces;
use offtake_mapping::ResolvedMapping;
use offtake_requests::Claim;
use tokio::sync::oneshot;

use super::group::together;
use super::outages::Outages;
use super::trust::Trust;
use super::{Context, Ended};
use crate::Error;
use crate::cursors::Cursor;
use crate::destinations::{KnownState, Registered};
use crate::ownership::Visit;

/// So many tenants are worked on in one transaction. With more, the last of a claim wait longer for
/// nothing: from 250 on, what a group costs is what its members cost.
const MEMBERS_MAX: usize = 250;

/// So many groups of one place are worked on at one time: one is read, one is written, and the source
/// is told of a third.
const WORKERS_MAX: usize = 3;

/// While so many wait, another worker takes them. Fewer wait for one that is at work, for a group of
/// few costs each of them more.
const WORTH_A_WORKER: usize = 100;

/// In the key of those that failed together, before the time at which they are tried again.
const AGAIN: &str = " again at ";

/// The answer of the group to one of its members.
pub(crate) enum Answer {
    /// The request is completed.
    Completed { more_wanted: bool },
    /// The member is to have a turn of its own.
    Alone,
    /// It has had one.
    Had(Result<Ended, Error>),
    /// The place failed, and the source knows.
    Failed,
}

/// A member that waits for its group.
pub(super) struct Member {
    pub(super) claim: Claim,
    pub(super) registered: Arc<Registered>,
    /// None: it is to be taken up.
    pub(super) known: Option<KnownState>,
    /// The destination is told of it with the next write.
    pub(super) visit: Option<Visit>,
    /// What was known of it was not so, and it was taken up for that.
    pub(super) again: bool,
    pub(super) answer: oneshot::Sender<Answer>,
}

impl Member {
    pub(super) fn goes_alone(self, context: &Context) {
        if let Some(known) = self.known {
            context.links.keep_known(self.claim.destination_id, known);
        }
        // The engine stopped a member that no longer listens.
        let _ = self.answer.send(Answer::Alone);
    }

    /// Its place failed, and the source was told. What was known of it is looked at again.
    pub(super) fn failed(self) {
        let _ = self.answer.send(Answer::Failed);
    }

    /// Its turn of its own is awaited. The others need what it makes.
    pub(super) async fn has_a_turn(self, context: &Context) {
        let ended = Box::pin(super::take(context, &self.claim)).await;
        let _ = self.answer.send(Answer::Had(ended));
    }

    pub(super) fn cursors(&self) -> impl Iterator<Item = &Cursor> {
        self.known.iter().flat_map(|known| known.cursors.values())
    }

    pub(super) fn after(&self) -> Vec<i64> {
        let cursor = |mapping: &Arc<ResolvedMapping>| {
            self.known.as_ref().and_then(|known| known.cursors.get(mapping.name()))
        };
        let mappings = self.registered.mappings.iter();
        mappings.map(|mapping| cursor(mapping).map_or(0, |cursor| cursor.sequence_id)).collect()
    }
}

/// The groups of this process, by place and mapping versions.
#[derive(Default)]
pub(crate) struct Groups {
    queues: Mutex<HashMap<String, Queue>>,
    /// Places where tenants cannot be written for together, and since when.
    unfit: Mutex<HashMap<String, Instant>>,
    pub(crate) outages: Outages,
    pub(super) trust: Trust,
}

/// Who waits at one place. It is there while a worker is.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Member>,
    workers: usize,
}

/// After a write that was refused to all members for a reason of the place, each goes alone for this
/// long: the tables may have triggers, or a pooler may be in between.
const UNFIT_FOR: Duration = Duration::from_secs(15);

impl Groups {
    /// Takes those of the claims that can be worked on together, and sees that they are. Returns for
    /// each claim where its answer will come; None: it has a turn of its own.
    pub(crate) fn take(
        context: &Arc<Context>,
        claims: &[Claim],
    ) -> Vec<Option<oneshot::Receiver<Answer>>> {
        let keys: Vec<Option<(String, Arc<Registered>)>> =
            claims.iter().map(|claim| simple(context, claim)).collect();
        let mut counts = HashMap::<&str, usize>::new();
        for (key, _) in keys.iter().flatten() {
            *counts.entry(key).or_default() += 1;
        }
        let mut queues = context.groups.queues();
        let mut answers = Vec::with_capacity(claims.len());
        for (claim, key) in claims.iter().zip(&keys) {
            // One tenant, too, waits for the next attempt at a place that is down.
            let outages = &context.groups.outages;
            let down =
                |of: &Registered| !outages.none() && outages.is_down(&of.spec.place.fingerprint());
            let together = |(key, of): &&(String, Arc<Registered>)| {
                counts.get(&**key).is_some_and(|n| *n > 1) || queues.contains_key(key) || down(of)
            };
            let member = key.as_ref().filter(together).map(|(key, registered)| {
                let known = known(context, registered);
                let (answer, receiver) = oneshot::channel();
                let (claim, registered) = (claim.clone(), registered.clone());
                (
                    key,
                    Member { claim, registered, known, visit: None, again: false, answer },
                    receiver,
                )
            });
            answers.push(member.map(|(key, member, receiver)| {
                queues.entry(key.clone()).or_default().waiting.push_back(member);
                receiver
            }));
        }
        for (key, queue) in queues.iter_mut() {
            // Those that begin here have not taken theirs yet.
            let mut unclaimed = queue.waiting.len();
            while queue.workers == 0 || unclaimed >= WORTH_A_WORKER && queue.workers < WORKERS_MAX {
                queue.workers += 1;
                unclaimed = unclaimed.saturating_sub(MEMBERS_MAX);
                tokio::spawn(work(context.clone(), key.clone()));
            }
        }
        answers
    }

    /// The next members to work on. None: no member waits, and the worker ends.
    fn next(&self, key: &str) -> Option<Vec<Member>> {
        let mut queues = self.queues();
        let queue = queues.get_mut(key)?;
        let waiting = &mut queue.waiting;
        if waiting.is_empty() {
            queue.workers -= 1;
            queues.retain(|_, queue| queue.workers > 0);
            return None;
        }
        let count = waiting.len().min(MEMBERS_MAX);
        Some(waiting.drain(..count).collect())
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fit(&self, key: &str) -> bool {
        let unfit = self.unfit.lock().unwrap_or_else(PoisonError::into_inner);
        unfit.get(key).is_none_or(|since| since.elapsed() > UNFIT_FOR)
    }

    pub(super) fn note_unfit(&self, key: &str) {
        let key = key.split(AGAIN).next().unwrap_or(key);
        let mut unfit = self.unfit.lock().unwrap_or_else(PoisonError::into_inner);
        unfit.retain(|_, since| since.elapsed() <= UNFIT_FOR);
        unfit.insert(key.to_owned(), Instant::now());
    }
}

/// The group that a claim belongs to, if its turn is a simple one as far as the source knows.
fn simple(context: &Context, claim: &Claim) -> Option<(String, Arc<Registered>)> {
    let registered = context.registry.get(claim.destination_id)?;
    let spec = &registered.spec;
    let plain = claim.deferred.is_empty()
        && claim.resyncs.is_empty()
        && !claim.quarantined
        && !claim.audits_untold
        && !claim.adopted;
    let together = spec.shared && spec.place.takes_groups();
    if !plain || !together || registered.mappings.is_empty() {
        return None;
    }
    let fuses = context.fuses.borrow();
    let stopped = fuses.blown_for(&spec.tenant_id, &spec.name).is_some()
        || registered
            .mappings
            .iter()
            .any(|m| fuses.blown(&format!("mapping:{}", m.name())).is_some());
    if stopped || context.stopping.is_cancelled() {
        return None;
    }
    let mut key = spec.place.fingerprint();
    for mapping in registered.mappings.iter() {
        key.push(' ');
        key.push_str(mapping.version.as_str());
    }
    if !context.groups.fit(&key) {
        return None;
    }
    // A tenant that failed by itself goes alone. Those that failed together are tried together again,
    // apart from all others, also by a daemon that saw none of it.
    if claim.failures > 0 {
        key.push_str(AGAIN);
        key.push_str(claim.retried_at.as_deref()?);
    }
    Some((key, registered))
}

/// What is known of a destination whose copies are complete, and whose tables do not refer to each
/// other. The caller has it alone. None: it is to be looked at.
fn known(context: &Context, registered: &Registered) -> Option<KnownState> {
    let (id, fingerprint) = (registered.destination_id, registered.spec.place.fingerprint());
    if context.visits.due(id) {
        return None;
    }
    let complete = |known: &KnownState| {
        known.references.is_empty()
            && registered.mappings.iter().all(|mapping| {
                let cursor = known.cursors.get(mapping.name());
                let seen = known.identities.contains_key(mapping.name());
                seen && cursor.is_some_and(|cursor| cursor.backfilled && cursor.is_of(mapping))
            })
    };
    let age_max = context.groups.trust.age_max();
    context.links.take_known(id, &fingerprint, age_max).filter(complete)
}

/// Works on the groups of one place, one after the other, while there are any.
async fn work(context: Arc<Context>, key: String) {
    /// After a panic the next claims make a new worker. Members without an answer go on alone, also
    /// those that wait where no worker is left.
    struct Ends<'a>(&'a Context, &'a str);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let mut queues = self.0.groups.queues();
                queues.get_mut(self.1).into_iter().for_each(|queue| queue.workers -= 1);
                queues.retain(|_, queue| queue.workers > 0);
            }
        }
    }
    let _ends = Ends(&context, &key);
    while let Some(members) = context.groups.next(&key) {
        let tenants = members.len().to_string();
        let about = || vec![("offtake.tenants", tenants)];
        let work = Box::pin(together(&context, &key, members));
        traces::turn("sync group", Duration::ZERO, about, work).await;
    }
}
