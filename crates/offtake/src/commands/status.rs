//! `offtake status`: the same facts as `GET /api/v1/status`, read from the source. It needs no
//! daemon.

mod text;

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use offtake_admin::status::Config;
use offtake_postgres::Connection;

use self::text::describe;
use super::printing::{heard, say, say_json};
use super::registry_names::{destinations, unreadable};
use crate::checks::files;
use crate::command_line;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// As often as a person can read the lines.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

pub(super) async fn execute(
    context: &Context,
    arguments: &command_line::Status,
) -> Result<Exit, Failure> {
    let mut source = context.connect_source("status").await?;
    let tenant = match &arguments.tenant {
        Some(tenant) => {
            let named = destinations(context, &source, tenant, None).await?;
            named.into_iter().next().map(|destination| destination.tenant)
        }
        None => None,
    };
    loop {
        match look(context, &source, tenant.as_deref(), arguments.json).await {
            Ok(shown) => show(&shown, arguments),
            Err(failure) if !arguments.watch => return Err(failure),
            // An operator who watches wants to see the source come back.
            Err(failure) => {
                show(&failure.report(), arguments);
                if let Ok(again) = context.connect_source("status").await {
                    source = again;
                }
            }
        }
        if !arguments.watch || !heard() {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

async fn look(
    context: &Context,
    source: &Connection,
    tenant: Option<&str>,
    json: bool,
) -> Result<String, Failure> {
    let found = files::find_mistakes(context, source).await;
    let mut status = offtake_admin::collect_beside(source, tenant, &found.uncaptured)
        .await
        .map_err(|error| unreadable(&error))?;
    status.config = Some(Config { loaded_at: Timestamp::now(), error: found.error });
    Ok(if json {
        serde_json::to_string_pretty(&status).unwrap_or_default()
    } else {
        describe(&status, tenant.is_some(), Timestamp::now())
    })
}

fn show(text: &str, arguments: &command_line::Status) {
    if arguments.watch && !arguments.json && std::io::stdout().is_terminal() {
        // Move the cursor home, then clear what is below it: the screen does not flicker, and what
        // was printed before stays in the terminal's history.
        let _ = write!(std::io::stdout(), "\x1b[H\x1b[J");
    }
    if arguments.json { say_json(text) } else { say(text) }
}
