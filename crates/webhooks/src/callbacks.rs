//! Callbacks: the engine sends the end of a job to the URL that its client named, signed as a
//! webhook.
//!
//! **What owes one**: the transaction that ends the job, so that no crash loses it. **What fences
//! it**: the request's attempt, as everywhere, and nothing is sent that the lease may not outlast.
//! A receiver may be told twice; the id is the same then. **What it never does**: change the job's
//! state.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use offtake_egress::AddressPolicy;
use offtake_postgres::SourcePool;
use offtake_requests::{CallbackClaim, claim_callbacks, settle_callback};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::turn::LeaseClock;
use crate::{
    Client, Endpoint, Error, EventSchedule, Headers, Message, Secrets, SourceClock, Url, Verdict,
    judge,
};

/// Callbacks in flight; so many connections they have too.
const AT_ONCE: usize = 8;

/// Between two looks for callbacks that are due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Longer than a request lasts, with the time to read the job and to note how it went.
const LEASE: Duration = Duration::from_secs(60);

/// As a webhook's by default.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What is told of a job's end.
#[derive(Debug, Clone)]
pub struct CallbackEvent {
    pub url: String,
    /// `webhook-id`: the same for every attempt to tell this end.
    pub id: String,
    pub body: Bytes,
    /// When the job ended, as text: the result of an attempt is recorded with it, because a job
    /// that is resumed ends again.
    pub of: String,
}

/// Reads what is told of a job. None: it goes on again, and there is nothing to tell.
pub type CallbackSource = Arc<dyn Fn(i64) -> CallbackReading + Send + Sync>;
pub type CallbackReading =
    Pin<Box<dyn Future<Output = Result<Option<CallbackEvent>, offtake_postgres::Error>> + Send>>;

/// How callbacks are told.
#[derive(Clone)]
pub struct CallbackParts {
    /// What signs; None: this daemon tells none.
    pub secrets: Option<Secrets>,
    pub events: CallbackSource,
}

/// The callbacks' part of the webhooks' loop.
pub(crate) struct Callbacks {
    pool: SourcePool,
    client: Client,
    schedule: EventSchedule,
    parts: CallbackParts,
    in_flight: JoinSet<()>,
    look_at: Instant,
}

impl Callbacks {
    pub(crate) fn new(
        pool: SourcePool,
        policy: AddressPolicy,
        schedule: EventSchedule,
        parts: CallbackParts,
    ) -> Self {
        Self {
            pool,
            client: Client::new(policy, AT_ONCE),
            schedule,
            parts,
            in_flight: JoinSet::new(),
            look_at: Instant::now(),
        }
    }

    /// Sends what is due.
    pub(crate) async fn round(&mut self, process: &str) -> Result<(), Error> {
        while self.in_flight.try_join_next().is_some() {}
        let Some(secrets) = &self.parts.secrets else { return Ok(()) };
        let room = AT_ONCE.saturating_sub(self.in_flight.len());
        if room == 0 || Instant::now() < self.look_at {
            return Ok(());
        }
        self.look_at = Instant::now() + LOOK_INTERVAL;
        let asked = Instant::now();
        let claims = claim_callbacks(&self.pool, room, LEASE, process).await;
        for claim in claims.map_err(Error::Source)? {
            let one = One {
                clock: SourceClock::new(claim.now, asked),
                lease: LeaseClock::until(asked.into_std() + LEASE),
                pool: self.pool.clone(),
                client: self.client.clone(),
                schedule: self.schedule.clone(),
                secrets: secrets.clone(),
                events: self.parts.events.clone(),
                claim,
            };
            self.in_flight.spawn(one.tell());
        }
        Ok(())
    }

    /// Waits for the requests in flight, which have a timeout.
    pub(crate) async fn end(&mut self) {
        while self.in_flight.join_next().await.is_some() {}
    }
}

/// One attempt.
struct One {
    pool: SourcePool,
    client: Client,
    schedule: EventSchedule,
    secrets: Secrets,
    events: CallbackSource,
    claim: CallbackClaim,
    clock: SourceClock,
    lease: LeaseClock,
}

impl One {
    /// The callback is due again when its lease ends, where the source does not answer, or where too
    /// little of the lease is left for a request.
    async fn tell(self) {
        let told = match (self.events)(self.claim.job_id).await {
            Ok(Some(event)) => self.send(event).await,
            Ok(None) => settle_callback(&self.pool, self.claim.lease, None, None).await,
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::warn!(
                event = "callback_unsettled",
                "a callback could not be settled; it is due again when its lease ends: {}",
                error.message()
            );
        }
    }

    async fn send(&self, event: CallbackEvent) -> Result<(), offtake_postgres::Error> {
        let attempt = i64::from(self.claim.failures) + 1;
        let (mut delivered, mut status, mut wait) = (false, None, None);
        let error: Option<String>;
        match Url::parse(&event.url) {
            Err(why) => error = Some(why),
            Ok(url) => {
                let (headers, secrets) = (Headers::default(), self.secrets.clone());
                let endpoint = Endpoint::new(url, headers, secrets, TIMEOUT, None, None);
                let message = Message { id: &event.id, body: event.body.clone(), attempt };
                let lasts = |needed: Duration| self.lease.outlasts(needed);
                let sent = self.client.send(&endpoint, &message, false, &self.clock, &lasts);
                // Another process may have claimed it already.
                let Ok(exchange) = sent.await else { return Ok(()) };
                let verdict = judge(&exchange.reply);
                delivered = matches!(
                    verdict,
                    Verdict::Acknowledged | Verdict::Gone { acknowledged: true, .. }
                );
                status = exchange.reply.status();
                wait = verdict.retry_after();
                error = verdict.why().filter(|_| !delivered).map(str::to_owned);
            }
        }
        let next = self.schedule.after(self.claim.failures.saturating_add(1), rand::random());
        let again = next.filter(|_| !delivered).map(|next| next.max(wait.unwrap_or_default()));
        let error = error.map(|error| self.pool.storable(&error).into_owned());
        let shown =
            shown(&event.of, attempt, (delivered, again.is_some()), status, error.as_deref());
        settle_callback(&self.pool, self.claim.lease, Some(&shown), again).await?;
        if !delivered {
            tracing::warn!(
                event = "callback_failed",
                attempt,
                gave_up = again.is_none(),
                "a callback was not delivered: {}",
                error.unwrap_or_default()
            );
        }
        Ok(())
    }
}

/// What a job shows of its callback.
fn shown(
    of: &str,
    attempts: i64,
    (delivered, goes_on): (bool, bool),
    status: Option<u16>,
    error: Option<&str>,
) -> Value {
    json!({
        "of": of,
        "attempts": attempts,
        "delivered": delivered,
        "gave_up": !delivered && !goes_on,
        "status": status,
        "error": error,
    })
}
