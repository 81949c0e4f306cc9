//! `offtake pause` and `offtake resume`: stop and continue the writes to a tenant's destinations.
//! Every daemon obeys within a second, also after a restart.

use offtake_admin::operations;

use offtake_mapping::{foreign, shell_word};

use super::phrases::{because, until};
use super::printing::say;
use super::registry_names::{destinations, unreadable};
use crate::command_line::{Pause, Resume};
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn pause(context: &Context, arguments: &Pause) -> Result<Exit, Failure> {
    let source = context.connect_source("pause").await?;
    let (tenant, name) = (&arguments.of.tenant, arguments.of.destination.as_deref());
    let named = destinations(context, &source, tenant, name).await?;
    let ids: Vec<i64> = named.iter().map(|d| d.destination_id).collect();
    let paused = operations::pause(&source, &ids, &arguments.reason, arguments.for_)
        .await
        .map_err(|error| unreadable(&error))?;
    let until = until(
        paused,
        &format!("until `offtake resume --tenant {}`", shell_word(&arguments.of.tenant)),
    );
    named.iter().for_each(|d| {
        let (tenant, name) = (foreign(&d.tenant), foreign(&d.name));
        say(format!("paused {tenant}/{name} {until}: {}", arguments.reason));
    });
    Ok(Exit::Done)
}

pub(super) async fn resume(context: &Context, arguments: &Resume) -> Result<Exit, Failure> {
    let source = context.connect_source("resume").await?;
    let (tenant, name) = (&arguments.of.tenant, arguments.of.destination.as_deref());
    let named = destinations(context, &source, tenant, name).await?;
    let ids: Vec<i64> = named.iter().map(|d| d.destination_id).collect();
    let resumed = operations::resume(&source, &ids).await.map_err(|error| unreadable(&error))?;
    let why = because(arguments.reason.as_deref());
    say(format!(
        "{resumed} of {} destination(s) of {} were paused and go on{why}",
        named.len(),
        foreign(&arguments.of.tenant)
    ));
    Ok(Exit::Done)
}
