//! `offtake export`: a tenant's rows as files.
//!
//! `offtake_jobs::exports` does it. What is here: what the command line means, and what a person or a
//! program is told.

mod asked;
mod create;
mod download;
mod item;
mod local;

use std::path::{Path, PathBuf};

use offtake_jobs::exports::{self, Place};
use offtake_jobs::job::{self, Filter};
use offtake_jobs::stores::Trouble;
use offtake_jobs::{Job, Kind, PublicId, State, Store};
use offtake_mapping::foreign;
use offtake_postgres::Connection;
use serde_json::{Value, json};

use super::confirm::confirmed;
use super::printing::{say, say_json, table};
use super::registry_names::unreadable_jobs;
use super::store_trouble;
use super::tenant_names::Typed;
use crate::arguments::shown;
use crate::command_line::Export;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// `verify --in` needs no configuration, so the context is made where it is needed.
pub(super) async fn execute(
    context: impl FnOnce() -> Result<Context, Failure>,
    arguments: &Export,
) -> Result<Exit, Failure> {
    match arguments {
        Export::Create(arguments) => create::execute(&context()?, arguments).await,
        Export::Resume(of) => local::resume(&context()?, of).await,
        Export::List { tenant, state, limit, json } => {
            let filter = (tenant.as_deref(), state.as_deref(), *limit);
            list(&context()?, filter, *json).await
        }
        Export::Status(of) => {
            let (_, job) = find(&context()?, &of.id).await?;
            match of.json {
                true => say_json(item::of(&job)),
                false => say(item::text(&job)),
            }
            Ok(Exit::Done)
        }
        Export::Cancel(of) => cancel(&context()?, &of.id, of.json).await,
        Export::Verify { id: Some(id), json, .. } => {
            let context = context()?;
            let (_, job) = find(&context, id).await?;
            let (store, id) = files_of(&context, &job)?;
            let file = job.options["file"].as_str();
            let place = match file {
                Some(file) => Place::File(file),
                None if job.folder.is_some() => Place::Folder,
                None => Place::Store { id: &id, attempt: job.attempt },
            };
            verify(&store, place, *json).await
        }
        Export::Verify { id: None, folder, json } => {
            let folder = folder.as_deref().unwrap_or(Path::new("."));
            let file = folder.file_name().and_then(|name| name.to_str());
            match file.filter(|_| folder.is_file()) {
                Some(file) => {
                    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
                    let store = Store::disk("folder", above.unwrap_or(Path::new(".")));
                    verify(&store, Place::File(file), *json).await
                }
                None => verify(&Store::disk("folder", folder), Place::Folder, *json).await,
            }
        }
        Export::Download { id, file, to, json } => {
            download::execute(&context()?, (id, file.as_deref()), to, *json).await
        }
        Export::Delete { id, yes, json } => delete(&context()?, id, (*yes, *json)).await,
    }
}

/// The export of an id that somebody typed.
async fn find(context: &Context, typed: &str) -> Result<(Connection, Job), Failure> {
    let id = PublicId::parse(Kind::Export, typed).ok_or_else(|| not_an_id(typed))?;
    let source = context.connect_source("export").await?;
    match job::read(&source, Kind::Export, &id).await.map_err(unreadable_jobs)? {
        Some(job) => Ok((source, job)),
        None => Err(Failure::new(Exit::Failed, format!("there is no export {id}"))
            .remedy("`offtake export list` shows all of them")),
    }
}

fn not_an_id(typed: &str) -> Failure {
    let message = format!("`{}` is not the id of an export", shown(typed));
    Failure::new(Exit::Usage, message)
        .remedy("an id is like exp_20261128-031300_k7f3a2; `offtake export list` shows all of them")
}

/// Where an export's files are, and its id.
fn files_of(context: &Context, job: &Job) -> Result<(Store, PublicId), Failure> {
    let id = id_of(job)?;
    let Some(name) = &job.store else {
        let folder = job.folder.as_ref().map(PathBuf::from).unwrap_or_default();
        return Ok((Store::disk("folder", &folder), id));
    };
    let store = context.stores().into_iter().find(|store| store.name() == name);
    let store = store.ok_or_else(|| {
        let message =
            format!("{id} is in the store {}, which offtake.yaml does not have", shown(name));
        Failure::invalid(message).remedy("add it to `stores` again")
    })?;
    Ok((store, id))
}

fn id_of(job: &Job) -> Result<PublicId, Failure> {
    PublicId::parse(Kind::Export, &job.public_id).ok_or_else(|| not_an_id(&job.public_id))
}

