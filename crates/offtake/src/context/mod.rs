//! What every command and the daemon begin with: one [`Context`], made once from `offtake.yaml`.
//!
//! [`mapping_files`] reads the folder of mapping files, [`destination_list`] finds out which
//! destinations there are, once or, by [`listing`], again and again, and [`text_file`] reads a file as a person wrote it.

pub mod destination_list;
pub(crate) mod listing;
pub mod mapping_files;
pub(crate) mod tenant_spelling;
pub(crate) mod text_file;
pub mod webhook_list;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use offtake_egress::AddressPolicy;
use offtake_jobs::Store;
use offtake_mapping::{Mapping, MappingSet};
use offtake_postgres::{Connection, Dialer, Fault, SourcePool};
use tokio_postgres::Client;

use self::destination_list::DestinationList;
use self::mapping_files::MappingFiles;
use self::webhook_list::WebhookList;
use crate::arguments;
use crate::checks::check_files;
use crate::configuration::Configuration;
use crate::outcome::{Exit, Failure};
use crate::sql;

/// Commands need the pool only for the destinations query.
const COMMAND_CONNECTIONS: usize = 1;

/// The configuration and how this process connects under it.
pub struct Context {
    pub configuration: Configuration,
    /// Makes no connection before it is asked for one.
    pub pool: SourcePool,
    /// Dials destinations only; the source is dialled by [`Context::connect_source`].
    pub dialer: Dialer,
}

impl Context {
    /// Reads the configuration file. Nothing is connected yet.
    pub fn load(file: &Path) -> Result<Self, Failure> {
        Ok(Self::new(load_configuration(file)?))
    }

    pub fn new(configuration: Configuration) -> Self {
        let pool = SourcePool::new(
            configuration.source.url.clone(),
            configuration.sync.connect_timeout,
            COMMAND_CONNECTIONS,
        );
        let dialer = destination_dialer(&configuration);
        Self { configuration, pool, dialer }
    }

    /// The same, with the mapping files of another folder.
    #[must_use]
    pub fn with_mapping_folder(mut self, folder: Option<PathBuf>) -> Self {
        if let Some(folder) = folder {
            self.configuration.mappings = folder;
        }
        self
    }

    /// The stores of the file.
    pub fn stores(&self) -> Vec<Store> {
        self.configuration.stores.iter().map(Store::open).collect()
    }

    /// The mappings of the folder, parsed, and checked against the destinations of the file.
    pub fn mappings(&self) -> Result<Vec<Mapping>, Failure> {
        let (mappings, _) = mapping_files::load(&self.configuration.mappings)?;
        check_files(&self.configuration, &mappings)?;
        Ok(mappings)
    }

    /// A warning for each file of the folder, or of a folder in it, that looks like a mapping file
    /// and is not read as one.
    pub(crate) fn overlooked_mapping_files(&self) -> Vec<String> {
        let read = MappingFiles::read(&self.configuration.mappings);
        read.map(|files| files.overlooked()).unwrap_or_default()
    }

    /// The destinations of the file and of the destinations query, which runs at the source now.
    pub async fn destinations(&self) -> Result<DestinationList, Failure> {
        let Configuration { destinations, sync, .. } = &self.configuration;
        let mut list = destination_list::list(destinations, &self.pool, sync.statement_timeout)
            .await
            .map_err(|error| self.unlisted(error))?;
        list.refuse_contested();
        Ok(list)
    }

    /// The same, with the tenants' ids in the spelling of the mappings' types. `source` must not be
    /// in a transaction.
    pub(crate) async fn spelt_destinations(
        &self,
        source: &Client,
        set: &MappingSet,
    ) -> Result<DestinationList, Failure> {
        let mut list = self.destinations().await?;
        tenant_spelling::spell(source, &mut list, set)
            .await
            .map_err(|error| self.unlisted(destination_list::Error::Spelling(error)))?;
        Ok(list)
    }

    /// The webhooks of the file and of the webhooks query, which runs at the source now.
    pub async fn webhooks(&self) -> Result<WebhookList, Failure> {
        let Configuration { webhooks, sync, .. } = &self.configuration;
        webhook_list::list(webhooks, &self.pool, sync.statement_timeout)
            .await
            .map_err(|error| self.unlisted_webhooks(error))
    }

    /// The same, with the tenants' ids in the spelling of the mappings' types. `source` must not be
    /// in a transaction.
    pub async fn spelt_webhooks(
        &self,
        source: &Client,
        set: &MappingSet,
    ) -> Result<WebhookList, Failure> {
        let mut list = self.webhooks().await?;
        let usable = std::mem::take(&mut list.usable);
        let (usable, unlike) = tenant_spelling::spell_webhooks(source, usable, set)
            .await
            .map_err(|error| self.unlisted_webhooks(destination_list::Error::Spelling(error)))?;
        list.usable = usable;
        list.refused.extend(unlike);
        Ok(list)
    }

