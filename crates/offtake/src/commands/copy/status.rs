//! What the checkpoints at the destination say. The source is not asked.

use std::collections::BTreeMap;

use offtake_mapping::{foreign, foreign_within};
use offtake_sync::copy::{Chunk, Copier, Status};
use serde_json::json;

use super::{MESSAGE_CHARS_MAX, failure_of};
use crate::command_line::Copy;
use crate::commands::printing::{say, say_json, table};
use crate::outcome::{Exit, Failure};

/// One table's chunks.
#[derive(Default)]
struct Counts {
    rows: u64,
    chunks: [usize; 4],
    /// The runner that holds it, if one does.
    owner: Option<String>,
    /// The last chunk reaches the end of the table.
    cut_to_the_end: bool,
}

pub(super) async fn show(copier: &Copier, arguments: &Copy) -> Result<Exit, Failure> {
    let chunks = copier.checkpoints().await;
    let chunks = chunks.map_err(|stop| failure_of(&stop, &copier.place.database()))?;
    match arguments.instead.failed {
        true => failed(&chunks, arguments.json),
        false => status(&chunks, arguments.json),
    }
    let any_failed = chunks.iter().any(|chunk| chunk.status == Status::Failed);
    Ok(if any_failed { Exit::SomeDestinationsFailed } else { Exit::Done })
}

pub(super) async fn reset(copier: &Copier, arguments: &Copy) -> Result<Exit, Failure> {
    let reset = copier.reset_stuck().await;
    let reset = reset.map_err(|stop| failure_of(&stop, &copier.place.database()))?;
    match arguments.json {
        true => say_json(json!({ "chunks_given_back": reset })),
        false => say(format!("{reset} chunks were given back")),
    }
    Ok(Exit::Done)
}

fn failed(chunks: &[Chunk], json: bool) {
    let failed = chunks.iter().filter(|chunk| chunk.status == Status::Failed);
    if json {
        let all: Vec<_> = failed
            .map(|chunk| {
                json!({
                    "table": chunk.table_name, "chunk": chunk.id, "attempts": chunk.attempt,
                    "rows": chunk.rows, "message": chunk.error,
                })
            })
            .collect();
        say_json(json!(all));
        return;
    }
    let rows: Vec<[String; 4]> = failed
        .map(|chunk| {
            let message = chunk.error.as_deref().unwrap_or_default();
            [
                chunk.table_name.clone(),
                chunk.id.to_string(),
                chunk.attempt.to_string(),
                foreign_within(message, MESSAGE_CHARS_MAX).into_owned(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return say("no chunk has failed");
    }
    let header = ["TABLE", "CHUNK", "ATTEMPTS", "MESSAGE"].map(str::to_owned);
    say(table(&std::iter::once(header).chain(rows).collect::<Vec<_>>()));
}

fn status(chunks: &[Chunk], json: bool) {
    let mut tables: BTreeMap<&str, Counts> = BTreeMap::new();
    for chunk in chunks {
        let counts = tables.entry(&chunk.table_name).or_default();
        counts.rows += chunk.rows;
        counts.chunks[place(chunk.status)] += 1;
        counts.cut_to_the_end = chunk.is_open_ended() && chunk.attempt > 0;
        if chunk.lease_until.is_some() {
            counts.owner.clone_from(&chunk.owner);
        }
    }
    if json {
        let all: Vec<_> = tables
            .iter()
            .map(|(name, counts)| {
                let [pending, in_progress, completed, failed] = counts.chunks;
                json!({
                    "table": name, "rows": counts.rows, "state": counts.state(),
                    "pending": pending, "in_progress": in_progress, "completed": completed,
                    "failed": failed, "owner": counts.owner,
                })
            })
            .collect();
        say_json(json!(all));
        return;
    }
    if tables.is_empty() {
        return say("nothing has been copied there");
    }
    let header = ["TABLE", "STATE", "ROWS", "DONE", "OPEN", "FAILED", "RUNNER"].map(str::to_owned);
    let rows = tables.iter().map(|(name, counts)| {
        let [pending, in_progress, completed, failed] = counts.chunks.map(|count| count as u64);
        [
            foreign(name).into_owned(),
            counts.state().to_owned(),
            counts.rows.to_string(),
            completed.to_string(),
            (pending + in_progress).to_string(),
            failed.to_string(),
            counts.owner.clone().unwrap_or_default(),
        ]
    });
    say(table(&std::iter::once(header).chain(rows).collect::<Vec<_>>()));
}

fn place(status: Status) -> usize {
    match status {
        Status::Pending => 0,
        Status::InProgress => 1,
        Status::Completed => 2,
        Status::Failed => 3,
    }
}

impl Counts {
    fn state(&self) -> &'static str {
        let [pending, in_progress, _, failed] = self.chunks;
        match (failed, pending + in_progress, self.cut_to_the_end) {
            (0, 0, true) => "complete",
            (0, _, _) => "unfinished",
            _ => "failed",
        }
    }
}
