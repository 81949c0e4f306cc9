//! The destination's side of a comparison, by its kind.

use std::collections::HashMap;

use offtake_mapping::{Identifier, literal};

use super::file_side::{FileSide, Sqlite};
use super::ranges::{server, target_columns};
use super::side::{Checksum, Digest, Side};
use super::statement::{self, Key, Of, Range, Relation, TargetColumn};
use super::{Error, Options, VerifyTarget};
use crate::destinations::{Reader, STATE_TABLE};

/// What is read of a destination; see [`Side`].
pub(super) enum Destination<'a> {
    Postgres { side: Side<'a>, schema: &'a Identifier },
    File(FileSide<'a>),
}

impl<'a> Destination<'a> {
    /// Begins, and tells how the table holds the columns: the source prints them so.
    pub(super) async fn begin(
        reader: Reader<'a>,
        target: &VerifyTarget<'_>,
        options: &Options,
    ) -> Result<(Vec<TargetColumn>, Self), Error> {
        match reader {
            Reader::Postgres { client, schema } => {
                let (limit, locks) = (options.statement_timeout, options.lock_timeout);
                let begin = statement::begin_destination(limit, locks);
                client.batch_execute(&begin).await.map_err(Error::destination)?;
                let columns = target_columns(client, schema, target).await?;
                let here = server(client).await.map_err(Error::destination)?;
                let relation = Relation::destination(schema, target, &columns, here);
                let side = Side::destination(client, relation, options);
                Ok((columns, Self::Postgres { side, schema }))
            }
            Reader::Sqlite(session) => Self::file(Sqlite::File(session), target, options).await,
            Reader::D1(session) => Self::file(Sqlite::D1(session), target, options).await,
        }
    }

    async fn file(
        session: Sqlite<'a>,
        target: &VerifyTarget<'_>,
        options: &Options,
    ) -> Result<(Vec<TargetColumn>, Self), Error> {
        let side = FileSide::begin(session, target, options).await?;
        Ok((FileSide::columns_at_source(target.mapping), Self::File(side)))
    }

    /// Begins a transaction that only reads, where several statements share one.
    pub(super) async fn renew(&self) -> Result<(), Error> {
        match self {
            Self::Postgres { side, .. } => side.begin().await,
            Self::File(_) => Ok(()),
        }
    }

    pub(super) async fn boundary(&self, range: &Range, rows: u64) -> Result<Option<Key>, Error> {
        match self {
            Self::Postgres { side, .. } => side.boundary(range, rows).await,
            Self::File(side) => side.boundary(range, rows).await,
        }
    }

    pub(super) async fn count(&self, range: &Range) -> Result<u64, Error> {
        match self {
            Self::Postgres { side, .. } => side.count(range).await,
            Self::File(side) => side.count(range).await,
        }
    }

    pub(super) async fn checksum(&self, range: &Range) -> Result<Checksum, Error> {
        match self {
            Self::Postgres { side, .. } => side.checksum(range).await,
            Self::File(side) => side.checksum(range).await,
        }
    }

    pub(super) async fn shares(&self, range: &Range) -> Result<HashMap<String, Checksum>, Error> {
        match self {
            Self::Postgres { side, .. } => side.shares(range).await,
            Self::File(side) => side.shares(range).await,
        }
    }

    pub(super) async fn rows(
        &self,
        range: &Range,
        of: &Of,
        wanted: impl Fn(&Key) -> bool,
    ) -> Result<HashMap<Key, Digest>, Error> {
        match self {
            Self::Postgres { side, .. } => side.rows(range, of, wanted).await,
            Self::File(side) => side.rows(range, of, wanted).await,
        }
    }

    pub(super) async fn columns(
        &self,
        keys: &[Key],
        values: bool,
    ) -> Result<HashMap<Key, Vec<Option<String>>>, Error> {
        match self {
            Self::Postgres { side, .. } => side.columns(keys, values).await,
            Self::File(side) => side.columns(keys, values).await,
        }
    }

    /// Whether it has applied every change up to this one. None: it has no state table.
    pub(super) async fn passed(
        &self,
        target: &VerifyTarget<'_>,
        wanted: i64,
    ) -> Result<Option<bool>, Error> {
        let (side, schema) = match self {
            Self::Postgres { side, schema } => (side, schema),
            Self::File(side) => return side.passed(target, wanted).await,
        };
        let state = format!("{}.{STATE_TABLE}", schema.sql());
        let exists = format!("select pg_catalog.to_regclass({}) is not null", literal(&state));
        let told = |rows: &[tokio_postgres::Row]| {
            rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false))
        };
        if !told(&side.query(&exists).await?) {
            return Ok(None);
        }
        let passed = format!(
            "select coalesce(bool_or(backfilled and sequence_id >= {wanted}), false) from {state} where tenant_id = {} and mapping = {}",
            literal(target.tenant_id),
            literal(target.mapping.name())
        );
        Ok(Some(told(&side.query(&passed).await?)))
    }
}
