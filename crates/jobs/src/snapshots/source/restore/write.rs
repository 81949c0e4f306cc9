//! What a restore writes, and how it ends.

use offtake_loops::failpoint;
use offtake_mapping::{foreign, literal};
use offtake_postgres::Fault;

use super::{PIN, Planned, Restoring, Written};
use crate::snapshots::source::Error;

impl Restoring<'_> {
    /// Writes, and compares with what was agreed. `announce` is called with the number of the
    /// transaction before the first statement that writes; [`outcome`](super::outcome) says what
    /// became of it. Nothing stays of it without [`Restoring::commit`].
    pub async fn write(
        &self,
        agreed: &Planned,
        announce: impl FnOnce(i64),
    ) -> Result<Written, Error> {
        if self.planned.tables != agreed.tables {
            return Err(Error::Changed(
                "the source has changed: what would be done is not what was shown".to_owned(),
            ));
        }
        failpoint("source_restore.before_write").await?;
        let number: i64 = self.client.query_one("select txid_current()", &[]).await?.get(0);
        announce(number);
        self.as_application().await?;
        self.client.batch_execute("set constraints all deferred").await?;
        self.write_rows().await?;
        self.client.batch_execute("set constraints all immediate").await?;
        self.client.batch_execute(PIN).await?;
        let notes = self.check().await?;
        self.as_application().await?;
        Ok(Written { rows: self.planned.rows(), notes })
    }

    /// Commits what was written. [`Error::OutcomeUnknown`]: the reply was lost.
    pub async fn commit(self) -> Result<(), Error> {
        failpoint("source_restore.before_commit").await?;
        let committed = self.client.batch_execute("commit").await;
        committed.map_err(|error| {
            let error = offtake_postgres::Error::from(error);
            match error.fault() {
                Fault::OutcomeUnknown | Fault::Unreachable => {
                    Error::OutcomeUnknown(error.message())
                }
                _ => Error::Source(error),
            }
        })?;
        Ok(failpoint("source_restore.after_commit").await?)
    }

    /// The application's triggers run under the settings that the role's sessions have.
    async fn as_application(&self) -> Result<(), Error> {
        let set = self.settings.iter().map(|(name, value)| {
            format!("pg_catalog.set_config({}, {}, true)", literal(name), literal(value))
        });
        let set = format!("select {}", set.collect::<Vec<_>>().join(", "));
        self.client.query(&set, &[]).await?;
        Ok(())
    }

    async fn write_rows(&self) -> Result<(), Error> {
        let statements = self.statements();
        for at in self.order.iter().rev().copied() {
            let Some(planned) = self.planned_of(at) else { continue };
            if planned.deleted > 0 {
                self.execute(at, &statements.delete(at), (planned.deleted, "deleted")).await?;
            }
        }
        for at in self.order.iter().copied() {
            let Some(planned) = self.planned_of(at) else { continue };
            let given = self.columns(at);
            if let Some(update) = statements.update(at, given)
                && planned.changed > 0
            {
                self.execute(at, &update, (planned.changed, "changed")).await?;
            }
            if planned.added > 0 {
                let insert = statements.insert(at, given);
                self.execute(at, &insert, (planned.added, "added")).await?;
            }
            failpoint("source_restore.mid_write").await?;
        }
        Ok(())
    }

    async fn execute(
        &self,
        at: usize,
        statement: &str,
        (expected, what): (u64, &str),
    ) -> Result<(), Error> {
        let rows = self.client.execute(statement, &[]).await?;
        if rows == expected {
            return Ok(());
        }
        Err(Error::Changed(format!(
            "{rows} rows of {} would be {what} where {expected} are to be: look for its triggers \
             and rules",
            self.label(at)
        )))
    }

    /// Whether the rows are there, and what triggers made of them.
    async fn check(&self) -> Result<Vec<String>, Error> {
        let statements = self.statements();
        let (mut wrong, mut notes) = (Vec::new(), Vec::new());
        for at in self.places() {
            let what = "is not as it was to be after the application's triggers ran";
            wrong.extend(self.keys(at, &statements.list_unwritten(at), what).await?);
            let Some(count) = statements.count_other_values(at, self.columns(at)) else { continue };
            let row = self.client.query_one(&count, &[]).await?;
            for (place, column) in row.columns().iter().enumerate() {
                let other: i64 = row.get(place);
                if other > 0 {
                    notes.push(format!(
                        "{other} rows of {} have another {} than the snapshot: a trigger of the \
                         application wrote it",
                        self.label(at),
                        foreign(column.name())
                    ));
                }
            }
        }
        match wrong.is_empty() {
            true => Ok(notes),
            false => Err(Error::Changed(wrong.join("; "))),
        }
    }
}
