//! Rows that only fit together: two that swap a value under a unique constraint, a rotation of
//! many, ranges under an exclusion constraint that move at once.
//!
//! Written one after the other, each of them collides with a row that the batch also changes. So
//! those that collided are tried as a set: their old rows are deleted, then the new ones inserted,
//! in the destination's transaction. A row that even then does not fit is refused and keeps its old
//! version; the set is tried again without it.

use offtake_postgres::row_fault;
use offtake_reading::{FAILED_ROWS_MAX, Rows, key_of};

use super::apply::{Applier, SAVE, Stretch, classify};
use crate::Error;
use crate::destinations::Applied;

/// How often a set is tried again without the rows that did not fit. One bad row in a set of two
/// swaps needs two rounds.
const ROUNDS_MAX: usize = 10;

/// Why the set was not written.
enum Unfit {
    Row(tokio_postgres::Error),
    Other(Error),
}

impl Applier<'_> {
    /// Writes the lines of these stretches, of one line each, as a set. Returns those that do not
    /// fit.
    pub(super) async fn as_set(
        &self,
        rows: &Rows,
        stretches: Vec<Stretch>,
        applied: &mut Applied,
    ) -> Result<Vec<Stretch>, Error> {
        let present = |stretch: &Stretch| rows.present(stretch.lines.clone()) == 1;
        let (mut set, mut unfit): (Vec<_>, Vec<_>) = stretches.into_iter().partition(present);
        let replaces = !self.is_referred_to().await?;
        for _ in 0..ROUNDS_MAX {
            if set.is_empty() {
                return Ok(unfit);
            }
            match self.write_set(rows, &set, replaces).await {
                Ok(()) => {
                    applied.upserted += set.len() as u64;
                    self.clear_ranges(rows, &set, applied).await?;
                    return Ok(unfit);
                }
                Err(Unfit::Row(_)) if set.len() <= FAILED_ROWS_MAX => {
                    self.rollback().await?;
                    let (fit, rest) = self.tell_apart(rows, set, replaces).await?;
                    if rest.is_empty() {
                        unfit.extend(fit);
                        return Ok(unfit);
                    }
                    unfit.extend(rest);
                    set = fit;
                }
                Err(Unfit::Row(_)) => {
                    self.rollback().await?;
                    break;
                }
                Err(Unfit::Other(error)) => return Err(error),
            }
        }
        unfit.extend(set);
        Ok(unfit)
    }

    /// Leaves the savepoint open when a row does not fit.
    async fn write_set(&self, rows: &Rows, set: &[Stretch], replaces: bool) -> Result<(), Unfit> {
        self.statement(SAVE).await?;
        self.statement(&self.replacing(rows, set, replaces)).await?;
        let end = format!(
            "{}{}; {}; {}; release savepoint stretch",
            self.guarding(),
            self.apply.upsert_present(),
            self.checks.statement(),
            self.apply.empty_staging()
        );
        self.statement(&end).await
    }

    /// The set's rows that fit when all old ones are gone, and those that do not, found one by one.
    /// Nothing is changed.
    async fn tell_apart(
        &self,
        rows: &Rows,
        set: Vec<Stretch>,
        replaces: bool,
    ) -> Result<(Vec<Stretch>, Vec<Stretch>), Error> {
        let other = |unfit: Unfit| match unfit {
            Unfit::Row(error) => classify(self.mapping, error),
            Unfit::Other(error) => error,
        };
        self.statement(SAVE).await.map_err(other)?;
        let cleared =
            format!("{}; {}", self.replacing(rows, &set, replaces), self.apply.empty_staging());
        match self.statement(&cleared).await {
            Ok(()) => {}
            Err(Unfit::Row(_)) => {
                self.rollback().await?;
                return Ok((Vec::new(), set));
            }
            Err(Unfit::Other(error)) => return Err(error),
        }
        let (mut fit, mut rest) = (Vec::new(), Vec::new());
        for stretch in set {
            self.statement("savepoint one").await.map_err(other)?;
            let one = format!(
                "{}; {}{}; {}; {}; release savepoint one",
                self.stage(rows, stretch.lines.clone()),
                self.guarding(),
                self.apply.upsert_present(),
                self.checks.statement(),
                self.apply.empty_staging()
            );
            match self.statement(&one).await {
                Ok(()) => fit.push(stretch),
                Err(Unfit::Row(_)) => {
                    let back = "rollback to savepoint one; release savepoint one";
                    self.statement(back).await.map_err(other)?;
                    rest.push(stretch);
                }
                Err(Unfit::Other(error)) => return Err(error),
            }
        }
        self.rollback().await?;
        Ok((fit, rest))
    }

    /// The guards of the upsert, as statements before it.
    fn guarding(&self) -> String {
        self.apply.guard_present().iter().map(|guard| format!("{guard}; ")).collect()
    }

    /// Stages the set and, if it replaces the rows there, deletes those.
    fn replacing(&self, rows: &Rows, set: &[Stretch], replaces: bool) -> String {
        let lines = set.iter().flat_map(|stretch| stretch.lines.clone());
        let staged = self.stage(rows, lines);
        match replaces {
            true => format!("{staged}; {}", self.apply.delete_staged()),
            false => staged,
        }
    }

    /// In a chunk: the rows between those of the set that the source has not.
    async fn clear_ranges(
        &self,
        rows: &Rows,
        set: &[Stretch],
        applied: &mut Applied,
    ) -> Result<(), Error> {
        for stretch in set {
            let Some(bounds) = &stretch.range else { continue };
            let key = key_of(self.mapping, rows, stretch.lines.start);
            self.guard(&self.apply.guard_range(bounds.as_range(), Some(&key))).await?;
            let statement = self.apply.delete_range(bounds.as_range(), Some(&key));
            let deleted = self.client.execute(&statement, &[]).await;
            applied.deleted += deleted.map_err(|error| classify(self.mapping, error))?;
        }
        Ok(())
    }

    /// Whether deleting a row would delete or change rows that refer to it: then none is deleted to
    /// be inserted again.
    async fn is_referred_to(&self) -> Result<bool, Error> {
        let asked = format!(
            "select count(*) from pg_constraint where contype = 'f' and confrelid = to_regclass({}) and confdeltype in ('c', 'n', 'd')",
            offtake_mapping::literal(self.apply.table())
        );
        let (_, count) = self.run(&asked).await.map_err(|error| classify(self.mapping, error))?;
        Ok(count != Some(0))
    }

    /// Undoes a stretch.
    pub(super) async fn rollback(&self) -> Result<(), Error> {
        let back = "rollback to savepoint stretch; release savepoint stretch";
        self.client.batch_execute(back).await.map_err(Error::destination)
    }

    async fn statement(&self, sql: &str) -> Result<(), Unfit> {
        self.client.batch_execute(sql).await.map_err(|error| match row_fault(&error) {
            true => Unfit::Row(error),
            false => Unfit::Other(classify(self.mapping, error)),
        })
    }
}
