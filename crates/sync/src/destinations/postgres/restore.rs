//! Restoring a snapshot's rows into a Postgres database: one transaction that stages them, compares,
//! and merges them by key.
//!
//! The rows are staged in temporary tables of the transaction. So whatever ends before the commit,
//! the process itself included, leaves the database as it was and nothing to sweep. Tables keep
//! their identity, and with it the views, grants, indexes and foreign keys that hang on them.
//!
//! **What fences it.** In a destination that follows the source, the cursors: they are locked, and
//! compared with those that were found at the transaction's begin, and they go back with the rows.
//! Another place must not have cursors of the tenant: a worker would undo what is restored.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt as _;
use offtake_loops::failpoint;
use offtake_mapping::compose::KeyRange;
use offtake_mapping::compose::postgres::Apply;
pub use offtake_mapping::compose::postgres::Told;
use offtake_mapping::{Identifier, ResolvedMapping};
use offtake_postgres::{Dialer, Fault, PooledConnection};
use tokio_postgres::CopyInSink;

use super::tables::{self, Problem, Site};
use super::{Session, begin_transaction, state};
use crate::cursors::{Cursor, Cursors};
use crate::destinations::{DestinationSpec, Place, Trouble};
use crate::ownership::{Served, served_by_stranger};
use crate::turn::parents_first;
use crate::{Error, Settings};

/// A lock that the tenant's own sessions hold is waited for so long.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Into what rows are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreInto {
    /// A destination that follows the source. Its tables are there, and its cursors go back.
    Following,
    /// A schema that no worker writes to. What is missing of schema and tables is made.
    Other,
}

/// A transaction that restores; dropping it changes nothing.
pub struct Restoring {
    session: Session,
    spec: DestinationSpec,
    into: RestoreInto,
    /// Parents first.
    mappings: Vec<Arc<ResolvedMapping>>,
    /// As they were found at the begin.
    cursors: Cursors,
    /// Which source serves the tenant there.
    served: Option<Served>,
}

/// How a table differs from the staged rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Differences {
    pub added: u64,
    pub changed: u64,
    pub deleted: u64,
    /// All rows that the table will have of the tenant.
    pub staged: u64,
}

/// One row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DifferentRow {
    /// `add`, `change` or `delete`.
    pub kind: String,
    /// A JSON object of the key's columns.
    pub key: String,
    /// The row there and the one of the snapshot, as JSON objects with texts; only where values are
    /// told, and where there is one.
    pub there: Option<String>,
    pub staged: Option<String>,
}

/// Where the cursors stand once the rows are those of a snapshot.
#[derive(Debug, Clone)]
pub struct RestoredTo {
    pub sequence_id: i64,
    pub epoch: String,
    /// The source's history of now: a cursor of another one says nothing.
    pub epoch_now: String,
    /// Names of mappings and the versions that the rows are of.
    pub versions: Vec<(String, String)>,
}

/// The lines of one table on their way to the staging table.
pub struct StagedLines {
    sink: Pin<Box<CopyInSink<Bytes>>>,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// What is there does not fit; the message says what to do.
    #[error("{0}")]
    Unfit(String),
    /// The reply to the commit was lost.
    #[error("the reply to the commit was lost: {0}")]
    OutcomeUnknown(Trouble),
}

impl Differences {
    pub fn any(&self) -> bool {
        self.added + self.changed + self.deleted > 0
    }
}

impl StagedLines {
    pub async fn send(&mut self, lines: Bytes) -> Result<(), RestoreError> {
        Ok(self.sink.feed(lines).await.map_err(Trouble::from)?)
    }

    /// Returns how many rows were staged.
    pub async fn finish(mut self) -> Result<u64, RestoreError> {
        Ok(self.sink.as_mut().finish().await.map_err(Trouble::from)?)
    }
}

