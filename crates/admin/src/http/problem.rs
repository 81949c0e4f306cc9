//! Errors as RFC 9457 problem objects.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::limits::Wait;
use crate::Error;

/// `application/problem+json`. The title is the phrase of the HTTP status; the detail says what is
/// wrong and what to do.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    /// What is in the way, where it has an id.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Seconds, for the header `Retry-After`.
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self {
            r#type: "about:blank",
            title,
            status: status.as_u16(),
            detail: detail.into(),
            id: None,
            retry_after: None,
        }
    }

    /// For a client that asks too often; `what` names what it sent too many of.
    pub(super) fn too_many(what: &str, wait: Wait) -> Self {
        let seconds = wait.seconds();
        Self {
            retry_after: Some(seconds),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!("too many {what}; ask again in {seconds} s"),
            )
        }
    }
}

/// When a client may ask again for what waits for other clients' exports.
const FULL_AGAIN_AFTER: Duration = Duration::from_secs(60);

impl Problem {
    /// Names what is in the way.
    pub(super) fn about(self, id: String) -> Self {
        Self { id: Some(id), ..self }
    }

    /// For what waits in a queue that is full.
    pub(super) fn full(detail: impl Into<String>) -> Self {
        let retry_after = Some(FULL_AGAIN_AFTER.as_secs());
        Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// For what cannot be done now and can be done soon.
    pub(super) fn busy(detail: impl Into<String>, again_after: Duration) -> Self {
        let retry_after = Some(again_after.as_secs().max(1));
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let mut detail = match &error {
            Error::Source(source) => format!("{error}: {}", source.message()),
            _ => error.to_string(),
        };
        if let Some(hint) = error.hint() {
            detail = format!("{detail}; {hint}");
        }
        tracing::warn!(event = "http.status_failed", error = %detail, "cannot answer a request");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

pub(super) async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "there is nothing here; the dashboard is at /, the API under /api/v1",
    )
}

/// For the listener that has only the probes.
pub(super) async fn no_probe() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "only /livez, /readyz and /metrics are here; the rest is at http.listen",
    )
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address answers to another method")
}
