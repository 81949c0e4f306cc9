//! What each command does; one module per command.
//!
//! Every command takes the [`Context`] that [`execute`] makes once. `demo` writes its own
//! configuration first, `config` can do without a file, and so can `copy` for tables, so these make
//! it themselves.

mod adopt;
mod bench;
mod check;
mod config;
mod confirm;
mod copy;
mod doctor;
mod export;
mod forget;
mod fuse;
mod health;
mod init;
mod package;
mod pause;
mod phrases;
mod preview;
mod printing;
mod quarantine;
mod registry_names;
mod resync;
mod run;
mod signals;
mod snapshot;
mod status;
mod status_token;
mod store_trouble;
mod sync;
mod tenant_names;
mod uninstall;
mod verify;
mod webhook;
mod why;

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::printing::delivered;
use crate::command_line::{Bench, Command, CommandLine};
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// Runs one command to its end.
pub async fn execute(command_line: CommandLine) -> Result<Exit, Failure> {
    let file = command_line.config.as_path();
    let context = || Context::load(file);
    let outcome = match command_line.command {
        // Demo, daemon and benchmark hear signals themselves, because they have something to finish
        // first.
        Command::Demo(arguments) => crate::demo::run(arguments).await,
        Command::Run(arguments) => run::execute(context()?, &arguments).await,
        Command::Bench(Bench::Capture(arguments)) => {
            Box::pin(bench::capture(context()?, &arguments)).await
        }
        Command::Copy(arguments) => Box::pin(copy::execute(file, &arguments)).await,
        Command::Export(arguments) => Box::pin(export::execute(context, &arguments)).await,
        Command::Config(arguments) => config::execute(file, &arguments),
        Command::Init(arguments) => interruptible(init::execute(&context()?, &arguments)).await,
        Command::Uninstall(arguments) => {
            interruptible(uninstall::execute(&context()?, &arguments)).await
        }
        Command::Check(arguments) => interruptible(check::execute(&context()?, &arguments)).await,
        Command::Preview(arguments) => {
            Box::pin(interruptible(preview::execute(context()?, &arguments))).await
        }
        Command::Health(arguments) => interruptible(health::execute(file, &arguments)).await,
        Command::Completions(arguments) => Ok(package::completions(&arguments)),
        Command::Manual(arguments) => package::manual(&arguments),
        Command::Alerts(arguments) => Ok(package::alerts(&arguments)),
        Command::Status(arguments) => interruptible(status::execute(&context()?, &arguments)).await,
        Command::StatusToken(arguments) => {
            interruptible(status_token::execute(&context()?, &arguments)).await
        }
        Command::Why(arguments) => {
            Box::pin(interruptible(why::execute(&context()?, &arguments))).await
        }
        Command::Doctor(arguments) => {
            Box::pin(interruptible(doctor::execute(&context()?, &arguments))).await
        }
        Command::Sync(arguments) => interruptible(sync::execute(&context()?, &arguments)).await,
        Command::Resync(arguments) => interruptible(resync::execute(&context()?, &arguments)).await,
        Command::Pause(arguments) => interruptible(pause::pause(&context()?, &arguments)).await,
        Command::Resume(arguments) => interruptible(pause::resume(&context()?, &arguments)).await,
        Command::Adopt(arguments) => interruptible(adopt::execute(&context()?, &arguments)).await,
        Command::Forget(arguments) => {
            Box::pin(interruptible(forget::execute(&context()?, &arguments))).await
        }
        Command::Fuse(arguments) => interruptible(fuse::execute(&context()?, &arguments)).await,
        Command::Quarantine(arguments) => {
            interruptible(quarantine::execute(&context()?, &arguments)).await
        }
        Command::Webhook(arguments) => {
            Box::pin(interruptible(webhook::execute(context, &arguments))).await
        }
        Command::Snapshot(verb) => Box::pin(snapshot::execute(context()?, verb)).await,
        Command::Verify(arguments) => interruptible(verify::execute(&context()?, &arguments)).await,
    };
    offtake_sync::destinations::all_closed().await;
    outcome.and_then(delivered)
}

/// The first signal lets the work in progress end; a second one ends the process.
fn stop_on_signals() -> CancellationToken {
    let stopping = CancellationToken::new();
    let stop = stopping.clone();
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(Exit::Interrupted as i32);
            }
            stop.cancel();
        }
    });
    stopping
}

/// Ends with [`Exit::Interrupted`] on SIGINT or SIGTERM. Open transactions are rolled back when
/// their connections end.
async fn interruptible(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return work.await;
    };
    tokio::select! {
        outcome = work => outcome,
        _ = interrupt.recv() => Ok(Exit::Interrupted),
        _ = terminate.recv() => Ok(Exit::Interrupted),
    }
}
