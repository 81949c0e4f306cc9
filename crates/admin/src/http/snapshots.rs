//! The requests about snapshots.
//!
//! Status needs the read token, as everything else that only reads. The file needs the admin token or
//! a link. Restoring is a command's: a request has no person who sees first what would change.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::api::Page;
use super::described::{Asked, Routes, Sent, Told};
use super::jobs::{Addressed, Created, Deleted, JobsQuery, Key};
use super::links::{ARCHIVE, LinkParameters, LinkQuery, NewLinks, WantedLinks, admit};
use super::mutations::Nothing;
use super::problem::Problem;
use super::stored_file::{self, Wanted};
use super::{API, Shared};
use crate::jobs::Asking;
use crate::snapshots::{Snapshot, SnapshotAccess, SnapshotWish, ValidSnapshot};

/// A validation reads the whole file. One that takes longer is a command's.
const VALIDATE_WITHIN: std::time::Duration = std::time::Duration::from_secs(300);

pub(super) fn routes(routes: Routes<'_>) -> Routes<'_> {
    let told = |id, summary| Told::new(id, summary);
    routes
        .get("/snapshots", list, told("list_snapshots", "Snapshots, the newest first"))
        .post("/snapshots", create, CREATE)
        .get("/snapshots/{id}", one, told("snapshot", "One snapshot"))
        .delete("/snapshots/{id}", delete, told("delete_snapshot", "Delete its file"))
        .post("/snapshots/{id}/validate", validate, VALIDATE)
        .post("/snapshots/{id}/links", links, LINKS)
}

const CREATE: Told = Told::new("create_snapshot", "Have a snapshot of a tenant's rows made").or(&[
    (404, "There is no such mapping or store."),
    (409, "A snapshot of the tenant is being made: `id` names it."),
    (422, "The idempotency key was used for another request."),
    (429, "There are too many requests."),
]);

const NOT_COMPLETE: &[(u16, &str)] =
    &[(409, "It is not complete."), (410, "Its file was deleted.")];

const VALIDATE: Told =
    Told::new("validate_snapshot", "Read all of it, and tell whether it is complete and unchanged")
        .or(&[
            (409, "It is not complete."),
            (410, "Its file was deleted."),
            (422, "It is not as it was written: the detail says what is wrong."),
            (429, "Another snapshot is read, or a copy is compared."),
        ]);

const LINKS: Told =
    Told::new("link_snapshot", "Make a link that opens its file without a token").or(NOT_COMPLETE);

/// The route of the file, which a link opens too.
pub(super) fn file_route(routes: Routes<'_>) -> Routes<'_> {
    const FILE: Told =
        Told::new("snapshot_archive", "The file of a complete snapshot, or one range of it").or(&[
            (409, "It is not complete."),
            (410, "Its file was deleted."),
            (412, "The file is another one than `If-Match` names."),
            (416, "The range begins behind the end of the file."),
            (503, "The store or the source does not answer, or too many files are being fetched."),
        ]);
    routes.get_other("/api/v1/snapshots/{id}/archive", archive, FILE, |operation| {
        operation.query::<LinkParameters>();
        stored_file::describe(operation);
    })
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<JobsQuery>,
) -> Result<Json<Page<Snapshot>>, Problem> {
    let (wanted, limit) = query.wanted()?;
    let items = shared.snapshots(|access| access.list(wanted)).await?;
    Ok(Json(Page::of(items, limit, |last| Some(last.id.clone()))))
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Snapshot>, Problem> {
    shared.snapshots(|access| access.one(id)).await.map(Json)
}

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    key: Key,
    Sent(wish): Sent<SnapshotWish>,
) -> Result<Created<Snapshot>, Problem> {
    let repeatable = key.of(&wish);
    shared.snapshots(|access| access.create(wish, repeatable)).await.map(Created)
}

pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, Problem> {
    shared.snapshots(|access| access.delete(id)).await?;
    Ok(Json(Deleted { deleted: true }))
}

pub(super) async fn validate(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Json<ValidSnapshot>, Problem> {
    let Ok(_one) = shared.verifications.try_acquire() else {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "another snapshot is read, or a copy is compared; one is at a time",
        ));
    };
    let unavailable = |detail: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    let access = shared.state.snapshots.get();
    let reading = access.ok_or_else(|| unavailable("the daemon is starting"))?.validate(id);
    tokio::select! {
        read = tokio::time::timeout(VALIDATE_WITHIN, reading) => match read {
            Ok(read) => Ok(Json(read?)),
            Err(_) => Err(unavailable(
                "reading it takes longer than 300 s; run `offtake snapshot validate`",
            )),
        },
        () = shared.shutdown.cancelled() => Err(unavailable("the daemon is stopping")),
    }
}

pub(super) async fn links(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Sent(asked): Sent<WantedLinks>,
) -> Result<Json<NewLinks>, Problem> {
    let until = asked.until()?;
    let linkable = shared.snapshots(|access| access.links(id.clone(), until)).await?;
    shared.linked(linkable, |links, _, until| links.to_archive(&id, until)).map(Json)
}

/// `GET` and `HEAD`. It has its own look at the token, because a link needs none.
pub(super) async fn archive(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Asked(link): Asked<LinkQuery>,
    request: Request,
) -> Result<Response, Problem> {
    admit(&shared, &request, (&id, ARCHIVE), &link)?;
    let wanted = Wanted::of(&request);
    let file = shared.snapshots(|access| access.archive(id.clone())).await?;
    Ok(stored_file::answer(&shared.downloads, &wanted, (&id, file)))
}

impl Addressed for Snapshot {
    fn path(&self) -> String {
        format!("{API}/snapshots/{}", self.id)
    }
}

impl Shared {
    async fn snapshots<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn SnapshotAccess) -> Asking<T>,
    ) -> Result<T, Problem> {
        self.asked(self.state.snapshots.get(), |access| ask(&**access)).await
    }
}
