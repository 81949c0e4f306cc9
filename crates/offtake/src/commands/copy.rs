//! `offtake copy`: tables, or mappings, are copied once, and an interrupted copy goes on.
//!
//! `offtake_sync::copy` does it. What is here: what the command line and the environment mean, what
//! is looked at before the first row, and what a person or a program is told.

mod choice;
mod endpoints;
mod progress;
mod shape;
mod status;
mod tables;
mod types;
mod validate;

use std::path::Path;
use std::time::Instant;

use offtake_mapping::{Kind, foreign, foreign_within};
use offtake_sync::copy::{BATCH_BYTES, BATCH_ROWS, CHUNK_ROWS};
use offtake_sync::copy::{Copier, Job, Outcome, Owner, Side, Stop, Terms, settings};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::choice::Chosen;
use self::endpoints::Endpoints;
use self::progress::{Progress, with_spent};
use super::printing::{say, say_exact, say_json};
use super::stop_on_signals;
use crate::command_line::{Copy, RowError};
use crate::outcome::{Exit, Failure};

/// Connections with the source: one reads, one looks for the end of a chunk.
const CONNECTIONS: usize = 2;

/// A message of a server or a file that is told in one line.
const MESSAGE_CHARS_MAX: usize = 600;

/// One table or mapping, and what is told of it.
struct Task {
    job: Job,
    /// As people name what is copied.
    source: String,
    /// What of the table is not copied.
    uncopied: Vec<String>,
    /// What a person should know before the first row.
    notes: Vec<String>,
    bytes: i64,
}

pub(super) async fn execute(file: &Path, arguments: &Copy) -> Result<Exit, Failure> {
    let chosen = Chosen::new(arguments, &crate::context::environment());
    let endpoints = Endpoints::new(&chosen)?;
    let stopping = stop_on_signals();
    let progress = Progress::new(arguments.json);
    let copier = copier(arguments, &chosen, &endpoints, stopping.clone(), &progress);
    if arguments.instead.status || arguments.instead.failed {
        return status::show(&copier, arguments).await;
    }
    if arguments.instead.reset_stuck {
        return status::reset(&copier, arguments).await;
    }
    if arguments.instead.validate {
        return validate::execute(file, &copier, &chosen, arguments).await;
    }
    let tasks = tables::find(file, &copier, &chosen, arguments).await?;
    if arguments.instead.setup && arguments.instead.print_sql {
        for task in &tasks {
            copier.set_up_sql(&task.job).iter().for_each(|sql| say_exact(format!("{sql};")));
        }
        return Ok(Exit::Done);
    }
    chosen.notes.iter().for_each(|note| progress.note("", note));
    for task in &tasks {
        types::tell(task, copier.place.kind(), &progress);
    }
    refuse_unfit(&copier, &tasks).await?;
    if arguments.instead.setup {
        for task in &tasks {
            copier.set_up(&task.job).await.map_err(|stop| failure(&stop, &endpoints))?;
            progress.note(task.job.mapping.name(), "the table and the checkpoints are made");
        }
        return Ok(Exit::Done);
    }
    run(&copier, &tasks, &endpoints, &progress).await
}

fn copier(
    arguments: &Copy,
    chosen: &Chosen,
    endpoints: &Endpoints,
    stopping: CancellationToken,
    progress: &Progress,
) -> Copier {
    let pace = &arguments.pace;
    let number = |given: Option<u32>, default: usize| {
        given.map_or(default, |given| usize::try_from(given).unwrap_or(default))
    };
    let terms = Terms {
        chunk_rows: number(chosen.chunk_rows, CHUNK_ROWS),
        batch_rows: number(chosen.batch_rows, batch_rows(endpoints.place.kind())),
        batch_bytes: BATCH_BYTES,
        pace: pace.rate.unwrap_or_default(),
        attempts: pace.attempts,
        deadline: pace.length.map(|length| Instant::now() + length),
        rows_max: pace.limit_rows,
        fresh: chosen.fresh,
        skip_refused: arguments.on_row_error == RowError::Skip,
        compare: !arguments.no_verify,
    };
    let progress = progress.clone();
    Copier {
        pool: endpoints.pool(CONNECTIONS, pace.statement_timeout),
        source: endpoints.source.clone(),
        place: endpoints.place.clone(),
        dialer: endpoints.dialer(),
        terms,
        owner: Owner::here(),
        stopping,
        settings: settings(pace.statement_timeout),
        tell: Box::new(move |event| progress.event(&event)),
    }
}

