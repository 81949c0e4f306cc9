//! A world: a source, tenants with one database each, and the configuration that names them.

mod copies;
mod plan;
mod restoring;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use offtake_mapping::{Mapping, literal};
use offtake_private_server::{PrivateServer, ReservedPort};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use crate::certificates::self_signed;
use crate::d1::D1;
use crate::daemon::{self, Environment, Expected};
use crate::names::Names;
use crate::proxy::Proxy;
use crate::sql::SELECT_WHAT_IS_OWED;
use crate::{Daemon, Database, PATIENCE, SqliteFile, source, until};

pub use copies::CopyKind;
pub use plan::Plan;
pub(crate) use plan::reserve_port;
pub use restoring::copy_folder;

/// Everything that one test works with; removed when dropped.
pub struct World {
    /// The application's database.
    pub source: Database,
    tenants: Vec<Tenant>,
    folder: tempfile::TempDir,
    configuration: Value,
    expected: Expected,
    environment: Environment,
    source_server: Option<Mutex<PrivateServer>>,
    source_proxy: Option<Proxy>,
    d1: Option<D1>,
}

/// A tenancy of the sample application, and its destination `main`.
pub struct Tenant {
    /// `display_name` and `project_id` of its tenancy; the branch is `main`.
    pub name: String,
    /// `tenancy.id`, which is `md5(name)::uuid`; Offtake's `tenant_id`.
    pub id: String,
    pub destination: Database,
    /// Planned with [`Plan::in_files`]: the destination, in place of the database.
    pub file: Option<SqliteFile>,
    /// The schema in the destination: `public`.
    pub schema: String,
    server: Option<Mutex<PrivateServer>>,
    proxy: Option<Proxy>,
}

impl World {
    /// Plans tenants of these names, each with an empty destination, and a source that `offtake
    /// init` has prepared with the default mappings. All are on the run's shared clusters. No
    /// daemon runs yet.
    pub fn with_tenants<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Plan {
        Plan::of(names.into_iter().map(Into::into).collect())
    }

    /// All tenants, in the order of the plan.
    pub fn tenants(&self) -> &[Tenant] {
        &self.tenants
    }

    /// The tenant of that name.
    pub fn tenant(&self, name: &str) -> &Tenant {
        self.tenants
            .iter()
            .find(|tenant| tenant.name == name)
            .unwrap_or_else(|| panic!("no tenant {name} was planned"))
    }

    /// The id of the tenant of that name.
    pub fn id(&self, name: &str) -> &str {
        &self.tenant(name).id
    }

