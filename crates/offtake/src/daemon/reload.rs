//! The loop `mappings`: it keeps mappings and configuration in use equal to the files.
//!
//! A set of mappings is put to use as a whole or not at all: only when all files parse and the
//! source's catalog agrees with all of them. Otherwise the previous set keeps running, and the
//! status says why.
//!
//! The exception are triggers. A mapping whose triggers are missing, where the daemon's role may
//! not install them, is withheld: otherwise its copies would go stale unnoticed. It joins the set
//! when an operator has run `offtake init`. Meanwhile, every destination that should have it says
//! so in its status. It also says so where a mapping's query reads tables that its file does not
//! declare: the mapping is in use, and its copies can go stale.

mod published;
mod reasons;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_loops::{Rounds, metrics as names};
use offtake_mapping::{Mapping, MappingSet, ResolvedMapping};
use offtake_postgres::SourcePool;
use offtake_sequencer::Numbering;
use offtake_sync::destinations::Waiting;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub(super) use self::published::Published;
use self::reasons::{named_in, reason_for};
use super::file_reads::off_the_runtime;
use super::systemd;
use super::triggers::{self, CoveredSet, UncapturedTables};
use crate::checks::check_files;
use crate::checks::undeclared_tables::UndeclaredReads;
use crate::configuration::Configuration;
use crate::context::mapping_files::{self, Fingerprint, MappingFiles};
use crate::context::text_file;
use crate::outcome::{Exit, Failure};

/// An edit takes effect within a second; reading a few dozen small files costs less than a
/// millisecond.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Half of the minute within which a disabled or dropped trigger, or a new partition, must be
/// found.
const DRIFT_INTERVAL: Duration = Duration::from_secs(30);

/// Reads the configuration file again.
pub type ReadConfiguration = Box<dyn Fn() -> Result<Configuration, Failure> + Send + Sync>;

pub(super) struct MappingReload {
    pub pool: SourcePool,
    pub published: Published,
    pub read_configuration: Option<Arc<ReadConfiguration>>,
    /// Notified by SIGHUP and by `POST /api/v1/reload`.
    pub asked: Arc<Notify>,
    pub progress: watch::Sender<Rounds>,
    /// What the sequencer of this process tells other daemons about the mappings it knows.
    pub numbering: Arc<Numbering>,
    state: State,
}

/// What the last looks found.
#[derive(Default)]
struct State {
    files: Option<Fingerprint>,
    /// Complaints about the mapping files, the configuration, the triggers and the destinations
    /// query. The status shows all of them as `config.error`.
    mappings_error: Option<String>,
    configuration_error: Option<String>,
    /// The settings that have another value in the file than in use.
    needs_restart: Option<String>,
    trigger_error: Option<String>,
    destinations_error: Option<String>,
    webhooks_error: Option<String>,
    configuration_text: Option<String>,
    uncaptured: UncapturedTables,
    undeclared: UndeclaredReads,
    /// The mappings that wait for their triggers or go without, each with the reason.
    uncovered: Waiting,
    /// The mappings of a refused folder that are not in the set in use, each with the reason.
    refused: Waiting,
    /// The mappings in use that the source no longer fits, each with the reason.
    drifted: Waiting,
    /// When the triggers are looked at again.
    drift_due: Option<Instant>,
}

impl MappingReload {
    pub(super) fn new(
        pool: SourcePool,
        published: Published,
        read_configuration: Option<ReadConfiguration>,
        asked: Arc<Notify>,
    ) -> Self {
        let progress = watch::Sender::new(Rounds::now());
        Self {
            pool,
            published,
            read_configuration: read_configuration.map(Arc::new),
            asked,
            progress,
            numbering: Arc::default(),
            state: State::default(),
        }
    }

    /// Loads the first set. Anything wrong with it is a failure, because there is no previous set
    /// that could keep running.
    pub(super) async fn load(&mut self) -> Result<(), Failure> {
        let folder = self.folder();
        let (definitions, fingerprint) =
            off_the_runtime(move || mapping_files::load_and_tell(&folder)).await??;
        self.use_mappings(definitions).await?;
        self.state.files = Some(fingerprint);
        self.state.configuration_text = self.configuration_text().await;
        self.publish_status(true);
        Ok(())
    }

