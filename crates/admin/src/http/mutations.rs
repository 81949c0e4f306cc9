//! The requests that change something. [`super::guard`] has checked the admin token before.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use offtake_loops::{names_a_fuse, set_fuse};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::answers::{
    Adopted, Forgotten, Owed, Paused, Recopied, Recreating, Reloading, Resumed, Retried,
};
use super::described::{Accepted, Routes, Sent, Told};
use super::problem::Problem;
use super::{NotRecreated, Shared};
use crate::Error;
use crate::operations::{self, Named, Selection};
use crate::status::{Fuse, Long};
use crate::verified::Compared;

/// The longest comparison over HTTP. Copies that take longer are compared by `offtake verify`.
const VERIFY_WITHIN: Duration = Duration::from_secs(300);

/// The destination in the path: tenant and name.
pub(super) type Which = Path<(String, String)>;

/// One line that is not empty.
pub(super) const REASON: &str = concat!(
    r"^[^\u0000-\u001f\u007f-\u009f]*",
    r"[^\u0000-\u001f\u007f-\u009f\s]",
    r"[^\u0000-\u001f\u007f-\u009f]*$",
);

/// `90s`, `30m`, `1h30m`, `7d`.
pub(super) const DURATION: &str =
    "^((36[0-5]|3[0-5][0-9]|[12]?[0-9]?[0-9])d|([0-9]{1,3}h)?([0-9]{1,3}m)?([0-9]{1,5}s)?)$";

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pause {
    /// One line; the status shows it.
    #[schemars(required, length(min = 1, max = 200), regex(pattern = REASON))]
    pub(super) reason: Option<String>,
    /// For how long; absent: until it is resumed.
    #[schemars(length(min = 2), regex(pattern = DURATION))]
    pub(super) r#for: Option<String>,
}

/// A reason is accepted, as in every request that switches something, and checked. It is not
/// stored: reasons are stored with what is stopped.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resume {
    #[schemars(length(min = 1, max = 200), regex(pattern = REASON))]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resync {
    /// Only this mapping; absent: all.
    pub(super) mapping: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Switch {
    /// False: what the fuse is named after stops, in every daemon, within a second.
    #[schemars(required)]
    enabled: Option<bool>,
    /// One line; required where `enabled` is false.
    #[schemars(length(min = 1, max = 200), regex(pattern = REASON))]
    reason: Option<String>,
    /// For how long; absent: until it is switched on.
    #[schemars(length(min = 2), regex(pattern = DURATION))]
    r#for: Option<String>,
}

const NOT_SERVED: &[(u16, &str)] = &[(
    409,
    "The destination is not served: the configuration or a query says of it what cannot be.",
)];

pub(super) fn routes(routes: Routes<'_>) -> Routes<'_> {
    let told = |id, summary| Told::new(id, summary);
    routes
        .post(
            "/destinations/{tenant}/{name}/sync",
            sync,
            told("sync", "Sync it now").or(NOT_SERVED),
        )
        .post(
            "/destinations/{tenant}/{name}/pause",
            pause,
            told("pause", "Write nothing to it for now"),
        )
        .post("/destinations/{tenant}/{name}/resume", resume, told("resume", "End its pause"))
        .post(
            "/destinations/{tenant}/{name}/resync",
            resync,
            told("resync", "Copy its tables again, in place").or(NOT_SERVED),
        )
        .post("/destinations/{tenant}/{name}/recreate", recreate, RECREATE)
        .post("/destinations/{tenant}/{name}/verify", verify, VERIFY)
        .post(
            "/destinations/{tenant}/{name}/adopt",
            adopt,
            told("adopt", "Serve it from this source, whichever source served it before"),
        )
        .post("/destinations/{tenant}/{name}/forget", forget, FORGET)
        .patch("/fuses/{*name}", switch_fuse, told("switch_fuse", "Blow a fuse, or mend it"))
        .post(
            "/quarantine/retry",
            retry_quarantined,
            told("retry_quarantined", "Try refused rows and events of a tenant again now"),
        )
        .post("/reload", reload, told("reload", "Read the configuration and the mappings again"))
}

const VERIFY: Told =
    Told::new("verify", "Compare its copies with their queries, within 300 s").or(&[
        (409, "The destination is not served."),
        (429, "Another comparison is under way, or there are too many requests."),
        (503, "The comparison cannot be made now, or takes too long."),
    ]);

const RECREATE: Told =
    Told::new("recreate", "Move its damaged SQLite file aside, and copy everything into a new one")
        .or(&[
            (409, "It is no SQLite file, the file is sound or not there, or it is not served."),
            (
                429,
                "Another file is being examined or copy compared, or there are too many requests.",
            ),
            (503, "The file cannot be examined or moved now."),
        ]);

const FORGET: Told = Told::new("forget", "End what is kept of it; its rows stay where they are")
    .or(&[(409, "The configuration or the destinations query still names it.")]);

/// The copies of a destination, compared.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Verified {
    equal: bool,
    items: Vec<Compared>,
    /// Always null: all mappings are in `items`.
    next: Option<String>,
}

