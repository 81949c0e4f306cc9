//! `offtake forget --purge`: deletes the tenant's rows and cursors at a destination, and then what
//! the source keeps of it.

use indicatif::{ProgressBar, ProgressStyle};
use offtake_admin::operations::{self, Kept};
use offtake_postgres::chain;
use offtake_sync::destinations::{Leaver, Place, Remains, Session, Trouble};
use offtake_sync::served_by_another;
use tokio_postgres::Client;

use super::{label, place};
use crate::commands::confirm::{confirmed, require_answer};
use crate::commands::printing::say;
use crate::commands::registry_names::unreadable;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// How often the rows are looked for again. A worker that was about to begin a copy may still have
/// begun it; one that has not read anything cannot write rows.
const LOOKS_MAX: usize = 3;

pub(super) async fn execute(
    context: &Context,
    source: &Client,
    kept: &Kept,
    address: Place,
    yes: bool,
) -> Result<Exit, Failure> {
    let label = label(kept);
    require_answer(yes, &format!("this deletes all rows of {label}"))?;
    let leaver = Leaver {
        destination_id: kept.destination_id,
        tenant_id: &kept.tenant,
        tenant_at_source: &kept.tenant_at_source,
    };
    let trouble = |trouble: Trouble| failed(&label, trouble.reason);
    let session = Session::open(&address, &context.dialer, "offtake forget").await;
    let session = session.map_err(trouble)?;
    let remains = session.remains(&leaver).await.map_err(trouble)?;
    check(context, &leaver, &remains, &label).await?;
    let what = format!("{} of {label} {}", told(&remains), place(kept));
    let consequence = format!("this deletes {what}, and what the source keeps of it");
    let question = format!("Delete {what}, and forget what the source keeps of it?");
    if !confirmed(yes, &consequence, &question).await? {
        say("nothing was changed");
        return Ok(Exit::Failed);
    }
    let ids = [kept.destination_id];
    operations::begin_forgetting(source, &ids).await.map_err(|error| unreadable(&error))?;
    let deleted = delete(&session, &leaver, remains).await.map_err(|why| {
        failed(&label, why).remedy(
            "nothing is copied there any more; mend what stands in the way and run this again: it \
             goes on where it ended",
        )
    })?;
    operations::forget(source, &ids).await.map_err(|error| unreadable(&error))?;
    let tables = if deleted.tables.is_empty() {
        String::new()
    } else {
        format!("; the tables stay, empty of it: {}", deleted.tables.join(", "))
    };
    let (rows, place) = (deleted.rows, place(kept));
    say(format!("forgot {label}; deleted {rows} row(s) and its cursors {place}{tables}"));
    Ok(Exit::Done)
}

/// What was deleted, and where.
struct Deleted {
    rows: u64,
    tables: Vec<String>,
}

/// Whether the rows that are there are this tenant's, and this source's to delete.
async fn check(
    context: &Context,
    leaver: &Leaver<'_>,
    remains: &Remains,
    label: &str,
) -> Result<(), Failure> {
    if let Some(unclear) = &remains.unclear {
        return Err(failed(label, unclear.clone()));
    }
    let cannot = |error| Failure::of_source("cannot read whose copy the destination is", &error);
    let pooled = context.pool.get().await.map_err(cannot)?;
    let other = served_by_another(&pooled, leaver, remains).await;
    let other = other.map_err(|error| failed(label, chain(&error)))?;
    let Some(other) = other else { return Ok(()) };
    Err(failed(label, other).remedy(
        "run this with the source that serves it; or run `offtake forget` without --purge, which \
         leaves the rows there",
    ))
}

/// Deletes the cursors, then the rows, until there is nothing left.
async fn delete(
    session: &Session,
    leaver: &Leaver<'_>,
    mut remains: Remains,
) -> Result<Deleted, String> {
    let bar = bar(&remains);
    let why = |trouble: Trouble| trouble.reason;
    for _ in 0..LOOKS_MAX {
        session.fence_off(leaver).await.map_err(why)?;
        session.purge(&remains, &|rows| bar.inc(rows)).await.map_err(why)?;
        remains = session.remains(leaver).await.map_err(why)?;
        if remains.rows() == 0 && remains.cursors == 0 {
            let (rows, tables) = (bar.position(), remains.tables);
            bar.finish_and_clear();
            return Ok(Deleted { rows, tables: tables.into_iter().map(|t| t.name).collect() });
        }
    }
    Err(format!("something else writes there meanwhile: {}", told(&remains)))
}

/// `120 row(s) in users, 5 in teams, and 2 cursor(s)`.
fn told(remains: &Remains) -> String {
    let full = remains.tables.iter().filter(|table| table.rows > 0);
    let tables: Vec<String> =
        full.map(|table| format!("{} row(s) in {}", table.rows, table.name)).collect();
    let tables = if tables.is_empty() { "no rows".to_owned() } else { tables.join(", ") };
    format!("{tables} and {} cursor(s)", remains.cursors)
}

/// Visible only on a terminal: indicatif draws nothing elsewhere.
fn bar(remains: &Remains) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(remains.rows()).unwrap_or(0));
    if let Ok(style) = ProgressStyle::with_template(
        "{bar:30} {human_pos} of {human_len} rows, {per_sec}, {eta} left",
    ) {
        bar.set_style(style);
    }
    bar
}

fn failed(label: &str, why: String) -> Failure {
    let what = format!("cannot delete the rows of {label}");
    Failure::new(Exit::SomeDestinationsFailed, what).because(why)
}
