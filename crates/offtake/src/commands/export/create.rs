//! `offtake export create`: what is looked at before an export is recorded.

use std::path::{Path, PathBuf};

use offtake_jobs::exports::{Compression, Format, Options, ending};
use offtake_jobs::job::{self, Created, NewJob};
use offtake_jobs::stores::Key;
use offtake_jobs::{Kind, PublicId};
use offtake_mapping::{MappingSet, foreign};
use offtake_postgres::{Connection, catalog};

use super::{asked, local};
use crate::arguments::shown;
use crate::command_line::{ExportCreate, ExportFormat};
use crate::commands::registry_names::{unknown, unreadable_jobs};
use crate::context::Context;
use crate::export_wish::{Fit, Unfit, Wish, unfit_callback};
use crate::outcome::{Exit, Failure};

/// Where the files go.
enum Goal {
    /// This command writes them there.
    Folder(PathBuf),
    /// This command writes the only one there, by this name.
    File(PathBuf, String),
    /// A daemon writes them to the store of this name.
    Store(String),
}

pub(super) async fn execute(context: &Context, arguments: &ExportCreate) -> Result<Exit, Failure> {
    if arguments.state && arguments.format != ExportFormat::Sql {
        return Err(Failure::new(
            Exit::Usage,
            "only an SQL file can have the state of a destination",
        )
        .remedy("write --format sql, or leave --state out"));
    }
    if let Some(url) = &arguments.callback
        && let Some(why) = unfit_callback(&context.configuration.exports, url)
    {
        return Err(Failure::new(Exit::Usage, "the callback cannot be told").because(why).remedy(
            "write --callback https://example.com/hook, and set `exports.callback_secret`",
        ));
    }
    if arguments.inserts && arguments.format != ExportFormat::Sql {
        return Err(Failure::new(Exit::Usage, "only an SQL file has INSERT statements")
            .remedy("write --format sql, or leave --inserts out"));
    }
    let goal = goal(context, arguments)?;
    let mut source = context.connect_source("export").await?;
    let set = catalog::resolve(&source, context.mappings()?).await?;
    let exports = &context.configuration.exports;
    let wish = Wish {
        tenant: &arguments.tenant,
        format: arguments.format.into(),
        mappings: &arguments.mapping,
        compression: compression(context, arguments),
        state: arguments.state,
        inserts: arguments.inserts,
        schema: arguments.schema,
        chunk_rows: exports.chunk_rows,
        require_consistent: arguments.require_consistent,
        callback: arguments.callback.as_deref(),
    };
    let fit = wish.fit(&source, &set).await;
    let Fit { tenant_at_source, mut options } =
        fit.map_err(|why| unfit(&set, &arguments.tenant, why))?;
    if let Goal::File(_, name) = &goal {
        expect_one_file(&options, name)?;
        options.file = Some(name.clone());
    }
    // What a command writes itself waits for no daemon.
    let queue = matches!(goal, Goal::Store(_)).then_some(exports.queue);
    let to = (&goal, queue);
    let id = record(&mut source, arguments, &tenant_at_source, to, &options).await?;
    match goal {
        Goal::Folder(_) | Goal::File(..) => {
            local::work(context, source, set, &id, arguments.json).await
        }
        Goal::Store(_) => asked::wait(&source, &id, arguments).await,
    }
}

fn goal(context: &Context, arguments: &ExportCreate) -> Result<Goal, Failure> {
    if let Some(to) = &arguments.to {
        let folder = std::path::absolute(to).map_err(|error| unusable(to, &error))?;
        if let Some(file) = file_in(context, &folder, arguments) {
            return file;
        }
        if folder.join("manifest.json").exists() {
            let message = format!("{} holds an export already", folder.display());
            let failure = Failure::new(Exit::Usage, message);
            return Err(failure.remedy("name another folder with --to"));
        }
        return Ok(Goal::Folder(folder));
    }
    let stores = &context.configuration.stores;
    match arguments.store.as_ref().or(context.configuration.exports.store.as_ref()) {
        Some(name) if stores.iter().any(|store| store.name == *name) => {
            Ok(Goal::Store(name.clone()))
        }
        Some(name) => {
            let message = format!("there is no store named {}", shown(name));
            Err(unknown(message, name, stores.iter().map(|store| store.name.as_str())))
        }
        None => Err(Failure::new(Exit::Usage, "it is not said where the files go")
            .remedy("name a folder with --to, or set `exports.store` in offtake.yaml")),
    }
}

fn compression(context: &Context, arguments: &ExportCreate) -> Compression {
    let said = arguments.compression.map(Compression::from);
    said.unwrap_or(context.configuration.exports.compression)
}

