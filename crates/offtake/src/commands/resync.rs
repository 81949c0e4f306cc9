//! `offtake resync`: has copies made again, key range by key range, by the worker that also applies
//! the live changes.

mod chosen;
mod drop_tables;
mod recreate;

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use offtake_admin::operations::{self, ResyncProgress};
use tokio::time::Instant;
use tokio_postgres::Client;

use offtake_mapping::{foreign, shell_word};

use super::printing::say;
use super::registry_names::{check_mapping, check_served, destinations, unreadable};
use super::sync::warn_without_daemon;
use crate::command_line::Resync;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// Between two looks at the progress, which is a few rows of the registry.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn execute(context: &Context, arguments: &Resync) -> Result<Exit, Failure> {
    if arguments.drop {
        return drop_tables::execute(context, arguments).await;
    }
    if arguments.recreate {
        return recreate::execute(context, arguments).await;
    }
    let source = context.connect_source("resync").await?;
    let (tenant, name) = (&arguments.of.tenant, arguments.of.destination.as_deref());
    let named = destinations(context, &source, tenant, name).await?;
    let tenant = foreign(tenant);
    let mapping = arguments.mapping.as_deref();
    if let Some(mapping) = mapping {
        check_mapping(mapping, &named)?;
    }
    check_served(&named)?;
    let ids: Vec<i64> = named.iter().map(|d| d.destination_id).collect();
    let copies = operations::request_resync(&source, &ids, mapping)
        .await
        .map_err(|error| unreadable(&error))?;
    let Some(wait) = arguments.wait else {
        say(format!(
            "{copies} copies of {tenant} are made again, in place; \
             `offtake status --tenant {}` shows how far they are",
            shell_word(&arguments.of.tenant)
        ));
        return Ok(Exit::Done);
    };
    warn_without_daemon(&source).await?;
    let left = watch(&source, &ids, mapping, Instant::now() + wait).await?;
    if left.is_empty() {
        say(format!("{copies} copies of {tenant} are complete"));
        return Ok(Exit::Done);
    }
    Err(Failure::all(
        left.chunk_by(|a, b| (&a.destination, &a.obstacle) == (&b.destination, &b.obstacle))
            .map(late),
    ))
}

/// The failure for copies of one destination that have the same obstacle.
fn late(copies: &[ResyncProgress]) -> Failure {
    let mappings: Vec<_> = copies.iter().map(|copy| copy.mapping.as_str()).collect();
    let ResyncProgress { tenant, destination, obstacle, .. } = &copies[0];
    let named = shell_word(tenant);
    let (tenant, destination) = (foreign(tenant), foreign(destination));
    let what =
        format!("{tenant}/{destination} does not have all of {} in time", mappings.join(", "));
    let failure = Failure::new(Exit::SomeDestinationsFailed, what);
    match obstacle {
        Some(obstacle) => failure
            .because(obstacle.as_str())
            .remedy(format!("see `offtake status --tenant {named}`; the request stands")),
        None => failure.remedy(
            "see that `offtake run` is running for this source, or wait longer; the request stands",
        ),
    }
}

/// Waits until all copies are complete, and shows how far they are. Returns those that were not at
/// the deadline.
async fn watch(
    source: &Client,
    ids: &[i64],
    mapping: Option<&str>,
    deadline: Instant,
) -> Result<Vec<ResyncProgress>, Failure> {
    let bar = bar();
    loop {
        let copies = operations::resync_progress(source, ids, mapping)
            .await
            .map_err(|error| unreadable(&error))?;
        show(&bar, &copies);
        let left: Vec<_> = copies.into_iter().filter(|copy| !copy.done()).collect();
        if left.is_empty() || Instant::now() >= deadline {
            bar.finish_and_clear();
            return Ok(left);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Visible only on a terminal: indicatif draws nothing elsewhere.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(
        "{bar:30} {human_pos} of about {human_len} rows, {per_sec}, {eta} left  {wide_msg}",
    ) {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, copies: &[ResyncProgress]) {
    let rows = |count: i64| u64::try_from(count).unwrap_or(0);
    let done = |copy: &ResyncProgress| if copy.waiting { 0 } else { rows(copy.rows_done) };
    // The total is an estimate. Where it was too low, the rows copied so far count.
    let total = |copy: &ResyncProgress| {
        if copy.done() { done(copy) } else { copy.rows_total.map_or(0, rows).max(done(copy)) }
    };
    bar.set_length(copies.iter().map(total).sum());
    bar.set_position(copies.iter().map(done).sum());
    let at = copies.iter().find(|copy| !copy.done());
    let message = at.map(|copy| {
        copy.obstacle.clone().unwrap_or_else(|| {
            format!("{}/{} {}", foreign(&copy.tenant), foreign(&copy.destination), copy.mapping)
        })
    });
    bar.set_message(message.unwrap_or_default());
}
