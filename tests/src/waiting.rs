//! Waiting for conditions.

use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that fails waits this long once.
pub const PATIENCE: Duration = Duration::from_secs(30);

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `condition` gives a value. Its `Err` says what is still missing; the last one is in the panic's message
/// when `timeout` has passed.
pub async fn until<T>(what: &str, timeout: Duration, mut condition: impl AsyncFnMut() -> Result<T, String>) -> T {
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
