//! Sending a page's events, and what follows from each answer.
//!
//! `concurrency` requests are in flight at one time; a key is in one of them at most, because a
//! page has each key once and the next page is read when all of this one has been answered. Until
//! the first acknowledgement of a turn there is one: receivers that do not answer would otherwise
//! take the connections of others. What an
//! answer means is decided by [`judge`]; here is what is done about it:
//!
//! - An event that the receiver refuses is set aside. Of a batch, the half with it is found first.
//! - An endpoint that is unwell ends the turn: what is in flight is waited for, and nothing is set
//!   aside.
//! - A 500 may be the event's fault or the endpoint's. The first time it is taken for the
//!   endpoint's. The second time the event's neighbours tell: once the receiver takes one of them,
//!   the event is set aside. Where it takes none, or there is none, the endpoint is unwell. Several
//!   events that wait for that are asked about once more. A batch has its neighbours in itself, so
//!   where no other request is left it is halved.
//! - A 500 to an event that is in quarantine already is the event's fault: a neighbour has told.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use offtake_loops::metrics as names;

use super::events::{Delivery, Origin, What};
use super::send::{Sent, Stage, Unit, units};
use super::{Failure, SAVE_INTERVAL, Turn};
use crate::record::{QuarantinedEvent, Saved};
use crate::{Error, Exchange, Reply, Unanswered, Verdict, judge};

/// Why a turn sends nothing more.
#[derive(Debug)]
pub(super) enum Stop {
    Failed(Failure),
    /// The receiver wants nothing more.
    Gone(String),
    /// Another worker has the request.
    Lost,
    /// The lease would end before a request could.
    LeaseTooShort,
    /// The daemon ends.
    Ending,
    /// This process dials too much at the moment, which is no fault of the endpoint.
    Busy,
}

impl Stop {
    pub(super) fn failed(why: String, status: Option<u16>) -> Self {
        Self::Failed(Failure {
            why,
            status,
            retry_after: None,
            undialled: false,
            acknowledged: false,
            silent: false,
        })
    }
}

/// So many requests that were answered with 500 twice wait at once for a neighbour that is taken.
/// Events that are refused may stand side by side; and an endpoint that is down is not asked about
/// all of them again and again.
const SUSPECTS_MAX: usize = 8;

/// The requests of one delivery.
struct Lanes {
    queue: VecDeque<Unit>,
    suspects: Vec<Suspect>,
    /// Something was taken since a whole request was refused, or answered with 500 twice.
    taken: bool,
    stop: Option<Stop>,
}

/// A request that was answered with 500 twice, or a part of one that was answered so once more: the
/// next answers tell.
struct Suspect {
    unit: Unit,
    exchange: Exchange,
    why: String,
}

impl Lanes {
    /// The next request. Where none is left and `nothing_in_flight`, a suspect's half, whose other
    /// half is its neighbour.
    fn next(&mut self, nothing_in_flight: bool) -> Option<Unit> {
        if let Some(unit) = self.queue.pop_front() {
            return Some(unit);
        }
        if !nothing_in_flight || self.suspects.len() >= SUSPECTS_MAX {
            return None;
        }
        let at = self.suspects.iter().position(|suspect| suspect.unit.events.len() > 1)?;
        let [one, other] = self.suspects.remove(at).unit.halves();
        self.queue.push_front(other);
        Some(one)
    }
}

