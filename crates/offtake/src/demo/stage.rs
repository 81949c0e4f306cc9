//! The stage of the demo: a server for the application, a server that plays the customers'
//! machines, and the files that an operator would write.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use offtake_private_server::{Options, PrivateServer};
use rand::Rng as _;
use tokio_postgres::{Client, NoTls};

use super::default_mappings::DEFAULT_MAPPINGS;
use super::receiver::{self, Receiver};
use super::sql::{INSERT_SAMPLE_ROWS, INSERT_TENANCY, SAMPLE_APPLICATION};

/// Both servers and everything in them. Dropping it stops the servers and removes their folders.
pub(super) struct Stage {
    application: PrivateServer,
    /// None: the customers have files.
    customers: Option<PrivateServer>,
    pub(super) tenants: Vec<Tenant>,
    /// The first tenant's webhook.
    pub(super) receiver: Option<Receiver>,
}

/// A customer of the sample application, with a role and a database of its own on the second
/// server, or with a file.
#[derive(Debug, Clone)]
pub(super) struct Tenant {
    /// Display name of its tenancy; name of its role and of its database.
    pub(super) name: String,
    /// `tenancy.id`
    pub(super) id: String,
    pub(super) url: String,
}

/// The names of the first customers; later ones are numbered.
const NAMES: [&str; 6] = ["acme", "globex", "initech", "umbrella", "hooli", "stark"];

const APPLICATION: &str = "application";

impl Tenant {
    /// The customer's file, if it has one.
    pub(super) fn file(&self) -> Option<&str> {
        self.url.strip_prefix("sqlite://")
    }
}

impl Stage {
    /// Starts both servers at the same time; with `files`, only the application's. `buffers`: what
    /// each is to have of shared memory; None: little.
    pub(super) async fn start(files: bool, buffers: Option<&str>) -> anyhow::Result<Self> {
        let options = || {
            let options = Options::default().with_random_password();
            match buffers {
                Some(buffers) => options.setting("shared_buffers", buffers),
                None => options,
            }
        };
        let customers = async {
            match files {
                true => Ok(None),
                false => PrivateServer::start(options()).await.map(Some),
            }
        };
        let (application, customers) = tokio::join!(PrivateServer::start(options()), customers);
        Ok(Self {
            application: application?,
            customers: customers?,
            tenants: Vec::new(),
            receiver: None,
        })
    }

    /// Creates the application with its tenants, `users` users each, and an empty database for each
    /// of them.
    pub(super) async fn furnish(&mut self, tenants: u32, users: i32) -> anyhow::Result<()> {
        let application = self.create_application(SAMPLE_APPLICATION).await?;
        for number in 0..tenants as usize {
            let name = NAMES
                .get(number)
                .map_or_else(|| format!("customer{}", number + 1), |name| (*name).to_owned());
            let id: String = application.query_one(INSERT_TENANCY, &[&name]).await?.get(0);
            let url = match &self.customers {
                Some(customers) => create_database(customers, &name).await?,
                None => format!("sqlite://{}/{name}.db", self.copies().display()),
            };
            self.tenants.push(Tenant { name, id, url });
        }
        application.execute(INSERT_SAMPLE_ROWS, &[&users]).await?;
        // Without this, the planner would have no statistics until autovacuum ran a minute later.
        application.batch_execute("analyze").await?;
        self.receiver = Some(Receiver::start().await?);
        self.make_durable().await
    }

    /// Creates the application's database with these tables.
    pub(super) async fn create_application(&self, tables: &str) -> anyhow::Result<Client> {
        let admin = connect(&self.application.url("postgres")).await?;
        admin.batch_execute(&format!("create database {APPLICATION}")).await?;
        let application = connect(&self.application_url()).await?;
        application.batch_execute(tables).await?;
        Ok(application)
    }

