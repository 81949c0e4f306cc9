//! The destinations query, read again and again.
//!
//! A daemon asks every `destinations.refresh` which destinations there are, and mostly there is
//! nothing new. So it first has the source add up hashes of the query's rows, in buckets by tenant.
//! Only the rows of buckets whose sum has changed are read; of the others the daemon keeps what it
//! read before. The rows of one tenant are in one bucket, so whatever is to be decided between two
//! rows of one destination is decided within a bucket.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use offtake_postgres::SourcePool;
use offtake_sync::destinations::{DestinationSpec, Places};
use rand::Rng as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Transaction};

use super::destination_list::{DestinationList, Error, of_file};
use crate::configuration::Destinations;

/// Into so many buckets the rows go. Of a million destinations a bucket has 250, so a tenant that
/// appears has 250 rows read again; and the sums of all buckets are 100 kB.
const BUCKETS: i32 = 4096;

/// What the configuration file names is in a bucket of its own, before all others.
const FILE: i32 = -1;

/// How many rows a bucket has, and the sum of their hashes.
type Digest = (i64, i128);

/// What the query returned of the tenants of one bucket.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    digest: Digest,
    /// It was read, and the registry does not know it yet.
    fresh: bool,
    /// As the registry is told of them.
    pub(crate) named: Vec<Arc<DestinationSpec>>,
    /// What was read: of the usable ones, those that are not in `named` yet.
    pub(crate) list: DestinationList,
    /// What the status tells of destinations that the query names several times.
    pub(crate) told: Vec<String>,
}

/// What the query returned the last time.
#[derive(Default)]
pub(crate) struct Listing {
    /// Of the hashes. Random, so that no tenant can write a row that looks like another one.
    seed: i64,
    of_file: HashSet<(String, String)>,
    buckets: BTreeMap<i32, Bucket>,
    places: Places,
    /// The query was read since everything was forgotten.
    begun: bool,
    /// Something is otherwise than the registry knows it.
    changed: bool,
}

impl Listing {
    /// Forgets everything, so that the next reading reads every row.
    pub(crate) fn forget(&mut self, destinations: &Destinations) {
        let usable = destinations.static_.iter().map(DestinationSpec::from).collect();
        let list = DestinationList { usable, ..DestinationList::default() };
        let bucket = Bucket { list, fresh: true, ..Bucket::default() };
        *self = Self {
            seed: rand::rng().random(),
            of_file: of_file(destinations),
            buckets: BTreeMap::from([(FILE, bucket)]),
            changed: true,
            places: Places::with(&destinations.allow_files, &destinations.d1),
            ..Self::default()
        };
    }

    /// How many destinations the file names that can be used.
    pub(crate) fn of_file(&self) -> usize {
        self.buckets.get(&FILE).map_or(0, |bucket| bucket.named.len())
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.values()
    }

    /// The buckets that the registry does not know yet.
    pub(crate) fn fresh(&mut self) -> impl Iterator<Item = &mut Bucket> {
        self.buckets.values_mut().filter(|bucket| bucket.fresh)
    }

    /// The registry knows everything now.
    pub(crate) fn registered(&mut self) {
        self.changed = false;
        self.fresh().for_each(|bucket| bucket.fresh = false);
    }

