//! `offtake export download`.

use std::path::Path;

use offtake_jobs::State;
use offtake_jobs::exports::{Fetched, Place, fetch, read_manifest};
use offtake_mapping::foreign;
use serde_json::json;

use super::{files_of, find, local};
use crate::commands::printing::{say, say_json};
use crate::commands::registry_names::unknown;
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
    let manifest = read_manifest(&store, Place::Store(&id)).await;
    let manifest = manifest.map_err(|error| local::of_store(&error))?.map_err(|why| {
        Failure::new(Exit::Failed, format!("the manifest of {id} cannot be used")).because(why)
    })?;
    if let Some(name) = name
        && manifest.file(name).is_none()
    {
        let names = manifest.files.iter().map(|file| file.name.as_str());
        return Err(unknown(format!("the export {id} has no file {name}"), name, names));
    }
    std::fs::create_dir_all(to).map_err(|error| {
        Failure::new(Exit::Usage, format!("{} cannot be used", to.display()))
            .because(error.to_string())
            .remedy("name another folder with --to")
    })?;
    for file in manifest.files.iter().filter(|file| name.is_none_or(|name| name == file.name)) {
        let fetched = fetch(&store, file, to).await.map_err(|error| {
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
        let path = to.join("manifest.json");
        std::fs::write(&path, manifest.to_text()).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot write {}", path.display()))
                .because(error.to_string())
                .remedy("make room or mend the rights there, and run the same command again")
        })?;
    }
    Ok(Exit::Done)
}
