//! When something is tried again: an endpoint that is unwell, and an event that was refused.
//!
//! Two clocks, on purpose. An endpoint is asked again after minutes at most, so that after an outage
//! everything arrives soon. An event that its receiver refuses is tried over days, because somebody
//! must mend something first.

use std::time::{Duration, SystemTime};

/// Jitter only lengthens: an answer's `Retry-After` must not be undercut.
const JITTER_MAX: f64 = 0.2;

/// A longer `Retry-After` counts as this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Pauses of an endpoint that fails: `initial`, then twice as long each time, up to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub initial: Duration,
    pub max: Duration,
}

impl Backoff {
    /// The pause after so many failures in a row (the first counts as 0 or 1) and what the answer
    /// asked for. `random` is from 0 to 1.
    pub fn delay(self, failures: i32, retry_after: Option<Duration>, random: f64) -> Duration {
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(0).min(31);
        let backoff = self.initial.saturating_mul(1 << doublings).min(self.max);
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        let jittered = longer(backoff.max(asked), random);
        // The bound of what an answer may ask for holds with the jitter too.
        if asked > backoff { jittered.min(RETRY_AFTER_MAX).max(asked) } else { jittered }
    }
}

/// Pauses of a refused event, one per retry. After the last one it is exhausted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSchedule(pub Vec<Duration>);

impl EventSchedule {
    /// The pause after so many failed attempts; None: no retry is left. `random` is from 0 to 1.
    pub fn after(&self, failed_attempts: i32, random: f64) -> Option<Duration> {
        let at = usize::try_from(failed_attempts.saturating_sub(1)).unwrap_or(0);
        self.0.get(at).map(|delay| longer(*delay, random))
    }
}

fn longer(delay: Duration, random: f64) -> Duration {
    delay.mul_f64(1.0 + JITTER_MAX * random.clamp(0.0, 1.0))
}

/// What `Retry-After` says: seconds, or a date. None: it says nothing that can be read.
pub(crate) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are a very long time.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const BACKOFF: Backoff =
        Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(300) };

    #[test]
    fn the_pause_doubles_up_to_its_bound() {
        let pauses: Vec<u64> =
            (1..9).map(|failures| BACKOFF.delay(failures, None, 0.0).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(BACKOFF.delay(0, None, 0.0), 5 * S);
        assert_eq!(BACKOFF.delay(i32::MAX, None, 0.0), 300 * S);
        assert_eq!(BACKOFF.delay(i32::MIN, None, 0.0), 5 * S);
    }

    #[test]
    fn jitter_only_lengthens() {
        assert_eq!(BACKOFF.delay(1, None, 1.0), 6 * S);
        assert_eq!(BACKOFF.delay(99, None, 1.0), 360 * S);
        for random in [-1.0, 0.0, 0.3, 1.0, 7.0, f64::INFINITY] {
            let delay = BACKOFF.delay(1, Some(60 * S), random);
            assert!((60 * S..=72 * S).contains(&delay), "{delay:?}");
        }
    }

    #[test]
    fn the_larger_of_backoff_and_retry_after_counts_and_an_hour_at_most() {
        assert_eq!(BACKOFF.delay(1, Some(60 * S), 0.0), 60 * S);
        assert_eq!(BACKOFF.delay(9, Some(60 * S), 0.0), 300 * S);
        for random in [0.0, 1.0] {
            assert_eq!(BACKOFF.delay(1, Some(864_000 * S), random), 3600 * S);
        }
        let slow = Backoff { initial: 7200 * S, max: 7200 * S };
        assert_eq!(slow.delay(1, Some(864_000 * S), 0.0), 7200 * S);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + 1_795_835_580 * S;
        let says = |value: &str| parse_retry_after(value, now);
        assert_eq!(says("120"), Some(120 * S));
        assert_eq!(says(" 120 "), Some(120 * S));
        assert_eq!(says("0"), Some(Duration::ZERO));
        assert_eq!(says("864000"), Some(864_000 * S));
        let date = httpdate::fmt_http_date(now + 90 * S);
        assert_eq!(says(&date), Some(90 * S));
        assert_eq!(
            says("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::ZERO),
            "a date of the past"
        );
        assert!(says("99999999999999999999999").unwrap() > 3600 * S);
        for garbage in ["", "soon", "-1", "+5", "1.5", "1e9", "120s", "Sun, 99 Nov 2026", "٣"] {
            assert_eq!(says(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn an_event_is_tried_nine_times_more_and_is_then_exhausted() {
        let hours = |h: u64| Duration::from_secs(h * 3600);
        let schedule = EventSchedule(vec![
            5 * S,
            300 * S,
            1800 * S,
            hours(2),
            hours(5),
            hours(10),
            hours(14),
            hours(20),
            hours(24),
        ]);
        assert_eq!(schedule.after(1, 0.0), Some(5 * S));
        assert_eq!(schedule.after(2, 1.0), Some(360 * S));
        assert_eq!(schedule.after(9, 0.0), Some(hours(24)));
        assert_eq!(schedule.after(10, 0.0), None);
        assert_eq!(EventSchedule(Vec::new()).after(1, 0.0), None);
    }
}