    /// Runs the query, in a READ ONLY transaction under `statement_timeout`, and reads the rows
    /// that are not known yet. Returns whether the registry is to be told something.
    pub(crate) async fn read(
        &mut self,
        destinations: &Destinations,
        pool: &SourcePool,
        statement_timeout: Duration,
    ) -> Result<bool, Error> {
        let Some(query) = &destinations.query else { return Ok(self.changed) };
        let mut connection = pool.get().await?;
        let begin = connection.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        let transaction = begin.read_only(true).start().await?;
        let timeout = format!("set local statement_timeout = {}", statement_timeout.as_millis());
        transaction.batch_execute(&timeout).await?;
        let statements = Statements::of(&transaction, query, self.seed).await?;
        if !self.begun {
            self.read_rows(&transaction, &statements.all, &[]).await?;
            self.begun = true;
            return Ok(self.changed);
        }
        let digests = statements.read_digests(&transaction).await?;
        let before = self.buckets.len();
        self.buckets.retain(|number, _| *number == FILE || digests.contains_key(number));
        self.changed |= before > self.buckets.len();
        let is_known = |number: &i32, digest: &Digest| {
            self.buckets.get(number).is_some_and(|bucket| bucket.digest == *digest)
        };
        let changed = digests.iter().filter(|(number, digest)| !is_known(number, digest));
        let changed: Vec<i32> = changed.map(|(number, _)| *number).collect();
        if !changed.is_empty() {
            self.read_rows(&transaction, &statements.some, &[&changed]).await?;
        }
        Ok(self.changed)
    }

    /// Reads rows, which come bucket by bucket, so that no more than a bucket's are held.
    async fn read_rows(
        &mut self,
        transaction: &Transaction<'_>,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(), Error> {
        let statement = transaction.prepare(statement).await?;
        let mut rows = pin!(transaction.query_raw(&statement, parameters.iter().copied()).await?);
        let mut open: Option<(i32, Digest, Vec<serde_json::Value>)> = None;
        while let Some(row) = rows.try_next().await? {
            let (number, hash): (i32, i64) = (row.get("bucket"), row.get("hash"));
            if open.as_ref().is_none_or(|(at, ..)| *at != number) {
                open.take().into_iter().for_each(|bucket| self.fill(bucket));
            }
            let (_, digest, rows) = open.get_or_insert_with(|| (number, (0, 0), Vec::new()));
            *digest = (digest.0 + 1, digest.1 + i128::from(hash));
            rows.push(row.get("destination"));
        }
        open.take().into_iter().for_each(|bucket| self.fill(bucket));
        Ok(())
    }

    fn fill(&mut self, (number, digest, rows): (i32, Digest, Vec<serde_json::Value>)) {
        let mut list = DestinationList::default();
        list.add_rows(&self.of_file, rows.into_iter(), &mut self.places);
        self.buckets.insert(number, Bucket { digest, list, fresh: true, ..Bucket::default() });
        self.changed = true;
    }
}

/// The statements of one reading, composed around the operator's query.
struct Statements {
    digests: String,
    all: String,
    some: String,
}

impl Statements {
    async fn of(transaction: &Transaction<'_>, query: &str, seed: i64) -> Result<Self, Error> {
        let query = query.trim_end().trim_end_matches(';');
        let columns = transaction.prepare(&format!("select * from (\n{query}\n) q")).await?;
        let named = columns.columns().iter().filter(|c| c.name() == "tenant_id").count();
        // Without that column every row is told to have no tenant.
        let tenant = if named == 1 { "coalesce(q.tenant_id::text, '')" } else { "''" };
        let bucket = format!("(hashtextextended({tenant}, {seed}) & {})::int4", BUCKETS - 1);
        let row = format!(
            "select {bucket} as bucket, hashtextextended(q::text, {seed}) as hash,
                    to_jsonb(q) as destination"
        );
        Ok(Self {
            digests: format!(
                "select bucket, count(*) as rows, sum(hash)::text as sum
                   from (select {bucket} as bucket, hashtextextended(q::text, {seed}) as hash
                           from (\n{query}\n) q) h group by bucket"
            ),
            all: format!("{row} from (\n{query}\n) q order by 1"),
            some: format!("{row} from (\n{query}\n) q where {bucket} = any($1::int4[]) order by 1"),
        })
    }

    async fn read_digests(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<BTreeMap<i32, Digest>, Error> {
        let rows = transaction.query(&self.digests, &[]).await?;
        let digest = |row: &tokio_postgres::Row| {
            let sum: &str = row.get("sum");
            (row.get("bucket"), (row.get("rows"), sum.parse().unwrap_or_default()))
        };
        Ok(rows.iter().map(digest).collect())
    }
}
