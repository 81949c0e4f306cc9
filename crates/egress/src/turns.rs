//! Which dials may run now: a limit on all dials, and one on the dials to one address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// How many dials may be under way at once. After an outage every destination is due at the same
/// moment, and handshakes are the most expensive thing we do to a server and to ourselves.
pub(crate) const CONCURRENT_DIALS_MAX: usize = 64;

/// How many of them may go to one address. Tenants name the addresses: a silent one, however many
/// destinations it is said to have, takes at most half of the turns. And no tenant can make us
/// flood a server of their choice.
pub(crate) const CONCURRENT_DIALS_TO_ONE_ADDRESS_MAX: usize = 32;

/// The limits, shared by the clones of a dialer.
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    /// The addresses that a dial has or waits for. None: the servers are the operator's own, and
    /// only the number of all dials is limited.
    by_address: Option<Mutex<HashMap<IpAddr, Arc<Semaphore>>>>,
}

/// The right to dial; given back when dropped.
pub(crate) struct Turn {
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Turns {
    pub(crate) fn limited_by_address() -> Self {
        Self { by_address: Some(Mutex::default()), ..Self::limited_in_all() }
    }

    pub(crate) fn limited_in_all() -> Self {
        Self { all: Arc::new(Semaphore::new(CONCURRENT_DIALS_MAX)), by_address: None }
    }

    /// Waits for the addresses first: a dial that waits for a busy address must not hold one of the
    /// turns of all dials meanwhile.
    pub(crate) async fn take(&self, addresses: &[SocketAddr]) -> Result<Turn, AcquireError> {
        let mut hosts: Vec<IpAddr> =
            addresses.iter().map(|address| address.ip().to_canonical()).collect();
        // All dials take them in the same order; otherwise two could wait for each other.
        hosts.sort_unstable();
        hosts.dedup();
        let mut permits = Vec::with_capacity(hosts.len() + 1);
        for host in hosts {
            if let Some(of_host) = self.of(host) {
                permits.push(of_host.acquire_owned().await?);
            }
        }
        permits.push(self.all.clone().acquire_owned().await?);
        Ok(Turn { _permits: permits })
    }

    fn of(&self, host: IpAddr) -> Option<Arc<Semaphore>> {
        let mut known = self.by_address.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        // Forgets the addresses that no dial has or waits for, so that the map stays as small as
        // the number of dials.
        known.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = known
            .entry(host)
            .or_insert_with(|| Arc::new(Semaphore::new(CONCURRENT_DIALS_TO_ONE_ADDRESS_MAX)));
        Some(turns.clone())
    }
}
