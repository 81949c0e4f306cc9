//! `offtake quarantine`: the rows that destinations refuse, and the events that webhooks do.

use offtake_admin::operations::{Selection, discard_quarantined, quarantined, retry_quarantined};
use tokio_postgres::Client;

use super::confirm::confirmed;
use super::printing::{say, say_json, table};
use super::registry_names::{check, unreadable};
use super::webhook::names as webhook_names;
use crate::command_line::{OfQuarantine, Quarantine};
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// More rows than a person reads. A program that wants more reads `GET /api/v1/quarantine` page by
/// page.
const LISTED_MAX: i64 = 10_000;

pub(super) async fn execute(context: &Context, arguments: &Quarantine) -> Result<Exit, Failure> {
    let source = context.connect_source("quarantine").await?;
    let (Quarantine::List { of, .. } | Quarantine::Retry { of } | Quarantine::Discard { of, .. }) =
        arguments;
    let tenant = spelt(context, &source, of).await?;
    let of = Selection {
        tenant: tenant.as_deref(),
        destination: of.destination.as_deref(),
        webhook: of.webhook.as_deref(),
        mapping: of.mapping.as_deref(),
    };
    match arguments {
        Quarantine::List { json, .. } => list(&source, of, *json).await,
        Quarantine::Retry { .. } => {
            let rows = retry_quarantined(&source, of).await.map_err(|error| unreadable(&error))?;
            say(format!(
                "{rows} row(s) and event(s) are tried again now; `offtake quarantine list` shows which are \
                 refused again"
            ));
            Ok(Exit::Done)
        }
        Quarantine::Discard { yes, .. } => {
            let consequence = "this forgets what is quarantined, which stays absent from its \
                               destination, or untold, until it changes";
            let question = "Forget them? They stay absent from their destinations, or untold, \
                            until they change.";
            if !confirmed(*yes, consequence, question).await? {
                say("nothing was changed");
                return Ok(Exit::Failed);
            }
            let rows =
                discard_quarantined(&source, of).await.map_err(|error| unreadable(&error))?;
            say(format!(
                "{rows} row(s) and event(s) forgotten; `offtake verify` goes on telling such rows as \
                 missing"
            ));
            Ok(Exit::Done)
        }
    }
}

/// Checks the names that are given. Returns the tenant as the configuration spells it.
async fn spelt(
    context: &Context,
    source: &Client,
    of: &OfQuarantine,
) -> Result<Option<String>, Failure> {
    let OfQuarantine { tenant, destination, webhook, mapping } = of;
    let (tenant, mapping) = (tenant.as_deref(), mapping.as_deref());
    if destination.is_none() {
        let of_webhooks =
            webhook_names::check(context, source, tenant, webhook.as_deref(), mapping);
        match of_webhooks.await {
            // Without a name, either may be meant.
            Err(_) if webhook.is_none() => {}
            checked => return checked,
        }
    }
    check(context, source, tenant, destination.as_deref(), mapping).await
}

async fn list(source: &Client, of: Selection<'_>, json: bool) -> Result<Exit, Failure> {
    let rows =
        quarantined(source, of, None, LISTED_MAX).await.map_err(|error| unreadable(&error))?;
    if json {
        say_json(serde_json::to_string_pretty(&rows).unwrap_or_default());
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        say("nothing is quarantined");
        return Ok(Exit::Done);
    }
    let mut lines = vec![["AT", "MAPPING", "KEY", "SINCE", "TRIES", "ERROR"].map(str::to_owned)];
    lines.extend(rows.into_iter().map(|row| {
        [
            match &row.webhook {
                Some(webhook) => format!("{}/{webhook} (webhook)", row.tenant),
                None => format!("{}/{}", row.tenant, row.name()),
            },
            row.mapping,
            row.key.to_string(),
            row.first_failed_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            match row.retry_at {
                Some(_) => row.attempts.to_string(),
                None => format!("{}, the last", row.attempts),
            },
            match row.sqlstate {
                // A server's message ends with the code already.
                Some(code) if !row.error.contains(&code) => format!("{} ({code})", row.error),
                _ => row.error,
            },
        ]
    }));
    say(table(&lines));
    Ok(Exit::Done)
}
