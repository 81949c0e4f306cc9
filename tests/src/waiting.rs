//! Waiting for conditions.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that fails waits this long once.
pub const PATIENCE: Duration = Duration::from_secs(30);

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `condition` gives a value. Its `Err` says what is still missing; the last one is in
/// the panic's message when `timeout` has passed.
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

/// Does `again` over and over while `what` lasts, and once more to its end; returns what `what`
/// does.
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
