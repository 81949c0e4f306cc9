//! The state of a destination as a reader is told it.

use std::fmt;

use serde::Serialize;

/// From worst to best in the order they are tried: the first that holds is the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// By command, or by a blown fuse.
    Paused,
    /// Nothing goes through; the reason says why.
    Blocked,
    /// At least one mapping's initial copy is not done.
    Backfilling,
    /// Rows are quarantined; all others are kept in step.
    Degraded,
    /// A committed change that concerns it is not yet there.
    Lagging,
    InSync,
}

impl State {
    pub const ALL: [State; 6] = [
        Self::Paused,
        Self::Blocked,
        Self::Backfilling,
        Self::Degraded,
        Self::Lagging,
        Self::InSync,
    ];

    /// Its name in JSON, metrics and `offtake.destination.state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Blocked => "blocked",
            Self::Backfilling => "backfilling",
            Self::Degraded => "degraded",
            Self::Lagging => "lagging",
            Self::InSync => "in_sync",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