/// Where the path is that of a file: the folder and the name.
fn file_in(
    context: &Context,
    path: &Path,
    arguments: &ExportCreate,
) -> Option<Result<Goal, Failure>> {
    let format: Format = arguments.format.into();
    let ending = ending(format.as_str(), compression(context, arguments));
    let name = path.file_name()?.to_str().filter(|name| name.ends_with(&ending))?;
    if path.is_dir() {
        return None;
    }
    let folder = path.parent()?;
    // Its manifest is there too, and both are keys in a folder.
    let refused = if Key::new(format!("{name}.manifest.json")).is_none() || name.contains('/') {
        Some((
            format!("{} cannot be a file's name", shown(name)),
            "write letters, digits, `_`, `-` and `.`",
        ))
    } else if path.exists() {
        Some((format!("{} is there already", path.display()), "name another file with --to"))
    } else {
        None
    };
    Some(match refused {
        Some((message, remedy)) => Err(Failure::new(Exit::Usage, message).remedy(remedy)),
        None => Ok(Goal::File(folder.to_owned(), name.to_owned())),
    })
}

fn expect_one_file(options: &Options, name: &str) -> Result<(), Failure> {
    let files = if options.format == Format::Sql { 1 } else { options.mappings.len() };
    let schema = options.schema && options.format != Format::Sql;
    if files == 1 && !schema {
        return Ok(());
    }
    let message = format!("{name} is one file, and the export has several");
    Err(Failure::new(Exit::Usage, message).remedy(
        "name one mapping with --mapping and leave --schema out, or name a folder with --to",
    ))
}

fn full(queued: i64) -> Failure {
    Failure::new(Exit::Failed, format!("{queued} exports wait for a daemon already"))
        .because("`exports.queue` allows no more")
        .remedy("try again when some of them are done; `offtake export list` shows them")
}

fn unfit(set: &MappingSet, tenant: &str, unfit: Unfit) -> Failure {
    match unfit {
        Unfit::Mapping(name) => {
            let known = set.mappings().iter().map(|mapping| mapping.name());
            unknown(format!("there is no mapping named {name}"), &name, known)
        }
        Unfit::Ambiguous(spellings) => {
            let all: Vec<_> = spellings.iter().map(|id| foreign(id)).collect();
            let message = format!("{} may be the tenant {}", foreign(tenant), all.join(" or "));
            Failure::new(Exit::Usage, message)
                .because("the mappings name their tenants by different types")
                .remedy("write the id as the source prints it, or name mappings of one type")
        }
        Unfit::NoRows => {
            let message = format!("no mapping has a row of the tenant {}", foreign(tenant));
            Failure::new(Exit::Failed, message)
                .remedy("write the tenant's id as the mappings' tenant column prints it")
        }
        Unfit::Source { what, error } => Failure::of_source(&what, &error),
    }
}

async fn record(
    source: &mut Connection,
    arguments: &ExportCreate,
    tenant_at_source: &str,
    (goal, queue): (&Goal, Option<u32>),
    options: &Options,
) -> Result<PublicId, Failure> {
    let (store, folder) = match goal {
        Goal::Store(name) => (Some(name.as_str()), None),
        Goal::Folder(folder) | Goal::File(folder, _) => {
            let text = folder.to_str().ok_or_else(|| {
                Failure::new(Exit::Usage, format!("{} is not UTF-8", folder.display()))
                    .remedy("name another folder with --to")
            })?;
            (None, Some(text))
        }
    };
    let options = serde_json::to_value(options).unwrap_or_default();
    let new = NewJob {
        kind: Kind::Export,
        tenant_id: &arguments.tenant,
        tenant_at_source,
        store,
        folder,
        options: &options,
        repeatable: None,
        queue,
    };
    match job::create(source, &new).await.map_err(unreadable_jobs)? {
        Created::Job(id) => Ok(id),
        // Commands give no key.
        Created::Repeated(_) | Created::KeyUsed => {
            Err(Failure::new(Exit::Failed, "the same export was asked for already"))
        }
        Created::Full(queued) => Err(full(queued)),
        Created::Running(id) => {
            let tenant = foreign(&arguments.tenant);
            let message = format!("the tenant {tenant} has an export that goes on: {id}");
            Err(Failure::new(Exit::Failed, message).remedy(format!(
                "run `offtake export resume {id}` if its command was interrupted, or \
                 `offtake export cancel {id}`"
            )))
        }
    }
}

fn unusable(folder: &Path, error: &std::io::Error) -> Failure {
    let message = format!("{} cannot be used", folder.display());
    Failure::new(Exit::Usage, message).because(error.to_string()).remedy("name another folder")
}
