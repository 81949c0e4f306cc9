//! Putting a tenant's own rows back into the source: one transaction.

mod asking;
mod write;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt as _;
use offtake_loops::failpoint;
use offtake_mapping::{Identifier, foreign};
use offtake_postgres::{SqlState, TEXT_FORMAT};
use tokio_postgres::Client;

pub use self::asking::{blockers, outcome, same_database};
use super::Error;
use super::order::parents_first;
use super::shape::{Shape, compare};
use super::statement::{Mode, Statements};
use super::tables::{OwnTable, OwnTables};
use crate::PublicId;
use crate::archive::{Contents, Manifest, Member};
use crate::snapshots::{Card, Pass};
use crate::sql;
use crate::stores::Store;

/// For one statement: the largest table is staged by one, and planned by one.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// A process that is stopped between two statements keeps its row locks no longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The application's sessions wait no longer behind a lock that this transaction waits for.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// What the application's triggers find as their session has it, and what is pinned before.
const PINNED: [&str; 12] = [
    "search_path",
    "row_security",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "extra_float_digits",
    "bytea_output",
    "lc_monetary",
    "array_nulls",
    "quote_all_identifiers",
    "xmloption",
    "standard_conforming_strings",
];

/// Nothing but the catalog's functions and operators is found by a bare name. A policy that would
/// hide a row is an error.
const PIN: &str = "set local search_path = pg_catalog, pg_temp; set local row_security = off";

/// An archive that was read once as a whole, and found to be unchanged.
#[derive(Clone, Copy)]
pub struct Archive<'a> {
    pub store: &'a Store,
    pub id: &'a PublicId,
    pub card: &'a Card,
    pub contents: &'a Contents,
    pub manifest: &'a Manifest,
}

/// What of an archive is to be restored, and how.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The tables of now, with their rules.
    pub tables: &'a [OwnTable],
    pub mode: Mode,
    /// Names of tables as archives have them; empty: all of the archive.
    pub only: &'a [String],
    /// The operator's own SQL over one table's columns; then `only` has one name.
    pub condition: Option<&'a str>,
}

/// What would be done, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Planned {
    pub tables: Vec<PlannedTable>,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTable {
    pub table: String,
    /// Rows of the archive that were looked at.
    pub staged: u64,
    pub added: u64,
    pub changed: u64,
    pub deleted: u64,
    /// The first keys: `add`, `change` or `delete`, and a JSON object.
    pub first: Vec<(String, String)>,
    /// Of all rows that would be written, with their values of now.
    digest: String,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub rows: u64,
    /// What the application's triggers made of the rows.
    pub notes: Vec<String>,
}

/// What became of a transaction whose reply to COMMIT was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    RolledBack,
    /// It is still running.
    Open,
}

/// A transaction that restores. [`Restoring::leave`] ends it without a change, and so does the end
/// of its session.
pub struct Restoring<'c> {
    client: &'c Client,
    tenant: String,
    own: OwnTables,
    /// By the place of a table: what the archive gives of it. None: nothing.
    given: Vec<Option<Given>>,
    /// As the session had them before.
    settings: Vec<(String, String)>,
    planned: Planned,
    /// Places of tables, parents first.
    order: Vec<usize>,
}

/// What an archive gives of a table.
struct Given {
    /// Its place in the archive.
    at: usize,
    /// In the order of the values in a line.
    columns: Vec<Identifier>,
}

impl Planned {
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(PlannedTable::rows).sum()
    }
}

impl PlannedTable {
    pub fn rows(&self) -> u64 {
        self.added + self.changed + self.deleted
    }
}

impl Error {
    /// Somebody else's lock or change stood in the way: the same may succeed a moment later.
    pub fn passing(&self) -> bool {
        let Self::Source(error) = self else { return false };
        error.sqlstate().is_some_and(|code| {
            [
                SqlState::LOCK_NOT_AVAILABLE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::T_R_SERIALIZATION_FAILURE,
            ]
            .contains(code)
        })
    }
}

