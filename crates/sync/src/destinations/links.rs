//! Connections to destinations: one per destination at most, kept while used, bounded over all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use offtake_mapping::Version;
use offtake_postgres::{Connection, metrics as names};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::apply::Staging;
use crate::state::{Cursors, Identities};

/// Connections to destinations open at one time. Each costs a server process there and a socket here; a hundred keep
/// a thousand destinations moving when each is written to for some milliseconds.
const CONNECTIONS_MAX: usize = 100;

/// An unused connection is closed after this long: a tenant's server should not carry an idle backend for us all day,
/// and one that changes every minute should not be dialled every minute.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// A session on one destination, with what is known about that destination. It serves no other.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    /// Fingerprint of the URL it was made with.
    pub(crate) fingerprint: String,
    /// Mapping versions that have their staging table in this session, as it is.
    pub(crate) staged: HashMap<Version, Staging>,
    /// The server process of the last transaction; behind a pooler it changes.
    pub(crate) backend: Option<i32>,
    /// The cursors as last read or written by us; only a hint, compared inside every write.
    pub(crate) cursors: Option<Cursors>,
    /// What the mappings' tables were when the cursors were read.
    pub(crate) identities: Identities,
    used_at: Instant,
    /// Nothing runs in it.
    idle: bool,
    /// Frees a place among [`CONNECTIONS_MAX`] when dropped.
    _place: OwnedSemaphorePermit,
}

impl Link {
    pub(crate) fn new(connection: Connection, fingerprint: String, place: OwnedSemaphorePermit) -> Self {
        Self {
            connection,
            fingerprint,
            staged: HashMap::new(),
            backend: None,
            cursors: None,
            identities: Identities::new(),
            used_at: Instant::now(),
            idle: false,
            _place: place,
        }
    }
}

impl Drop for Link {
    /// One that is given up in the middle of a statement leaves nothing waiting at the server.
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.idle || self.connection.is_closed(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(self.connection.canceller());
        }
    }
}

/// The idle links, and the places for all.
#[derive(Clone)]
pub(crate) struct Links {
    idle: Arc<Mutex<HashMap<i64, Link>>>,
    places: Arc<Semaphore>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self { idle: Arc::default(), places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    /// The destination's idle link, if it has one that is open and was made with this URL.
    pub(crate) fn take(&self, destination_id: i64, fingerprint: &str) -> Option<Link> {
        let mut link = self.idle().remove(&destination_id)?;
        self.count();
        link.idle = link.fingerprint != fingerprint;
        (link.fingerprint == fingerprint && !link.connection.is_closed()).then_some(link)
    }

    /// Keeps a link whose transaction ended well.
    pub(crate) fn keep(&self, destination_id: i64, mut link: Link) {
        link.used_at = Instant::now();
        link.idle = true;
        self.idle().insert(destination_id, link);
        self.count();
    }

    /// A place for a new connection. When all are taken, the link that has been idle longest is closed for it.
    pub(crate) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        {
            let mut idle = self.idle();
            let longest = idle.iter().min_by_key(|(_, link)| link.used_at).map(|(id, _)| *id);
            longest.and_then(|id| idle.remove(&id));
        }
        self.places.clone().acquire_owned().await.ok()
    }

    /// Closes links that were unused for long, or whose destination is not `wanted` any more.
    pub(crate) fn close_unused(&self, wanted: impl Fn(i64) -> bool) {
        self.idle().retain(|id, link| wanted(*id) && link.used_at.elapsed() < IDLE_MAX && !link.connection.is_closed());
        self.count();
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<i64, Link>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn count(&self) {
        let idle = self.idle().len();
        let open = CONNECTIONS_MAX - self.places.available_permits();
        metrics::gauge!(names::DESTINATION_CONNECTIONS, "state" => "idle").set(idle as f64);
        metrics::gauge!(names::DESTINATION_CONNECTIONS, "state" => "busy").set(open.saturating_sub(idle) as f64);
    }
}