    /// The source's own server; planned with [`Plan::private_source`].
    pub async fn source_server(&self) -> MutexGuard<'_, PrivateServer> {
        self.source_server.as_ref().expect("planned with private_source()").lock().await
    }

    /// The proxy between the daemons and the source; planned with [`Plan::proxied_source`].
    /// `world.source` itself does not use it.
    pub fn source_proxy(&self) -> &Proxy {
        self.source_proxy.as_ref().expect("planned with proxied_source()")
    }

    /// The D1 databases, by the tenants' places; planned with [`Plan::in_d1`].
    pub fn d1(&self) -> &D1 {
        self.d1.as_ref().expect("planned with in_d1()")
    }

    /// Every proxy, with its tenant's name or `source`.
    pub fn named_proxies(&self) -> impl Iterator<Item = (String, &Proxy)> {
        let destinations = self
            .tenants
            .iter()
            .filter_map(|tenant| Some((tenant.name.clone(), tenant.proxy.as_ref()?)));
        destinations.chain(self.source_proxy.as_ref().map(|proxy| ("source".to_owned(), proxy)))
    }

    /// The mapping files as they are now, parsed.
    pub fn mappings(&self) -> Vec<Mapping> {
        source::mappings_in(&self.mappings_folder())
    }

    /// The folder of the mapping files; the test has its own copy.
    pub fn mappings_folder(&self) -> PathBuf {
        self.folder.path().join("mappings")
    }

    /// Writes a mapping's file as editors do: it is never half-written, because a daemon may read
    /// it at any moment.
    pub fn write_mapping(&self, name: &str, text: &str) {
        let file = self.mappings_folder().join(name).with_extension("yaml");
        let beside = file.with_extension("new");
        std::fs::write(&beside, text)
            .and_then(|()| std::fs::rename(beside, file))
            .expect("the temporary folder can be written");
    }

    /// The folder with `offtake.yaml` and `mappings/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Changes the configuration that the next [`Self::daemon`] and [`Self::offtake`] use. A
    /// running daemon keeps its file.
    pub fn configure(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.configuration);
    }

    /// All tenants share the first one's database. Their mappings keep the tenant.
    pub fn share_one_database(&mut self) {
        let Some((first, others)) = self.tenants.split_first_mut() else { return };
        others.iter_mut().for_each(|tenant| tenant.destination = first.destination.again());
        let url = first.destination.url();
        let all = self.configuration["destinations"]["static"].as_array_mut().expect("a list");
        for destination in all {
            destination["url"] = url.clone().into();
            destination["shared"] = true.into();
        }
    }

    /// Changes the URL of the tenant's destination for the next [`Self::daemon`] and
    /// [`Self::offtake`].
    pub fn reach_by(&mut self, tenant: &str, change: impl Fn(&str) -> String) {
        let id = self.id(tenant).to_owned();
        let all = self.configuration["destinations"]["static"].as_array_mut().expect("a list");
        for destination in all.iter_mut().filter(|destination| destination["tenant"] == *id) {
            destination["url"] = change(destination["url"].as_str().expect("a URL")).into();
        }
    }

    /// Sets an environment variable of the next [`Self::daemon`] and [`Self::offtake`].
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.variables.insert(name.to_owned(), value.to_owned());
    }

    /// The next [`Self::daemon`] and [`Self::offtake`] ask this server for addresses.
    pub fn ask_for_names(&mut self, names: &Names) {
        self.environment.launcher = names.launcher();
    }

    /// Allows warnings and errors of this event in every daemon's log; `"*"` allows all.
    pub fn allow(&self, event: &str) {
        self.expected.lock().expect("no panic while locked").insert(event.to_owned());
    }

    /// Starts `offtake run` and waits until it is ready.
    pub async fn daemon(&self) -> Daemon {
        let mut daemon = self.spawn_daemon(&[]);
        daemon.wait_ready().await;
        daemon
    }

    /// Starts `offtake run` with these arguments; does not wait.
    pub fn spawn_daemon(&self, arguments: &[&str]) -> Daemon {
        let port = reserve_port();
        Daemon::spawn(
            &self.write_configuration(&port),
            port,
            (self.expected.clone(), &self.environment),
            arguments,
            &[],
        )
    }

    /// Starts `offtake run` with failpoints (name, actions) that act from its first moment; does
    /// not wait.
    pub fn spawn_daemon_with_failpoints(&self, failpoints: &[(&str, &str)]) -> Daemon {
        let port = reserve_port();
        Daemon::spawn(
            &self.write_configuration(&port),
            port,
            (self.expected.clone(), &self.environment),
            &[],
            failpoints,
        )
    }

    /// Runs `offtake` with these arguments to its end.
    pub async fn offtake(&self, arguments: &[&str]) -> Output {
        let port = reserve_port();
        daemon::command(&self.write_configuration(&port), &self.environment, arguments).await
    }

    /// The same, but the command must succeed. Returns its standard output.
    pub async fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.offtake(arguments).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{arguments:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Starts `offtake` with one more variable of its environment, and does not wait: a test sends
    /// it signals. It is killed when it is dropped.
    pub fn start(&self, variable: (&str, &str), arguments: &[&str]) -> tokio::process::Child {
        daemon::start(&self.written_configuration(), &self.environment, variable, arguments)
    }

    /// A configuration file like those of [`Self::daemon`], with a port of its own, for a program
    /// that the test starts itself.
    pub fn written_configuration(&self) -> PathBuf {
        self.write_configuration(&reserve_port())
    }

    /// Every daemon has its own port, and so its own file.
    fn write_configuration(&self, port: &ReservedPort) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let mut configuration = self.configuration.clone();
        if configuration["http"]["listen"].is_null() {
            configuration["http"]["listen"] = format!("127.0.0.1:{}", port.number()).into();
        }
        let file = self
            .folder
            .path()
            .join(format!("offtake-{}.yaml", NUMBER.fetch_add(1, Ordering::Relaxed)));
        // Every JSON text is also YAML.
        let text = serde_json::to_string_pretty(&configuration).expect("JSON becomes text");
        std::fs::write(&file, text).expect("the temporary folder can be written");
        file
    }

    /// Waits until every change committed so far is applied in every destination, and every
    /// backfill is done.
    pub async fn wait_in_step(&self) {
        self.wait_in_step_within(PATIENCE).await;
    }

    /// [`Self::wait_in_step`] with another timeout.
    pub async fn wait_in_step_within(&self, timeout: Duration) {
        let names: Vec<_> = self.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        self.wait_tenants_in_step(&names, timeout).await;
    }

    /// The same for some tenants only; the others may be behind.
    pub async fn wait_tenants_in_step(&self, names: &[&str], timeout: Duration) {
        until("every change is applied", timeout, async || {
            let ids: Vec<_> = names.iter().map(|name| literal(self.id(name))).collect();
            let behind = self.source.try_query_text(&format!("{} ({})", SELECT_WHAT_IS_OWED, ids.join(", "))).await?;
            if !behind.is_empty() {
                return Err(behind);
            }
            let mappings = self.mappings();
            for name in names {
                let tenant = self.tenant(name);
                let backfilled = |schema: &str| {
                    let of = literal(&tenant.id);
                    format!("select count(*) from \"{schema}\"._offtake_state where backfilled and tenant_id = {of}")
                };
                let backfilled = match &tenant.file {
                    Some(file) => file.try_query_text(&backfilled("main"))?,
                    None => {
                        let asked = backfilled(&tenant.schema);
                        tenant.destination.try_query_text(&asked).await?
                    }
                };
                if backfilled != mappings.len().to_string() {
                    return Err(format!("{name}: {backfilled} of {} mappings are backfilled", mappings.len()));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Creates and fills two tables at a source that is not prepared yet, and then prepares the
    /// source. `item` has `tenant`, `id` and the given columns, and the rows that `fill` selects
    /// for each `{tenant}`. `other` has ten rows per tenant.
    pub async fn with_items(&self, columns: &str, fill: &str) {
        let tables = format!(
            "create table item (tenant text not null, id integer not null, {columns}, primary key (tenant, id));
             create table other (tenant text not null, id integer not null, body text not null, primary key (tenant, id))"
        );
        self.source.execute(&tables).await;
        let fill = format!(
            "{fill}; insert into other select '{{tenant}}', n, 'body' from generate_series(1, 10) n"
        );
        for tenant in &self.tenants {
            self.source.execute(&fill.replace("{tenant}", &tenant.id)).await;
        }
        self.succeed(&["init"]).await;
    }

    /// Inserts users with e-mail addresses, teams, members, permissions and invitations for every
    /// tenant.
    pub async fn fill(&self, users_per_tenant: i32) {
        let session = self.source.session().await;
        session
            .execute(offtake::demo::INSERT_SAMPLE_ROWS, &[&users_per_tenant])
            .await
            .expect("the sample rows fit");
    }
}

impl Tenant {
    /// The tenant's file; planned with [`Plan::in_files`] or [`Plan::in_d1`].
    pub fn file(&self) -> &SqliteFile {
        self.file.as_ref().expect("planned with in_files() or in_d1()")
    }

    /// The own server of this tenant's destination; planned with [`Plan::private_destination`].
    pub async fn server(&self) -> MutexGuard<'_, PrivateServer> {
        self.server.as_ref().expect("planned with private_destination()").lock().await
    }

    /// Gives the destination's own server a certificate that expires after so long.
    pub async fn show_certificate(&self, expires_in: Duration) {
        let (certificate, key) = self_signed("127.0.0.1", expires_in);
        let server = self.server().await;
        for (file, pem) in [("server.crt", certificate), ("server.key", key)] {
            let installed = server.install_file(file, pem.as_bytes());
            installed.expect("the server's folder can be written");
        }
        self.destination.execute("alter system set ssl = on").await;
        self.destination.query_text("select pg_reload_conf()").await;
        self.destination.wait_text("show ssl", "on").await;
    }

    /// The proxy between the daemons and this tenant's destination; planned with [`Plan::proxied`].
    /// `tenant.destination` itself does not use it.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("planned with proxied()")
    }
}