impl<'c> Restoring<'c> {
    /// Opens the transaction, stages the archive's rows in it, finds what is to be done with each,
    /// and refuses what a guard refuses. No statement writes to a table of the source.
    pub async fn begin(
        client: &'c Client,
        archive: Archive<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Self, Error> {
        let row = client.query_one(sql::READ_SESSION, &[&&PINNED[..]]).await?;
        if !row.get::<_, bool>("fires") {
            return Err(Error::Unfit(
                "session_replication_role is `replica` for this role, so neither the \
                 application's triggers nor foreign keys nor Offtake's triggers would fire"
                    .to_owned(),
            ));
        }
        let names: Vec<String> = row.get("names");
        let values: Vec<String> = row.get("settings");
        let begin = format!(
            "begin isolation level repeatable read, read write; {TEXT_FORMAT} {PIN}; \
             set local statement_timeout = {}; set local lock_timeout = {}; \
             set local idle_in_transaction_session_timeout = {}; \
             set local synchronous_commit = on; set local jit = off",
            STATEMENT_TIMEOUT.as_millis(),
            LOCK_TIMEOUT.as_millis(),
            IDLE_TIMEOUT.as_millis()
        );
        client.batch_execute(&begin).await?;
        let own = OwnTables::read_pinned(client, wanted.tables).await?;
        let mut restoring = Self {
            client,
            tenant: archive.contents.tenant.clone(),
            given: own.tables.iter().map(|_| None).collect(),
            own,
            settings: names.into_iter().zip(values).collect(),
            planned: Planned::default(),
            order: Vec::new(),
        };
        restoring.fit(archive.contents, wanted.only)?;
        restoring.stage(archive).await?;
        restoring.plan(wanted).await?;
        restoring.guard().await?;
        restoring.look_at_sequences().await?;
        failpoint("source_restore.planned").await?;
        Ok(restoring)
    }

    pub fn planned(&self) -> &Planned {
        &self.planned
    }

    /// Ends the transaction without a change.
    pub async fn leave(client: &Client) -> Result<(), Error> {
        Ok(client.batch_execute("rollback").await?)
    }

    fn statements(&self) -> Statements<'_> {
        Statements { of: &self.own, tenant: &self.tenant }
    }

    fn label(&self, at: usize) -> String {
        self.own.tables[at].label()
    }

    /// The places of tables of which the archive gives rows.
    fn places(&self) -> Vec<usize> {
        (0..self.given.len()).filter(|at| self.given[*at].is_some()).collect()
    }

    fn columns(&self, at: usize) -> &[Identifier] {
        self.given[at].as_ref().map_or(&[], |given| &given.columns)
    }

    /// Finds the archive's tables among those of now, and compares their columns.
    fn fit(&mut self, contents: &Contents, only: &[String]) -> Result<(), Error> {
        let mut differing = Vec::new();
        if let Some(name) =
            only.iter().find(|name| !contents.tables.iter().any(|table| table.table == **name))
        {
            let known: Vec<&str> = contents.tables.iter().map(|t| t.table.as_str()).collect();
            return Err(Error::Unfit(format!(
                "the snapshot has no table {}; it has {}",
                foreign(name),
                foreign(&known.join(", "))
            )));
        }
        for (at, table) in contents.tables.iter().enumerate() {
            if !only.is_empty() && !only.contains(&table.table) {
                continue;
            }
            let Some(place) = self.own.tables.iter().position(|now| now.label() == table.table)
            else {
                differing.push(format!(
                    "{}: no mapping and no entry of snapshots.tables names it now",
                    foreign(&table.table)
                ));
                continue;
            };
            match compare(table, &self.own.tables[place]) {
                Shape::Fits { columns, notes } => {
                    self.planned.notes.extend(notes);
                    self.given[place] = Some(Given { at, columns });
                }
                Shape::Differs(how) => differing.extend(how),
            }
        }
        match differing.is_empty() {
            true => Ok(()),
            false => Err(Error::Unfit(differing.join("; "))),
        }
    }

