//! Turns of many tenants of one place at once.
//!
//! Tenants that share a place are due together under load. Each turn alone costs some ten round
//! trips and three transactions, whatever it has to write. So what is simple is done for all of them
//! by one read, one write and one mirror: the changed rows of tenants whose copies are complete, and
//! first copies that are small. Every promise is still made to each tenant: the cursors of each are
//! compared and moved together with its rows.
//!
//! What is not simple goes on alone, in a turn of its own: a tenant that failed, has quarantined
//! rows, is to be copied again, or has more changes than its share. Where a group's write or read fails,
//! the group is divided, until the tenant that is to blame stands alone.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::select_all;
use offtake_loops::{failpoint, metrics as names, traces};
use offtake_postgres::Fault;
use offtake_reading::{Batch, Member as Wanted, WantedOfGroup, read_group};
use offtake_requests as requests;

use super::Context;
use super::group_queue::{Answer, Member};
use super::group_take_up::{TakenUp, take_up};
use super::limits::{DEADLINE_MARGIN, of_a_batch};
use super::outages::{Again, Down, Entry};
use crate::Error;
use crate::cursors::Cursors;
use crate::destinations::{GroupWritten, Link, Registered, Session, TenantWrite, Trouble};
use crate::record::{self, Done};

/// A group is read and written so often, in parts, until what is left of it goes on alone: enough
/// to find three tenants among a thousand.
const ATTEMPTS_MAX: usize = 36;

/// What is to be done next for some members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is known of them. `again`: what their place needs has just been made.
    TakeUp { again: bool },
    /// Their copies begin, and all their rows are copied.
    Copy,
    /// Their copies are complete, and what changed is copied.
    Changes,
}

/// Works on members until each has its answer.
pub(super) async fn together(context: &Context, key: &str, members: Vec<Member>) {
    let Some(first) = members.first() else { return };
    let place = first.registered.spec.place.fingerprint();
    let retried_at = members.iter().filter_map(|member| member.claim.retried_at.as_deref());
    let _probe = match context.groups.outages.enter(&place, retried_at) {
        Entry::Works => None,
        Entry::Tries(probe) => Some(probe),
        Entry::Down(Down { failures, trouble, again }) => {
            put_off(context, members, &trouble, (failures, again)).await;
            return;
        }
    };
    let (known, unknown): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|member| member.known.is_some());
    let mut parts = vec![(Stage::TakeUp { again: false }, unknown), (Stage::Changes, known)];
    let (mut attempts, mut lost_before) = (0, false);
    while let Some((stage, mut members)) = parts.pop() {
        // A member that was stopped meanwhile has no turn.
        members.retain(|member| !member.answer.is_closed());
        if members.is_empty() {
            continue;
        }
        attempts += 1;
        if members.len() < 2 || attempts > ATTEMPTS_MAX || context.stopping.is_cancelled() {
            members.into_iter().for_each(|member| member.goes_alone(context));
            continue;
        }
        let left = match stage {
            Stage::TakeUp { again } => match take_up(context, members).await {
                Ok(TakenUp::Ready { standing, beginning }) => {
                    parts.push((Stage::Copy, beginning));
                    parts.push((Stage::Changes, standing));
                    continue;
                }
                Ok(TakenUp::Unready(mut members)) if !again => {
                    // A turn of one tenant makes what is missing, or tells what is wrong.
                    let member = members.swap_remove(0);
                    member.has_a_turn(context).await;
                    parts.push((Stage::TakeUp { again: true }, members));
                    continue;
                }
                Ok(TakenUp::Unready(members)) => {
                    context.groups.note_unfit(key);
                    Left { members, divide: false, place: None, lost: false }
                }
                Err(left) => left,
            },
            stage => match attempt(context, (key, stage), members).await {
                Ok(others) => {
                    parts.push((Stage::TakeUp { again: false }, others));
                    continue;
                }
                Err(left) => left,
            },
        };
        let Left { mut members, divide, place, lost } = left;
        if let Some(trouble) = place {
            fail(context, members, &trouble).await;
        } else if lost && !lost_before {
            lost_before = true;
            parts.push((stage, members));
        } else if divide {
            let second = members.split_off(members.len() / 2);
            parts.push((stage, second));
            parts.push((stage, members));
        } else {
            members.into_iter().for_each(|member| member.goes_alone(context));
        }
    }
}