impl Turn<'_> {
    /// Sends everything of the delivery that is not done. None: all of it is done now.
    pub(super) async fn deliver(
        &mut self,
        delivery: &mut Delivery,
        generation: i64,
    ) -> Result<Option<Stop>, Error> {
        let spec = self.registered.spec.clone();
        let queue = units(delivery, spec.batch_events);
        let mut lanes = Lanes { queue, suspects: Vec::new(), taken: false, stop: None };
        let mut in_flight = FuturesUnordered::new();
        loop {
            if self.context.stopping.is_cancelled() && !lanes.queue.is_empty() {
                lanes.stop.get_or_insert(Stop::Ending);
            }
            let sure = self.answers && lanes.suspects.is_empty();
            let width = if sure { spec.concurrency } else { 1 };
            while lanes.stop.is_none() && in_flight.len() < width {
                let Some(unit) = lanes.next(in_flight.is_empty()) else { break };
                in_flight.push(self.send(unit, delivery, generation));
            }
            let Some(sent) = in_flight.next().await else { break };
            self.answered(sent, delivery, &mut lanes);
            if self.saved_at.elapsed() >= SAVE_INTERVAL {
                self.settle(delivery);
                if self.save(None).await? == Saved::Lost {
                    lanes.stop = Some(Stop::Lost);
                }
            }
        }
        self.conclude(delivery, &mut lanes);
        Ok(lanes.stop)
    }

    /// What follows for the suspects when no request is left that could tell. Of a request that was
    /// taken in part, the other parts are refused. Otherwise the endpoint is unwell.
    fn conclude(&mut self, delivery: &mut Delivery, lanes: &mut Lanes) {
        if lanes.stop.is_some() {
            return;
        }
        for Suspect { unit, exchange, why } in std::mem::take(&mut lanes.suspects) {
            if lanes.taken && unit.stage != Stage::Whole && unit.events.len() == 1 {
                self.refused(unit, (why, &exchange), false, delivery, lanes);
            } else {
                lanes.stop.get_or_insert_with(|| unwell(why, &exchange, None));
            }
        }
    }

    /// What follows from one answer.
    fn answered(&mut self, sent: Sent, delivery: &mut Delivery, lanes: &mut Lanes) {
        let exchange = match &sent.outcome {
            Ok(exchange) => exchange.clone(),
            Err(_) => {
                lanes.stop.get_or_insert(Stop::LeaseTooShort);
                return;
            }
        };
        if matches!(exchange.reply, Reply::Unanswered(Unanswered::NoTurn(_))) {
            lanes.stop.get_or_insert(Stop::Busy);
            return;
        }
        self.note_attempt(&sent, &exchange, delivery);
        let Sent { unit, id, .. } = sent;
        match judge(&exchange.reply) {
            Verdict::Acknowledged => {
                self.acknowledge(&unit, delivery);
                self.neighbour_taken(delivery, lanes);
            }
            Verdict::Gone { acknowledged, why } => {
                if acknowledged {
                    self.acknowledge(&unit, delivery);
                }
                lanes.stop = Some(Stop::Gone(why));
            }
            Verdict::Refused { why } => {
                self.refused(unit, (why, &exchange), false, delivery, lanes);
            }
            Verdict::GivenUp { why } => {
                self.refused(unit, (why, &exchange), true, delivery, lanes);
            }
            Verdict::Doubtful { why, retry_after } => {
                let suspect = Suspect { unit, exchange, why };
                self.doubted(suspect, (&id, retry_after), delivery, lanes);
            }
            Verdict::Unwell { why, retry_after } | Verdict::Blocked { why, retry_after } => {
                lanes.stop.get_or_insert_with(|| unwell(why, &exchange, retry_after));
            }
            Verdict::AddressRefused { why } => {
                let failure = Failure {
                    why,
                    status: None,
                    retry_after: None,
                    undialled: true,
                    acknowledged: false,
                    silent: false,
                };
                lanes.stop.get_or_insert(Stop::Failed(failure));
            }
        }
    }

    /// What follows for the suspects when the receiver takes another request. One is refused. Of
    /// several, the endpoint may have recovered after the first ones, so they are sent once more.
    fn neighbour_taken(&mut self, delivery: &mut Delivery, lanes: &mut Lanes) {
        let mut suspects = std::mem::take(&mut lanes.suspects);
        if suspects.len() > 1 {
            for Suspect { unit, .. } in suspects.drain(..).rev() {
                lanes.queue.push_front(Unit { stage: Stage::Again, ..unit });
            }
        }
        for Suspect { unit, exchange, why } in suspects {
            self.refused(unit, (why, &exchange), false, delivery, lanes);
        }
        lanes.taken = true;
    }

    /// What follows from a 500, which may be the event's fault or the endpoint's.
    fn doubted(
        &mut self,
        suspect: Suspect,
        (id, retry_after): (&str, Option<Duration>),
        delivery: &mut Delivery,
        lanes: &mut Lanes,
    ) {
        let Unit { events, stage } = &suspect.unit;
        let retried = matches!(events[..], [at] if delivery.events[at].origin == Origin::Retry);
        let whole = *stage == Stage::Whole;
        if retried || *stage == Stage::Again {
            let Suspect { unit, exchange, why } = suspect;
            self.refused(unit, (why, &exchange), false, delivery, lanes);
            return;
        }
        let times = self.context.doubts.note(self.claim.webhook_id, id);
        let again = times > 1 || !whole;
        if again && lanes.suspects.len() < SUSPECTS_MAX && lanes.stop.is_none() {
            lanes.taken &= !whole;
            lanes.suspects.push(suspect);
        } else {
            let Suspect { exchange, why, .. } = suspect;
            lanes.stop.get_or_insert_with(|| unwell(why, &exchange, retry_after));
        }
    }

    fn acknowledge(&mut self, unit: &Unit, delivery: &mut Delivery) {
        if !self.acknowledged && self.claim.failures > 0 {
            let label = self.registered.spec.label();
            tracing::info!(event = "webhook_recovered", webhook = label, "{label} answers again");
        }
        (self.acknowledged, self.answers) = (true, true);
        let now = self.context.clock().now();
        for at in &unit.events {
            delivery.done[*at] = true;
            let event = &delivery.events[*at];
            if event.origin == Origin::Change && delivery.replay.is_none() {
                note_latency(&event.captured_at, now);
            }
            let kind = event.event(self, delivery).kind.as_str();
            metrics::counter!(names::WEBHOOK_EVENTS_TOTAL, "kind" => kind).increment(1);
            let known = event.origin == Origin::Retry;
            if let Some(row) = event.row() {
                let mapping = self.registered.mappings[event.mapping].0.clone();
                let row_key = row.row_key.clone();
                self.release(mapping.name(), &row_key, known);
            }
        }
        let events = i64::try_from(unit.events.len()).unwrap_or(i64::MAX);
        self.unsaved.delivered = self.unsaved.delivered.saturating_add(events);
    }

    /// The receiver refuses a request. A single event is set aside; of several, the halves are
    /// sent.
    fn refused(
        &mut self,
        unit: Unit,
        (why, exchange): (String, &Exchange),
        exhausted: bool,
        delivery: &mut Delivery,
        lanes: &mut Lanes,
    ) {
        let [at] = unit.events[..] else {
            lanes.taken &= unit.stage != Stage::Whole;
            let [one, other] = unit.halves();
            lanes.queue.push_front(other);
            lanes.queue.push_front(one);
            return;
        };
        let event = &delivery.events[at];
        let status = exchange.reply.status();
        let stop = match &event.told {
            What::Row(row) => {
                let aside = QuarantinedEvent {
                    mapping: self.registered.mappings[event.mapping].0.name().to_owned(),
                    row_key: row.row_key.clone(),
                    sequence_id: event.sequence_id,
                    captured_at: event.captured_at.clone(),
                    status,
                    error: why,
                    sqlstate: None,
                    exhausted,
                };
                self.set_aside(aside, event.origin == Origin::Retry)
            }
            What::Resync(_) | What::Backfilled => {
                let why = format!(
                    "{why}, to an event that stands for a whole mapping and cannot be set aside"
                );
                Some(Stop::failed(why, status))
            }
        };
        match stop {
            Some(stop) => {
                lanes.stop.get_or_insert(stop);
            }
            None => delivery.done[at] = true,
        }
    }
}

/// Records how long ago a change was captured that a receiver has just taken, by the source's clock.
fn note_latency(captured_at: &str, now: Duration) {
    let Ok(captured_at) = captured_at.parse::<jiff::Timestamp>() else { return };
    let latency = now.as_secs_f64() - captured_at.as_duration().as_secs_f64();
    metrics::histogram!(names::WEBHOOK_LATENCY_SECONDS).record(latency.max(0.0));
}

fn unwell(why: String, exchange: &Exchange, retry_after: Option<Duration>) -> Stop {
    let silent = matches!(&exchange.reply, Reply::Unanswered(Unanswered::TimedOut(_)));
    Stop::Failed(Failure {
        why,
        status: exchange.reply.status(),
        retry_after,
        undialled: false,
        acknowledged: false,
        silent,
    })
}
