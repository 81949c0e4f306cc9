//! `offtake run`: the daemon until a signal, or, with `--once`, until nothing is owed.

mod once;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use self::once::until_nothing_is_owed;
use crate::command_line::Run;
use crate::context::{Context, load_configuration};
use crate::daemon::{Daemon, Options};
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(context: Context, arguments: &Run) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let reload = Arc::new(Notify::new());
    reload_on_hangup(reload.clone())?;
    let file: PathBuf = context.configuration.file.clone();
    let options = Options {
        read_configuration: Some(Box::new(move || load_configuration(&file))),
        impatient: arguments.once,
        reload,
    };
    let daemon = Daemon::start(context, options).await?;
    let exit = tokio::select! {
        () = signals.first() => Ok(if arguments.once { Exit::Interrupted } else { Exit::Done }),
        () = daemon.ended() => Ok(Exit::Done),
        outcome = until_nothing_is_owed(&daemon), if arguments.once => outcome,
    };
    daemon.stop();
    tokio::select! {
        outcome = daemon.wait() => outcome.and(exit),
        // A second signal means: end now. The databases roll back what was in flight.
        () = signals.first() => Ok(Exit::Interrupted),
    }
}

/// SIGTERM and SIGINT, which mean the same.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: hear(SignalKind::interrupt())?,
            terminate: hear(SignalKind::terminate())?,
        })
    }

    /// Completes at the next of them.
    async fn first(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// SIGHUP has configuration and mappings read again.
fn reload_on_hangup(reload: Arc<Notify>) -> Result<(), Failure> {
    let mut hangup = hear(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reload.notify_one();
        }
    });
    Ok(())
}

fn hear(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| {
        Failure::new(Exit::Failed, "cannot listen for signals").because(error.to_string())
    })
}
