//! Waiting for conditions.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The usual timeout of a wait: long enough for a loaded machine. A failing test waits this long
/// once.
pub const PATIENCE: Duration = Duration::from_secs(30);

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Calls `condition` until it returns a value. Its `Err` says what is still missing; after
/// `timeout` the panic's message has the last one.
pub async fn until<T>(
    what: &str,
    timeout: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let begun = Instant::now();
    let mut last = "it was not even looked at".to_owned();
    while begun.elapsed() < timeout {
        match tokio::time::timeout(timeout, condition()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(status)) => last = status,
            Err(_) => last = format!("{last}; and then a look did not end"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("waited {timeout:?} for: {what}\n  last status: {last}");
}

/// Repeats `again` until `what` has ended, then lets the last `again` finish. Returns the value of
/// `what`.
pub async fn beside<T>(what: impl Future<Output = T>, mut again: impl AsyncFnMut()) -> T {
    let done = Cell::new(false);
    let what = async {
        let ended = what.await;
        done.set(true);
        ended
    };
    let again = async {
        while !done.get() {
            again().await;
        }
    };
    tokio::join!(what, again).0
}
