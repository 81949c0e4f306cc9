//! One tenant of a shared place makes what all of them need, while the others wait in this process.
//!
//! Without it, a hundred tenants that begin at once all find that the tables are missing, and stand
//! in line at the server for the lock under which tables are made.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

/// A worker waits this long for the one that makes the tables, and goes on without it then: the
/// place may be unreachable, and its tenants must not hold claims that other destinations need.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Places whose tables are known to be there, with the versions of the mappings they were made for.
/// Beyond this many, all are forgotten and found again.
const READY_MAX: usize = 10_000;

/// The gates of this process, by place and mapping versions.
#[derive(Default)]
pub(crate) struct PlaceGates(Mutex<State>);

#[derive(Default)]
struct State {
    ready: HashSet<String>,
    gates: HashMap<String, Arc<Gate<()>>>,
}

/// Held by the worker that is the first in a place.
pub(super) struct First {
    key: String,
    _guard: OwnedMutexGuard<()>,
}

impl PlaceGates {
    /// Waits until no other worker of this process is the first in that place. None: the place is
    /// ready, or the wait was long enough. Called before anything is locked at a server, and before
    /// a connection is asked for.
    pub(super) async fn enter(&self, key: String) -> Option<First> {
        let gate = {
            let mut state = self.state();
            if state.ready.contains(&key) {
                return None;
            }
            // A gate that no worker holds, and at which none waits, is as good as a new one.
            state.gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            state.gates.entry(key.clone()).or_default().clone()
        };
        let guard = tokio::time::timeout(WAIT_MAX, gate.lock_owned()).await.ok()?;
        let ready = self.state().ready.contains(&key);
        (!ready).then_some(First { key, _guard: guard })
    }

    /// The tables are there: no worker waits at this gate any more.
    pub(super) fn ready(&self, first: First) {
        let mut state = self.state();
        if state.ready.len() >= READY_MAX {
            state.ready.clear();
        }
        state.gates.remove(&first.key);
        state.ready.insert(first.key);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
