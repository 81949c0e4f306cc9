//! How far the copy is: a bar for each table on a terminal, otherwise one JSON line per batch.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};
use offtake_mapping::{foreign, foreign_within};
use offtake_sync::copy::{Event, Spent};
use serde_json::{Value, json};

use crate::commands::printing::{say, say_json};

/// A reason in a line of progress.
const WHY_CHARS_MAX: usize = 300;

#[derive(Clone)]
pub(super) struct Progress {
    json: bool,
    table: Arc<Mutex<Table>>,
}

/// The table that is being copied.
struct Table {
    bar: ProgressBar,
    began: Instant,
    /// Rows that were there when this run began, and the planner's estimate of all.
    done_before: u64,
    estimate: Option<u64>,
    bytes: u64,
}

impl Progress {
    /// `json` was asked for; without a terminal, programs read what is told.
    pub(super) fn new(json: bool) -> Self {
        let table = Table {
            bar: ProgressBar::hidden(),
            began: Instant::now(),
            done_before: 0,
            estimate: None,
            bytes: 0,
        };
        let json = json || !std::io::stdout().is_terminal();
        Self { json, table: Arc::new(Mutex::new(table)) }
    }

    pub(super) fn as_json(&self) -> bool {
        self.json
    }

    /// Prints a sentence for the person who runs the command. `table` may be empty.
    pub(super) fn note(&self, table: &str, text: &str) {
        match self.json {
            true => say_json(json!({ "event": "note", "table": table, "text": text })),
            false if table.is_empty() => self.line(text),
            false => self.line(&format!("{}: {text}", foreign(table))),
        }
    }

    pub(super) fn end_table(&self) {
        self.locked(|table| table.bar.finish_and_clear());
    }

    pub(super) fn event(&self, event: &Event<'_>) {
        self.locked(|table| table.note(event, self.json));
        if self.json {
            let told = self.locked(|table| table.json(event));
            say_json(told);
            return;
        }
        match event {
            Event::Retry { table, side, why, attempt, wait } => {
                let of = if table.is_empty() { String::new() } else { format!("{table}: ") };
                self.line(&format!(
                    "{}the {side} failed ({}); attempt {} in {:.1} s",
                    foreign(&of),
                    foreign_within(why, WHY_CHARS_MAX),
                    attempt + 1,
                    wait.as_secs_f64()
                ));
            }
            Event::ChunkFailed { table, chunk } => self.line(&format!(
                "{}: chunk {} failed: {}",
                foreign(table),
                chunk.id,
                foreign_within(&chunk.message, WHY_CHARS_MAX)
            )),
            _ => {}
        }
    }

    /// A line above the bar.
    fn line(&self, text: &str) {
        self.locked(|table| table.bar.suspend(|| say(text)));
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Table {
    fn note(&mut self, event: &Event<'_>, json: bool) {
        match event {
            Event::Began { table, done, estimate, .. } => {
                let bar = match json {
                    true => ProgressBar::hidden(),
                    false => bar(table, *estimate),
                };
                bar.set_position(*done);
                let (done_before, estimate) = (*done, *estimate);
                *self = Self { bar, began: Instant::now(), done_before, estimate, bytes: 0 };
            }
            Event::Batch { done, bytes, spent, .. } => {
                self.bytes += bytes;
                self.bar.set_position(*done);
                if let Some(spent) = spent {
                    self.bar.set_message(format!("{} requests", spent.requests));
                }
            }
            Event::Compared { rows, .. } => {
                self.bar.set_message("comparing");
                self.bar.set_position(*rows);
            }
            _ => {}
        }
    }

    /// Rows per second of this run, and how long the rest takes at that rate.
    fn pace(&self, done: u64) -> (f64, Option<Duration>) {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = (done - self.done_before.min(done)) as f64 / seconds;
        let left = self.estimate.map(|all| all.saturating_sub(done) as f64);
        let rest = left.filter(|_| rate > 0.0).map(|left| left / rate);
        (rate, rest.and_then(|rest| Duration::try_from_secs_f64(rest).ok()))
    }

    fn json(&self, event: &Event<'_>) -> Value {
        match event {
            Event::Began { table, done, estimate, resumed } => json!({
                "event": "table_began", "table": table, "rows": done, "rows_estimated": estimate,
                "resumed": resumed,
            }),
            Event::Batch { table, chunk, rows, bytes, done, retries, spent } => {
                let (rate, rest) = self.pace(*done);
                let told = json!({
                    "event": "batch", "table": table, "chunk": chunk, "batch_rows": rows,
                    "batch_bytes": bytes, "rows": done, "bytes": self.bytes,
                    "rows_per_second": rate.round(), "eta_seconds": rest.map(|rest| rest.as_secs()),
                    "retries": retries,
                });
                with_spent(told, spent.as_ref())
            }
            Event::Retry { table, side, why, attempt, wait } => json!({
                "event": "retry", "table": table, "side": side.to_string(), "why": why,
                "attempt": attempt + 1, "wait_seconds": wait.as_secs_f64(),
            }),
            Event::ChunkFailed { table, chunk } => json!({
                "event": "chunk_failed", "table": table, "chunk": chunk.id,
                "message": chunk.message,
            }),
            Event::Compared { table, rows } => {
                json!({ "event": "compared", "table": table, "rows": rows })
            }
            Event::Repaired { table, rows } => {
                json!({ "event": "range_copied_again", "table": table, "rows": rows })
            }
        }
    }
}

/// Adds what a destination counts, and bills.
pub(super) fn with_spent(mut told: Value, spent: Option<&Spent>) -> Value {
    if let Some(spent) = spent {
        told["requests"] = spent.requests.into();
        told["rows_read"] = spent.rows_read.into();
        told["rows_written"] = spent.rows_written.into();
        told["requests_left"] = spent.left.into();
    }
    told
}

fn bar(table: &str, estimate: Option<u64>) -> ProgressBar {
    let (bar, template) = match estimate {
        Some(rows) => (
            ProgressBar::new(rows),
            "{prefix} {wide_bar} {human_pos}/{human_len} rows {rate} ETA {eta} {msg}",
        ),
        None => (ProgressBar::new_spinner(), "{prefix} {human_pos} rows {rate} {elapsed} {msg}"),
    };
    let rate = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
        let _ = write!(to, "{}/s", HumanCount(state.per_sec() as u64));
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", rate));
    }
    bar.set_prefix(foreign(table).into_owned());
    bar
}
