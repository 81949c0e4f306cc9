//! `GET /api/v1/events`: the status once a second, as server-sent events. A listener that shows
//! destinations page by page asks for the status without its list of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::described::Asked;
use super::guard::Admission;
use super::problem::Problem;

/// At most this many listeners at a time with one token, enough for the dashboards of one team.
/// Each holds a connection and the last status that it was sent.
const LISTENERS_MAX: usize = 16;

/// A stream ends after this time, and a dashboard opens the next one: a client that is gone without
/// a message is forgotten.
const STREAM_LIFE: Duration = Duration::from_secs(1800);

/// The listeners of the two tokens, so that those with the read token take no place of an
/// operator's.
pub(super) struct Listeners {
    operators: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

impl Default for Listeners {
    fn default() -> Self {
        let places = || Arc::new(Semaphore::new(LISTENERS_MAX));
        Self { operators: places(), readers: places() }
    }
}

impl Listeners {
    fn of(&self, admission: Admission) -> &Arc<Semaphore> {
        if admission == Admission::Everything { &self.operators } else { &self.readers }
    }
}

/// Between two events of one listener.
const INTERVAL: Duration = Duration::from_secs(1);

/// A status that is younger than this is sent to all listeners, so that sixteen of them cost the
/// source no more than one.
const FRESH: Duration = Duration::from_millis(900);

/// One that took long to read is sent again until so many times as long have passed: where very many
/// destinations are not in sync, listeners cost the source a quarter of one session's time.
const FRESH_TIMES: u32 = 3;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Whether destinations are listed.
    #[serde(default = "yes")]
    destinations: bool,
}

fn yes() -> bool {
    true
}

/// The events that were last sent to listeners: the whole status, and the one without a list of
/// destinations.
#[derive(Default)]
pub(super) struct LastEvents {
    whole: Mutex<Option<Sent>>,
    totals: Mutex<Option<Sent>>,
}

struct Sent {
    until: Instant,
    event: &'static str,
    data: Arc<str>,
}

/// Sends events `status`, or `problem` while the source does not answer. The stream ends when the
/// daemon stops.
pub(super) async fn listen(
    State(shared): State<Arc<Shared>>,
    Extension(admission): Extension<Admission>,
    Asked(EventsQuery { destinations: listed }): Asked<EventsQuery>,
) -> Response {
    let Ok(listening) = shared.listeners.of(admission).clone().try_acquire_owned() else {
        let detail = format!(
            "{LISTENERS_MAX} listeners with one token are served at one time; ask GET /api/v1/status instead"
        );
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ends = Instant::now() + STREAM_LIFE;
    let events = stream::unfold(
        (shared, interval, listening),
        move |(shared, mut interval, listening)| async move {
            if Instant::now() >= ends {
                return None;
            }
            tokio::select! {
                () = shared.shutdown.cancelled() => return None,
                _ = interval.tick() => {}
            }
            let event = shared.event(listed).await;
            Some((Ok::<_, Infallible>(event), (shared, interval, listening)))
        },
    );
    Sse::new(events).into_response()
}

impl Shared {
    /// The last event if it is fresh, else a new one; with destinations `listed` or without.
    async fn event(&self, listed: bool) -> Event {
        let LastEvents { whole, totals } = &self.last_events;
        let mut last = if listed { whole } else { totals }.lock().await;
        let begun = Instant::now();
        let now = match last.take().filter(|sent| sent.until > begun) {
            Some(fresh) => fresh,
            None => {
                let status = if listed { self.status(None).await } else { self.totals().await };
                let (event, data) = match status {
                    Ok(status) => ("status", serde_json::to_string(&status)),
                    Err(problem) => ("problem", serde_json::to_string(&problem)),
                };
                let until = Instant::now() + FRESH.max(begun.elapsed() * FRESH_TIMES);
                Sent { until, event, data: data.unwrap_or_default().into() }
            }
        };
        let event = Event::default().event(now.event).data(&*now.data);
        *last = Some(now);
        event
    }
}
