//! Routes with their descriptions. What a handler takes and answers is read from its type, so a
//! route cannot be added without a description, and its description cannot leave out a field.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Json, Router};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Shared;
use super::openapi::{Access, Document, Operation};
use super::problem::Problem;

/// What is told of a route beside its types.
#[derive(Clone, Copy)]
pub(super) struct Told {
    /// Its name in the document, which clients may be generated from. Never changed.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    /// Problems that not every route has, each with when.
    pub(super) problems: &'static [(u16, &'static str)],
    /// It opens rows, for which the read token is not enough.
    pub(super) rows: bool,
}

impl Told {
    pub(super) const fn new(id: &'static str, summary: &'static str) -> Self {
        Self { id, summary, problems: &[], rows: false }
    }

    pub(super) const fn or(self, problems: &'static [(u16, &'static str)]) -> Self {
        Self { problems, ..self }
    }

    pub(super) const fn opens_rows(self) -> Self {
        Self { rows: true, ..self }
    }
}

/// Routes below one prefix that need the same token, and the document that describes them.
pub(super) struct Routes<'a> {
    pub(super) router: Router<Arc<Shared>>,
    document: &'a mut Document,
    prefix: &'static str,
    access: Access,
}

impl<'a> Routes<'a> {
    pub(super) fn new(document: &'a mut Document, prefix: &'static str, access: Access) -> Self {
        Self { router: Router::new(), document, prefix, access }
    }

    pub(super) fn get<M, A, H>(self, path: &str, handler: H, told: Told) -> Self
    where
        H: Handler<M, Arc<Shared>> + Described<A>,
        M: 'static,
    {
        self.add(path, "get", on(MethodFilter::GET, handler), told, H::describe)
    }

    pub(super) fn post<M, A, H>(self, path: &str, handler: H, told: Told) -> Self
    where
        H: Handler<M, Arc<Shared>> + Described<A>,
        M: 'static,
    {
        self.add(path, "post", on(MethodFilter::POST, handler), told, H::describe)
    }

    pub(super) fn patch<M, A, H>(self, path: &str, handler: H, told: Told) -> Self
    where
        H: Handler<M, Arc<Shared>> + Described<A>,
        M: 'static,
    {
        self.add(path, "patch", on(MethodFilter::PATCH, handler), told, H::describe)
    }

    pub(super) fn delete<M, A, H>(self, path: &str, handler: H, told: Told) -> Self
    where
        H: Handler<M, Arc<Shared>> + Described<A>,
        M: 'static,
    {
        self.add(path, "delete", on(MethodFilter::DELETE, handler), told, H::describe)
    }

    /// A route whose answer has no type: `answers` describes it.
    pub(super) fn get_other<M, H>(
        self,
        path: &str,
        handler: H,
        told: Told,
        answers: fn(&mut Operation<'_>),
    ) -> Self
    where
        H: Handler<M, Arc<Shared>>,
        M: 'static,
    {
        self.add(path, "get", on(MethodFilter::GET, handler), told, answers)
    }

    fn add(
        mut self,
        path: &str,
        method: &'static str,
        handler: MethodRouter<Arc<Shared>>,
        told: Told,
        describe: fn(&mut Operation<'_>),
    ) -> Self {
        self.router = self.router.route(path, handler);
        let path = format!("{}{path}", self.prefix);
        self.document.add(&path, method, self.access, &told, describe);
        self
    }
}

/// A handler whose type says what it takes and answers. `A`: its arguments.
pub(super) trait Described<A> {
    fn describe(operation: &mut Operation<'_>);
}

macro_rules! described {
    ($($argument:ident),*) => {
        impl<F, Answer, $($argument),*> Described<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Answer,
            Answer: Future,
            Answer::Output: Answered,
            $($argument: Taken),*
        {
            fn describe(operation: &mut Operation<'_>) {
                $($argument::describe(operation);)*
                Answer::Output::describe(operation);
            }
        }
    };
}

described!();
described!(A1);
described!(A1, A2);
described!(A1, A2, A3);

/// An argument of a handler.
pub(super) trait Taken {
    fn describe(_: &mut Operation<'_>) {}
}

impl<T> Taken for State<T> {}
impl<T> Taken for Extension<T> {}
/// Told from the path itself.
impl<T> Taken for Path<T> {}

impl<T: JsonSchema> Taken for Asked<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.query::<T>();
    }
}

impl<T: JsonSchema> Taken for Sent<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.body::<T>();
    }
}

/// What a handler answers.
pub(super) trait Answered {
    fn describe(operation: &mut Operation<'_>);
}

impl<T: JsonSchema> Answered for Json<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.answer::<T>(StatusCode::OK, "Done.");
    }
}

impl<T: JsonSchema> Answered for Accepted<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.answer::<T>(StatusCode::ACCEPTED, "The daemons have been told, and will do it.");
    }
}

impl<T: Answered> Answered for Result<T, Problem> {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
    }
}

/// 202: a daemon does it later.
pub(super) struct Accepted<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self.0)).into_response()
    }
}

/// The query of a request.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(Problem::new(StatusCode::BAD_REQUEST, rejection.body_text())),
        }
    }
}

/// The body of a request, as JSON. Without a body, all fields have their defaults.
pub(super) struct Sent<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind
            .and_then(|kind| kind.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        if !is_json {
            let detail = "send a body as application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let unusable = |error: serde_json::Error| {
            let detail = format!("the body cannot be used: {error}");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        };
        let sent = serde_json::from_slice(&body).map_err(unusable)?;
        if has_nul(&serde_json::from_slice(&body).map_err(unusable)?) {
            let detail = "the body contains a NUL character, which no text of Postgres has";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        Ok(Self(sent))
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value))
        }
        _ => false,
    }
}
