//! The HTTP side: probes, metrics, the API and the dashboard.
//!
//! Everything that a client can use up has a bound: connections, bytes and time of the headers,
//! bytes of the body, the time of an answer, and requests per second. Without a configured token
//! the server listens on loopback only and answers requests for a loopback name only. Otherwise a
//! foreign web page could reach the API through a name of its own that resolves to 127.0.0.1.
//!
//! Probes and metrics may have a second listener (`http.probes`), with connections of its own.

mod answers;
mod api;
mod connections;
mod dashboard;
mod described;
mod events;
mod exports;
mod guard;
mod history;
mod jobs;
mod limits;
mod links;
mod mutations;
pub mod openapi;
mod probes;
mod problem;
mod snapshots;
mod stored_file;
mod tenant;
mod webhooks;
mod why;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use metrics_exporter_prometheus::PrometheusHandle;
use offtake_postgres::SourcePool;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use self::described::Routes;
pub use self::links::Links;
use self::openapi::{Access, Document};
use self::stored_file::Downloads;
pub use self::stored_file::{Pieces, StoredFile};
use crate::exports::ExportAccess;
use crate::history::History;
use crate::metrics::Scrapes;
use crate::snapshots::SnapshotAccess;
use crate::status::Config;
use crate::status_token::StatusSecret;
use crate::verified::Compared;
use crate::webhooks::WebhookAccess;
use crate::{Error, Readiness};

/// The largest body. Requests of the API carry a few names and a reason, far less than this.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Requests about exports that are answered at the same time; each costs the source a connection.
const EXPORT_TURNS: usize = 2;

/// What the handlers read from the daemon. Cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    pub source: SourcePool,
    pub tokens: Tokens,
    /// `http.public_url`.
    pub public_url: Option<String>,
    pub readiness: Readiness,
    pub config: watch::Receiver<Config>,
    /// What status tokens are derived from; None: tenants have no view of their own.
    pub status_secret: Option<StatusSecret>,
    /// From [`crate::metrics::install`].
    pub metrics: PrometheusHandle,
    /// How many destinations have series of their own among the metrics.
    pub worst_destinations: usize,
    /// The name of this daemon in `offtake.daemon`.
    pub process: String,
    /// Every setting with its effective value, without secrets, for `GET /api/v1/config`.
    pub settings: Settings,
    /// Notified by `POST /api/v1/reload`.
    pub reload: Arc<Notify>,
    /// Compares a destination's copies with their queries. Unset until the daemon knows its
    /// destinations.
    pub verifier: Arc<OnceLock<Verifier>>,
    /// Moves a destination's damaged file aside. Unset until the daemon knows its destinations.
    pub recreator: Arc<OnceLock<Recreator>>,
    /// What only the daemon knows of webhooks. Unset until it knows them.
    pub webhooks: Arc<OnceLock<Arc<dyn WebhookAccess>>>,
    /// Asks for exports and reads their files. Unset until the daemon knows its mappings.
    pub exports: Arc<OnceLock<Arc<dyn ExportAccess>>>,
    /// The same of snapshots.
    pub snapshots: Arc<OnceLock<Arc<dyn SnapshotAccess>>>,
}

/// From a tenant and a destination's name to the result of the comparison, for each mapping. The
/// error is a text for the client.
pub type Verifier = Box<dyn Fn(String, String) -> Verification + Send + Sync>;
pub type Verification = Pin<Box<dyn Future<Output = Result<Vec<Compared>, String>> + Send>>;

/// From a tenant and a destination's name to what was moved.
pub type Recreator = Box<dyn Fn(String, String) -> Recreation + Send + Sync>;
pub type Recreation = Pin<Box<dyn Future<Output = Result<Recreated, NotRecreated>> + Send>>;

/// A damaged file that was moved aside.
#[derive(Debug)]
pub struct Recreated {
    pub damage: String,
    pub moved_to: String,
    /// The destinations whose rows were in it.
    pub destinations: Vec<i64>,
}

/// Why a file was not moved; a text for the client.
#[derive(Debug)]
pub enum NotRecreated {
    /// There is no file, or nothing is wrong with it.
    Sound(String),
    /// It cannot be looked at or moved now.
    Failed(String),
}

/// Tells the settings in use, as `offtake config` prints them, masked.
pub type Settings = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// The bearer tokens of `http:` in the configuration. An empty token counts as none.
#[derive(Clone, Default)]
pub struct Tokens {
    admin: Option<SecretString>,
    read: Option<SecretString>,
}

impl Tokens {
    pub fn new(admin: Option<SecretString>, read: Option<SecretString>) -> Self {
        use secrecy::ExposeSecret as _;
        let given = |token: Option<SecretString>| token.filter(|t| !t.expose_secret().is_empty());
        Self { admin: given(admin), read: given(read) }
    }

    /// Whether requests must carry a token.
    pub fn required(&self) -> bool {
        self.admin.is_some() || self.read.is_some()
    }
}

/// What all handlers share.
struct Shared {
    state: AdminState,
    scrapes: Scrapes,
    /// Held while the source is read, so that any number of clients costs it one read at a time.
    /// Each request reads for itself: an answer is never older than its question.
    turn: tokio::sync::Mutex<()>,
    /// The last events, shared by all listeners.
    last_events: events::LastEvents,
    history: History,
    listeners: events::Listeners,
    /// What the source last answered to a probe.
    source_answers: tokio::sync::Mutex<Option<probes::SourceAnswer>>,
    limits: limits::Limits,
    /// At most one comparison at a time: each reads all rows of a tenant.
    verifications: Semaphore,
    /// Held while something is asked of exports.
    export_turns: Arc<Semaphore>,
    downloads: Arc<Downloads>,
    links: Links,
    shutdown: CancellationToken,
}

