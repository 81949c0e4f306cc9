//! `offtake snapshot`: a tenant's rows of one moment as one file, and back again.
//!
//! `offtake_jobs::snapshots` has what a snapshot is. This module reads the command line, asks the
//! operator, and tells what was done.

mod create;
mod download;
mod drill;
mod forget;
mod list;
mod restore;
mod source;
mod store;
mod told;
mod validate;

use super::interruptible;
use super::printing::say_json;
use crate::command_line::{Snapshot, SnapshotKind};
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(context: Context, verb: Snapshot) -> Result<Exit, Failure> {
    let ended = run(&context, &verb).await;
    // What failed is told to people on standard error, as ever, and to programs here.
    if let Err(failure) = &ended
        && verb.json()
    {
        say_json(failure.json());
    }
    ended
}

async fn run(context: &Context, verb: &Snapshot) -> Result<Exit, Failure> {
    match verb {
        Snapshot::Restore(arguments) if arguments.source.into.is_some() => {
            Box::pin(source::restore(context, arguments)).await
        }
        // Both hear signals themselves: they commit, and this one has a pause to end.
        Snapshot::Restore(arguments) => restore::execute(context, arguments).await,
        Snapshot::Create(arguments) if arguments.kind == SnapshotKind::Source => {
            Box::pin(interruptible(source::create(context, arguments))).await
        }
        Snapshot::Create(arguments) => interruptible(create::execute(context, arguments)).await,
        Snapshot::List(arguments) => interruptible(list::execute(context, arguments)).await,
        Snapshot::Validate(arguments) => interruptible(validate::execute(context, arguments)).await,
        Snapshot::Diff(arguments) => {
            Box::pin(interruptible(restore::diff(context, arguments))).await
        }
        Snapshot::Download(arguments) => interruptible(download::execute(context, arguments)).await,
        Snapshot::Delete(arguments) => interruptible(forget::delete(context, arguments)).await,
        Snapshot::Forget(arguments) => interruptible(forget::execute(context, arguments)).await,
    }
}
