//! `offtake copy --validate`: everything that would stop a copy, found before the first row. Each
//! line is ok, or says what is wrong; nothing is changed anywhere.

use std::path::Path;

use offtake_mapping::compose::{estimate_rows, measure_rows};
use offtake_mapping::foreign;
use offtake_sync::copy::{Copier, Stop, row_bytes_max};
use offtake_sync::destinations::Place;
use serde_json::json;
use tokio_postgres::Client;

use super::choice::Chosen;
use super::tables::{connect, find, unreadable};
use super::{Task, failure_of};
use crate::command_line::{Copy, RowError};
use crate::commands::printing::{say, say_json};
use crate::outcome::{Exit, Failure};

/// Rows that are measured of a table, where their size matters. They are read whole.
const MEASURED_ROWS: u64 = 20_000;

/// What was looked at, in order.
struct Lines {
    json: bool,
    lines: Vec<serde_json::Value>,
    /// The exit code of the first thing that is wrong.
    wrong: Option<Exit>,
}

impl Lines {
    fn ok(&mut self, what: &str, found: &str) {
        self.tell("ok", what, found);
    }

    fn wrong(&mut self, exit: Exit, what: &str, why: &str) {
        self.wrong.get_or_insert(exit);
        self.tell("WRONG", what, why);
    }

    fn tell(&mut self, state: &str, what: &str, told: &str) {
        match self.json {
            true => self.lines.push(json!({ "ok": state != "WRONG", "what": what, "told": told })),
            false => say(format!("{state:<6} {what}: {told}")),
        }
    }
}

pub(super) async fn execute(
    file: &Path,
    copier: &Copier,
    chosen: &Chosen,
    arguments: &Copy,
) -> Result<Exit, Failure> {
    let mut lines = Lines { json: arguments.json, lines: Vec::new(), wrong: None };
    let destination = copier.place.database();
    let reached = copier.reach().await;
    match &reached {
        Ok(version) => lines.ok("destination", &format!("{}, {version}", foreign(&destination))),
        Err(stop) => {
            let failure = failure_of(stop, &destination);
            lines.wrong(failure.exit, "destination", &told(&failure));
        }
    }
    match connect(copier).await {
        Ok(source) => {
            lines.ok("source", &format!("logged in to {}", copier.source.place()));
            match find(file, copier, chosen, arguments).await {
                Ok(tasks) => {
                    for task in &tasks {
                        let rows = of_table(copier, &source, task, reached.is_ok(), &mut lines);
                        let rows = rows.await?;
                        of_sizes(copier, &source, (task, rows), arguments, &mut lines).await?;
                    }
                    of_space(copier, &tasks, &mut lines);
                }
                Err(failure) => lines.wrong(failure.exit, "tables", &told(&failure)),
            }
        }
        Err(failure) => lines.wrong(failure.exit, "source", &told(&failure)),
    }
    if arguments.json {
        say_json(json!(lines.lines));
    }
    Ok(match lines.wrong {
        None => Exit::Done,
        Some(Exit::Unreachable) => Exit::Unreachable,
        Some(Exit::Usage) => Exit::Usage,
        Some(_) => Exit::InvalidConfiguration,
    })
}

async fn of_table(
    copier: &Copier,
    source: &Client,
    task: &Task,
    reached: bool,
    lines: &mut Lines,
) -> Result<u64, Failure> {
    let mapping = &task.job.mapping;
    let key: Vec<&str> = mapping.key.iter().map(|k| k.query_column.as_str()).collect();
    let explained = source.query_one(&estimate_rows(mapping, &task.job.tenant), &[]).await;
    let plan: serde_json::Value = explained.map_err(unreadable)?.get(0);
    let rows = plan[0]["Plan"]["Plan Rows"].as_u64().unwrap_or_default();
    lines.ok(
        &task.source,
        &format!(
            "about {rows} rows, {} columns, key ({}){}",
            mapping.columns.len(),
            key.join(", "),
            match task.bytes {
                0 => String::new(),
                bytes => format!(", {} MB with its indexes", bytes / 1_000_000),
            }
        ),
    );
    task.notes.iter().for_each(|note| lines.tell("note", &task.source, note));
    if !reached {
        return Ok(rows);
    }
    match copier.try_writing(&task.job).await {
        Ok(None) => lines.ok(&task.source, "can be written there (tried and rolled back)"),
        Ok(Some(why)) => lines.wrong(Exit::InvalidConfiguration, &task.source, &why),
        Err(stop @ (Stop::Unreachable { .. } | Stop::Refused { .. })) => {
            let failure = failure_of(&stop, &copier.place.database());
            lines.wrong(failure.exit, &task.source, &told(&failure));
        }
        Err(stop) => return Err(failure_of(&stop, &copier.place.database())),
    }
    Ok(rows)
}

/// Where rows have a limit, some are measured: the largest one must not be larger. Of a table they
/// are taken from all of its pages.
async fn of_sizes(
    copier: &Copier,
    source: &Client,
    (task, rows): (&Task, u64),
    arguments: &Copy,
    lines: &mut Lines,
) -> Result<(), Failure> {
    let Some(most) = row_bytes_max(copier.place.kind()) else { return Ok(()) };
    let mut mapping = (*task.job.mapping).clone();
    if !mapping.definition.is_written() && rows > MEASURED_ROWS {
        let percent = 100.0 * MEASURED_ROWS as f64 / rows as f64;
        mapping.definition.query.push_str(&format!(" tablesample system ({percent})"));
    }
    let measure = measure_rows(&mapping, &task.job.tenant, MEASURED_ROWS as usize);
    let row = source.query_one(&measure, &[]).await.map_err(unreadable)?;
    let [measured, largest, value] = [0, 1, 2].map(|at| row.get::<_, i64>(at).unsigned_abs());
    let told = format!(
        "the largest of {measured} rows that were measured has {largest} bytes, and a row there at \
         most {most}"
    );
    if largest.max(value) <= most {
        lines.ok(&task.source, &told);
    } else if arguments.on_row_error == RowError::Skip {
        lines.tell("note", &task.source, &format!("{told}; larger ones are left out and listed"));
    } else {
        let remedy = "leave such rows out with --on-row-error skip, or copy a mapping whose query \
                      gives less, with --mapping and --tenant; a bytea counts twice where it has \
                      more than half of that";
        lines.wrong(Exit::InvalidConfiguration, &task.source, &format!("{told}; {remedy}"));
    }
    Ok(())
}

/// A file needs room where it is. A server does not say how much it has.
fn of_space(copier: &Copier, tasks: &[Task], lines: &mut Lines) {
    let Place::Sqlite(file) = &*copier.place else { return };
    let Some(free) = file.free_bytes() else { return };
    let needed: u64 = tasks.iter().map(|task| u64::try_from(task.bytes).unwrap_or(0)).sum();
    let told = format!(
        "{} MB are free where the file is, and the tables have {} MB",
        free / 1_000_000,
        needed / 1_000_000
    );
    match needed > free {
        true => lines.wrong(Exit::InvalidConfiguration, "space", &told),
        false => lines.ok("space", &told),
    }
}

/// A failure in one line.
fn told(failure: &Failure) -> String {
    let text = failure.to_string();
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}
