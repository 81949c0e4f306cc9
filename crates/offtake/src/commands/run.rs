//! `offtake run`: the daemon until a signal, or, with `--once`, until nothing is owed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use offtake_admin::{Destination, State, Status};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{load_configuration, say};
use crate::command_line::Run;
use crate::outcome::{Exit, Failure};
use crate::run::{Daemon, Options};

/// Between two looks of `--once`: a status of a thousand destinations costs the source some 50 ms.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A loop that is down for that many looks, ten seconds, has failed four times in a row: nothing
/// will come of it.
const LOOKS_WITHOUT_LOOP_MAX: u32 = 50;

/// Longer than any single batch or chunk may take with the default timeouts.
const STANDSTILL_MAX: Duration = Duration::from_secs(120);

/// `--once` gives a destination that fails so many attempts; with the default backoff that is about
/// four seconds.
const ATTEMPTS_MAX: i32 = 3;

pub(super) async fn execute(file: &Path, arguments: &Run) -> Result<Exit, Failure> {
    let configuration = load_configuration(file)?;
    let mut signals = Signals::listen()?;
    let reload = Arc::new(Notify::new());
    signals.reload_on_hangup(reload.clone())?;
    let again: PathBuf = file.to_owned();
    let options = Options {
        read_configuration: Some(Box::new(move || load_configuration(&again))),
        impatient: arguments.once,
        reload,
    };
    let daemon = Daemon::start(configuration, options).await?;
    let exit = tokio::select! {
        () = signals.first() => Ok(if arguments.once { Exit::Interrupted } else { Exit::Done }),
        () = daemon.ended() => Ok(Exit::Done),
        outcome = until_nothing_is_owed(&daemon), if arguments.once => outcome,
    };
    daemon.stop();
    tokio::select! {
        outcome = daemon.wait() => outcome.and(exit),
        // Whoever asks twice means now: databases roll back what was in flight.
        () = signals.first() => Ok(Exit::Interrupted),
    }
}

/// SIGTERM and SIGINT mean the same.
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

    async fn first(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    fn reload_on_hangup(&self, reload: Arc<Notify>) -> Result<(), Failure> {
        let mut hangup = hear(SignalKind::hangup())?;
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                reload.notify_one();
            }
        });
        Ok(())
    }
}

fn hear(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| {
        Failure::new(Exit::Failed, "cannot listen for signals").because(error.to_string())
    })
}

/// Looks until every destination has everything, or has failed often enough.
async fn until_nothing_is_owed(daemon: &Daemon) -> Result<Exit, Failure> {
    if !daemon.ready().await {
        // Its own failure is what `wait` returns.
        return std::future::pending().await;
    }
    let (mut settled_looks, mut looks_without_loop) = (0, 0);
    let mut moved = (String::new(), Instant::now());
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if let Some(down) = daemon.readiness.loops().into_iter().find(|l| !l.ready) {
            looks_without_loop += 1;
            if looks_without_loop > LOOKS_WITHOUT_LOOP_MAX {
                let failure =
                    Failure::new(Exit::Failed, format!("the loop {} does not run", down.name));
                return Err(failure.because(down.reason.unwrap_or_default()));
            }
        } else {
            looks_without_loop = 0;
        }
        let source = daemon
            .pool
            .get()
            .await
            .map_err(|error| Failure::of_source("the source went away", &error))?;
        let status = offtake_admin::collect(&source, None)
            .await
            .map_err(|error| super::status::unreadable(&error))?;
        let now_at = position(&status);
        if now_at != moved.0 {
            moved = (now_at, Instant::now());
        } else if moved.1.elapsed() > STANDSTILL_MAX {
            let failure = Failure::new(
                Exit::Failed,
                format!("nothing moved for {} s", STANDSTILL_MAX.as_secs()),
            );
            return Err(failure.remedy("see the warnings above, and `offtake status`"));
        }
        let captured = status.sequencer.pending_changes.0 > 0;
        let unsettled = status.destinations.iter().any(|d| !settled(d));
        // Twice, because a new destination is registered a moment after the daemon is ready.
        settled_looks = if captured || unsettled { 0 } else { settled_looks + 1 };
        if settled_looks < 2 {
            continue;
        }
        let failed: Vec<_> = status.destinations.iter().filter(|d| failed(d)).collect();
        for destination in &failed {
            let (tenant, name, state) = (&destination.tenant, &destination.name, destination.state);
            eprintln!(
                "{tenant}/{name}: {state}: {}",
                destination.reason.as_deref().unwrap_or("no reason known")
            );
        }
        say(format!(
            "{} of {} destination(s) have everything",
            status.destinations.len() - failed.len(),
            status.destinations.len()
        ));
        return Ok(if failed.is_empty() { Exit::Done } else { Exit::SomeDestinationsFailed });
    }
}

/// Changes with everything that the loops achieve.
fn position(status: &Status) -> String {
    let mappings = status.destinations.iter().flat_map(|d| &d.mappings);
    let reached: Vec<_> = mappings.map(|m| (m.sequence_id, m.backfill.rows_done)).collect();
    format!("{:?} {reached:?}", status.sequencer.pending_changes)
}

/// Nothing more is to be expected of it in this run.
fn settled(destination: &Destination) -> bool {
    match destination.state {
        State::InSync | State::Paused | State::Degraded => true,
        State::Blocked => {
            destination.consecutive_failures >= ATTEMPTS_MAX
                || destination.consecutive_failures == 0
        }
        State::Backfilling | State::Lagging => destination.consecutive_failures >= ATTEMPTS_MAX,
    }
}

fn failed(destination: &Destination) -> bool {
    !matches!(destination.state, State::InSync | State::Paused)
}
