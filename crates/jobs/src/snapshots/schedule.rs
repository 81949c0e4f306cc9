//! When daemons make snapshots by themselves, and which they keep.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use offtake_postgres::{Error, SourcePool};
use tokio_postgres::IsolationLevel;
use tokio_postgres::types::ToSql;

use super::{Keep, Options, find};
use crate::archive::Kind;
use crate::lease::milliseconds;
use crate::{Kind as JobKind, PublicId, Store, sql};

/// How often the schedule takes up tenants that are new or gone.
const REFRESH_INTERVAL: Duration = Duration::from_secs(15);

/// As long as there is none: a daemon that starts registers them.
const EMPTY_INTERVAL: Duration = Duration::from_secs(1);

/// How often old snapshots are looked for that got old without a new one.
const KEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// So many snapshots are recorded for daemons at a time. The others stay due.
const QUEUE: i64 = 100;

/// What a daemon does by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Each tenant's interval, and the store; None: snapshots are made when they are asked for.
    pub every: Option<(Duration, String)>,
    /// What is made of each tenant, one after the other; never empty.
    pub kinds: Vec<Kind>,
    /// None: all are kept.
    pub keep: Option<Keep>,
}

pub(super) struct Clock {
    pool: SourcePool,
    schedule: Schedule,
    refresh_at: Instant,
    keep_at: Instant,
}

impl Clock {
    pub(super) fn new(pool: &SourcePool, schedule: Schedule) -> Self {
        Self { pool: pool.clone(), schedule, refresh_at: Instant::now(), keep_at: Instant::now() }
    }

    pub(super) fn keep(&self) -> Option<Keep> {
        self.schedule.keep
    }

    /// How many are made of each tenant in an interval.
    pub(super) fn kinds(&self) -> usize {
        self.schedule.kinds.len()
    }

    /// Which one follows a snapshot of this kind in the same interval.
    pub(super) fn after(&self, kind: Kind) -> Option<Kind> {
        let mut kinds = self.schedule.kinds.iter().skip_while(|of| **of != kind).skip(1);
        kinds.next().copied()
    }

    /// Records the snapshots that are due, and ends those that are old.
    pub(super) async fn round(&mut self, stores: &[Store]) -> Result<(), Error> {
        let refresh = self.refresh_at <= Instant::now();
        let mut interval = REFRESH_INTERVAL;
        match &self.schedule.every {
            Some((every, store)) => {
                let every = i64::try_from(every.as_micros()).unwrap_or(i64::MAX).max(1);
                if refresh {
                    let source = self.pool.get().await?;
                    let known = source.query_one(sql::REFRESH_SNAPSHOT_SCHEDULE, &[&every]).await?;
                    if known.get::<_, i64>("tenants") == 0 {
                        interval = EMPTY_INTERVAL;
                    }
                }
                self.record(every, store).await?;
            }
            None if refresh => {
                self.pool.get().await?.execute(sql::CLEAR_SNAPSHOT_SCHEDULE, &[]).await?;
            }
            None => {}
        }
        if refresh {
            self.refresh_at = Instant::now() + interval;
        }
        if let Some(keep) = self.schedule.keep
            && self.keep_at <= Instant::now()
        {
            self.keep_at = Instant::now() + KEEP_INTERVAL;
            end_old(&self.pool, stores, keep, None).await?;
        }
        Ok(())
    }

    async fn record(&self, every: i64, store: &str) -> Result<(), Error> {
        let mut source = self.pool.get().await?;
        if !source.query_one(sql::PROBE_DUE_SNAPSHOTS, &[]).await?.get::<_, bool>("due") {
            return Ok(());
        }
        let now = Timestamp::now();
        let ids: Vec<String> =
            (0..QUEUE).map(|_| PublicId::fresh(JobKind::Snapshot, now).to_string()).collect();
        let first = self.schedule.kinds.first().copied().unwrap_or(Kind::Rows);
        let options = serde_json::to_value(Options::scheduled(first, false)).unwrap_or_default();
        let parameters: [&(dyn ToSql + Sync); 5] = [&every, &store, &ids, &QUEUE, &options];
        let begin = source.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
        let transaction = begin.start().await?;
        transaction.execute(sql::LOCK_QUEUE, &[&JobKind::Snapshot.as_str()]).await?;
        let row = transaction.query_one(sql::RECORD_DUE_SNAPSHOTS, &parameters).await?;
        transaction.commit().await?;
        let recorded: i64 = row.get("recorded");
        if recorded > 0 {
            tracing::info!(event = "snapshots_due", count = recorded, "snapshots are due");
        }
        Ok(())
    }
}

/// Ends the snapshots that are kept no longer; of one tenant, or of all. Nothing is ended before the
/// one that is kept instead was seen in the store: an operator may have deleted it.
pub(super) async fn end_old(
    pool: &SourcePool,
    stores: &[Store],
    keep: Keep,
    tenant_at_source: Option<&str>,
) -> Result<(), Error> {
    let names: Vec<&str> = stores.iter().map(Store::name).collect();
    let (last, within) = (i64::from(keep.last), milliseconds(keep.within));
    let parameters: [&(dyn ToSql + Sync); 4] = [&names, &last, &within, &tenant_at_source];
    let rows = pool.get().await?.query(sql::LIST_OLD_SNAPSHOTS, &parameters).await?;
    let mut seen: BTreeMap<String, bool> = BTreeMap::new();
    let mut ended: Vec<String> = Vec::new();
    for row in &rows {
        let (id, store): (String, &str) = (row.get("public_id"), row.get("store"));
        let Some(store) = stores.iter().find(|found| found.name() == store) else { continue };
        let mut kept = true;
        for column in ["newest", "newest_whole"] {
            let newest: String = row.get(column);
            let there = match seen.get(&newest) {
                Some(there) => *there,
                None => {
                    // A store that does not answer says nothing of what is in it.
                    let parsed = PublicId::parse(JobKind::Snapshot, &newest);
                    let found = match &parsed {
                        Some(newest) => find(store, newest).await,
                        None => Ok(None),
                    };
                    let there = matches!(found, Ok(Some(_)));
                    if matches!(found, Ok(None)) {
                        ended.push(newest.clone());
                    }
                    seen.insert(newest, there);
                    there
                }
            };
            kept &= there;
        }
        if kept {
            ended.push(id);
        }
    }
    if !ended.is_empty() {
        pool.get().await?.execute(sql::END_SNAPSHOTS, &[&ended]).await?;
    }
    Ok(())
}
