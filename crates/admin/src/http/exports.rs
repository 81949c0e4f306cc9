//! The requests about exports.
//!
//! Status needs the read token, as everything else that only reads. Rows need the admin token or a
//! link: the read token opens no value.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::api::{ANSWER_WITHIN, Limit, Page};
use super::described::{Accepted, Answered, Asked, Routes, Sent, Taken, Told};
use super::guard::{Admission, admission, foreign, foreign_origin, peer};
use super::links::{LinkQuery, Opened};
use super::mutations::{DURATION, Nothing, duration};
use super::openapi::Operation;
use super::problem::Problem;
use super::stored_file::{self, Wanted};
use super::{API, Shared};
use crate::exports::{
    Asking, Export, ExportAccess, ExportRefused, ExportState, ExportWish, ExportsWanted,
    RepeatableKey,
};

/// Without `for`, a link opens so long.
const LINK_FOR: std::time::Duration = std::time::Duration::from_secs(3600);

/// And at most so long, as those of S3.
const LINK_FOR_MAX: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);

/// A key is an id of the client's own making.
const KEY_CHARS_MAX: usize = 255;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only this tenant's.
    tenant: Option<String>,
    /// Only those in this state.
    #[schemars(with = "Option<ExportState>")]
    state: Option<String>,
    /// How many items the page has at most.
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedLinks {
    /// How long they open; absent: 1h. At most 7d, and never longer than the files are kept.
    #[schemars(length(min = 2), regex(pattern = DURATION))]
    r#for: Option<String>,
}

