//! One request: from events to bytes, and from the answer to the attempts log.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use offtake_loops::{failpoint, metrics as names, traces};

use super::Turn;
use super::events::{Delivery, Origin};
use crate::event::BATCH_BYTES_MAX;
use crate::record::Attempt;
use crate::{AttemptsLog, Exchange, Item, LeaseTooShort, Message, Reply, Sender, batch};

/// Events that go into one request, by their places in the delivery.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) events: Vec<usize>,
    pub(super) stage: Stage,
}

/// What has become of a unit's events in this delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing yet.
    Whole,
    /// They are a part of a request that was refused, or answered with 500 twice.
    Part,
    /// They were answered with 500, then a neighbour was taken, and now they are sent once more.
    Again,
}

/// A request that was sent.
pub(super) struct Sent {
    pub(super) unit: Unit,
    pub(super) id: String,
    pub(super) began: Instant,
    pub(super) outcome: Result<Exchange, LeaseTooShort>,
}

/// The requests of a delivery, in order.
pub(super) fn units(delivery: &Delivery, events_max: usize) -> VecDeque<Unit> {
    let mut units: VecDeque<Unit> = VecDeque::new();
    let mut bytes = 0;
    for (at, event) in delivery.events.iter().enumerate() {
        if delivery.done[at] {
            continue;
        }
        let barrier = event.origin == Origin::Barrier;
        match units.back_mut() {
            Some(unit)
                if !barrier
                    && unit.events.len() < events_max
                    && bytes + event.bytes() <= BATCH_BYTES_MAX =>
            {
                unit.events.push(at);
                bytes += event.bytes();
            }
            _ => {
                bytes = event.bytes();
                units.push_back(Unit { events: vec![at], stage: Stage::Whole });
            }
        }
    }
    units
}

impl Unit {
    /// Its two halves, of which at least one has the events that are refused.
    pub(super) fn halves(self) -> [Unit; 2] {
        let mut one = self.events;
        let other = one.split_off(one.len() / 2);
        [one, other].map(|events| Unit { events, stage: Stage::Part })
    }
}

impl Turn<'_> {
    /// Sends one request. What is returned borrows nothing, so that several can be in flight.
    pub(super) fn send(
        &self,
        unit: Unit,
        delivery: &Delivery,
        generation: i64,
    ) -> impl Future<Output = Sent> + Send + use<> {
        let (id, body) = self.written(&unit, delivery, generation);
        let (client, clock) = (self.context.client.clone(), self.context.clock());
        let (registered, lease) = (self.registered.clone(), self.lease.clone());
        let (silent, attempt) = (self.silent, i64::from(self.claim.failures) + 1);
        async move {
            let began = Instant::now();
            // A failpoint that fails is a request that was not sent.
            if failpoint("webhooks.before_send").await.is_err() {
                return Sent { unit, id, began, outcome: Err(LeaseTooShort) };
            }
            let endpoint = &registered.spec.endpoint;
            let message = Message { id: &id, body, attempt };
            let may_send = |time| lease.outlasts(time);
            let sending = client.send(endpoint, &message, silent, &clock, &may_send);
            let outcome = sending.await;
            if failpoint("webhooks.after_send").await.is_err() {
                return Sent { unit, id, began, outcome: Err(LeaseTooShort) };
            }
            Sent { unit, id, began, outcome }
        }
    }

    /// Id and body of a request. A webhook that wants batches gets every event in one, also a
    /// single one.
    fn written(&self, unit: &Unit, delivery: &Delivery, generation: i64) -> (String, Bytes) {
        let spec = &self.registered.spec;
        let sender = Sender { webhook_id: self.claim.webhook_id, generation };
        let event = |at: &usize| delivery.events[*at].event(self, delivery);
        if let (true, [at]) = (spec.batch_events <= 1, &unit.events[..]) {
            let event = event(at);
            return (event.id(sender), event.body(spec.payload));
        }
        let told: Vec<(String, Bytes)> = unit
            .events
            .iter()
            .map(|at| {
                let event = event(at);
                let id = event.id(sender);
                let body = event.item(&id, spec.payload);
                (id, body)
            })
            .collect();
        let items: Vec<Item<'_>> = unit
            .events
            .iter()
            .zip(&told)
            .map(|(at, (id, body))| {
                let timestamp = &delivery.events[*at].captured_at;
                Item { id, timestamp, body }
            })
            .collect();
        batch(&spec.tenant_id, &items)
    }

    /// Counts a request, and notes it for the attempts log.
    pub(super) fn note_attempt(&mut self, sent: &Sent, exchange: &Exchange, delivery: &Delivery) {
        let (class, status) = (exchange.reply.class(), exchange.reply.status());
        metrics::counter!(names::WEBHOOK_ATTEMPTS_TOTAL, "result" => class).increment(1);
        metrics::histogram!(names::WEBHOOK_ATTEMPT_SECONDS).record(exchange.elapsed.as_secs_f64());
        traces::stage("send", exchange.elapsed, || vec![("offtake.result", class.to_owned())]);
        self.unsaved.last_status = status.or(self.unsaved.last_status);
        let delivered = class == "delivered";
        if !delivered && class != "address" {
            self.unsaved.failed += 1;
        }
        if delivered && self.context.settings.attempts_log == AttemptsLog::Failures {
            return;
        }
        let first = sent.unit.events.first().map(|at| &delivery.events[*at]);
        let single = first.filter(|_| sent.unit.events.len() == 1);
        let mapping = single.map(|event| self.registered.mappings[event.mapping].0.name());
        self.unsaved.attempts.push(Attempt {
            began: sent.began,
            took: exchange.elapsed,
            mapping: mapping.map(str::to_owned),
            row_key: single.and_then(|event| event.row()).map(|row| row.key.clone()),
            events: sent.unit.events.len(),
            event_id: sent.id.clone(),
            sequence_id: first.map_or(0, |event| event.sequence_id),
            attempt: i64::from(self.claim.failures) + 1,
            status,
            class,
            error: crate::judge(&exchange.reply).why().map(str::to_owned),
            response: response_of(&exchange.reply),
        });
    }
}

fn response_of(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Answered(answer) => answer.response.clone(),
        Reply::Unanswered(_) => None,
    }
}
