//! A daemon on a private server: what it does about edited files, missing triggers and bad
//! destinations while it runs.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use offtake::configuration::Configuration;
use offtake::context::{Context, mapping_files};
use offtake::daemon::{Daemon, Options, ReadConfiguration};
use offtake_postgres::{ConnectionString, Dialer};
use offtake_private_server::{self, PrivateServer, sweep};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

const ITEMS: &str = "
source: { table: item, tenant: tenant_id }
query: select tenant_id, id, v from item
target: { table: items }
";

/// One server that plays the source and two customers, and the files of an operator.
struct World {
    server: PrivateServer,
    files: tempfile::TempDir,
    reload: Arc<Notify>,
}

impl World {
    async fn new() -> Self {
        sweep();
        let server =
            PrivateServer::start(offtake_private_server::Options::default()).await.unwrap();
        let world = Self { server, files: tempfile::tempdir().unwrap(), reload: Arc::default() };
        world.run("postgres", "create database app").await;
        for tenant in ["acme", "blue"] {
            world.run("postgres", &format!("create database {tenant}")).await;
        }
        let table = "create table item (tenant_id text not null, id int primary key, v text)";
        world
            .run(
                "app",
                &format!("{table}; insert into item values ('acme', 1, 'one'), ('blue', 2, 'two')"),
            )
            .await;
        fs::create_dir(world.path("mappings")).unwrap();
        world.write("mappings/items.yaml", ITEMS);
        world.configure("");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes the configuration; `more` is appended to a destinations query that names acme.
    fn configure(&self, more: &str) {
        let (app, acme) = (self.server.url("app"), self.server.url("acme"));
        let query = format!("select 'acme' as tenant_id, '{acme}' as url, null as schema {more}");
        let text = format!(
            "source: {{ url: '{app}' }}\ndestinations:\n  query: |\n    {query}\n  refresh: 200ms\nhttp: {{ listen: 127.0.0.1:0 }}\nsecurity: {{ allow_destinations: [127.0.0.0/8] }}\n"
        );
        self.write("offtake.yaml", &text);
    }

    async fn client(&self, database: &str) -> offtake_postgres::Connection {
        let url = ConnectionString::source(&self.server.url(database)).unwrap();
        Dialer::trusted(Duration::from_secs(5)).dial(&url, "test").await.unwrap()
    }

    async fn run(&self, database: &str, sql: &str) {
        self.client(database).await.batch_execute(sql).await.unwrap();
    }

    async fn init(&self) {
        let mut source = self.client("app").await;
        offtake_postgres::migrate(&mut source).await.unwrap();
        let (mappings, _) = mapping_files::load(&self.path("mappings")).unwrap();
        let set = offtake_postgres::catalog::resolve(&source, mappings).await.unwrap();
        offtake_capture::install(&mut source, &set, &offtake_capture::Options::default())
            .await
            .unwrap();
    }

    async fn daemon(&self) -> Daemon {
        let file = self.path("offtake.yaml");
        let read: ReadConfiguration = Box::new(move || Ok(parse(&file)));
        let options = Options {
            read_configuration: Some(read),
            reload: self.reload.clone(),
            ..Options::default()
        };
        Daemon::start(Context::new(parse(&self.path("offtake.yaml"))), options).await.unwrap()
    }

    /// Waits until the query returns the expected value. A timeout reports the last value.
    async fn wait_for(&self, database: &str, sql: &str, expect: &str) {
        let client = self.client(database).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let found = match client.query_opt(sql, &[]).await {
                Ok(row) => row.and_then(|row| row.get::<_, Option<String>>(0)).unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            if found == expect {
                return;
            }
            assert!(Instant::now() < deadline, "{sql}: {found}, expected {expect}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn wait_for_status(&self, daemon: &Daemon, what: &str, met: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let status = status(daemon).await;
            if met(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "not {what}: {status:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn parse(file: &Path) -> Configuration {
    Configuration::parse(file, &fs::read_to_string(file).unwrap(), &BTreeMap::new()).unwrap()
}

/// `GET /api/v1/status`. In HTTP/1.0, the body of the answer ends with the connection.
async fn status(daemon: &Daemon) -> Value {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    let request = format!("GET /api/v1/status HTTP/1.0\r\nHost: {}\r\n\r\n", daemon.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}

const ACME_ITEMS: &str = "select string_agg(v, ',' order by id) from items";

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_cannot_be_used_leaves_the_one_before_running() {
    let world = World::new().await;
    world.init().await;
    let daemon = world.daemon().await;
    assert!(daemon.ready().await);
    world.wait_for("acme", ACME_ITEMS, "one").await;
    let error = |status: &Value| status["config"]["error"].as_str().unwrap_or_default().to_owned();

    world.write("mappings/bad.yaml", "x: 1");
    world.wait_for_status(&daemon, "refused", |status| error(status).contains("bad.yaml:1")).await;
    world.run("app", "insert into item values ('acme', 3, 'three')").await;
    world.wait_for("acme", ACME_ITEMS, "one,three").await;

    // The daemon installs triggers on a new table, and copies its rows.
    world
        .run("app", "create table other (tenant_id text not null, id int primary key, v text); insert into other values ('acme', 1, 'x')")
        .await;
    world.write("mappings/bad.yaml", &ITEMS.replace("item", "other"));
    let others = ACME_ITEMS.replace("items", "others");
    world.wait_for("acme", &others, "x").await;
    world.run("app", "insert into other values ('acme', 2, 'y')").await;
    world.wait_for("acme", &others, "x,y").await;
    world.wait_for_status(&daemon, "mended", |status| error(status).is_empty()).await;
    daemon.stop();
    daemon.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_disabled_trigger_missed_is_copied_again() {
    let world = World::new().await;
    world.init().await;
    let daemon = world.daemon().await;
    world.wait_for("acme", ACME_ITEMS, "one").await;
    world
        .run(
            "app",
            "alter table item disable trigger all; insert into item values ('acme', 3, 'unseen')",
        )
        .await;
    world.reload.notify_one();
    world.wait_for("acme", ACME_ITEMS, "one,unseen").await;
    daemon.stop();
    daemon.wait().await.unwrap();
}

/// The folder is refused for as long as its operator sleeps. The set in use goes on, and so must
/// the look at its triggers.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_are_looked_at_while_the_mapping_files_are_refused() {
    let world = World::new().await;
    world.init().await;
    let daemon = world.daemon().await;
    world.wait_for("acme", ACME_ITEMS, "one").await;
    world.write("mappings/bad.yaml", "x: 1");
    let refused = |status: &Value| status["config"]["error"].to_string().contains("bad.yaml:1");
    world.wait_for_status(&daemon, "refused", refused).await;
    world
        .run(
            "app",
            "alter table item disable trigger all; insert into item values ('acme', 3, 'unseen')",
        )
        .await;
    world.reload.notify_one();
    world.wait_for("acme", ACME_ITEMS, "one,unseen").await;
    assert!(refused(&status(&daemon).await));
    daemon.stop();
    daemon.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_of_the_query_blocks_only_its_destination_until_it_is_mended() {
    let world = World::new().await;
    world.init().await;
    world.configure("union all select 'blue', 'nonsense', null");
    let daemon = world.daemon().await;
    world.wait_for("acme", ACME_ITEMS, "one").await;
    let blue = |status: &Value, state: &str| {
        let destinations = status["destinations"].as_array().cloned().unwrap_or_default();
        destinations.iter().any(|d| d["tenant"] == "blue" && d["state"] == state)
    };
    world.wait_for_status(&daemon, "blocked", |status| blue(status, "blocked")).await;
    // A failing query changes nothing, and the configuration is read again without a restart.
    world.configure("nonsense");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let url = world.server.url("blue");
    world.configure(&format!("union all select 'blue', '{url}', null"));
    world.wait_for("blue", ACME_ITEMS, "two").await;
    world.wait_for_status(&daemon, "in sync", |status| blue(status, "in_sync")).await;
    world.wait_for("acme", ACME_ITEMS, "one").await;
    daemon.stop();
    daemon.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unprepared_source_is_waited_for_and_stop_ends_the_wait() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    world
        .wait_for_status(&daemon, "waiting", |status| status.to_string().contains("offtake init"))
        .await;
    daemon.stop();
    daemon.wait().await.unwrap();

    let daemon = world.daemon().await;
    world.init().await;
    assert!(daemon.ready().await);
    world.wait_for("acme", ACME_ITEMS, "one").await;
    daemon.stop();
    daemon.wait().await.unwrap();
}
