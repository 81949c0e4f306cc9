//! Files are read and parsed off the runtime's threads and within a time: a file on a network drive
//! that does not answer must not stop the loops, and neither may a text that takes long to parse.

use std::time::Duration;

use tokio::sync::Semaphore;

use crate::outcome::{Exit, Failure};

/// A local file is read in milliseconds. What takes longer is told, and tried again at the next
/// look.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// A read that hangs keeps its thread until the drive answers, so only so many may hang.
const READS_MAX: usize = 4;

static READS: Semaphore = Semaphore::const_new(READS_MAX);

/// What `read` returns, from a thread of its own.
pub(super) async fn off_the_runtime<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let slow = || {
        let message = format!("reading the files takes longer than {} s", READ_WITHIN.as_secs());
        Failure::new(Exit::Failed, message).remedy("check the drive that they are on")
    };
    let Ok(turn) = READS.try_acquire() else { return Err(slow()) };
    let reading = tokio::task::spawn_blocking(move || {
        let read = read();
        drop(turn);
        read
    });
    match tokio::time::timeout(READ_WITHIN, reading).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => {
            Err(Failure::new(Exit::Failed, "the files were not read").because(error.to_string()))
        }
        Err(_) => Err(slow()),
    }
}