impl Restoring {
    /// Opens the transaction, and looks whether the rows of these mappings fit there. `statement`:
    /// how long one statement may take.
    pub async fn begin(
        spec: &DestinationSpec,
        mappings: &[Arc<ResolvedMapping>],
        into: RestoreInto,
        dialer: &Dialer,
        statement: Duration,
    ) -> Result<Self, RestoreError> {
        let Place::Postgres { url, schema } = &*spec.place else {
            let kind = spec.place.kind();
            let message = format!("{} is a destination of the kind {kind:?}", spec.label());
            return Err(RestoreError::Unfit(message));
        };
        let session = Session::open(url, schema, dialer, "offtake snapshot restore").await?;
        let mut restoring = Self {
            session,
            spec: spec.clone(),
            into,
            mappings: mappings.to_vec(),
            cursors: Cursors::new(),
            served: None,
        };
        let settings = settings(statement);
        let begun = restoring.look(&settings).await;
        match begun {
            Ok(()) => Ok(restoring),
            Err(error) => Err(restoring.explained(error)),
        }
    }

    async fn look(&mut self, settings: &Settings) -> Result<(), RestoreError> {
        let (client, schema) = (&self.session.connection, &self.session.schema);
        begin_transaction(client, schema, settings).await.map_err(Trouble::from)?;
        // Whole tables are compared, which is not done row by row.
        client.batch_execute("set local enable_seqscan = on").await.map_err(Trouble::from)?;
        let found = state::find(client, schema).await.map_err(Trouble::from)?;
        if found.table {
            let read = state::read_there(client, schema, &self.spec.tenant_id);
            self.cursors = read.await.map_err(Trouble::from)?;
        }
        if found.serving {
            let served = state::served(client, schema, &self.spec.tenant_id);
            self.served = served.await.map_err(Trouble::from)?;
        }
        match self.into {
            RestoreInto::Following => self.examine().await?,
            RestoreInto::Other => self.make(found.schema).await?,
        }
        let (client, schema) = (&self.session.connection, &self.session.schema);
        let references = tables::references(client, schema, &self.mappings);
        let references = references.await.map_err(Trouble::from)?;
        parents_first(&mut self.mappings, &references);
        client.batch_execute("set constraints all deferred").await.map_err(Trouble::from)?;
        Ok(())
    }

    /// Every table is there, and is the mapping's own.
    async fn examine(&self) -> Result<(), RestoreError> {
        let (client, schema) = (&self.session.connection, &self.session.schema);
        let site = Site { spec: &self.spec, schema, user: &self.session.user };
        for mapping in &self.mappings {
            let name = mapping.name();
            if !self.cursors.contains_key(name) {
                return Err(RestoreError::Unfit(format!(
                    "it has no copy of {name} yet: wait for the daemon's first copy"
                )));
            }
            let examined = tables::examine(client, &site, mapping).await.map_err(unfit)?;
            if !examined.ready {
                return Err(RestoreError::Unfit(format!(
                    "its table of {name} is not as the mapping has it: wait for the daemon, which \
                     makes it so"
                )));
            }
        }
        Ok(())
    }

    async fn make(&self, schema_is_there: bool) -> Result<(), RestoreError> {
        let (client, schema) = (&self.session.connection, &self.session.schema);
        if !self.cursors.is_empty() {
            return Err(RestoreError::Unfit(
                "it has cursors of this tenant, so a daemon keeps it in step with the source: name \
                 it with --destination, or another schema with --schema"
                    .to_owned(),
            ));
        }
        state::lock_making(client, schema).await.map_err(of_error)?;
        if !schema_is_there {
            let create = format!("create schema {}", schema.sql());
            client.batch_execute(&create).await.map_err(Trouble::from)?;
        }
        let site = Site { spec: &self.spec, schema, user: &self.session.user };
        for mapping in &self.mappings {
            tables::ensure(client, &site, mapping).await.map_err(unfit)?;
        }
        Ok(())
    }

    /// Why this source may not restore there: another one serves the tenant.
    pub async fn served_by_another(
        &self,
        source: &PooledConnection,
        destination_id: i64,
    ) -> Result<Option<String>, RestoreError> {
        let stranger = served_by_stranger(source, destination_id, self.served.as_ref());
        stranger.await.map_err(of_error)
    }

    /// Waits for transactions that write there, among them one whose session was lost while it
    /// committed. None begins before this one ends. Tables of another place are made under a lock,
    /// which did the same.
    pub async fn wait_for_writers(&self) -> Result<(), RestoreError> {
        if self.into == RestoreInto::Following {
            self.locked().await?;
        }
        Ok(())
    }

