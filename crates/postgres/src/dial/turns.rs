//! Who may dial now: so many at once in all, and so many of them towards one address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// How many dials may be under way at once. After an outage every destination is due at the same
/// moment, and handshakes are the most expensive thing we do to a server and to ourselves.
pub(super) const CONCURRENT_DIALS_MAX: usize = 64;

/// How many of them towards one address: tenants name the addresses, and a silent one, however many
/// destinations it is said to have, leaves as many turns to all others; nor are we what somebody is
/// flooded with.
pub(super) const CONCURRENT_DIALS_TO_ONE_ADDRESS_MAX: usize = 32;

/// The limits, shared by everybody who dials.
pub(super) struct Turns {
    all: Arc<Semaphore>,
    /// Those that somebody dials or waits for. None: the server is the operator's own.
    by_address: Option<Mutex<HashMap<IpAddr, Arc<Semaphore>>>>,
}

/// Ends when dropped.
pub(super) struct Turn {
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn limited_by_address() -> Self {
        Self { by_address: Some(Mutex::default()), ..Self::limited_in_all() }
    }

    pub(super) fn limited_in_all() -> Self {
        Self { all: Arc::new(Semaphore::new(CONCURRENT_DIALS_MAX)), by_address: None }
    }

    /// Waits for the addresses first, so that whoever waits for a busy one takes nobody else's
    /// turn.
    pub(super) async fn take(&self, addresses: &[SocketAddr]) -> Result<Turn, AcquireError> {
        let mut hosts: Vec<IpAddr> =
            addresses.iter().map(|address| address.ip().to_canonical()).collect();
        // In one order for everybody, or two could wait for each other.
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
        // Nobody has it or waits for it: as many are left as are dialled at the moment.
        known.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = known
            .entry(host)
            .or_insert_with(|| Arc::new(Semaphore::new(CONCURRENT_DIALS_TO_ONE_ADDRESS_MAX)));
        Some(turns.clone())
    }
}