/// The place of these members failed: one failure for all of them, one time at which all are tried
/// again, and one line in the log until the place answers.
async fn fail(context: &Context, members: Vec<Member>, trouble: &Trouble) {
    let Some(first) = members.first() else { return };
    let place = first.registered.spec.place.clone();
    let (failures, again) = context.groups.outages.failed(&place.fingerprint(), trouble);
    metrics::counter!(names::BATCHES_TOTAL, "result" => "failed").increment(1);
    let class = trouble.fault.as_str();
    metrics::counter!(names::DESTINATION_ERRORS_TOTAL, "class" => class).increment(1);
    if failures == 0 {
        tracing::warn!(
            event = "place_failed",
            database = place.database(),
            schema = place.schema(),
            class,
            "{}, which {} tenants and maybe more share, failed: {}",
            place.database(),
            members.len(),
            trouble.message
        );
    }
    put_off(context, members, trouble, (failures, again)).await;
}

/// Puts the members off to the next attempt at their place, which is down. Where the source cannot be
/// told, each finds out alone.
async fn put_off(
    context: &Context,
    members: Vec<Member>,
    trouble: &Trouble,
    (failures, again): (i32, Option<Again>),
) {
    let Some(first) = members.first() else { return };
    let place = first.registered.spec.place.fingerprint();
    // Those of a daemon that began meanwhile have failed before.
    let failures = members.iter().map(|of| of.claim.failures).fold(failures, i32::max);
    let settings = &context.settings;
    let delay = requests::backoff(settings.retry_initial, settings.retry_max, failures);
    let leases: Vec<_> = members.iter().map(|member| member.claim.lease).collect();
    let when = (delay, again.as_ref().map(|again| &*again.text));
    let (message, reason) = (&trouble.message, &trouble.reason);
    traces::failed(|| message.clone());
    let told = requests::fail_all(&context.pool, &leases, when, message, reason).await;
    let Ok((text, until)) = told else {
        return members.into_iter().for_each(|member| member.goes_alone(context));
    };
    if again.is_none() {
        context.groups.outages.put_off(&place, Again { text, at: Instant::now() + until });
    }
    members.into_iter().for_each(|member| member.failed());
}

/// A turn, or a group's, ended well in the place of this destination. If it was down, those who were
/// put off are due at once.
pub(super) async fn place_works(context: &Context, registered: &Registered) {
    let outages = &context.groups.outages;
    if outages.none() {
        return;
    }
    if let Some(again) = outages.over(&registered.spec.place.fingerprint()) {
        // Otherwise they come at their time.
        drop(requests::resume_place(&context.pool, &again.text).await);
    }
}

/// Members for which nothing was written.
pub(super) struct Left {
    members: Vec<Member>,
    /// One of them, or their number, may be to blame; otherwise it is something that all have in
    /// common, which a turn of its own is better at telling.
    divide: bool,
    /// The place that all of them share cannot be reached, or takes no writes.
    place: Option<Trouble>,
    /// The session was lost. A new one tells whether it is the place.
    lost: bool,
}

