//! The plan of a world, and how a world is made of it.

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use offtake_mapping::literal;
use offtake_private_server::{PrivateServer, ReservedPort};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Tenant, World};
use crate::clusters::Clusters;
use crate::d1::{self, D1};
use crate::daemon::{Environment, Expected};
use crate::proxy::Proxy;
use crate::{Database, PATIENCE, SqliteFile, source};

/// The plan of a world; `.await` creates it.
#[derive(Default)]
pub struct Plan {
    tenants: Vec<String>,
    private_destinations: BTreeSet<String>,
    private_source: bool,
    proxied: BTreeSet<String>,
    proxied_source: bool,
    bare: bool,
    encoding: Option<String>,
    in_files: bool,
    in_d1: bool,
    mappings: Option<Vec<(String, String)>>,
    changes: Vec<(String, Value)>,
}

impl Plan {
    pub(super) fn of(tenants: Vec<String>) -> Self {
        Self { tenants, ..Self::default() }
    }

    /// The daemons reach this tenant's destination through a proxy: [`Tenant::proxy`].
    pub fn proxied(mut self, name: &str) -> Self {
        self.proxied.insert(name.to_owned());
        self
    }

    /// The daemons reach the source through a proxy: [`World::source_proxy`].
    pub fn proxied_source(mut self) -> Self {
        self.proxied_source = true;
        self
    }

    /// This tenant's destination gets a server of its own, which the test may stop:
    /// [`Tenant::server`].
    pub fn private_destination(mut self, name: &str) -> Self {
        self.private_destinations.insert(name.to_owned());
        self
    }

    /// The destinations are SQLite files: [`Tenant::file`](super::Tenant::file).
    pub fn in_files(mut self) -> Self {
        self.in_files = true;
        self
    }

    /// The destinations are D1 databases: [`World::d1`]. [`Tenant::file`](super::Tenant::file) is what
    /// the engine keeps a database in.
    pub fn in_d1(mut self) -> Self {
        self.in_d1 = true;
        self
    }

    /// The source gets a server of its own, which the test may stop: [`World::source_server`].
    pub fn private_source(mut self) -> Self {
        self.private_source = true;
        self
    }

    /// The source is not prepared; the test runs `offtake init` itself.
    pub fn without_init(mut self) -> Self {
        self.bare = true;
        self
    }

    /// The destinations store text in this encoding.
    pub fn encoding(mut self, name: &str) -> Self {
        self.encoding = Some(name.to_owned());
        self
    }

    /// These mappings (name, text) instead of the default ones. Their tables must be the sample
    /// application's unless the plan is [`Self::without_init`].
    pub fn mappings(self, mappings: &[(&str, &str)]) -> Self {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        self.computed_mappings(mappings.iter().map(owned))
    }

    /// [`Self::mappings`] with names and texts that the test computes.
    pub fn computed_mappings(
        mut self,
        mappings: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        self.mappings = Some(mappings.into_iter().collect());
        self
    }

    /// So many changed rows, or rows of an initial copy, in one destination transaction.
    pub fn rows_at_once(self, rows: usize) -> Self {
        self.setting("/sync/batch_rows", rows).setting("/sync/chunk_rows", rows)
    }

    /// Sets one value of the configuration, by JSON pointer: `.setting("/poller/interval", "5ms")`.
    pub fn setting(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.changes.push((pointer.to_owned(), value.into()));
        self
    }