/// Each request of a D1 database is one of few per second, so its batches are larger: two for a chunk.
fn batch_rows(kind: Kind) -> usize {
    match kind {
        Kind::Postgres | Kind::Sqlite => BATCH_ROWS,
        Kind::D1 => CHUNK_ROWS / 2,
    }
}

/// What cannot be copied to is told for all tables at once, before the first row.
async fn refuse_unfit(copier: &Copier, tasks: &[Task]) -> Result<(), Failure> {
    let mut unfit = Vec::new();
    for task in tasks {
        match copier.try_writing(&task.job).await {
            Ok(None) => {}
            Ok(Some(why)) => unfit.push(
                Failure::invalid(format!("{} cannot be copied there", foreign(&task.source)))
                    .because(why),
            ),
            Err(stop) => return Err(failure_of(&stop, &copier.place.database())),
        }
    }
    match unfit.is_empty() {
        true => Ok(()),
        false => Err(Failure::all(unfit)),
    }
}

/// Copies one table after the other. What ends one of them ends the run, unless it is that table's
/// own.
async fn run(
    copier: &Copier,
    tasks: &[Task],
    endpoints: &Endpoints,
    progress: &Progress,
) -> Result<Exit, Failure> {
    let (mut exit, mut stopped) = (Exit::Done, None);
    for task in tasks {
        let (outcome, ended) = copier.copy(&task.job).await;
        progress.end_table();
        let of_table = told(task, &outcome, ended.as_ref().err(), progress);
        exit = worse(exit, of_table);
        match ended {
            Ok(()) | Err(Stop::Table { .. } | Stop::OtherCopy { .. }) => {}
            // The others get their share.
            Err(stop @ Stop::EnoughRows) => stopped = Some(stop),
            Err(stop) => {
                stopped = Some(stop);
                break;
            }
        }
    }
    match stopped {
        None => Ok(exit),
        Some(Stop::TimeIsUp) => {
            progress.note("", "the time is over; run the same command again, and it goes on");
            Ok(Exit::TimeIsUp)
        }
        Some(Stop::EnoughRows) => {
            progress.note("", "--limit-rows is reached; without it, the same command goes on");
            Ok(worse(Exit::TimeIsUp, exit))
        }
        Some(Stop::Interrupted) => {
            progress.note("", "interrupted; run the same command again, and it goes on");
            Ok(Exit::Interrupted)
        }
        Some(stop) => Err(failure(&stop, endpoints)),
    }
}

/// Failed chunks weigh more than differences, and those more than success.
fn worse(one: Exit, other: Exit) -> Exit {
    let weight = |exit: Exit| match exit {
        Exit::Done => 0,
        Exit::TimeIsUp => 1,
        Exit::Different => 2,
        _ => 3,
    };
    if weight(other) > weight(one) { other } else { one }
}

