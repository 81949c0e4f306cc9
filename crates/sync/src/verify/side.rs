//! Reading one side.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use offtake_postgres::Error as PostgresError;
use tokio_postgres::{Client, Row};

use super::statement::{self, Key, Of, Range, Relation};
use super::{Error, Options};

/// Beyond the server's own limit on a statement, for the way there and back; a server that ignores
/// its limit, or a line that is dead, ends the comparison then.
const ANSWER_MARGIN: Duration = Duration::from_secs(10);

/// What a range is reduced to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksum {
    pub(super) rows: u64,
    halves: [String; 2],
}

/// What is known of a key on one side: the sum of its rows' checksums. There is one row, unless a
/// destination's table has no unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest {
    pub(super) rows: u32,
    sum: u128,
}

/// One side of a comparison.
pub(super) struct Side<'a> {
    pub(super) client: &'a Client,
    pub(super) relation: Relation,
    /// The statements that open a transaction.
    begin: String,
    statement_timeout: Duration,
    /// Which side a failure is of.
    fault: fn(PostgresError) -> Error,
    /// What its statements have taken so far.
    microseconds: AtomicU64,
}

impl Checksum {
    pub(super) fn new(rows: u64, halves: [String; 2]) -> Self {
        Self { rows, halves }
    }
}

impl Digest {
    pub(super) fn add(&mut self, checksum: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(checksum);
    }
}

impl<'a> Side<'a> {
    pub(super) fn source(client: &'a Client, relation: Relation, options: &Options) -> Self {
        let begin = statement::begin(options.statement_timeout, options.lock_timeout);
        Self::new(client, relation, begin, options, Error::Source)
    }

    pub(super) fn destination(client: &'a Client, relation: Relation, options: &Options) -> Self {
        let begin = statement::begin_destination(options.statement_timeout, options.lock_timeout);
        Self::new(client, relation, begin, options, Error::Destination)
    }

    fn new(
        client: &'a Client,
        relation: Relation,
        begin: String,
        options: &Options,
        fault: fn(PostgresError) -> Error,
    ) -> Self {
        let statement_timeout = options.statement_timeout;
        let microseconds = AtomicU64::new(0);
        Self { client, relation, begin, statement_timeout, fault, microseconds }
    }

    /// Counts what statements before it have taken.
    pub(super) fn having_spent(self, took: Duration) -> Self {
        self.spend(took);
        self
    }

    fn spend(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(took, Ordering::Relaxed);
    }

    /// What its statements have taken so far, until their last row was read.
    pub(super) fn spent(&self) -> Duration {
        Duration::from_micros(self.microseconds.load(Ordering::Relaxed))
    }

    /// Begins a transaction that only reads.
    pub(super) async fn begin(&self) -> Result<(), Error> {
        let begin = async {
            self.client.batch_execute(&self.begin).await.map_err(|e| (self.fault)(e.into()))
        };
        self.in_time(begin).await
    }

    pub(super) async fn boundary(&self, range: &Range, rows: u64) -> Result<Option<Key>, Error> {
        let found = self.query(&self.relation.boundary(range, rows)).await?;
        found.first().map(|row| self.key(row, 0, row.len())).transpose()
    }

    /// How many rows a range has.
    pub(super) async fn count(&self, range: &Range) -> Result<u64, Error> {
        let found = self.query(&self.relation.count(range)).await?;
        found.first().map_or(Ok(0), |row| Ok(self.text(row, 0)?.parse().unwrap_or(u64::MAX)))
    }

    pub(super) async fn checksum(&self, range: &Range) -> Result<Checksum, Error> {
        let found = self.query(&self.relation.checksum(range)).await?;
        found.first().map_or_else(
            || Ok(Checksum { rows: 0, halves: Default::default() }),
            |row| self.sums(row, 0),
        )
    }

