//! Which connections are open, and which of them makes room for a new one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// At most this many connections: far more than the people, probes and scrapers of one daemon need,
/// and few enough that their buffers stay below 4 MB.
const CONNECTIONS_MAX: usize = 128;

/// At most this many from one address, so that one client does not push out all others. Behind a
/// proxy all clients have its address.
const OF_ADDRESS_MAX: usize = 96;

/// All connections of one listener; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Slots(Arc<State>);

#[derive(Default)]
struct State {
    open: Mutex<HashMap<u64, Entry>>,
    /// Grows with everything that happens; orders connections by when something last did.
    clock: AtomicU64,
}

struct Entry {
    address: IpAddr,
    busy: Arc<Busy>,
    evicted: CancellationToken,
}

/// How much is being answered on one connection.
pub(super) struct Busy {
    slots: Slots,
    answering: AtomicUsize,
    requests: AtomicUsize,
    /// When something last happened, by the clock of the slots.
    active_at: AtomicU64,
    opened_at: Instant,
    /// Milliseconds after that, a client last took something of a long answer.
    moved_after: AtomicU64,
    /// Cancelled when the connection has to end.
    evicted: CancellationToken,
}

/// Held while one request is being answered.
pub(super) struct Held(Arc<Busy>);

/// The place of one open connection; given back when dropped.
pub(super) struct Slot {
    slots: Slots,
    id: u64,
    busy: Arc<Busy>,
    evicted: CancellationToken,
}

impl Slots {
    /// A place for a new connection, if need be of one on which nothing is being answered. None:
    /// something is being answered on all of them.
    pub(super) fn take(&self, address: IpAddr) -> Option<Slot> {
        let mut open = self.open();
        let of_address = open.values().filter(|entry| entry.address == address).count();
        let room = if of_address >= OF_ADDRESS_MAX {
            evict(&mut open, |entry| entry.address == address)
        } else {
            open.len() < CONNECTIONS_MAX || evict(&mut open, |_| true)
        };
        if !room {
            return None;
        }
        let id = self.tick();
        let evicted = CancellationToken::new();
        let busy = Arc::new(Busy {
            slots: self.clone(),
            answering: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            active_at: AtomicU64::new(id),
            opened_at: Instant::now(),
            moved_after: AtomicU64::new(0),
            evicted: evicted.clone(),
        });
        open.insert(id, Entry { address, busy: busy.clone(), evicted: evicted.clone() });
        Some(Slot { slots: self.clone(), id, busy, evicted })
    }

    fn tick(&self) -> u64 {
        self.0.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the longest idle one of these connections. False: none is idle.
fn evict(open: &mut HashMap<u64, Entry>, among: impl Fn(&Entry) -> bool) -> bool {
    let idle = open.iter().filter(|(_, entry)| among(entry) && entry.busy.idle());
    let longest = idle.min_by_key(|(_, entry)| entry.busy.active_at.load(Ordering::Relaxed));
    let Some(id) = longest.map(|(id, _)| *id) else { return false };
    if let Some(entry) = open.remove(&id) {
        entry.evicted.cancel();
    }
    true
}

impl Slot {
    pub(super) fn busy(&self) -> Arc<Busy> {
        self.busy.clone()
    }

    pub(super) fn idle(&self) -> bool {
        self.busy.idle()
    }

    pub(super) fn still(&self) -> Duration {
        self.busy.still()
    }

    /// Returns when the connection has to make room.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.open().remove(&self.id);
    }
}

impl Busy {
    pub(super) fn idle(&self) -> bool {
        self.answering.load(Ordering::Relaxed) == 0
    }

    /// For how long no long answer has gone on: since the connection was opened, where it has none.
    pub(super) fn still(&self) -> Duration {
        let moved = Duration::from_millis(self.moved_after.load(Ordering::Relaxed));
        self.opened_at.elapsed().saturating_sub(moved)
    }

    /// The client has taken something of a long answer.
    pub(super) fn moved(&self) {
        let after = u64::try_from(self.opened_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_after.store(after, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn ended(&self) -> bool {
        self.evicted.is_cancelled()
    }

    /// Ends the connection, whatever is being answered on it.
    pub(super) fn end(&self) {
        self.evicted.cancel();
    }

    /// A request has come in.
    pub(super) fn answering(self: &Arc<Self>) -> Held {
        self.answering.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.active_at.store(self.slots.tick(), Ordering::Relaxed);
        Held(self.clone())
    }

    /// How many requests have come in so far.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
        self.0.active_at.store(self.0.slots.tick(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    #[test]
    fn the_longest_idle_connection_makes_room_and_a_busy_one_does_not() {
        let slots = Slots::default();
        let all: Vec<Slot> =
            (0..CONNECTIONS_MAX).map(|n| slots.take(address((n % 4) as u8)).unwrap()).collect();
        let held: Vec<Held> = all[..10].iter().map(|slot| slot.busy().answering()).collect();
        // Used a moment ago.
        drop(all[10].busy().answering());
        let new = slots.take(address(9)).unwrap();
        assert!(all[11].evicted.is_cancelled());
        assert!(all[..11].iter().all(|slot| !slot.evicted.is_cancelled()));
        drop((held, new));
        let busy: Vec<Held> = all.iter().map(|slot| slot.busy().answering()).collect();
        let last = slots.take(address(9)).unwrap();
        let _held = last.busy().answering();
        assert!(slots.take(address(9)).is_none(), "all are busy");
        drop(busy);
        assert!(slots.take(address(9)).is_some());
    }

    #[test]
    fn a_client_with_many_connections_makes_room_by_its_own() {
        let slots = Slots::default();
        let other = slots.take(address(1)).unwrap();
        let own: Vec<Slot> =
            (0..2 * OF_ADDRESS_MAX).map(|_| slots.take(address(2)).unwrap()).collect();
        assert!(!other.evicted.is_cancelled());
        assert!(own[..OF_ADDRESS_MAX].iter().all(|slot| slot.evicted.is_cancelled()));
        drop((own, other));
        assert!(slots.open().is_empty());
    }
}