pub(super) async fn sync(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Accepted<Owed>, Problem> {
    let destination = shared.served(&which).await?;
    let wanted = shared
        .answer(async |source| operations::owe_sync(source, &[destination.destination_id]).await)
        .await?;
    Ok(Accepted(Owed { wanted_sequence_id: Long(wanted) }))
}

pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(asked): Sent<Pause>,
) -> Result<Json<Paused>, Problem> {
    let reason = required_reason(asked.reason.as_deref())?;
    let lasts = asked.r#for.as_deref().map(duration).transpose()?;
    let destination = shared.named(&which).await?;
    let ids = [destination.destination_id];
    let until =
        shared.answer(async |source| operations::pause(source, &ids, reason, lasts).await).await?;
    Ok(Json(Paused { paused: true, paused_until: until }))
}

pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(asked): Sent<Resume>,
) -> Result<Json<Resumed>, Problem> {
    asked.reason.as_deref().map(|reason| required_reason(Some(reason))).transpose()?;
    let destination = shared.named(&which).await?;
    let resumed = shared
        .answer(async |source| operations::resume(source, &[destination.destination_id]).await)
        .await?;
    Ok(Json(Resumed { paused: false, was_paused: resumed > 0 }))
}

pub(super) async fn resync(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(asked): Sent<Resync>,
) -> Result<Accepted<Recopied>, Problem> {
    let destination = shared.served(&which).await?;
    let mapping = asked.mapping.as_deref();
    let ids = [destination.destination_id];
    let copies = shared
        .answer(async |source| operations::request_resync(source, &ids, mapping).await)
        .await?;
    match mapping {
        Some(mapping) if copies == 0 => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("{}/{} receives no mapping {mapping}", destination.tenant, destination.name),
        )),
        _ => Ok(Accepted(Recopied { copies })),
    }
}

/// Moves the destination's file aside where SQLite calls it damaged, and has every destination whose
/// rows were in it copied into a new one.
pub(super) async fn recreate(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Accepted<Recreating>, Problem> {
    let destination = shared.served(&which).await?;
    let unavailable = |detail: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    let recreator = shared
        .state
        .recreator
        .get()
        .ok_or_else(|| unavailable("the daemon is still starting".to_owned()))?;
    // The whole file is read.
    let Ok(_one) = shared.verifications.try_acquire() else {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "another file is examined, or a copy is compared; one is at a time",
        ));
    };
    // Also where the client goes away: what has been moved must be made again.
    let moving = recreator(destination.tenant, destination.name);
    let asking = shared.clone();
    let recreated = tokio::spawn(async move {
        let moved = moving.await.map_err(|error| match error {
            NotRecreated::Sound(why) => Problem::new(StatusCode::CONFLICT, why),
            NotRecreated::Failed(why) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, why),
        })?;
        let ids = &moved.destinations;
        asking.answer(async |source| operations::owe_sync(source, ids).await).await?;
        Ok(Recreating { damage: moved.damage, moved_to: moved.moved_to })
    });
    let recreated = recreated.await;
    recreated
        .unwrap_or_else(|_| Err(unavailable("the file was not moved".to_owned())))
        .map(Accepted)
}

/// Compares the destination's copies with their queries, and answers with the differences.
pub(super) async fn verify(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Json<Verified>, Problem> {
    let destination = shared.served(&which).await?;
    let unavailable = |detail: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    let verifier = shared
        .state
        .verifier
        .get()
        .ok_or_else(|| unavailable("the daemon is still starting".to_owned()))?;
    let Ok(_one) = shared.verifications.try_acquire() else {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "another comparison is under way; one is made at a time",
        ));
    };
    let found = tokio::select! {
        found = tokio::time::timeout(VERIFY_WITHIN, verifier(destination.tenant, destination.name)) => found,
        () = shared.shutdown.cancelled() => return Err(unavailable("the daemon is stopping".to_owned())),
    };
    match found {
        Ok(Ok(items)) => {
            let equal = items.iter().all(|item| item.equal);
            Ok(Json(Verified { equal, items, next: None }))
        }
        Ok(Err(why)) => Err(unavailable(why)),
        Err(_) => Err(unavailable(format!(
            "the comparison takes longer than {} s; run `offtake verify`",
            VERIFY_WITHIN.as_secs()
        ))),
    }
}

