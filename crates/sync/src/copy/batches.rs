//! Batch after batch of one range, each written while the next one is read.

use std::time::Duration;

use offtake_mapping::compose::KeyRange;
use offtake_reading::{Part, Stretch, read_stretch};
use tokio::time::Instant;

use super::desk::Desk;
use super::retry::Trip;
use super::{Copier, Job, Side, Stop};

/// What was read: a part, up to which key it goes, and its rows and bytes.
pub(super) struct Batch {
    part: Part,
    /// None: to the end of the range.
    pub(super) up_to: Option<Vec<String>>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// How many rows are read at a time, and when the next batch may begin.
pub(super) struct Pace {
    pub(super) rows: usize,
    next: Option<Instant>,
    /// Rows that this run may still copy.
    pub(super) left: Option<u64>,
}

impl Pace {
    pub(super) fn new(copier: &Copier) -> Self {
        Self { rows: copier.terms.batch_rows, next: None, left: copier.terms.rows_max }
    }

    /// Waits for the time of the next batch. The error says that none may begin any more.
    pub(super) async fn wait(&mut self, copier: &Copier) -> Result<(), Trip> {
        if let Some(next) = self.next {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = copier.stopping.cancelled() => {}
            }
        }
        may_go_on(copier)?;
        if self.left == Some(0) {
            return Err(Stop::EnoughRows.into());
        }
        if copier.terms.pace > Duration::ZERO {
            self.next = Some(Instant::now() + copier.terms.pace);
        }
        Ok(())
    }

    /// Fewer rows, after a batch took too long. False: it had one row only.
    pub(super) fn halve(&mut self) -> bool {
        let more = self.rows > 1;
        self.rows = (self.rows / 2).max(1);
        more
    }

    /// After a batch that was in time: a little more again, up to what was asked for.
    fn grow(&mut self, copier: &Copier) {
        self.rows = (self.rows + self.rows.div_ceil(8)).min(copier.terms.batch_rows);
    }

    fn rows_max(&self) -> usize {
        let left = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        self.rows.min(left).max(1)
    }
}

pub(super) fn may_go_on(copier: &Copier) -> Result<(), Trip> {
    if copier.stopping.is_cancelled() {
        return Err(Stop::Interrupted.into());
    }
    match copier.terms.deadline {
        Some(deadline) if std::time::Instant::now() >= deadline => Err(Stop::TimeIsUp.into()),
        _ => Ok(()),
    }
}

/// Reads the first rows of a range.
pub(super) async fn read(
    copier: &Copier,
    job: &Job,
    range: KeyRange<'_>,
    rows_max: usize,
) -> Result<(Batch, Option<usize>), Trip> {
    let stretch = Stretch {
        mapping: &job.mapping,
        tenant_id: &job.tenant,
        range,
        rows_max,
        // A single row must always fit.
        bytes_max: match rows_max {
            1 => usize::MAX,
            _ => copier.terms.batch_bytes.min(copier.place.batch_bytes_max()),
        },
        statement_timeout: copier.settings.statement_timeout,
    };
    let (mut part, fits) = read_stretch(&copier.pool, &stretch).await?;
    if let Some(failed) = part.failed.first().filter(|_| !copier.terms.skip_refused) {
        let key = failed.key.join(", ");
        return Err(Trip::Chunk(format!(
            "the query cannot compute the row with the key ({key}): {}",
            failed.error
        )));
    }
    let Some(chunk) = &mut part.chunk else {
        let why = "the source gave no rows and no reason".to_owned();
        return Err(Trip::Again { side: Side::Source, why });
    };
    let (rows, bytes) = (chunk.rows.len() as u64, chunk.rows.bytes() as u64);
    // The last row of the range may be the last one that was asked for.
    let up_to = chunk.up_to.clone().filter(|key| Some(&key[..]) != range.up_to);
    // What the destination has in the range beyond the last row is not in the source.
    if chunk.up_to.is_none() {
        chunk.up_to = range.up_to.map(<[String]>::to_vec);
    }
    Ok((Batch { part, up_to, rows, bytes }, fits))
}

/// What a batch did.
pub(super) struct Done {
    pub(super) up_to: Option<Vec<String>>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Desk<'_> {
    /// Copies a range. `checkpoint` gives the statement that moves its checkpoint: behind a key, or
    /// to the end. `told` is told of each batch that is there.
    pub(super) async fn copy_range(
        &mut self,
        (copier, job): (&Copier, &Job),
        range: KeyRange<'_>,
        pace: &mut Pace,
        checkpoint: impl Fn(&Self, Option<&[String]>, u64) -> String,
        mut told: impl FnMut(Done),
    ) -> Result<(), Trip> {
        let mut after = range.after.map(<[String]>::to_vec);
        let mut ahead: Option<Batch> = None;
        loop {
            pace.wait(copier).await?;
            let behind = KeyRange { after: after.as_deref(), up_to: range.up_to };
            let batch = match ahead.take() {
                Some(batch) => batch,
                None => {
                    let (batch, fits) = read(copier, job, behind, pace.rows_max()).await?;
                    match fits {
                        Some(fits) => pace.rows = fits.clamp(1, pace.rows),
                        None => pace.grow(copier),
                    }
                    batch
                }
            };
            let Batch { part, up_to, rows, bytes } = batch;
            if let Some(left) = &mut pace.left {
                *left = left.saturating_sub(rows);
            }
            let statement = checkpoint(self, up_to.as_deref(), rows);
            let next = KeyRange { after: up_to.as_deref(), up_to: range.up_to };
            let more = up_to.is_some() && pace.left != Some(0);
            let rows_max = pace.rows_max();
            let read_ahead = async {
                match more {
                    true => read(copier, job, next, rows_max).await.ok(),
                    false => None,
                }
            };
            let (written, read) =
                tokio::join!(self.write(Some(part), &statement, false), read_ahead);
            let slow = written?;
            if let Some((batch, fits)) = read {
                match fits {
                    Some(fits) => pace.rows = fits.clamp(1, pace.rows),
                    None => pace.grow(copier),
                }
                ahead = Some(batch);
            }
            if slow {
                pace.halve();
            }
            told(Done { up_to: up_to.clone(), rows, bytes });
            if up_to.is_none() {
                return Ok(());
            }
            after = up_to;
        }
    }
}