impl Left {
    pub(super) fn after(members: Vec<Member>, error: &Error) -> Self {
        let divide = match error {
            Error::Mapping { .. }
            | Error::Overflow { .. }
            | Error::Cancelled
            | Error::Deadline(_) => true,
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
        let place = match error {
            Error::Place(trouble) => Some(trouble.clone()),
            Error::Destination(trouble)
                if matches!(trouble.fault, Fault::ReadOnly | Fault::Full) =>
            {
                Some(trouble.clone())
            }
            _ => None,
        };
        let lost = match error {
            Error::Destination(trouble) => {
                matches!(trouble.fault, Fault::Unreachable | Fault::OutcomeUnknown)
            }
            // It may have fallen silent.
            Error::Deadline(_) => true,
            _ => false,
        };
        Self { members, divide, place, lost }
    }
}

/// One read, one write and one mirror for all of them. Returns those who are to be taken up: what
/// was known of them is not so.
async fn attempt(
    context: &Context,
    (key, stage): (&str, Stage),
    members: Vec<Member>,
) -> Result<Vec<Member>, Left> {
    let began = Instant::now();
    let batches = match read(context, stage, &members).await {
        Ok(batches) => batches,
        Err(error) => return Err(Left::after(members, &error)),
    };
    metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "fetch")
        .record(began.elapsed().as_secs_f64());
    traces::stage("fetch", began.elapsed(), Vec::new);
    let mut batches = batches.into_iter();
    let (mut together, mut read) = (Vec::new(), Vec::new());
    for member in members {
        let of_epoch = |batch: &Batch| member.cursors().all(|cursor| cursor.epoch == batch.epoch);
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
        return Ok(Vec::new());
    }
    let apply_began = Instant::now();
    let written = match write(context, &mut together, &read).await {
        Ok(written) => written,
        Err(error) => return Err(Left::after(together, &error)),
    };
    if !written.fit {
        context.groups.note_unfit(key);
        return Err(Left { members: together, divide: false, place: None, lost: false });
    }
    committed(&written, &read, began, apply_began);
    for (member, cursors) in together.iter_mut().zip(&written.members) {
        if member.visit.take().is_some() && cursors.is_some() {
            context.visits.done(member.claim.destination_id);
        }
    }
    place_works(context, &together[0].registered).await;
    let members = written.members.iter().flatten().count();
    let left_out = written.members.len() - members;
    if stage == Stage::Changes {
        context.groups.trust.found(written.members.len(), left_out);
    }
    tracing::debug!(
        event = "written_together",
        members,
        left_out,
        "{members} tenants were written for together, {left_out} were left out"
    );
    Ok(tell(context, together, &read, written.members).await)
}

