//! `offtake run --once`: when there is nothing more to wait for.

use std::time::Duration;

use offtake_admin::{Destination, State, Status};
use tokio::time::Instant;

use offtake_mapping::{foreign, foreign_within};

use crate::commands::printing::say;
use crate::commands::registry_names::unreadable;
use crate::daemon::Daemon;
use crate::outcome::{Exit, Failure};

/// Between two looks. A status of a thousand destinations costs the source some 50 ms.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A loop that is down for this many looks, ten seconds, has failed four times in a row, and will
/// not recover.
const LOOKS_WITHOUT_LOOP_MAX: u32 = 50;

/// Longer than any single batch or chunk may take with the default timeouts.
const STANDSTILL_MAX: Duration = Duration::from_secs(120);

/// A destination that fails gets this many attempts; with the default backoff, that takes about
/// four seconds.
const ATTEMPTS_MAX: i32 = 3;

/// A new destination is registered a moment after the daemon is ready, so one look at which nothing
/// is owed proves nothing.
const SETTLED_LOOKS_MIN: u32 = 2;

/// The longest reason that is printed for a destination.
const REASON_CHARACTERS_MAX: usize = 4000;

/// Waits until every destination has everything, or has failed often enough.
pub(super) async fn until_nothing_is_owed(daemon: &Daemon) -> Result<Exit, Failure> {
    if !daemon.ready().await {
        // The daemon ended; `Daemon::wait` returns why.
        return std::future::pending().await;
    }
    let (mut settled_looks, mut looks_without_loop) = (0, 0);
    let mut moved = (String::new(), Instant::now());
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        looks_without_loop = check_loops(daemon, looks_without_loop)?;
        let status = read_status(daemon).await?;
        let position = position(&status);
        if position != moved.0 {
            moved = (position, Instant::now());
        } else if moved.1.elapsed() > STANDSTILL_MAX {
            let what = format!("nothing moved for {} s", STANDSTILL_MAX.as_secs());
            return Err(Failure::new(Exit::Failed, what)
                .remedy("see the warnings above, and `offtake status`"));
        }
        let captured = status.sequencer.pending_changes.0 > 0;
        let unsettled = status.destinations.iter().any(|d| !settled(d));
        settled_looks = if captured || unsettled { 0 } else { settled_looks + 1 };
        if settled_looks >= SETTLED_LOOKS_MIN {
            return Ok(conclude(&status));
        }
    }
}

/// The number of looks for which a loop has been down now.
fn check_loops(daemon: &Daemon, looks_without_loop: u32) -> Result<u32, Failure> {
    let Some(down) = daemon.readiness.loops().into_iter().find(|l| !l.ready) else { return Ok(0) };
    if looks_without_loop >= LOOKS_WITHOUT_LOOP_MAX {
        let failure = Failure::new(Exit::Failed, format!("the loop {} does not run", down.name));
        return Err(failure.because(down.reason.unwrap_or_default()));
    }
    Ok(looks_without_loop + 1)
}

async fn read_status(daemon: &Daemon) -> Result<Status, Failure> {
    let source = daemon.pool.get().await;
    let source = source.map_err(|error| Failure::of_source("the source went away", &error))?;
    offtake_admin::collect(&source, None).await.map_err(|error| unreadable(&error))
}

fn conclude(status: &Status) -> Exit {
    let failed: Vec<_> = status.destinations.iter().filter(|d| failed(d)).collect();
    for Destination { tenant, name, state, reason, .. } in &failed {
        let reason = reason.as_deref().unwrap_or("no reason known");
        let (tenant, name, reason) =
            (foreign(tenant), foreign(name), foreign_within(reason, REASON_CHARACTERS_MAX));
        eprintln!("{tenant}/{name}: {state}: {reason}");
    }
    let all = status.destinations.len();
    say(format!("{} of {all} destination(s) have everything", all - failed.len()));
    if failed.is_empty() { Exit::Done } else { Exit::SomeDestinationsFailed }
}

/// Changes whenever any loop has achieved something.
fn position(status: &Status) -> String {
    let mappings = status.destinations.iter().flat_map(|d| &d.mappings);
    let reached: Vec<_> = mappings.map(|m| (m.sequence_id, m.backfill.rows_done)).collect();
    format!("{:?} {reached:?}", status.sequencer.pending_changes)
}

/// Whether nothing more is to be expected of the destination in this run.
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
