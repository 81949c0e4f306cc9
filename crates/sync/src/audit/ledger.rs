//! What the source knows of audits: which daemon has a destination, how far the audit of each copy
//! came, and what it found.

use std::time::{Duration, Instant};

use offtake_postgres::{PooledConnection, SourcePool};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::types::ToSql;

use crate::destinations::Known;
use crate::verify::Point;
use crate::{Error, sql};

/// A destination that is this daemon's until the lease runs out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) destination_id: i64,
    attempt: i64,
    /// Failed audits in a row before this one.
    pub(super) failures: i32,
}

/// A copy whose audit begins or goes on.
pub(super) struct Due {
    pub(super) mapping: String,
    /// As it was read: what is noted next replaces only this.
    read: Option<Value>,
    /// Tells one copy of the mapping from the next.
    copy: Option<String>,
    /// `audited_at` as it was read.
    audited: String,
    pub(super) progress: Progress,
}

/// Where an audit goes on, and what it found until there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The version of the mapping that is compared.
    pub(super) version: String,
    /// By the source's clock.
    pub(super) began: String,
    pub(super) next: Point,
    /// How often the range at `next` could not be settled.
    pub(super) tries: u32,
    /// What differed in the range at `next` is being repaired.
    pub(super) repaired: bool,
    pub(super) rows: u64,
    pub(super) differences: u64,
    /// Rows that were passed by: they did not rest, or the destination was behind.
    pub(super) unsettled: u64,
    /// Rows that differ because they are quarantined.
    pub(super) quarantined: u64,
    /// Rows that a side cannot print.
    #[serde(default)]
    pub(super) not_compared: u64,
    /// The first of them: its key and why.
    #[serde(default)]
    pub(super) unprinted: Option<String>,
}