    /// Looks at the files until shutdown. What is wrong with them goes into the status, and is no
    /// failure of the loop.
    pub(super) async fn run(
        &mut self,
        shutdown: CancellationToken,
    ) -> Result<(), std::convert::Infallible> {
        loop {
            let asked = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.asked.notified() => true,
                () = tokio::time::sleep(LOOK_INTERVAL) => false,
            };
            if asked {
                systemd::reloading();
            }
            self.look_at_configuration(asked).await;
            self.look_at_mappings(asked).await;
            if asked {
                self.state.drift_due = Some(Instant::now());
            }
            self.look_at_triggers().await;
            self.look_at_destinations();
            if asked {
                systemd::ready();
            }
            self.progress.send_replace(Rounds::now());
        }
    }

    fn folder(&self) -> PathBuf {
        self.published.configuration.borrow().mappings.clone()
    }

    async fn configuration_text(&self) -> Option<String> {
        let file = self.published.configuration.borrow().file.clone();
        let read = move || text_file::read(&file, text_file::CONFIGURATION_BYTES_MAX);
        off_the_runtime(read).await.ok()?.ok()
    }

    async fn look_at_configuration(&mut self, asked: bool) {
        let Some(read) = self.read_configuration.clone() else { return };
        let text = self.configuration_text().await;
        // The cause may be outside the file: a secret's file, or a slow drive.
        let again = asked || (self.state.configuration_error.is_some() && self.drift_due());
        if !again && text == self.state.configuration_text {
            return;
        }
        self.state.configuration_text = text;
        let folder = self.folder();
        let outcome = off_the_runtime(move || {
            let new = read()?;
            // Mappings that cannot be used have a complaint of their own.
            if let Ok((definitions, _)) = mapping_files::load(&folder) {
                check_files(&new, &definitions)?;
            }
            Ok(new)
        });
        let outcome = outcome.await.and_then(|outcome| outcome);
        self.take_over(outcome);
    }

    /// Publishes a configuration, or says why it cannot be used.
    fn take_over(&mut self, outcome: Result<Configuration, Failure>) {
        match outcome {
            Ok(new) => {
                let current = self.published.configuration.borrow().clone();
                let restart = current.needs_restart(&new);
                self.state.configuration_error = None;
                self.state.needs_restart = (!restart.is_empty())
                    .then(|| format!("a change of {} needs a restart", restart.join(", ")));
                if self.state.mappings_error.is_some() {
                    // They may fit the new configuration.
                    self.state.files = None;
                }
                // What needs a restart keeps its old value: what is published is what is in use.
                let merged = Configuration {
                    destinations: new.destinations,
                    webhooks: new.webhooks,
                    sync: new.sync,
                    audit: new.audit,
                    retention: new.retention,
                    ..(*current).clone()
                };
                self.published.configuration.send_replace(Arc::new(merged));
                tracing::info!(
                    event = "configuration_loaded",
                    needs_restart = restart.join(", "),
                    "the configuration was read again"
                );
                self.publish_status(true);
            }
            Err(failure) => {
                let error = failure.to_string();
                if self.state.configuration_error.as_ref() != Some(&error) {
                    tracing::error!(
                        event = "configuration_refused",
                        error,
                        "the previous configuration stays in use"
                    );
                }
                self.state.configuration_error = Some(error);
                self.publish_status(false);
            }
        }
    }

    async fn look_at_mappings(&mut self, asked: bool) {
        let folder = self.folder();
        let fingerprint =
            off_the_runtime(move || MappingFiles::read(&folder).map(|files| files.fingerprint()));
        let fingerprint = match fingerprint.await {
            Ok(Ok(fingerprint)) => Some(fingerprint),
            // The folder cannot be read; `load` below says why.
            _ => None,
        };
        // The source may have been changed to fit mappings that were refused before.
        let again = asked || (self.state.mappings_error.is_some() && self.drift_due());
        if !again && fingerprint.is_some() && fingerprint == self.state.files {
            return;
        }
        let folder = self.folder();
        let loaded = off_the_runtime(move || mapping_files::load_and_tell(&folder)).await;
        let outcome = match loaded.and_then(|loaded| loaded) {
            Ok((definitions, _)) => self.use_mappings(definitions).await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => {
                self.state.files = fingerprint;
                if self.state.configuration_error.is_some() {
                    // It may fit the new mappings.
                    self.state.configuration_text = None;
                }
                tracing::info!(
                    event = "mappings_loaded",
                    mappings = self.published.mappings.borrow().mappings().len(),
                    "the mappings are in use"
                );
                self.publish_status(true);
            }
            // The source did not answer, which says nothing about the files: look again in a
            // second.
            Err(failure) if failure.exit == Exit::Unreachable => {}
            Err(failure) => {
                self.state.files = fingerprint;
                let error = failure.to_string();
                if self.state.mappings_error.as_ref() != Some(&error) {
                    tracing::error!(
                        event = "mappings_refused",
                        error,
                        "the previous mappings stay in use"
                    );
                }
                self.note_refused(&error).await;
                self.state.mappings_error = Some(error);
                self.publish_status(false);
            }
        }
    }

    /// Resolves the mappings, installs missing triggers, and publishes the set.
    async fn use_mappings(&mut self, definitions: Vec<Mapping>) -> Result<(), Failure> {
        check_files(&self.published.configuration.borrow().clone(), &definitions)?;
        let usable = self.cover(definitions).await?;
        self.state.mappings_error = None;
        self.state.refused.clear();
        self.state.drifted.clear();
        self.state.trigger_error = usable.complaint;
        self.state.drift_due = Some(Instant::now() + DRIFT_INTERVAL);
        self.put_to_use(usable.set).await
    }

    /// Publishes a set, after the sequencer has claimed it: before anything is copied for a set,
    /// other daemons must be able to see that this one numbers changes for it. A reason why a
    /// mapping waits ends once the set that mends it is in use: until then the copies are as they
    /// were.
    async fn put_to_use(&self, set: MappingSet) -> Result<(), Failure> {
        let mut until_then = (**self.published.waiting.borrow()).clone();
        until_then.extend(self.waiting());
        self.publish(until_then);
        let mut source = self
            .pool
            .get()
            .await
            .map_err(|error| Failure::of_source("cannot use the source", &error))?;
        self.numbering.claim(&mut source, &set).await?;
        self.published.mappings.send_replace(Arc::new(set));
        self.publish_waiting();
        Ok(())
    }

    async fn cover(&mut self, definitions: Vec<Mapping>) -> Result<CoveredSet, Failure> {
        let running = self.published.mappings.borrow().clone();
        let State { uncaptured, undeclared, .. } = &mut self.state;
        let covered =
            triggers::cover(&self.pool, definitions, &running, uncaptured, undeclared).await?;
        self.state.uncaptured.clone_from(&covered.uncaptured);
        self.state.uncovered.clone_from(&covered.waiting);
        Ok(covered)
    }

    fn publish_waiting(&self) {
        self.publish(self.waiting());
    }

    fn waiting(&self) -> Waiting {
        let mut waiting = self.state.uncovered.clone();
        waiting.extend(self.state.refused.clone());
        waiting.extend(self.state.drifted.clone());
        waiting
    }

    /// The status of every destination that should have one of these mappings tells the reason.
    fn publish(&self, waiting: Waiting) {
        self.published.waiting.send_if_modified(|before| {
            let changed = **before != waiting;
            if changed {
                *before = Arc::new(waiting);
            }
            changed
        });
    }

    /// The folder's mappings cannot be used together. Those that are not in the set in use wait.
    /// Those that are in use may go without their triggers all the same.
    async fn note_refused(&mut self, error: &str) {
        let folder = self.folder();
        let named = off_the_runtime(move || MappingFiles::read(&folder).map(|files| files.names()));
        let Ok(Ok(named)) = named.await else { return };
        let running = self.published.mappings.borrow().clone();
        let named = named.into_iter().filter(|(name, _)| running.get(name).is_none());
        self.state.refused = named.map(|(name, file)| (name, reason_for(&file, error))).collect();
        self.state.uncovered.retain(|name, _| running.get(name).is_some());
        self.publish_waiting();
    }

    fn drift_due(&self) -> bool {
        self.state.drift_due.is_some_and(|due| due <= Instant::now())
    }

    async fn look_at_triggers(&mut self) {
        if !self.drift_due() {
            return;
        }
        self.state.drift_due = Some(Instant::now() + DRIFT_INTERVAL);
        let Some(definitions) = self.mappings_to_cover().await else { return };
        let before = self.published.mappings.borrow().clone();
        let outcome = match self.cover(definitions).await {
            Ok(usable) => {
                self.state.drifted.clear();
                if usable.complaint != self.state.trigger_error {
                    if let Some(complaint) = &usable.complaint {
                        tracing::error!(
                            event = "capture_drifted",
                            complaint,
                            "changes may go by unseen"
                        );
                    }
                    self.state.trigger_error = usable.complaint;
                    self.publish_status(false);
                }
                // The set also differs where the type of a column changed: the mapping's version
                // tells.
                if same(&before, &usable.set) {
                    self.publish_waiting();
                    Ok(())
                } else {
                    self.put_to_use(usable.set).await
                }
            }
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => {}
            Err(failure) if failure.exit == Exit::Unreachable => {}
            Err(failure) => {
                let error = failure.to_string();
                self.state.drifted = named_in(&error, &before);
                self.cover_the_others(&before).await;
                self.publish_waiting();
                let told = [&self.state.trigger_error, &self.state.mappings_error];
                if !told.into_iter().flatten().any(|told| *told == error) {
                    tracing::error!(
                        event = "mappings_drifted",
                        error,
                        "the source no longer fits the mappings"
                    );
                    self.state.trigger_error = Some(error);
                    self.publish_status(false);
                }
            }
        }
    }

    /// Looks at the triggers of the mappings that the source still fits. Otherwise one that it no
    /// longer fits would let the others lose their triggers, and changes, unnoticed.
    async fn cover_the_others(&mut self, running: &MappingSet) {
        let drifted = |m: &&Arc<ResolvedMapping>| self.state.drifted.contains_key(m.name());
        let (drifted, others): (Vec<_>, Vec<_>) = running.mappings().iter().partition(drifted);
        if drifted.is_empty() || others.is_empty() {
            return;
        }
        // What is known of tables that are not looked at now is kept until they are.
        let tables = |mappings: &[&Arc<ResolvedMapping>]| -> BTreeSet<String> {
            let of_one = |m: &&Arc<ResolvedMapping>| {
                let depends_on = &m.definition.depends_on;
                let joined = depends_on.iter().map(|d| d.table.to_string()).collect::<Vec<_>>();
                std::iter::once(m.source_table()).chain(joined)
            };
            mappings.iter().flat_map(of_one).collect()
        };
        let kept = &tables(&drifted) - &tables(&others);
        let before = self.state.uncaptured.clone();
        let definitions = others.iter().map(|m| m.definition.clone()).collect();
        // A failure here has the cause that is told already, or the next look tells it.
        if self.cover(definitions).await.is_ok() {
            let unseen = before.into_iter().filter(|(table, _)| kept.contains(table));
            self.state.uncaptured.extend(unseen);
        }
    }

    /// The mappings whose triggers are looked at. None where the folder has changed since it was
    /// loaded: the next look at the files takes it over.
    ///
    /// All mappings of the folder, and not only the set in use: a withheld mapping joins as soon as
    /// its triggers are there. While the folder is refused, the set in use: its triggers can be
    /// lost then too, and its copies would go stale unnoticed.
    async fn mappings_to_cover(&self) -> Option<Vec<Mapping>> {
        if self.state.mappings_error.is_some() {
            let running = self.published.mappings.borrow().clone();
            return Some(running.mappings().iter().map(|m| m.definition.clone()).collect());
        }
        let folder = self.folder();
        let loaded = off_the_runtime(move || mapping_files::load(&folder)).await;
        let (definitions, fingerprint) = loaded.ok()?.ok()?;
        (self.state.files.as_ref() == Some(&fingerprint)).then_some(definitions)
    }

    fn look_at_destinations(&mut self) {
        let found = self.published.destinations_error.borrow().clone();
        if found != self.state.destinations_error {
            self.state.destinations_error = found;
            self.publish_status(false);
        }
        let found = self.published.webhooks_error.borrow().clone();
        if found != self.state.webhooks_error {
            self.state.webhooks_error = found;
            self.publish_status(false);
        }
    }

    fn publish_status(&self, loaded: bool) {
        let state = &self.state;
        let of_files = [
            &state.configuration_error,
            &state.needs_restart,
            &state.mappings_error,
            &state.trigger_error,
        ];
        let in_use = of_files.iter().all(|error| error.is_none());
        metrics::gauge!(names::CONFIG_RELOAD_SUCCESS).set(if in_use { 1.0 } else { 0.0 });
        let retention = self.published.configuration.borrow().retention.changes;
        metrics::gauge!(names::LOG_RETENTION_SECONDS).set(retention.as_secs_f64());
        let mut errors: Vec<&str> = Vec::new();
        for error in
            of_files.into_iter().chain([&state.destinations_error, &state.webhooks_error]).flatten()
        {
            // A look at the triggers and one at the files can find the same.
            if !errors.contains(&error.as_str()) {
                errors.push(error);
            }
        }
        self.published.status.send_modify(|config| {
            config.error = (!errors.is_empty()).then(|| errors.join("\n"));
            if loaded {
                config.loaded_at = jiff::Timestamp::now();
            }
        });
    }
}

fn same(a: &MappingSet, b: &MappingSet) -> bool {
    let versions = |set: &MappingSet| {
        let forms = [false, true].into_iter().flat_map(|shared| set.forms(shared));
        forms.map(|m| (m.name().to_owned(), m.version.clone())).collect::<Vec<_>>()
    };
    versions(a) == versions(b)
}
