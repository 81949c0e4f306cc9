//! Installing capture.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::{Identifier, MappingSet, ResolvedMapping, TableName};
use tokio_postgres::Client;

use crate::attempt::{Step, attempt, settings};
use crate::drift::{Drift, DriftKind};
use crate::function::{Function, Records};
use crate::note::Note;
use crate::survey::{Relations, StaleTrigger, Survey, SurveyedTable, by_rows};
use crate::trigger::Event;
use crate::{Error, script};

/// How to install.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long one attempt waits for a table's lock. The application's writes to that table queue
    /// up behind it.
    pub lock_timeout: Duration,
    /// How many times an attempt is repeated after the first one.
    pub retries: u32,
    /// For a source that is already being copied. Where changes may have been missed
    /// ([`crate::Drift::loses_changes`]), the transaction that repairs capture also records that
    /// anything in the table may have changed, so that its mappings are re-copied.
    pub note_gap: bool,
    /// Leave triggers and functions in place that the set does not need: another daemon with newer
    /// mappings may need them.
    pub keep_others: bool,
}

/// Users do not notice a write that takes a quarter of a second longer, and most transactions end
/// within that time.
const LOCK_TIMEOUT: Duration = Duration::from_millis(250);

/// About a minute with the pauses between the attempts. A report or a backup may hold its lock that
/// long; after that the operator wants to know which session it is.
const RETRIES: u32 = 30;

impl Default for Options {
    fn default() -> Self {
        Self { lock_timeout: LOCK_TIMEOUT, retries: RETRIES, note_gap: false, keep_others: false }
    }
}

/// What an installation did; empty when everything was in place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Relations (tables and partitions) on which triggers were created.
    pub installed: Vec<String>,
    /// Tables whose function, or the note in its comment, was written.
    pub functions: Vec<String>,
    /// Relations whose triggers were dropped, because no mapping names them any more.
    pub removed: Vec<String>,
    /// Tables for which a change of the whole table was recorded.
    pub gaps: Vec<String>,
}

impl Report {
    /// Whether there was nothing to do.
    pub fn unchanged(&self) -> bool {
        *self == Self::default()
    }
}

/// The state of capture at one moment. An installation repairs exactly the differences that were
/// seen, and the caller can choose the [`Options`] by them. A difference that appears later is left
/// for the next look; it is not counted as repaired.
pub struct Look(Survey);

impl Look {
    pub async fn take(client: &Client, set: &MappingSet) -> Result<Self, Error> {
        Ok(Self(Survey::take(client, set).await?))
    }

    /// Differences between what is installed and what the mappings need. Empty if they agree.
    pub fn drifts(&self) -> Vec<Drift> {
        self.0.drifts()
    }

    /// Captured tables, each with a mapping of `set` of which the installed function, written for
    /// other mappings, captures only a part or nothing.
    pub fn lets_go_by(&self, set: &MappingSet) -> Vec<(String, Arc<ResolvedMapping>)> {
        let mut missed = Vec::new();
        if self.0.tables.iter().all(|table| table.of_others.is_none()) {
            return missed;
        }
        for mapping in set.mappings() {
            let alone =
                MappingSet::new(vec![ResolvedMapping::clone(mapping)], |_, _| String::new());
            for capture in alone.captures() {
                let installed = self.0.tables.iter().find(|table| table.table == capture.table);
                let of_others = installed.and_then(|table| table.of_others.as_ref());
                if of_others.is_some_and(|records| !Records::of(capture).is_part_of(records)) {
                    missed.push((capture.table.to_string(), mapping.clone()));
                }
            }
        }
        missed
    }

    /// Like [`install`], by what this look has seen.
    pub async fn install(self, client: &mut Client, options: &Options) -> Result<Report, Error> {
        install_by(self.0, client, options).await
    }
}

/// Installs what the set needs and removes what it does not need, one relation per transaction.
/// What is in place is not touched, so running it again takes no lock. What was done before an
/// error stays done.
pub async fn install(
    client: &mut Client,
    set: &MappingSet,
    options: &Options,
) -> Result<Report, Error> {
    install_by(Survey::take(client, set).await?, client, options).await
}

