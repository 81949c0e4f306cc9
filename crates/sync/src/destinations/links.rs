//! Sessions with destinations: one per destination at most, and some per place that tenants share,
//! for groups of them and for single ones; kept while used, bounded over all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use offtake_loops::metrics as names;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::certificates::Certificates;
use super::remembered::Memory;
use super::{DestinationSpec, Reference, Session};
use crate::cursors::{Cursors, Identities};
use crate::ownership::VISIT_AFTER;

/// Connections to destinations open at one time. Each costs a server process there and a socket
/// here; a hundred keep a thousand destinations moving when each is written to for some
/// milliseconds.
const CONNECTIONS_MAX: usize = 100;

/// How many of those slots may be held at one time for destinations that are not connected yet. A
/// silent server holds its slot until the connect timeout. The other half of the slots stays with
/// servers that answer, however many fall silent at once. Fifty dials at a time are plenty: a dial
/// that is answered takes milliseconds.
const CONNECTING_MAX: usize = CONNECTIONS_MAX / 2;

/// An unused connection is closed after this long: a tenant's server should not carry an idle
/// backend for us all day, and one that changes every minute should not be dialled every minute.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(75);

/// What is known of a destination is kept for this long, which is as long as a worker that writes to
/// it all the time goes on without looking at it as a whole. It is a hint: every write compares it
/// with what is there, and a read finds out whether the log still has what comes after it. A turn of
/// a single tenant goes by it for [`IDLE_MAX`] only.
pub(crate) const KNOWN_MAX: Duration = VISIT_AFTER;

/// A session is closed after this long, however busy it is. A server shows a renewed certificate
/// only to new sessions, and a server process that lives for weeks keeps growing. A dial an hour
/// costs nothing.
const SESSION_MAX: Duration = Duration::from_secs(3600);

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Of {
    Destination(i64),
    /// Any of the tenants that share the place with this fingerprint. The number tells its sessions
    /// apart.
    Place(String, u64),
}

/// A session with one destination, and what is known about that destination. A session with a place
/// that tenants share serves whichever of them takes it; while it is idle, it knows of none.
pub(crate) struct Link {
    pub(crate) session: Session,
    /// Fingerprint of the place that it was made for.
    fingerprint: String,
    /// The cursors as last read or written by us; only a hint, compared inside every write.
    pub(crate) cursors: Option<Cursors>,
    /// What the mappings' tables were when the cursors were read.
    pub(crate) identities: Identities,
    /// Foreign keys between them.
    pub(crate) references: Vec<Reference>,
    /// This session has seen that the cursors are so: by taking the destination up, or by a write.
    pub(crate) confirmed: bool,
    opened_at: Instant,
    used_at: Instant,
    /// No statement runs in it.
    idle: bool,
    /// Frees a slot among [`CONNECTIONS_MAX`] when dropped.
    _slot: OwnedSemaphorePermit,
}

impl Link {
    fn new(session: Session, fingerprint: String, known: Option<KnownState>, slot: Slot) -> Self {
        let now = Instant::now();
        let link = Self {
            session,
            fingerprint,
            cursors: None,
            identities: Identities::new(),
            confirmed: false,
            references: Vec::new(),
            opened_at: now,
            used_at: now,
            idle: false,
            _slot: slot.slot,
        };
        link.of(known)
    }

    fn too_old(&self) -> bool {
        self.opened_at.elapsed() > SESSION_MAX
    }

    /// The same session, of a destination of which this is known.
    fn of(mut self, known: Option<KnownState>) -> Self {
        (self.cursors, self.identities, self.references) = known.map_or_else(
            || (None, Identities::new(), Vec::new()),
            |known| (Some(known.cursors), known.identities, known.references),
        );
        self.confirmed = false;
        self
    }
}

/// What was known of a destination when its link was last given back. It is a hint, as in the link:
/// every write compares it with what is there.
pub(crate) struct KnownState {
    pub(super) fingerprint: String,
    pub(crate) cursors: Cursors,
    pub(crate) identities: Identities,
    pub(crate) references: Vec<Reference>,
    pub(super) at: Instant,
}

