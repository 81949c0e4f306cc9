//! Source databases, copied from templates.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use offtake::demo::SAMPLE_APPLICATION;
use offtake_mapping::{Mapping, MappingSet};

use crate::Database;
use crate::clusters::Clusters;
use crate::database::{connect, on_database, run};

/// Source databases for tests that need no daemon. All are on the run's shared cluster.
pub struct Source;

impl Source {
    /// A database with the sample application's empty tables and without Offtake.
    pub async fn application() -> Database {
        let server = &Clusters::shared().await.source;
        Database::create(server, "source", Some(&application_template(server).await)).await
    }

    /// The sample application after `offtake init` with the default mappings.
    pub async fn prepared() -> Database {
        let server = &Clusters::shared().await.source;
        Database::create(
            server,
            "source",
            Some(&prepared_template(server, &default_mappings_folder()).await),
        )
        .await
    }

    /// An empty database on the destinations' cluster.
    pub async fn destination() -> Database {
        Database::create(&Clusters::shared().await.destinations, "destination", None).await
    }

    /// The default mappings, parsed.
    pub fn default_mappings() -> Vec<Mapping> {
        mappings_in(&default_mappings_folder())
    }

    /// The default mappings, resolved against that source.
    pub async fn default_mapping_set(source: &Database) -> MappingSet {
        Self::mapping_set(source, Self::default_mappings()).await
    }

    /// These mappings, resolved against the source's catalog.
    pub async fn mapping_set(source: &Database, mappings: Vec<Mapping>) -> MappingSet {
        resolve(&source.connect().await, mappings).await
    }
}

/// The repository's `mappings/`.
pub(crate) fn default_mappings_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the repository")
        .join("mappings")
}

/// The folder's mapping files, parsed, in the order of their names.
pub(crate) fn mappings_in(folder: &Path) -> Vec<Mapping> {
    let parse = |(path, text): (PathBuf, String)| {
        offtake_mapping::parse(&path, &text).unwrap_or_else(|error| panic!("{error}"))
    };
    mapping_texts(folder).into_iter().map(parse).collect()
}

fn mapping_texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let yaml = paths.filter(|path| path.extension().is_some_and(|e| e == "yaml" || e == "yml"));
    let mut texts: Vec<_> = yaml
        .map(|path| (path.clone(), std::fs::read_to_string(path).expect("a readable file")))
        .collect();
    texts.sort();
    texts
}

/// The template with the sample application. Created now if it does not exist yet.
pub(crate) async fn application_template(server: &str) -> String {
    let name = format!("template_application_{:016x}", hash(|hash| SAMPLE_APPLICATION.hash(hash)));
    make_once(server, &name, async || {
        let database = format!("{name}_unfinished");
        run(&connect(server).await, &format!("create database {database}")).await;
        run(&connect(&on_database(server, &database)).await, SAMPLE_APPLICATION).await;
        database
    })
    .await;
    name
}

/// The template after `offtake init` with the mappings of that folder.
pub(crate) async fn prepared_template(server: &str, mappings: &Path) -> String {
    let application = application_template(server).await;
    // The executable's time is part of the name, because another build of the tests may install
    // other triggers.
    let built = std::env::current_exe()
        .and_then(std::fs::metadata)
        .and_then(|m| m.modified())
        .expect("the executable has a time");
    let texts: Vec<_> = mapping_texts(mappings)
        .into_iter()
        .map(|(path, text)| (path.file_name().map(ToOwned::to_owned), text))
        .collect();
    let name =
        format!("template_prepared_{:016x}", hash(|hash| (&application, built, texts).hash(hash)));
    make_once(server, &name, async || {
        let database = format!("{name}_unfinished");
        run(&connect(server).await, &format!("create database {database} template {application}"))
            .await;
        prepare(&on_database(server, &database), mappings_in(mappings)).await;
        database
    })
    .await;
    name
}

/// Does what `offtake init` does.
async fn prepare(url: &str, mappings: Vec<Mapping>) {
    let mut client = connect(url).await;
    offtake_postgres::migrate(&mut client).await.expect("the migrations apply");
    let set = resolve(&client, mappings).await;
    offtake_capture::install(&mut client, &set, &offtake_capture::Options::default())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn resolve(client: &tokio_postgres::Client, mappings: Vec<Mapping>) -> MappingSet {
    let resolved = offtake_postgres::catalog::resolve(client, mappings).await;
    resolved.unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// Creates a template if it does not exist; one process at a time. `make` returns the name of the
/// unfinished database.
async fn make_once(server: &str, name: &str, make: impl AsyncFnOnce() -> String) {
    let admin = connect(server).await;
    let exists = format!("select from pg_database where datname = '{name}'");
    if !admin.query(&exists, &[]).await.expect("the catalog answers").is_empty() {
        return;
    }
    // The lock is released when the session ends. Creating one template may need another, so each
    // has its own lock.
    run(&admin, &format!("select pg_advisory_lock(hashtext('{name}'))")).await;
    if admin.query(&exists, &[]).await.expect("the catalog answers").is_empty() {
        run(&admin, &format!("drop database if exists {name}_unfinished with (force)")).await;
        let unfinished = make().await;
        // A session that has just ended may still be connected to the database.
        run(&admin, &format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{unfinished}'")).await;
        crate::until("the template is renamed", crate::PATIENCE, async || {
            admin
                .batch_execute(&format!("alter database {unfinished} rename to {name}"))
                .await
                .map_err(|e| crate::database::explain(&e))
        })
        .await;
    }
}

fn hash(feed: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    feed(&mut hasher);
    hasher.finish()
}
