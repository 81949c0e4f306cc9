//! Keeps the mapping set in use equal to the folder's files, as a whole or not at all.
//!
//! A set is put to use only when all of it parses and the source's catalog agrees; otherwise the
//! one before keeps running and the status says why. A mapping whose triggers are absent and may
//! not be installed by the daemon's role is withheld, because its copy would stand still unnoticed;
//! it joins when someone ran `offtake init`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use offtake_admin::status::Config;
use offtake_mapping::{Mapping, MappingSet};
use offtake_postgres::SourcePool;
use offtake_sequencer::Numbering;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::configuration::Configuration;
use crate::destinations::check_static;
use crate::mapping_files::{self, Fingerprint, MappingFiles};
use crate::outcome::{Exit, Failure};
use crate::text_file;
use crate::triggers::{self, Covered, Uncaptured};

/// An edit takes effect within a second; reading a few dozen small files costs less than a
/// millisecond.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A trigger that was disabled or dropped, or a new partition, is found within a minute, twice
/// over.
const DRIFT_INTERVAL: Duration = Duration::from_secs(30);

/// Reads `offtake.yaml` again.
pub type ReadConfiguration = Box<dyn Fn() -> Result<Configuration, Failure> + Send + Sync>;

/// What the mapping loop publishes.
#[derive(Clone)]
pub struct Published {
    pub mappings: watch::Sender<Arc<MappingSet>>,
    /// Mappings of the folder that are not in the set, because they wait for their triggers.
    pub withheld: watch::Sender<Arc<Vec<String>>>,
    pub configuration: watch::Sender<Arc<Configuration>>,
    /// Why the destinations query could not be evaluated the last time.
    pub destinations_error: watch::Sender<Option<String>>,
    /// What the status says of them all.
    pub status: watch::Sender<Config>,
}

/// The loop.
pub struct MappingReload {
    pub pool: SourcePool,
    pub published: Published,
    pub read_configuration: Arc<Option<ReadConfiguration>>,
    /// Notified by SIGHUP and by `POST /api/v1/reload`.
    pub asked: Arc<Notify>,
    pub progress: watch::Sender<Instant>,
    /// What the sequencer of this process says of itself.
    pub numbering: Arc<Numbering>,
    state: State,
}

/// What was last looked at.
#[derive(Default)]
struct State {
    files: Option<Fingerprint>,
    /// Complaints about the folder, the configuration, the triggers and the destinations query; all
    /// of them are the status's `config.error`.
    mappings_error: Option<String>,
    configuration_error: Option<String>,
    trigger_error: Option<String>,
    destinations_error: Option<String>,
    configuration_text: Option<String>,
    /// As at the last look.
    uncaptured: Uncaptured,
    drift_due: Option<Instant>,
}

impl MappingReload {
    pub fn new(
        pool: SourcePool,
        published: Published,
        read_configuration: Arc<Option<ReadConfiguration>>,
        asked: Arc<Notify>,
    ) -> Self {
        let progress = watch::Sender::new(Instant::now());
        Self {
            pool,
            published,
            read_configuration,
            asked,
            progress,
            numbering: Arc::default(),
            state: State::default(),
        }
    }

    /// The first set: whatever is wrong with it is the failure, because there is none to keep
    /// running.
    pub async fn load(&mut self) -> Result<(), Failure> {
        let folder = self.folder();
        let (definitions, fingerprint) = mapping_files::load(&folder)?;
        self.use_mappings(definitions).await?;
        self.state.files = Some(fingerprint);
        self.state.configuration_text = self.configuration_text();
        self.publish_status(true);
        Ok(())
    }