    /// From here on the demo measures, so the servers wait for their disks as real ones do.
    pub(super) async fn make_durable(&self) -> anyhow::Result<()> {
        for server in std::iter::once(&self.application).chain(&self.customers) {
            let session = connect(&server.url("postgres")).await?;
            for statement in [
                "alter system set fsync = on",
                "alter system set full_page_writes = on",
                "select pg_reload_conf()",
            ] {
                session.batch_execute(statement).await?;
            }
        }
        Ok(())
    }

    /// Creates the folder of the configuration; returns that of the mappings in it.
    pub(super) fn create_folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder();
        fs::create_dir(&folder)?;
        // The files have passwords in them.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        fs::create_dir(self.copies())?;
        let mappings = folder.join("mappings");
        fs::create_dir(&mappings)?;
        Ok(mappings)
    }

    /// Writes `offtake.yaml` and the default mappings into the application server's folder; returns
    /// the file's path.
    pub(super) fn write_configuration(&self, listen: SocketAddr) -> anyhow::Result<PathBuf> {
        let mappings = self.create_folder()?;
        for (name, text) in DEFAULT_MAPPINGS {
            fs::write(mappings.join(name), text)?;
        }
        let destinations: String = self
            .tenants
            .iter()
            .map(|t| format!("    - {{ tenant: {}, url: \"{}\" }}   # {}\n", t.id, t.url, t.name))
            .collect();
        let file = self.folder().join("offtake.yaml");
        let webhook = self.receiver.iter().zip(&self.tenants).map(|(receiver, tenant)| {
            format!(
                "webhooks:\n  static:\n    - tenant: {}   # {}\n      url: http://{}/users\n      \
                 secret: {}\n      mappings: [{}]\n      backfill: true\n",
                tenant.id,
                tenant.name,
                receiver.address,
                receiver.secret,
                receiver::MAPPING
            )
        });
        let webhook: String = webhook.collect();
        let files = match self.customers {
            Some(_) => String::new(),
            None => format!(", allow_files: [\"{}\"]", self.copies().display()),
        };
        let text = format!(
            "source: {{ url: \"{}\" }}\nmappings: mappings\ndestinations:\n  static:\n{destinations}{webhook}http: {{ listen: \"{listen}\" }}\n\
             # The customers' machines are played by this one.\nsecurity: {{ allow_destinations: [127.0.0.0/8]{files} }}\n",
            self.application_url()
        );
        fs::write(&file, text)?;
        Ok(file)
    }

    /// The folder of configuration and mappings. It is removed with the server.
    pub(super) fn folder(&self) -> PathBuf {
        self.application.folder().join("demo")
    }

    /// The folder of the customers' files.
    pub(super) fn copies(&self) -> PathBuf {
        self.folder().join("copies")
    }

    /// The URL by which the application and Offtake connect.
    pub(super) fn application_url(&self) -> String {
        self.application.url(APPLICATION)
    }

    /// The URL of a database on the customers' server, as its superuser.
    pub(super) fn customers_url(&self, database: &str) -> String {
        self.customers.as_ref().map_or_else(String::new, |customers| customers.url(database))
    }

    /// The folders of the servers, which must be gone afterwards.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let servers = std::iter::once(&self.application).chain(&self.customers);
        servers.map(|server| server.folder().to_owned()).collect()
    }

    /// Shuts the servers down and removes their folders.
    pub(super) async fn stop(self) {
        let customers = async {
            if let Some(customers) = self.customers {
                customers.stop().await;
            }
        };
        tokio::join!(self.application.stop(), customers);
    }
}

/// Creates a customer's role and database. Returns the URL for them.
async fn create_database(customers: &PrivateServer, name: &str) -> anyhow::Result<String> {
    let password: String =
        rand::rng().sample_iter(rand::distr::Alphanumeric).take(24).map(char::from).collect();
    let session = connect(&customers.url("postgres")).await?;
    session.batch_execute(&format!("create role {name} login password '{password}'")).await?;
    session.batch_execute(&format!("create database {name} owner {name}")).await?;
    Ok(customers.url_as(name, Some(&password), name))
}

/// Opens a session with which the demo plays the application or a customer.
pub(super) async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("cannot connect to a private server")?;
    tokio::spawn(connection);
    Ok(client)
}
