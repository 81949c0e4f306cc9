//! Differences between the installed capture and what the mappings need.

use std::fmt;

use offtake_mapping::MappingSet;
use tokio_postgres::Client;

use crate::Error;
use crate::survey::Survey;
use crate::trigger::Event;

/// One difference between what is installed and what is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// `schema.table` as the mappings name it; empty if the difference does not concern one table.
    pub source_table: String,
    /// Where the difference is: the table itself, or one of its partitions; or the functions' role.
    pub relation: String,
    pub kind: DriftKind,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftKind {
    NoTable,
    ForeignPartition,
    TriggerMissing(Event),
    TriggerDisabled(Event),
    /// Enabled, but not for sessions with `session_replication_role = replica`.
    TriggerNotAlways(Event),
    TriggerDiffers(Event),
    /// Another trigger captures it in every session, which has another name, or fires for more than
    /// is needed. No change was missed, so only `offtake init` replaces it.
    TriggerSuperseded(Event),
    /// Missing, edited, or written for other mappings (see [`crate::Look::lets_go_by`]).
    FunctionDiffers,
    /// Since the last look, partitions were attached, detached, or detached for a while. No trigger
    /// fires for the rows that they add or take away.
    PartitionsChanged,
    /// The triggers are in place, but since the last look they were dropped, disabled or changed
    /// for a while.
    TriggersReplaced,
    /// ALTER TABLE rewrote the rows with other values, and no trigger fires for that.
    Rewritten,
    /// A column has the name that another column had: it was dropped and added again, or both were
    /// renamed. Postgres writes no row for that, yet every row has another value under this name.
    ColumnsReplaced,
    /// Only the table's file or only its columns changed, so the values are the same; or an older
    /// version of Offtake wrote the note. No change was missed: the note just has to be updated.
    NoteOutdated,
    /// The functions' role is missing or may not append, so the application's writes fail.
    RoleLacksRights,
    /// The relation has capture triggers, but no mapping names it any more.
    NotNeeded,
}

impl DriftKind {
    /// The event whose trigger must be created again.
    pub(crate) fn event(self) -> Option<Event> {
        match self {
            DriftKind::TriggerMissing(event)
            | DriftKind::TriggerDisabled(event)
            | DriftKind::TriggerNotAlways(event)
            | DriftKind::TriggerDiffers(event)
            | DriftKind::TriggerSuperseded(event) => Some(event),
            DriftKind::NoTable
            | DriftKind::ForeignPartition
            | DriftKind::FunctionDiffers
            | DriftKind::PartitionsChanged
            | DriftKind::TriggersReplaced
            | DriftKind::Rewritten
            | DriftKind::ColumnsReplaced
            | DriftKind::NoteOutdated
            | DriftKind::RoleLacksRights
            | DriftKind::NotNeeded => None,
        }
    }
}

impl Drift {
    /// Whether changes may have been missed because of it. [`DriftKind::FunctionDiffers`] is not
    /// counted: a function written for other mappings has captured what those needed, and a new
    /// mapping starts with a backfill.
    pub fn loses_changes(&self) -> bool {
        (self.kind.event().is_some() && !self.superseded()) || self.over()
    }

    /// Whether everything is captured, by a trigger of another form or name.
    pub fn superseded(&self) -> bool {
        matches!(self.kind, DriftKind::TriggerSuperseded(_))
    }

    /// Whether the cause is over: capture is in place again, and only changes made before this look
    /// can be missing.
    pub fn over(&self) -> bool {
        use DriftKind::{ColumnsReplaced, PartitionsChanged, Rewritten, TriggersReplaced};
        [PartitionsChanged, TriggersReplaced, Rewritten, ColumnsReplaced].contains(&self.kind)
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = &self.relation;
        match self.kind {
            DriftKind::NoTable => write!(f, "table {relation} is gone"),
            DriftKind::ForeignPartition => {
                write!(
                    f,
                    "{relation}, a partition of {}, is a foreign table: its changes cannot be captured",
                    self.source_table
                )
            }
            DriftKind::TriggerMissing(event) => {
                write!(f, "{relation} has no trigger that captures {event}")
            }
            DriftKind::TriggerDisabled(event) => {
                write!(f, "the trigger that captures {event} on {relation} is disabled")
            }
            DriftKind::TriggerNotAlways(event) => {
                write!(
                    f,
                    "the trigger that captures {event} on {relation} does not fire under session_replication_role = replica"
                )
            }
            DriftKind::TriggerDiffers(event) => {
                write!(f, "the trigger that captures {event} on {relation} was changed")
            }
            DriftKind::TriggerSuperseded(event) => {
                write!(f, "the trigger that captures {event} on {relation} is of another form")
            }
            DriftKind::FunctionDiffers => {
                write!(f, "the capture function of {relation} is not what the mappings need")
            }
            DriftKind::PartitionsChanged => {
                write!(f, "partitions of {relation} were attached, detached or dropped")
            }
            DriftKind::TriggersReplaced => {
                write!(f, "the triggers of {relation} were disabled or dropped for a while")
            }
            DriftKind::Rewritten => {
                write!(f, "{relation} was rewritten with other values by ALTER TABLE")
            }
            DriftKind::ColumnsReplaced => write!(
                f,
                "columns of {relation} were dropped or renamed, and others have their names now"
            ),
            DriftKind::NoteOutdated => {
                write!(f, "what Offtake remembers of {relation} is out of date")
            }
            DriftKind::RoleLacksRights => {
                write!(f, "the role {relation} is missing or may not append captured changes")
            }
            DriftKind::NotNeeded => {
                write!(f, "{relation} has capture triggers, but no mapping names it")
            }
        }
    }
}

/// The drifts in words, each once. A relation that lacks several triggers is told in one.
pub fn in_words(drifts: &[&Drift]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut lacking: Option<&str> = None;
    for drift in drifts {
        match (drift.kind, told.last_mut()) {
            (DriftKind::TriggerMissing(event), Some(last))
                if lacking == Some(drift.relation.as_str()) =>
            {
                last.push_str(&format!(", {event}"));
            }
            _ => told.push(drift.to_string()),
        }
        let missing = matches!(drift.kind, DriftKind::TriggerMissing(_));
        lacking = missing.then_some(drift.relation.as_str());
    }
    told.dedup();
    told
}

/// Compares what is installed with what the set needs. Reads catalogs only. Empty if they agree.
pub async fn drift(client: &Client, set: &MappingSet) -> Result<Vec<Drift>, Error> {
    Ok(Survey::take(client, set).await?.drifts())
}
