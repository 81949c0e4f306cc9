//! `offtake sync`: owes a tenant's destinations a sync, and waits for it where `--wait` says so.

use std::time::Duration;

use offtake_admin::operations::{daemon_sessions, owe_sync};
use tokio::time::Instant;
use tokio_postgres::{Client, Row};

use offtake_mapping::{foreign, shell_word};

use super::printing::say;
use super::registry_names::{check_served, destinations, unreadable};
use crate::command_line;
use crate::context::Context;
use crate::outcome::{Exit, Failure};
use crate::sql;

/// Between two looks while it waits. A sync takes some 15 ms.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

pub(super) async fn execute(
    context: &Context,
    arguments: &command_line::Sync,
) -> Result<Exit, Failure> {
    let source = context.connect_source("sync").await?;
    let deadline = arguments.wait.map(|wait| Instant::now() + wait);
    let (tenant, name) = (&arguments.tenant, arguments.destination.as_deref());
    let named = destinations(context, &source, tenant, name).await?;
    check_served(&named)?;
    let destinations: Vec<i64> = named.iter().map(|d| d.destination_id).collect();
    // The destinations are waited for by sequence id, so what the application has committed before
    // now must have its sequence id first.
    if let Some(deadline) = deadline {
        warn_without_daemon(&source).await?;
        wait_until_sequenced(&source, deadline).await?;
    }
    let head = owe_sync(&source, &destinations).await.map_err(|error| unreadable(&error))?;
    let Some(deadline) = deadline else {
        say(format!(
            "owed to {} destination(s) of {}; `offtake status` shows how far they are",
            destinations.len(),
            foreign(&arguments.tenant)
        ));
        return Ok(Exit::Done);
    };
    let behind = wait_until_reached(&source, &destinations, head, deadline).await?;
    if behind.is_empty() {
        say(format!(
            "{} destination(s) of {} have everything up to sequence id {head}",
            destinations.len(),
            foreign(&arguments.tenant)
        ));
        return Ok(Exit::Done);
    }
    Err(Failure::all(behind.iter().map(|row| {
        let tenant: &str = row.get("tenant_id");
        let (named, tenant, name) = (shell_word(tenant), foreign(tenant), foreign(row.get("name")));
        let failure = Failure::new(
            Exit::SomeDestinationsFailed,
            format!("{tenant}/{name} has not reached sequence id {head} in time"),
        );
        match row.get::<_, Option<&str>>("obstacle") {
            Some(obstacle) => {
                failure.because(obstacle).remedy(format!("see `offtake status --tenant {named}`"))
            }
            None => {
                failure.remedy("see that `offtake run` is running for this source, or wait longer")
            }
        }
    })))
}

/// Warns where no daemon runs that would do what was asked. A command that waits warns before the
/// wait.
pub(super) async fn warn_without_daemon(source: &Client) -> Result<(), Failure> {
    if !daemon_runs(source).await? {
        eprintln!("offtake: no daemon is connected to this source; start one with `offtake run`");
    }
    Ok(())
}

/// Whether a daemon is connected to the source.
pub(super) async fn daemon_runs(source: &Client) -> Result<bool, Failure> {
    Ok(daemon_sessions(source).await.map_err(|error| unreadable(&error))? > 0)
}

/// Waits until every change that is captured now has its sequence id.
pub(super) async fn wait_until_sequenced(
    source: &Client,
    deadline: Instant,
) -> Result<(), Failure> {
    let newest: Option<i64> =
        source.query_one(sql::READ_CAPTURE_HEAD, &[]).await.map_err(failed)?.get(0);
    let Some(newest) = newest else { return Ok(()) };
    while source.query_one(sql::PROBE_CAPTURED_UP_TO, &[&newest]).await.map_err(failed)?.get(0) {
        if Instant::now() >= deadline {
            return Err(Failure::new(
                Exit::Failed,
                "the changes written before now were not sequenced in time",
            )
            .remedy("see that `offtake run` is running for this source, or wait longer"));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// Waits until all destinations have reached `head`. Returns those that had not at the deadline.
pub(super) async fn wait_until_reached(
    source: &Client,
    destinations: &[i64],
    head: i64,
    deadline: Instant,
) -> Result<Vec<Row>, Failure> {
    loop {
        let rows =
            source.query(sql::READ_PROGRESS, &[&destinations, &head]).await.map_err(failed)?;
        let behind: Vec<_> =
            rows.into_iter().filter(|row| !row.get::<_, bool>("reached")).collect();
        if behind.is_empty() || Instant::now() >= deadline {
            return Ok(behind);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn failed(error: tokio_postgres::Error) -> Failure {
    Failure::of_source("the source refused a statement of `offtake sync`", &error.into())
}
