//! A loop's trouble with the source: how long the loop pauses, and when the log says so.

use std::time::{Duration, Instant};

use offtake_postgres::chain;

/// The first pause. A session that the server ended is replaced within milliseconds.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause: a loop notices within this time that the source is back.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// While the trouble lasts, it is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// Counts the failures of a loop that goes on when the source is restarted, fails over or ends its
/// sessions.
pub struct SourceTrouble {
    name: &'static str,
    pause: Duration,
    logged_at: Option<Instant>,
    failures: u32,
}

impl SourceTrouble {
    /// `name` is the loop's name.
    pub fn new(name: &'static str) -> Self {
        Self { name, pause: PAUSE_MIN, logged_at: None, failures: 0 }
    }

    /// Counts one failure, logs it unless one was logged in the last 30 seconds, and returns how
    /// long to pause.
    pub fn report(&mut self, error: &(dyn std::error::Error + 'static)) -> Duration {
        self.failures += 1;
        if self.logged_at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            self.logged_at = Some(Instant::now());
            let (name, why) = (self.name, chain(error));
            tracing::warn!(
                event = "source_failed",
                "loop" = name,
                failures = self.failures,
                "the loop {name} waits for the source: {why}"
            );
        }
        let pause = self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        pause
    }

    /// A round succeeded.
    pub fn over(&mut self) {
        if self.failures > 0 {
            tracing::info!(
                event = "source_back",
                "loop" = self.name,
                failures = self.failures,
                "the loop {} goes on",
                self.name
            );
            // `logged_at` stays: trouble that comes and goes is not logged each time it comes.
            self.failures = 0;
            self.pause = PAUSE_MIN;
        }
    }
}
