//! The triggers while the daemon runs: installing what is missing where the daemon's role may, and
//! deciding which mappings must wait until their triggers are there.

use std::collections::BTreeSet;
use std::sync::Arc;

use offtake_capture::{Drift, Look, Options};
use offtake_mapping::{Mapping, MappingSet, ResolvedMapping};
use offtake_postgres::{PooledConnection, SourcePool, catalog};
use offtake_sync::destinations::Waiting;
use tokio_postgres::Client;

use crate::checks::capture_gaps::{
    copied, copied_before, let_others_go, note_overlooked, note_unlogged, release_unlogged,
};
use crate::checks::source_readiness::newer_migration;
use crate::checks::triggers::{complaint, concerns, needed, worth_telling};
use crate::checks::undeclared_tables::UndeclaredReads;
use crate::outcome::Failure;
use crate::sql;
use offtake_postgres::chain;

/// A daemon does not stand in the application's way for long. A lock that it does not get within
/// these attempts, it tries to get again at the next look.
const RETRIES: u32 = 2;

/// A mapping set that may be used now, and what it lacks.
pub(super) struct CoveredSet {
    pub(super) set: MappingSet,
    /// What the status says is missing, with the command that helps.
    pub(super) complaint: Option<String>,
    /// Mappings that are not in the set, because they wait for their triggers, and mappings in the
    /// set whose changes go by unseen; each with the reason.
    pub(super) waiting: Waiting,
    pub(super) uncaptured: UncapturedTables,
}

/// Tables of which changes are missed (false), or were missed until now (true).
pub(super) type UncapturedTables = BTreeSet<(String, bool)>;

