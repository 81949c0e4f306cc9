//! Daemons with different mapping files beside each other, as while a new version is rolled out.
//!
//! A captured change is numbered once, and expanded for the mappings that its numberer knows: what
//! wakes another daemon's mappings is lost for them. So whoever numbers says so in the same
//! transaction, with the mappings that it goes by; and who finds that another one numbered without
//! a mapping of its own notes that mapping as overlooked. When nobody overlooked it for a while,
//! its copies are made anew, in place. Before that it would be in vain.
//!
//! One daemon that reads edited files is not two: it claims the new set before anything is copied
//! for it ([`Numbering::claim`]), and a tick that was under way then does not count.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use offtake_mapping::MappingSet;
use offtake_postgres::{PipelinedTransaction, PooledConnection};
use tokio_postgres::Row;

use crate::tick::locked;
use crate::{Error, sql};

/// Longer than a daemon that ends, or one that reads its edited files, goes on by the old ones; and
/// than two of the looks by which daemons with different files rewrite each other's capture
/// functions (30 s).
const OVER_AFTER: Duration = Duration::from_secs(70);

/// Between two tries for the sequencer's lock; a tick takes some tens of milliseconds at most.
const CLAIM_PAUSE: Duration = Duration::from_millis(20);

/// The sequencer's lock is given back by the server after ten seconds at the latest, by whomever it
/// is held.
const CLAIM_TRIES: u32 = 1000;

/// What one process says of itself when it numbers.
#[derive(Debug)]
pub struct Numbering {
    /// Names the process, this time that it runs.
    daemon: String,
    /// The needs of the set that it claimed last.
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
    /// Says that this process numbers for `set` from now on. To be done before the set is put to
    /// use: whoever numbers without one of its mappings from here on is noticed. Waits for ticks
    /// under way.
    pub async fn claim(
        &self,
        connection: &mut PooledConnection,
        set: &MappingSet,
    ) -> Result<(), Error> {
        let before = std::mem::replace(&mut *self.claimed(), set.needs().to_vec());
        let outcome = self.claim_now(connection, set).await;
        if outcome.is_err() {
            // The set before stays in use, and ticks say so again.
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
            let Some(transaction) = locked(connection).await? else {
                tokio::time::sleep(CLAIM_PAUSE).await;
                continue;
            };
            self.take(&transaction, set).await?;
            transaction.commit().await?;
            return Ok(());
        }
        Err(Error::Locked)
    }

    /// What the table says now; to be read under the sequencer's lock.
    pub(crate) async fn read(
        transaction: &PipelinedTransaction<'_>,
        set: &MappingSet,
    ) -> Result<Option<Row>, tokio_postgres::Error> {
        let read = transaction.prepare_cached(sql::READ_NUMBERING).await?;
        transaction.query_opt(&read, &[&set.needs()]).await
    }

    /// In a transaction that numbers for `set`, or could have; `found` is what [`Self::read`] found
    /// in it.
    pub(crate) async fn note(
        &self,
        transaction: &PipelinedTransaction<'_>,
        set: &MappingSet,
        found: Option<Row>,
    ) -> Result<(), Error> {
        let same = found.as_ref().is_some_and(|row| row.get::<_, bool>("same"));
        // The set claimed is about to be put to use; this is the last that is done by the one
        // before.
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
                 it is copied anew, in place, once that daemon is gone for {} s",
                OVER_AFTER.as_secs()
            );
        }
        Ok(())
    }

    /// Looks who numbered last, and has copied anew what was overlooked and is no more. For upkeep.
    pub(crate) async fn settle(
        &self,
        connection: &mut PooledConnection,
        set: &MappingSet,
    ) -> Result<(), Error> {
        let Some(transaction) = locked(connection).await? else { return Ok(()) };
        let found = Self::read(&transaction, set).await?;
        self.note(&transaction, set, found).await?;
        let names: Vec<&str> = set.mappings().iter().map(|mapping| mapping.name()).collect();
        let over_after = i64::try_from(OVER_AFTER.as_millis()).unwrap_or(i64::MAX);
        let settled = transaction.query(sql::COPY_OVERLOOKED_ANEW, &[&names, &over_after]).await?;
        transaction.commit().await?;
        for mapping in settled.iter().map(|row| row.get::<_, &str>("mapping")) {
            tracing::warn!(
                event = "overlooked_mapping_copied",
                mapping,
                "changes of mapping {mapping} may have been missed beside a daemon with other mapping files; it is copied anew, in place"
            );
        }
        Ok(())
    }

    fn claimed(&self) -> MutexGuard<'_, Vec<String>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
