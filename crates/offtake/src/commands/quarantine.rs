//! `offtake quarantine`: the rows that destinations refuse.

use offtake_admin::operations::{Selection, discard_quarantined, quarantined, retry_quarantined};
use tokio_postgres::Client;

use super::confirm::confirmed;
use super::printing::{say, say_json, table};
use super::registry_names::{check, unreadable};
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
    let OfQuarantine { tenant, destination, mapping } = of;
    let (destination, mapping) = (destination.as_deref(), mapping.as_deref());
    let tenant = check(context, &source, tenant.as_deref(), destination, mapping).await?;
    let of = Selection { tenant: tenant.as_deref(), destination, mapping };
    match arguments {
        Quarantine::List { json, .. } => list(&source, of, *json).await,
        Quarantine::Retry { .. } => {
            let rows = retry_quarantined(&source, of).await.map_err(|error| unreadable(&error))?;
            say(format!(
                "{rows} row(s) are tried again now; `offtake quarantine list` shows which are \
                 refused again"
            ));
            Ok(Exit::Done)
        }
        Quarantine::Discard { yes, .. } => {
            let consequence = "this forgets quarantined rows, which stay absent from their \
                               destinations until they change";
            let question =
                "Forget these rows? They stay absent from their destinations until they change.";
            if !confirmed(*yes, consequence, question).await? {
                say("nothing was changed");
                return Ok(Exit::Failed);
            }
            let rows =
                discard_quarantined(&source, of).await.map_err(|error| unreadable(&error))?;
            say(format!(
                "{rows} row(s) forgotten; `offtake verify` goes on telling them as missing"
            ));
            Ok(Exit::Done)
        }
    }
}

async fn list(source: &Client, of: Selection<'_>, json: bool) -> Result<Exit, Failure> {
    let rows =
        quarantined(source, of, None, LISTED_MAX).await.map_err(|error| unreadable(&error))?;
    if json {
        say_json(serde_json::to_string_pretty(&rows).unwrap_or_default());
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        say("no row is quarantined");
        return Ok(Exit::Done);
    }
    let mut lines =
        vec![["DESTINATION", "MAPPING", "KEY", "SINCE", "TRIES", "ERROR"].map(str::to_owned)];
    lines.extend(rows.into_iter().map(|row| {
        [
            format!("{}/{}", row.tenant, row.destination),
            row.mapping,
            row.key.to_string(),
            row.first_failed_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            row.attempts.to_string(),
            // A server's message ends with the code already.
            if row.error.contains(&row.sqlstate) {
                row.error
            } else {
                format!("{} ({})", row.error, row.sqlstate)
            },
        ]
    }));
    say(table(&lines));
    Ok(Exit::Done)
}