/// What is noted of an audit.
pub(super) enum Note<'a> {
    /// It goes on.
    Progress(&'a Progress),
    /// It has ended.
    Ended(&'a Progress),
    /// It could not be made.
    Failed(&'a str),
}

/// A place in the order in which copies are audited.
struct Position {
    audited: String,
    destination_id: i64,
    /// When the way to it began.
    since: Instant,
}

/// However far it came, a look begins at the front again after this long. Behind very many copies
/// that may not be compared (of tenants that left, of a server that is down) the way to the others
/// takes minutes, and those that may be compared meanwhile should not wait for the end.
const FRONT_AGAIN: Duration = Duration::from_secs(3600);

/// The statements about audits, and the time that they took at the source.
pub(super) struct Ledger {
    pool: SourcePool,
    period: Duration,
    lease: Duration,
    /// Names this process in `leased_by`.
    process: String,
    spent: Duration,
    /// Where the next look begins. None: at the front.
    position: Option<Position>,
}

impl Ledger {
    pub(super) fn new(pool: SourcePool, period: Duration, lease: Duration) -> Self {
        let process = std::process::id().to_string();
        Self { pool, period, lease, process, spent: Duration::ZERO, position: None }
    }

    /// The time that statements took since the last call.
    pub(super) fn take_spent(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }

    /// The time that statements took since [`Self::take_spent`].
    pub(super) fn spent(&self) -> Duration {
        self.spent
    }

    /// Runs work with a connection, and counts its time.
    async fn with<T>(
        &mut self,
        work: impl AsyncFnOnce(&PooledConnection) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        let connection = self.pool.get().await.map_err(Error::Source)?;
        let began = Instant::now();
        let done = work(&connection).await;
        self.spent += began.elapsed();
        done.map_err(Error::source)
    }

    /// Claims the destination that was audited the longest ago, if it is due.
    pub(super) async fn claim(&mut self, known: &Known) -> Result<Option<Claim>, Error> {
        let due = self.due(known).await?;
        if due.is_empty() {
            return Ok(None);
        }
        let (period, lease) = (milliseconds(self.period), milliseconds(self.lease));
        let process = self.process.clone();
        let row = self
            .with(async |source| {
                let parameters: [&(dyn ToSql + Sync); 4] = [&due, &period, &lease, &process];
                source.query_opt(sql::CLAIM_AUDIT, &parameters).await
            })
            .await?;
        Ok(row.map(|row| Claim {
            destination_id: row.get("destination_id"),
            attempt: row.get("attempt"),
            failures: row.get("failures"),
        }))
    }

    /// Destinations that may be claimed: of the first that are due, those that this daemon knows.
    /// Where it knows none of so many, other daemons have other destinations, and it names all of
    /// its own.
    async fn due(&mut self, known: &Known) -> Result<Vec<i64>, Error> {
        let period = milliseconds(self.period);
        let on_the_way = |position: &Position| position.since.elapsed() < FRONT_AGAIN;
        let position = self.position.take().filter(on_the_way).unwrap_or_else(|| Position {
            audited: "-infinity".to_owned(),
            destination_id: 0,
            since: Instant::now(),
        });
        let Position { audited, destination_id, since } = &position;
        let parameters: [&(dyn ToSql + Sync); 3] = [&period, audited, destination_id];
        let listed =
            self.with(async |source| source.query(sql::LIST_AUDITABLE, &parameters).await).await?;
        if listed.is_empty() {
            let next = async |source: &PooledConnection| {
                source.query_opt(sql::PASS_BY_AUDITABLE, &parameters).await
            };
            self.position = self.with(next).await?.map(|row| Position {
                audited: row.get("audited"),
                destination_id: row.get("destination_id"),
                since: *since,
            });
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = listed.iter().map(|row| row.get("destination_id")).collect();
        let ours: Vec<i64> = ids.into_iter().filter(|id| known.contains_key(id)).collect();
        self.position = Some(position);
        Ok(match ours.is_empty() {
            true => known.keys().copied().collect(),
            false => ours,
        })
    }

    /// The next copy of the destination that is due, among these mappings: the version of each.
    pub(super) async fn next(
        &mut self,
        claim: Claim,
        versions: &[(&str, &str)],
    ) -> Result<Option<Due>, Error> {
        let period = milliseconds(self.period);
        let names: Vec<&str> = versions.iter().map(|(name, _)| *name).collect();
        let row = self
            .with(async |source| {
                let parameters: [&(dyn ToSql + Sync); 4] =
                    [&claim.destination_id, &claim.attempt, &period, &names];
                source.query_opt(sql::NEXT_AUDIT, &parameters).await
            })
            .await?;
        Ok(row.map(|row| {
            let mapping: String = row.get("mapping");
            let version = versions.iter().find(|(name, _)| *name == mapping);
            let version = version.map_or("", |(_, version)| *version);
            let read: Option<Value> = row.get("progress");
            // Progress of another version, or that another version of Offtake wrote, is begun
            // again.
            let progress = read.clone().and_then(|read| serde_json::from_value(read).ok());
            let progress = progress.filter(|progress: &Progress| progress.version == version);
            let progress = progress.unwrap_or_else(|| Progress::begun(version, row.get("now")));
            let (copy, audited) = (row.get("copy"), row.get("audited"));
            Due { mapping, read, copy, audited, progress }
        }))
    }

    /// Notes how the audit of a copy stands. `pause`: until the daemon goes on. None: it was not
    /// noted, because the copy is another one, another daemon has the destination, or an operator's
    /// comparison has ended meanwhile. Otherwise how many differences stood there before.
    pub(super) async fn note(
        &mut self,
        claim: Claim,
        due: &Due,
        note: Note<'_>,
        pause: Duration,
    ) -> Result<Option<Option<i64>>, Error> {
        let lease = milliseconds(self.lease + pause);
        let (progress, found, equal_since, error) = note.columns();
        // It may have a key, or the words of another server.
        let error = error.map(|error| self.pool.storable(&error).into_owned());
        let row = self
            .with(async |source| {
                let parameters: [&(dyn ToSql + Sync); 11] = [
                    &claim.destination_id,
                    &claim.attempt,
                    &due.mapping,
                    &due.copy,
                    &due.read,
                    &progress,
                    &found,
                    &equal_since,
                    &error,
                    &lease,
                    &due.audited,
                ];
                source.query_opt(sql::NOTE_AUDIT, &parameters).await
            })
            .await?;
        Ok(row.map(|row| row.get("differences")))
    }

    /// Gives the destination back; it is not claimed again before `pause` is over, which doubles
    /// where the audit `failed` before.
    pub(super) async fn release(
        &mut self,
        claim: Claim,
        pause: Duration,
        failed: bool,
    ) -> Result<(), Error> {
        let pause = milliseconds(pause);
        self.with(async |source| {
            let parameters: [&(dyn ToSql + Sync); 4] =
                [&claim.destination_id, &claim.attempt, &pause, &failed];
            source.execute(sql::RELEASE_AUDIT, &parameters).await
        })
        .await
        .map(|_| ())
    }

    /// How many of these keys are quarantined.
    pub(super) async fn quarantined(
        &mut self,
        claim: Claim,
        mapping: &str,
        keys: &[Value],
    ) -> Result<u64, Error> {
        let rows = self
            .with(async |source| {
                let parameters: [&(dyn ToSql + Sync); 3] = [&claim.destination_id, &mapping, &keys];
                source.query_one(sql::COUNT_QUARANTINED, &parameters).await
            })
            .await?;
        Ok(u64::try_from(rows.get::<_, i64>("rows")).unwrap_or_default())
    }

    /// Has differing rows looked at again, or, where there are too many, the whole copy made again.
    pub(super) async fn repair(
        &mut self,
        claim: Claim,
        due: &Due,
        tenant_at_source: &str,
        keys: Option<&crate::verify::Keys>,
    ) -> Result<(), Error> {
        let ids = [claim.destination_id];
        self.with(async |source| match keys {
            Some(keys) => keys.capture(source, tenant_at_source).await,
            None => {
                let asked = offtake_requests::request_resync(source, &ids, Some(&due.mapping));
                asked.await.map(|_| ())
            }
        })
        .await
    }
}

impl Progress {
    fn begun(version: &str, began: String) -> Self {
        Self {
            version: version.to_owned(),
            began,
            next: Point::first(crate::verify::RANGE_ROWS),
            tries: 0,
            repaired: false,
            rows: 0,
            differences: 0,
            unsettled: 0,
            quarantined: 0,
            not_compared: 0,
            unprinted: None,
        }
    }

    /// Every row was there, as it is in the source, and no other.
    pub(super) fn equal(&self) -> bool {
        self.differences + self.unsettled + self.quarantined + self.not_compared == 0
    }

    /// Why some rows could not be compared although the others were.
    pub(super) fn incomplete(&self) -> Option<String> {
        let example = self.unprinted.as_deref().unwrap_or_default();
        (self.not_compared > 0)
            .then(|| format!("{} row(s) cannot be compared: {example}", self.not_compared))
    }
}

impl Note<'_> {
    /// The progress that is stored, the differences, since when the copy is equal, and why it could
    /// not be compared.
    #[allow(clippy::type_complexity)]
    fn columns(&self) -> (Option<Value>, Option<i64>, Option<String>, Option<String>) {
        let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
        match self {
            Self::Progress(progress) => {
                // What was found is told at once, and not only at the end.
                let found = (progress.differences > 0).then(|| count(progress.differences));
                (serde_json::to_value(progress).ok(), found, None, None)
            }
            // What is not settled is neither equal nor different.
            Self::Ended(progress) if progress.differences == 0 && progress.unsettled > 0 => {
                (None, None, None, progress.incomplete())
            }
            Self::Ended(progress) => {
                let since = progress.equal().then(|| progress.began.clone());
                (None, Some(count(progress.differences)), since, progress.incomplete())
            }
            Self::Failed(why) => (None, None, None, Some((*why).to_owned())),
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
