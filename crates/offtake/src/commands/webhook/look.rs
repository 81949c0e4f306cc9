//! `offtake webhook list`, `show` and `attempts`.

use offtake_admin::webhooks::{
    self, Attempt, Signature, Webhook, WebhookMapping, WebhookState, attempts as read_attempts,
};
use offtake_mapping::foreign;
use offtake_postgres::catalog;
use tokio_postgres::Client;

use super::names::{self, Named, configured, find};
use crate::command_line::OfWebhook;
use crate::commands::phrases::{span, until};
use crate::commands::printing::{say, say_json, table};
use crate::commands::registry_names::{unknown, unreadable};
use crate::context::Context;
use crate::daemon::signatures;
use crate::outcome::{Exit, Failure};

pub(super) async fn list(
    context: &Context,
    tenant: Option<&str>,
    state: Option<&str>,
    json: bool,
) -> Result<Exit, Failure> {
    let state = state.map(named_state).transpose()?;
    let source = context.connect_source("webhook").await?;
    let tenant = match tenant {
        Some(tenant) => Some(names::tenant(context, &source, tenant).await?),
        None => None,
    };
    let mut all = webhooks::webhooks(&source, tenant.as_deref(), None)
        .await
        .map_err(|error| unreadable(&error))?;
    all.retain(|webhook| state.is_none_or(|state| webhook.state == state));
    all.sort_by(|a, b| (a.state, &a.tenant, &a.name).cmp(&(b.state, &b.tenant, &b.name)));
    if json {
        say_json(serde_json::to_string_pretty(&all).unwrap_or_default());
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        say(match state {
            Some(state) => format!("no webhook is {state}"),
            None => "there is no webhook, or no daemon has seen one yet".to_owned(),
        });
        return Ok(Exit::Done);
    }
    let head = ["WEBHOOK", "STATE", "LAG", "BEHIND", "DELIVERED", "LAST", "HOST", "REASON"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(all.into_iter().map(|webhook| {
        [
            format!("{}/{}", webhook.tenant, webhook.name),
            webhook.state.to_string(),
            webhook.lag_rows.0.to_string(),
            if webhook.lag_seconds > 0.0 { span(webhook.lag_seconds) } else { "-".to_owned() },
            webhook.delivered.0.to_string(),
            webhook.last_status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
            place(&webhook),
            webhook.reason.unwrap_or_default(),
        ]
    }));
    say(table(&lines));
    Ok(Exit::Done)
}

fn place(webhook: &Webhook) -> String {
    match (webhook.host.as_str(), webhook.port) {
        ("", _) => "-".to_owned(),
        (host, 443) => host.to_owned(),
        (host, port) => format!("{host}:{port}"),
    }
}

pub(super) async fn show(context: &Context, of: &OfWebhook, json: bool) -> Result<Exit, Failure> {
    let source = context.connect_source("webhook").await?;
    let Named { webhook, label } = find(context, &source, of).await?;
    let (tenant, name) = (webhook.tenant, webhook.name);
    let found = webhooks::webhooks(&source, Some(&tenant), Some(&name)).await;
    let Some(mut webhook) = found.map_err(|error| unreadable(&error))?.into_iter().next() else {
        return Err(Failure::new(Exit::Failed, format!("{label} was removed meanwhile")));
    };
    let secrets = secrets(context, &source, of).await;
    webhook.signatures = secrets.as_ref().ok().cloned();
    if json {
        say_json(serde_json::to_string_pretty(&webhook).unwrap_or_default());
        return Ok(Exit::Done);
    }
    print(&label, &webhook, secrets.err().as_deref());
    Ok(Exit::Done)
}

/// The secrets of the webhook in the configuration; the error says why they are not known here.
async fn secrets(
    context: &Context,
    source: &Client,
    of: &OfWebhook,
) -> Result<Vec<Signature>, String> {
    let unknown = |failure: Failure| {
        let text = failure.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let mappings = context.mappings().map_err(unknown)?;
    let set = catalog::resolve(source, mappings).await.map_err(|p| unknown(p.into()))?;
    let spec = configured(context, source, &set, of).await.map_err(unknown)?;
    Ok(signatures(&spec))
}

fn print(label: &str, webhook: &Webhook, no_secrets: Option<&str>) {
    let mut lines: Vec<(&str, String)> = Vec::new();
    lines.push(("webhook", label.to_owned()));
    let state = match &webhook.reason {
        Some(reason) => format!("{}: {reason}", webhook.state),
        None => webhook.state.to_string(),
    };
    lines.push(("state", state));
    if webhook.paused {
        lines.push(("paused", until(webhook.paused_until, "until resumed")));
    }
    lines.push(("host", place(webhook)));
    let lag = format!("{} change(s), {} behind", webhook.lag_rows.0, span(webhook.lag_seconds));
    lines.push(("lag", lag));
    let counts =
        format!("{} event(s); {} request(s) failed", webhook.delivered.0, webhook.failed.0);
    lines.push(("delivered", counts));
    let at = |time: Option<jiff::Timestamp>| {
        time.map_or_else(
            || "never".to_owned(),
            |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        )
    };
    lines.push(("last success", at(webhook.last_success_at)));
    if let Some(error) = &webhook.last_error {
        lines.push(("last error", format!("{error} ({})", at(webhook.last_error_at))));
    }
    if webhook.consecutive_failures > 0 {
        let since = at(webhook.failing_since);
        let next = at(webhook.next_attempt_at);
        let failures = webhook.consecutive_failures;
        lines.push(("failing", format!("{failures} time(s) since {since}; next attempt {next}")));
    }
    if webhook.quarantined.0 > 0 {
        lines.push(("quarantined", format!("{} event(s)", webhook.quarantined.0)));
    }
    for signature in webhook.signatures.iter().flatten() {
        let public = signature.public_key.as_ref().map(|key| format!("  {key}"));
        let shown =
            format!("{} {}{}", signature.kind, signature.fingerprint, public.unwrap_or_default());
        lines.push(("signs", shown));
    }
    if let Some(why) = no_secrets {
        lines.push(("signs", format!("not known here: {why}")));
    }
    for (name, value) in lines {
        say(format!("{name:<13} {}", offtake_mapping::foreign_within(&value, 400)));
    }
    say("");
    let head = ["MAPPING", "CURSOR", "NEWEST", "BACKLOG", "BACKFILL", "QUARANTINED", "ERROR"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(webhook.mappings.iter().map(row));
    say(table(&rows));
}

fn row(mapping: &WebhookMapping) -> [String; 7] {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let backfill = match (&mapping.resync_reason, mapping.backfill) {
        (Some(reason), _) => format!("resync owed ({reason})"),
        (None, true) => "done".to_owned(),
        (None, false) => format!("running, {} row(s)", mapping.rows_done),
    };
    [
        mapping.name.clone(),
        or_dash(&mapping.sequence_id),
        or_dash(&mapping.latest_sequence_id),
        mapping.backlog.clone(),
        backfill,
        mapping.quarantined.clone(),
        mapping.error.clone().unwrap_or_default(),
    ]
}

pub(super) async fn attempts(
    context: &Context,
    of: &OfWebhook,
    status: Option<&str>,
    limit: u32,
    json: bool,
) -> Result<Exit, Failure> {
    let source = context.connect_source("webhook").await?;
    let Named { webhook, .. } = find(context, &source, of).await?;
    let attempts = read_attempts(&source, webhook.webhook_id, status, None, i64::from(limit))
        .await
        .map_err(|error| unreadable(&error))?;
    if json {
        say_json(serde_json::to_string_pretty(&attempts).unwrap_or_default());
        return Ok(Exit::Done);
    }
    if attempts.is_empty() {
        say("the log has no such attempt; webhooks.attempts.log says which requests it keeps");
        return Ok(Exit::Done);
    }
    let head = ["AT", "MAPPING", "KEY", "EVENTS", "TRY", "MS", "STATUS", "ENDED", "ERROR"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(attempts.into_iter().map(line));
    say(table(&lines));
    Ok(Exit::Done)
}

fn line(attempt: Attempt) -> [String; 9] {
    let dash = || "-".to_owned();
    // The answer's first bytes say more than the status.
    let error = match (attempt.error, attempt.response) {
        (Some(error), Some(response)) => format!("{error}: {response}"),
        (error, response) => error.or(response).unwrap_or_default(),
    };
    [
        attempt.started_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        attempt.mapping.unwrap_or_else(dash),
        attempt.key.unwrap_or_else(dash),
        attempt.events.to_string(),
        attempt.attempt.0.to_string(),
        attempt.duration_ms.to_string(),
        attempt.status.map_or_else(dash, |status| status.to_string()),
        attempt.class,
        error,
    ]
}

fn named_state(name: &str) -> Result<WebhookState, Failure> {
    let found = WebhookState::ALL.into_iter().find(|state| state.as_str() == name);
    found.ok_or_else(|| {
        let known = WebhookState::ALL.map(WebhookState::as_str);
        let message = format!("no state is called {}", foreign(name));
        unknown(message, name, known).because(format!("they are {}", known.join(", ")))
    })
}
