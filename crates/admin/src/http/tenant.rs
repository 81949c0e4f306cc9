//! A tenant's own view: a page, and the JSON that the page shows. The page is the same for
//! everyone. Whose status it shows, the status token says that stands behind `#` in its address,
//! which a browser sends to no server.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Shared;
use super::described::{Routes, Told};
use super::guard::{self, shown_token};
use super::problem::{self, Problem};
use crate::status_token::{Claim, revocations};
use crate::tenant_view::{TenantView, view};

const PAGE: &str = include_str!("../../assets/own_view.html");
const STYLE: &str = include_str!("../../assets/own_view.css");
const ICON: &str = include_str!("../../assets/offtake.svg");
const SCRIPT: &str = include_str!("../../assets/own_view.js");

/// The page and its files.
pub(super) fn pages(routes: Routes<'_>) -> Routes<'_> {
    let file = |kind: &'static str, text: &'static str| {
        move || async move { ([(header::CONTENT_TYPE, kind)], text) }
    };
    let gone: &[(u16, &str)] = &[(404, "`http.status_secret` is not set.")];
    let page = Told::new("tenant_page", "A tenant's own view; it reads `/tenant/status`").or(gone);
    let style = Told::new("tenant_style", "How the page looks").or(gone);
    let icon = Told::new("tenant_icon", "The page's icon").or(gone);
    let script = Told::new("tenant_script", "What the page does").or(gone);
    routes
        .get_other("/tenant", file("text/html; charset=utf-8", PAGE), page, |operation| {
            operation.text(StatusCode::OK, "text/html", "A page, the same for every tenant.");
        })
        .get_other("/tenant/page.css", file("text/css; charset=utf-8", STYLE), style, |operation| {
            operation.text(StatusCode::OK, "text/css", "A file of the page.");
        })
        .get_other("/tenant/icon.svg", file("image/svg+xml", ICON), icon, |operation| {
            operation.text(StatusCode::OK, "image/svg+xml", "A file of the page.");
        })
        .get_other(
            "/tenant/page.js",
            file("text/javascript; charset=utf-8", SCRIPT),
            script,
            |operation| {
                operation.text(StatusCode::OK, "text/javascript", "A file of the page.");
            },
        )
}

/// What the page shows.
pub(super) fn status_route(routes: Routes<'_>) -> Routes<'_> {
    let told =
        Told::new("tenant_status", "How fresh the copies are of the tenant whose token it is")
            .or(&[(404, "`http.status_secret` is not set.")]);
    routes.get_other("/tenant/status", status, told, |operation| {
        operation.answer::<TenantView>(StatusCode::OK, "Only of this tenant, and without a row.");
    })
}

/// Where no secret is configured, there is no view.
pub(super) async fn require_secret(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    match shared.state.status_secret {
        Some(_) => next.run(request).await,
        None => problem::not_found().await.into_response(),
    }
}

async fn status(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Json<TenantView>, Problem> {
    let claim = claim(&shared, &request)?;
    let read = shared.answer(async |source| {
        // Of another number, it was revoked.
        if revocations(source, &claim.tenant).await? != claim.revoked {
            return Ok(None);
        }
        view(source, &claim.tenant).await
    });
    // The reason why the daemon cannot read the source is for operators. The daemon gives the same
    // answer for a tenant that has left and for one that never was.
    let view = read.await.map_err(|_| {
        let detail = "the status cannot be read at present; ask again in a minute";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    view.map(Json).ok_or_else(not_valid)
}

/// What the token of the request claims. A wrong one costs no look at the source.
fn claim(shared: &Shared, request: &Request) -> Result<Claim, Problem> {
    let address = guard::peer(request);
    let too_many = |what| move |wait| Problem::too_many(what, wait);
    let Some(token) = shown_token(request.headers()) else {
        shared.limits.anonymous(address).map_err(too_many("requests"))?;
        return Err(not_valid());
    };
    let opened = shared.state.status_secret.as_ref().and_then(|secret| secret.open(token));
    let Some(claim) = opened else {
        shared.limits.wrong_token(address).map_err(too_many("wrong tokens"))?;
        return Err(not_valid());
    };
    if guard::foreign(request) {
        return Err(guard::foreign_origin());
    }
    shared.limits.tenant(&claim.tenant).map_err(too_many("requests"))?;
    Ok(claim)
}

/// The same for a token that is wrong, that was revoked, and of a tenant that is not known.
fn not_valid() -> Problem {
    let detail = "this is no valid status token; ask your provider for a new link";
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}
