//! The state of a destination, as the status shows it.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// In the order in which they are tested, the worst first: the first that holds is the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Stopped by a command, or by a blown fuse.
    Paused,
    /// Nothing can be written, or one mapping fails; the reason says why.
    Blocked,
    /// At least one mapping's initial copy is not done.
    Backfilling,
    /// Rows are quarantined, or the audit found rows that differ; all other rows are in sync. Or
    /// everything arrives, and the reason says what the destination suffers from.
    Degraded,
    /// A committed change that concerns it is not applied yet.
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