async fn list(
    context: &Context,
    (tenant, state, limit): (Option<&str>, Option<&str>, u32),
    json: bool,
) -> Result<Exit, Failure> {
    let state = match state {
        None => None,
        Some(text) => {
            let known = State::ALL.into_iter().find(|state| state.as_str() == text);
            let states = State::ALL.map(State::as_str).join(", ");
            Some(known.ok_or_else(|| {
                let message = format!("`{}` is no state of an export", shown(text));
                Failure::new(Exit::Usage, message).remedy(format!("the states are {states}"))
            })?)
        }
    };
    let source = context.connect_source("export").await?;
    let spellings: Option<Vec<String>> = match tenant {
        Some(typed) => {
            let typed = Typed::read(context, &source, typed).await;
            Some(typed.spellings().iter().cloned().collect())
        }
        None => None,
    };
    let filter = Filter { tenant: spellings.as_deref(), state, after: None, limit: limit.into() };
    let jobs = job::list(&source, Kind::Export, filter).await;
    let jobs = jobs.map_err(unreadable_jobs)?;
    if json {
        say_json(json!({ "exports": jobs.iter().map(item::of).collect::<Vec<Value>>() }));
    } else if jobs.is_empty() {
        say("there are no exports");
    } else {
        let header = ["EXPORT", "TENANT", "FORMAT", "STATE", "ROWS", "DONE"].map(str::to_owned);
        let rows: Vec<[String; 6]> =
            std::iter::once(header).chain(jobs.iter().map(item::row)).collect();
        say(table(&rows));
    }
    Ok(Exit::Done)
}

async fn cancel(context: &Context, typed: &str, json: bool) -> Result<Exit, Failure> {
    let (mut source, found) = find(context, typed).await?;
    let id = id_of(&found)?;
    let keep = context.configuration.exports.keep.filter(|_| found.folder.is_none());
    let state = job::cancel(&mut source, Kind::Export, &id, keep).await;
    let Some(state) = state.map_err(unreadable_jobs)? else {
        let message = format!("the export {id} is {} already", found.state.as_str());
        return Err(Failure::new(Exit::Failed, message));
    };
    match json {
        true => say_json(json!({ "id": id.as_str(), "state": state.as_str() })),
        false if state == State::Cancelled => say(format!("cancelled {id}")),
        false => say(format!("{id} is asked to end; the process that works on it does so soon")),
    }
    Ok(Exit::Done)
}

async fn delete(
    context: &Context,
    typed: &str,
    (yes, json): (bool, bool),
) -> Result<Exit, Failure> {
    let (source, found) = find(context, typed).await?;
    let (store, id) = files_of(context, &found)?;
    if found.working {
        return Err(at_work(&id));
    }
    let consequence = format!("this deletes the export {id} of {}", foreign(&found.tenant_id));
    if !confirmed(yes, &consequence, &format!("{consequence}. Go on?")).await? {
        return Ok(Exit::Failed);
    }
    // Before its files: what a process would write now would stay for ever.
    if !job::retire(&source, Kind::Export, &id).await.map_err(unreadable_jobs)? {
        return Err(at_work(&id));
    }
    if let Some(below) = offtake_jobs::stores::Key::new(id.as_str()) {
        let what = format!("the files of {id} are not deleted");
        let deleted = store.delete_all(&below).await;
        deleted.map_err(|error| store_trouble::failure(&what, &error))?;
    }
    job::delete(&source, Kind::Export, &id).await.map_err(unreadable_jobs)?;
    match json {
        true => say_json(json!({ "id": id.as_str(), "deleted": true })),
        false => say(format!("deleted {id}")),
    }
    Ok(Exit::Done)
}

fn at_work(id: &PublicId) -> Failure {
    Failure::new(Exit::Failed, format!("a process works on the export {id}"))
        .remedy(format!("run `offtake export cancel {id}` first"))
}

async fn verify(store: &Store, place: Place<'_>, json: bool) -> Result<Exit, Failure> {
    let checked = exports::verify(store, place).await.map_err(|error| {
        if error.trouble != Trouble::Missing {
            return store_trouble::failure("the export cannot be read", &error);
        }
        let failure = Failure::new(Exit::Failed, "the export cannot be read");
        failure.because(error.to_string()).remedy(
            "look whether it is complete (`offtake export status`), and whether this user may \
             read its files",
        )
    })?;
    if json {
        say_json(json!({
            "equal": checked.wrong.is_empty(), "files": checked.files, "rows": checked.rows,
            "bytes": checked.bytes, "wrong": checked.wrong,
        }));
    } else {
        checked.wrong.iter().for_each(|wrong| say(format!("DIFFERENT  {wrong}")));
        if checked.wrong.is_empty() {
            let exports::Checked { files, rows, bytes, .. } = checked;
            say(format!("equal      {files} files, {rows} rows, {bytes} bytes"));
        }
    }
    Ok(if checked.wrong.is_empty() { Exit::Done } else { Exit::Different })
}
