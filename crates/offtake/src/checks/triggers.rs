//! Which triggers a mapping set lacks, in the words of status and log.

use offtake_capture::{Drift, DriftKind, Look, in_words};
use offtake_mapping::MappingSet;
use tokio_postgres::Client;

use crate::outcome::Failure;

/// What a daemon would say of the set's triggers; None where all are in place.
pub(crate) async fn missing_triggers(
    source: &Client,
    set: &MappingSet,
) -> Result<Option<String>, Failure> {
    let drifts = worth_telling(needed(&Look::take(source, set).await?));
    Ok((!drifts.is_empty()).then(|| complaint(&drifts, &[])))
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
