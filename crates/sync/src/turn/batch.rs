//! One batch of a turn: read, applied, and told to the source.

use std::time::Instant;

use offtake_loops::{failpoint, failpoint_is_set, metrics as names, traces};
use offtake_reading::{Batch, Part};

use super::reading::Ahead;
use super::{Turn, limits};
use crate::Error;
use crate::cursors::Cursors;
use crate::destinations::{Aside, Link, TenantWrite, Written};

impl Turn<'_> {
    /// One batch: read, applied, mirrored. Returns the head reached when nothing is left to do.
    /// While it is applied, the batch after it is read, into `ahead`.
    pub(super) async fn step(
        &mut self,
        link: &mut Link,
        cursors: Cursors,
        ahead: &mut Option<Ahead>,
    ) -> Result<Option<i64>, Error> {
        self.wrote = false;
        let mut fetch_began = Instant::now();
        let batch = match ahead.take() {
            // Read for exactly these cursors and mappings, so it is as good as one read now.
            Some(ahead)
                if ahead.cursors == cursors && ahead.batch.parts.len() == self.mappings.len() =>
            {
                fetch_began = ahead.began;
                ahead.batch
            }
            _ => {
                self.tell_untold().await?;
                self.read_with_others(&cursors).await?
            }
        };
        failpoint("sync.after_read").await.map_err(Error::Source)?;
        metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "fetch")
            .record(fetch_began.elapsed().as_secs_f64());
        traces::stage("fetch", fetch_began.elapsed(), Vec::new);
        if batch.parts.iter().any(|part| cursors[part.mapping.name()].epoch != batch.epoch) {
            link.cursors = None;
            return Ok(None);
        }
        let mut next = cursors.clone();
        for part in &batch.parts {
            next.get_mut(part.mapping.name()).into_iter().for_each(|cursor| cursor.advance(part));
        }
        let behind = batch
            .parts
            .iter()
            .any(|part| cursors[part.mapping.name()].sequence_id < self.claim.wanted_sequence_id);
        if !batch.has_rows() && !behind && !link.confirmed {
            // Nothing to write, and so nothing that compares what was known of the destination
            // before its last connection was closed. It may have been restored since.
            link.cursors = None;
            return Ok(None);
        }
        let mut slow = false;
        let taken_at_most = self.batch_bytes();
        if batch.has_rows() || behind {
            let apply_began = Instant::now();
            let untold = self.untold.take();
            let tell = async {
                let began = Instant::now();
                let Some(untold) = &untold else { return Ok::<(), Error>(()) };
                self.tell(untold, None).await?;
                traces::stage("mirror", began.elapsed(), Vec::new);
                Ok(())
            };
            let (written, read, told) = tokio::join!(
                self.write(link, &batch, &cursors, &next),
                self.read_ahead(&batch, &next),
                tell
            );
            if told.is_err() {
                self.untold = untold;
            }
            if written.is_err() {
                // The commit may or may not have happened. The destination's own cursors tell, when
                // it is taken up again.
                link.cursors = None;
            }
            let written = written?;
            slow = written.slow;
            // It was read for the cursors of this write alone. Those that another worker left may
            // stand at the same place, over newer rows.
            let good = read.filter(|_| written.faults.is_empty());
            *ahead = good.map(|read| Ahead { cursors: written.cursors.clone(), ..read });
            next = self
                .written(link, &batch, written, (fetch_began, apply_began, ahead.is_some()))
                .await?;
            told?;
        }
        for part in batch.parts.iter().filter(|part| part.locked_out) {
            // The other mappings go on without it. It is tried again after this turn.
            self.mappings.retain(|mapping| mapping.name() != part.mapping.name());
            let retry = self.context.settings.retry_initial;
            self.retry = Some(self.retry.map_or(retry, |other| other.min(retry)));
        }
        match slow {
            true => self.context.sizes.halve(self.claim.destination_id),
            false if self.batch_bytes() > taken_at_most => {
                self.context.sizes.double(self.claim.destination_id);
            }
            false => self.context.sizes.grow(self.claim.destination_id),
        }
        Ok(self.all_applied(&batch, &next).then_some(batch.head))
    }

    /// Whether nothing is left to do after a batch that left the cursors `next`.
    fn all_applied(&self, batch: &Batch, next: &Cursors) -> bool {
        let settled = |part: &Part| part.exhausted && next[part.mapping.name()].backfilled;
        let failed = self.mappings.len() < batch.parts.len();
        !failed && batch.parts.iter().all(settled)
    }

    /// The sequence id with which the request can be completed in the transaction that mirrors this
    /// batch. None: the turn goes on, or its end depends on more.
    fn reached_with(&self, batch: &Batch, cursors: &Cursors) -> Option<i64> {
        let alone = self.retry.is_none()
            && !self.claim.audits_untold
            && !batch.parts.iter().any(|part| part.locked_out || part.chunk.is_some())
            && !failpoint_is_set("sync.before_complete");
        let done = alone && self.all_applied(batch, cursors);
        done.then(|| batch.head.max(self.claim.wanted_sequence_id))
    }

    /// Notes what a batch's commit did, here and at the source. Returns the cursors that stand now.
    async fn written(
        &mut self,
        link: &mut Link,
        batch: &Batch,
        written: Written,
        (fetch_began, apply_began, next_is_read): (Instant, Instant, bool),
    ) -> Result<Cursors, Error> {
        let Written { outcomes, faults, cursors, .. } = written;
        self.quarantined |= outcomes.iter().flatten().any(|applied| !applied.refused.is_empty());
        self.quarantined |= batch.parts.iter().any(|part| !part.failed.is_empty());
        for (mapping, fault) in faults {
            self.set_aside(&mapping, fault).await?;
        }
        self.committed(batch, &outcomes, fetch_began, apply_began);
        self.wrote = true;
        link.cursors = Some(cursors.clone());
        link.confirmed = true;
        let reached = self.reached_with(batch, &cursors);
        let mirror_began = Instant::now();
        let stands = (&cursors, &link.identities);
        self.mirror(batch, stands, &outcomes, (reached, next_is_read)).await?;
        if self.completing.is_none() && self.untold.is_none() {
            traces::stage("mirror", mirror_began.elapsed(), Vec::new);
        }
        if batch.parts.iter().any(|part| part.chunk.is_some()) {
            failpoint("backfill.after_chunk").await.map_err(Error::Source)?;
        }
        Ok(cursors)
    }

    /// Writes a batch and moves the cursors to `next`, if the destination is as the batch was read
    /// for.
    async fn write(
        &self,
        link: &mut Link,
        batch: &Batch,
        expected: &Cursors,
        next: &Cursors,
    ) -> Result<Written, Error> {
        let (context, spec) = (self.context, &self.registered.spec);
        let destination_id = self.claim.destination_id;
        let write = TenantWrite {
            tenant_id: &spec.tenant_id,
            tenant_at_source: &spec.tenant_at_source,
            mappings: &self.mappings,
            parts: &batch.parts,
            references: &link.references,
            expected,
            identities: &link.identities,
            next,
            also: None,
        };
        let aside = Aside::Quarantine { pool: &context.pool, destination_id, spec };
        let writes = [write];
        let settings = limits::of_a_batch(&context.settings, batch.bytes());
        let work = link.session.write(&writes, &aside, &settings);
        let written = limits::within(context, destination_id, &settings, work).await;
        let mut written = written.map_err(|error| limits::gone_beyond(self, batch, error))?;
        written.pop().flatten().ok_or(Error::Stale)
    }
}
