//! Which mappings have the triggers that they need, and installing what is missing where the role
//! may.

use std::collections::BTreeSet;
use std::sync::Arc;

use offtake_capture::{Drift, DriftKind, Look, Options};
use offtake_mapping::{Mapping, MappingSet, ResolvedMapping, Tenant};
use offtake_postgres::{PooledConnection, SourcePool, catalog, chain};
use tokio_postgres::Client;

use crate::outcome::Failure;
use crate::sql;

/// The daemon does not stand in the application's way for long: what it does not get at once it
/// gets at the next look.
const RETRIES: u32 = 2;

/// A mapping set, and what stands between it and a complete one.
pub struct Covered {
    pub set: MappingSet,
    /// What status should say; it names the command that helps.
    pub complaint: Option<String>,
    /// Mappings that wait for their triggers.
    pub withheld: Vec<String>,
    pub uncaptured: Uncaptured,
}

/// Tables whose changes may go by unseen, or did (true) and it is over.
pub type Uncaptured = BTreeSet<(String, bool)>;

/// Resolves the mappings and sees to their triggers. A mapping of `running` is not withheld, unless
/// it needs other changes than before: its rows are there already, and a complaint says that they
/// may be stale. `uncaptured` is what the last look returned: a table that is captured again, by
/// whatever hand, is noted as changed as a whole.
pub async fn cover(
    pool: &SourcePool,
    definitions: Vec<Mapping>,
    running: &MappingSet,
    uncaptured: &Uncaptured,
) -> Result<Covered, Failure> {
    let unusable =
        |error: offtake_postgres::Error| Failure::of_source("cannot use the source", &error);
    let mut source = pool.get().await.map_err(unusable)?;
    let set = catalog::resolve(&source, definitions.clone()).await?;
    let look = Look::take(&source, &set).await?;
    let found = needed(&look);
    let missed = look.lets_go_by(&set);
    // Before the functions are written, so that whoever dies over it has told; and after, because
    // until then more may go by.
    note_overlooked(&source, &missed).await?;
    let drifts =
        if found.is_empty() { found } else { mend(&mut source, &set, look, found).await? };
    let now_uncaptured: Uncaptured = drifts
        .iter()
        .filter(|d| d.loses_changes())
        .map(|d| (d.source_table.clone(), d.over()))
        .collect();
    let captured_again: BTreeSet<&String> =
        uncaptured.difference(&now_uncaptured).map(|(table, _)| table).collect();
    for table in captured_again {
        if !copied(&source, &set, &[table]).await? {
            continue;
        }
        source.execute(sql::NOTE_GAP, &[table]).await.map_err(|error| unusable(error.into()))?;
        tracing::warn!(
            event = "capture_gap_noted",
            table,
            "{table} was not captured for a while; its mappings are copied anew, in place"
        );
    }
    note_overlooked(&source, &missed).await?;
    if drifts.is_empty() {
        return Ok(Covered {
            set,
            complaint: None,
            withheld: Vec::new(),
            uncaptured: now_uncaptured,
        });
    }
    // One that was captured in another way until now is as good as new.
    let new = |m: &Mapping| {
        running.get(&m.name).is_none_or(|old| {
            old.definition.source != m.source || old.definition.depends_on != m.depends_on
        })
    };
    let waits =
        |m: &Mapping| new(m) && drifts.iter().any(|drift| !drift.over() && concerns(drift, m));
    let withheld: Vec<String> =
        definitions.iter().filter(|m| waits(m)).map(|m| m.name.clone()).collect();
    let complaint = Some(complaint(&drifts, &withheld));
    if withheld.is_empty() {
        return Ok(Covered { set, complaint, withheld, uncaptured: now_uncaptured });
    }
    let rest = definitions.into_iter().filter(|m| !withheld.contains(&m.name)).collect();
    Ok(Covered {
        set: catalog::resolve(&source, rest).await?,
        complaint,
        withheld,
        uncaptured: now_uncaptured,
    })
}

/// What a daemon would say of the set's triggers; None where all are in place.
pub async fn what_is_missing(source: &Client, set: &MappingSet) -> Result<Option<String>, Failure> {
    let drifts = worth_telling(needed(&Look::take(source, set).await?));
    Ok((!drifts.is_empty()).then(|| complaint(&drifts, &[])))
}

/// What the set lacks. Triggers that nobody needs any more stay until `offtake init`: another
/// replica with newer mappings may be the one that needs them.
fn needed(look: &Look) -> Vec<Drift> {
    let mut drifts = look.drifts();
    drifts.retain(|drift| drift.kind != DriftKind::NotNeeded);
    drifts
}

/// What stands between the set and a complete one. That the daemon's role may not remember a new
/// file is nobody's concern.
fn worth_telling(mut drifts: Vec<Drift>) -> Vec<Drift> {
    drifts.retain(|drift| drift.kind != DriftKind::NoteOutdated);
    drifts
}

/// Installs what is missing; returns what is still missing then.
async fn mend(
    source: &mut PooledConnection,
    set: &MappingSet,
    look: Look,
    found: Vec<Drift>,
) -> Result<Vec<Drift>, Failure> {
    let note_gap = copied_before(source, set, &found).await?;
    let options = Options { retries: RETRIES, note_gap, keep_others: true, ..Options::default() };
    let_others_go(source, set).await?;
    match look.install(source, &options).await {
        Ok(report) => {
            if !worth_telling(found).is_empty() {
                tracing::info!(
                    event = "triggers_installed",
                    relations = report.installed.join(", "),
                    gaps = report.gaps.join(", "),
                    "capture is in place"
                );
            }
            Ok(Vec::new())
        }
        Err(error) => {
            let still = worth_telling(needed(&Look::take(source, set).await?));
            let error = chain(&error);
            tracing::debug!(
                event = "triggers_not_installed",
                error,
                "the daemon could not install what is missing"
            );
            Ok(still)
        }
    }
}

