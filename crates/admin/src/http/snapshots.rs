//! The requests about snapshots.
//!
//! Status needs the read token, as everything else that only reads. The file needs the admin token or
//! a link. Restoring is a command's: a request has no person who sees first what would change.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;

use super::api::{Limit, Page};
use super::described::{Asked, Routes, Sent, Told};
use super::exports::{
    Addressed, Created, Deleted, Key, Link, LinkParameters, NewLinks, WantedLinks, admit, hash_of,
    lasts_until,
};
use super::links::LinkQuery;
use super::mutations::Nothing;
use super::problem::Problem;
use super::stored_file::{self, Wanted};
use super::{API, Shared};
use crate::exports::{Asking, RepeatableKey};
use crate::snapshots::{
    Snapshot, SnapshotAccess, SnapshotState, SnapshotWish, SnapshotsWanted, ValidSnapshot,
};

/// The name of the one file of a snapshot, in its address.
const ARCHIVE: &str = "archive";

/// A validation reads the whole file. One that takes longer is a command's.
const VALIDATE_WITHIN: std::time::Duration = std::time::Duration::from_secs(300);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only this tenant's.
    tenant: Option<String>,
    /// Only those in this state.
    #[schemars(with = "Option<SnapshotState>")]
    state: Option<String>,
    /// How many items the page has at most.
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
}

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
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Page<Snapshot>>, Problem> {
    let state = query.state.as_deref().map(named_state).transpose()?;
    let ListQuery { tenant, limit, after, .. } = query;
    let wanted = SnapshotsWanted { tenant, state, after, limit: limit.and_one() };
    let mut items = shared.snapshots(|access| access.list(wanted)).await?;
    let more = items.len() > limit.0;
    items.truncate(limit.0);
    let next = items.last().filter(|_| more).map(|last| last.id.clone());
    Ok(Json(Page { items, next }))
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Snapshot>, Problem> {
    shared.snapshots(|access| access.one(id)).await.map(Json)
}

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    Sent(wish): Sent<SnapshotWish>,
) -> Result<Created<Snapshot>, Problem> {
    let repeatable = key.map(|key| RepeatableKey { key, request_sha256: hash_of(&wish) });
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
    let snapshot = shared.snapshots(|access| access.one(id)).await?;
    match snapshot.state {
        SnapshotState::Completed => {}
        SnapshotState::Expired => {
            return Err(Problem::new(StatusCode::GONE, "its file was deleted"));
        }
        state => {
            return Err(Problem::new(StatusCode::CONFLICT, format!("the snapshot is {state}")));
        }
    }
    let (id, valid) = (snapshot.id.clone(), lasts_until(until));
    let url = match shared.snapshots(|access| access.store_link(id, valid)).await? {
        Some(url) => url,
        None => {
            let query = shared.links.query(&[&snapshot.id, ARCHIVE], until).ok_or_else(|| {
                let detail = "links are signed with http.admin_token, which is not set";
                Problem::new(StatusCode::CONFLICT, detail)
            })?;
            shared.public(format!("{API}/snapshots/{}/{ARCHIVE}?{query}", snapshot.id))
        }
    };
    let link = Link { name: format!("{}.tar.zst", snapshot.id), url };
    Ok(Json(NewLinks { until, items: vec![link] }))
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
    let file = shared.snapshots(|access| access.archive(id)).await?;
    Ok(stored_file::answer(&shared.downloads, &wanted, file))
}

impl Addressed for Snapshot {
    fn path(&self) -> String {
        format!("{API}/snapshots/{}", self.id)
    }
}

fn named_state(name: &str) -> Result<SnapshotState, Problem> {
    let known = SnapshotState::ALL.map(SnapshotState::as_str).join(", ");
    SnapshotState::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(|| {
        let detail = format!("no state is called {name}; they are {known}");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

impl Shared {
    async fn snapshots<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn SnapshotAccess) -> Asking<T>,
    ) -> Result<T, Problem> {
        self.asked(self.state.snapshots.get(), |access| ask(&**access)).await
    }
}
