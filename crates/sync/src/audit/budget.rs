//! The budget: how much of the source's time, and of the daemon's own, the audit may take.

use std::future::poll_fn;
use std::pin::pin;
use std::time::{Duration, Instant};

/// A share of one core and of the source's time, in hundredths of a percent: more than none, and at
/// most all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// All of it: the audit never pauses.
    pub const WHOLE: Self = Self(10_000);

    /// From hundredths of a percent; None: nothing, or more than all.
    pub const fn of_hundredths(hundredths: u32) -> Option<Self> {
        if hundredths == 0 || hundredths > Self::WHOLE.0 { None } else { Some(Self(hundredths)) }
    }

    pub fn hundredths(self) -> u32 {
        self.0
    }

    /// How long to pause after work, so that the work stays within the share.
    pub(super) fn pause_after(self, work: Duration) -> Duration {
        work * (Self::WHOLE.0 - self.0) / self.0
    }
}

/// Runs the work, and also returns how long its own code ran: what it waited for is not counted.
pub(super) async fn measured<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let mut work = pin!(work);
    let mut ran = Duration::ZERO;
    let done = poll_fn(|context| {
        let began = Instant::now();
        let polled = work.as_mut().poll(context);
        ran += began.elapsed();
        polled
    })
    .await;
    (done, ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_keeps_the_share() {
        let check = |hundredths, work_ms, pause_ms| {
            let share = Share::of_hundredths(hundredths).expect("a share");
            let pause = share.pause_after(Duration::from_millis(work_ms));
            assert_eq!(pause, Duration::from_millis(pause_ms), "{hundredths}");
        };
        check(100, 10, 990);
        check(5_000, 10, 10);
        check(10_000, 10, 0);
        check(1, 60_000, 599_940_000);
        assert_eq!(Share::of_hundredths(0), None);
        assert_eq!(Share::of_hundredths(10_001), None);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_no_work() {
        let work = async {
            std::thread::sleep(Duration::from_millis(20));
            tokio::time::sleep(Duration::from_secs(3600)).await;
        };
        let ((), ran) = measured(work).await;
        assert!(ran >= Duration::from_millis(20) && ran < Duration::from_secs(60), "{ran:?}");
    }
}
