//! One table: its chunks, the comparison, and its indexes.

use std::collections::HashSet;
use std::time::Duration;

use offtake_mapping::compose::KeyRange;
use offtake_reading::{Stretch, find_end};

use super::batches::{Pace, may_go_on};
use super::chunk::{Chunk, Status, json};
use super::desk::Desk;
use super::retry::{Tries, Trip, wait_before};
use super::{Copier, Event, FailedChunk, Job, Outcome, Side, Stop};
use crate::destinations::Spent;
use crate::turn::estimate;

/// A table that is being copied.
pub(super) struct Run<'a> {
    pub(super) copier: &'a Copier,
    pub(super) job: &'a Job,
    /// None after a failure: it is taken again.
    pub(super) desk: Option<Desk<'a>>,
    chunks: Vec<Chunk>,
    pub(super) pace: Pace,
    pub(super) outcome: Outcome,
    /// Chunks that were begun in this run, so that none that fails is tried for ever.
    begun: HashSet<i64>,
    held_before: bool,
    /// By this process, before this table.
    spent_before: Option<Spent>,
}

impl Copier {
    /// Copies a table, or goes on with it. What could not be copied is in the outcome; an error ends
    /// the run, and the outcome says how far it came.
    pub async fn copy(&self, job: &Job) -> (Outcome, Result<(), Stop>) {
        let mut run = Run {
            copier: self,
            job,
            desk: None,
            chunks: Vec::new(),
            pace: Pace::new(self),
            outcome: Outcome::default(),
            begun: HashSet::new(),
            held_before: false,
            spent_before: self.place.spent(),
        };
        let ended = Box::pin(run.complete()).await;
        if let Some(desk) = &run.desk {
            // Where this fails, the lease runs out.
            let _ = desk.release().await;
        }
        run.outcome.spent = spent_since(self, run.spent_before);
        (run.outcome, ended)
    }
}

