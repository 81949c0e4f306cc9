//! Keeping workers away from a destination while it is restored.

use std::time::Duration;

use offtake_admin::operations;
use offtake_jobs::PublicId;
use offtake_postgres::{Connection, chain};
use offtake_sync::destinations::{RestoreError, RestoredTo, Trouble};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::super::super::registry_names::unreadable;
use crate::outcome::{Exit, Failure};
use crate::sql;

/// The pause of a command that was killed ends by itself.
const PAUSE: Duration = Duration::from_secs(3600);

/// Between two looks whether a worker has let go.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A destination that no worker claims.
pub(super) struct Hold {
    destination_id: i64,
    /// An operator had paused it before, and only an operator lets it go on.
    was_paused: bool,
}

impl Hold {
    /// Pauses the destination and waits until no worker has it. `lease`: a worker that died has it
    /// for so long.
    pub(super) async fn take(
        source: &Connection,
        destination_id: &i64,
        (id, keep): (&PublicId, bool),
        lease: Duration,
    ) -> Result<Self, Failure> {
        let destination_id = *destination_id;
        let (was_paused, _) = look(source, destination_id).await?;
        let hold = Self { destination_id, was_paused };
        if !was_paused {
            let (reason, lasts) = (format!("restore {id}"), (!keep).then_some(PAUSE));
            operations::pause(source, &[destination_id], &reason, lasts)
                .await
                .map_err(|error| unreadable(&error))?;
        }
        let deadline = Instant::now() + 2 * lease;
        while look(source, destination_id).await?.1 {
            if Instant::now() >= deadline {
                hold.end(source, false).await?;
                return Err(Failure::new(
                    Exit::Failed,
                    "a worker does not let go of the destination",
                )
                .because("its lease is extended although the destination is paused")
                .remedy("see `offtake status` for the daemons that run, and run this again"));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(hold)
    }

    /// Lets the destination follow the source again, unless it is to stay as it is.
    pub(super) async fn end(&self, source: &Connection, keep: bool) -> Result<(), Failure> {
        if self.was_paused || keep {
            return Ok(());
        }
        let ids = [self.destination_id];
        operations::resume(source, &ids).await.map_err(|error| unreadable(&error))?;
        Ok(())
    }
}

/// Returns at SIGINT or SIGTERM.
pub(super) async fn signalled() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Whether it is paused, and whether a worker has it.
async fn look(source: &Connection, destination_id: i64) -> Result<(bool, bool), Failure> {
    let row = source.query_opt(sql::READ_HOLD, &[&destination_id]).await;
    let row = row.map_err(|error| {
        Failure::of_source("cannot look who works on the destination", &error.into())
    })?;
    Ok(row.map_or((false, false), |row| (row.get("paused"), row.get("leased"))))
}

/// What the source must know before a restore commits, and what does no harm where it does not: its
/// mirror of the cursors may be behind them, never ahead; and the next worker looks at the
/// destination anew, as after an adoption, instead of at the cursors that it remembers.
pub(super) async fn tell_source(
    source: &Connection,
    destination_id: &i64,
    to: &RestoredTo,
) -> Result<(), RestoreError> {
    let mappings: Vec<&str> = to.versions.iter().map(|(mapping, _)| mapping.as_str()).collect();
    source
        .execute(sql::LOWER_MIRROR, &[destination_id, &mappings, &to.sequence_id])
        .await
        .map_err(Trouble::from)?;
    let adopted = operations::adopt(source, &[*destination_id]).await;
    adopted.map_err(|error| RestoreError::Unfit(chain(&error)))
}