    async fn stage(&self, archive: Archive<'_>) -> Result<(), Error> {
        let statements = self.statements();
        let places = self.places();
        for at in &places {
            let create = statements.create_stage(*at, self.columns(*at));
            self.client.batch_execute(&create).await?;
        }
        let of_member: BTreeMap<usize, usize> =
            places.iter().filter_map(|at| Some((self.given[*at].as_ref()?.at, *at))).collect();
        let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
        let mut pass = Pass::again(archive.store, archive.id, archive.manifest.clone()).await?;
        let mut open = None;
        while let Some(member) = pass.next().await? {
            let Member::Data { table, lines } = member else { continue };
            let Some(at) = of_member.get(&table) else { continue };
            if open.as_ref().is_none_or(|(staged, _)| staged != at) {
                end_copy(open.take(), &mut counts).await?;
                let copy = statements.copy_into_stage(*at, self.columns(*at));
                let sink = self.client.copy_in::<_, Bytes>(&copy).await?;
                open = Some((*at, Box::pin(sink)));
            }
            if let Some((_, sink)) = &mut open {
                sink.feed(lines).await?;
            }
        }
        end_copy(open.take(), &mut counts).await?;
        pass.end(archive.card)?;
        let mut foreign_rows = Vec::new();
        for at in places {
            let (staged, expected) = (
                counts.get(&at).copied().unwrap_or(0),
                self.given[at].as_ref().map_or(0, |given| archive.manifest.rows[given.at]),
            );
            if staged != expected {
                return Err(Error::Unfit(format!(
                    "{staged} rows of {} were staged, and the snapshot has {expected}",
                    self.label(at)
                )));
            }
            self.client.batch_execute(&statements.index_stage(at)).await?;
            if let Some(list) = statements.list_foreign_stage(at) {
                let what = "is in the snapshot and is not of this tenant";
                foreign_rows.extend(self.keys(at, &list, what).await?);
            }
        }
        guarded(foreign_rows)
    }

    /// The keys that a statement lists, each as a line of a refusal.
    async fn keys(&self, at: usize, list: &str, what: &str) -> Result<Vec<String>, Error> {
        let rows = self.client.query(list, &[]).await?;
        let line = |row: &tokio_postgres::Row| {
            format!("{} {} {what}", self.label(at), foreign(row.get::<_, &str>(0)))
        };
        Ok(rows.iter().map(line).collect())
    }

    async fn plan(&mut self, wanted: Wanted<'_>) -> Result<(), Error> {
        let mut tables = Vec::new();
        let statements = self.statements();
        for at in 0..self.given.len() {
            if self.given[at].is_none() {
                self.client.batch_execute(&statements.plan_nothing(at)).await?;
                continue;
            }
            let how = (wanted.mode, wanted.condition);
            for statement in statements.plan(at, self.columns(at), how) {
                // One statement at a time: the operator's condition cannot bring a second one.
                match wanted.condition {
                    Some(_) if !statement.contains("; analyze") => {
                        self.client.execute(&statement, &[]).await?;
                    }
                    _ => self.client.batch_execute(&statement).await?,
                }
            }
            let count = self.client.query_one(&statements.count(at), &[]).await?;
            let number = |name: &str| u64::try_from(count.get::<_, i64>(name)).unwrap_or(0);
            let first = self.client.query(&statements.list(at), &[]).await?;
            tables.push(PlannedTable {
                table: self.label(at),
                staged: number("staged"),
                added: number("added"),
                changed: number("changed"),
                deleted: number("deleted"),
                first: first.iter().map(|row| (row.get(0), row.get(1))).collect(),
                digest: self.client.query_one(&statements.digest(at), &[]).await?.get(0),
            });
        }
        self.planned.tables = tables;
        Ok(())
    }

    fn planned_of(&self, at: usize) -> Option<&PlannedTable> {
        let label = self.label(at);
        self.planned.tables.iter().find(|table| table.table == label)
    }

