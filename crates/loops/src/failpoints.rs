//! Failpoints: named places in the loops at which a test stops, delays, breaks or kills the daemon.
//!
//! Without the feature `failpoints` a point is a constant `Ok`. With it, and with nothing set, a
//! point costs one look into a map. Set them by `FAILPOINTS` at the start
//! (`sync.after_read=pause;sequencer.after_lock=1*error`), or, also while the daemon runs, by the
//! file that `OFFTAKE_FAILPOINTS_FILE` names: one `name=action` per line, read every 20 ms. What
//! has been taken over stands in `<file>.loaded`, and every point that did something adds a line
//! with its name to `<file>.reached`.
//!
//! Actions: `error` (a transient error of the server), `panic`, `abort` (as kill -9, at exactly
//! that place), `sleep(milliseconds)`, `pause` (until the point's text changes), and whatever else
//! the crate `fail` knows, with its probabilities, counts and chains: `10%error`, `1*abort`,
//! `3*off->pause`. Ours wait without holding a thread.

#[cfg(feature = "failpoints")]
mod listening;

#[cfg(feature = "failpoints")]
pub use listening::{failpoint, failpoint_is_set, listen_for_failpoints};

/// Every point. `after_x` stands right behind step x, `before_x` right before it.
pub const FAILPOINTS: [&str; 43] = [
    "sequencer.after_lock",
    "sequencer.after_stamp",
    "sequencer.before_commit",
    "poller.before_commit",
    "registry.after_commit",
    "sync.after_claim",
    "sync.after_read",
    "sync.after_begin",
    "sync.mid_batch",
    "sync.before_cursor",
    "sync.before_commit",
    "sync.after_commit",
    "sync.before_complete",
    "backfill.after_chunk",
    "audit.after_compare",
    "restore.staged",
    "restore.before_merge",
    "restore.before_commit",
    "restore.after_commit",
    "snapshot.before_card",
    "snapshot.naming_card",
    "snapshot.after_card",
    "source_restore.planned",
    "source_restore.before_write",
    "source_restore.mid_write",
    "source_restore.before_commit",
    "source_restore.after_commit",
    "webhooks.after_claim",
    "webhooks.before_read",
    "webhooks.after_read",
    "webhooks.before_send",
    "webhooks.after_send",
    "webhooks.before_save",
    "webhooks.before_complete",
    "export.after_read",
    "export.before_put",
    "export.after_put",
    "export.before_chunk",
    "export.settling",
    "export.before_manifest",
    "export.after_end",
    "export.tidying",
    "jobs.expiring",
];

/// Does what a test has set for that point.
#[cfg(not(feature = "failpoints"))]
pub fn failpoint(_name: &'static str) -> std::future::Ready<Result<(), offtake_postgres::Error>> {
    std::future::ready(Ok(()))
}

/// Whether a test has set something for that point. A loop that sends several statements without
/// waiting in between waits at a point that is set, so that the point means the same either way.
#[cfg(not(feature = "failpoints"))]
pub const fn failpoint_is_set(_name: &'static str) -> bool {
    false
}

/// Without the feature, nothing listens.
#[cfg(not(feature = "failpoints"))]
pub fn listen_for_failpoints() {}
