//! How long a request waits after a failure.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng as _;

/// The wait doubles at most this often. With the shortest sensible first wait, a millisecond, that
/// is more than a minute; the caller's maximum is reached long before.
const DOUBLINGS_MAX: i32 = 16;

/// The part of the longest wait that is waited. Destinations that failed together then do not come
/// back together, and none is retried much earlier than its failures call for.
const JITTER: RangeInclusive<f64> = 0.5..=1.0;

/// The wait before the next attempt, after `failures` failed attempts in a row before the one that
/// failed now. Between half of `initial`, doubled once for each of them, and the whole of it, and
/// never longer than `max`.
pub fn backoff(initial: Duration, max: Duration, failures: i32) -> Duration {
    longest(initial, max, failures).mul_f64(rand::rng().random_range(JITTER))
}

fn longest(initial: Duration, max: Duration, failures: i32) -> Duration {
    let doublings = u32::try_from(failures.clamp(0, DOUBLINGS_MAX)).unwrap_or(0);
    initial.saturating_mul(1 << doublings).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn a_wait_doubles_with_every_failure_up_to_its_maximum() {
        let check = |failures, expected_ms| {
            let expected = Duration::from_millis(expected_ms);
            assert_eq!(longest(INITIAL, MAX, failures), expected, "{failures} failures");
            for _ in 0..100 {
                let wait = backoff(INITIAL, MAX, failures);
                assert!((expected / 2..=expected).contains(&wait), "{failures}: {wait:?}");
            }
        };
        check(-1, 500);
        check(0, 500);
        check(1, 1_000);
        check(5, 16_000);
        check(6, 30_000);
        check(i32::MAX, 30_000);
    }

    #[test]
    fn the_longest_settings_do_not_overflow() {
        assert_eq!(longest(Duration::MAX, Duration::MAX, i32::MAX), Duration::MAX);
    }
}
