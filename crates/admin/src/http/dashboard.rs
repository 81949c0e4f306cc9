//! The dashboard: six static files, the same for every client. The page reads from the API what it
//! shows.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Shared;

const PAGE: &str = include_str!("../../assets/dashboard.html");
const STYLE: &str = include_str!("../../assets/dashboard.css");
const SCRIPT: &str = include_str!("../../assets/dashboard.js");
const WEBHOOKS_SCRIPT: &str = include_str!("../../assets/webhooks.js");
const WHY_SCRIPT: &str = include_str!("../../assets/why.js");
const ICON: &str = include_str!("../../assets/offtake.svg");

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", PAGE) }))
        .route("/assets/dashboard.css", get(|| async { file("text/css; charset=utf-8", STYLE) }))
        .route(
            "/assets/dashboard.js",
            get(|| async { file("text/javascript; charset=utf-8", SCRIPT) }),
        )
        .route(
            "/assets/webhooks.js",
            get(|| async { file("text/javascript; charset=utf-8", WEBHOOKS_SCRIPT) }),
        )
        .route(
            "/assets/why.js",
            get(|| async { file("text/javascript; charset=utf-8", WHY_SCRIPT) }),
        )
        .route("/assets/offtake.svg", get(|| async { file("image/svg+xml", ICON) }))
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