impl<'a> Run<'a> {
    pub(super) fn table(&self) -> &'a str {
        self.job.mapping.name()
    }

    async fn complete(&mut self) -> Result<(), Stop> {
        self.persistently(async |run| run.tell_beginning().await).await?;
        while let Some(at) = self.next_chunk().await? {
            self.chunk(at).await?;
        }
        self.outcome.done = self.chunks.iter().map(|chunk| chunk.rows).sum();
        if self.outcome.failed.is_empty() && self.copier.terms.compare {
            Box::pin(self.compare()).await?;
        }
        self.make_indexes().await?;
        self.persistently(async |run| {
            let desk = run.held().await?;
            let renew = desk.renewing();
            desk.write(None, &renew, true).await?;
            run.outcome.skipped = run.held().await?.skipped().await?;
            Ok(())
        })
        .await
    }

    /// The destination, held.
    pub(super) async fn held(&mut self) -> Result<&mut Desk<'a>, Trip> {
        if self.desk.is_none() {
            let (desk, chunks) = Desk::take(self.copier, self.job, !self.held_before).await?;
            (self.desk, self.chunks, self.held_before) = (Some(desk), chunks, true);
        }
        self.desk.as_mut().ok_or(Trip::Stop(Stop::Interrupted))
    }

    /// Does something until it works, as often as the terms say. Of a failure that concerns rows,
    /// nothing is left to try.
    pub(super) async fn persistently<T>(
        &mut self,
        mut work: impl AsyncFnMut(&mut Self) -> Result<T, Trip>,
    ) -> Result<T, Stop> {
        let mut tries = Tries::default();
        loop {
            match work(self).await {
                Ok(done) => return Ok(done),
                Err(trip) => self.after(trip, &mut tries).await?,
            }
        }
    }

    /// Waits before the next attempt; the error ends the run.
    async fn after(&mut self, trip: Trip, tries: &mut Tries) -> Result<(), Stop> {
        let (side, why) = match trip {
            Trip::Stop(stop) => return Err(stop),
            Trip::Chunk(why) => return Err(Stop::Table { why }),
            Trip::Later { why, wait } => return self.later((&why, wait), tries).await,
            Trip::Again { side, why } | Trip::TooSlow { side, why } => (side, why),
        };
        tries.failed += 1;
        if tries.failed >= self.copier.terms.attempts {
            return Err(Stop::Unreachable { side, why });
        }
        self.retry(side, &why, tries.failed).await
    }

    /// Drops the session, and waits for as long as the destination wants.
    async fn later(&mut self, told: (&str, Duration), tries: &mut Tries) -> Result<(), Stop> {
        self.desk = None;
        self.outcome.retries += 1;
        self.copier.wait_until_later(self.table(), told, tries).await
    }

    /// Drops the session, and waits.
    async fn retry(&mut self, side: Side, why: &str, attempt: u32) -> Result<(), Stop> {
        self.desk = None;
        self.outcome.retries += 1;
        let wait = wait_before(attempt);
        (self.copier.tell)(Event::Retry { table: self.table(), side, why, attempt, wait });
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.copier.stopping.cancelled() => Err(Stop::Interrupted),
        }
    }

    async fn tell_beginning(&mut self) -> Result<(), Trip> {
        self.held().await?;
        let mut source = self.copier.pool.get().await.map_err(|e| super::retry::of_source(&e))?;
        let rows = estimate(&mut source, &self.job.mapping, &self.job.tenant).await;
        drop(source);
        let done = self.chunks.iter().map(|chunk| chunk.rows).sum();
        (self.copier.tell)(Event::Began {
            table: self.table(),
            done,
            estimate: rows.and_then(|rows| u64::try_from(rows).ok()),
            resumed: self.chunks.iter().any(|chunk| chunk.attempt > 0),
        });
        Ok(())
    }

    /// The next chunk to copy, by its place: failed ones first, then the others in key order. A new
    /// one is cut behind the last one.
    async fn next_chunk(&mut self) -> Result<Option<usize>, Stop> {
        if let Err(Trip::Stop(stop)) = may_go_on(self.copier) {
            return Err(stop);
        }
        self.persistently(async |run| {
            run.held().await?;
            let open = |status: Status| {
                run.chunks.iter().position(|c| c.status == status && !run.begun.contains(&c.id))
            };
            let next =
                [Status::Failed, Status::InProgress, Status::Pending].into_iter().find_map(open);
            if next.is_some() {
                return Ok(next);
            }
            let Some(start) = run.chunks.last().and_then(|last| last.end.clone()) else {
                return Ok(None);
            };
            let cut = run.held().await?.cut(&start).await?;
            run.chunks.extend(cut);
            Ok(run.chunks.len().checked_sub(1))
        })
        .await
    }

    /// Copies a chunk, or notes why it failed.
    async fn chunk(&mut self, at: usize) -> Result<(), Stop> {
        let id = self.chunks[at].id;
        self.begun.insert(id);
        let mut tries = Tries::default();
        loop {
            let before = self.outcome.copied;
            let trip = match self.try_chunk(id).await {
                Ok(()) => return Ok(()),
                Err(trip) => trip,
            };
            if self.outcome.copied > before {
                tries = Tries::default();
            }
            let (side, why) = match trip {
                Trip::Stop(stop) => return Err(stop),
                Trip::Chunk(why) => return self.fail(id, why).await,
                Trip::Later { why, wait } => {
                    self.later((&why, wait), &mut tries).await?;
                    continue;
                }
                Trip::TooSlow { why, .. } if !self.pace.halve() => return self.fail(id, why).await,
                Trip::TooSlow { side, why } => {
                    self.retry(side, &why, 1).await?;
                    continue;
                }
                Trip::Again { side, why } => (side, why),
            };
            tries.failed += 1;
            if tries.failed >= self.copier.terms.attempts {
                return Err(Stop::Unreachable { side, why });
            }
            self.retry(side, &why, tries.failed).await?;
        }
    }

    async fn try_chunk(&mut self, id: i64) -> Result<(), Trip> {
        self.held().await?;
        let Some(at) = self.chunks.iter().position(|chunk| chunk.id == id) else {
            // Somebody deleted the table's checkpoints: it begins again.
            self.begun.clear();
            return Ok(());
        };
        if self.chunks[at].status == Status::Completed {
            return Ok(());
        }
        let mut chunk = self.chunks[at].clone();
        let unbound = chunk.end.is_none() && chunk.last.is_none() && chunk.attempt == 0;
        if unbound {
            chunk.end = self.end_of(&chunk).await?;
        }
        let (copier, job) = (self.copier, self.job);
        let spent_before = self.spent_before;
        let Self { desk: Some(desk), pace, outcome, chunks, .. } = self else {
            return Err(Stop::Interrupted.into());
        };
        desk.begin_chunk(&chunk, unbound).await?;
        chunk.attempt += 1;
        chunk.status = Status::InProgress;
        chunks[at] = chunk.clone();
        let before: u64 = chunks.iter().map(|chunk| chunk.rows).sum();
        let mut written = 0;
        let moving =
            |desk: &Desk<'_>, last: Option<&[String]>, rows| desk.moving(&chunk, last, rows);
        let known = &mut chunks[at];
        let told = |done: super::batches::Done| {
            written += done.rows;
            outcome.copied += done.rows;
            known.rows += done.rows;
            match done.up_to {
                Some(last) => known.last = Some(last),
                None => known.status = Status::Completed,
            }
            (copier.tell)(Event::Batch {
                table: job.mapping.name(),
                chunk: id,
                rows: done.rows,
                bytes: done.bytes,
                done: before + written,
                retries: outcome.retries,
                spent: spent_since(copier, spent_before),
            });
        };
        Box::pin(desk.copy_range((copier, job), chunk.left(), pace, moving, told)).await
    }

    /// The key at which a chunk is to end; None: the table ends before.
    async fn end_of(&self, chunk: &Chunk) -> Result<Option<Vec<String>>, Trip> {
        let stretch = Stretch {
            mapping: &self.job.mapping,
            tenant_id: &self.job.tenant,
            range: KeyRange::behind(chunk.left().after),
            rows_max: self.copier.terms.chunk_rows,
            bytes_max: self.copier.terms.batch_bytes,
            statement_timeout: self.copier.settings.statement_timeout,
        };
        Ok(find_end(&self.copier.pool, &stretch, self.copier.terms.chunk_rows).await?)
    }

    async fn fail(&mut self, id: i64, message: String) -> Result<(), Stop> {
        self.persistently(async |run| {
            run.held().await?;
            let Some(at) = run.chunks.iter().position(|chunk| chunk.id == id) else {
                return Ok(());
            };
            let chunk = run.chunks[at].clone();
            run.held().await?.fail_chunk(&chunk, &message).await?;
            run.chunks[at].status = Status::Failed;
            Ok(())
        })
        .await?;
        let Some(chunk) = self.chunks.iter().find(|chunk| chunk.id == id) else { return Ok(()) };
        let failed = FailedChunk {
            id,
            after: chunk.left().after.map(json),
            up_to: chunk.end.as_deref().map(json),
            message,
        };
        (self.copier.tell)(Event::ChunkFailed { table: self.table(), chunk: &failed });
        self.outcome.failed.push(failed);
        Ok(())
    }

    /// The plain indexes, once the rows are there: making one is cheaper than keeping it.
    async fn make_indexes(&mut self) -> Result<(), Stop> {
        for index in &self.job.indexes {
            let made = self
                .persistently(async |run| {
                    let desk = run.held().await?;
                    desk.renew().await?;
                    desk.make_index(index.create(&desk.table())).await
                })
                .await?;
            if let Err(why) = made {
                self.outcome.without_index.push((index.name.to_string(), why));
            }
        }
        Ok(())
    }
}

fn spent_since(copier: &Copier, before: Option<Spent>) -> Option<Spent> {
    Some(copier.place.spent()?.since(before?))
}

/// So long one call of the comparison goes on before the lease is renewed.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(10);