impl KnownState {
    /// Of a destination in the place with this fingerprint, whose tables do not refer to each other.
    pub(crate) fn new(fingerprint: String, cursors: Cursors, identities: Identities) -> Self {
        Self { fingerprint, cursors, identities, references: Vec::new(), at: Instant::now() }
    }

    /// A write has seen the cursors where they were, and has moved them here.
    pub(crate) fn moved(self, cursors: Cursors) -> Self {
        Self { cursors, at: Instant::now(), ..self }
    }
}

impl Drop for Link {
    /// When a link is given up in the middle of a statement, the server is told to end it.
    fn drop(&mut self) {
        if let (false, Ok(runtime)) =
            (self.idle || self.session.closed(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(self.session.cancel());
        }
    }
}

/// The right to open one connection, before it is open.
pub(crate) struct Slot {
    slot: OwnedSemaphorePermit,
    /// Frees a slot among [`CONNECTING_MAX`] when dropped: once there is a link, or none will be.
    _connecting: OwnedSemaphorePermit,
}

/// The idle links, and the slots for all links.
#[derive(Clone)]
pub(crate) struct Links {
    idle: Arc<Mutex<HashMap<Of, Link>>>,
    /// Outlives the links, which are closed as soon as other destinations need their slots. Without
    /// it a database that many tenants share would be taken up for every turn of every tenant.
    known: Arc<Mutex<Memory>>,
    slots: Arc<Semaphore>,
    connecting: Arc<Semaphore>,
    /// How many tasks wait for a slot.
    waiting: Arc<AtomicUsize>,
    /// Tells the sessions of one place apart.
    numbers: Arc<AtomicU64>,
    certificates: Arc<Certificates>,
}

/// Counts a task that waits for a slot, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Links {
    pub(crate) fn new() -> Self {
        let [slots, connecting] =
            [CONNECTIONS_MAX, CONNECTING_MAX].map(|max| Arc::new(Semaphore::new(max)));
        Self {
            idle: Arc::default(),
            known: Arc::default(),
            slots,
            connecting,
            waiting: Arc::default(),
            numbers: Arc::default(),
            certificates: Arc::default(),
        }
    }