/// Whether what these drifts let go by unseen is missing anywhere.
pub async fn copied_before(
    source: &Client,
    set: &MappingSet,
    drifts: &[Drift],
) -> Result<bool, Failure> {
    let tables: BTreeSet<&str> =
        drifts.iter().filter(|d| d.loses_changes()).map(|d| d.source_table.as_str()).collect();
    copied(source, set, &tables.into_iter().collect::<Vec<_>>()).await
}

/// Notes which mappings are gone, before capture is no longer what they need.
pub async fn let_others_go(source: &Client, set: &MappingSet) -> Result<(), Failure> {
    let names: Vec<&str> = set.mappings().iter().map(|mapping| mapping.name()).collect();
    let done = source.execute(sql::LET_MAPPINGS_GO, &[&names]).await;
    done.map(drop).map_err(|error| Failure::of_source("cannot use the source", &error.into()))
}

/// Notes which mappings a function that was rewritten did not capture for. What has copies of a
/// mapping that needs the same was captured before they began.
pub async fn note_overlooked(
    source: &Client,
    missed: &[(String, Arc<ResolvedMapping>)],
) -> Result<(), Failure> {
    if missed.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missed.iter().map(|(_, mapping)| mapping.name()).collect();
    let needs: Vec<String> = missed.iter().map(|(_, mapping)| mapping.need()).collect();
    let noted = source.query(sql::NOTE_OVERLOOKED, &[&names, &needs]).await;
    let noted =
        noted.map_err(|error| Failure::of_source("cannot use the source", &error.into()))?;
    for mapping in
        noted.iter().filter(|row| row.get("new")).map(|row| row.get::<_, &str>("mapping"))
    {
        let table =
            missed.iter().find(|(_, missed)| missed.name() == mapping).map(|(table, _)| table);
        tracing::warn!(
            event = "mapping_overlooked",
            mapping,
            table,
            "a capture function was rewritten for other mappings than {mapping}, which is copied anew, in place, once nobody does that \
             any more"
        );
    }
    Ok(())
}

/// Whether any destination has rows that come from these tables: what nobody has copied yet is
/// copied as a whole anyway.
async fn copied(source: &Client, set: &MappingSet, tables: &[&str]) -> Result<bool, Failure> {
    let unusable =
        |error: tokio_postgres::Error| Failure::of_source("cannot use the source", &error.into());
    let mappings: Vec<&str> = tables
        .iter()
        .flat_map(|table| set.driven_by(table))
        .map(|mapping| mapping.name())
        .collect();
    let row = source
        .query_one(sql::PROBE_DESTINATIONS_OF_TABLES, &[&tables, &mappings])
        .await
        .map_err(unusable)?;
    let (driven, any_destination): (bool, bool) = (row.get("copied"), row.get("any_destination"));
    // The registry names the tables that drive mappings, not those that others only depend on.
    let only_depended_on = tables.iter().any(|table| set.driven_by(table).next().is_none());
    Ok(driven || (any_destination && only_depended_on))
}

fn concerns(drift: &Drift, mapping: &Mapping) -> bool {
    let lookup = match &mapping.source.tenant {
        Tenant::Lookup(lookup) => Some(&lookup.table),
        Tenant::Column(_) | Tenant::Expression(_) => None,
    };
    let mut tables = std::iter::once(&mapping.source.table)
        .chain(mapping.depends_on.iter().map(|d| &d.table))
        .chain(lookup);
    // A drift of no table is one of all of them: the functions' role.
    drift.source_table.is_empty() || tables.any(|table| table.to_string() == drift.source_table)
}

fn complaint(drifts: &[Drift], withheld: &[String]) -> String {
    let mut what: Vec<String> = drifts.iter().map(ToString::to_string).collect();
    what.dedup();
    let waiting = if withheld.is_empty() {
        String::new()
    } else {
        format!("; waiting for it: {}", withheld.join(", "))
    };
    format!("{}{waiting}; run `offtake init`", what.join("; "))
}

impl From<offtake_sequencer::Error> for Failure {
    fn from(error: offtake_sequencer::Error) -> Self {
        match error {
            offtake_sequencer::Error::Connect(source) => {
                Failure::of_source("cannot use the source", &source)
            }
            offtake_sequencer::Error::Source(source) => {
                let error = offtake_postgres::Error::from(source);
                let mut failure = Failure::of_source("cannot use the source", &error);
                // It became a standby a moment ago, and is waited for as one that is away.
                if error.sqlstate() == Some(&offtake_postgres::SqlState::READ_ONLY_SQL_TRANSACTION)
                {
                    failure.exit = crate::outcome::Exit::Unreachable;
                }
                failure
            }
            locked @ offtake_sequencer::Error::Locked => {
                Failure::new(crate::outcome::Exit::Unreachable, locked.to_string())
            }
        }
    }
}

impl From<offtake_capture::Error> for Failure {
    fn from(error: offtake_capture::Error) -> Self {
        use crate::outcome::Exit;
        match error {
            offtake_capture::Error::Postgres(source) => {
                Failure::of_source("cannot use the source", &source)
            }
            offtake_capture::Error::Refused { ref source, .. } => {
                Failure::of_source(&error.to_string(), source)
            }
            // Their displays end with the remedy on a line of its own.
            other => Failure::new(Exit::Failed, other.to_string()),
        }
    }
}