/// Tells what became of a table.
fn told(task: &Task, outcome: &Outcome, stop: Option<&Stop>, progress: &Progress) -> Exit {
    let name = task.job.mapping.name();
    let mut exit = Exit::Done;
    let mut lines = Vec::new();
    for chunk in &outcome.failed {
        exit = Exit::SomeDestinationsFailed;
        let message = foreign_within(&chunk.message, MESSAGE_CHARS_MAX);
        lines.push(format!("chunk {} failed: {message}", chunk.id));
    }
    for (key, why) in &outcome.skipped {
        exit = Exit::SomeDestinationsFailed;
        lines.push(format!("the row {} was left out: {}", foreign(key), foreign(why)));
    }
    for (index, why) in &outcome.without_index {
        exit = Exit::SomeDestinationsFailed;
        lines.push(format!("the index {} was not made: {}", foreign(index), foreign(why)));
    }
    match stop {
        Some(Stop::Table { why }) => {
            exit = Exit::SomeDestinationsFailed;
            lines.push(format!("failed: {}", foreign_within(why, MESSAGE_CHARS_MAX)));
        }
        Some(Stop::OtherCopy { .. }) => {
            exit = Exit::SomeDestinationsFailed;
            lines.push(
                "its checkpoints are those of another source, query or tenant; --fresh copies it \
                 again over what is there"
                    .to_owned(),
            );
        }
        _ => {}
    }
    let differs = outcome.compared.as_ref().is_some_and(|compared| !compared.equal());
    if differs && exit == Exit::Done {
        exit = Exit::Different;
    }
    if progress.as_json() {
        let table = json!({
            "event": "table",
            "table": name,
            "rows": outcome.done,
            "copied": outcome.copied,
            "retries": outcome.retries,
            "failed_chunks": outcome.failed.len(),
            "skipped": outcome.skipped.len(),
            "compared": outcome.compared.as_ref().map(|c| json!({
                "rows": c.rows, "equal": c.equal(), "repaired": c.repaired, "missing": c.missing,
                "extra": c.extra, "different": c.different, "unsettled": c.unsettled,
                "not_compared": c.not_compared, "example": c.example,
            })),
            "messages": lines,
            "complete": stop.is_none(),
        });
        say_json(with_spent(table, outcome.spent.as_ref()));
        return exit;
    }
    say(summary(name, outcome, stop.is_none()));
    if let Some(spent) = &outcome.spent {
        say(format!(
            "  {} requests; Cloudflare counts {} rows written and {} rows read",
            spent.requests, spent.rows_written, spent.rows_read
        ));
    }
    lines.iter().for_each(|line| say(format!("  {line}")));
    exit
}

fn summary(name: &str, outcome: &Outcome, complete: bool) -> String {
    let Outcome { done, copied, compared, .. } = outcome;
    let name = foreign(name);
    let Some(compared) = compared else {
        return match complete && outcome.failed.is_empty() {
            true => format!("copied     {name}: {done} rows"),
            false => format!("stopped    {name}: {copied} rows copied now"),
        };
    };
    let repaired = match compared.repaired {
        0 => String::new(),
        rows => format!(", {rows} rows that had changed meanwhile were copied again"),
    };
    if compared.equal() {
        return format!("equal      {name}: {} rows{repaired}", compared.rows);
    }
    let example = compared.example.as_ref().map(|key| format!(", such as {}", foreign(key)));
    format!(
        "DIFFERENT  {name}: {} missing, {} extra, {} different, {} changing all the time, {} not \
         comparable{}{repaired}; where the source is written to, make it a live destination",
        compared.missing,
        compared.extra,
        compared.different,
        compared.unsettled,
        compared.not_compared,
        example.unwrap_or_default()
    )
}

fn failure(stop: &Stop, endpoints: &Endpoints) -> Failure {
    failure_of(stop, &endpoints.place.database())
}

/// What ends the run, in an operator's words.
fn failure_of(stop: &Stop, destination: &str) -> Failure {
    let at = |side: &Side| match side {
        Side::Source => "the source".to_owned(),
        Side::Destination => foreign(destination).into_owned(),
    };
    match stop {
        Stop::Unreachable { side, why } => {
            Failure::new(Exit::Unreachable, format!("{} does not answer", at(side)))
                .because(why.clone())
                .remedy("run the same command again when it does; it goes on where it stopped")
        }
        Stop::Refused { side, why } => Failure::invalid(format!("{} refuses the copy", at(side)))
            .because(why.clone())
            .remedy("mend that, and run the same command again; it goes on where it stopped"),
        Stop::Table { why } => {
            Failure::invalid("a table cannot be copied there").because(why.clone())
        }
        Stop::Held { owner, since } => {
            let message = format!("another runner copies this: {}", foreign(owner));
            let since = match since.is_empty() {
                true => String::new(),
                false => format!("it has worked since {}", foreign(since)),
            };
            Failure::new(Exit::Failed, message).because(since).remedy(
                "wait until it is done; one that has died is taken over after a minute by itself",
            )
        }
        Stop::OtherCopy { table } => Failure::invalid(format!(
            "the checkpoints of {} are those of another source, query or tenant",
            foreign(table)
        ))
        .remedy("add --fresh to copy it again over what is there"),
        Stop::TimeIsUp | Stop::EnoughRows => Failure::new(Exit::TimeIsUp, "the time is over"),
        Stop::Interrupted => Failure::new(Exit::Interrupted, "interrupted"),
    }
}
