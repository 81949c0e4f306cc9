//! Servers, databases and the table that all rows of the benchmark work on.
//!
//! Offtake and built-in replication have each a source server of their own, so that neither decodes
//! or logs for the other, and each its own databases on one destination server.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use offtake_private_server::{Binaries, Options, PrivateServer, sweep};
use tokio_postgres::{Client, Config, NoTls};

pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("autovacuum", "off"),
    ("shared_buffers", "512MB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1h"),
    // A hundred destinations, each with sessions of the daemon and of the benchmark.
    ("max_connections", "400"),
    // Without it, the server starts a stopped subscription worker again only after 5 s.
    ("wal_retrieve_retry_interval", "10ms"),
];

/// What the sources hold. Updates of `counter` are HOT.
pub(crate) const TABLE: &str = "
    create table public.events (
      tenant_id uuid not null, id bigint not null, body text not null, counter bigint not null default 0,
      primary key (tenant_id, id)) with (fillfactor = 80)";

/// Characters of `body`.
const BODY: usize = 220;

/// The servers; stopped and removed when this is dropped.
pub(crate) struct Servers {
    pub(crate) source: PrivateServer,
    /// The source of built-in replication, with `wal_level = logical`.
    pub(crate) logical: PrivateServer,
    pub(crate) destination: PrivateServer,
}

impl Servers {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(sweep).await?;
        Ok(Self {
            source: server("replica").await?,
            logical: server("logical").await?,
            destination: server("replica").await?,
        })
    }
}

/// A database and a connection to it.
pub(crate) struct Database {
    pub(crate) client: Client,
    pub(crate) url: String,
}

impl Database {
    /// A new database.
    pub(crate) async fn create(server: &PrivateServer, name: &str) -> anyhow::Result<Self> {
        let admin = Self::connect(server.url("postgres")).await?;
        admin.client.batch_execute(&format!("create database {name}")).await?;
        Self::connect(server.url(name)).await
    }

    /// A database that is there.
    pub(crate) async fn open(server: &PrivateServer, name: &str) -> anyhow::Result<Self> {
        Self::connect(server.url(name)).await
    }

    async fn connect(url: String) -> anyhow::Result<Self> {
        let mut config: Config = url.parse()?;
        let (client, connection) = config
            .application_name("bench")
            .connect(NoTls)
            .await
            .with_context(|| format!("cannot connect to {url}"))?;
        // It ends when the client is dropped. An error is returned by the client's current call.
        tokio::spawn(connection);
        Ok(Self { client, url })
    }

    /// A second connection to the same database.
    pub(crate) async fn again(&self) -> anyhow::Result<Self> {
        Self::connect(self.url.clone()).await
    }

    /// Makes all samples begin alike: VACUUM leaves no dead rows, and a CHECKPOINT has just ended.
    /// Otherwise bloat, and the page images that the first write of a page after a checkpoint
    /// costs, would differ from sample to sample.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        self.client.batch_execute("vacuum").await?;
        Ok(self.client.batch_execute("checkpoint").await?)
    }

    pub(crate) async fn one<T>(&self, query: &str) -> anyhow::Result<T>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        Ok(self.client.query_one(query, &[]).await?.try_get(0)?)
    }

    /// Bytes of write-ahead log that the server has written.
    pub(crate) async fn wal_bytes(&self) -> anyhow::Result<f64> {
        self.one("select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8").await
    }

    /// The server process of the connection.
    pub(crate) async fn backend(&self) -> anyhow::Result<u32> {
        Ok(self.one::<i32>("select pg_backend_pid()").await?.unsigned_abs())
    }
}

/// The id of the tenant with that number, from 1. Its last group has twelve decimal digits.
pub(crate) fn tenant(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Creates [`TABLE`] with so many rows of each tenant; their ids begin with 1.
pub(crate) async fn load(source: &Database, rows: &[u32]) -> anyhow::Result<()> {
    source.client.batch_execute(TABLE).await?;
    let insert = format!(
        "insert into public.events (tenant_id, id, body)
         select $1::text::uuid, n, left(repeat(md5(n::text), 7), {BODY}) from generate_series(1, $2::bigint) n"
    );
    for (at, rows) in rows.iter().enumerate() {
        source.client.execute(&insert, &[&tenant(at + 1), &i64::from(*rows)]).await?;
    }
    Ok(source.client.batch_execute("analyze public.events").await?)
}

/// The date and the server's version.
pub(crate) async fn date_and_version() -> anyhow::Result<(String, String)> {
    tokio::task::spawn_blocking(sweep).await?;
    let server = server("replica").await?;
    let database = Database::connect(server.url("postgres")).await?;
    let query = "select to_char(now(), 'FMDD FMMonth YYYY'), split_part(current_setting('server_version'), ' ', 1)";
    let row = database.client.query_one(query, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

pub(crate) async fn server(wal_level: &str) -> anyhow::Result<PrivateServer> {
    let options = Options { durable: true, ..Options::default() }
        .with_random_password()
        .setting("wal_level", wal_level);
    PrivateServer::start(
        SETTINGS.iter().fold(options, |options, (name, value)| options.setting(name, value)),
    )
    .await
}

/// One of PostgreSQL's client programs: beside the server's, where a link to those leads, on PATH,
/// or in Debian's folders.
pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let initdb = Binaries::find()?.program("initdb");
    let linked = std::fs::canonicalize(&initdb).unwrap_or_default();
    let beside = [&initdb, &linked].map(|program| program.with_file_name(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(name));
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin").join(name));
    let found = beside.into_iter().chain(on_path).chain(debian).find(|program| program.is_file());
    found.with_context(|| {
        let folder = initdb.parent().unwrap_or(&initdb).display();
        format!("{name} is not in {folder} and not on PATH: install PostgreSQL's client programs")
    })
}

/// Runs the query every few milliseconds until it returns true.
pub(crate) async fn until(
    what: &str,
    mut condition: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    const WITHIN: Duration = Duration::from_secs(300);
    let begun = Instant::now();
    while !condition().await? {
        ensure!(begun.elapsed() < WITHIN, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