async fn read(
    context: &Context,
    stage: Stage,
    members: &[Member],
) -> Result<Vec<Option<Batch>>, Error> {
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
        whole: stage == Stage::Copy,
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
    let (mut writes, mut visits, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for ((member, batch), next) in members.iter_mut().zip(batches).zip(&next) {
        let Member { registered, known: Some(known), visit, answer, .. } = member else { continue };
        answers.push(answer);
        visits.push(visit.as_ref());
        writes.push(TenantWrite {
            tenant_id: &registered.spec.tenant_id,
            tenant_at_source: &registered.spec.tenant_at_source,
            mappings: &registered.mappings,
            parts: &batch.parts,
            references: &known.references,
            expected: &known.cursors,
            identities: &known.identities,
            next,
            also: None,
        });
    }
    let limit = settings.statement_timeout + DEADLINE_MARGIN;
    let stopped = select_all(answers.into_iter().map(|answer| Box::pin(answer.closed())));
    let work = link.session.write_group(&writes, &visits, &settings);
    let written = tokio::select! {
        written = tokio::time::timeout(limit, work) => written,
        _ = stopped => return Err(Error::Cancelled),
    };
    let written = written.map_err(|_| Error::Deadline(limit.as_secs()))??;
    context.links.keep_of_place(link);
    Ok(written)
}

pub(super) async fn link(context: &Context, registered: &Registered) -> Result<Link, Error> {
    let place = &registered.spec.place;
    let fingerprint = place.fingerprint();
    if let Some(link) = context.links.take_of_place(&fingerprint) {
        return Ok(link);
    }
    let slot = context.links.slot().await.ok_or(Error::Cancelled)?;
    let session = Session::open(place, &context.dialer, "offtake").await;
    Ok(context.links.link(session.map_err(Error::Place)?, &registered.spec, None, slot))
}

/// Where a member's cursors stand once its batch is applied.
fn advanced((member, batch): (&Member, &Batch)) -> Cursors {
    let mut next = member.known.as_ref().map(|known| known.cursors.clone()).unwrap_or_default();
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
    let rows = written.applied.upserted + written.applied.deleted;
    traces::stage("apply", apply_began.elapsed(), || vec![("offtake.rows", rows.to_string())]);
    let operations = [("upsert", written.applied.upserted), ("delete", written.applied.deleted)];
    for (operation, rows) in operations {
        metrics::counter!(names::ROWS_APPLIED_TOTAL, "operation" => operation).increment(rows);
    }
    let arrived = batches.iter().zip(&written.members).filter(|(_, cursors)| cursors.is_some());
    for part in arrived.flat_map(|(batch, _)| &batch.parts) {
        if let Some(chunk) = &part.chunk {
            metrics::counter!(names::BACKFILL_ROWS_TOTAL).increment(chunk.rows.len() as u64);
        } else if let Some(oldest) = part.oldest {
            metrics::histogram!(names::SYNC_LATENCY_SECONDS)
                .record((oldest + began.elapsed()).as_secs_f64());
        }
    }
}

/// Tells the source and the members what was written. Members that were left out are returned the
/// first time, and go on alone the second time; so do all of them where the source cannot be told.
async fn tell(
    context: &Context,
    members: Vec<Member>,
    batches: &[Batch],
    written: Vec<Option<Cursors>>,
) -> Vec<Member> {
    let Some(first) = members.first() else { return Vec::new() };
    let mappings = first.registered.mappings.clone();
    // What the tables are there, as the lock of the cursors has found. A member that was left out may
    // have known them as they were before.
    let one_of_them = members.iter().zip(&written).find(|(_, cursors)| cursors.is_some());
    let identities = one_of_them.and_then(|(of, _)| Some(of.known.as_ref()?.identities.clone()));
    let identities = Arc::new(identities.unwrap_or_default());
    let (mut done, mut answers, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for ((member, batch), cursors) in members.into_iter().zip(batches).zip(written) {
        let Some(cursors) = cursors else {
            match member.again {
                true => member.goes_alone(context),
                false => others.push(Member { known: None, again: true, ..member }),
            }
            continue;
        };
        let Member { claim, known, answer, .. } = member;
        let stands_at = mappings.iter().filter_map(|m| Some(cursors.get(m.name())?.sequence_id));
        let chunks = batch.parts.iter().filter_map(|part| part.chunk.as_ref());
        done.push(Done {
            identities: identities.clone(),
            lease: claim.lease,
            stands_at: stands_at.min().unwrap_or(batch.head),
            // A request can want more than the log has: it may be older than a restore of the source.
            reached: batch.head.max(claim.wanted_sequence_id),
            copied: chunks.map(|chunk| chunk.rows.len() as i64).collect(),
        });
        answers.push((claim.lease.request_id, answer));
        // Before the request is completed: from then on, the next one may be claimed.
        if let Some(known) = known {
            context.links.keep_known(claim.destination_id, known.moved(cursors));
        }
    }
    let told = match failpoint("sync.before_complete").await {
        Ok(()) => {
            record::mirror_group(&context.pool, &mappings, &done.iter().collect::<Vec<_>>()).await
        }
        Err(error) => Err(Error::Source(error)),
    };
    for (request_id, answer) in answers {
        let _ = answer.send(match &told {
            Ok(completed) => Answer::Completed { more_wanted: !completed.contains(&request_id) },
            Err(_) => Answer::Alone,
        });
    }
    others
}
