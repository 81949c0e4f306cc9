//! `offtake export download`.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use offtake_jobs::exports::{Compression, Fetched, Place, fetch, fetch_joined, read_manifest};
use offtake_jobs::stores::{Existing, Key};
use offtake_jobs::{State, Store};
use offtake_mapping::foreign;
use serde_json::json;

use super::{files_of, find};
use crate::commands::printing::{say, say_json};
use crate::commands::registry_names::unknown;
use crate::commands::store_trouble;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(
    context: &Context,
    (typed, name): (&str, Option<&str>),
    to: &Path,
    json: bool,
) -> Result<Exit, Failure> {
    let (_, job) = find(context, typed).await?;
    let (store, id) = files_of(context, &job)?;
    if job.folder.is_some() {
        let folder = job.folder.as_deref().unwrap_or_default();
        let message = format!("the files of {id} are in the folder {}", foreign(folder));
        return Err(Failure::new(Exit::Failed, message).remedy("copy them from there"));
    }
    if job.state != State::Completed {
        let message = format!("the export {id} is {}", job.state.as_str());
        let failure = Failure::new(Exit::Failed, message).because(job.reason.unwrap_or_default());
        return Err(
            failure.remedy("files can be fetched once it is completed and until it expires")
        );
    }
    if job.files_are_deleted() {
        return Err(Failure::new(Exit::Failed, format!("the files of {id} are being deleted"))
            .remedy("begin a new export"));
    }
    let place = Place::Store { id: &id, attempt: job.attempt };
    let manifest = read_manifest(&store, place).await;
    let mut manifest = manifest
        .map_err(|error| store_trouble::failure(&format!("cannot read {id}"), &error))?
        .map_err(|why| {
            Failure::new(Exit::Failed, format!("the manifest of {id} cannot be used")).because(why)
        })?;
    if let Some(name) = name
        && manifest.file(name).is_none()
    {
        let names = manifest.files.iter().map(|file| file.name.as_str());
        return Err(unknown(format!("the export {id} has no file {name}"), name, names));
    }
    // The files are the tenant's rows, and the manifest has keys of them.
    let folder = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to);
    folder.map_err(|error| {
        Failure::new(Exit::Usage, format!("{} cannot be used", to.display()))
            .because(error.to_string())
            .remedy("name another folder with --to")
    })?;
    let joins = manifest.compression == Compression::Zstd;
    for file in manifest.files.iter_mut().filter(|f| name.is_none_or(|name| name == f.name)) {
        let fetched = match joins {
            true => fetch_joined(&store, file, to).await.map(|joined| {
                *file = joined;
                Fetched::Bytes(file.size)
            }),
            false => fetch(&store, file, to).await,
        };
        let fetched = fetched.map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot fetch {}", foreign(&file.name)))
                .because(error.to_string())
                .remedy("run the same command again; it goes on where it stopped")
        })?;
        let bytes = match fetched {
            Fetched::Kept => 0,
            Fetched::Bytes(bytes) => bytes,
        };
        match json {
            true => say_json(json!({ "name": file.name, "size": file.size, "fetched": bytes })),
            false if fetched == Fetched::Kept => say(format!("kept     {}", foreign(&file.name))),
            false => say(format!("fetched  {}  {bytes} bytes", foreign(&file.name))),
        }
    }
    if name.is_none() {
        let text = manifest.to_text().into();
        let written = match Key::new("manifest.json") {
            Some(key) => Store::disk("folder", to).put(&key, text, Existing::Replace).await,
            None => Ok(()),
        };
        written.map_err(|error| store_trouble::failure("cannot write the manifest", &error))?;
    }
    Ok(Exit::Done)
}
