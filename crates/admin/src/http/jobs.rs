//! What the routes of exports and of snapshots have in common.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Shared;
use super::api::{ANSWER_WITHIN, Limit, named_state};
use super::described::{Answered, Taken};
use super::openapi::Operation;
use super::problem::Problem;
use crate::jobs::{Asking, JobRefused, JobState, JobsWanted, RepeatableKey};

/// A key is an id of the client's own making.
const KEY_CHARS_MAX: usize = 255;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JobsQuery {
    /// Only this tenant's.
    tenant: Option<String>,
    /// Only those in this state.
    #[schemars(with = "Option<JobState>")]
    state: Option<String>,
    /// How many items the page has at most.
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
}

impl JobsQuery {
    /// Which jobs it asks for, and how many of them are a page.
    pub(super) fn wanted(self) -> Result<(JobsWanted, usize), Problem> {
        let named = |name: &str| named_state(&JobState::ALL, JobState::as_str, name);
        let state = self.state.as_deref().map(named).transpose()?;
        let Self { tenant, limit, after, .. } = self;
        Ok((JobsWanted { tenant, state, after, limit: limit.and_one() }, limit.0))
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Deleted {
    pub(super) deleted: bool,
}

impl Shared {
    /// Asks the daemon. It goes on with what it has begun when the client hangs up.
    pub(super) async fn asked<A, T: Send + 'static>(
        &self,
        access: Option<&A>,
        ask: impl FnOnce(&A) -> Asking<T>,
    ) -> Result<T, Problem> {
        let unavailable = |detail: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        let access = access.ok_or_else(|| unavailable("the daemon is starting"))?;
        let answer = async {
            let turn = self.export_turns.clone().acquire_owned().await;
            let asking = ask(access);
            let answered = tokio::spawn(async move {
                let _turn = turn;
                asking.await
            });
            answered.await
        };
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(error)) => Err(unavailable(&error.to_string())),
            Err(_) => Err(unavailable("there was no answer within 10 s; ask again")),
        }
    }
}

impl From<JobRefused> for Problem {
    fn from(refused: JobRefused) -> Self {
        match refused {
            JobRefused::Wrong(why) => Self::new(StatusCode::BAD_REQUEST, why),
            JobRefused::Missing(why) => Self::new(StatusCode::NOT_FOUND, why),
            JobRefused::Gone(why) => Self::new(StatusCode::GONE, why),
            JobRefused::Conflict(why) => Self::new(StatusCode::CONFLICT, why),
            JobRefused::Running { why, id } => Self::new(StatusCode::CONFLICT, why).about(id),
            JobRefused::KeyUsed(why) | JobRefused::Damaged(why) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, why)
            }
            JobRefused::Full(why) => Self::full(why),
            JobRefused::Unavailable(why) => Self::new(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }
}

/// The header `Idempotency-Key`.
pub(super) struct Key(Option<String>);

impl Key {
    /// The key of a request for this, however its JSON is written.
    pub(super) fn of(self, wish: &impl Serialize) -> Option<RepeatableKey> {
        let text = serde_json::to_vec(wish).unwrap_or_default();
        let hash = Sha256::digest(text);
        let request_sha256 = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.map(|key| RepeatableKey { key, request_sha256 })
    }
}

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut keys = parts.headers.get_all("idempotency-key").iter();
        let Some(key) = keys.next() else { return Ok(Self(None)) };
        let text = key.to_str().unwrap_or_default();
        if text.is_empty() || text.len() > KEY_CHARS_MAX || keys.next().is_some() {
            let detail =
                format!("`Idempotency-Key` is one text of 1 to {KEY_CHARS_MAX} characters");
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        Ok(Self(Some(text.to_owned())))
    }
}

impl Taken for Key {
    fn describe(operation: &mut Operation<'_>) {
        operation.header(
            "Idempotency-Key",
            "For a day, the same key makes no second one: a request that is sent again because \
             its answer was lost has the first answer.",
            "^[!-~]{1,255}$",
        );
    }
}

/// 202, with the address of what was made.
pub(super) struct Created<T>(pub(super) T);

/// What has an address of its own.
pub(super) trait Addressed {
    fn path(&self) -> String;
}

impl<T: JsonSchema> Answered for Created<T> {
    fn describe(operation: &mut Operation<'_>) {
        let when = "It is recorded, and a daemon works on it; `Location` is its address.";
        operation.answer::<T>(StatusCode::ACCEPTED, when);
    }
}

impl<T: Addressed + Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let location = self.0.path();
        let mut response = (StatusCode::ACCEPTED, Json(self.0)).into_response();
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}