/// Where HTTP listens.
pub struct Sockets {
    /// Everything: probes, metrics, API and dashboard.
    pub main: TcpListener,
    /// Probes and metrics only. Connections to `main` take none of its places.
    pub probes: Option<TcpListener>,
}

/// Answers requests until `shutdown`, then waits for the answers in progress.
///
/// Without a configured token it refuses a main listener that other machines can reach.
pub async fn serve(
    sockets: Sockets,
    state: AdminState,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let address = sockets.main.local_addr().map_err(Error::Listen)?;
    if !state.tokens.required() && !address.ip().is_loopback() {
        return Err(Error::TokenRequired { address });
    }
    tracing::info!(event = "http.listening", %address, token_required = state.tokens.required(), "listening");
    let shared = shared(state, shutdown.clone());
    let sampled = shared.clone();
    tokio::spawn(async move {
        let recorder = sampled.state.metrics.clone();
        sampled.history.keep(recorder, sampled.shutdown.clone()).await;
    });
    // A client that takes a long file would hold the daemon's end up. It asks for the rest again.
    let downloads = shared.downloads.clone();
    let stopped = shutdown.clone();
    tokio::spawn(async move {
        stopped.cancelled().await;
        downloads.end_all();
    });
    let main = connections::accept(sockets.main, router(shared.clone()), shutdown.clone());
    let Some(probes) = sockets.probes else {
        main.await;
        return Ok(());
    };
    let address = probes.local_addr().map_err(Error::Listen)?;
    tracing::info!(event = "http.listening", %address, serves = "probes", "listening for probes");
    tokio::join!(main, connections::accept(probes, probes_router(shared), shutdown));
    Ok(())
}

impl Shared {
    /// A path of this server, under the address that clients elsewhere know, if there is one.
    fn public(&self, path: String) -> String {
        match &self.state.public_url {
            Some(url) => url.clone() + &path,
            None => path,
        }
    }
}

fn shared(state: AdminState, shutdown: CancellationToken) -> Arc<Shared> {
    Arc::new(Shared {
        scrapes: Scrapes::new(state.metrics.clone(), state.worst_destinations),
        links: Links::of(&state.tokens),
        state,
        turn: tokio::sync::Mutex::default(),
        last_events: events::LastEvents::default(),
        history: History::default(),
        listeners: events::Listeners::default(),
        source_answers: tokio::sync::Mutex::default(),
        limits: limits::Limits::new(),
        verifications: Semaphore::new(1),
        export_turns: Arc::new(Semaphore::new(EXPORT_TURNS)),
        downloads: Arc::default(),
        shutdown,
    })
}

fn probes_router(shared: Arc<Shared>) -> Router {
    let router = probes::router_without_tenants();
    finished(router.fallback(problem::no_probe), shared)
}

/// What every router ends with.
fn finished(router: Router<Arc<Shared>>, shared: Arc<Shared>) -> Router {
    router
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(guard::tell_problems))
        .layer(middleware::from_fn(guard::set_headers))
        .with_state(shared)
}

fn router(shared: Arc<Shared>) -> Router {
    let Split { probes, pages, tenant_pages, tenant_status, files, api } =
        routes(&mut Document::new());
    let api = api
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn_with_state(shared.clone(), guard::admit));
    let secret = middleware::from_fn_with_state(shared.clone(), tenant::require_secret);
    let pages = pages
        .merge(tenant_pages.layer(secret.clone()))
        .layer(middleware::from_fn_with_state(shared.clone(), guard::limit))
        .merge(tenant_status.layer(secret))
        .merge(files)
        .nest(API, api)
        .layer(middleware::from_fn_with_state(shared.clone(), guard::require_loopback_name));
    finished(probes.merge(pages).fallback(problem::not_found), shared)
}

const API: &str = "/api/v1";

/// All routes of the main listener, by what guards them.
struct Split {
    probes: Router<Arc<Shared>>,
    pages: Router<Arc<Shared>>,
    tenant_pages: Router<Arc<Shared>>,
    tenant_status: Router<Arc<Shared>>,
    /// Each looks at the token by itself.
    files: Router<Arc<Shared>>,
    api: Router<Arc<Shared>>,
}

/// Every route, also into the document.
fn routes(document: &mut Document) -> Split {
    let probes = probes::routes(Routes::new(document, "", Access::Probe)).router;
    let pages = dashboard::routes(Routes::new(document, "", Access::Open)).router;
    let tenant_pages = tenant::pages(Routes::new(document, "", Access::Open)).router;
    let tenant_status = tenant::status_route(Routes::new(document, "", Access::Tenant)).router;
    let files = Routes::new(document, "", Access::Link);
    let files = snapshots::file_route(exports::file_route(files)).router;
    let api = Routes::new(document, API, Access::Token);
    let api = exports::routes(webhooks::routes(mutations::routes(api::routes(api))));
    let api = snapshots::routes(api);
    Split { probes, pages, tenant_pages, tenant_status, files, api: openapi::route(api).router }
}
