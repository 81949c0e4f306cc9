//! `offtake webhook test` and `preview`: one event now, outside the queue.

use offtake_admin::webhooks::Tested;
use offtake_mapping::{MappingSet, foreign};
use offtake_postgres::{Connection, catalog};
use offtake_webhooks::{Client, Message, PreviewError, WebhookSpec, preview_event};
use serde_json::Value;

use super::names::{configured, mapping_of};
use crate::command_line::OfWebhook;
use crate::commands::printing::{say, say_exact, say_json};
use crate::context::{Context, receiver_policy};
use crate::outcome::{Exit, Failure};
use crate::webhook_probe::probe;

/// What both begin with.
struct Subject {
    source: Connection,
    set: MappingSet,
    spec: WebhookSpec,
}

impl Subject {
    async fn find(context: &Context, of: &OfWebhook) -> Result<Self, Failure> {
        let mappings = context.mappings()?;
        let source = context.connect_source("webhook").await?;
        let set = catalog::resolve(&source, mappings).await?;
        let spec = configured(context, &source, &set, of).await?;
        Ok(Self { source, set, spec })
    }
}

pub(super) async fn test(
    context: &Context,
    of: &OfWebhook,
    row: Option<(&str, &str)>,
    json: bool,
) -> Result<Exit, Failure> {
    let Subject { source, set, spec } = Subject::find(context, of).await?;
    let row = match row {
        Some((mapping, text)) => Some((mapping_of(&spec, &set, mapping)?, key(text))),
        None => None,
    };
    let row = row.as_ref().map(|(mapping, key)| (*mapping, key));
    let client = Client::new(receiver_policy(&context.configuration), 1);
    let timeout = context.configuration.sync.statement_timeout;
    let tested = probe(&source, &client, &spec, row, timeout).await.map_err(failed)?;
    let exit = match (tested.acknowledged, tested.answered) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Failed,
        (false, false) => Exit::Unreachable,
    };
    if json {
        say_json(serde_json::to_string_pretty(&tested).unwrap_or_default());
    } else {
        print(&spec, &tested);
    }
    Ok(exit)
}

fn print(spec: &WebhookSpec, tested: &Tested) {
    let address = tested.address.as_ref().map(|address| format!(" ({address})"));
    say(format!(
        "{} {}{}",
        foreign(&spec.label()),
        spec.endpoint.url().shown(),
        address.unwrap_or_default()
    ));
    say(format!("webhook-id: {}", tested.webhook_id));
    let elapsed = tested.elapsed_ms;
    match (tested.status, &tested.error) {
        (Some(status), None) => say(format!("answered {status} after {elapsed} ms")),
        (_, Some(error)) => say(format!("{error} (after {elapsed} ms)")),
        (None, None) => {}
    }
    if let Some(response) = &tested.response {
        say(format!("it says: {}", foreign(response)));
    }
}

/// Prints the request: what a receiver gets, but for the path, the values of its own headers and the
/// signatures.
pub(super) async fn preview(
    context: &Context,
    of: &OfWebhook,
    mapping: &str,
    key_text: &str,
) -> Result<Exit, Failure> {
    let Subject { source, set, spec } = Subject::find(context, of).await?;
    let mapping = mapping_of(&spec, &set, mapping)?;
    let timeout = context.configuration.sync.statement_timeout;
    let key = key(key_text);
    let event = preview_event(&source, &spec, mapping, &key, timeout).await.map_err(failed)?;
    let message = Message { id: &event.id, body: event.body.clone(), attempt: 1 };
    say(spec.endpoint.preview(&message, event.clock.now().as_secs()));
    // As it is: what is signed are these bytes.
    say_exact(offtake_mapping::printable_json(&String::from_utf8_lossy(&event.body)));
    if let Some(why) = event.unwanted {
        eprintln!("offtake: this would not be sent: {why}");
    }
    Ok(Exit::Done)
}

/// A JSON object, or the text of a key's only column.
fn key(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(object @ Value::Object(_)) => object,
        _ => Value::String(text.to_owned()),
    }
}

fn failed(error: PreviewError) -> Failure {
    match error {
        PreviewError::Key(why) => Failure::new(Exit::Usage, why),
        PreviewError::Source(error) => Failure::of_source("cannot read the row", &error.into()),
    }
}
