//! An export that a daemon is asked for.

use std::time::Duration;

use offtake_admin::operations::daemon_sessions;
use offtake_jobs::{Job, Kind, PublicId, State, job};
use offtake_postgres::Connection;
use serde_json::json;

use super::item;
use crate::command_line::{ExportCreate, OfExport};
use crate::commands::printing::{say, say_json};
use crate::commands::registry_names::{unreadable, unreadable_jobs};
use crate::outcome::{Exit, Failure};

/// Between two looks while a daemon works.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Says that the export is recorded and, where that was asked for, waits for its end. An interrupted
/// wait ends the command only.
pub(super) async fn wait(
    source: &Connection,
    id: &PublicId,
    arguments: &ExportCreate,
) -> Result<Exit, Failure> {
    if daemon_sessions(source).await.map_err(|error| unreadable(&error))? == 0 {
        eprintln!("offtake: warning: no daemon runs; the export waits for one (`offtake run`)");
    }
    if arguments.wait {
        return crate::commands::interruptible(until_ended(source, id, arguments.json)).await;
    }
    match arguments.json {
        true => say_json(json!({ "id": id.as_str(), "state": State::Accepted.as_str() })),
        false => say(format!("{id} is accepted; `offtake export status {id}` shows how far it is")),
    }
    Ok(Exit::Done)
}

/// `offtake export resume` of an export that a daemon works on.
pub(super) fn resumed(id: &PublicId, of: &OfExport) -> Exit {
    match of.json {
        true => say_json(json!({ "id": id.as_str(), "state": State::Accepted.as_str() })),
        false => say(format!("{id} is accepted again; a daemon goes on with it")),
    }
    Exit::Done
}

async fn until_ended(source: &Connection, id: &PublicId, json: bool) -> Result<Exit, Failure> {
    loop {
        let job = job::read(source, Kind::Export, id).await.map_err(unreadable_jobs)?;
        let Some(job) = job else {
            return Err(Failure::new(Exit::Failed, format!("the export {id} was deleted")));
        };
        if !job.state.goes_on() {
            return ended(&job, json);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn ended(job: &Job, json: bool) -> Result<Exit, Failure> {
    match json {
        true => say_json(item::of(job)),
        false => say(item::text(job)),
    }
    if job.state == State::Completed {
        return Ok(Exit::Done);
    }
    let message = format!("the export {} is {}", job.public_id, job.state.as_str());
    let failure = Failure::new(Exit::Failed, message);
    Err(failure.because(job.reason.clone().unwrap_or_default()))
}