async fn install_by(
    survey: Survey,
    client: &mut Client,
    options: &Options,
) -> Result<Report, Error> {
    if !survey.migrated {
        return Err(Error::NotMigrated);
    }
    refuse_what_cannot_be_captured(&survey)?;
    if !survey.granted && !survey.tables.is_empty() {
        let action = format!("create the role {} and give it its rights", survey.role);
        attempt(
            client,
            options,
            Step { action, relation: 0, script: &script::role(&survey.role), notes: None },
        )
        .await?;
    }
    let mut report = Report::default();
    for table in &survey.tables {
        write_function(client, table, &survey.role, options, &mut report).await?;
    }
    // A relation itself takes over the plain names there last: whatever its triggers replace is in
    // place under another name by then.
    for own in [false, true] {
        for table in &survey.tables {
            create_triggers(client, table, own, options, &mut report).await?;
        }
    }
    for table in &survey.tables {
        update_note(client, table, options, &mut report).await?;
    }
    if options.keep_others {
        return Ok(report);
    }
    let freed: BTreeSet<u32> = survey.stale_triggers.iter().map(|stale| stale.relation).collect();
    remove_stale(client, survey.stale_triggers, options, &mut report.removed).await?;
    // A note may have been written while both forms of a trigger were there.
    let outdated = |t: &&SurveyedTable| t.relations.iter().any(|r| freed.contains(&r.oid));
    for table in survey.tables.iter().filter(outdated) {
        let action = format!("record the state of {}", table.table);
        attempt(client, options, Step { action, relation: 0, script: "", notes: Some(table) })
            .await?;
    }
    if !survey.stale_functions.is_empty() {
        let action = "drop capture functions that are no longer needed".to_owned();
        let script = script::drop_functions(&survey.stale_functions);
        attempt(client, options, Step { action, relation: 0, script: &script, notes: None })
            .await?;
    }
    if survey.shared_role {
        let action = format!("take the rights here from the role {}", script::SHARED_ROLE);
        let script = script::retire_shared_role();
        attempt(client, options, Step { action, relation: 0, script: &script, notes: None })
            .await?;
    }
    Ok(report)
}

fn refuse_what_cannot_be_captured(survey: &Survey) -> Result<(), Error> {
    for drift in survey.tables.iter().flat_map(|t| &t.drifts) {
        match drift.kind {
            DriftKind::NoTable => return Err(Error::NoTable(drift.relation.clone())),
            DriftKind::ForeignPartition => {
                let (table, partition) = (drift.source_table.clone(), drift.relation.clone());
                return Err(Error::ForeignPartition { table, partition });
            }
            _ => {}
        }
    }
    Ok(())
}

async fn write_function(
    client: &mut Client,
    table: &SurveyedTable,
    role: &str,
    options: &Options,
    report: &mut Report,
) -> Result<(), Error> {
    if !table.drifts.iter().any(|d| d.kind == DriftKind::FunctionDiffers) {
        return Ok(());
    }
    let name = table.table.to_string();
    let action = format!("write the capture function of {name}");
    let mut script = script::function(&table.table, &table.function, table.by_rows, role);
    if table.relations.iter().any(|relation| !relation.triggers.is_empty()) {
        script.push_str(&script::wait_for_writers(&table.table));
    }
    let relation = table.relations.first().map_or(0, |root| root.oid);
    // An existing note is not overwritten here: it first has to be compared, and a gap that it
    // shows has to be recorded.
    let notes = table.unnoted.then_some(table);
    attempt(client, options, Step { action, relation, script: &script, notes }).await?;
    report.functions.push(name);
    Ok(())
}

