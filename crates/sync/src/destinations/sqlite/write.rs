//! A batch's write into a file: one transaction that compares, applies and moves the cursors.

use std::sync::Arc;
use std::time::Duration;

use offtake_loops::failpoint;
use offtake_mapping::ResolvedMapping;
use offtake_reading::Part;

use super::connection::{Handle, LOCK_WAIT, WriteTurn};
use super::take_up::identities;
use super::{Session, apply, rolled_back, state};
use crate::cursors::{Cursors, Identities};
use crate::destinations::{Applied, Aside, Faults, STATE_TABLE, TenantWrite, Written, left_out};
use crate::{Error, Settings};

/// One write, whose calls follow each other.
struct Writing<'a> {
    session: &'a Session,
    turn: WriteTurn,
    limit: Duration,
}

impl Session {
    pub(in crate::destinations) async fn write(
        &mut self,
        writes: &[TenantWrite<'_>],
        aside: &Aside<'_>,
        settings: &Settings,
    ) -> Result<Vec<Option<Written>>, Error> {
        let turn = Arc::new(self.file.turn().await);
        let writing = Writing { session: self, turn, limit: settings.statement_timeout };
        let written = writing.in_transaction(writes, aside, settings.lock_timeout).await;
        match written {
            // Nothing is to be written, because another file or other cursors are there.
            Err(Error::Stale) => {
                writing.run(|handle| rolled_back(handle, Ok(()))).await?;
                Ok(writes.iter().map(|_| None).collect())
            }
            Err(error) => {
                // The error that is told is the first one.
                let _ = writing.run(|handle| rolled_back(handle, Ok(()))).await;
                Err(error)
            }
            written => written,
        }
    }
}

impl Writing<'_> {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Handle) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.session.caller.run(self.limit, Some(&self.turn), work).await
    }

    async fn in_transaction(
        &self,
        writes: &[TenantWrite<'_>],
        aside: &Aside<'_>,
        lock_timeout: Duration,
    ) -> Result<Vec<Option<Written>>, Error> {
        self.run(move |handle| begin(handle, lock_timeout)).await?;
        let mut all = Vec::with_capacity(writes.len());
        for write in writes {
            let (tenant_id, mappings) = (write.tenant_id.to_owned(), write.mappings.to_vec());
            let found = self.run(move |handle| found(handle, &tenant_id, &mappings)).await?;
            let whole = found.1.len() == write.mappings.len();
            all.push(match whole && found == (write.expected.clone(), of(write)) {
                true => Some(self.tenant(write, aside).await?),
                false => None,
            });
        }
        if all.iter().all(Option::is_none) {
            return Err(Error::Stale);
        }
        failpoint("sync.before_commit").await.map_err(Error::destination)?;
        self.run(commit).await?;
        failpoint("sync.after_commit").await.map_err(Error::destination)?;
        Ok(all)
    }

    /// Applies one tenant's parts and moves its cursors.
    async fn tenant(&self, write: &TenantWrite<'_>, aside: &Aside<'_>) -> Result<Written, Error> {
        failpoint("sync.after_begin").await.map_err(Error::destination)?;
        let mut cursors = write.next.clone();
        let (mut outcomes, mut faults) = (Vec::with_capacity(write.parts.len()), Faults::new());
        for part in write.parts {
            aside.set(&part.mapping, &part.failed).await?;
            if part.changed.is_empty() && part.chunk.is_none() {
                outcomes.push(Some(Applied::default()));
                continue;
            }
            match self.part(write, part).await {
                Ok(applied) => {
                    aside.set(&part.mapping, &applied.refused).await?;
                    outcomes.push(Some(applied));
                }
                Err(Error::Mapping { mapping, fault }) => {
                    cursors.insert(mapping.clone(), write.expected[&mapping].clone());
                    faults.push((mapping, fault));
                    outcomes.push(None);
                }
                Err(error) => return Err(error),
            }
            failpoint("sync.mid_batch").await.map_err(Error::destination)?;
        }
        failpoint("sync.before_cursor").await.map_err(Error::destination)?;
        let cursor =
            |m: &Arc<ResolvedMapping>| Some((m.name().to_owned(), cursors.get(m.name())?.clone()));
        let ours: Cursors = write.mappings.iter().filter_map(cursor).collect();
        let tenant_id = write.tenant_id.to_owned();
        let also = write.also.filter(|_| faults.is_empty());
        let also = also.map_or(Vec::new(), |also| also(&left_out(write.parts, &outcomes)));
        let moved = self.run(move |handle| {
            let mut ours = ours;
            let open = handle.in_transaction()?;
            for statement in also {
                open.connection.execute_batch(&statement).map_err(Error::destination)?;
            }
            let written = state::write(&open.connection, &tenant_id, &mut ours);
            written.map_err(Error::destination)?;
            Ok(ours)
        });
        cursors.extend(moved.await?);
        Ok(Written { outcomes, faults, cursors, slow: false })
    }

    async fn part(&self, write: &TenantWrite<'_>, part: &Part) -> Result<Applied, Error> {
        let (part, tenant) = (part.clone(), write.tenant_at_source.to_owned());
        self.run(move |handle| apply::part(handle.in_transaction()?, &part, &tenant)).await
    }
}

/// The tables that a batch was read for, of the mappings that it is for.
fn of(write: &TenantWrite<'_>) -> Identities {
    let known = |m: &Arc<ResolvedMapping>| {
        Some((m.name().to_owned(), write.identities.get(m.name())?.clone()))
    };
    write.mappings.iter().filter_map(known).collect()
}

/// Takes the file's write lock. [`Error::Stale`]: another file is there, or no state table.
fn begin(handle: &mut Handle, lock_timeout: Duration) -> Result<(), Error> {
    let Some(open) = handle.opened()? else { return Err(Error::Stale) };
    open.connection.busy_timeout(lock_timeout.min(LOCK_WAIT)).map_err(Error::destination)?;
    open.connection.execute_batch("begin immediate").map_err(Error::destination)?;
    let schema = open.schema().map_err(Error::destination)?;
    if schema.table(STATE_TABLE).is_none() || handle.is_moved() {
        return Err(Error::Stale);
    }
    Ok(())
}

/// The tenant's cursors, and what the mappings' tables are.
fn found(
    handle: &mut Handle,
    tenant_id: &str,
    mappings: &[Arc<ResolvedMapping>],
) -> Result<(Cursors, Identities), Error> {
    let open = handle.in_transaction()?;
    let cursors = state::read(&open.connection, tenant_id).map_err(Error::destination)?;
    Ok((cursors, identities(open, mappings)?))
}

/// Commits, unless the file was moved away meanwhile.
fn commit(handle: &mut Handle) -> Result<(), Error> {
    if handle.is_moved() {
        return Err(Error::Stale);
    }
    let open = handle.in_transaction()?;
    open.connection.execute_batch("commit").map_err(Error::destination)?;
    handle.note_log();
    Ok(())
}