    async fn guard(&mut self) -> Result<(), Error> {
        let statements = self.statements();
        let mut refused = Vec::new();
        for at in self.places() {
            let taken = "belongs to another tenant now";
            refused.extend(self.keys(at, &statements.list_taken(at), taken).await?);
            let deleted = statements.list_foreign_deleted(at);
            refused.extend(self.keys(at, &deleted, "is not of this tenant").await?);
            let foreign = "would not be of this tenant";
            refused.extend(self.keys(at, &statements.list_foreign(at), foreign).await?);
        }
        for reference in &self.own.references {
            let writes = |at: Option<usize>| at.and_then(|at| self.planned_of(at));
            if let Some(list) = statements.list_dangling(reference)
                && let Some(child) = reference.child
                && writes(reference.child).is_some_and(|planned| planned.rows() > 0)
            {
                let what = format!(
                    "would refer to a row of {} that is not there",
                    reference.parent_name.in_sql()
                );
                refused.extend(self.keys(child, &list, &what).await?);
            }
            if let Some(list) = statements.list_orphaning(reference)
                && let Some(parent) = reference.parent
                && writes(reference.parent).is_some_and(|p| p.deleted + p.changed > 0)
            {
                let what = format!(
                    "would be gone, and a row of {} refers to it",
                    reference.child_name.in_sql()
                );
                refused.extend(self.keys(parent, &list, &what).await?);
            }
            if let Some(list) = statements.list_referred_until_changed(reference)
                && let Some(parent) = reference.parent
                && writes(reference.parent).is_some_and(|planned| planned.deleted > 0)
                && writes(reference.child).is_some_and(|planned| planned.changed > 0)
            {
                let what = format!(
                    "would be deleted before a row of {} that refers to it is changed: restore with \
                     --mode overwrite first, and then with --mode mirror",
                    reference.child_name.in_sql()
                );
                refused.extend(self.keys(parent, &list, &what).await?);
            }
        }
        guarded(refused)?;
        let adding: Vec<bool> = (0..self.given.len())
            .map(|at| self.planned_of(at).is_some_and(|planned| planned.added > 0))
            .collect();
        self.order = parents_first(&self.own, &adding).map_err(|cycle| {
            let names: Vec<String> = cycle.into_iter().map(|at| self.label(at)).collect();
            Error::Unfit(format!(
                "{} refer to each other, and none of these foreign keys is deferrable, so no order \
                 brings their rows back",
                names.join(" and ")
            ))
        })?;
        Ok(())
    }

    /// A sequence that stands below what is restored would give a number that is taken.
    async fn look_at_sequences(&mut self) -> Result<(), Error> {
        let oids: Vec<u32> = self.own.tables.iter().map(|table| table.oid).collect();
        let rows = self.client.query(sql::READ_OWN_SEQUENCES, &[&oids]).await?;
        let mut notes = Vec::new();
        for row in &rows {
            let oid: u32 = row.get("oid");
            let Some(at) = oids.iter().position(|known| *known == oid) else { continue };
            let column: String = row.get("column_name");
            let (Some(stands_at), Some(name)) =
                (row.get::<_, Option<i64>>("stands_at"), Identifier::new(column).ok())
            else {
                continue;
            };
            if !self.columns(at).contains(&name) {
                continue;
            }
            let highest = self.statements().highest_added(at, &name);
            let highest: Option<i64> = self.client.query_one(&highest, &[]).await?.get(0);
            if let Some(highest) = highest.filter(|highest| *highest > stands_at) {
                let sequence: String = row.get("sequence");
                notes.push(format!(
                    "the sequence {} stands at {stands_at}, and {} comes back up to {highest}: it \
                     would give numbers that are taken. Sequences are not changed",
                    foreign(&sequence),
                    foreign(name.as_str())
                ));
            }
        }
        self.planned.notes.extend(notes);
        Ok(())
    }
}

type Copy = std::pin::Pin<Box<tokio_postgres::CopyInSink<Bytes>>>;

async fn end_copy(
    open: Option<(usize, Copy)>,
    counts: &mut BTreeMap<usize, u64>,
) -> Result<(), Error> {
    if let Some((at, mut sink)) = open {
        counts.insert(at, sink.as_mut().finish().await?);
    }
    Ok(())
}

fn guarded(refused: Vec<String>) -> Result<(), Error> {
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Error::Guarded(refused)),
    }
}
