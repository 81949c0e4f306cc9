//! What the end of a turn means for its request: completed, due again or failed, or the webhook is
//! disabled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::traces;
use offtake_requests::{self as requests, SlowFailures, WebhookClaim, WebhookFailure};
use tokio::sync::Notify;

use crate::Error;
use crate::turn::{self, Context, Ended, Failure, LeaseClock, PageAhead};

/// Pauses between attempts to tell the source how a turn ended.
const SETTLE_PAUSE_MIN: Duration = Duration::from_millis(100);
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long a request waits that this process does not know what to do with: another one may.
const UNKNOWN_DELAY: Duration = Duration::from_secs(5);

/// One turn, and what its end means for the request. While the source cannot be told, the worker
/// tries again for as long as a lease lasts.
pub(crate) async fn serve(
    context: &Context,
    slow_failures: &SlowFailures,
    claim: &WebhookClaim,
    (lease, failing_slowly, ahead): (Arc<LeaseClock>, bool, Option<PageAhead>),
    woken: &Notify,
) {
    let outcome = turn::take(context, claim, lease, failing_slowly, ahead).await;
    let failed = match &outcome {
        Ok(Ended::Failed(failure)) => Some(failure.silent),
        Ok(_) | Err(_) => None,
    };
    if let Ok(Ended::Failed(failure)) = &outcome {
        traces::failed(|| failure.why.clone());
    }
    // A failing webhook that does not answer is claimed apart.
    let took = if failed == Some(true) { Duration::MAX } else { Duration::ZERO };
    slow_failures.note(claim.webhook_id, failed.is_some(), took);
    let until = Instant::now() + context.settings.lease;
    let mut pause = SETTLE_PAUSE_MIN;
    while let Err(error) = settle(context, claim, woken, &outcome).await {
        if Instant::now() + pause > until || context.stopping.is_cancelled() {
            tracing::warn!(
                event = "request_unsettled",
                error = %error,
                "a request could not be settled; it is due again when its lease ends"
            );
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(SETTLE_PAUSE_MAX);
    }
}

async fn settle(
    context: &Context,
    claim: &WebhookClaim,
    woken: &Notify,
    outcome: &Result<Ended, Error>,
) -> Result<(), Error> {
    match outcome {
        Ok(Ended::Completed | Ended::Lost) => Ok(()),
        Ok(Ended::MoreWanted) => {
            woken.notify_one();
            Ok(())
        }
        Ok(Ended::Again(delay)) => {
            requests::release(&context.pool, claim.lease, *delay).await.map_err(Error::Source)?;
            if delay.is_zero() {
                woken.notify_one();
            }
            Ok(())
        }
        Ok(Ended::Unknown) => {
            let left = requests::leave(&context.pool, claim.lease, UNKNOWN_DELAY).await;
            left.map_err(Error::Source)
        }
        Ok(Ended::Disabled(why)) => disable(context, claim, why).await,
        Ok(Ended::Failed(failure)) => fail(context, claim, failure).await,
        Err(Error::Source(error)) => {
            let delay = context.settings.backoff.initial.min(Duration::from_secs(1));
            requests::release(&context.pool, claim.lease, delay).await.map_err(Error::Source)?;
            tracing::warn!(
                event = "source_failed",
                "a page could not be read: {}",
                error.message()
            );
            Ok(())
        }
        Err(error) => fail(context, claim, &Failure::of_ours(&error.to_string())).await,
    }
}

/// Gives a request back after the webhook failed.
pub(crate) async fn fail(
    context: &Context,
    claim: &WebhookClaim,
    failure: &Failure,
) -> Result<(), Error> {
    let settings = &context.settings;
    let failures = if failure.acknowledged { 1 } else { claim.failures.saturating_add(1) };
    let delay = match failure.undialled {
        // Looked up again with the refresh; it fails at once, and counts for nothing.
        true => settings.refresh,
        false => settings.backoff.delay(failures, failure.retry_after, rand::random()),
    };
    let noted = requests::fail_webhook(
        &context.pool,
        claim.lease,
        WebhookFailure {
            delay,
            error: &failure.why,
            reason: &failure.why,
            status: failure.status,
            counts: !failure.undialled,
            acknowledged: failure.acknowledged,
            disable_after: Some(settings.disable_after),
        },
    );
    let Some(noted) = noted.await.map_err(Error::Source)? else { return Ok(()) };
    let registered = context.registry.get(claim.webhook_id);
    let label = registered.map_or_else(String::new, |one| one.spec.label());
    if noted.disabled {
        tracing::warn!(
            event = "webhook_disabled",
            webhook = label,
            "{label} is disabled: it acknowledged nothing for too long; \
             run `offtake webhook enable` once it is mended"
        );
    } else {
        tracing::warn!(
            event = "webhook_unwell",
            webhook = label,
            failures = noted.consecutive_failures,
            retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "{label} {}",
            failure.why
        );
    }
    Ok(())
}

/// The receiver wants nothing more.
async fn disable(context: &Context, claim: &WebhookClaim, why: &str) -> Result<(), Error> {
    let connection = context.pool.get().await.map_err(Error::Source)?;
    let why = context.pool.storable(why);
    let disabled = requests::disable_webhook(&connection, claim.webhook_id, &why).await;
    if disabled.map_err(Error::source)? {
        let registered = context.registry.get(claim.webhook_id);
        let label = registered.map_or_else(String::new, |one| one.spec.label());
        tracing::warn!(
            event = "webhook_disabled",
            webhook = label,
            "{label} is disabled: {why}; run `offtake webhook enable` to go on"
        );
    }
    Ok(())
}
