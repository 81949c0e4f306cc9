//! What the worker tells the source: of a batch after the destination's commit, and of a mapping that
//! failed.

use std::sync::atomic::Ordering;
use std::time::Instant;

use offtake_loops::{metrics as names, traces};
use offtake_reading::{Batch, MappingFault, Part, Rows, key_of};
use serde_json::Value;

use super::{Completing, Ended, Turn};
use crate::Error;
use crate::cursors::{Cursors, Identities};
use crate::destinations::{Applied, row_key};
use crate::record::{self, Mirror};

/// A mapping whose copy begins, with the planner's estimate of its rows.
type Beginning = (String, Option<i64>);

/// What the source is told of a commit, as it was then.
pub(super) struct Untold {
    cursors: Cursors,
    identities: Identities,
    chunk_rows: Vec<(String, i64)>,
    begun: Vec<Beginning>,
    state: &'static str,
    reason: Option<String>,
}

impl Turn<'_> {
    /// Counts what a commit made visible.
    pub(super) fn committed(
        &self,
        batch: &Batch,
        outcomes: &[Option<Applied>],
        fetch_began: Instant,
        apply_began: Instant,
    ) {
        metrics::histogram!(names::STAGE_LATENCY_SECONDS, "stage" => "apply")
            .record(apply_began.elapsed().as_secs_f64());
        metrics::counter!(names::BATCHES_TOTAL, "result" => "applied").increment(1);
        traces::stage("apply", apply_began.elapsed(), || {
            let rows = |applied: &Applied| applied.upserted + applied.deleted;
            let rows: u64 = outcomes.iter().flatten().map(rows).sum();
            vec![("offtake.rows", rows.to_string())]
        });
        for (part, applied) in batch.parts.iter().zip(outcomes) {
            let Some(applied) = applied else { continue };
            metrics::counter!(names::ROWS_APPLIED_TOTAL, "operation" => "upsert")
                .increment(applied.upserted);
            metrics::counter!(names::ROWS_APPLIED_TOTAL, "operation" => "delete")
                .increment(applied.deleted);
            if let Some(chunk) = &part.chunk {
                metrics::counter!(names::BACKFILL_ROWS_TOTAL).increment(chunk.rows.len() as u64);
            }
            if let Some(oldest) = part.oldest {
                metrics::histogram!(names::SYNC_LATENCY_SECONDS)
                    .record((oldest + fetch_began.elapsed()).as_secs_f64());
            }
        }
    }

    /// Tells the source of a commit, or keeps that for later: with `reached` until the turn ends, and
    /// where the next batch is read already, for while it is written.
    pub(super) async fn mirror(
        &mut self,
        batch: &Batch,
        (cursors, identities): (&Cursors, &Identities),
        outcomes: &[Option<Applied>],
        (reached, next_is_read): (Option<i64>, bool),
    ) -> Result<(), Error> {
        if self.quarantined {
            for (part, applied) in batch.parts.iter().zip(outcomes) {
                if let Some(applied) = applied {
                    self.release_quarantined(part, applied).await?;
                }
            }
        }
        if let Some(reached) = reached {
            let (cursors, identities) = (cursors.clone(), identities.clone());
            self.completing = Some(Completing { cursors, identities, reached });
            self.mirrored = true;
            return Ok(());
        }
        self.completing = None;
        let chunk_rows: Vec<(String, i64)> = batch
            .parts
            .iter()
            .filter_map(|part| {
                Some((
                    part.mapping.name().to_owned(),
                    i64::try_from(part.chunk.as_ref()?.rows.len()).ok()?,
                ))
            })
            .collect();
        let beginning = batch
            .parts
            .iter()
            .filter(|part| part.whole_table)
            .map(|part| (part.mapping.name().to_owned(), None))
            .collect();
        self.untold = self.untold_of(cursors, identities, (chunk_rows, beginning));
        if !next_is_read {
            self.tell_untold().await?;
        }
        Ok(())
    }

    /// Tells the source what was kept for later.
    pub(super) async fn tell_untold(&mut self) -> Result<(), Error> {
        match self.untold.take() {
            Some(untold) => self.tell(&untold, None).await.map(drop),
            None => Ok(()),
        }
    }

    pub(super) async fn tell(&self, untold: &Untold, reached: Option<i64>) -> Result<bool, Error> {
        let mirror = Mirror {
            cursors: &untold.cursors,
            identities: &untold.identities,
            chunk_rows: &untold.chunk_rows,
            begun: &untold.begun,
            state: untold.state,
            reason: untold.reason.as_deref(),
        };
        let told = record::mirror(&self.context.pool, self.claim, &mirror, reached).await?;
        if !told.goes_on {
            self.over.store(true, Ordering::Relaxed);
        }
        Ok(told.more_wanted)
    }

    /// Does what the last batch left for the end of the turn.
    pub(super) async fn complete(&mut self, ended: Ended) -> Result<Ended, Error> {
        let Some(Completing { cursors, identities, reached }) = self.completing.take() else {
            return Ok(ended);
        };
        let began = Instant::now();
        let ended = if matches!(ended, Ended::Reached(_)) {
            let more_wanted = self.mirror_with_others(&cursors, &identities, reached).await?;
            Ended::Completed { more_wanted }
        } else {
            self.mirror_cursors(&cursors, &identities, None).await?;
            ended
        };
        traces::stage("mirror", began.elapsed(), Vec::new);
        Ok(ended)
    }

    /// `reached`: completes the request with it, and returns whether more is wanted.
    pub(super) async fn mirror_cursors(
        &mut self,
        cursors: &Cursors,
        identities: &Identities,
        reached: Option<i64>,
    ) -> Result<bool, Error> {
        match self.untold_of(cursors, identities, (Vec::new(), Vec::new())) {
            Some(untold) => self.tell(&untold, reached).await,
            None => Ok(true),
        }
    }

    /// What is to be told of the destination now. None: nothing, because no mapping is left.
    fn untold_of(
        &mut self,
        cursors: &Cursors,
        identities: &Identities,
        (chunk_rows, beginning): (Vec<(String, i64)>, Vec<Beginning>),
    ) -> Option<Untold> {
        if self.mappings.is_empty() {
            return None;
        }
        let ours: Cursors = self
            .mappings
            .iter()
            .filter_map(|m| Some((m.name().to_owned(), cursors.get(m.name())?.clone())))
            .collect();
        // The source could not be told of these before.
        let untold = self.untold.take().into_iter().flat_map(|untold| untold.begun);
        let begun = untold.chain(std::mem::take(&mut self.begun)).chain(beginning).collect();
        let (state, reason) = match (&self.reason, &self.strain) {
            (Some(reason), _) => ("blocked", Some(reason.clone())),
            (None, _) if !ours.values().all(|c| c.backfilled) => ("backfilling", None),
            (None, Some(strain)) => ("degraded", Some(strain.clone())),
            (None, None) => ("in_sync", None),
        };
        self.mirrored = true;
        let identities = identities.clone();
        Some(Untold { cursors: ours, identities, chunk_rows, begun, state, reason })
    }

    /// One mapping failed by itself: the turn goes on without it.
    pub(super) async fn set_aside(
        &mut self,
        mapping: &str,
        fault: MappingFault,
    ) -> Result<(), Error> {
        let spec = &self.registered.spec;
        let settings = &self.context.settings;
        let backoff = (settings.retry_initial, settings.retry_max);
        let noted =
            record::fail_mapping(&self.context.pool, self.claim, mapping, &fault, backoff).await?;
        metrics::counter!(names::DESTINATION_ERRORS_TOTAL, "class" => fault.class()).increment(1);
        // Logged once, because a person must look; the status says for how long it lasts.
        if noted.as_ref().is_none_or(|noted| noted.first) {
            tracing::error!(
                event = "mapping_blocked",
                tenant = spec.tenant_id,
                destination = spec.name,
                mapping,
                sqlstate = fault.sqlstate,
                "mapping {mapping} does not arrive at {}: {fault}",
                spec.label()
            );
        }
        let retry = noted.map_or(settings.retry_initial, |noted| noted.retry);
        self.retry = Some(self.retry.map_or(retry, |other| other.min(retry)));
        self.reason.get_or_insert(format!("{mapping}: {fault}"));
        self.mappings.retain(|m| m.name() != mapping);
        Ok(())
    }

    /// Takes rows out of quarantine that have arrived now.
    async fn release_quarantined(&self, part: &Part, applied: &Applied) -> Result<(), Error> {
        let arrived = |rows: &Rows| -> Vec<Value> {
            let keys = (0..rows.len()).map(|line| key_of(&part.mapping, rows, line));
            keys.filter(|key| !applied.refused.iter().any(|r| r.key == *key))
                .map(|key| row_key(&part.mapping, &key))
                .collect()
        };
        let mut keys = arrived(&part.changed);
        keys.extend(part.chunk.as_ref().map(|chunk| arrived(&chunk.rows)).into_iter().flatten());
        if keys.is_empty() {
            return Ok(());
        }
        record::release_quarantined(&self.context.pool, self.claim, part.mapping.name(), &keys)
            .await
    }
}
