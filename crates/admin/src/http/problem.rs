//! Errors as RFC 9457 problem objects.

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
