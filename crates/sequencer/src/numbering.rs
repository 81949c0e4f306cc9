//! Daemons with different mapping files at the same time, as during the roll-out of a new version.
//!
//! A captured change is numbered once, by one daemon, which expands it for the mappings that it
//! knows. A mapping that only another daemon knows misses the change. So the daemon that numbers
//! records, in the same transaction, its name and its mappings. When a daemon finds that another
//! one numbered without one of its own mappings, it records this mapping as overlooked. Once no
//! daemon has overlooked it for a while, its copies are re-copied, in place. An earlier copy would
//! be useless, because it could miss changes again.
//!
//! A single daemon that reads edited files must not count as two daemons. It claims the new set
//! before anything is copied for it ([`Numbering::claim`]); a tick that still runs with the old set
//! at that moment is ignored.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use offtake_mapping::MappingSet;
use offtake_postgres::{PipelinedTransaction, PooledConnection};
use tokio_postgres::Row;

use crate::tick::{Durability, locked};
use crate::{Error, sql};

/// How long no daemon must have overlooked a mapping before its copies are re-copied. It is longer
/// than a daemon that stops, or that reads its edited files, still works with the old ones. It is
/// also longer than two of the looks (every 30 s) in which daemons with different files rewrite
/// each other's capture functions.
const OVER_AFTER: Duration = Duration::from_secs(70);

/// The pause between two tries for the sequencer's lock; a tick takes at most some tens of
/// milliseconds.
const CLAIM_PAUSE: Duration = Duration::from_millis(20);

/// With [`CLAIM_PAUSE`] between them, tries last 20 s. The server releases the sequencer's lock
/// after at most ten seconds, even if its holder has stopped.
const CLAIM_TRIES: u32 = 1000;

/// What one process records about itself when it numbers.
#[derive(Debug)]
pub struct Numbering {
    /// Identifies this run of the process.
    daemon: String,
    /// The needs of the set that the process claimed last.
    claimed: Mutex<Vec<String>>,
}

impl Default for Numbering {
    fn default() -> Self {
        Self {
            daemon: format!("{}-{:016x}", std::process::id(), RandomState::new().hash_one(0)),
            claimed: Mutex::default(),
        }
    }
}

impl Numbering {
    /// Records that this process numbers for `set` from now on. Must be done before the set is
    /// used: from then on, it is noticed when another daemon numbers without one of the set's
    /// mappings. Waits for a running tick to end.
    pub async fn claim(
        &self,
        connection: &mut PooledConnection,
        set: &MappingSet,
    ) -> Result<(), Error> {
        let before = std::mem::replace(&mut *self.claimed(), set.needs().to_vec());
        let outcome = self.claim_now(connection, set).await;
        if outcome.is_err() {
            // The old set stays in use, and the next ticks record it again.
            *self.claimed() = before;
        }
        outcome
    }

    async fn claim_now(
        &self,
        connection: &mut PooledConnection,
        set: &MappingSet,
    ) -> Result<(), Error> {
        for _ in 0..CLAIM_TRIES {
            let Some(transaction) = locked(connection, Durability::AtCommit).await? else {
                tokio::time::sleep(CLAIM_PAUSE).await;
                continue;
            };
            self.take(&transaction, set).await?;
            transaction.commit().await?;
            return Ok(());
        }
        Err(Error::Locked)
    }

    /// Reads which daemon numbered last. Must be called under the sequencer's lock.
    pub(crate) async fn read(
        transaction: &PipelinedTransaction<'_>,
        set: &MappingSet,
    ) -> Result<Option<Row>, tokio_postgres::Error> {
        let read = transaction.prepare_cached(sql::READ_NUMBERING).await?;
        transaction.query_opt(&read, &[&set.needs()]).await
    }

    /// Records that this process numbers for `set`, unless that is already recorded. Called in a
    /// transaction that holds the sequencer's lock; `found` is what [`Self::read`] found in it.
    pub(crate) async fn note(
        &self,
        transaction: &PipelinedTransaction<'_>,
        set: &MappingSet,
        found: Option<Row>,
    ) -> Result<(), Error> {
        let same = found.as_ref().is_some_and(|row| row.get::<_, bool>("same"));
        // Another set is claimed and will be used soon. This tick still belongs to the old set, and
        // must not take the claim back.
        let last_of_old = found.is_some_and(|row| row.get::<_, &str>("daemon") == self.daemon)
            && *self.claimed() != set.needs();
        if same || last_of_old {
            return Ok(());
        }
        self.take(transaction, set).await
    }

    async fn take(
        &self,
        transaction: &PipelinedTransaction<'_>,
        set: &MappingSet,
    ) -> Result<(), Error> {
        let names: Vec<&str> = set.mappings().iter().map(|mapping| mapping.name()).collect();
        let overlooked =
            transaction.query(sql::TAKE_NUMBERING, &[&self.daemon, &set.needs(), &names]).await?;
        for mapping in overlooked.iter().map(|row| row.get::<_, &str>("mapping")) {
            tracing::warn!(
                event = "mapping_overlooked",
                mapping,
                "a daemon that does not know mapping {mapping}, or knows another version of it, numbered changes; \
                 it is re-copied, in place, once that daemon has been gone for {} s",
                OVER_AFTER.as_secs()
            );
        }
        Ok(())
    }

    /// Records overlooked mappings, and requests a re-copy of those that no daemon has overlooked
    /// for [`OVER_AFTER`]. Part of the upkeep.
    pub(crate) async fn settle(
        &self,
        connection: &mut PooledConnection,
        set: &MappingSet,
    ) -> Result<(), Error> {
        let Some(transaction) = locked(connection, Durability::AtCommit).await? else {
            return Ok(());
        };
        let found = Self::read(&transaction, set).await?;
        self.note(&transaction, set, found).await?;
        let names: Vec<&str> = set.mappings().iter().map(|mapping| mapping.name()).collect();
        let over_after = i64::try_from(OVER_AFTER.as_millis()).unwrap_or(i64::MAX);
        let settled = transaction.query(sql::RECOPY_OVERLOOKED, &[&names, &over_after]).await?;
        transaction.commit().await?;
        for mapping in settled.iter().map(|row| row.get::<_, &str>("mapping")) {
            tracing::warn!(
                event = "overlooked_mapping_copied",
                mapping,
                "changes of mapping {mapping} may have been missed while a daemon with other mapping files ran; it is re-copied, in place"
            );
        }
        Ok(())
    }

    fn claimed(&self) -> MutexGuard<'_, Vec<String>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
