//! The loop in which a daemon works on jobs of one kind: it claims those that are due, some at the
//! same time, and deletes the files of those that are kept no longer.
//!
//! **What wakes it**: its own interval. **What a crash leaves behind**: leases that run out, so that
//! another daemon goes on where this one stopped.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::{BlownFuses, Progress, Rounds, SourceTrouble};
use offtake_postgres::{Error, SourcePool};
use rand::Rng as _;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::stop::Stop;
use crate::{Held, Job, Kind, LEASE, Lease, PublicId, Release, State, Store, Which};
use crate::{PROCESS_STOPPED, claim, job, release, stores};

/// How often the loop looks for jobs that are due.
const CLAIM_INTERVAL: Duration = Duration::from_millis(200);

/// How often it looks for files that are to be deleted.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// So many jobs whose files a store cannot delete are met, and then the store is left alone for a
/// while.
const STORE_FAILURES_MAX: u32 = 3;

/// How often jobs of commands are ended whose process died.
const ABANDONED_INTERVAL: Duration = Duration::from_secs(60);

/// How often jobs are forgotten that ended long ago.
const FORGET_INTERVAL: Duration = Duration::from_secs(3600);

/// Another daemon may have the mapping files that a job needs.
const GIVEN_BACK_PAUSE: Duration = Duration::from_secs(30);

/// What is particular to one kind of jobs.
pub(crate) trait Trade: Send + Sync + 'static {
    const KIND: Kind;
    /// The loop's name, and its fuse's.
    const NAME: &'static str;

    /// What a job asks for, as its row has it.
    type Options: DeserializeOwned + Send;

    /// Begins the work on a claimed job, which ends with `stop`.
    fn begin(
        &self,
        claimed: Claimed<Self::Options>,
        working: &mut JoinSet<()>,
        stop: &Stop,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    fn pool(&self) -> &SourcePool;

    /// Ends a job that is to be cancelled, and that no process works on.
    fn cancel(&self, lease: Lease) -> impl Future<Output = Result<(), Error>> + Send;

    /// Gives back a job that this daemon cannot work on. One that is to be cancelled ends: it is due
    /// at once, so this daemon would claim it again and again.
    fn give_back(
        &self,
        held: &Held,
        reason: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            if held.cancelled().is_cancelled() {
                return self.cancel(held.lease).await;
            }
            let state = Some(State::Paused.as_str());
            let (after, reason) = (GIVEN_BACK_PAUSE, Some(reason));
            let given = Release { after, state, reason, failed: true };
            release(self.pool(), held.lease, given).await.map(drop)
        }
    }

    /// Deletes the files of a job.
    fn delete_files(
        store: &Store,
        id: &PublicId,
    ) -> impl Future<Output = Result<(), stores::Error>> + Send;

    /// What a round does before it claims.
    fn prepare(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// Ends what [`Trade::prepare`] has begun, because the fuse is blown.
    fn pause(&mut self) {}
}

/// A job that this process has.
pub(crate) struct Claimed<O> {
    pub(crate) held: Held,
    pub(crate) id: PublicId,
    pub(crate) job: Job,
    pub(crate) store: Store,
    pub(crate) options: O,
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
    /// The deletion of files: a store that does not answer must not keep jobs of others waiting.
    expiry: JoinSet<()>,
    abandoned_at: Instant,
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
            expiry: JoinSet::new(),
            abandoned_at: Instant::now(),
            forget_at: Instant::now(),
        }
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Rounds> {
        self.progress.subscribe()
    }

    /// Runs until cancelled. What is in progress then is given back, and goes on elsewhere.
    pub(crate) async fn run<T: Trade>(mut self, mut trade: T, shutdown: CancellationToken) {
        let mut working: JoinSet<()> = JoinSet::new();
        let mut stop = Stop::default();
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
        stop.now(PROCESS_STOPPED);
        while working.join_next().await.is_some() {}
    }

    async fn round<T: Trade>(
        &mut self,
        trade: &mut T,
        working: &mut JoinSet<()>,
        stop: &mut Stop,
    ) -> Result<(), Error> {
        if self.forget_at <= Instant::now() {
            self.forget_at = Instant::now() + FORGET_INTERVAL;
            job::forget_ended(&self.pool, T::KIND).await?;
        }
        if self.abandoned_at <= Instant::now() {
            self.abandoned_at = Instant::now() + ABANDONED_INTERVAL;
            job::end_abandoned(&self.pool, T::KIND).await?;
        }
        if let Some(reason) = self.fuses.borrow().blown(T::NAME) {
            // What works stops, and is given back.
            stop.now(format!("the fuse {} is off: {reason}", T::NAME));
            self.expiry.abort_all();
            // What it has left is deleted as soon as the loop goes on.
            self.expiry_at = Instant::now();
            trade.pause();
            return Ok(());
        }
        if self.names.is_empty() {
            return Ok(());
        }
        if stop.is_now() {
            *stop = Stop::default();
        }
        trade.prepare().await?;
        while working.len() < self.workers {
            let which = Which::InStores(&self.names);
            let claimed = claim(&self.pool, T::KIND, which, LEASE, &self.process).await?;
            let Some(held) = claimed else { break };
            self.begin(trade, held, working, stop).await?;
        }
        while self.expiry.try_join_next().is_some() {}
        if self.expiry_at <= Instant::now() && self.expiry.is_empty() {
            self.expiry_at = Instant::now() + EXPIRY_INTERVAL;
            let expired = job::expired(&self.pool, T::KIND, &self.names).await?;
            self.expiry.spawn(expire::<T>(self.pool.clone(), self.stores.clone(), expired));
        }
        Ok(())
    }

    async fn begin<T: Trade>(
        &self,
        trade: &T,
        held: Held,
        working: &mut JoinSet<()>,
        stop: &Stop,
    ) -> Result<(), Error> {
        let Some(id) = PublicId::parse(T::KIND, &held.public_id) else { return Ok(()) };
        let found = job::read(&*self.pool.get().await?, T::KIND, &id).await?;
        let Some(job) = found else { return Ok(()) };
        let store = self.stores.iter().find(|store| Some(store.name()) == job.store.as_deref());
        let Some(store) = store.cloned() else { return Ok(()) };
        match serde_json::from_value(job.options.clone()) {
            Ok(options) => {
                trade.begin(Claimed { held, id, job, store, options }, working, stop).await
            }
            Err(error) => {
                let reason = format!("a newer version wrote its options: {error}");
                trade.give_back(&held, &reason).await
            }
        }
    }
}

/// Deletes the files of jobs that are kept no longer. One that cannot be deleted keeps no other one of
/// its store waiting; of a store that fails again and again, the others follow next time.
async fn expire<T: Trade>(
    pool: SourcePool,
    mut stores: Vec<Store>,
    expired: Vec<(PublicId, String)>,
) {
    let mut failures = HashMap::<String, u32>::new();
    for (id, store) in expired {
        let Some(at) = stores.iter().position(|found| found.name() == store) else { continue };
        if offtake_loops::failpoint("jobs.expiring").await.is_err() {
            return;
        }
        if let Err(error) = T::delete_files(&stores[at], &id).await {
            let what = format!("the files of {id} are to be deleted");
            tracing::warn!(event = "store_failed", store, "{what}: {error}");
            let failures = failures.entry(store).or_default();
            *failures += 1;
            if *failures == STORE_FAILURES_MAX {
                stores.swap_remove(at);
            }
        } else if job::expire(&pool, T::KIND, &id).await.is_err() {
            // The loop reports a source that does not answer, and this job is expired again.
            return;
        }
    }
}
