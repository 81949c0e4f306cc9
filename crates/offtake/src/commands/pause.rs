//! `offtake pause` and `offtake resume`: acts within a second, whichever daemon works, and survives
//! its restart.

use std::path::Path;

use offtake_admin::operations;

use super::named::{because, destinations, until};
use super::status::unreadable;
use super::{connect_source, load_configuration, say};
use crate::command_line::{Pause, Resume};
use crate::outcome::{Exit, Failure};

pub(super) async fn pause(file: &Path, arguments: &Pause) -> Result<Exit, Failure> {
    let configuration = load_configuration(file)?;
    let source = connect_source(&configuration, "pause").await?;
    let named =
        destinations(&source, &arguments.of.tenant, arguments.of.destination.as_deref()).await?;
    let ids: Vec<i64> = named.iter().map(|d| d.destination_id).collect();
    let paused = operations::pause(&source, &ids, &arguments.reason, arguments.for_)
        .await
        .map_err(|error| unreadable(&error))?;
    let until = until(paused, &format!("until `offtake resume --tenant {}`", arguments.of.tenant));
    named
        .iter()
        .for_each(|d| say(format!("paused {}/{} {until}: {}", d.tenant, d.name, arguments.reason)));
    Ok(Exit::Done)
}

pub(super) async fn resume(file: &Path, arguments: &Resume) -> Result<Exit, Failure> {
    let configuration = load_configuration(file)?;
    let source = connect_source(&configuration, "resume").await?;
    let named =
        destinations(&source, &arguments.of.tenant, arguments.of.destination.as_deref()).await?;
    let ids: Vec<i64> = named.iter().map(|d| d.destination_id).collect();
    let resumed = operations::resume(&source, &ids).await.map_err(|error| unreadable(&error))?;
    let why = because(arguments.reason.as_deref());
    say(format!(
        "{resumed} of {} destination(s) of {} were paused and go on{why}",
        named.len(),
        arguments.of.tenant
    ));
    Ok(Exit::Done)
}