/// Has this source serve the destination, whichever source served it before.
pub(super) async fn adopt(
    State(shared): State<Arc<Shared>>,
    Path(which): Which,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Accepted<Adopted>, Problem> {
    let ids = [shared.named(&which).await?.destination_id];
    shared.answer(async |source| operations::adopt(source, &ids).await).await?;
    Ok(Accepted(Adopted { adopted: true }))
}

/// Ends what the source keeps of a destination that nothing names any more. What it holds stays.
pub(super) async fn forget(
    State(shared): State<Arc<Shared>>,
    Path((tenant, name)): Which,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Json<Forgotten>, Problem> {
    let kept = shared
        .answer(async |source| operations::kept_destinations(source, &tenant, Some(&name)).await)
        .await?;
    if kept.is_empty() {
        let detail = format!("nothing is kept of a destination {name} of tenant {tenant}");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    if kept.iter().any(|kept| kept.active && !kept.forgetting) {
        let detail = format!(
            "{tenant}/{name} is still named by the configuration or the destinations query; take it \
             out there, and ask again once the daemon has read that"
        );
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let ids: Vec<i64> = kept.iter().map(|kept| kept.destination_id).collect();
    shared.answer(async |source| operations::forget(source, &ids).await).await?;
    Ok(Json(Forgotten { forgotten: true }))
}

pub(super) async fn switch_fuse(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Sent(asked): Sent<Switch>,
) -> Result<Json<Fuse>, Problem> {
    let Some(enabled) = asked.enabled else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "say `enabled`: true or false"));
    };
    let reason = match asked.reason.as_deref() {
        // It is accepted, as with `resume`, and checked. It is not stored.
        None if enabled => None,
        given => Some(required_reason(given)?),
    };
    let reason = reason.filter(|_| !enabled);
    let lasts = asked.r#for.as_deref().map(duration).transpose()?;
    let switched = async |source: &Client| -> Result<Option<Fuse>, Error> {
        if !names_a_fuse(&name) || !operations::knows_fuse(source, &name).await? {
            return Ok(None);
        }
        set_fuse(source, &name, enabled, reason, lasts).await?;
        Ok(operations::fuses(source).await?.into_iter().find(|fuse| fuse.name == name))
    };
    let fuse = shared.answer(switched).await?;
    fuse.map(Json).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, format!("there is no fuse named {name}"))
    })
}

/// Which quarantined rows and events of a tenant are tried again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    #[schemars(required)]
    tenant: Option<String>,
    /// Only rows of the destination with this name.
    destination: Option<String>,
    /// Only events of the webhook with this name; not with `destination`.
    webhook: Option<String>,
    /// Only of this mapping.
    mapping: Option<String>,
}

/// Has quarantined rows and events of one tenant tried again now.
pub(super) async fn retry_quarantined(
    State(shared): State<Arc<Shared>>,
    Sent(asked): Sent<Retry>,
) -> Result<Accepted<Retried>, Problem> {
    let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, detail);
    let tenant = asked.tenant.as_deref().ok_or_else(|| bad("say the `tenant`"))?;
    if asked.destination.is_some() && asked.webhook.is_some() {
        return Err(bad("say a `destination` or a `webhook`, not both"));
    }
    let of = Selection {
        tenant: Some(tenant),
        destination: asked.destination.as_deref(),
        webhook: asked.webhook.as_deref(),
        mapping: asked.mapping.as_deref(),
    };
    let retried =
        shared.answer(async |source| operations::retry_quarantined(source, of).await).await?;
    Ok(Accepted(Retried { retried }))
}

/// Has the daemon read the configuration and the mappings again at once. The result is in `config`
/// of the status.
pub(super) async fn reload(
    State(shared): State<Arc<Shared>>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Accepted<Reloading> {
    shared.state.reload.notify_one();
    Accepted(Reloading {})
}

impl Shared {
    /// The named destination, or 404.
    async fn named(&self, (tenant, name): &(String, String)) -> Result<Named, Problem> {
        let found = self
            .answer(async |source| {
                operations::named_destinations(source, Some(tenant), Some(name)).await
            })
            .await?;
        let missing = || {
            Problem::new(
                StatusCode::NOT_FOUND,
                format!("tenant {tenant} has no destination {name}"),
            )
        };
        found.into_iter().next().ok_or_else(missing)
    }

    /// The named destination, or 409 if no daemon syncs it.
    async fn served(&self, which: &(String, String)) -> Result<Named, Problem> {
        let named = self.named(which).await?;
        match &named.refused {
            Some(refused) => Err(Problem::new(
                StatusCode::CONFLICT,
                format!("{}/{} is not served: {refused}", which.0, which.1),
            )),
            None => Ok(named),
        }
    }
}

pub(super) fn required_reason(reason: Option<&str>) -> Result<&str, Problem> {
    reason.and_then(operations::reason).ok_or_else(|| {
        let detail = format!(
            "say a `reason`, one line of 1 to {} characters",
            operations::REASON_CHARACTERS_MAX
        );
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// `90s`, `30m`, `1h30m`, `7d`; a year at most.
pub(super) fn duration(text: &str) -> Result<Duration, Problem> {
    let days = text.strip_suffix('d').and_then(|days| days.trim().parse::<u32>().ok());
    let read = match days {
        Some(days) => Some(Duration::from_secs(86_400 * u64::from(days))),
        None => text
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok()),
    };
    read.filter(|duration| *duration <= operations::DURATION_MAX).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "`for` is a duration with its unit, such as 30s, 5m, 1h or 7d, and 365d at most",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("1h30m", 5400), ("7d", 604_800)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        assert!(duration("365d").is_ok());
        for text in ["", "30", "-5m", "soon", "366d", "8761h", "4294967295d", "99999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
