//! Turns of many tenants of one place at once.
//!
//! Tenants that share a place are due together under load. Each turn alone costs some ten round
//! trips and three transactions, whatever it has to write. So what is simple is done for all of them
//! by one read, one write and one mirror: the changed rows of tenants whose copies are complete, and
//! of which nothing else is known. Every promise is still made to each tenant: the cursors of each
//! are compared and moved together with its rows.
//!
//! What is not simple goes on alone, in a turn of its own: a tenant that failed, has quarantined
//! rows, is copied anew, or has more changes than its share. Where a group's write or read fails,
//! the group is divided, until the tenant that is to blame stands alone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::select_all;
use offtake_loops::{failpoint, metrics as names};
use offtake_mapping::ResolvedMapping;
use offtake_postgres::Fault;
use offtake_reading::{Batch, Member as Wanted, WantedOfGroup, read_group};
use offtake_requests::Claim;
use tokio::sync::oneshot;

use super::Context;
use super::limits::{DEADLINE_MARGIN, of_a_batch};
use crate::Error;
use crate::cursors::Cursors;
use crate::destinations::{GroupWritten, KnownState, Link, Registered, Session, TenantWrite};
use crate::record::{self, Done};

/// So many tenants are worked on in one transaction.
const MEMBERS_MAX: usize = 1000;

/// A group is read and written so often, in parts, until what is left of it goes on alone: enough
/// to find three tenants among a thousand.
const ATTEMPTS_MAX: usize = 36;

/// The answer of the group to one of its members.
pub(crate) enum Answer {
    /// The request is completed.
    Completed { more_wanted: bool },
    /// The member is to have a turn of its own.
    Alone,
}

/// A member that waits for its group.
struct Member {
    claim: Claim,
    registered: Arc<Registered>,
    known: KnownState,
    answer: oneshot::Sender<Answer>,
}

/// The groups of this process, by place and mapping versions.
#[derive(Default)]
pub(crate) struct Groups {
    queues: Mutex<HashMap<String, Queue>>,
    /// Places where tenants cannot be written for together, and since when.
    unfit: Mutex<HashMap<String, Instant>>,
}

/// Who waits at one place. Its worker runs while the queue is there.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Member>,
}

/// After a write that was refused to all members for a reason of the place, each goes alone for this
/// long: the tables may have triggers, or a pooler may be in between.
const UNFIT_FOR: Duration = Duration::from_secs(60);

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
            let together =
                |key: &str| counts.get(key).is_some_and(|n| *n > 1) || queues.contains_key(key);
            let member =
                key.as_ref().filter(|(key, _)| together(key)).and_then(|(key, registered)| {
                    let known = known(context, registered)?;
                    let (answer, receiver) = oneshot::channel();
                    let (claim, registered) = (claim.clone(), registered.clone());
                    Some((key, Member { claim, registered, known, answer }, receiver))
                });
            answers.push(member.map(|(key, member, receiver)| {
                let queue = queues.entry(key.clone()).or_insert_with(|| {
                    tokio::spawn(work(context.clone(), key.clone()));
                    Queue::default()
                });
                queue.waiting.push_back(member);
                receiver
            }));
        }
        answers
    }

    /// The next members to work on. None: nobody waits, and the worker ends.
    fn next(&self, key: &str) -> Option<Vec<Member>> {
        let mut queues = self.queues();
        let waiting = &mut queues.get_mut(key)?.waiting;
        if waiting.is_empty() {
            queues.remove(key);
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

    fn note_unfit(&self, key: &str) {
        let mut unfit = self.unfit.lock().unwrap_or_else(PoisonError::into_inner);
        unfit.retain(|_, since| since.elapsed() <= UNFIT_FOR);
        unfit.insert(key.to_owned(), Instant::now());
    }
}

/// The group that a claim belongs to, if its turn is a simple one as far as the source knows.
fn simple(context: &Context, claim: &Claim) -> Option<(String, Arc<Registered>)> {
    let registered = context.registry.get(claim.destination_id)?;
    let spec = &registered.spec;
    let plain = claim.failures == 0
        && claim.deferred.is_empty()
        && claim.resyncs.is_empty()
        && !claim.quarantined
        && !claim.audits_untold
        && !claim.adopted;
    if !plain || !spec.shared || registered.mappings.is_empty() {
        return None;
    }
    let fuses = context.fuses.borrow();
    let stopped = fuses.blown_for(&spec.tenant_id, &spec.name).is_some()
        || registered
            .mappings
            .iter()
            .any(|m| fuses.blown(&format!("mapping:{}", m.name())).is_some());
    let visits = &context.visits;
    if stopped || visits.due(claim.destination_id) || context.stopping.is_cancelled() {
        return None;
    }
    let mut key = spec.place.fingerprint();
    for mapping in &registered.mappings {
        key.push(' ');
        key.push_str(mapping.version.as_str());
    }
    context.groups.fit(&key).then_some((key, registered))
}

/// What is known of a destination whose copies are complete, and whose tables do not refer to each
/// other. The caller has it alone.
fn known(context: &Context, registered: &Registered) -> Option<KnownState> {
    let (id, fingerprint) = (registered.destination_id, registered.spec.place.fingerprint());
    let known = context.links.take_known(id, &fingerprint)?;
    let complete = |mapping: &Arc<ResolvedMapping>| {
        known.cursors.get(mapping.name()).is_some_and(|c| c.backfilled && c.is_of(mapping))
    };
    let simple = known.references.is_empty() && registered.mappings.iter().all(complete);
    if !simple {
        context.links.keep_known(id, known);
        return None;
    }
    Some(known)
}

/// Works on the groups of one place, one after the other, while there are any.
async fn work(context: Arc<Context>, key: String) {
    /// After a panic the next claims make a new worker. Members without an answer go on alone.
    struct Ends<'a>(&'a Context, &'a str);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.groups.queues().remove(self.1);
            }
        }
    }
    let _ends = Ends(&context, &key);
    while let Some(members) = context.groups.next(&key) {
        together(&context, &key, members).await;
    }
}