    /// The failure of every command that cannot list the webhooks.
    fn unlisted_webhooks(&self, error: destination_list::Error) -> Failure {
        let (of_query, error) = match error {
            destination_list::Error::Query(error) => (true, error.into()),
            destination_list::Error::Spelling(error) => (false, error.into()),
            destination_list::Error::Source(error) => (false, error),
        };
        if of_query && error.sqlstate().is_some() && error.fault() != Fault::Unreachable {
            let file = self.configuration.file.display();
            return Failure::invalid(format!("{file}: webhooks.query cannot be used"))
                .because(error.message())
                .remedy("it must be one SELECT that returns tenant_id, name, url and secret");
        }
        Failure::of_source("cannot list the webhooks", &error)
    }

    /// The failure of every command that cannot list the destinations.
    fn unlisted(&self, error: destination_list::Error) -> Failure {
        let (of_query, error) = match error {
            destination_list::Error::Query(error) => (true, error.into()),
            destination_list::Error::Spelling(error) => (false, error.into()),
            destination_list::Error::Source(error) => (false, error),
        };
        if of_query && error.sqlstate().is_some() && error.fault() != Fault::Unreachable {
            let file = self.configuration.file.display();
            return Failure::invalid(format!("{file}: destinations.query cannot be used"))
                .because(error.message())
                .remedy("it must be one SELECT that returns tenant_id, name and url");
        }
        Failure::of_source("cannot list the destinations", &error)
    }

    /// One session on the source. `pg_stat_activity` shows it as `offtake <command>`.
    pub async fn connect_source(&self, command: &str) -> Result<Connection, Failure> {
        let Configuration { source, sync, .. } = &self.configuration;
        let unusable = |error| {
            let what = format!("cannot connect to the source {}", source.url.place());
            Failure::of_source(&what, &error)
        };
        let connection = Dialer::trusted(sync.connect_timeout)
            .dial(&source.url, &format!("offtake {command}"))
            .await
            .map_err(unusable)?;
        // With JIT, compiling the status query took 3 to 6 s here; running it takes 0.02 s.
        connection.batch_execute("set jit = off").await.map_err(|error| unusable(error.into()))?;
        let closed = connection.query_opt(sql::PROBE_CLOSED_SCHEMA, &[]).await;
        match closed.map_err(|error| unusable(error.into()))? {
            Some(row) => Err(closed_schema(row.get("role"), row.get("owner"))),
            None => Ok(connection),
        }
    }
}

/// The dialer for destinations: it connects only to addresses that `security.allow_destinations`
/// permits. The one place where configuration becomes an address policy.
///
/// Clones share the limit on concurrent dials; each call begins with a limit of its own.
pub(crate) fn destination_dialer(configuration: &Configuration) -> Dialer {
    let policy = AddressPolicy::new(configuration.security.allow_destinations.clone());
    Dialer::new(policy, configuration.sync.connect_timeout)
}

/// Which addresses the receivers of webhooks may have: those of destinations.
pub(crate) fn receiver_policy(configuration: &Configuration) -> AddressPolicy {
    AddressPolicy::new(configuration.security.allow_destinations.clone())
}

/// Reads and parses a configuration file, with the process environment as its variables.
pub fn load_configuration(file: &Path) -> Result<Configuration, Failure> {
    let name = file.to_string_lossy();
    let shown = arguments::shown(&name);
    let text = text_file::read(file, text_file::CONFIGURATION_BYTES_MAX).map_err(|error| {
        match error.kind() {
            ErrorKind::InvalidData => {
                Failure::invalid(format!("{shown}: {error}")).remedy(text_file::SAVE_AS_UTF_8)
            }
            _ => Failure::invalid(format!("{shown}: cannot read the configuration"))
                .because(error.to_string())
                .remedy(
                    "name the file with --config or OFFTAKE_CONFIG, or begin one with \
                 `offtake config --example > offtake.yaml`",
                ),
        }
    })?;
    Ok(Configuration::parse(file, &text, &environment())?)
}

/// The environment variables whose names and values are valid UTF-8.
pub(crate) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The role in `source.url` may not use the schema `offtake`.
fn closed_schema(role: &str, owner: &str) -> Failure {
    let all = ["tables", "sequences"]
        .map(|what| format!("grant select on all {what} in schema offtake to {role};"))
        .join(" ");
    let grant = format!("grant usage on schema offtake to {role}; {all}");
    let message = format!("the role {role} may not use the schema offtake of the source");
    Failure::new(Exit::Failed, message).remedy(format!(
        "to look only, run as {owner}: {grant} for everything, as a superuser: \
         grant {owner} to {role};"
    ))
}
