//! `offtake export create`: what is looked at before an export is recorded.

use std::path::{Path, PathBuf};

use offtake_jobs::exports::{Asked, Options};
use offtake_jobs::job::{self, Created, NewJob};
use offtake_jobs::{Kind, PublicId};
use offtake_mapping::compose::{KeyRange, list_chunk};
use offtake_mapping::{MappingSet, foreign};
use offtake_postgres::{Connection, catalog};

use super::{asked, local};
use crate::arguments::shown;
use crate::command_line::{ExportCreate, ExportFormat};
use crate::commands::registry_names::{unknown, unreadable_jobs};
use crate::context::{Context, tenant_spelling};
use crate::outcome::{Exit, Failure};

/// Where the files go.
enum Goal {
    /// This command writes them there.
    Folder(PathBuf),
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
    let goal = goal(context, arguments)?;
    let source = context.connect_source("export").await?;
    let set = catalog::resolve(&source, context.mappings()?).await?;
    let names = chosen(&set, &arguments.mapping)?;
    let tenant_at_source = spelt(&source, &set, &arguments.tenant).await?;
    expect_rows(&source, &set, &names, &arguments.tenant, &tenant_at_source).await?;
    let exports = &context.configuration.exports;
    let options = options(arguments, &set, &names, exports.chunk_rows);
    if let Goal::Store(_) = goal {
        expect_place(&source, exports.queue).await?;
    }
    let id = record(&source, arguments, &tenant_at_source, &goal, &options).await?;
    match goal {
        Goal::Folder(_) => local::work(context, source, set, &id, arguments.json).await,
        Goal::Store(_) => asked::wait(&source, &id, arguments).await,
    }
}

fn goal(context: &Context, arguments: &ExportCreate) -> Result<Goal, Failure> {
    if let Some(to) = &arguments.to {
        let folder = std::path::absolute(to).map_err(|error| unusable(to, &error))?;
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

/// Refuses another export while `exports.queue` of them wait for daemons.
async fn expect_place(source: &Connection, queue: u32) -> Result<(), Failure> {
    let queued = job::queued(source, Kind::Export).await.map_err(unreadable_jobs)?;
    if queued < i64::from(queue) {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("{queued} exports wait for a daemon already"))
        .because("`exports.queue` allows no more")
        .remedy("try again when some of them are done; `offtake export list` shows them"))
}

/// The mappings that are exported, in the order of the files' names.
fn chosen(set: &MappingSet, named: &[String]) -> Result<Vec<String>, Failure> {
    for name in named {
        if set.get(name).is_none() {
            let known = set.mappings().iter().map(|mapping| mapping.name());
            return Err(unknown(format!("there is no mapping named {name}"), name, known));
        }
    }
    let all = set.mappings().iter().map(|mapping| mapping.name().to_owned());
    Ok(all.filter(|name| named.is_empty() || named.contains(name)).collect())
}

/// The tenant as the source prints it.
async fn spelt(source: &Connection, set: &MappingSet, tenant: &str) -> Result<String, Failure> {
    let spellings = tenant_spelling::spellings_of(source, set, tenant)
        .await
        .map_err(|error| Failure::of_source("cannot look at the tenant's id", &error.into()))?;
    match spellings.len() {
        0 => Ok(tenant.to_owned()),
        1 => Ok(spellings.into_iter().next().unwrap_or_default()),
        _ => {
            let all: Vec<_> = spellings.iter().map(|id| foreign(id)).collect();
            let message = format!("{} may be the tenant {}", foreign(tenant), all.join(" or "));
            Err(Failure::new(Exit::Usage, message)
                .because("the mappings name their tenants by different types")
                .remedy("write the id as the source prints it, or name mappings of one type"))
        }
    }
}

/// A tenant without one row is more likely a misspelt one.
async fn expect_rows(
    source: &Connection,
    set: &MappingSet,
    names: &[String],
    typed: &str,
    tenant: &str,
) -> Result<(), Failure> {
    for mapping in names.iter().filter_map(|name| set.get(name)) {
        let one = list_chunk(mapping, tenant, KeyRange::ALL, 1);
        let rows = source.query(&one, &[]).await.map_err(|error| {
            let what = format!("cannot read the rows of mapping {}", mapping.name());
            Failure::of_source(&what, &error.into())
        })?;
        if !rows.is_empty() {
            return Ok(());
        }
    }
    let message = format!("no mapping has a row of the tenant {}", foreign(typed));
    Err(Failure::new(Exit::Failed, message)
        .remedy("write the tenant's id as the mappings' tenant column prints it"))
}

fn options(
    arguments: &ExportCreate,
    set: &MappingSet,
    names: &[String],
    chunk_rows: u32,
) -> Options {
    let asked = names.iter().filter_map(|name| set.get(name)).map(|mapping| Asked {
        name: mapping.name().to_owned(),
        version: mapping.version.to_string(),
    });
    Options {
        format: arguments.format.into(),
        compression: arguments.compression.into(),
        mappings: asked.collect(),
        chunk_rows,
        state: arguments.state,
        require_consistent: arguments.require_consistent,
    }
}

async fn record(
    source: &Connection,
    arguments: &ExportCreate,
    tenant_at_source: &str,
    goal: &Goal,
    options: &Options,
) -> Result<PublicId, Failure> {
    let (store, folder) = match goal {
        Goal::Store(name) => (Some(name.as_str()), None),
        Goal::Folder(folder) => {
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
    };
    match job::create(source, &new).await.map_err(unreadable_jobs)? {
        Created::Job(id) => Ok(id),
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
