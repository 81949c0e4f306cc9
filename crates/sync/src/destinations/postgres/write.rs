//! A batch's write in Postgres: one transaction that compares, applies and moves the cursors.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use offtake_loops::failpoint;
use offtake_mapping::compose::postgres::{Apply, UpdatingKey};
use offtake_mapping::{ResolvedMapping, Version};
use offtake_postgres::Fault;
use offtake_reading::{Part, Rows, key_of};

use super::apply::{self, Checks, Done, Manner};
use super::copies::Staging;
use super::{Session, Trouble, linked, state};
use crate::destinations::{Applied, Aside, Faults, Reference, TenantWrite, Written, left_out};
use crate::{Error, Settings};

/// Staging tables that this transaction made or filled; they count once it has committed.
type Made = Vec<(Version, Staging)>;

/// The transaction commits together with its last statement.
struct Commits {
    /// The session has no server process of its own.
    pooled: bool,
}

impl Commits {
    /// Closes what the transaction has prepared, before the commit is sent, if the next transaction
    /// may be in another server process. A statement that stayed in this one would be in the way of
    /// another daemon's statement of the same name.
    fn release(&self, made: &mut Made) {
        if self.pooled {
            made.clear();
        }
    }
}

impl Session {
    pub(in crate::destinations) async fn write(
        &mut self,
        writes: &[TenantWrite<'_>],
        aside: &Aside<'_>,
        settings: &Settings,
    ) -> Result<Vec<Option<Written>>, Error> {
        let written = self.in_transaction(writes, aside, settings).await;
        written.map_err(|error| self.explain(error))
    }

    async fn in_transaction(
        &mut self,
        writes: &[TenantWrite<'_>],
        aside: &Aside<'_>,
        settings: &Settings,
    ) -> Result<Vec<Option<Written>>, Error> {
        let (mut all, mut made) = (Vec::with_capacity(writes.len()), Made::new());
        let mut pooled = false;
        for (index, write) in writes.iter().enumerate() {
            let lock = state::lock(
                &self.connection,
                &self.frame,
                &self.schema,
                write.tenant_id,
                write.mappings,
            );
            let (found, ahead) = if index == 0 {
                // Sent together, in this order.
                let open = self.open_for_frame(settings);
                let (opened, found, ahead) = tokio::join!(biased; open, lock, self.ahead(write));
                opened.map_err(Error::destination)?;
                (found, ahead)
            } else {
                (lock.await, None)
            };
            let found = found.map_err(Error::destination)?;
            self.converts.store(found.converts, Ordering::Relaxed);
            let direct = found.backend == Some(self.connection.server_process());
            self.frame.found(direct && found.altering.is_empty());
            pooled |= !direct;
            let replaced = |m: &Arc<ResolvedMapping>| {
                found.identities.get(m.name()) != write.identities.get(m.name())
            };
            if found.cursors != *write.expected || write.mappings.iter().any(replaced) {
                all.push(None);
                continue;
            }
            failpoint("sync.after_begin").await.map_err(Error::destination)?;
            let ahead = self.stands(ahead, &found, direct).await?;
            self.altering = found.altering;
            let commits = (index + 1 == writes.len()).then_some(Commits { pooled });
            all.push(Some(self.tenant(write, ahead, aside, &mut made, commits).await?));
        }
        if all.iter().all(Option::is_none) {
            self.connection.batch_execute("rollback").await.map_err(Error::destination)?;
            return Ok(all);
        }
        if all.last().is_some_and(Option::is_none) {
            Commits { pooled }.release(&mut made);
            let committed = self.connection.batch_execute("commit").await;
            committed.map_err(|error| Error::Destination(unknown(error)))?;
        }
        failpoint("sync.after_commit").await.map_err(Error::destination)?;
        self.staged.extend(made);
        Ok(all)
    }

    /// Applies one tenant's parts and moves its cursors; after the last one it commits. `ahead`: the
    /// part that is applied already.
    async fn tenant(
        &mut self,
        write: &TenantWrite<'_>,
        mut ahead: Option<(usize, Done)>,
        aside: &Aside<'_>,
        made: &mut Made,
        commits: Option<Commits>,
    ) -> Result<Written, Error> {
        let mut end = String::new();
        let mut cursors = write.next.clone();
        let mut outcomes = Vec::with_capacity(write.parts.len());
        let mut faults = Faults::new();
        let linked = linked::is_linked(write);
        if linked {
            for part in write.parts {
                aside.set(&part.mapping, &part.failed).await?;
            }
            (outcomes, faults) = self.linked(write, made).await?;
            for (part, applied) in write.parts.iter().zip(&outcomes) {
                let refused = applied.iter().flat_map(|applied| &applied.refused);
                aside.set(&part.mapping, &refused.cloned().collect::<Vec<_>>()).await?;
            }
            for (mapping, _) in &faults {
                cursors.insert(mapping.clone(), write.expected[mapping].clone());
            }
        }
        for (index, part) in write.parts.iter().enumerate().filter(|_| !linked) {
            aside.set(&part.mapping, &part.failed).await?;
            if part.changed.is_empty() && part.chunk.is_none() {
                outcomes.push(Some(Applied::default()));
                continue;
            }
            let done = match ahead.take_if(|(at, _)| *at == index) {
                Some((_, done)) => Ok(done),
                None => self.part(write, part, Checks::AtOnce, None).await,
            };
            match done {
                Ok(done) => {
                    aside.set(&part.mapping, &done.applied.refused).await?;
                    made.push((part.mapping.version.clone(), done.staging));
                    outcomes.push(Some(done.applied));
                    end.push_str(&done.end);
                }
                Err(Error::Mapping { mapping, fault }) => {
                    self.back().await?;
                    cursors.insert(mapping.clone(), write.expected[&mapping].clone());
                    faults.push((mapping, fault));
                    outcomes.push(None);
                }
                Err(error) => return Err(error),
            }
            after_a_mapping().await?;
        }
        if let Some(also) = write.also.filter(|_| faults.is_empty()) {
            for statement in also(&left_out(write.parts, &outcomes)) {
                end.push_str(&statement);
                end.push(';');
            }
        }
        failpoint("sync.before_cursor").await.map_err(Error::destination)?;
        if let Some(commits) = &commits {
            failpoint("sync.before_commit").await.map_err(Error::destination)?;
            commits.release(made);
        }
        let mut ours = write
            .mappings
            .iter()
            .filter_map(|m| Some((m.name().to_owned(), cursors.get(m.name())?.clone())))
            .collect();
        let converts = self.converts();
        let moved = state::write(
            &self.connection,
            &self.frame,
            &self.schema,
            write.tenant_id,
            (&mut ours, converts),
            commits.as_ref().map(|_| "commit"),
        );
        // Sent together. Where one fails, the server answers the commit with a rollback; where the
        // connection fails, the commit may have arrived.
        let (ended, moved) = tokio::join!(biased; self.connection.batch_execute(&end), moved);
        if let Err(error) = ended.and(moved) {
            let trouble = if commits.is_some() { unknown(error) } else { Trouble::from(error) };
            return Err(Error::Destination(trouble));
        }
        cursors.extend(ours);
        Ok(Written { outcomes, faults, cursors, slow: false })
    }

    /// Applies one part behind a savepoint of its own. `made`: its staging table, if this
    /// transaction has made or filled it.
    pub(super) async fn part(
        &mut self,
        write: &TenantWrite<'_>,
        part: &Part,
        checks: Checks,
        made: Option<&Staging>,
    ) -> Result<Done, Error> {
        let version = &part.mapping.version;
        let staging = made.or_else(|| self.staged.get(version));
        let done = self.send(write, part, (checks, true), staging).await?;
        let unfit = !done.applied.refused.is_empty() && made.is_none();
        if unfit && self.staged.remove(version).is_some() {
            // The staging table refuses what the target refused when the table was made. A new
            // staging table tells whether the target still does.
            self.back().await?;
            return self.send(write, part, (checks, true), None).await;
        }
        Ok(done)
    }

    /// The same with this staging table; None: it is made. With the checks it says whether rows that
    /// the destination refuses are found and left out.
    pub(super) async fn send(
        &self,
        write: &TenantWrite<'_>,
        part: &Part,
        (checks, divides): (Checks, bool),
        staging: Option<&Staging>,
    ) -> Result<Done, Error> {
        let name = part.mapping.name();
        let acting = write.references.iter().filter(|of| of.parent == name);
        let statements = Apply::new(&part.mapping, &self.schema, write.tenant_at_source)
            .converting(self.converts())
            .guarded(acting.flat_map(|of| of.acting.clone()).collect())
            .guarded_updates(self.updating(write, name));
        let alters = self.altering.contains(name);
        let manner = Manner { checks, alters, staging, divides };
        let work = apply::part(&self.connection, &statements, part, manner);
        // Sent together, the savepoint first.
        let save = self.connection.batch_execute("savepoint mapping");
        let (saved, done) = tokio::join!(biased; save, work);
        saved.map_err(Error::destination)?;
        done
    }

    /// The keys that act when rows of the mapping change. With each, which rows of the child the
    /// batch writes later.
    fn updating(
        &self,
        write: &TenantWrite<'_>,
        parent: &str,
    ) -> Vec<(UpdatingKey, Option<String>)> {
        let place = |name: &str| write.parts.iter().position(|part| part.mapping.name() == name);
        let later = |of: &Reference| {
            let child = place(&of.child).filter(|child| place(parent) < Some(*child))?;
            let Part { mapping, changed, chunk, .. } = &write.parts[child];
            let rows = std::iter::once(changed).chain(chunk.as_ref().map(|chunk| &chunk.rows));
            let keys = |rows: &Rows| -> Vec<Vec<String>> {
                (0..rows.len()).map(|line| key_of(mapping, rows, line)).collect()
            };
            Apply::new(mapping, &self.schema, write.tenant_at_source)
                .converting(self.converts())
                .these_rows(&rows.flat_map(keys).collect::<Vec<_>>())
        };
        let concerned = |of: &&Reference| of.parent == parent && !of.updating.is_empty();
        let with_later = |of: &Reference| {
            let later = later(of);
            of.updating.clone().into_iter().map(move |key| (key, later.clone()))
        };
        write.references.iter().filter(concerned).flat_map(with_later).collect()
    }

    pub(super) async fn back(&self) -> Result<(), Error> {
        let back = self.connection.batch_execute("rollback to savepoint mapping");
        back.await.map_err(Error::destination)
    }
}

/// The reply to COMMIT is missing: the commit may have happened. Where the server did answer, its
/// answer counts.
pub(super) fn unknown(error: tokio_postgres::Error) -> Trouble {
    let mut trouble = Trouble::from(error);
    if trouble.code.is_none() && trouble.fault == Fault::Unreachable {
        trouble.fault = Fault::OutcomeUnknown;
    }
    trouble
}

/// Between two mappings of a batch. Tests stop the daemon here.
pub(super) async fn after_a_mapping() -> Result<(), Error> {
    failpoint("sync.mid_batch").await.map_err(Error::destination)
}
