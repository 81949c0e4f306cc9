//! An export from its claim to its end: rows are copied in short snapshots, then the parts settle,
//! and the manifest is written.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::ResolvedMapping;
use offtake_postgres::SourcePool;
use offtake_reading::HeldSnapshot;

use super::finish::Completed;
use super::hashes::EarlyHash;
use super::open_snapshot::OpenSnapshot;
use super::record::{self, Far, Part, Progress};
use super::{Error, Options};
use crate::job::{self, Job, State};
use crate::lease::retry_after;
use crate::{Held, LEASE, Lease, Release, Store, release};

/// How an export works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The longest time for which a snapshot of the source is held, and for which the export works
    /// without a pause.
    pub work: Duration,
    pub pause: Duration,
    /// The longest snapshot of the last round of settling.
    pub settle: Duration,
    pub statement_timeout: Duration,
    /// Bytes of a part before it is compressed. Six times this bounds the memory of an export: two
    /// parts are printed and stored while another one waits and one is read.
    pub chunk_bytes: usize,
    /// How long the files of an export that ended are kept; None: for ever.
    pub keep: Option<Duration>,
}

/// What a worker tells while it works.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    Started {
        parts: usize,
    },
    Part {
        mapping: &'a str,
        rows: i64,
        bytes: i64,
        far: Far,
    },
    Paused {
        reason: &'a str,
    },
    Settling {
        round: i32,
        parts: usize,
    },
    /// A snapshot of the source was held for so long.
    Snapshot {
        held: Duration,
    },
    Finishing,
}

/// How a worker's part in an export ended.
#[derive(Debug)]
pub enum Ended {
    Completed {
        warning: Option<String>,
    },
    /// It is complete, and what follows did not happen: in a store, objects are left that are not
    /// needed; in a command's folder, the files do not have their names.
    Untidy {
        warning: Option<String>,
        error: Error,
    },
    Cancelled,
    /// It failed for good.
    Failed(Error),
    /// It goes on later, here or elsewhere.
    Later(Error),
    /// The work stops here; the export goes on later, or elsewhere.
    Stopped,
    /// Another process has it.
    Lost,
}

/// The work on one export. The caller holds its lease.
pub struct Work<'a> {
    pub pool: &'a SourcePool,
    /// One that is [`Store::fenced`].
    pub store: &'a Store,
    pub job: &'a Job,
    pub options: &'a Options,
    pub lease: Lease,
    /// Those of the options, in the same order.
    pub mappings: &'a [Arc<ResolvedMapping>],
    pub settings: &'a Settings,
    pub tell: &'a (dyn Fn(Told<'_>) + Send + Sync),
}

/// What is known of an export's parts while it is worked on.
pub(super) struct Parts {
    pub(super) all: Vec<Part>,
    pub(super) far: Far,
    /// All parts were read in one snapshot that no table was truncated under.
    pub(super) one_snapshot: bool,
    pub(super) epoch: String,
    /// How fast rows were read.
    pub(super) rows_read: i64,
    pub(super) time_reading: Duration,
    /// By mapping, where a file has the rows of one.
    pub(super) hashes: HashMap<String, EarlyHash>,
}

/// A snapshot that has ended.
pub(super) struct EndedSnapshot {
    /// The highest sequence id that was visible in it.
    head: i64,
    /// No table was truncated or rewritten under it.
    unbroken: bool,
}