/// Works on members until each has its answer.
async fn together(context: &Context, key: &str, members: Vec<Member>) {
    let mut parts = vec![members];
    let mut attempts = 0;
    while let Some(mut members) = parts.pop() {
        // Who was stopped meanwhile has no turn.
        members.retain(|member| !member.answer.is_closed());
        attempts += 1;
        if members.len() < 2 || attempts > ATTEMPTS_MAX || context.stopping.is_cancelled() {
            members.into_iter().for_each(|member| member.goes_alone(context));
            continue;
        }
        match attempt(context, key, members).await {
            Ok(()) => {}
            Err(Left { members, divide: false }) => {
                members.into_iter().for_each(|member| member.goes_alone(context));
            }
            Err(Left { mut members, divide: true }) => {
                let second = members.split_off(members.len() / 2);
                parts.push(second);
                parts.push(members);
            }
        }
    }
}

/// Members for which nothing was written.
struct Left {
    members: Vec<Member>,
    /// One of them, or their number, may be to blame; otherwise it is something that all have in
    /// common, which a turn of its own is better at telling.
    divide: bool,
}

impl Left {
    fn after(members: Vec<Member>, error: &Error) -> Self {
        let divide = match error {
            Error::Mapping { .. } | Error::Overflow { .. } | Error::Cancelled => true,
            Error::Destination(trouble) => trouble.fault == Fault::TooSlow,
            _ => false,
        };
        tracing::debug!(
            event = "group_left",
            members = members.len(),
            divide,
            %error,
            "nothing was written for {} tenants together",
            members.len()
        );
        Self { members, divide }
    }
}

impl Member {
    fn goes_alone(self, context: &Context) {
        context.links.keep_known(self.claim.destination_id, self.known);
        // Where nobody waits for the answer, the turn was stopped.
        let _ = self.answer.send(Answer::Alone);
    }

    fn after(&self) -> Vec<i64> {
        let mappings = self.registered.mappings.iter();
        mappings.map(|m| self.known.cursors.get(m.name()).map_or(0, |c| c.sequence_id)).collect()
    }
}

/// One read, one write and one mirror for all of them.
async fn attempt(context: &Context, key: &str, members: Vec<Member>) -> Result<(), Left> {
    let began = Instant::now();
    let batches = match read(context, &members).await {
        Ok(batches) => batches,
        Err(error) => return Err(Left::after(members, &error)),
    };
    metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "fetch")
        .record(began.elapsed().as_secs_f64());
    let mut batches = batches.into_iter();
    let (mut together, mut read) = (Vec::new(), Vec::new());
    for member in members {
        let of_epoch =
            |batch: &Batch| member.known.cursors.values().all(|c| c.epoch == batch.epoch);
        match batches.next().flatten().filter(of_epoch) {
            Some(batch) => {
                together.push(member);
                read.push(batch);
            }
            None => member.goes_alone(context),
        }
    }
    if together.len() < 2 {
        together.into_iter().for_each(|member| member.goes_alone(context));
        return Ok(());
    }
    let apply_began = Instant::now();
    let written = match write(context, &mut together, &read).await {
        Ok(written) => written,
        Err(error) => return Err(Left::after(together, &error)),
    };
    if !written.fit {
        context.groups.note_unfit(key);
        return Err(Left { members: together, divide: false });
    }
    committed(&written, &read, began, apply_began);
    tell(context, together, &read, written.members).await;
    Ok(())
}

async fn read(context: &Context, members: &[Member]) -> Result<Vec<Option<Batch>>, Error> {
    failpoint("sync.after_claim").await.map_err(Error::Source)?;
    let _reader = context.readers.acquire().await.map_err(|_| Error::Cancelled)?;
    let wanted: Vec<Wanted<'_>> = members
        .iter()
        .map(|member| Wanted {
            tenant_id: &member.registered.spec.tenant_at_source,
            after: member.after(),
        })
        .collect();
    let wanted = WantedOfGroup {
        members: &wanted,
        mappings: &members[0].registered.mappings,
        bytes_max: context.settings.batch_bytes,
        statement_timeout: context.settings.statement_timeout,
    };
    let batches = read_group(&context.pool, &wanted).await?;
    failpoint("sync.after_read").await.map_err(Error::Source)?;
    Ok(batches)
}

