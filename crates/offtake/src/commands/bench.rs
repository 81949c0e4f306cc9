//! `offtake bench capture`: what capture costs on one of the user's tables, in microseconds.
//!
//! It measures on two copies of the table's definition, in a schema of its own. However it ends, it
//! drops that schema, or says that it could not. The table itself is only read, and Offtake's own
//! schema is not even needed: the question comes before `offtake init`.

mod measure;
mod output;
mod plan;

use std::time::Duration;

use offtake_mapping::Identifier;
use offtake_postgres::{Connection, Error};

use self::measure::measure;
use self::plan::Plan;
use super::signals::Signals;
use crate::command_line;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// Dropping a schema of a few tables takes milliseconds; a statement that was asked to stop may
/// take longer to end.
const DROP_WITHIN: Duration = Duration::from_secs(30);

/// A session that reads the copies, such as a backup, may hold a lock on them for hours.
const DROP_LOCK: &str = "set lock_timeout = '5s'";

pub(super) async fn capture(
    context: Context,
    arguments: &command_line::BenchCapture,
) -> Result<Exit, Failure> {
    let context = context.with_mapping_folder(arguments.mappings.clone());
    let mut signals = Signals::listen()?;
    let prepared = async {
        let source = context.connect_source("bench capture").await?;
        let plan = Plan::make(&context, &source, arguments).await?;
        Ok::<_, Failure>((source, plan))
    };
    let (source, plan) = tokio::select! {
        prepared = Box::pin(prepared) => prepared?,
        () = signals.received() => return Ok(Exit::Interrupted),
    };
    eprintln!("{}", plan.announcement());
    let outcome = tokio::select! {
        measured = Box::pin(measure(&source, &plan)) => Some(measured),
        () = signals.received() => {
            source.cancel().await;
            None
        }
    };
    let dropped = tokio::select! {
        dropped = drop_schema(&context, &source, &plan.schema) => dropped,
        () = signals.received() => Err("a second signal came first".to_owned()),
    };
    let remains = dropped.err().map(|why| remaining(&plan.schema, &why));
    match (outcome, remains) {
        (Some(Ok(measured)), remains) => {
            output::print(&plan, &measured, arguments.json, remains.is_none());
            remains.map_or(Ok(Exit::Done), Err)
        }
        (Some(Err(failure)), Some(remains)) => Err(Failure::all([remains, failure])),
        (Some(Err(failure)), None) => Err(failure),
        (None, Some(mut remains)) => {
            remains.exit = Exit::Interrupted;
            Err(remains)
        }
        (None, None) => {
            eprintln!("interrupted; the schema {} is dropped", plan.schema);
            Ok(Exit::Interrupted)
        }
    }
}

/// Drops the schema on the same session, where it needs to wait for no lock of its own; or, where
/// that session is lost, on another one. The error is why neither could.
async fn drop_schema(
    context: &Context,
    source: &Connection,
    schema: &Identifier,
) -> Result<(), String> {
    if drop_on(source, schema).await.is_ok() {
        return Ok(());
    }
    let again = context.connect_source("bench capture").await;
    drop_on(&again.map_err(|failure| failure.to_string())?, schema).await
}

async fn drop_on(source: &Connection, schema: &Identifier) -> Result<(), String> {
    let drop = format!("drop schema if exists {} cascade", schema.sql());
    let both = async {
        // The session may still be in the transaction that made the schema.
        source.batch_execute("rollback").await?;
        source.batch_execute(DROP_LOCK).await?;
        source.batch_execute(&drop).await
    };
    match tokio::time::timeout(DROP_WITHIN, both).await {
        Ok(dropped) => dropped.map_err(|error| Error::from(error).message()),
        Err(_) => Err(format!("the server did not drop it within {} s", DROP_WITHIN.as_secs())),
    }
}

fn remaining(schema: &Identifier, why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("the schema {schema} of this run may still be there"))
        .because(why)
        .remedy(format!("run at the source: drop schema if exists {schema} cascade;"))
}
