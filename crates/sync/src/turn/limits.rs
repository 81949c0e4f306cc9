//! How long an operation of a destination may take, and what follows when one takes longer.
//!
//! The statement timeout is for batches of the usual size. A batch that takes too long is halved,
//! down to a single row. A row may be as large as a gigabyte, which no setting could be right for:
//! so a batch gets more time the larger it is.

use std::time::Duration;

use offtake_mapping::foreign;
use offtake_postgres::Fault;
use offtake_reading::Batch;

use super::{Context, Turn};
use crate::destinations::Trouble;
use crate::{Error, Settings};

/// Added to the statement timeout for a whole destination transaction, so that the server's own
/// limit ends a slow statement first.
pub(super) const DEADLINE_MARGIN: Duration = Duration::from_secs(10);

/// A batch gets a second more for each so many bytes: as on a line of 8 Mbit/s, or by a server
/// that takes a minute for 60 MB.
const SLOWEST_BYTES_PER_SECOND: usize = 1 << 20;

/// The settings to write a batch of so many bytes with. No more is waited for a lock.
pub(super) fn of_a_batch(settings: &Settings, bytes: usize) -> Settings {
    let more = Duration::from_secs((bytes / SLOWEST_BYTES_PER_SECOND) as u64);
    let statement_timeout = settings.statement_timeout + more;
    Settings { statement_timeout, ..settings.clone() }
}

/// Awaits one operation of a destination, and gives it up when the server answers later than its
/// own limits allow.
pub(super) async fn within_deadline<T>(
    context: &Context,
    destination_id: i64,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    within(context, destination_id, &context.settings, work).await
}

/// The same for an operation with settings of its own.
pub(super) async fn within<T>(
    context: &Context,
    destination_id: i64,
    settings: &Settings,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let limit = settings.statement_timeout + DEADLINE_MARGIN;
    let Ok(result) = tokio::time::timeout(limit, work).await else {
        return Err(Error::Deadline(limit.as_secs()));
    };
    if let Err(Error::Destination(trouble)) = &result
        && trouble.fault == Fault::TooSlow
    {
        context.sizes.halve(destination_id);
    }
    result
}

/// What follows from the failure of a batch's write. One that ended by the deadline is halved: each
/// of its statements may have kept to its time. Of a single row the reason has the key.
pub(super) fn gone_beyond(turn: &Turn<'_>, batch: &Batch, error: Error) -> Error {
    let mut trouble = match error {
        Error::Deadline(_) => {
            turn.context.sizes.halve(turn.claim.destination_id);
            Trouble::new(Fault::Unreachable, None, error.to_string())
        }
        Error::Destination(trouble) if trouble.fault == Fault::TooSlow => trouble,
        other => return other,
    };
    if let Some((mapping, key)) = batch.only_row() {
        let (name, mib) = (mapping.name(), batch.bytes() >> 20);
        let key = key.join(", ");
        trouble.reason.push_str(&format!(
            "; the batch is one row of mapping {name}, with the key ({}) and {mib} MiB",
            foreign(&key)
        ));
    }
    Error::Destination(trouble)
}
