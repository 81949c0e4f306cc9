//! When the certificates of the destinations' servers expire, as their latest handshakes showed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use offtake_loops::metrics as names;

/// A certificate that expires within this time is told in the log, once, and by `offtake doctor`.
/// Authorities that renew by themselves do so a month ahead, so somebody must look; and two weeks
/// are time enough to. `deploy/prometheus/rules.yml` has the same time.
pub const CERTIFICATE_EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

/// A certificate counts for this long after the handshake. A destination that is still served has
/// another handshake before: its sessions last for an hour at most, and it is visited every ten
/// minutes. One that is gone, or has moved, is forgotten.
const COUNTS_FOR: Duration = Duration::from_secs(2 * 3600);

/// By the fingerprint of the place.
#[derive(Default)]
pub(super) struct Certificates(Mutex<HashMap<String, Seen>>);

struct Seen {
    expires_at: SystemTime,
    at: Instant,
}

impl Certificates {
    /// A handshake with this place showed a certificate that expires then; None: no TLS. `label`
    /// names the destination that it was made for.
    pub(super) fn saw(&self, place: &str, expires_at: Option<SystemTime>, label: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match expires_at {
            Some(expires_at) => {
                let now = Seen { expires_at, at: Instant::now() };
                seen.insert(place.to_owned(), now)
            }
            None => seen.remove(place),
        };
        export(&seen);
        drop(seen);
        let Some(expires_at) = expires_at else { return };
        let left = expires_at.duration_since(SystemTime::now()).unwrap_or_default();
        if left < CERTIFICATE_EXPIRES_SOON
            && before.is_none_or(|before| before.expires_at != expires_at)
        {
            tracing::warn!(
                event = "certificate_expires",
                destination = label,
                days = left.as_secs() / 86_400,
                "the certificate of the server of {label} expires in {} day(s)",
                left.as_secs() / 86_400
            );
        }
    }

    pub(super) fn forget_old(&self) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, certificate| certificate.at.elapsed() < COUNTS_FOR);
        export(&seen);
    }
}

fn export(seen: &HashMap<String, Seen>) {
    let first = seen.values().map(|certificate| certificate.expires_at).min();
    metrics::gauge!(names::DESTINATION_CERTIFICATE_EXPIRY)
        .set(first.map_or(0.0, names::unix_seconds));
}
