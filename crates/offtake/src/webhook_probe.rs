//! One request to a webhook, outside the queue, because a person asks for it: `offtake webhook test`
//! and the test over HTTP.

use std::time::Duration;

use offtake_admin::webhooks::Tested;
use offtake_mapping::ResolvedMapping;
use offtake_webhooks::{
    Client, Message, PreviewError, Reply, Unanswered, Verdict, WebhookSpec, judge, preview_event,
    preview_test,
};
use serde_json::Value;

/// Sends the row with this key, or an event that says nothing. `source` must not be in a
/// transaction.
pub(crate) async fn probe(
    source: &tokio_postgres::Client,
    client: &Client,
    spec: &WebhookSpec,
    row: Option<(&ResolvedMapping, &Value)>,
    statement_timeout: Duration,
) -> Result<Tested, PreviewError> {
    let event = match row {
        Some((mapping, key)) => {
            preview_event(source, spec, mapping, key, statement_timeout).await?
        }
        None => preview_test(source, spec).await?,
    };
    let message = Message { id: &event.id, body: event.body.clone(), attempt: 1 };
    let sent = client.send(&spec.endpoint, &message, false, &event.clock, &|_| true).await;
    // Nothing holds a lease here, so it is never too short.
    let Ok(exchange) = sent else { return Ok(unsent(event.id)) };
    let verdict = judge(&exchange.reply);
    let response = match &exchange.reply {
        Reply::Answered(answer) => answer.response.clone(),
        Reply::Unanswered(_) => None,
    };
    Ok(Tested {
        acknowledged: matches!(
            verdict,
            Verdict::Acknowledged | Verdict::Gone { acknowledged: true, .. }
        ),
        answered: matches!(exchange.reply, Reply::Answered(_)),
        webhook_id: event.id,
        address: exchange.address.map(|address| address.to_string()),
        status: exchange.reply.status(),
        elapsed_ms: u64::try_from(exchange.elapsed.as_millis()).unwrap_or(u64::MAX),
        error: verdict.why().map(str::to_owned),
        response,
    })
}

fn unsent(webhook_id: String) -> Tested {
    let why = Unanswered::NoTurn("nothing was sent".to_owned());
    Tested {
        acknowledged: false,
        answered: false,
        webhook_id,
        address: None,
        status: None,
        elapsed_ms: 0,
        error: Some(why.text().to_owned()),
        response: None,
    }
}
