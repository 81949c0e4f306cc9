//! An export that this process does itself, into a folder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use offtake_jobs::exports::{Ended, Error, Options, Settings, Told, Work, deliver};
use offtake_jobs::stores::Key;
use offtake_jobs::{Job, Kind, LEASE, PROCESS_STOPPED, PublicId, State, Store, Which, claim, job};
use offtake_loops::Fuses;
use offtake_mapping::{MappingSet, ResolvedMapping};
use offtake_postgres::{Connection, SourcePool, SqlState, catalog, chain};
use offtake_sequencer::{Numbering, Sequencer};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{asked, find, item};
use crate::command_line::OfExport;
use crate::commands::printing::{say, say_json};
use crate::commands::registry_names::unreadable_jobs;
use crate::commands::stop_on_signals;
use crate::commands::store_trouble;
use crate::context::Context;
use crate::daemon::export_settings;
use crate::outcome::{Exit, Failure};

/// Of the snapshot, the log and the heartbeat; the sequencer and the fuses have one each.
const CONNECTIONS: usize = 6;

/// A read waits half a second for a lock, so that the application does not wait behind it. The
/// command tries again so often, with this pause, before it leaves it to the operator.
const LOCKS_MAX: usize = 60;
const LOCK_PAUSE: Duration = Duration::from_secs(1);

/// `offtake export resume`.
pub(super) async fn resume(context: &Context, of: &OfExport) -> Result<Exit, Failure> {
    let (source, found) = find(context, &of.id).await?;
    let id = PublicId::parse(Kind::Export, &found.public_id);
    let Some(id) = id else { return Err(super::not_an_id(&of.id)) };
    if found.working {
        return Err(Failure::new(Exit::Failed, format!("a process works on the export {id}"))
            .remedy("wait until it is done; one that has died is taken over after a minute"));
    }
    if found.state == State::Completed && undelivered(&found, &id).await? {
        let (store, key) = (folder_of(&found), prefix(&id)?);
        deliver(&store, &key, found.attempt, &manifest_file(&found))
            .await
            .map_err(|error| unnamed(&id, &error))?;
        completed(&found, of.json);
        return Ok(Exit::Done);
    }
    if matches!(found.state, State::Completed | State::Expired) {
        let message = format!("the export {id} is {} already", found.state.as_str());
        return Err(Failure::new(Exit::Failed, message));
    }
    if found.files_are_deleted() {
        return Err(Failure::new(Exit::Failed, format!("the files of {id} are being deleted"))
            .remedy("begin a new export"));
    }
    // Before it goes on: what is missing here is no reason to keep it from others.
    let set = match found.store {
        Some(_) => None,
        None => Some(mappings_of_now(context, &source, &found).await?),
    };
    let resumed = job::resume(&source, Kind::Export, &id).await;
    let resumed = resumed.map_err(unreadable_jobs)?;
    if !resumed && !found.state.goes_on() {
        return Err(Failure::new(Exit::Failed, format!("the tenant of {id} has another export"))
            .remedy("`offtake export list` shows it; cancel it, or wait for its end"));
    }
    match set {
        None => Ok(asked::resumed(&id, of)),
        Some(set) => work(context, source, set, &id, of.json).await,
    }
}

/// The mappings of now, which have those of the export.
async fn mappings_of_now(
    context: &Context,
    source: &Connection,
    job: &Job,
) -> Result<MappingSet, Failure> {
    let set = catalog::resolve(source, context.mappings()?).await?;
    mappings(&set, job, &options_of(job)?)?;
    Ok(set)
}

fn options_of(job: &Job) -> Result<Options, Failure> {
    serde_json::from_value(job.options.clone()).map_err(|error| {
        Failure::new(Exit::Failed, format!("{} cannot be read: {error}", job.public_id))
    })
}

/// Whether a command has completed this export, and died before its files had their names.
async fn undelivered(job: &Job, id: &PublicId) -> Result<bool, Failure> {
    if job.folder.is_none() {
        return Ok(false);
    }
    let left = folder_of(job)
        .list(&prefix(id)?)
        .await
        .map_err(|error| store_trouble::failure("cannot look at the folder", &error))?;
    Ok(!left.is_empty())
}

/// The name that the manifest of a command's export has in the end.
fn manifest_file(job: &Job) -> String {
    options_of(job).map_or_else(|_| "manifest.json".to_owned(), |options| options.manifest_file())
}