/// Resolves the mappings against the source and installs the triggers that they lack.
///
/// A mapping whose triggers are still missing then is withheld, unless it is in `running` with the
/// same needs: its rows are in the destinations already, and a complaint says that they may be
/// stale. `uncaptured` is the result of the previous look. A table that was in it and is captured
/// again is noted as changed as a whole, whether the daemon or an operator installed its triggers.
pub(super) async fn cover(
    pool: &SourcePool,
    definitions: Vec<Mapping>,
    running: &MappingSet,
    uncaptured: &UncapturedTables,
    undeclared: &mut UndeclaredReads,
) -> Result<CoveredSet, Failure> {
    let mut source = pool.get().await.map_err(|error| unusable(&error))?;
    note_unlogged(&source, &definitions).await?;
    let set = catalog::resolve(&source, definitions.clone()).await?;
    let newer = newer_migration(&source).await.map_err(|error| unusable(&error.into()))?;
    if let Some(newer) = newer {
        return left_to_the_newer(&source, definitions, running, uncaptured, &newer).await;
    }
    release_unlogged(&source, &set).await?;
    let look = Look::take(&source, &set).await?;
    let found = needed(&look);
    let missed = look.lets_go_by(&set);
    note_overlooked(&source, &missed).await?;
    let (drifts, obstacle) = match found.is_empty() {
        true => (found, None),
        false => mend(&mut source, &set, look, found).await?,
    };
    let now_uncaptured: UncapturedTables = drifts
        .iter()
        .filter(|d| d.loses_changes())
        .map(|d| (d.source_table.clone(), d.over()))
        .collect();
    note_gaps(&source, &set, uncaptured, &now_uncaptured).await?;
    note_overlooked(&source, &missed).await?;
    let withheld = withheld(&definitions, running, &drifts);
    let mut waiting = waiting(&source, &set, &definitions, &withheld, &drifts, obstacle).await?;
    for (mapping, why) in undeclared.look(&source, &set).await {
        let reason = waiting.entry(mapping).or_default();
        *reason = [std::mem::take(reason), why]
            .into_iter()
            .filter(|r| !r.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
    }
    Ok(CoveredSet {
        waiting,
        complaint: (!drifts.is_empty()).then(|| complaint(&drifts, &withheld)),
        set: if withheld.is_empty() {
            set
        } else {
            let rest = definitions.into_iter().filter(|m| !withheld.contains(&m.name)).collect();
            catalog::resolve(&source, rest).await?
        },
        uncaptured: now_uncaptured,
    })
}

/// A newer version of Offtake has prepared the source since this daemon began: its triggers may be
/// others than this daemon would write. So this daemon neither looks at them nor changes them. The
/// mappings that it keeps go on, and new ones wait for a daemon of the newer version.
async fn left_to_the_newer(
    source: &Client,
    definitions: Vec<Mapping>,
    running: &MappingSet,
    uncaptured: &UncapturedTables,
    newer: &str,
) -> Result<CoveredSet, Failure> {
    let complaint = format!(
        "a newer version of Offtake prepared the source ({newer}); this daemon goes on without \
         looking after the triggers: replace it by that version"
    );
    let (new, kept): (Vec<_>, Vec<_>) =
        definitions.into_iter().partition(|mapping| differs(running, mapping));
    Ok(CoveredSet {
        set: catalog::resolve(source, kept).await?,
        waiting: new.into_iter().map(|mapping| (mapping.name, complaint.clone())).collect(),
        complaint: Some(complaint),
        uncaptured: uncaptured.clone(),
    })
}

/// Notes the tables that were not captured at the previous look and are now, where a destination
/// has rows from them: anything in them may have changed meanwhile.
async fn note_gaps(
    source: &Client,
    set: &MappingSet,
    before: &UncapturedTables,
    now: &UncapturedTables,
) -> Result<(), Failure> {
    let captured_again: BTreeSet<&String> =
        before.difference(now).map(|(table, _)| table).collect();
    for table in captured_again {
        if !copied(source, set, &[table]).await? {
            continue;
        }
        let noted = source.execute(sql::NOTE_GAP, &[table]).await;
        noted.map_err(|error| unusable(&error.into()))?;
        tracing::warn!(
            event = "capture_gap_noted",
            table,
            "{table} was not captured for a while; its mappings are copied again, in place"
        );
    }
    Ok(())
}

/// The mappings that wait for their triggers. A running mapping that now needs other changes than
/// before waits like a new one.
fn withheld(definitions: &[Mapping], running: &MappingSet, drifts: &[Drift]) -> Vec<String> {
    let new = |m: &Mapping| differs(running, m);
    let lacks_triggers =
        |m: &Mapping| drifts.iter().any(|drift| !drift.over() && concerns(drift, m));
    definitions.iter().filter(|m| new(m) && lacks_triggers(m)).map(|m| m.name.clone()).collect()
}

/// Whether the mapping is not in `running`, or is there with other needs.
fn differs(running: &MappingSet, mapping: &Mapping) -> bool {
    running.get(&mapping.name).is_none_or(|old: &Arc<ResolvedMapping>| {
        old.definition.source != mapping.source || old.definition.depends_on != mapping.depends_on
    })
}

/// Why each mapping waits: what is missing, and the statement or command that mends it.
async fn waiting(
    source: &Client,
    set: &MappingSet,
    definitions: &[Mapping],
    withheld: &[String],
    drifts: &[Drift],
    obstacle: Option<String>,
) -> Result<Waiting, Failure> {
    let unseen = |m: &Mapping, drift: &Drift| {
        !drift.over() && concerns(drift, m) && (drift.loses_changes() || withheld.contains(&m.name))
    };
    let waits = |m: &&Mapping| drifts.iter().any(|drift| unseen(m, drift));
    let concerned: Vec<&Mapping> = definitions.iter().filter(waits).collect();
    if concerned.is_empty() {
        return Ok(Waiting::new());
    }
    let rights = offtake_capture::missing_rights(source, set).await?;
    let init = "run `offtake init`";
    let mut remedy: Vec<String> = rights
        .into_iter()
        .map(|right| format!("{}; run as {}: {}", right.what, right.run_as, right.statements))
        .collect();
    match remedy.is_empty() {
        false => remedy.push(format!("or {init} with a role that has these rights")),
        true => remedy.push(obstacle.map_or(init.to_owned(), |why| format!("{why}; {init}"))),
    }
    let remedy = remedy.join("; ");
    let reason = |m: &Mapping| {
        let unseen: Vec<&Drift> = drifts.iter().filter(|drift| unseen(m, drift)).collect();
        format!("{}; {remedy}", offtake_capture::in_words(&unseen).join("; "))
    };
    Ok(concerned.into_iter().map(|m| (m.name.clone(), reason(m))).collect())
}

/// Installs what is missing; returns what is still missing then, and why it could not be installed.
async fn mend(
    source: &mut PooledConnection,
    set: &MappingSet,
    look: Look,
    found: Vec<Drift>,
) -> Result<(Vec<Drift>, Option<String>), Failure> {
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
            Ok((Vec::new(), None))
        }
        Err(error) => {
            let still = worth_telling(needed(&Look::take(source, set).await?));
            let error = chain(&error);
            tracing::debug!(
                event = "triggers_not_installed",
                error = error.as_str(),
                "the daemon could not install what is missing"
            );
            Ok((still, Some(error)))
        }
    }
}

fn unusable(error: &offtake_postgres::Error) -> Failure {
    Failure::of_source("cannot use the source", error)
}
