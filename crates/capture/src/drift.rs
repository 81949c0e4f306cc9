//! Differences between the installed capture and what the mappings need.

use std::fmt;
use std::mem::discriminant;

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
        f.write_str(&self.words(&self.events()))
    }
}

impl Drift {
    fn events(&self) -> String {
        self.kind.event().map(|event| event.to_string()).unwrap_or_default()
    }

    /// Whether only the event may be another one.
    fn alike(&self, other: &Self) -> bool {
        let Self { source_table, relation, kind } = self;
        (source_table, relation) == (&other.source_table, &other.relation)
            && discriminant(kind) == discriminant(&other.kind)
    }

    /// `events`: whose triggers differ in this way.
    fn words(&self, events: &str) -> String {
        let relation = &self.relation;
        match self.kind {
            DriftKind::NoTable => format!("table {relation} is gone"),
            DriftKind::ForeignPartition => {
                format!(
                    "{relation}, a partition of {}, is a foreign table: its changes cannot be captured",
                    self.source_table
                )
            }
            DriftKind::TriggerMissing(_) => {
                format!("{relation} has no trigger that captures {events}")
            }
            DriftKind::TriggerDisabled(_) => {
                format!("the trigger that captures {events} on {relation} is disabled")
            }
            DriftKind::TriggerNotAlways(_) => {
                format!(
                    "the trigger that captures {events} on {relation} does not fire under session_replication_role = replica"
                )
            }
            DriftKind::TriggerDiffers(_) => {
                format!("the trigger that captures {events} on {relation} was changed")
            }
            DriftKind::TriggerSuperseded(_) => {
                format!("the trigger that captures {events} on {relation} is of another form")
            }
            DriftKind::FunctionDiffers => {
                format!("the capture function of {relation} is not what the mappings need")
            }
            DriftKind::PartitionsChanged => {
                format!("partitions of {relation} were attached, detached or dropped")
            }
            DriftKind::TriggersReplaced => {
                format!("the triggers of {relation} were disabled or dropped for a while")
            }
            DriftKind::Rewritten => {
                format!("{relation} was rewritten with other values by ALTER TABLE")
            }
            DriftKind::ColumnsReplaced => format!(
                "columns of {relation} were dropped or renamed, and others have their names now"
            ),
            DriftKind::NoteOutdated => {
                format!("what Offtake remembers of {relation} is out of date")
            }
            DriftKind::RoleLacksRights => {
                format!("the role {relation} is missing or may not append captured changes")
            }
            DriftKind::NotNeeded => {
                format!("{relation} has capture triggers, but no mapping names it")
            }
        }
    }
}

/// The drifts in words, each once. Triggers of one relation that differ in the same way are told in
/// one.
pub fn in_words(drifts: &[&Drift]) -> Vec<String> {
    let mut groups: Vec<(&Drift, String)> = Vec::new();
    for drift in drifts {
        match (drift.kind.event(), groups.last_mut()) {
            (Some(event), Some((first, events))) if drift.alike(first) => {
                events.push_str(&format!(", {event}"));
            }
            _ => groups.push((drift, drift.events())),
        }
    }
    let mut told: Vec<String> = groups.iter().map(|(first, events)| first.words(events)).collect();
    told.dedup();
    told
}

/// Compares what is installed with what the set needs. Reads catalogs only. Empty if they agree.
pub async fn drift(client: &Client, set: &MappingSet) -> Result<Vec<Drift>, Error> {
    Ok(Survey::take(client, set).await?.drifts())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_that_differ_alike_are_told_in_one() {
        let drift = |relation: &str, kind| Drift {
            source_table: "public.item".to_owned(),
            relation: relation.to_owned(),
            kind,
        };
        let drifts = [
            drift("public.item", DriftKind::TriggerDisabled(Event::Insert)),
            drift("public.item", DriftKind::TriggerDisabled(Event::Update)),
            drift("public.item", DriftKind::TriggerMissing(Event::Delete)),
            drift("public.item", DriftKind::TriggerMissing(Event::Truncate)),
            drift("public.item_2026", DriftKind::TriggerMissing(Event::Insert)),
        ];
        assert_eq!(
            in_words(&drifts.iter().collect::<Vec<_>>()),
            [
                "the trigger that captures insert, update on public.item is disabled",
                "public.item has no trigger that captures delete, truncate",
                "public.item_2026 has no trigger that captures insert",
            ]
        );
    }
}
