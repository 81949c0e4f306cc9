//! The write-ahead log beside a file. While a reader keeps a snapshot, nothing in it can be used
//! again, so it grows with every write.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use offtake_loops::metrics as names;
use offtake_mapping::foreign;

use super::connection::Handle;
use super::file::DatabaseFile;
use super::{READ_LIMIT, Session};
use crate::Error;

/// The bytes of each log as they were last seen, of the files that this process has open.
static LOGS: LazyLock<Mutex<HashMap<PathBuf, u64>>> = LazyLock::new(Mutex::default);

/// Notes how long the file's log is. None: it is closed.
pub(super) fn note(file: &DatabaseFile, bytes: Option<u64>) {
    let mut logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    match bytes {
        Some(bytes) => logs.insert(file.path().to_owned(), bytes),
        None => logs.remove(file.path()),
    };
    let all: u64 = logs.values().sum();
    metrics::gauge!(names::SQLITE_WAL_BYTES).set(all as f64);
}

impl Session {
    /// Some if the log has more than `bytes_max` and cannot be emptied: a reader needs it.
    pub(in crate::destinations) async fn strain(&self, bytes_max: u64) -> Option<String> {
        if self.file.log_bytes() <= bytes_max {
            return None;
        }
        // Most of it may be of one large write, and then a checkpoint empties it.
        let turn = Arc::new(self.file.turn().await);
        let bytes = self.caller.run(READ_LIMIT, Some(&turn), emptied).await.ok()?;
        (bytes > bytes_max).then(|| {
            let path = foreign(self.file.as_str()).to_string();
            format!(
                "a reader keeps a transaction open, and the write-ahead log {path}-wal has {} MB; \
                 end that program; to see which have the file open, run: fuser -v {path}",
                bytes.div_ceil(1_000_000)
            )
        })
    }
}

/// Has the log written into the file and emptied, if no reader needs it. Returns its length.
fn emptied(handle: &mut Handle) -> Result<u64, Error> {
    let Some(open) = handle.opened()? else { return Ok(0) };
    // A reader that is there now may stay for hours.
    open.connection.busy_timeout(Duration::ZERO).map_err(Error::destination)?;
    let emptied = open.connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()));
    let waits = open.connection.busy_timeout(super::connection::LOCK_WAIT);
    emptied.and(waits).map_err(Error::destination)?;
    Ok(handle.note_log())
}