    /// Looks until shutdown. Nothing that it finds is its own failure.
    pub async fn run(
        &mut self,
        shutdown: CancellationToken,
    ) -> Result<(), std::convert::Infallible> {
        loop {
            let asked = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.asked.notified() => true,
                () = tokio::time::sleep(LOOK_INTERVAL) => false,
            };
            self.look_at_configuration(asked);
            self.look_at_mappings(asked).await;
            if asked {
                self.state.drift_due = Some(Instant::now());
            }
            self.look_at_triggers().await;
            self.look_at_destinations();
            self.progress.send_replace(Instant::now());
        }
    }

    fn folder(&self) -> PathBuf {
        self.published.configuration.borrow().mappings.clone()
    }

    fn configuration_text(&self) -> Option<String> {
        let file = self.published.configuration.borrow().file.clone();
        text_file::read(&file).ok()
    }

    fn look_at_configuration(&mut self, asked: bool) {
        let Some(read) = self.read_configuration.as_ref() else { return };
        let text = self.configuration_text();
        if !asked && text == self.state.configuration_text {
            return;
        }
        self.state.configuration_text = text;
        let outcome = read().and_then(|new| {
            // With mappings that cannot be used, their own complaint is enough.
            if let Ok((definitions, _)) = mapping_files::load(&self.folder()) {
                check_static(&new, &definitions)?;
            }
            Ok(new)
        });
        match outcome {
            Ok(new) => {
                let current = self.published.configuration.borrow().clone();
                let restart = current.needs_restart(&new);
                self.state.configuration_error = (!restart.is_empty())
                    .then(|| format!("a change of {} needs a restart", restart.join(", ")));
                // What needs a restart stays as it is, so that what is published is what is in use.
                let merged = Configuration {
                    destinations: new.destinations,
                    sync: new.sync,
                    retention: new.retention,
                    ..(*current).clone()
                };
                self.published.configuration.send_replace(Arc::new(merged));
                tracing::info!(
                    event = "configuration_loaded",
                    needs_restart = restart.join(", "),
                    "the configuration was read again"
                );
            }
            Err(failure) => {
                let error = failure.to_string();
                tracing::error!(
                    event = "configuration_refused",
                    error,
                    "the configuration before stays in use"
                );
                self.state.configuration_error = Some(error);
            }
        }
        self.publish_status(true);
    }

    async fn look_at_mappings(&mut self, asked: bool) {
        let folder = self.folder();
        let fingerprint = tokio::task::spawn_blocking(move || {
            MappingFiles::read(&folder).map(|files| files.fingerprint())
        });
        let fingerprint = match fingerprint.await {
            Ok(Ok(fingerprint)) => Some(fingerprint),
            // Unreadable: what `load` says about it.
            _ => None,
        };
        // What the source contradicted yesterday it may agree to today.
        let again = asked || (self.state.mappings_error.is_some() && self.drift_due());
        if !again && fingerprint.is_some() && fingerprint == self.state.files {
            return;
        }
        let outcome = match mapping_files::load(&self.folder()) {
            Ok((definitions, _)) => self.use_mappings(definitions).await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => {
                self.state.files = fingerprint;
                tracing::info!(
                    event = "mappings_loaded",
                    mappings = self.published.mappings.borrow().mappings().len(),
                    "the mappings are in use"
                );
                self.publish_status(true);
            }
            // Nothing is known against the files: look again in a second.
            Err(failure) if failure.exit == Exit::Unreachable => {}
            Err(failure) => {
                self.state.files = fingerprint;
                let error = failure.to_string();
                if self.state.mappings_error.as_ref() != Some(&error) {
                    tracing::error!(
                        event = "mappings_refused",
                        error,
                        "the mappings before stay in use"
                    );
                }
                self.state.mappings_error = Some(error);
                self.state.drift_due = Some(Instant::now() + DRIFT_INTERVAL);
                self.publish_status(false);
            }
        }
    }

    /// Resolves, sees to the triggers, publishes.
    async fn use_mappings(&mut self, definitions: Vec<Mapping>) -> Result<(), Failure> {
        check_static(&self.published.configuration.borrow().clone(), &definitions)?;
        let usable = self.cover(definitions).await?;
        self.state.mappings_error = None;
        self.state.trigger_error = usable.complaint;
        self.state.drift_due = Some(Instant::now() + DRIFT_INTERVAL);
        self.put_to_use(usable.set).await
    }

    /// Nothing is copied for a set before everybody can know that it is numbered for.
    async fn put_to_use(&self, set: MappingSet) -> Result<(), Failure> {
        let mut source = self
            .pool
            .get()
            .await
            .map_err(|error| Failure::of_source("cannot use the source", &error))?;
        self.numbering.claim(&mut source, &set).await?;
        self.published.mappings.send_replace(Arc::new(set));
        Ok(())
    }

    async fn cover(&mut self, definitions: Vec<Mapping>) -> Result<Covered, Failure> {
        let running = self.published.mappings.borrow().clone();
        let covered =
            triggers::cover(&self.pool, definitions, &running, &self.state.uncaptured).await?;
        self.state.uncaptured.clone_from(&covered.uncaptured);
        self.published.withheld.send_replace(Arc::new(covered.withheld.clone()));
        Ok(covered)
    }

    fn drift_due(&self) -> bool {
        self.state.drift_due.is_some_and(|due| due <= Instant::now())
    }

    async fn look_at_triggers(&mut self) {
        if !self.drift_due() {
            return;
        }
        self.state.drift_due = Some(Instant::now() + DRIFT_INTERVAL);
        // The whole folder again, not the set in use: a withheld mapping joins as soon as its
        // triggers are there.
        if self.state.mappings_error.is_some() {
            return;
        }
        let Ok((definitions, fingerprint)) = mapping_files::load(&self.folder()) else { return };
        if self.state.files.as_ref() != Some(&fingerprint) {
            return;
        }
        let before = self.published.mappings.borrow().clone();
        let outcome = match self.cover(definitions).await {
            Ok(usable) => {
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
                // Also when a column's type changed under a mapping: its version tells.
                if same(&before, &usable.set) { Ok(()) } else { self.put_to_use(usable.set).await }
            }
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => {}
            Err(failure) if failure.exit == Exit::Unreachable => {}
            Err(failure) => {
                let error = failure.to_string();
                if self.state.trigger_error.as_ref() != Some(&error) {
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

    fn look_at_destinations(&mut self) {
        let found = self.published.destinations_error.borrow().clone();
        if found != self.state.destinations_error {
            self.state.destinations_error = found;
            self.publish_status(false);
        }
    }

    fn publish_status(&self, loaded: bool) {
        let state = &self.state;
        let of_files = [&state.configuration_error, &state.mappings_error, &state.trigger_error];
        let in_use = of_files.iter().all(|error| error.is_none());
        metrics::gauge!(offtake_loops::metrics::CONFIG_RELOAD_SUCCESS).set(if in_use {
            1.0
        } else {
            0.0
        });
        let errors: Vec<&str> = of_files
            .into_iter()
            .chain([&state.destinations_error])
            .flatten()
            .map(String::as_str)
            .collect();
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
        set.mappings().iter().map(|m| (m.name().to_owned(), m.version.clone())).collect::<Vec<_>>()
    };
    versions(a) == versions(b)
}
