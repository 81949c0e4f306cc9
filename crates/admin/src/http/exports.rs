//! The requests about exports.
//!
//! Status needs the read token, as everything else that only reads. Rows need the admin token or a
//! link: the read token opens no value.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};

use super::api::Page;
use super::described::{Accepted, Asked, Routes, Sent, Told};
use super::guard::Admission;
use super::jobs::{Addressed, Created, Deleted, JobsQuery, Key};
use super::links::{LinkParameters, LinkQuery, NewLinks, WantedLinks, admit, expect_rows_allowed};
use super::mutations::Nothing;
use super::problem::Problem;
use super::stored_file::{self, Wanted};
use super::{API, Shared};
use crate::exports::{Export, ExportAccess, ExportWish};
use crate::jobs::Asking;

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

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<JobsQuery>,
) -> Result<Json<Page<Export>>, Problem> {
    let (wanted, limit) = query.wanted()?;
    let items = shared.exports(|access| access.list(wanted)).await?;
    Ok(Json(Page::of(items, limit, |last| Some(last.id.clone()))))
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Export>, Problem> {
    shared.exports(|access| access.one(id)).await.map(Json)
}

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    key: Key,
    Sent(wish): Sent<ExportWish>,
) -> Result<Created<Export>, Problem> {
    let repeatable = key.of(&wish);
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
    let linkable = shared.exports(|access| access.links(id.clone(), until)).await?;
    shared.linked(linkable, |links, name, until| links.to_export_file(&id, name, until)).map(Json)
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
    let file = shared.exports(|access| access.file(id.clone(), name)).await?;
    Ok(stored_file::answer(&shared.downloads, &wanted, (&id, file)))
}

impl Shared {
    async fn exports<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn ExportAccess) -> Asking<T>,
    ) -> Result<T, Problem> {
        self.asked(self.state.exports.get(), |access| ask(&**access)).await
    }
}

impl Addressed for Export {
    fn path(&self) -> String {
        format!("{API}/exports/{}", self.id)
    }
}
