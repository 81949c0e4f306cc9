//! `offtake copy --validate`: everything that would stop a copy, found before the first row. Each
//! line is ok, or says what is wrong; nothing is changed anywhere.

use std::path::Path;

use offtake_mapping::compose::estimate_rows;
use offtake_mapping::foreign;
use offtake_sync::copy::{Copier, Stop};
use offtake_sync::destinations::Place;
use serde_json::json;
use tokio_postgres::Client;

use super::choice::Chosen;
use super::tables::{connect, find, unreadable};
use super::{Task, failure_of};
use crate::command_line::Copy;
use crate::commands::printing::{say, say_json};
use crate::outcome::{Exit, Failure};

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
                        of_table(copier, &source, task, reached.is_ok(), &mut lines).await?;
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
) -> Result<(), Failure> {
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
        return Ok(());
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