impl WantedLinks {
    /// When they end.
    pub(super) fn until(&self) -> Result<Timestamp, Problem> {
        let lasts = self.r#for.as_deref().map(duration).transpose()?.unwrap_or(LINK_FOR);
        if lasts > LINK_FOR_MAX || lasts.is_zero() {
            let detail = "a link opens for one second at least, and seven days at most";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        Ok(Timestamp::now().saturating_add(lasts).unwrap_or(Timestamp::MAX))
    }
}

/// Addresses that open the files of an export without a token.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct NewLinks {
    pub(super) until: Timestamp,
    pub(super) items: Vec<Link>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Link {
    /// The file's name.
    pub(super) name: String,
    /// Below this server's address, or a whole one of the store.
    pub(super) url: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Deleted {
    pub(super) deleted: bool,
}

pub(super) fn routes(routes: Routes<'_>) -> Routes<'_> {
    let told = |id, summary| Told::new(id, summary);
    routes
        .get("/exports", list, told("list_exports", "Exports, the newest first"))
        .post("/exports", create, CREATE)
        .get("/exports/{id}", one, told("export", "One export"))
        .delete("/exports/{id}", delete, DELETE)
        .get_other("/exports/{id}/manifest", manifest, MANIFEST, |operation| {
            let when = "Of what parts the files are, with hashes. Keys of rows are in it.";
            operation.answer::<serde_json::Map<String, serde_json::Value>>(StatusCode::OK, when);
        })
        .post("/exports/{id}/cancel", cancel, CANCEL)
        .post("/exports/{id}/resume", resume, RESUME)
        .post("/exports/{id}/links", links, LINKS)
}

const CREATE: Told = Told::new("create_export", "Have a tenant's rows written to files").or(&[
    (404, "There is no such mapping or store, or no mapping has a row of the tenant."),
    (409, "The tenant has an export that goes on: `id` names it."),
    (422, "The idempotency key was used for another request."),
    (429, "As many exports wait as `exports.queue` allows, or there are too many requests."),
]);

const DELETE: Told = Told::new("delete_export", "Delete its files, and what is known of it")
    .or(&[(409, "A daemon works on it: cancel it first.")]);

const NOT_COMPLETE: &[(u16, &str)] =
    &[(409, "It is not completed."), (410, "Its files were deleted.")];

const MANIFEST: Told = Told::new("export_manifest", "The manifest of a completed export")
    .or(NOT_COMPLETE)
    .opens_rows();

const CANCEL: Told =
    Told::new("cancel_export", "End it; its parts stay").or(&[(409, "It has ended already.")]);

const RESUME: Told = Told::new("resume_export", "Have it go on after it failed or was cancelled")
    .or(&[(409, "It goes on, is completed, or its parts are deleted.")]);

const LINKS: Told =
    Told::new("link_export", "Make links that open its files without a token").or(NOT_COMPLETE);

/// The route of the files, which a link opens too.
pub(super) fn file_route(routes: Routes<'_>) -> Routes<'_> {
    const FILE: Told = Told::new("export_file", "A file of a completed export, or one range of it")
        .or(&[
            (409, "It is not completed."),
            (410, "Its files were deleted."),
            (412, "The file is another one than `If-Match` names."),
            (416, "The range begins behind the end of the file."),
            (503, "The store or the source does not answer, or too many files are being fetched."),
        ]);
    routes.get_other("/api/v1/exports/{id}/files/{file}", file, FILE, |operation| {
        operation.query::<LinkParameters>();
        stored_file::describe(operation);
    })
}

/// The query of a link, as the document describes it.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub(super) struct LinkParameters {
    /// Of a link: seconds since 1970.
    until: Option<i64>,
    /// Of a link.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]*$"))]
    signature: Option<String>,
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Page<Export>>, Problem> {
    let state = query.state.as_deref().map(named_state).transpose()?;
    let ListQuery { tenant, limit, after, .. } = query;
    let wanted = ExportsWanted { tenant, state, after, limit: limit.and_one() };
    let mut items = shared.exports(|access| access.list(wanted)).await?;
    let more = items.len() > limit.0;
    items.truncate(limit.0);
    let next = items.last().filter(|_| more).map(|last| last.id.clone());
    Ok(Json(Page { items, next }))
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Export>, Problem> {
    shared.exports(|access| access.one(id)).await.map(Json)
}

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    Sent(wish): Sent<ExportWish>,
) -> Result<Created<Export>, Problem> {
    let repeatable = key.map(|key| RepeatableKey { key, request_sha256: hash_of(&wish) });
    shared.exports(|access| access.create(wish, repeatable)).await.map(Created)
}

pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Accepted<Export>, Problem> {
    shared.exports(|access| access.cancel(id)).await.map(Accepted)
}

pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Accepted<Export>, Problem> {
    shared.exports(|access| access.resume(id)).await.map(Accepted)
}

pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, Problem> {
    shared.exports(|access| access.delete(id)).await?;
    Ok(Json(Deleted { deleted: true }))
}

pub(super) async fn manifest(
    State(shared): State<Arc<Shared>>,
    Extension(admission): Extension<Admission>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    expect_rows_allowed(admission)?;
    let text = shared.exports(|access| access.manifest(id)).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

pub(super) async fn links(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Sent(asked): Sent<WantedLinks>,
) -> Result<Json<NewLinks>, Problem> {
    let until = asked.until()?;
    let export = shared.exports(|access| access.one(id)).await?;
    let files = match (export.state, export.files, &export.store) {
        (ExportState::Completed, Some(files), Some(_)) => files,
        (ExportState::Completed, ..) => {
            let detail = "its files are in a folder that a command wrote, and not in a store";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        (ExportState::Expired, ..) => {
            return Err(Problem::new(StatusCode::GONE, "its files were deleted"));
        }
        (state, ..) => {
            return Err(Problem::new(StatusCode::CONFLICT, format!("the export is {state}")));
        }
    };
    let until = export.expires_at.map_or(until, |expires| until.min(expires));
    let (id, valid) = (export.id.clone(), lasts_until(until));
    let mut of_store = shared.exports(|access| access.store_links(id, valid)).await?;
    let mut link = |name: String| {
        if let Some(url) = of_store.remove(&name) {
            return Ok(Link { name, url });
        }
        let path = shared.links.to_export_file(&export.id, &name, until).ok_or_else(|| {
            let detail = "links are signed with http.admin_token, which is not set";
            Problem::new(StatusCode::CONFLICT, detail)
        })?;
        let url = shared.public(path);
        Ok(Link { name, url })
    };
    let items: Result<Vec<Link>, Problem> = files.into_iter().map(|file| link(file.name)).collect();
    Ok(Json(NewLinks { until, items: items? }))
}

/// How long it is until then.
pub(super) fn lasts_until(until: Timestamp) -> std::time::Duration {
    until.duration_since(Timestamp::now()).try_into().unwrap_or_default()
}

/// `GET` and `HEAD`. It has its own look at the token, because a link needs none.
pub(super) async fn file(
    State(shared): State<Arc<Shared>>,
    Path((id, name)): Path<(String, String)>,
    Asked(link): Asked<LinkQuery>,
    request: Request,
) -> Result<Response, Problem> {
    admit(&shared, &request, (&id, &name), &link)?;
    let wanted = Wanted::of(&request);
    let file = shared.exports(|access| access.file(id, name)).await?;
    Ok(stored_file::answer(&shared.downloads, &wanted, file))
}

/// Lets a request pass that has the admin token, or a link to this very file.
pub(super) fn admit(
    shared: &Shared,
    request: &Request,
    (id, name): (&str, &str),
    link: &LinkQuery,
) -> Result<(), Problem> {
    if *link == LinkQuery::default() || !shared.state.tokens.required() {
        let admission = admission(shared, request)?;
        if foreign(request) {
            return Err(foreign_origin());
        }
        return expect_rows_allowed(admission);
    }
    let too_many = |what| move |wait| Problem::too_many(what, wait);
    match shared.links.opens(&[id, name], link, Timestamp::now()) {
        Opened::Yes => shared.limits.anonymous(peer(request)).map_err(too_many("requests")),
        Opened::Ended(at) => {
            shared.limits.anonymous(peer(request)).map_err(too_many("requests"))?;
            let detail = format!("this link opened the file until {at}; ask for a new one");
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        }
        Opened::No => {
            shared.limits.wrong_token(peer(request)).map_err(too_many("wrong links"))?;
            let detail = "this is no valid link to this file; ask for a new one";
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        }
    }
}

fn expect_rows_allowed(admission: Admission) -> Result<(), Problem> {
    if admission == Admission::Everything {
        return Ok(());
    }
    let detail = "rows need the admin token, http.admin_token, or a link that was made with it";
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

/// What a client asks for, however its JSON is written.
pub(super) fn hash_of(wish: &impl Serialize) -> String {
    let text = serde_json::to_vec(wish).unwrap_or_default();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A word of a path.
pub(super) fn encoded(word: &str) -> String {
    word.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

fn named_state(name: &str) -> Result<ExportState, Problem> {
    let known = ExportState::ALL.map(ExportState::as_str).join(", ");
    ExportState::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(|| {
        let detail = format!("no state is called {name}; they are {known}");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

impl Shared {
    async fn exports<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn ExportAccess) -> Asking<T>,
    ) -> Result<T, Problem> {
        self.asked(self.state.exports.get(), |access| ask(&**access)).await
    }

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

impl From<ExportRefused> for Problem {
    fn from(refused: ExportRefused) -> Self {
        match refused {
            ExportRefused::Wrong(why) => Self::new(StatusCode::BAD_REQUEST, why),
            ExportRefused::Missing(why) => Self::new(StatusCode::NOT_FOUND, why),
            ExportRefused::Gone(why) => Self::new(StatusCode::GONE, why),
            ExportRefused::Conflict(why) => Self::new(StatusCode::CONFLICT, why),
            ExportRefused::Running { why, id } => Self::new(StatusCode::CONFLICT, why).about(id),
            ExportRefused::KeyUsed(why) | ExportRefused::Damaged(why) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, why)
            }
            ExportRefused::Full(why) => Self::full(why),
            ExportRefused::Unavailable(why) => Self::new(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }
}

/// The header `Idempotency-Key`.
pub(super) struct Key(pub(super) Option<String>);

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

impl Addressed for Export {
    fn path(&self) -> String {
        format!("{API}/exports/{}", self.id)
    }
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