fn prefix(id: &PublicId) -> Result<Key, Failure> {
    Key::new(id.as_str()).ok_or_else(|| super::not_an_id(id.as_str()))
}

/// The folder that a command writes an export to.
fn folder_of(job: &Job) -> Store {
    Store::disk("folder", Path::new(job.folder.as_deref().unwrap_or_default())).fenced()
}

/// Works on an export until it ends.
pub(super) async fn work(
    context: &Context,
    source: Connection,
    set: MappingSet,
    id: &PublicId,
    json: bool,
) -> Result<Exit, Failure> {
    let stopping = stop_on_signals();
    let configuration = &context.configuration;
    let pool = SourcePool::new(
        configuration.source.url.clone(),
        configuration.sync.connect_timeout,
        CONNECTIONS,
    );
    let mut waited = 0;
    loop {
        let ended = attempt(context, (&source, &pool), &set, (id, json), &stopping).await?;
        match ended {
            Ended::Later(error) if locked(&error) && waited < LOCKS_MAX => {
                waited += 1;
                if !json {
                    say("the application holds a lock on a table; the export goes on in a moment");
                }
                tokio::select! {
                    () = tokio::time::sleep(LOCK_PAUSE) => {}
                    () = stopping.cancelled() => {
                        return conclude(&source, id, Ended::Stopped, json).await;
                    }
                }
            }
            ended => return conclude(&source, id, ended, json).await,
        }
    }
}

/// Whether a table was locked for longer than a read waits.
fn locked(error: &Error) -> bool {
    match error {
        Error::Source(error) => error.sqlstate() == Some(&SqlState::LOCK_NOT_AVAILABLE),
        error => matches!(error, Error::Locked(_)),
    }
}

/// Claims the export, and works on it until it ends or something is in the way.
async fn attempt(
    context: &Context,
    (source, pool): (&Connection, &SourcePool),
    set: &MappingSet,
    (id, json): (&PublicId, bool),
    stopping: &CancellationToken,
) -> Result<Ended, Failure> {
    let configuration = &context.configuration;
    let failed = unreadable_jobs;
    let process = format!("command {}", std::process::id());
    let named = Which::Named(id.as_str());
    let held = claim(pool, Kind::Export, named, LEASE, &process).await.map_err(failed)?;
    let job = job::read(source, Kind::Export, id).await.map_err(failed)?;
    let Some(job) = job else {
        return Err(Failure::new(Exit::Failed, format!("the export {id} was deleted")));
    };
    let Some(held) = held else {
        if job.state == State::Cancelled {
            return Ok(Ended::Cancelled);
        }
        return Err(Failure::new(
            Exit::Failed,
            format!("another process works on the export {id}"),
        )
        .remedy("wait until it is done; one that has died is taken over after a minute"));
    };
    let options = options_of(&job)?;
    let mappings = mappings(set, &job, &options)?;
    let store = folder_of(&job);
    let numbers = Arc::new(Notify::new());
    let _sequencer = number_when(&numbers, context, pool, set.clone());
    let tell = |told: Told<'_>| told_to(json, told, &numbers);
    // What a command has written is the operator's.
    let settings = Settings { keep: None, ..export_settings(configuration) };
    let work = Work {
        pool,
        store: &store,
        job: &job,
        options: &options,
        lease: held.lease,
        mappings: &mappings,
        settings: &settings,
        tell: &tell,
    };
    let stopped = async {
        stopping.cancelled().await;
        PROCESS_STOPPED
    };
    Ok(work.run(&held, stopped).await)
}

/// The mappings of an export, in its order.
fn mappings(
    set: &MappingSet,
    job: &Job,
    options: &Options,
) -> Result<Vec<Arc<ResolvedMapping>>, Failure> {
    let of = |name: &str| {
        set.get(name).cloned().ok_or_else(|| {
            let message = format!("the mapping {name} of the export is not there any more");
            let remedy = match job.state.goes_on() {
                true => format!(
                    "put it back, or run `offtake export cancel {}` and begin a new export",
                    job.public_id
                ),
                false => "put it back, or begin a new export".to_owned(),
            };
            Failure::invalid(message).remedy(remedy)
        })
    };
    options.mappings.iter().map(|asked| of(&asked.name)).collect()
}

