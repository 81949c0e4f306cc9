//! Keeping workers away from a destination while it is restored.
//!
//! The destination is paused, and its last worker ends its turn. Right before the commit the
//! request is taken back. A worker that goes on after that has lost its request at the source, and
//! the cursors that it knows at the destination.

use std::time::Duration;

use offtake_admin::operations;
use offtake_jobs::PublicId;
use offtake_postgres::{PooledConnection, SourcePool, chain};
use offtake_sync::destinations::{RestoreError, RestoredTo, Trouble};
use tokio::time::Instant;

use super::super::super::registry_names::unreadable;
use crate::outcome::{Exit, Failure};
use crate::sql;

/// The pause of a command that was killed ends by itself.
const PAUSE: Duration = Duration::from_secs(3600);

/// Between two looks whether a worker has let go.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The reason of such a pause, before the id of the snapshot.
const REASON: &str = "restore ";

/// A destination that no worker claims.
pub(super) struct Hold<'a> {
    source: &'a SourcePool,
    destination_id: i64,
    reason: String,
    before: Before,
}

/// How the destination was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Not paused; or a restore that died has paused it.
    Free,
    /// An operator has paused it, until this ends by itself.
    PausedForATime,
    /// Only an operator lets it go on.
    Paused,
}

struct Look {
    paused: bool,
    ends: bool,
    reason: String,
    leased: bool,
}

impl<'a> Hold<'a> {
    /// Pauses the destination, for a time: a command that dies must not leave it paused for ever.
    pub(super) async fn begin(
        source: &'a SourcePool,
        destination_id: i64,
        id: &PublicId,
    ) -> Result<Self, Failure> {
        let mut hold =
            Self { source, destination_id, reason: format!("{REASON}{id}"), before: Before::Free };
        hold.before = match hold.look().await? {
            Look { paused: false, .. } => Before::Free,
            Look { ends: true, reason, .. } if reason.starts_with(REASON) => Before::Free,
            Look { ends: true, .. } => Before::PausedForATime,
            Look { .. } => Before::Paused,
        };
        if hold.before == Before::Free {
            hold.pause(Some(PAUSE)).await?;
        }
        Ok(hold)
    }

    /// Waits until no worker has the destination. `lease`: a worker that died has it for so long.
    pub(super) async fn wait(&self, lease: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + 2 * lease;
        while self.look().await?.leased {
            if Instant::now() >= deadline {
                return Err(Failure::new(
                    Exit::Failed,
                    "a worker does not let go of the destination",
                )
                .because("its lease is extended although the destination is paused")
                .remedy("see `offtake status` for the daemons that run, and run this again"));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Lets the destination follow the source again; with `keep` it stays paused until an operator
    /// resumes it.
    pub(super) async fn end(&self, keep: bool) -> Result<(), Failure> {
        match (keep, self.before) {
            (true, Before::Free | Before::PausedForATime) => self.pause(None).await,
            (false, Before::Free) => {
                let source = self.source().await?;
                let ended =
                    source.execute(sql::END_HOLD, &[&self.destination_id, &self.reason]).await;
                ended.map_err(|error| {
                    Failure::of_source("cannot resume the destination", &error.into())
                })?;
                Ok(())
            }
            (true, Before::Paused) | (false, _) => Ok(()),
        }
    }

    /// Whether it is paused after the restore, because it was before.
    pub(super) fn was_paused(&self) -> bool {
        self.before != Before::Free
    }

    async fn pause(&self, lasts: Option<Duration>) -> Result<(), Failure> {
        let source = self.source().await?;
        let paused = operations::pause(&source, &[self.destination_id], &self.reason, lasts).await;
        paused.map_err(|error| unreadable(&error))?;
        Ok(())
    }

    async fn look(&self) -> Result<Look, Failure> {
        let row = self.source().await?.query_one(sql::READ_HOLD, &[&self.destination_id]).await;
        let row = row.map_err(|error| {
            Failure::of_source("cannot look who works on the destination", &error.into())
        })?;
        Ok(Look {
            paused: row.get("paused"),
            ends: row.get("ends"),
            reason: row.get("reason"),
            leased: row.get("leased"),
        })
    }

    /// The session of before may have been closed while the rows were staged.
    async fn source(&self) -> Result<PooledConnection, Failure> {
        let connection = self.source.get().await;
        connection.map_err(|error| Failure::of_source("cannot pause the destination", &error))
    }

    /// Tells the source before the restore commits. Where it does not commit, this does no harm. In
    /// this order: a worker that goes on late must not raise again what was lowered.
    pub(super) async fn tell_source(&self, to: &RestoredTo) -> Result<(), RestoreError> {
        let source = self.source.get().await.map_err(Trouble::from)?;
        let id = self.destination_id;
        let taken = operations::take_back(&source, id).await;
        taken.map_err(|error| RestoreError::Unfit(chain(&error)))?;
        let mappings: Vec<&str> = to.versions.iter().map(|(mapping, _)| mapping.as_str()).collect();
        source
            .execute(sql::LOWER_MIRROR, &[&id, &mappings, &to.sequence_id])
            .await
            .map_err(Trouble::from)?;
        Ok(())
    }
}