    /// Whether a task waits for a slot.
    pub(crate) fn are_awaited(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// A link of a session that was just opened for this destination.
    pub(crate) fn link(
        &self,
        session: Session,
        spec: &DestinationSpec,
        known: Option<KnownState>,
        slot: Slot,
    ) -> Link {
        let fingerprint = spec.place.fingerprint();
        self.certificates.saw(&fingerprint, session.certificate_expires_at(), &spec.label());
        Link::new(session, fingerprint, known, slot)
    }

    /// The destination's idle link, if it has one that is open and was made for this place.
    pub(crate) fn take(&self, destination_id: i64, fingerprint: &str) -> Option<Link> {
        let mut link = self.idle().remove(&Of::Destination(destination_id))?;
        self.count();
        let fits = link.fingerprint == fingerprint && !link.too_old();
        link.idle = !fits;
        (fits && !link.session.closed()).then_some(link)
    }

    /// What was known of a destination in this place, if it is no older than `age_max`. The caller has
    /// it alone: only a link that is kept makes it known again.
    pub(crate) fn take_known(
        &self,
        destination_id: i64,
        fingerprint: &str,
        age_max: Duration,
    ) -> Option<KnownState> {
        let known = self.known().remove(destination_id)?;
        (known.fingerprint == fingerprint && known.at.elapsed() < age_max).then_some(known)
    }

    /// Keeps a link whose transaction ended well; in a place that tenants share, for any of them.
    /// When a task waits for a slot, the link that has been idle longest is closed for it. Otherwise
    /// a hundred kept links would shut every other destination out for their whole idle time.
    pub(crate) fn keep(&self, destination_id: i64, mut link: Link, shared: bool) {
        link.used_at = Instant::now();
        if let Some(cursors) = link.cursors.clone() {
            let (fingerprint, identities) = (link.fingerprint.clone(), link.identities.clone());
            let references = link.references.clone();
            let at = link.used_at;
            let known = KnownState { fingerprint, cursors, identities, references, at };
            self.known().insert(destination_id, known);
        }
        if shared {
            return self.keep_of_place(link.of(None));
        }
        self.keep_for(Of::Destination(destination_id), link);
    }

    /// An idle session with a place, for one of the tenants that share it.
    pub(crate) fn take_in_place(
        &self,
        fingerprint: &str,
        known: Option<KnownState>,
    ) -> Result<Link, Option<KnownState>> {
        match self.take_of_place(fingerprint) {
            Some(link) => Ok(link.of(known)),
            None => Err(known),
        }
    }

    /// An idle session with a place that tenants share.
    pub(crate) fn take_of_place(&self, fingerprint: &str) -> Option<Link> {
        let mut idle = self.idle();
        let of_place = |of: &&Of| matches!(of, Of::Place(place, _) if place == fingerprint);
        let of = idle.keys().find(of_place)?.clone();
        let mut link = idle.remove(&of)?;
        drop(idle);
        self.count();
        link.idle = link.session.closed() || link.too_old();
        (!link.idle).then_some(link)
    }

    /// Keeps a session with a place.
    pub(crate) fn keep_of_place(&self, mut link: Link) {
        link.used_at = Instant::now();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.keep_for(Of::Place(link.fingerprint.clone(), number), link);
    }

    /// Makes known what a group's write has found of one of its members.
    pub(crate) fn keep_known(&self, destination_id: i64, known: KnownState) {
        self.known().insert(destination_id, known);
    }

    fn keep_for(&self, of: Of, mut link: Link) {
        link.idle = true;
        self.idle().insert(of, link);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.close_longest_idle();
        }
        self.count();
    }

    /// A slot for a new connection. When all are taken, the link that has been idle longest is
    /// closed for it.
    pub(crate) async fn slot(&self) -> Option<Slot> {
        // Taken first: a task that waits for other dials to end holds no slot meanwhile, and no
        // link is closed for it.
        let connecting = self.connecting.clone().acquire_owned().await.ok()?;
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Some(Slot { slot, _connecting: connecting });
        }
        // Counted before looking, so that a link that becomes idle from now on is closed by the
        // task that keeps it.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.waiting);
        self.close_longest_idle();
        let slot = self.slots.clone().acquire_owned().await.ok()?;
        Some(Slot { slot, _connecting: connecting })
    }

    fn close_longest_idle(&self) {
        let mut idle = self.idle();
        let longest = idle.iter().min_by_key(|(_, link)| link.used_at).map(|(of, _)| of.clone());
        longest.and_then(|of| idle.remove(&of));
    }

    /// Closes links that were unused for long, or whose destination is not `wanted` any more.
    pub(crate) fn close_unused(&self, wanted: impl Fn(i64) -> bool) {
        let serves = |of: &Of| match of {
            Of::Destination(id) => wanted(*id),
            Of::Place(..) => true,
        };
        self.idle().retain(|of, link| {
            serves(of) && link.used_at.elapsed() < IDLE_MAX && !link.session.closed()
        });
        self.certificates.forget_old();
        self.count();
    }

    /// Gives up what is known of destinations that are not `wanted` any more, or was known for too
    /// long.
    pub(crate) fn forget_known(&self, wanted: impl Fn(i64) -> bool) {
        self.known().retain(KNOWN_MAX, wanted);
    }

    fn known(&self) -> MutexGuard<'_, Memory> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Of, Link>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn count(&self) {
        let idle = self.idle().len();
        let open = CONNECTIONS_MAX - self.slots.available_permits();
        metrics::gauge!(names::DESTINATION_CONNECTIONS, "state" => "idle").set(idle as f64);
        metrics::gauge!(names::DESTINATION_CONNECTIONS, "state" => "busy")
            .set(open.saturating_sub(idle) as f64);
    }
}
