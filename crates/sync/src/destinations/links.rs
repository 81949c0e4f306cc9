//! Connections to destinations: one per destination at most, kept while used, bounded over all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use offtake_loops::metrics as names;
use offtake_mapping::Version;
use offtake_postgres::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::apply::Staging;
use crate::state::{Cursors, Identities};

/// Connections to destinations open at one time. Each costs a server process there and a socket
/// here; a hundred keep a thousand destinations moving when each is written to for some
/// milliseconds.
const CONNECTIONS_MAX: usize = 100;

/// How many of those places are for destinations that are not connected yet, at one time. A silent
/// one holds its place until the connect timeout ends it; the other half is for those that answer,
/// however many fall silent at once. So many dials under way are plenty: one that is answered takes
/// milliseconds.
const CONNECTING_MAX: usize = CONNECTIONS_MAX / 2;

/// An unused connection is closed after this long: a tenant's server should not carry an idle
/// backend for us all day, and one that changes every minute should not be dialled every minute.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// A session on one destination, with what is known about that destination. It serves no other.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    /// Fingerprint of the URL it was made with.
    pub(crate) fingerprint: String,
    /// Mapping versions that have their staging table in this session, as it is.
    pub(crate) staged: HashMap<Version, Staging>,
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
    pub(crate) fn new(connection: Connection, fingerprint: String, place: Place) -> Self {
        Self {
            connection,
            fingerprint,
            staged: HashMap::new(),
            cursors: None,
            identities: Identities::new(),
            used_at: Instant::now(),
            idle: false,
            _place: place.place,
        }
    }
}

impl Drop for Link {
    /// One that is given up in the middle of a statement leaves nothing waiting at the server.
    fn drop(&mut self) {
        if let (false, Ok(runtime)) =
            (self.idle || self.connection.is_closed(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(self.connection.canceller());
        }
    }
}

/// A place for a connection that is still to be made.
pub(crate) struct Place {
    place: OwnedSemaphorePermit,
    /// Frees a place among [`CONNECTING_MAX`] when dropped: once there is a link, or none will be.
    _connecting: OwnedSemaphorePermit,
}

/// The idle links, and the places for all.
#[derive(Clone)]
pub(crate) struct Links {
    idle: Arc<Mutex<HashMap<i64, Link>>>,
    places: Arc<Semaphore>,
    connecting: Arc<Semaphore>,
    /// How many wait for a place.
    waiting: Arc<AtomicUsize>,
}

/// Somebody who waits for a place, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Links {
    pub(crate) fn new() -> Self {
        let [places, connecting] =
            [CONNECTIONS_MAX, CONNECTING_MAX].map(|max| Arc::new(Semaphore::new(max)));
        Self { idle: Arc::default(), places, connecting, waiting: Arc::default() }
    }

    /// The destination's idle link, if it has one that is open and was made with this URL.
    pub(crate) fn take(&self, destination_id: i64, fingerprint: &str) -> Option<Link> {
        let mut link = self.idle().remove(&destination_id)?;
        self.count();
        link.idle = link.fingerprint != fingerprint;
        (link.fingerprint == fingerprint && !link.connection.is_closed()).then_some(link)
    }

    /// Keeps a link whose transaction ended well. When somebody waits for a place, the link that
    /// has been idle longest is closed for it: kept for their whole idle time, a hundred would shut
    /// every other destination out for as long.
    pub(crate) fn keep(&self, destination_id: i64, mut link: Link) {
        link.used_at = Instant::now();
        link.idle = true;
        self.idle().insert(destination_id, link);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.close_longest_idle();
        }
        self.count();
    }

    /// A place for a new connection. When all are taken, the link that has been idle longest is
    /// closed for it.
    pub(crate) async fn place(&self) -> Option<Place> {
        // First of all, so that whoever waits for others to connect takes no place and has no link
        // closed.
        let connecting = self.connecting.clone().acquire_owned().await.ok()?;
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(Place { place, _connecting: connecting });
        }
        // Counted before looking, so that a link that becomes idle from now on is closed by whoever
        // keeps it.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.waiting);
        self.close_longest_idle();
        let place = self.places.clone().acquire_owned().await.ok()?;
        Some(Place { place, _connecting: connecting })
    }

    fn close_longest_idle(&self) {
        let mut idle = self.idle();
        let longest = idle.iter().min_by_key(|(_, link)| link.used_at).map(|(id, _)| *id);
        longest.and_then(|id| idle.remove(&id));
    }

    /// Closes links that were unused for long, or whose destination is not `wanted` any more.
    pub(crate) fn close_unused(&self, wanted: impl Fn(i64) -> bool) {
        self.idle().retain(|id, link| {
            wanted(*id) && link.used_at.elapsed() < IDLE_MAX && !link.connection.is_closed()
        });
        self.count();
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<i64, Link>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn count(&self) {
        let idle = self.idle().len();
        let open = CONNECTIONS_MAX - self.places.available_permits();
        metrics::gauge!(names::DESTINATION_CONNECTIONS, "state" => "idle").set(idle as f64);
        metrics::gauge!(names::DESTINATION_CONNECTIONS, "state" => "busy")
            .set(open.saturating_sub(idle) as f64);
    }
}