/// Writes one batch for each member. [`Error::Cancelled`]: one of them was stopped meanwhile.
async fn write(
    context: &Context,
    members: &mut [Member],
    batches: &[Batch],
) -> Result<GroupWritten, Error> {
    let mut link = link(context, &members[0].registered).await?;
    let next: Vec<Cursors> = members.iter().zip(batches).map(advanced).collect();
    let bytes = batches.iter().map(Batch::bytes).sum();
    let settings = of_a_batch(&context.settings, bytes);
    let (mut writes, mut answers) = (Vec::new(), Vec::new());
    for ((member, batch), next) in members.iter_mut().zip(batches).zip(&next) {
        let Member { registered, known, answer, .. } = member;
        answers.push(answer);
        writes.push(TenantWrite {
            tenant_id: &registered.spec.tenant_id,
            tenant_at_source: &registered.spec.tenant_at_source,
            mappings: &registered.mappings,
            parts: &batch.parts,
            references: &known.references,
            expected: &known.cursors,
            identities: &known.identities,
            next,
        });
    }
    let limit = settings.statement_timeout + DEADLINE_MARGIN;
    let stopped = select_all(answers.into_iter().map(|answer| Box::pin(answer.closed())));
    let written = tokio::select! {
        written = tokio::time::timeout(limit, link.session.write_group(&writes, &settings)) => written,
        _ = stopped => return Err(Error::Cancelled),
    };
    let written = written.map_err(|_| Error::Deadline(limit.as_secs()))??;
    context.links.keep_of_place(link);
    Ok(written)
}

async fn link(context: &Context, registered: &Registered) -> Result<Link, Error> {
    let place = &registered.spec.place;
    let fingerprint = place.fingerprint();
    if let Some(link) = context.links.take_of_place(&fingerprint) {
        return Ok(link);
    }
    let slot = context.links.slot().await.ok_or(Error::Cancelled)?;
    let session = Session::open(place, &context.dialer, "offtake").await;
    Ok(Link::new(session.map_err(Error::destination)?, fingerprint, None, slot))
}

/// Where a member's cursors stand once its batch is applied.
fn advanced((member, batch): (&Member, &Batch)) -> Cursors {
    let mut next = member.known.cursors.clone();
    for part in &batch.parts {
        next.get_mut(part.mapping.name()).into_iter().for_each(|cursor| cursor.advance(part));
    }
    next
}

/// Counts what a commit made visible.
fn committed(written: &GroupWritten, batches: &[Batch], began: Instant, apply_began: Instant) {
    metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "apply")
        .record(apply_began.elapsed().as_secs_f64());
    metrics::counter!(names::BATCHES_TOTAL, "result" => "applied").increment(1);
    let operations = [("upsert", written.applied.upserted), ("delete", written.applied.deleted)];
    for (operation, rows) in operations {
        metrics::counter!(names::ROWS_APPLIED_TOTAL, "operation" => operation).increment(rows);
    }
    let arrived = batches.iter().zip(&written.members).filter(|(_, cursors)| cursors.is_some());
    for part in arrived.flat_map(|(batch, _)| &batch.parts) {
        if let Some(oldest) = part.oldest {
            metrics::histogram!(names::SYNC_LATENCY_SECONDS)
                .record((oldest + began.elapsed()).as_secs_f64());
        }
    }
}

/// Tells the source and the members what was written. Who was left out goes on alone, and so do all
/// where the source cannot be told.
async fn tell(
    context: &Context,
    members: Vec<Member>,
    batches: &[Batch],
    written: Vec<Option<Cursors>>,
) {
    let mappings = members[0].registered.mappings.clone();
    let (mut done, mut answers) = (Vec::new(), Vec::new());
    for ((member, batch), cursors) in members.into_iter().zip(batches).zip(written) {
        let Some(cursors) = cursors else {
            member.goes_alone(context);
            continue;
        };
        let Member { claim, known, answer, .. } = member;
        let stands_at =
            mappings.iter().filter_map(|m| Some(cursors.get(m.name())?.sequence_id)).min();
        done.push(Done {
            lease: claim.lease,
            stands_at: stands_at.unwrap_or(batch.head),
            // A request can want more than the log has: it may be older than a restore of the source.
            reached: batch.head.max(claim.wanted_sequence_id),
        });
        answers.push((claim.lease.request_id, answer));
        // Before the request is completed: from then on, the next one may be claimed.
        context.links.keep_known(claim.destination_id, known.moved(cursors));
    }
    let told = match failpoint("sync.before_complete").await {
        Ok(()) => record::mirror_group(&context.pool, &mappings, &done).await,
        Err(error) => Err(Error::Source(error)),
    };
    for (request_id, answer) in answers {
        let _ = answer.send(match &told {
            Ok(completed) => Answer::Completed { more_wanted: !completed.contains(&request_id) },
            Err(_) => Answer::Alone,
        });
    }
}
