//! A batch whose mappings' tables refer to each other by foreign keys of the destination.
//!
//! Deletions are made children first, then everything else parents first, so that a new parent and
//! its child arrive together whatever their mappings are called. What deferrable constraints allow
//! only at the end is tried so first. Rows that a foreign key refuses even then are tried again
//! once everything else of the batch is there.

use offtake_mapping::Version;
use offtake_postgres::{SqlState, row_fault};
use offtake_reading::{Part, Rows, key_of};

use super::Session;
use super::apply::Checks;
use super::copies::Staging;
use super::write::after_a_mapping;
use crate::Error;
use crate::destinations::{Applied, Faults, Reference, TenantWrite};

/// What became of each part; None: its mapping failed.
type Outcomes = Vec<Option<Applied>>;

/// Staging tables that a transaction made or filled.
type Made = Vec<(Version, Staging)>;

/// The foreign keys of which both ends have rows in the batch.
fn concerned<'a>(write: &TenantWrite<'a>) -> impl Iterator<Item = &'a Reference> {
    let parts = write.parts;
    let has_rows = move |name: &str| {
        parts.iter().any(|part| {
            part.mapping.name() == name && (!part.changed.is_empty() || part.chunk.is_some())
        })
    };
    write.references.iter().filter(move |of| has_rows(&of.child) && has_rows(&of.parent))
}

pub(super) fn is_linked(write: &TenantWrite<'_>) -> bool {
    concerned(write).next().is_some()
}

/// How many rows were refused because another row is not there, or still is.
fn by_foreign_key(applied: &Applied) -> usize {
    let code = SqlState::FOREIGN_KEY_VIOLATION.code();
    applied.refused.iter().filter(|row| row.sqlstate == code).count()
}

impl Session {
    /// Applies the parts of a linked batch. A mapping that fails is left out of it altogether, so
    /// that none of its rows is ahead of its cursor.
    pub(super) async fn linked(
        &mut self,
        write: &TenantWrite<'_>,
        made: &mut Made,
    ) -> Result<(Outcomes, Faults), Error> {
        let mut faults = Faults::new();
        let mut checks = match concerned(write).any(|reference| reference.deferrable) {
            true => Checks::AtTheEnd,
            false => Checks::AtOnce,
        };
        self.run("savepoint batch").await?;
        loop {
            let mut attempt = Made::new();
            match self.attempt(write, &faults, checks, &mut attempt).await {
                Ok(Some(outcomes)) => {
                    self.run("release savepoint batch").await?;
                    made.extend(attempt);
                    return Ok((outcomes, faults));
                }
                Ok(None) => checks = Checks::AtOnce,
                Err(Error::Mapping { .. }) if checks == Checks::AtTheEnd => {
                    checks = Checks::AtOnce;
                }
                Err(Error::Mapping { mapping, fault }) => faults.push((mapping, fault)),
                Err(error) => return Err(error),
            }
            self.run("rollback to savepoint batch").await?;
        }
    }

    /// None: what was to be checked at the end is not right.
    async fn attempt(
        &mut self,
        write: &TenantWrite<'_>,
        faults: &Faults,
        checks: Checks,
        made: &mut Made,
    ) -> Result<Option<Outcomes>, Error> {
        if checks == Checks::AtTheEnd {
            self.run("set constraints all deferred").await?;
        }
        let works = |part: &Part| !faults.iter().any(|(name, _)| name == part.mapping.name());
        let mut outcomes: Outcomes =
            write.parts.iter().map(|part| works(part).then(Applied::default)).collect();
        let absent = |part: &Part, line: usize| part.changed.present(line..line + 1) == 0;
        for (part, outcome) in write.parts.iter().zip(&mut outcomes).rev() {
            let deletions = part.changed.only(|line| absent(part, line));
            self.share(write, part, (deletions, false), checks, outcome, made).await?;
        }
        for (part, outcome) in write.parts.iter().zip(&mut outcomes) {
            let rows = part.changed.only(|line| !absent(part, line));
            self.share(write, part, (rows, true), checks, outcome, made).await?;
            after_a_mapping().await?;
        }
        if checks == Checks::AtTheEnd {
            let client = &self.connection;
            return match client.batch_execute("set constraints all immediate").await {
                Ok(()) => Ok(outcomes
                    .iter()
                    .flatten()
                    .all(|of| by_foreign_key(of) == 0)
                    .then_some(outcomes)),
                Err(error) if row_fault(&error) => Ok(None),
                Err(error) => Err(Error::destination(error)),
            };
        }
        self.again(write, &mut outcomes, made).await?;
        Ok(Some(outcomes))
    }

    /// Tries the rows that a foreign key refused once more, for as long as that helps some of them.
    async fn again(
        &mut self,
        write: &TenantWrite<'_>,
        outcomes: &mut Outcomes,
        made: &mut Made,
    ) -> Result<(), Error> {
        let count = |outcomes: &Outcomes| outcomes.iter().flatten().map(by_foreign_key).sum();
        // No row of the batch is written later than these.
        let last = TenantWrite { parts: &[], ..*write };
        let mut before = usize::MAX;
        while (1..before).contains(&count(outcomes)) {
            before = count(outcomes);
            for (part, outcome) in write.parts.iter().zip(outcomes.iter_mut()) {
                let Some(applied) = outcome.as_mut().filter(|of| by_foreign_key(of) > 0) else {
                    continue;
                };
                let refused = std::mem::take(&mut applied.refused);
                let chunk = part.chunk.as_ref().map(|chunk| &chunk.rows);
                let rows = [Some(&part.changed), chunk].into_iter().flatten().map(|rows| {
                    rows.only(|line| {
                        let key = key_of(&part.mapping, rows, line);
                        refused.iter().any(|row| row.key == key)
                    })
                });
                for rows in rows.collect::<Vec<Rows>>() {
                    let share = (rows, false);
                    self.share(&last, part, share, Checks::AtOnce, outcome, made).await?;
                }
            }
        }
        Ok(())
    }

    /// Some changed rows of a part, and its chunk if so wanted.
    async fn share(
        &mut self,
        write: &TenantWrite<'_>,
        part: &Part,
        (changed, with_chunk): (Rows, bool),
        checks: Checks,
        outcome: &mut Option<Applied>,
        made: &mut Made,
    ) -> Result<(), Error> {
        let Some(applied) = outcome else { return Ok(()) };
        let share = Part {
            changed,
            chunk: part.chunk.clone().filter(|_| with_chunk),
            failed: Vec::new(),
            ..part.clone()
        };
        if share.changed.is_empty() && share.chunk.is_none() {
            return Ok(());
        }
        let version = &part.mapping.version;
        let known = made.iter().position(|(of, _)| of == version).map(|at| made.remove(at).1);
        let done = self.part(write, &share, checks, known.as_ref()).await?;
        self.run(&done.end).await?;
        made.push((version.clone(), done.staging));
        let now = done.applied;
        applied.upserted += now.upserted;
        applied.deleted += now.deleted;
        applied.refused.retain(|row| !now.refused.iter().any(|other| other.key == row.key));
        applied.refused.extend(now.refused);
        Ok(())
    }

    async fn run(&self, statement: &str) -> Result<(), Error> {
        self.connection.batch_execute(statement).await.map_err(Error::destination)
    }
}