    pub(super) async fn shares(&self, range: &Range) -> Result<HashMap<String, Checksum>, Error> {
        let found = self.query(&self.relation.shares(range)).await?;
        found.iter().map(|row| Ok((self.text(row, 0)?, self.sums(row, 1)?))).collect()
    }

    fn sums(&self, row: &Row, from: usize) -> Result<Checksum, Error> {
        let rows = self.text(row, from)?.parse().unwrap_or(u64::MAX);
        Ok(Checksum { rows, halves: [self.text(row, from + 1)?, self.text(row, from + 2)?] })
    }

    pub(super) async fn has_null_keys(&self) -> Result<bool, Error> {
        let found = self.query(&self.relation.null_keys()).await?;
        found.first().map_or(Ok(false), |row| Ok(self.text(row, 0)? == "true"))
    }

    /// The keys of a range that are asked for and that `wanted` wants.
    pub(super) async fn rows(
        &self,
        range: &Range,
        of: &Of,
        wanted: impl Fn(&Key) -> bool,
    ) -> Result<HashMap<Key, Digest>, Error> {
        let sql = self.relation.rows(range, of);
        let read = async {
            let mut rows: HashMap<Key, Digest> = HashMap::new();
            let mut stream = Box::pin(
                self.client
                    .query_typed_raw(&sql, NO_PARAMETERS)
                    .await
                    .map_err(|e| (self.fault)(e.into()))?,
            );
            while let Some(row) = stream.try_next().await.map_err(|e| (self.fault)(e.into()))? {
                let key = self.key(&row, 1, row.len())?;
                if wanted(&key) {
                    let checksum = u128::from_str_radix(&self.text(&row, 0)?, 16).unwrap_or(0);
                    rows.entry(key).or_default().add(checksum);
                }
            }
            Ok(rows)
        };
        self.in_time(read).await
    }

    /// The columns of single rows, by key: their text, or checksums of it.
    pub(super) async fn columns(
        &self,
        keys: &[Key],
        values: bool,
    ) -> Result<HashMap<Key, Vec<Option<String>>>, Error> {
        let mut found = HashMap::new();
        for row in self.query(&self.relation.columns(keys, values)).await? {
            let key_columns = keys[0].len();
            let columns: Result<Vec<_>, _> =
                (key_columns..row.len()).map(|i| self.optional_text(&row, i)).collect();
            found.insert(self.key(&row, 0, key_columns)?, columns?);
        }
        Ok(found)
    }

    /// Runs a statement without parameters, unprepared: behind a pooler there are no prepared
    /// statements.
    pub(super) async fn query(&self, sql: &str) -> Result<Vec<Row>, Error> {
        let read =
            async { self.client.query_typed(sql, &[]).await.map_err(|e| (self.fault)(e.into())) };
        self.in_time(read).await
    }

    async fn in_time<T>(&self, read: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let limit = self.statement_timeout + ANSWER_MARGIN;
        let began = Instant::now();
        let read = tokio::time::timeout(limit, read).await;
        self.spend(began.elapsed());
        match read {
            Ok(done) => done,
            Err(_) => Err((self.fault)(PostgresError::TimedOut {
                what: "a statement of verify".to_owned(),
                limit,
            })),
        }
    }

    fn key(&self, row: &Row, from: usize, to: usize) -> Result<Key, Error> {
        (from..to).map(|i| self.text(row, i)).collect()
    }

    pub(super) fn text(&self, row: &Row, column: usize) -> Result<String, Error> {
        Ok(self.optional_text(row, column)?.unwrap_or_default())
    }

    /// Every statement here asks for text only; a server that answers otherwise is in error, not
    /// we.
    fn optional_text(&self, row: &Row, column: usize) -> Result<Option<String>, Error> {
        row.try_get(column).map_err(|e| (self.fault)(e.into()))
    }
}

/// `query_typed_raw` wants to know the type of what is not there.
const NO_PARAMETERS: [(i32, tokio_postgres::types::Type); 0] = [];
