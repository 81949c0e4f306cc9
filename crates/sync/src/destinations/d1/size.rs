//! How large databases are. Cloudflare takes no more than 10 GB for one, and then every write fails.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use metrics::gauge;
use offtake_loops::metrics as names;
use tokio::time::Instant;

use super::Session;

/// A database that has not answered for so long is left out of the metric: an idle one is visited
/// once an hour.
const KNOWN_FOR: Duration = Duration::from_secs(2 * 3600);

/// How often those are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Sizes {
    /// By the database's name: its bytes, and when it said so.
    known: HashMap<String, (u64, Instant)>,
    largest: u64,
    swept: Option<Instant>,
}

/// Notes how large a database is.
pub(super) fn note(name: &str, bytes: u64) {
    static SIZES: LazyLock<Mutex<Sizes>> = LazyLock::new(Mutex::default);
    let largest = SIZES.lock().unwrap_or_else(PoisonError::into_inner).note(name, bytes);
    gauge!(names::D1_LARGEST_BYTES).set(largest as f64);
}

impl Sizes {
    /// Returns the largest of all.
    fn note(&mut self, name: &str, bytes: u64) -> u64 {
        let now = Instant::now();
        let swept = self.swept.is_none_or(|swept| now - swept >= SWEEP_INTERVAL);
        if swept {
            self.swept = Some(now);
            self.known.retain(|_, (_, at)| now - *at < KNOWN_FOR);
        }
        let before = match self.known.get_mut(name) {
            Some(known) => std::mem::replace(known, (bytes, now)).0,
            None => {
                self.known.insert(name.to_owned(), (bytes, now));
                0
            }
        };
        // With each answer; all of them are looked at only where the largest may be another one.
        if swept || before == self.largest && bytes < before {
            self.largest = self.known.values().map(|(bytes, _)| *bytes).max().unwrap_or_default();
        }
        self.largest = self.largest.max(bytes);
        self.largest
    }
}

impl Session {
    /// Some if the database has more than `bytes_max`.
    pub(in crate::destinations) fn strain(&self, bytes_max: u64) -> Option<String> {
        let bytes = self.database.usage.last_size()?;
        (bytes > bytes_max).then(|| {
            format!(
                "the D1 database has {} MB, and Cloudflare takes no write into one of 10 GB (500 MB \
                 on the free plan); delete what is not needed there, or give the tenant more \
                 databases, each with some of its mappings",
                bytes / 1_000_000
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_largest_of_the_databases_that_answer_is_told() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.note("a", 100), 100);
        assert_eq!(sizes.note("b", 70), 100);
        assert_eq!(sizes.note("a", 50), 70);
        tokio::time::advance(KNOWN_FOR).await;
        assert_eq!(sizes.note("a", 60), 60, "b is gone");
    }
}
