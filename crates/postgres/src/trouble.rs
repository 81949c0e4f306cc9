//! A loop's trouble with the source: how long to pause, and when to say so.

use std::time::{Duration, Instant};

/// The first pause; a backend that was terminated is replaced within milliseconds.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// A source that is back is noticed within this long.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// While it lasts, the log says so this often.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Counts the failures of a loop that goes on: the source is restarted, fails over, ends our
/// sessions.
pub struct Trouble {
    name: &'static str,
    pause: Duration,
    said_at: Option<Instant>,
    failures: u32,
}

impl Trouble {
    /// `name` is the loop's.
    pub fn new(name: &'static str) -> Self {
        Self { name, pause: PAUSE_MIN, said_at: None, failures: 0 }
    }

    /// Notes one failure, logs it when it is news, and returns how long to pause.
    pub fn report(&mut self, error: &(dyn std::error::Error + 'static)) -> Duration {
        self.failures += 1;
        if self.said_at.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            self.said_at = Some(Instant::now());
            let mut why = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                why = format!("{why}: {error}");
                cause = error.source();
            }
            let name = self.name;
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

    /// A round went well.
    pub fn over(&mut self) {
        if self.failures > 0 {
            tracing::info!(
                event = "source_back",
                "loop" = self.name,
                failures = self.failures,
                "the loop {} goes on",
                self.name
            );
            // `said_at` stays: trouble that comes and goes is said once in a while, not each time.
            self.failures = 0;
            self.pause = PAUSE_MIN;
        }
    }
}