    /// Begins to stage the rows of a mapping, whose lines have these columns.
    pub async fn stage(
        &self,
        mapping: &ResolvedMapping,
        columns: &[Identifier],
    ) -> Result<StagedLines, RestoreError> {
        let apply = self.apply(mapping);
        let client = &self.session.connection;
        client.batch_execute(&apply.create_staging()).await.map_err(Trouble::from)?;
        if let Some(tenant) = apply.stage_for_tenant(&self.spec.tenant_at_source) {
            client.batch_execute(&tenant).await.map_err(Trouble::from)?;
        }
        let copy = apply.copy_columns_into_staging(columns);
        let sink = client.copy_in::<_, Bytes>(&copy).await.map_err(Trouble::from)?;
        Ok(StagedLines { sink: Box::pin(sink) })
    }

    /// Compares a mapping's staged rows with its table.
    pub async fn differences(
        &self,
        mapping: &ResolvedMapping,
    ) -> Result<Differences, RestoreError> {
        let (client, apply) = (&self.session.connection, self.apply(mapping));
        client.batch_execute(&apply.index_staging()).await.map_err(Trouble::from)?;
        self.count(&apply).await
    }

    async fn count(&self, apply: &Apply<'_>) -> Result<Differences, RestoreError> {
        let rows = self.session.connection.query_typed(&apply.count_differences(), &[]).await;
        let rows = rows.map_err(Trouble::from)?;
        let count = |column: &str| -> Result<u64, Trouble> {
            let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(column))?;
            Ok(u64::try_from(count).unwrap_or(0))
        };
        Ok(Differences {
            added: count("added")?,
            changed: count("changed")?,
            deleted: count("deleted")?,
            staged: count("staged")?,
        })
    }

    /// The first rows that differ, at most `limit` of each kind.
    pub async fn different_rows(
        &self,
        mapping: &ResolvedMapping,
        limit: usize,
        told: Told,
    ) -> Result<Vec<DifferentRow>, RestoreError> {
        let statement = self.apply(mapping).list_differences(limit, told);
        let rows = self.session.connection.query_typed(&statement, &[]).await;
        let row = |row: &tokio_postgres::Row| -> Result<DifferentRow, tokio_postgres::Error> {
            Ok(DifferentRow {
                kind: row.try_get("kind")?,
                key: row.try_get("key")?,
                there: row.try_get("there")?,
                staged: row.try_get("staged")?,
            })
        };
        let rows = rows.and_then(|rows| rows.iter().map(row).collect());
        Ok(rows.map_err(Trouble::from)?)
    }

    /// Makes the tables equal to the staged rows and moves the cursors back, all of it or nothing.
    /// `before_commit` is called when nothing is left to be done but the commit. Returns what was
    /// done to each table, in the order of [`Restoring::mappings`].
    pub async fn merge(
        mut self,
        to: &RestoredTo,
        before_commit: impl AsyncFnOnce() -> Result<(), RestoreError>,
    ) -> Result<Vec<Differences>, RestoreError> {
        let merged = self.merge_staged(to).await;
        let merged = merged.map_err(|error| self.explained(error))?;
        before_commit().await?;
        failpoint("restore.before_commit").await.map_err(Trouble::from)?;
        let committed = self.session.connection.batch_execute("commit").await;
        committed.map_err(|error| {
            let trouble = self.session.explained(error.into());
            match trouble.fault {
                Fault::OutcomeUnknown | Fault::Unreachable => RestoreError::OutcomeUnknown(trouble),
                _ => trouble.into(),
            }
        })?;
        failpoint("restore.after_commit").await.map_err(Trouble::from)?;
        Ok(merged)
    }

    async fn merge_staged(&mut self, to: &RestoredTo) -> Result<Vec<Differences>, RestoreError> {
        failpoint("restore.staged").await.map_err(Trouble::from)?;
        if self.into == RestoreInto::Following {
            self.lock().await?;
        }
        failpoint("restore.before_merge").await.map_err(Trouble::from)?;
        let mut expected = Vec::new();
        for mapping in &self.mappings {
            expected.push(self.count(&self.apply(mapping)).await?);
        }
        // Children lose their rows before parents do, and get them after.
        for (mapping, differences) in self.mappings.iter().zip(&expected).rev() {
            let delete = self.apply(mapping).delete_range(KeyRange::ALL, None);
            self.write(mapping, &delete, differences.deleted, "deleted").await?;
        }
        for (mapping, differences) in self.mappings.iter().zip(&expected) {
            let upsert = self.apply(mapping).upsert_present();
            let written = differences.added + differences.changed;
            self.write(mapping, &upsert, written, "written").await?;
        }
        for (mapping, differences) in self.mappings.iter().zip(&expected) {
            self.check(mapping, differences.staged).await?;
        }
        if self.into == RestoreInto::Following {
            self.move_back(to).await?;
        }
        Ok(expected)
    }

    /// The fence: another worker must not have written since the transaction's begin.
    async fn lock(&self) -> Result<(), RestoreError> {
        if self.locked().await? == self.cursors {
            return Ok(());
        }
        Err(RestoreError::Unfit(
            "a worker or another restore wrote there meanwhile: run it again, and if that fails \
             too, see that all daemons are of this source"
                .to_owned(),
        ))
    }

    async fn locked(&self) -> Result<Cursors, RestoreError> {
        let Session { connection, schema, frame, .. } = &self.session;
        let tenant = &self.spec.tenant_id;
        let locked = state::lock(connection, frame, schema, tenant, &self.mappings).await;
        Ok(locked.map_err(Trouble::from)?.cursors)
    }

    async fn write(
        &self,
        mapping: &ResolvedMapping,
        statement: &str,
        expected: u64,
        what: &str,
    ) -> Result<(), RestoreError> {
        let rows = self.session.connection.execute(statement, &[]).await.map_err(Trouble::from)?;
        if rows == expected {
            return Ok(());
        }
        Err(RestoreError::Unfit(format!(
            "{rows} rows of {} would be {what} where {expected} are to be: look for triggers and \
             rules on its table there",
            mapping.name()
        )))
    }

    /// Whether the table holds the staged rows and no other row of the tenant.
    async fn check(&self, mapping: &ResolvedMapping, staged: u64) -> Result<(), RestoreError> {
        let (client, apply) = (&self.session.connection, self.apply(mapping));
        let number = async |statement: String| -> Result<u64, Trouble> {
            let rows = client.query_typed(&statement, &[]).await?;
            let number: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
            Ok(u64::try_from(number).unwrap_or(u64::MAX))
        };
        let there = number(apply.count_rows()).await?;
        let Differences { added, changed, deleted, .. } = self.count(&apply).await?;
        let differing = added + changed + deleted;
        if differing == 0 && there == staged {
            return Ok(());
        }
        Err(RestoreError::Unfit(format!(
            "{} would have {there} rows where the snapshot has {staged}, and {differing} of them \
             would differ: look for triggers and rules on its table there",
            mapping.name()
        )))
    }

    async fn move_back(&self, to: &RestoredTo) -> Result<(), RestoreError> {
        let Session { connection, schema, frame, .. } = &self.session;
        let cursor = |(mapping, version): &(String, String)| {
            let cursor = Cursor {
                backfilled: to.epoch == to.epoch_now,
                ..Cursor::beginning(to.sequence_id, &to.epoch, version)
            };
            (mapping.clone(), cursor)
        };
        let mut cursors: Cursors = to.versions.iter().map(cursor).collect();
        let tenant = &self.spec.tenant_id;
        let written =
            state::write(connection, frame, schema, tenant, (&mut cursors, false), None).await;
        Ok(written.map_err(Trouble::from)?)
    }

    /// The mappings in the order in which they are written.
    pub fn mappings(&self) -> &[Arc<ResolvedMapping>] {
        &self.mappings
    }

    fn apply<'m>(&self, mapping: &'m ResolvedMapping) -> Apply<'m> {
        Apply::new(mapping, &self.session.schema, &self.spec.tenant_at_source)
    }

    fn explained(&self, error: RestoreError) -> RestoreError {
        match error {
            RestoreError::Trouble(trouble) => self.session.explained(trouble).into(),
            other => other,
        }
    }
}

fn settings(statement_timeout: Duration) -> Settings {
    Settings { lock_timeout: LOCK_TIMEOUT, ..crate::copy::settings(statement_timeout) }
}

fn unfit(problem: Problem) -> RestoreError {
    match problem.into_fault() {
        Ok(fault) => RestoreError::Unfit(fault.message),
        Err(error) => of_error(error),
    }
}

fn of_error(error: Error) -> RestoreError {
    match error {
        Error::Destination(trouble) | Error::Place(trouble) => trouble.into(),
        other => RestoreError::Unfit(other.message()),
    }
}