/// Settling waits for the numbers of changes. Where no daemon gives them, this process does; where
/// one does, the two take turns.
fn number_when(
    numbers: &Arc<Notify>,
    context: &Context,
    pool: &SourcePool,
    set: MappingSet,
) -> tokio_util::sync::DropGuard {
    let end = CancellationToken::new();
    let (numbers, pool, shutdown) = (numbers.clone(), pool.clone(), end.clone());
    let configuration = &context.configuration;
    let settings = offtake_sequencer::Settings {
        interval: configuration.sequencer.interval,
        batch_rows: configuration.sequencer.batch_rows,
        retention: configuration.retention.changes,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = numbers.notified() => {}
            () = shutdown.cancelled() => return,
        }
        let fuses = Fuses::unread();
        let reading = Fuses::new(pool.clone(), fuses.clone());
        let (_mappings, set) = watch::channel(Arc::new(set));
        let numbering = Arc::new(Numbering::default());
        let wakes = (Arc::new(Notify::new()), watch::Sender::new(0));
        let sequencer = Sequencer::new(pool, set, numbering, settings, wakes, fuses.subscribe());
        let _ = tokio::join!(reading.run(shutdown.clone()), sequencer.run(shutdown));
    });
    end.drop_guard()
}

fn told_to(json: bool, told: Told<'_>, numbers: &Notify) {
    match told {
        Told::Settling { round, parts } => {
            numbers.notify_one();
            match json {
                true => say_json(json!({ "event": "settling", "round": round, "parts": parts })),
                false => {
                    say(format!("settling: {parts} parts changed meanwhile and are read again"))
                }
            }
        }
        Told::Part { mapping, rows, bytes, far } if json => say_json(json!({
            "event": "part", "mapping": mapping, "rows": rows, "bytes": bytes,
            "rows_done": far.rows_done, "rows_total": far.rows_total, "percent": far.percent,
        })),
        Told::Part { mapping, far, .. } => {
            say(format!("{:>3} %  {mapping}: {} rows", far.percent, far.rows_done));
        }
        Told::Started { .. } | Told::Paused { .. } | Told::Snapshot { .. } | Told::Finishing => {}
    }
}

async fn conclude(
    source: &Connection,
    id: &PublicId,
    ended: Ended,
    json: bool,
) -> Result<Exit, Failure> {
    let resume = format!("offtake export resume {id}");
    match ended {
        Ended::Completed { .. } => {
            let job = job::read(source, Kind::Export, id).await;
            if let Some(job) = job.map_err(unreadable_jobs)? {
                completed(&job, json);
            }
            Ok(Exit::Done)
        }
        Ended::Untidy { error, .. } => Err(unnamed(id, &error)),
        Ended::Cancelled => {
            Err(Failure::new(Exit::Failed, format!("the export {id} was cancelled"))
                .remedy(format!("run `{resume}` to go on")))
        }
        Ended::Stopped => {
            match json {
                true => {
                    say_json(json!({ "event": "interrupted", "id": id.as_str(), "resume": resume }))
                }
                false => say(format!("interrupted; to go on: {resume}")),
            }
            Ok(Exit::Interrupted)
        }
        Ended::Lost => {
            Err(Failure::new(Exit::Failed, format!("another process works on the export {id} now"))
                .remedy("look at it with `offtake export status`"))
        }
        Ended::Failed(error) => {
            Err(Failure::new(Exit::Failed, format!("the export {id} failed")).because(why(&error)))
        }
        Ended::Later(error) => {
            let exit = match &error {
                Error::Source(error) if error.fault() == offtake_postgres::Fault::Unreachable => {
                    Exit::Unreachable
                }
                _ => Exit::Failed,
            };
            Err(Failure::new(exit, format!("the export {id} was interrupted"))
                .because(why(&error))
                .remedy(format!("run `{resume}` to go on when that is mended")))
        }
    }
}

/// An export is complete, and its files do not have their names.
fn unnamed(id: &PublicId, error: &Error) -> Failure {
    Failure::new(Exit::Failed, format!("the files of the export {id} are not in place yet"))
        .because(why(error))
        .remedy(format!("mend that, and run `offtake export resume {id}`"))
}

fn why(error: &Error) -> String {
    match error {
        Error::Source(cause) => chain(cause),
        error => error.to_string(),
    }
}

fn completed(job: &Job, json: bool) {
    if json {
        return say_json(item::of(job));
    }
    say(item::text(job));
}
