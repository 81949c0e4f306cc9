//! The loop in which a daemon works on jobs of one kind: it claims those that are due, some at the
//! same time, and deletes the files of those that are kept no longer.
//!
//! **What wakes it**: its own interval. **What a crash leaves behind**: leases that run out, so that
//! another daemon goes on where this one stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::{BlownFuses, Progress, Rounds, SourceTrouble};
use offtake_postgres::{Error, SourcePool};
use rand::Rng as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Held, Kind, LEASE, PublicId, Store, Which, claim, job, stores};

/// How often the loop looks for jobs that are due.
const CLAIM_INTERVAL: Duration = Duration::from_millis(500);

/// How often it looks for files that are to be deleted.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// How often jobs are forgotten that ended long ago.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);

/// What is particular to one kind of jobs.
pub(crate) trait Trade: Send + Sync {
    const KIND: Kind;
    /// The loop's name, and its fuse's.
    const NAME: &'static str;

    /// Begins the work on a claimed job, which ends when `stop` is cancelled.
    fn begin(
        &self,
        held: Held,
        working: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Deletes the files of a job.
    fn delete_files(
        &self,
        store: &Store,
        id: &PublicId,
    ) -> impl Future<Output = Result<(), stores::Error>> + Send;

    /// What a round does before it claims.
    fn prepare(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }
}

/// What such a loop needs, whatever the kind.
pub(crate) struct Turns {
    pool: SourcePool,
    stores: Vec<Store>,
    names: Vec<String>,
    /// Jobs at the same time.
    workers: usize,
    fuses: watch::Receiver<Arc<BlownFuses>>,
    progress: Progress,
    /// Names this process in `leased_by`.
    process: String,
    expiry_at: Instant,
    forget_at: Instant,
}

impl Turns {
    /// `name`: that of the loop.
    pub(crate) fn new(
        name: &'static str,
        pool: &SourcePool,
        stores: &[Store],
        workers: usize,
        fuses: &watch::Receiver<Arc<BlownFuses>>,
    ) -> Self {
        Self {
            pool: pool.clone(),
            names: stores.iter().map(|store| store.name().to_owned()).collect(),
            stores: stores.to_vec(),
            workers,
            fuses: fuses.clone(),
            progress: Progress::of(name),
            process: format!("{}:{:08x}", std::process::id(), rand::rng().random::<u32>()),
            expiry_at: Instant::now(),
            forget_at: Instant::now(),
        }
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Rounds> {
        self.progress.subscribe()
    }

    /// Runs until cancelled. What is in progress then is given back, and goes on elsewhere.
    pub(crate) async fn run<T: Trade>(mut self, mut trade: T, shutdown: CancellationToken) {
        let mut working: JoinSet<()> = JoinSet::new();
        let mut stop = CancellationToken::new();
        let mut trouble = SourceTrouble::new(T::NAME);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(CLAIM_INTERVAL) => {}
            }
            while working.try_join_next().is_some() {}
            match self.round(&mut trade, &mut working, &mut stop).await {
                Ok(()) => {
                    trouble.over();
                    self.progress.tick();
                }
                Err(error) => {
                    self.progress.fail();
                    tokio::time::sleep(trouble.report(&error)).await;
                }
            }
        }
        stop.cancel();
        while working.join_next().await.is_some() {}
    }

    async fn round<T: Trade>(
        &mut self,
        trade: &mut T,
        working: &mut JoinSet<()>,
        stop: &mut CancellationToken,
    ) -> Result<(), Error> {
        if self.forget_at <= Instant::now() {
            self.forget_at = Instant::now() + FORGET_INTERVAL;
            job::forget_ended(&self.pool, T::KIND).await?;
        }
        if self.fuses.borrow().blown(T::NAME).is_some() {
            // What works stops, and is given back.
            stop.cancel();
            return Ok(());
        }
        if self.names.is_empty() {
            return Ok(());
        }
        if stop.is_cancelled() {
            *stop = CancellationToken::new();
        }
        trade.prepare().await?;
        while working.len() < self.workers {
            let which = Which::InStores(&self.names);
            let claimed = claim(&self.pool, T::KIND, which, LEASE, &self.process).await?;
            let Some(held) = claimed else { break };
            trade.begin(held, working, stop).await?;
        }
        if self.expiry_at <= Instant::now() {
            self.expiry_at = Instant::now() + EXPIRY_INTERVAL;
            self.expire(trade).await?;
        }
        Ok(())
    }

    /// Deletes the files of jobs that are kept no longer.
    async fn expire<T: Trade>(&self, trade: &T) -> Result<(), Error> {
        for (id, store) in job::expired(&self.pool, T::KIND, &self.names).await? {
            let store = self.stores.iter().find(|found| found.name() == store);
            let Some(store) = store else { continue };
            match trade.delete_files(store, &id).await {
                Ok(()) => job::expire(&self.pool, T::KIND, &id).await?,
                Err(error) => tracing::warn!(
                    event = "store_failed",
                    store = store.name(),
                    "the files of {id} are to be deleted: {error}"
                ),
            }
        }
        Ok(())
    }
}
