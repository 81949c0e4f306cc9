//! The dashboard: static files, the same for every client. The page reads from the API what it shows.
//! Its scripts are modules, served as they are written: nothing is built, and nothing is fetched from
//! elsewhere.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::described::{Routes, Told};

const PAGE: &str = include_str!("../../assets/dashboard.html");
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type and text of an asset.
type File = (&'static str, &'static str, &'static str);

macro_rules! asset {
    ($name:literal, $kind:expr) => {
        (concat!("/assets/", $name), $kind, include_str!(concat!("../../assets/", $name)))
    };
}

/// The view of all tenants, of one tenant, of webhooks, of exports, of snapshots, of the platform and
/// of the daemon each have a module, beside what they share.
const FILES: [File; 20] = [
    asset!("dashboard.css", CSS),
    asset!("platform.css", CSS),
    asset!("dashboard.js", SCRIPT),
    asset!("daemon.js", SCRIPT),
    asset!("elements.js", SCRIPT),
    asset!("words.js", SCRIPT),
    asset!("actions.js", SCRIPT),
    asset!("list.js", SCRIPT),
    asset!("tenants.js", SCRIPT),
    asset!("tenant.js", SCRIPT),
    asset!("waits.js", SCRIPT),
    asset!("webhooks.js", SCRIPT),
    asset!("jobs.js", SCRIPT),
    asset!("exports.js", SCRIPT),
    asset!("snapshots.js", SCRIPT),
    asset!("platform.js", SCRIPT),
    asset!("way.js", SCRIPT),
    asset!("charts.js", SCRIPT),
    asset!("system.js", SCRIPT),
    asset!("offtake.svg", "image/svg+xml"),
];

pub(super) fn routes(mut routes: Routes<'_>) -> Routes<'_> {
    let page = || async { answer(HTML, PAGE) };
    let told = Told::new("dashboard", "The dashboard; it reads from this API what it shows");
    routes = routes.get_other("/", page, told, |operation| {
        operation.text(StatusCode::OK, "text/html", "A page.");
    });
    // What the page loads is no part of the API.
    for (path, kind, text) in FILES {
        routes.router = routes.router.route(path, get(move || async move { answer(kind, text) }));
    }
    routes
}

fn answer(content_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