impl Work<'_> {
    /// Works until the export ends, or until `stopping` says why the work on it must. What ends it
    /// is recorded.
    pub async fn run<'r>(&self, held: &Held, stopping: impl Future<Output = &'r str>) -> Ended {
        let ended = self.run_while_held(held, stopping).await;
        if matches!(ended, Ended::Lost)
            && let Err(error) = self.delete_leftovers().await
        {
            let export = &self.job.public_id;
            tracing::warn!(event = "store_failed", export, "objects are left behind: {error}");
        }
        ended
    }

    async fn run_while_held<'r>(
        &self,
        held: &Held,
        stopping: impl Future<Output = &'r str>,
    ) -> Ended {
        let done = tokio::select! {
            done = Box::pin(self.work()) => done,
            () = held.ended().cancelled() => return Ended::Lost,
            () = held.cancelled().cancelled() => return self.cancelled().await,
            reason = stopping => {
                let state = Some(State::Paused.as_str());
                let given = Release { state, reason: Some(reason), ..Release::default() };
                // A source that does not answer now finds the lease run out.
                let ours = release(self.pool, self.lease, given).await.unwrap_or(true);
                return if ours { Ended::Stopped } else { Ended::Lost };
            }
        };
        match done {
            Ok(Done::Completed(Completed { warning, manifest })) => {
                match self.tidy(&manifest).await {
                    Ok(()) => Ended::Completed { warning },
                    Err(error) => Ended::Untidy { warning, error },
                }
            }
            Ok(Done::Cancelled) => self.cancelled().await,
            Err(Error::Lost) => Ended::Lost,
            Err(error) if error.terminal() => {
                let reason = error.to_string();
                match self.finish(State::Failed, Some(&reason)).await {
                    Ok(()) => Ended::Failed(error),
                    Err(Error::Lost) => Ended::Lost,
                    Err(other) => Ended::Later(other),
                }
            }
            Err(error) => {
                let (reason, after) = (told(&error), retry_after(self.job.failures));
                let state = Some(State::Paused.as_str());
                let given = Release { after, state, reason: Some(&reason), failed: true };
                let ours = release(self.pool, self.lease, given).await.unwrap_or(true);
                if ours { Ended::Later(error) } else { Ended::Lost }
            }
        }
    }

    /// A worker that lost its lease may have written an object after the export was deleted: a bucket
    /// has no fence. No other process would delete that object.
    async fn delete_leftovers(&self) -> Result<(), Error> {
        let found = job::read_by_number(&*self.pool.get().await?, self.lease.job_id).await?;
        if found.is_none_or(|job| job.files_are_deleted()) {
            self.store.delete_all(&self.prefix()?).await?;
        }
        Ok(())
    }

    async fn cancelled(&self) -> Ended {
        match self.finish(State::Cancelled, None).await {
            Ok(()) => Ended::Cancelled,
            Err(Error::Lost) => Ended::Lost,
            Err(error) => Ended::Later(error),
        }
    }

    async fn finish(&self, state: State, reason: Option<&str>) -> Result<(), Error> {
        record::end(self.pool, self.lease, (state, reason), self.settings.keep).await
    }

    async fn work(&self) -> Result<Done, Error> {
        self.expect_same_mappings()?;
        let mut parts = self.begin().await?;
        (self.tell)(Told::Started { parts: parts.all.len() });
        if !self.copy(&mut parts).await? {
            return Ok(Done::Cancelled);
        }
        let consistency = match parts.one_snapshot {
            true => "snapshot",
            false => match self.settle(&mut parts).await? {
                Some(consistency) => consistency,
                None => return Ok(Done::Cancelled),
            },
        };
        Ok(Done::Completed(self.complete(&mut parts, consistency).await?))
    }

    /// The parts of earlier attempts whose objects are still what they were.
    async fn begin(&self) -> Result<Parts, Error> {
        self.store.make(&self.prefix()?).await?;
        // Only now: a job that is deleted behind this statement is deleted with what was just made.
        crate::lease::extend(self.pool, self.lease, LEASE).await?.ok_or(Error::Lost)?;
        let mut all = record::parts(self.pool, self.lease.job_id).await?;
        let listed = match all.is_empty() {
            true => Vec::new(),
            false => self.store.list(&self.prefix()?).await?,
        };
        let sizes: HashMap<&str, u64> =
            listed.iter().map(|object| (object.key.as_str(), object.size)).collect();
        for part in &mut all {
            let Some(object) = &part.object else { continue };
            let size = sizes.get(object.as_str()).and_then(|size| i64::try_from(*size).ok());
            if size != Some(part.bytes) {
                record::invalidate(self.pool, self.lease, i64::MIN, Some(object)).await?;
                part.sequence_id = -1;
            }
        }
        let far = Far { rows_done: 0, rows_total: 0, percent: 0, cancelled: false };
        Ok(Parts {
            one_snapshot: all.is_empty(),
            all,
            far,
            epoch: self.job.epoch.clone().unwrap_or_default(),
            rows_read: 0,
            time_reading: Duration::ZERO,
            hashes: HashMap::new(),
        })
    }

    fn expect_same_mappings(&self) -> Result<(), Error> {
        for (asked, mapping) in self.options.mappings.iter().zip(self.mappings) {
            if asked.version != mapping.version.to_string() {
                return Err(Error::Changed(format!("the mapping {} was edited", asked.name)));
            }
        }
        Ok(())
    }

    /// Takes a snapshot that is held so long at most, and refuses one of another history.
    pub(super) async fn open(
        &self,
        parts: &mut Parts,
        length: Duration,
    ) -> Result<OpenSnapshot, Error> {
        let timeout = self.settings.statement_timeout;
        let snapshot = HeldSnapshot::open(self.pool, self.mappings, timeout).await?;
        if parts.epoch.is_empty() {
            parts.epoch.clone_from(&snapshot.epoch);
        } else if parts.epoch != snapshot.epoch {
            let what = "the source was restored, or failed over, and begins a new epoch";
            return Err(Error::Changed(what.to_owned()));
        }
        Ok(OpenSnapshot::new(snapshot, length))
    }

    /// Ends a snapshot when all that was read in it is recorded. False: it was broken.
    pub(super) async fn close(&self, parts: &mut Parts, open: OpenSnapshot) -> Result<bool, Error> {
        let ended = self.end(open).await?;
        self.invalidate_broken(parts, ended).await
    }

    /// Ends a snapshot when nothing more is read in it.
    pub(super) async fn end(&self, open: OpenSnapshot) -> Result<EndedSnapshot, Error> {
        let unbroken = open.snapshot.unbroken().await?;
        let ended = EndedSnapshot { head: open.snapshot.head, unbroken };
        let held = open.end().await;
        (self.tell)(Told::Snapshot { held });
        Ok(ended)
    }

    /// Where a table was truncated or rewritten under a snapshot, the parts that were read in it are
    /// read again: these are recorded by now. False: that was so.
    pub(super) async fn invalidate_broken(
        &self,
        parts: &mut Parts,
        EndedSnapshot { head, unbroken }: EndedSnapshot,
    ) -> Result<bool, Error> {
        if !unbroken {
            parts.one_snapshot = false;
            record::invalidate(self.pool, self.lease, head, None).await?;
            for part in parts.all.iter_mut().filter(|part| part.sequence_id >= head) {
                part.sequence_id = -1;
            }
        }
        Ok(unbroken)
    }

    pub(super) async fn estimate(&self, snapshot: &HeldSnapshot) -> Result<i64, Error> {
        let mut total: i64 = 0;
        for mapping in self.mappings {
            let tenant = &self.job.tenant_at_source;
            total = total.saturating_add(snapshot.estimate(mapping, tenant).await?);
        }
        Ok(total)
    }

    /// Records the pieces of a chunk, which are in the store. False: it is to be cancelled.
    pub(super) async fn put(
        &self,
        parts: &mut Parts,
        pieces: Vec<Part>,
        (state, round): (State, i32),
        rows_total: Option<i64>,
    ) -> Result<bool, Error> {
        offtake_loops::failpoint("export.before_chunk").await?;
        let Some(Part { mapping, chunk, .. }) = pieces.first().cloned() else { return Ok(true) };
        let progress = Progress {
            state,
            mapping: Some(&mapping),
            round,
            rows_total,
            epoch: Some(&parts.epoch),
            reason: None,
        };
        parts.far = record::put(self.pool, self.lease, &pieces, &progress).await?;
        let rows = pieces.iter().map(|part| part.rows).sum();
        let bytes = pieces.iter().map(|part| part.bytes).sum();
        (self.tell)(Told::Part { mapping: &mapping, rows, bytes, far: parts.far });
        parts.all.retain(|part| part.mapping != mapping || part.chunk != chunk);
        let behind = |part: &Part| part.mapping == mapping && part.chunk > chunk;
        let at = parts.all.iter().position(behind).unwrap_or(parts.all.len());
        parts.all.splice(at..at, pieces);
        Ok(!parts.far.cancelled)
    }

    /// Records what the worker does from now on. False: it is to be cancelled.
    pub(super) async fn note(
        &self,
        parts: &Parts,
        (state, round): (State, i32),
        reason: Option<&str>,
    ) -> Result<bool, Error> {
        let epoch = Some(parts.epoch.as_str());
        let progress = Progress { state, mapping: None, round, rows_total: None, epoch, reason };
        Ok(!record::put(self.pool, self.lease, &[], &progress).await?.cancelled)
    }

    /// The pause after `work`. False: it is to be cancelled.
    pub(super) async fn breathe(&self, parts: &Parts, round: i32) -> Result<bool, Error> {
        if self.settings.pause.is_zero() {
            return Ok(true);
        }
        let reason = "it pauses between two snapshots of the source";
        let goes_on = self.note(parts, (State::Paused, round), Some(reason)).await?;
        (self.tell)(Told::Paused { reason });
        tokio::time::sleep(self.settings.pause).await;
        Ok(goes_on)
    }
}

enum Done {
    Completed(Completed),
    Cancelled,
}

/// An error with its causes, as a job's reason.
fn told(error: &Error) -> String {
    match error {
        Error::Source(cause) => format!("{error}: {}", offtake_postgres::chain(cause)),
        error => error.to_string(),
    }
}