    async fn make(self) -> World {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mappings = folder.path().join("mappings");
        self.write_mappings(&mappings);
        let mut source_server = None;
        let server = match self.private_source {
            true => source_server.insert(private_server().await).url("postgres"),
            false => Clusters::shared().await.source.clone(),
        };
        let template = match self.bare {
            true => source::application_template(&server).await,
            false => source::prepared_template(&server, &mappings).await,
        };
        let source = Database::create(&server, "source", Some(&template)).await;
        let copies = folder.path().join("copies");
        std::fs::create_dir(&copies).expect("the temporary folder can be written");
        let d1 = match self.in_d1 {
            true => Some(D1::start(self.tenants.len(), &folder.path().join("d1")).await),
            false => None,
        };
        let mut tenants: Vec<Tenant> = Vec::new();
        for (number, name) in self.tenants.iter().enumerate() {
            let mut tenant = self.tenant(name, &source).await;
            let file = || SqliteFile::new(copies.join(name).with_extension("db"));
            tenant.file = match &d1 {
                Some(d1) => Some(d1.file(number)),
                None => self.in_files.then(file),
            };
            tenants.push(tenant);
        }
        let by_way = |proxy: &Option<Proxy>, url: String| {
            proxy.as_ref().map_or(url.clone(), |proxy| proxy.url(&url))
        };
        let destinations = tenants.iter().enumerate().map(|(number, t)| match (&d1, &t.file) {
            (Some(d1), _) => json!({ "tenant": t.id, "url": d1.url(number), "token": d1::TOKEN }),
            (None, Some(file)) => json!({ "tenant": t.id, "url": file.url() }),
            (None, None) => json!({ "tenant": t.id, "url": by_way(&t.proxy, t.destination.url()) }),
        });
        let source_proxy = self.proxied_source.then(|| Proxy::before(&source.url()));
        let mut configuration = json!({
            "source": { "url": by_way(&source_proxy, source.url()) },
            "mappings": "mappings",
            "destinations": { "static": destinations.collect::<Vec<_>>() },
            "http": {},
            // As long as tests wait for anything: a daemon must not log a failure only because a
            // server process starts slowly.
            "sync": { "connect_timeout": format!("{}s", PATIENCE.as_secs()) },
            "security": { "allow_destinations": ["127.0.0.0/8"], "allow_files": [copies] },
            // Tests write into destinations to see what happens; the audit would tell on them.
            "audit": { "period": "off" },
        });
        if let Some(d1) = &d1 {
            set(&mut configuration, "/destinations/d1", d1.settings());
        }
        for (pointer, value) in &self.changes {
            set(&mut configuration, pointer, value.clone());
        }
        World {
            source,
            tenants,
            folder,
            configuration,
            expected: Expected::default(),
            environment: Environment::default(),
            source_server: source_server.map(Mutex::new),
            source_proxy,
            d1,
        }
    }

    async fn tenant(&self, name: &str, source: &Database) -> Tenant {
        let insert = format!(
            "insert into public.tenancy (id, project_id, branch_id, display_name) \
             values (md5({name})::uuid, {name}, 'main', {name}) returning id",
            name = literal(name)
        );
        let id = source.query_text(&insert).await;
        let server = match self.private_destinations.contains(name) {
            true => Some(private_server().await),
            false => None,
        };
        let url = match &server {
            Some(server) => server.url("postgres"),
            None => Clusters::shared().await.destinations.clone(),
        };
        let template = self
            .encoding
            .as_ref()
            .map(|encoding| format!("template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'"));
        let destination = Database::create(&url, "destination", template.as_deref()).await;
        let proxy = self.proxied.contains(name).then(|| Proxy::before(&destination.url()));
        Tenant {
            name: name.to_owned(),
            id,
            destination,
            file: None,
            schema: "public".to_owned(),
            server: server.map(Mutex::new),
            proxy,
        }
    }

    fn write_mappings(&self, folder: &Path) {
        std::fs::create_dir(folder).expect("the temporary folder can be written");
        match &self.mappings {
            Some(mappings) => {
                for (name, text) in mappings {
                    std::fs::write(folder.join(name).with_extension("yaml"), text)
                        .expect("the temporary folder can be written");
                }
            }
            None => {
                for mapping in Self::default_files() {
                    let name = mapping.file_name().expect("a file");
                    std::fs::copy(&mapping, folder.join(name))
                        .expect("the temporary folder can be written");
                }
            }
        }
    }

    fn default_files() -> Vec<PathBuf> {
        source::mappings_in(&source::default_mappings_folder())
            .into_iter()
            .map(|mapping| mapping.file)
            .collect()
    }
}

impl IntoFuture for Plan {
    type Output = World;
    type IntoFuture = Pin<Box<dyn Future<Output = World>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

async fn private_server() -> PrivateServer {
    tokio::task::spawn_blocking(offtake_private_server::sweep)
        .await
        .expect("sweeping does not panic");
    PrivateServer::start(Clusters::options()).await.unwrap_or_else(|error| panic!("{error:#}"))
}

pub(crate) fn reserve_port() -> ReservedPort {
    ReservedPort::any().expect("a free port")
}

/// Sets a value by JSON pointer. Creates the objects on the way.
fn set(value: &mut Value, pointer: &str, to: Value) {
    let mut at = value;
    for part in pointer.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(index) if at.is_array() => &mut at[index],
            _ => &mut at[part],
        };
    }
    *at = to;
}
