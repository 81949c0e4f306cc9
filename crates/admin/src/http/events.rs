//! `GET /api/v1/events`: the status once a second, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::problem::Problem;

/// As many dashboards as one team opens; each holds a connection and the last status that it was
/// sent.
pub(super) const LISTENERS_MAX: usize = 16;

/// Between two events of one listener.
const INTERVAL: Duration = Duration::from_secs(1);

/// A status read a moment ago for one listener serves the others: so many listeners cost the source
/// no more than one.
const FRESH: Duration = Duration::from_millis(900);

/// What the listeners were last told.
pub(super) struct Told {
    at: Instant,
    event: &'static str,
    data: Arc<str>,
}

/// Events `status`, or `problem` while the source does not answer. The stream ends with the daemon.
pub(super) async fn listen(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(listening) = shared.listeners.clone().try_acquire_owned() else {
        let detail = format!(
            "{LISTENERS_MAX} listeners are served at one time; ask GET /api/v1/status instead"
        );
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = stream::unfold(
        (shared, interval, listening),
        |(shared, mut interval, listening)| async move {
            tokio::select! {
                () = shared.shutdown.cancelled() => return None,
                _ = interval.tick() => {}
            }
            let event = shared.tell().await;
            Some((Ok::<_, Infallible>(event), (shared, interval, listening)))
        },
    );
    Sse::new(events).into_response()
}

impl Shared {
    async fn tell(&self) -> Event {
        let mut told = self.told.lock().await;
        let now = match told.take().filter(|told| told.at.elapsed() < FRESH) {
            Some(fresh) => fresh,
            None => {
                let (event, data) = match self.status(None).await {
                    Ok(status) => ("status", serde_json::to_string(&status)),
                    Err(problem) => ("problem", serde_json::to_string(&problem)),
                };
                Told { at: Instant::now(), event, data: data.unwrap_or_default().into() }
            }
        };
        let event = Event::default().event(now.event).data(&*now.data);
        *told = Some(now);
        event
    }
}
