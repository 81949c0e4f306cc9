//! What the routes answer that change something.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::status::Long;

/// A sync is owed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Owed {
    /// The newest change. Once the destination's mappings have this `sequence_id`, everything
    /// written before the request has arrived.
    pub(super) wanted_sequence_id: Long,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Paused {
    pub(super) paused: bool,
    /// Null: until it is resumed.
    pub(super) paused_until: Option<Timestamp>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Resumed {
    pub(super) paused: bool,
    /// It was paused before.
    pub(super) was_paused: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Recopied {
    /// How many mappings are copied again.
    pub(super) copies: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Recreating {
    /// What SQLite said of the file.
    pub(super) damage: String,
    /// Where it is now, with what was beside it.
    pub(super) moved_to: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Adopted {
    pub(super) adopted: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Forgotten {
    pub(super) forgotten: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Reloading {}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Enabled {
    pub(super) enabled: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Disabled {
    pub(super) enabled: bool,
    /// It was enabled before.
    pub(super) was_enabled: bool,
}

/// A resync of a webhook.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Retold {
    pub(super) mappings: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Replayed {
    pub(super) mappings: Vec<String>,
    /// Keys that changed in between: as many events, at most. Counted up to 100 001 changes.
    pub(super) keys: Long,
    /// What changed after this sequence id is told…
    pub(super) after: Long,
    /// …up to this one; null: up to the cursor.
    pub(super) up_to: Option<Long>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Retried {
    /// How many rows and events are tried again.
    pub(super) retried: i64,
}
