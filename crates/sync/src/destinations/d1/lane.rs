//! How many requests one token may make: the limit is the token's, whatever database it opens.
//!
//! Beyond its limit Cloudflare refuses every request of a token for five minutes. So requests wait
//! here for their turn, and no session asks while the API refuses the token.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::HeaderMap;
use metrics::gauge;
use offtake_loops::metrics as names;
use tokio::time::{Instant, sleep_until};

/// A turn that is further away is not waited for: the destination is tried again later.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a token is left alone that is refused without a word about the time.
const REFUSED_FOR: Duration = Duration::from_secs(60);

const REFUSED_MAX: Duration = Duration::from_secs(3600);

pub(super) struct Lane(Mutex<State>);

struct State {
    pause: Duration,
    /// When the next request may leave.
    next: Instant,
    /// Refused until then.
    refused_until: Option<Instant>,
}

impl Lane {
    /// Of the token with this hash.
    pub(super) fn of(token: [u8; 32], requests_per_second: u32) -> Arc<Self> {
        static LANES: LazyLock<Mutex<HashMap<[u8; 32], Arc<Lane>>>> = LazyLock::new(Mutex::default);
        let pause = Duration::from_secs(1) / requests_per_second.max(1);
        let mut lanes = LANES.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of tokens that no session has any more and that nothing holds back.
        lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || lane.holds_back());
        let fresh = || Arc::new(Self::new(pause));
        let lane = lanes.entry(token).or_insert_with(fresh).clone();
        lane.state(|state| state.pause = pause);
        lane
    }

    fn new(pause: Duration) -> Self {
        Self(Mutex::new(State { pause, next: Instant::now(), refused_until: None }))
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn holds_back(&self) -> bool {
        let now = Instant::now();
        self.state(|state| state.next > now || state.refused_until.is_some_and(|until| until > now))
    }

    /// Waits for the turn of one request. Fails, with the time that it would take, where that is
    /// long.
    pub(super) async fn turn(&self) -> Result<(), Duration> {
        let at = self.state(|state| {
            let now = Instant::now();
            let at = state.next.max(now).max(state.refused_until.unwrap_or(now));
            if at - now > WAIT_MAX {
                return Err(at - now);
            }
            state.next = at + state.pause;
            Ok(at)
        })?;
        sleep_until(at).await;
        Ok(())
    }

    /// The API refused a request because of its limit. Returns for how long no session asks now.
    pub(super) fn refused(&self, headers: &HeaderMap) -> Duration {
        let text = headers.get("retry-after").and_then(|value| value.to_str().ok());
        let told = text.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let wait = told.unwrap_or(REFUSED_FOR).min(REFUSED_MAX);
        gauge!(names::D1_BUDGET_REMAINING).set(0.0);
        self.state(|state| {
            let until = Instant::now() + wait;
            state.refused_until = Some(state.refused_until.map_or(until, |other| other.max(until)));
        });
        wait
    }

    /// What an answer says of the budget. Others may use the same token: what is left is spread over
    /// the time that it must last. Returns how many requests are left.
    pub(super) fn told(&self, headers: &HeaderMap) -> Option<u64> {
        let text = headers.get("ratelimit").and_then(|value| value.to_str().ok());
        let (remaining, seconds) = text.and_then(budget)?;
        gauge!(names::D1_BUDGET_REMAINING).set(remaining as f64);
        let share = Duration::from_secs(seconds) / u32::try_from(remaining.max(1)).unwrap_or(1);
        self.state(|state| {
            if share > state.pause {
                state.next = state.next.max(Instant::now() + share);
            }
        });
        Some(remaining)
    }
}

/// `"default";r=<requests that are left>;t=<seconds that they must last>`.
fn budget(text: &str) -> Option<(u64, u64)> {
    let of =
        |name: &str| text.split(';').find_map(|part| part.trim().strip_prefix(name)?.parse().ok());
    Some((of("r=")?, of("t=")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, hyper::header::HeaderValue::from_static(value));
        headers
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_one_token_keep_their_distance() {
        let lane = Lane::new(Duration::from_millis(250));
        let began = Instant::now();
        for _ in 0..9 {
            lane.turn().await.expect("the turn is near");
        }
        assert_eq!(began.elapsed().as_millis(), 2000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_refused_is_left_alone() {
        let lane = Lane::new(Duration::from_millis(250));
        lane.refused(&headers("retry-after", "300"));
        let far = lane.turn().await.expect_err("nobody waits so long");
        assert!(far > Duration::from_secs(299), "{far:?}");
        tokio::time::advance(Duration::from_secs(295)).await;
        let began = Instant::now();
        lane.turn().await.expect("the turn is near");
        assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_a_budget_is_spread() {
        let lane = Lane::new(Duration::from_millis(250));
        assert_eq!(lane.told(&headers("ratelimit", "\"default\";r=50;t=300")), Some(50));
        let began = Instant::now();
        lane.turn().await.expect("the turn is near");
        assert_eq!(began.elapsed(), Duration::from_secs(6));
        assert_eq!(budget("\"default\";r=1199;t=1"), Some((1199, 1)));
        assert_eq!(budget("nonsense"), None);
    }
}