/// Creates what is missing on the table itself (`own`), or on its partitions and children. The
/// transaction that repairs the last relation leaves a note that is complete.
async fn create_triggers(
    client: &mut Client,
    table: &SurveyedTable,
    own: bool,
    options: &Options,
    report: &mut Report,
) -> Result<(), Error> {
    let name = table.table.to_string();
    let lost = table.drifts.iter().any(Drift::loses_changes);
    for relation in table.relations.iter().filter(|r| (r.name == table.table) == own) {
        let relation_name = relation.name.to_string();
        let events: Vec<Event> = table
            .drifts
            .iter()
            .filter(|d| d.relation == relation_name && !(options.keep_others && d.superseded()))
            .filter_map(|d| d.kind.event())
            .collect();
        if events.is_empty() {
            continue;
        }
        let mut script = script::triggers(
            &relation.name,
            table.plain.contains(&relation.oid),
            &table.function,
            &events,
        );
        if options.note_gap && lost {
            script.push_str(&script::gap(&table.table));
            if !report.gaps.contains(&name) {
                report.gaps.push(name.clone());
            }
        }
        let action = format!("create triggers on {relation_name}");
        attempt(
            client,
            options,
            Step { action, relation: relation.oid, script: &script, notes: Some(table) },
        )
        .await?;
        if !report.installed.contains(&relation_name) {
            report.installed.push(relation_name);
        }
    }
    Ok(())
}

/// Records the state of a table whose triggers were in place, and with it a gap that the last note
/// shows. Where triggers were created, that transaction has already written the new note.
async fn update_note(
    client: &mut Client,
    table: &SurveyedTable,
    options: &Options,
    report: &mut Report,
) -> Result<(), Error> {
    let created = |d: &Drift| d.kind.event().is_some() && !(options.keep_others && d.superseded());
    let mended = table.drifts.iter().any(created);
    let outdated =
        table.drifts.iter().find(|d| d.loses_changes() || d.kind == DriftKind::NoteOutdated);
    let Some(drift) = outdated.filter(|_| !mended) else { return Ok(()) };
    let name = table.table.to_string();
    let mut script = script::note(&table.function, &table.note.text());
    if options.note_gap && drift.loses_changes() {
        script.push_str(&script::gap(&table.table));
        report.gaps.push(name.clone());
    }
    let action = format!("record the state of {name}");
    attempt(client, options, Step { action, relation: 0, script: &script, notes: None }).await?;
    if !report.functions.contains(&name) {
        report.functions.push(name);
    }
    Ok(())
}

/// Drops triggers, one relation per transaction.
pub(crate) async fn remove_stale(
    client: &mut Client,
    triggers: Vec<StaleTrigger>,
    options: &Options,
    removed: &mut Vec<String>,
) -> Result<(), Error> {
    for of_relation in triggers.chunk_by(|a, b| a.relation == b.relation) {
        let Some(StaleTrigger { relation, table, .. }) = of_relation.first() else { continue };
        let names: Vec<Identifier> = of_relation.iter().map(|t| t.name.clone()).collect();
        let action = format!("drop the triggers of {table}");
        let script = script::drop_triggers(table, &names);
        attempt(
            client,
            options,
            Step { action, relation: *relation, script: &script, notes: None },
        )
        .await?;
        removed.push(table.to_string());
    }
    Ok(())
}

/// The SQL that [`install`] would run on a source where nothing is installed yet, for operators who
/// apply schema changes themselves. The migrations must run before it. `relations` lists the
/// partitions.
pub fn install_sql(set: &MappingSet, relations: &Relations) -> String {
    let settings = settings(LOCK_TIMEOUT);
    let transaction = |comment: String, script: String| {
        format!("-- {comment}\nbegin;\n{settings}{script}commit;\n\n")
    };
    let mut sql = transaction(
        "The role that the capture functions run as.".to_owned(),
        script::role(relations.role()),
    );
    for capture in set.captures() {
        let function = Function::of(capture, set);
        let name = one_line(&capture.table);
        let by_rows = by_rows(relations.of(&capture.table));
        let note =
            script::note(&function, &Note::of(relations.of(&capture.table)).text_of_partitions());
        sql.push_str(&transaction(
            format!("The capture function of {name}."),
            script::function(&capture.table, &function, by_rows, relations.role()) + &note,
        ));
        for (relation, plain, events) in relations.events(&capture.table) {
            let script = script::triggers(&relation, plain, &function, events);
            sql.push_str(&transaction(format!("The triggers of {}.", one_line(&relation)), script));
        }
    }
    sql
}

fn one_line(table: &TableName) -> String {
    table.to_string().replace(['\n', '\r'], " ")
}
