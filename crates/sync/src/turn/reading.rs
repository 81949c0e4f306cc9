//! What a turn reads: the next batch, and the one behind it while that is written.

use std::time::Instant;

use offtake_reading::{Batch, Wanted, read_batch};
use tokio::sync::SemaphorePermit;

use super::Turn;
use crate::Error;
use crate::cursors::{Cursors, positions};

/// A batch that was read while its predecessor was written.
pub(super) struct Ahead {
    pub(super) batch: Batch,
    /// The cursors that it was read for.
    pub(super) cursors: Cursors,
    pub(super) began: Instant,
}

impl Turn<'_> {
    /// Reads the batch that follows, as if this one were applied, so that the source reads while
    /// the destination writes. A batch that turns out to be for other cursors is dropped. None when
    /// there is nothing more, or when the read fails: then the next step reads for itself.
    pub(super) async fn read_ahead(&self, batch: &Batch, cursors: &Cursors) -> Option<Ahead> {
        let more = batch
            .parts
            .iter()
            .any(|part| !part.exhausted || !cursors[part.mapping.name()].backfilled);
        // Quarantined rows would be read twice before their retry is recorded. And a batch that is
        // read after the end of the turn would be dropped.
        if !more || self.quarantined || self.time_is_over() {
            return None;
        }
        let began = Instant::now();
        Some(Ahead { batch: self.read(cursors).await.ok()?, cursors: cursors.clone(), began })
    }

    /// What the settings allow, and the place.
    pub(super) fn batch_bytes(&self) -> usize {
        let of_place = self.registered.spec.place.batch_bytes_max();
        self.context.settings.batch_bytes.min(of_place)
    }

    pub(super) async fn read(&self, cursors: &Cursors) -> Result<Batch, Error> {
        self.read_by(self.reader().await?, cursors).await
    }

    /// Waits until fewer turns read than may read at one time.
    pub(super) async fn reader(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.context.readers.acquire().await.map_err(|_| Error::Cancelled)
    }

    pub(super) async fn read_by(
        &self,
        _reader: SemaphorePermit<'_>,
        cursors: &Cursors,
    ) -> Result<Batch, Error> {
        let context = self.context;
        let rows_max = context.sizes.get(self.claim.destination_id);
        let chunk_rows_max = context.sizes.chunk(self.claim.destination_id);
        // A single row must always fit. Otherwise it would never arrive.
        let single = (rows_max, chunk_rows_max) == (1, 1);
        let wanted = Wanted {
            tenant_id: &self.registered.spec.tenant_at_source,
            positions: &positions(&self.mappings, cursors),
            rows_max,
            chunk_rows_max,
            bytes_max: if single { usize::MAX } else { self.batch_bytes() },
            retry_quarantined_of: self.quarantined.then_some(self.claim.destination_id),
            statement_timeout: context.settings.statement_timeout,
        };
        let read = match read_batch(&context.pool, &wanted).await {
            // Read again with fewer rows, down to the one that is to blame.
            Err(offtake_reading::Error::TooSlow { .. }) if !single => {
                Err(Error::Overflow { fits: rows_max / 2 })
            }
            read => read.map_err(Error::from),
        };
        // The rows that did not fit were read in vain. The next batch asks only for as many as fit.
        if let Ok(Batch { fits: Some(fits), .. }) | Err(Error::Overflow { fits }) = &read {
            context.sizes.fit(self.claim.destination_id, *fits);
        }
        read
    }
}
