//! What is done once for all tenants that share a place, and not again for a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use offtake_requests::PlaceOf;

use super::Context;
use crate::Error;
use crate::destinations::DestinationSpec;

/// How often, at most, one of the tenants that share a place looks for a rival of all of them. A
/// look reads the cursors of every tenant there; once per tenant would be quadratic.
const RIVAL_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// And so many times as rarely as it takes: among 100 000 tenants a look takes some seconds.
const RIVAL_LOOK_SHARE: u32 = 50;

/// How often, at most, all tenants that share a place are visited because copies of some are lost.
const DOUBT_INTERVAL: Duration = Duration::from_secs(60);

/// When something is due again for all tenants that share a place, by the place's fingerprint.
pub(crate) struct PerPlace {
    interval: Duration,
    share: u32,
    due: Mutex<HashMap<String, Instant>>,
}

impl PerPlace {
    /// The look for a rival; noted when it found none.
    pub(crate) fn rival_looks() -> Self {
        Self { interval: RIVAL_LOOK_INTERVAL, share: RIVAL_LOOK_SHARE, due: Mutex::default() }
    }

    /// The visits after a copy was found to be lost.
    pub(crate) fn doubts() -> Self {
        Self { interval: DOUBT_INTERVAL, share: 0, due: Mutex::default() }
    }

    pub(super) fn due(&self, place: &str) -> bool {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.get(place).is_none_or(|at| Instant::now() > *at)
    }

    /// It was done, and took so long.
    pub(super) fn note(&self, place: String, took: Duration) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        due.retain(|_, at| *at > now);
        due.insert(place, now + self.interval.max(took * self.share));
    }
}

/// Copies of some tenants of a shared place are lost, though the source was told of them: the tables
/// were emptied or replaced, or the database is an older one of itself. So all tenants of the place
/// are visited; without that, each would learn of it from its own next change.
pub(super) async fn doubt_all(context: &Context, spec: &DestinationSpec) -> Result<(), Error> {
    let place = spec.place.fingerprint();
    if !spec.shared || !context.doubts.due(&place) {
        return Ok(());
    }
    context.doubts.note(place, Duration::ZERO);
    let at = spec.place.registration();
    let at = PlaceOf { host: at.host, port: at.port, database: at.database, schema: at.schema };
    let source = context.pool.get().await.map_err(Error::Source)?;
    offtake_requests::owe_place(&source, at).await.map_err(Error::source)?;
    Ok(())
}
