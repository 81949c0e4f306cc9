//! Which triggers a mapping set lacks, in the words of status and log.

use std::collections::BTreeMap;

use offtake_capture::{Drift, DriftKind, Look, in_words};
use offtake_mapping::{Mapping, MappingSet};
use tokio_postgres::Client;

use crate::outcome::Failure;

/// What a look at the triggers finds, without a daemon.
#[derive(Default)]
pub(crate) struct Missing {
    /// What a daemon would say; None where all are in place.
    pub(crate) complaint: Option<String>,
    /// The mappings whose changes go by unseen, each with the reason.
    pub(crate) uncaptured: BTreeMap<String, String>,
}

pub(crate) async fn missing_triggers(
    source: &Client,
    set: &MappingSet,
) -> Result<Missing, Failure> {
    let drifts = worth_telling(needed(&Look::take(source, set).await?));
    let why = |mapping: &Mapping| {
        let unseen = |drift: &&Drift| drift.loses_changes() && !drift.over();
        let unseen: Vec<&Drift> =
            drifts.iter().filter(unseen).filter(|drift| concerns(drift, mapping)).collect();
        let words = in_words(&unseen).join("; ");
        (!unseen.is_empty()).then(|| format!("{words}; run `offtake init`"))
    };
    let uncaptured = (set.mappings().iter())
        .filter_map(|m| Some((m.name().to_owned(), why(&m.definition)?)))
        .collect();
    let complaint = (!drifts.is_empty()).then(|| complaint(&drifts, &[]));
    Ok(Missing { complaint, uncaptured })
}

/// Whether a mapping needs what the drift says is missing.
pub(crate) fn concerns(drift: &Drift, mapping: &Mapping) -> bool {
    // A drift without a table is about the functions' role, which all tables need.
    drift.source_table.is_empty()
        || mapping.tables().any(|table| table.to_string() == drift.source_table)
}

/// The drifts that a daemon mends. Triggers of another form or name capture the same. Triggers that
/// the set no longer needs stay until `offtake init`: another daemon, with newer mapping files, may
/// need them.
pub(crate) fn needed(look: &Look) -> Vec<Drift> {
    let mut drifts = look.drifts();
    drifts.retain(|drift| drift.kind != DriftKind::NotNeeded && !drift.superseded());
    drifts
}

/// The drifts that an operator must know. An outdated note is left out: it only means that the
/// daemon's role may not update the comment in which Offtake remembers a table's files and columns.
pub(crate) fn worth_telling(mut drifts: Vec<Drift>) -> Vec<Drift> {
    drifts.retain(|drift| drift.kind != DriftKind::NoteOutdated);
    drifts
}

/// One line for the status, with the command that helps. `withheld` are the mappings that wait for
/// their triggers.
pub(crate) fn complaint(drifts: &[Drift], withheld: &[String]) -> String {
    let what = in_words(&drifts.iter().collect::<Vec<_>>());
    let waiting = if withheld.is_empty() {
        String::new()
    } else {
        format!("; waiting for it: {}", withheld.join(", "))
    };
    format!("{}{waiting}; run `offtake init`", what.join("; "))
}
