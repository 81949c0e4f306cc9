//! What is looked at, made and told without copying a row.

use offtake_mapping::compose::checkpoints::Checkpoints;
use offtake_mapping::compose::{postgres, sqlite};
use offtake_mapping::{Identifier, Kind};

use super::chunk::Chunk;
use super::desk::{Desk, checkpoints, facts, spec};
use super::retry::{Tries, Trip, of_destination, wait_before};
use super::{Copier, Event, Job, Side, Stop};
use crate::destinations::{D1_ROW_BYTES_MAX, Place, Session};

impl Copier {
    /// Logs in at the destination, and tells what it is.
    pub async fn reach(&self) -> Result<String, Stop> {
        let ask = async || self.open().await?.health().await.map_err(of_destination);
        let health = self.persistently(ask).await?;
        if health.read_only {
            let why = format!("{} takes no writes", self.place.database());
            return Err(Stop::Refused { side: Side::Destination, why });
        }
        Ok(health.version)
    }

    /// Makes the table and the checkpoints, and writes, in a transaction that is rolled back. Why a
    /// copy would fail, if it would.
    pub async fn try_writing(&self, job: &Job) -> Result<Option<String>, Stop> {
        self.persistently(async || {
            let session = self.open().await?;
            match facts(self, job, &session).await {
                Err(Trip::Stop(Stop::Table { why })) => return Ok(Some(why)),
                facts => facts?,
            };
            let tried =
                session.try_tables(&spec(self, job), std::slice::from_ref(&job.mapping)).await;
            Ok(tried.map_err(of_destination)?.into_iter().flatten().next())
        })
        .await
    }

    /// Makes the table and the checkpoints.
    pub async fn set_up(&self, job: &Job) -> Result<(), Stop> {
        self.persistently(async || {
            let (desk, _) = Box::pin(Desk::take(self, job, true)).await?;
            desk.release().await
        })
        .await
    }

    /// All checkpoints there are.
    pub async fn checkpoints(&self) -> Result<Vec<Chunk>, Stop> {
        self.persistently(async || {
            let session = self.open().await?;
            let checkpoints = checkpoints(self, &session).await?;
            let listed = session.transact(&[checkpoints.list(None)], &self.settings).await;
            let listed = match listed.map_err(Trip::from) {
                // There is no such table.
                Err(Trip::Chunk(_)) => return Ok(Vec::new()),
                listed => listed?.unwrap_or_default(),
            };
            Ok(listed.iter().flatten().filter_map(|row| Chunk::read(row)).collect())
        })
        .await
    }

    /// Takes every chunk away from the runner that has it, also from one that is at work. Returns how
    /// many chunks there were.
    pub async fn reset_stuck(&self) -> Result<usize, Stop> {
        let held = |chunk: &&Chunk| chunk.lease_until.is_some() || chunk.is_in_progress();
        let count = self.checkpoints().await?.iter().filter(held).count();
        if count > 0 {
            self.persistently(async || {
                let session = self.open().await?;
                let reset = [checkpoints(self, &session).await?.reset_stuck().into()];
                Ok(session.transact(&reset, &self.settings).await?)
            })
            .await?;
        }
        Ok(count)
    }

    /// Waits before the next attempt to ask the source for what it has. False: none is left, or the
    /// run is to end.
    pub async fn wait_for_source(&self, attempt: u32, why: &str) -> bool {
        if attempt >= self.terms.attempts || self.stopping.is_cancelled() {
            return false;
        }
        let wait = wait_before(attempt);
        (self.tell)(Event::Retry { table: "", side: Side::Source, why, attempt, wait });
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = self.stopping.cancelled() => false,
        }
    }

    async fn open(&self) -> Result<Session, Trip> {
        let opened = Session::open(&self.place, &self.dialer, "offtake copy").await;
        opened.map_err(of_destination)
    }

    /// Does something at the destination until it works, as often as the terms say.
    async fn persistently<T>(&self, work: impl AsyncFn() -> Result<T, Trip>) -> Result<T, Stop> {
        let mut tries = Tries::default();
        loop {
            match work().await {
                Ok(done) => return Ok(done),
                Err(Trip::Later { why, wait }) => {
                    self.wait_until_later("", (&why, wait), &mut tries).await?;
                }
                Err(Trip::Again { .. } | Trip::TooSlow { .. })
                    if tries.failed + 1 < self.terms.attempts && !self.stopping.is_cancelled() =>
                {
                    tries.failed += 1;
                    tokio::time::sleep(wait_before(tries.failed)).await;
                }
                Err(trip) => return Err(ended(trip)),
            }
        }
    }

    /// The statements that make a job's table, its indexes and the checkpoints, to be read. The copy
    /// itself also makes Offtake's own state table, and marks the table as its own.
    pub fn set_up_sql(&self, job: &Job) -> Vec<String> {
        let mapping = &job.mapping;
        let qualified = |name: &Identifier| match &*self.place {
            Place::Postgres { schema, .. } => format!("{}.{}", schema.sql(), name.sql()),
            Place::Sqlite(_) | Place::D1(_) => name.sql(),
        };
        let create = match &*self.place {
            Place::Postgres { schema, .. } => match &mapping.definition.target.schema_sql {
                Some(statements) => statements.clone(),
                None => postgres::Apply::new(mapping, schema, &job.tenant).create_table(),
            },
            Place::Sqlite(_) | Place::D1(_) => sqlite::Apply::new(mapping).create_table(),
        };
        let table = qualified(&mapping.definition.target.table);
        let mut statements = vec![create];
        statements.extend(job.indexes.iter().map(|index| index.create(&table)));
        if let Some([checkpoints, skipped]) = Checkpoints::names(false) {
            let (table, skipped) = (qualified(&checkpoints), qualified(&skipped));
            statements.extend(Checkpoints::new(self.place.kind(), table, skipped).create());
        }
        statements
    }
}

/// How many columns a table of this kind can have.
pub fn columns_max(kind: Kind) -> usize {
    match kind {
        Kind::Postgres => 1600,
        Kind::Sqlite => 2000,
        Kind::D1 => 100,
    }
}

/// How many bytes a row there can have, where a copy could meet that; as text, bytea as bytes.
pub fn row_bytes_max(kind: Kind) -> Option<u64> {
    match kind {
        Kind::Postgres | Kind::Sqlite => None,
        Kind::D1 => Some(D1_ROW_BYTES_MAX as u64),
    }
}

/// What a failure without a chunk means for the run.
fn ended(trip: Trip) -> Stop {
    match trip {
        Trip::Stop(stop) => stop,
        Trip::Again { side, why } | Trip::TooSlow { side, why } => Stop::Unreachable { side, why },
        Trip::Later { why, .. } => Stop::Unreachable { side: Side::Destination, why },
        Trip::Chunk(why) => Stop::Table { why },
    }
}
